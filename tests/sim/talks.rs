//! Reconciliations over simulated streams: opened when `crdt::set::Pace` says so, their frames delayed by the links, ended by what is
//! cut. The same steps as in `node`'s wiring.

use std::{collections::BTreeSet, time::Duration};

use crdt::{
    limits::RECONCILE_FRAMES_MAX,
    set::{Ended, says_moved},
};
use keys::NodeId;
use mesh::limits::OPEN_TIMEOUT;

use crate::{
    Micros, STORE_DELAY, micros,
    world::{Event, World},
};

/// `node`'s own: the longest wait for the next frame.
const FRAME_TIMEOUT: Micros = 10_000_000;
/// While a link is cut, QUIC tries again about so often.
const RETRY: Micros = 200_000;

/// A reconciliation between two nodes, as far as its opener knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    opener: usize,
    answerer: usize,
    /// Which starts of the two it belongs to.
    starts: [u32; 2],
    moved: bool,
    frames: usize,
}

/// A frame under way.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) talk: u64,
    pub(crate) to_opener: bool,
    pub(crate) bytes: Vec<u8>,
    /// When it was first tried.
    pub(crate) since: Micros,
}

impl World {
    /// Asks a node's pace whom to talk with now.
    pub(crate) fn wake_pace(&mut self, node: usize) {
        if !self.setup.reconciliation {
            return;
        }
        let now = self.now;
        let ids: BTreeSet<NodeId> = match self.nodes[node].running() {
            Some(running) => running.reachable.clone(),
            None => return,
        }
        .into_iter()
        .map(|peer| self.nodes[peer].id())
        .collect();
        let rng = &mut self.rng;
        let Some(running) = self.nodes[node].running() else { return };
        let (talks, wakeup) = running.pace.next(since(now, running.began), &ids, rng);
        running.wakeup += 1;
        let number = running.wakeup;
        let at = running.began + micros(wakeup);
        let start = self.nodes[node].start;
        self.at(at.max(now + 1), Event::Pace { node, start, number });
        for peer in talks {
            self.open_talk(node, self.index_of(&peer));
        }
    }

    /// Something was accepted at a node: its talks are frequent again.
    pub(crate) fn stir(&mut self, node: usize) {
        let now = self.now;
        if !self.setup.reconciliation {
            return;
        }
        if let Some(running) = self.nodes[node].running() {
            running.pace.stir(since(now, running.began));
            self.wake_pace(node);
        }
    }

    /// The opener's stream is answered with OK after a round trip; then it sends the first frame.
    fn open_talk(&mut self, opener: usize, answerer: usize) {
        let talk = self.next_talk;
        self.next_talk += 1;
        let starts = [self.nodes[opener].start, self.nodes[answerer].start];
        let talked = Talk {
            opener,
            answerer,
            starts,
            moved: false,
            frames: 0,
        };
        self.talks.insert(talk, talked);
        self.counts.talks += 1;
        let there = self.links.stream(opener, answerer, &mut self.rng);
        let back = self.links.stream(answerer, opener, &mut self.rng);
        match there.zip(back).filter(|_| self.nodes[answerer].is_running()) {
            Some((there, back)) => self.after(there + back, Event::TalkOpened(talk)),
            None => self.after(micros(OPEN_TIMEOUT), Event::TalkEnded(talk, false)),
        }
    }

    pub(crate) fn talk_opened(&mut self, talk: u64) {
        let Some(talked) = self.talks.get(&talk).copied() else { return };
        let peer = self.nodes[talked.answerer].id();
        let clock = self.nodes[talked.opener].clock(self.now);
        let Some(running) = self.nodes[talked.opener].running() else { return };
        let bytes = running.replica.talk_start(peer, clock);
        self.send_frame(Frame {
            talk,
            to_opener: false,
            bytes,
            since: self.now,
        });
    }

    /// Sends a frame, or tries again a little later while the link is cut.
    pub(crate) fn send_frame(&mut self, frame: Frame) {
        let Some(talked) = self.talks.get(&frame.talk).copied() else { return };
        let (from, to) = match frame.to_opener {
            true => (talked.answerer, talked.opener),
            false => (talked.opener, talked.answerer),
        };
        if self.now > frame.since + FRAME_TIMEOUT {
            return self.end_talk(frame.talk, false);
        }
        self.counts.talk_bytes += frame.bytes.len() as u64;
        match self.links.stream(from, to, &mut self.rng) {
            Some(delay) => self.after(delay + STORE_DELAY, Event::TalkFrame(frame)),
            None => self.after(RETRY, Event::TalkRetry(frame)),
        }
    }

    /// A frame is there: the receiver answers it.
    pub(crate) fn talk_frame(&mut self, frame: &Frame) {
        let Some(talked) = self.talks.get(&frame.talk).copied() else { return };
        let (me, other) = match frame.to_opener {
            true => (talked.opener, talked.answerer),
            false => (talked.answerer, talked.opener),
        };
        let starts = [self.nodes[talked.opener].start, self.nodes[talked.answerer].start];
        let too_long = talked.frames >= RECONCILE_FRAMES_MAX;
        if starts != talked.starts || too_long {
            return self.end_talk(frame.talk, false);
        }
        let peer = self.nodes[other].id();
        let clock = self.nodes[me].clock(self.now);
        let Some(running) = self.nodes[me].running() else {
            return self.end_talk(frame.talk, false);
        };
        let answer = running.replica.talk_step(peer, &frame.bytes, clock);
        self.settle(me);
        let moved = says_moved(&frame.bytes) || matches!(&answer, Ok(Some(answer)) if says_moved(answer));
        if let Some(talked) = self.talks.get_mut(&frame.talk) {
            talked.moved |= moved;
            talked.frames += 1;
        }
        match answer {
            Ok(Some(bytes)) => self.send_frame(Frame {
                talk: frame.talk,
                to_opener: !frame.to_opener,
                bytes,
                since: self.now,
            }),
            Ok(None) if frame.to_opener => self.end_talk(frame.talk, true),
            // The answerer closes the stream; the opener reads its end.
            Ok(None) => self.after(self.links.latency(me, other), Event::TalkEnded(frame.talk, true)),
            Err(_) => self.end_talk(frame.talk, false),
        }
    }

    pub(crate) fn end_talk(&mut self, talk: u64, whole: bool) {
        let Some(talked) = self.talks.remove(&talk) else { return };
        if self.nodes[talked.opener].start != talked.starts[0] {
            return;
        }
        let now = self.now;
        let peer = self.nodes[talked.answerer].id();
        let Some(running) = self.nodes[talked.opener].running() else { return };
        let ended = match (whole, talked.moved) {
            (false, _) => Ended::Failed,
            (true, true) => Ended::Moved,
            (true, false) => Ended::Quiet,
        };
        self.counts.talks_failed += u64::from(!whole);
        running.pace.finished(&peer, ended, since(now, running.began));
        self.wake_pace(talked.opener);
    }

    /// A link was closed: so are its streams.
    pub(crate) fn end_talks_between(&mut self, one: usize, other: usize) {
        let both = |talk: &Talk| {
            let pair = (talk.opener.min(talk.answerer), talk.opener.max(talk.answerer));
            pair == (one.min(other), one.max(other))
        };
        let open: Vec<u64> = self.talks.iter().filter(|(_, talk)| both(talk)).map(|(id, _)| *id).collect();
        open.into_iter().for_each(|talk| self.end_talk(talk, false));
    }
}

fn since(now: Micros, began: Micros) -> Duration {
    Duration::from_micros(now.saturating_sub(began))
}
