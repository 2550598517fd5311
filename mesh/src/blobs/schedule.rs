//! Which range is asked of whom, as a pure state machine: events and the time in, effects out.
//!
//! Ranges of 1 MiB are handed out ahead, so that a line with a long round trip stays full, but never more than a moment's worth. A
//! source that runs dry takes the end of what the slowest has still to give; one that falls silent loses its ranges to the others
//! and keeps one group, by which it can show that it is back; one that sends a wrong byte is out for good.

mod source;
#[cfg(test)]
mod tests;

use std::{ops::Range, time::Duration};

use self::source::{Ask, Source, State};
use super::groups::Groups;
use crate::limits::{
    BLOB_CONNECT_TIMEOUT, BLOB_DEAD_AFTER, BLOB_PATIENCE, BLOB_PIECE_GROUPS, BLOB_QUERY_EVERY, BLOB_RETRY_BUSY,
    BLOB_STALLED_AFTER, BLOB_STEAL_GROUPS_MIN,
};

/// Time since the download began.
pub(super) type Elapsed = Duration;
/// The place of a source in the list that the download was given.
pub(super) type SourceIndex = usize;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A source answers, and has these groups; said again whenever it is asked again.
    Holds { source: SourceIndex, groups: Groups },
    /// A verified group was written.
    Arrived { source: SourceIndex, group: u64 },
    /// A source sends no more for a question.
    Ended { source: SourceIndex, ask: u32 },
    /// A source cannot be reached, or its stream broke.
    Lost { source: SourceIndex },
    /// A source has no room for us.
    Busy { source: SourceIndex },
    /// A source sent what is not the blob.
    Bad { source: SourceIndex },
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Open a stream and ask what it holds.
    Connect(SourceIndex),
    /// Ask again what it holds.
    Query(SourceIndex),
    /// Ask for groups.
    Ask {
        source: SourceIndex,
        ask: u32,
        range: Range<u64>,
    },
    /// Only so many groups of that question are wanted now.
    Keep { source: SourceIndex, ask: u32, count: u64 },
    /// Close the stream.
    Drop(SourceIndex),
    /// Everything is here.
    Finished,
    /// Nobody can give the rest.
    GiveUp,
}

/// How a source stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Connecting,
    Sending,
    /// Connected, but nothing to ask it for.
    Waiting,
    Stalled,
    Away,
    Busy,
    Bad,
}

/// The state of one download.
pub(super) struct Schedule {
    had: Groups,
    /// Missing, and asked of nobody.
    free: Groups,
    /// No group below this one is free.
    lowest_free: u64,
    sources: Vec<Source>,
    next_ask: u32,
    /// When a missing group last arrived.
    news: Elapsed,
    over: bool,
}

impl Schedule {
    /// A download of what is not in `had`, from `sources` nodes.
    pub(super) fn new(had: Groups, sources: usize, now: Elapsed) -> Self {
        let mut free = Groups::all(had.count());
        had.runs().for_each(|run| free.remove(run));
        Self {
            had,
            free,
            lowest_free: 0,
            sources: (0..sources).map(|_| Source::new(now)).collect(),
            next_ask: 0,
            news: now,
            over: false,
        }
    }

    /// A source that is known to send wrong bytes is not asked at all.
    pub(super) fn condemn(&mut self, source: SourceIndex) {
        if let Some(source) = self.sources.get_mut(source) {
            source.state = State::Bad;
        }
    }

    pub(super) fn had(&self) -> &Groups {
        &self.had
    }

    pub(super) fn standing(&self, source: SourceIndex) -> Standing {
        self.sources.get(source).map_or(Standing::Away, Source::standing)
    }

    /// Takes in what happened and says what to do.
    pub(super) fn handle(&mut self, event: Event, now: Elapsed) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.over {
            return effects;
        }
        match event {
            Event::Holds { source, groups } => {
                if let Some(source) = self.sources.get_mut(source).filter(|source| source.state != State::Bad) {
                    source.holds(groups, now);
                }
            }
            Event::Arrived { source, group } => self.arrived(source, group, now),
            Event::Ended { source, ask } => self.ended(source, ask),
            Event::Lost { source } => self.away(source, None, now),
            Event::Busy { source } => self.away(source, Some(BLOB_RETRY_BUSY), now),
            Event::Bad { source } => {
                self.away(source, None, now);
                self.condemn(source);
                effects.push(Effect::Drop(source));
            }
            Event::Tick => self.tick(now, &mut effects),
        }
        self.conclude(now, &mut effects);
        if !self.over {
            self.assign(now, &mut effects);
        }
        effects
    }

    fn conclude(&mut self, now: Elapsed, effects: &mut Vec<Effect>) {
        let nobody = self.sources.iter().all(|source| source.state == State::Bad);
        let end = if self.had.is_full() {
            Effect::Finished
        } else if nobody || now.saturating_sub(self.news) > BLOB_PATIENCE {
            Effect::GiveUp
        } else {
            return;
        };
        self.over = true;
        effects.push(end);
    }

    fn arrived(&mut self, source: SourceIndex, group: u64, now: Elapsed) {
        if self.had.insert(group..group + 1) > 0 {
            self.news = now;
        }
        self.free.remove(group..group + 1);
        if let Some(source) = self.sources.get_mut(source) {
            source.arrived(group, now);
        }
    }

    fn ended(&mut self, source: SourceIndex, ask: u32) {
        let Some(known) = self.sources.get_mut(source) else {
            return;
        };
        let Some(place) = known.asks.iter().position(|known| known.id == ask) else {
            return;
        };
        let Some(ask) = known.asks.remove(place) else { return };
        // Whatever it was asked for and did not send, it does not have.
        known.holds.remove(ask.next..ask.range.end);
        self.give_back(ask.next..ask.range.end);
    }

    /// A source is gone; it is asked again after `wait`, or after a growing time.
    fn away(&mut self, index: SourceIndex, wait: Option<Duration>, now: Elapsed) {
        let Some(source) = self.sources.get_mut(index).filter(|source| source.state != State::Bad) else {
            return;
        };
        let asks = source.leave(wait, now);
        for ask in asks {
            self.give_back(ask.next..ask.range.end);
        }
    }

    /// Makes groups free again that are missing and asked of nobody else.
    fn give_back(&mut self, range: Range<u64>) {
        for group in range {
            let asked = self.sources.iter().any(|source| source.is_asked(group));
            if !asked && !self.had.contains(group) {
                self.free.insert(group..group + 1);
                self.lowest_free = self.lowest_free.min(group);
            }
        }
    }

    fn tick(&mut self, now: Elapsed, effects: &mut Vec<Effect>) {
        for index in 0..self.sources.len() {
            let source = &mut self.sources[index];
            match source.state {
                State::Bad => {}
                State::Away { until, .. } => {
                    if until <= now {
                        source.state = State::Connecting { since: now };
                        effects.push(Effect::Connect(index));
                    }
                }
                State::Connecting { since } => {
                    if now.saturating_sub(since) > BLOB_CONNECT_TIMEOUT {
                        effects.push(Effect::Drop(index));
                        self.away(index, None, now);
                    }
                }
                State::Ready { .. } if source.asks.is_empty() => {
                    if now.saturating_sub(source.queried) > BLOB_QUERY_EVERY && !source.holds.is_full() {
                        source.queried = now;
                        effects.push(Effect::Query(index));
                    }
                }
                State::Ready { stalled } => {
                    let silent = now.saturating_sub(source.progress);
                    if silent > BLOB_DEAD_AFTER {
                        effects.push(Effect::Drop(index));
                        self.away(index, None, now);
                    } else if silent > BLOB_STALLED_AFTER && !stalled {
                        self.stall(index, effects);
                    }
                }
            }
        }
    }

    /// Gives the ranges of a silent source to others, but for one group.
    fn stall(&mut self, index: SourceIndex, effects: &mut Vec<Effect>) {
        let source = &mut self.sources[index];
        source.state = State::Ready { stalled: true };
        let mut asks = std::mem::take(&mut source.asks);
        for (place, ask) in asks.iter_mut().enumerate() {
            let kept = if place == 0 { ask.next + 1 } else { ask.range.start };
            let rest = ask.next..ask.range.end;
            ask.range.end = kept;
            effects.push(Effect::Keep {
                source: index,
                ask: ask.id,
                count: kept - ask.range.start,
            });
            // The one group too: whoever is first gives it.
            self.give_back(rest);
        }
        asks.truncate(1);
        self.sources[index].asks = asks;
    }

    /// Hands out ranges by turns, to whoever has least to do first.
    fn assign(&mut self, now: Elapsed, effects: &mut Vec<Effect>) {
        loop {
            let mut order: Vec<_> = (0..self.sources.len())
                .filter(|index| self.sources[*index].wants_more())
                .collect();
            order.sort_by_key(|index| self.sources[*index].outstanding());
            let mut handed = false;
            for index in order {
                let range = match self.pick(index) {
                    Some(range) => {
                        self.free.remove(range.clone());
                        Some(range)
                    }
                    None => self.steal(index, now, effects),
                };
                if let Some(range) = range {
                    let ask = self.next_ask;
                    self.next_ask = self.next_ask.wrapping_add(1);
                    self.sources[index].ask(Ask::new(ask, range.clone()), now);
                    effects.push(Effect::Ask {
                        source: index,
                        ask,
                        range,
                    });
                    handed = true;
                }
            }
            if !handed {
                return;
            }
        }
    }

    /// The first free range that a source has, within one piece.
    fn pick(&mut self, index: SourceIndex) -> Option<Range<u64>> {
        self.lowest_free = self.free.next_run(self.lowest_free)?.start;
        let holds = &self.sources[index].holds;
        let mut at = self.lowest_free;
        loop {
            let free = self.free.next_run(at)?;
            let held = holds.next_run(free.start)?;
            let start = free.start.max(held.start);
            let end = free
                .end
                .min(held.end)
                .min((start / BLOB_PIECE_GROUPS + 1) * BLOB_PIECE_GROUPS);
            if start < end {
                return Some(start..end);
            }
            at = held.start;
        }
    }

    /// For a source that has nothing to do: the end of what the slowest other one has still to give.
    fn steal(&mut self, thief: SourceIndex, now: Elapsed, effects: &mut Vec<Effect>) -> Option<Range<u64>> {
        if !self.sources[thief].asks.is_empty() {
            return None;
        }
        let ours = self.sources[thief].rate(now);
        let (victim, _) = (0..self.sources.len())
            .filter(|index| *index != thief)
            .filter_map(|index| Some((index, self.sources[index].time_to_finish(now)?)))
            .max_by(|one, other| one.1.total_cmp(&other.1))?;
        let theirs = self.sources[victim].rate(now);
        let ask = self.sources[victim].asks.back()?;
        let left = ask.range.end - ask.next;
        let taken = if self.sources[victim].asks.len() > 1 {
            left
        } else {
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss
            )]
            let share = (left as f64 * ours / (ours + theirs)) as u64;
            share
        };
        let range = ask.range.end - taken..ask.range.end;
        let held = self.sources[thief]
            .holds
            .next_run(range.start)
            .is_some_and(|run| run.start == range.start && run.end >= range.end);
        #[allow(clippy::cast_precision_loss)]
        let sooner = (taken as f64 / ours) < self.sources[victim].time_to_finish(now)?;
        if taken < BLOB_STEAL_GROUPS_MIN || !held || !sooner {
            return None;
        }
        let victims = &mut self.sources[victim];
        let ask = victims.asks.back_mut()?;
        ask.range.end = range.start;
        effects.push(Effect::Keep {
            source: victim,
            ask: ask.id,
            count: range.start - ask.range.start,
        });
        if ask.next >= ask.range.end {
            victims.asks.pop_back();
        }
        // Some of it may be here already: what was on its way when it was last given to another.
        let missing = |group: &u64| !self.had.contains(*group);
        let first = range.clone().find(missing)?;
        let last = range.rev().find(missing)?;
        Some(first..last + 1)
    }
}
