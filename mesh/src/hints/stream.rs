//! The hints stream of a link: what the other side sees of us, and the address hints that one side has and the other has not.
//!
//! Gossip brings a new hint to everybody in a moment; this stream brings what gossip has lost, and everything to a node that has just come.
//! Each side says from which address the other's packets come, because a node behind a home router cannot know that by itself.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use keys::NodeId;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};

use super::Shared;
use crate::{
    frame::{self, FrameError, read_frame, within, write_frame},
    limits::{
        HINT_BYTES_MAX, HINTS_AGAIN, HINTS_FRAME_BYTES_MAX, HINTS_PER_FRAME, HINTS_QUEUE, HINTS_SILENCE_MAX,
        HINTS_WRITE_TIMEOUT,
    },
};

/// First byte of every frame of this protocol.
const VERSION: u8 = 1;

/// The beginning of a node's id: enough to tell which record one side has.
type ShortId = [u8; 8];

#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// Where the other side's packets come from; nothing where that says nothing about it (a relayed or a TCP connection).
    Seen(Option<SocketAddr>),
    /// The number of each record that the sender has.
    Have(Vec<(ShortId, u64)>),
    /// Records, each as [`super::AddressHint::sign`] makes them.
    Tell(Vec<Vec<u8>>),
}

/// What a hints stream tells the mesh actor.
#[derive(Debug)]
pub(crate) enum Heard {
    /// How the other side sees us.
    Seen(SocketAddr),
    /// Records, not yet verified.
    Told(Vec<Vec<u8>>),
}

/// Why a hints stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HintsEnd {
    #[error("the other side closed it")]
    Closed,
    #[error("a malformed frame")]
    Malformed,
    #[error("nothing was heard for {HINTS_SILENCE_MAX:?}")]
    Silent,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the mesh has stopped")]
    Gone,
}

/// What a hints stream needs of the node.
pub(crate) struct Ends {
    pub(crate) own: NodeId,
    /// Where the other side's packets come from.
    pub(crate) seen: watch::Receiver<Option<SocketAddr>>,
    pub(crate) shared: watch::Receiver<Arc<Shared>>,
    pub(crate) report: mpsc::Sender<Heard>,
}

/// Runs one hints stream until it ends.
pub(crate) async fn run(stream: impl AsyncRead + AsyncWrite + Unpin, ends: Ends) -> HintsEnd {
    let (reader, writer) = tokio::io::split(stream);
    let (answers, queue) = mpsc::channel(HINTS_QUEUE);
    let shared = ends.shared.clone();
    tokio::select! {
        end = read_loop(reader, shared, answers, ends.report) => end,
        end = write_loop(writer, (ends.own, ends.seen, ends.shared), queue) => end,
    }
}

async fn read_loop(
    mut reader: impl AsyncRead + Unpin,
    shared: watch::Receiver<Arc<Shared>>,
    answers: mpsc::Sender<Box<Frame>>,
    report: mpsc::Sender<Heard>,
) -> HintsEnd {
    loop {
        let frame = tokio::time::timeout(HINTS_SILENCE_MAX, read_frame(&mut reader, HINTS_FRAME_BYTES_MAX));
        let frame = match frame.await {
            Err(_) => return HintsEnd::Silent,
            Ok(Err(error)) => return HintsEnd::Frame(error),
            Ok(Ok(None)) => return HintsEnd::Closed,
            Ok(Ok(Some(bytes))) => decode(&bytes),
        };
        let heard = match frame {
            None => return HintsEnd::Malformed,
            Some(Frame::Seen(None)) => continue,
            Some(Frame::Seen(Some(address))) => Heard::Seen(address),
            Some(Frame::Have(have)) => {
                for frame in lacking(&shared.borrow(), &have) {
                    // A side that does not read loses the rest; the next comparison repairs it.
                    if answers.try_send(Box::new(frame)).is_err() {
                        break;
                    }
                }
                continue;
            }
            Some(Frame::Tell(told)) if told.len() <= HINTS_PER_FRAME => Heard::Told(told),
            Some(Frame::Tell(_)) => return HintsEnd::Malformed,
        };
        if report.send(heard).await.is_err() {
            return HintsEnd::Gone;
        }
    }
}

async fn write_loop(
    mut writer: impl AsyncWrite + Unpin,
    (own, mut seen, mut shared): (
        NodeId,
        watch::Receiver<Option<SocketAddr>>,
        watch::Receiver<Arc<Shared>>,
    ),
    mut answers: mpsc::Receiver<Box<Frame>>,
) -> HintsEnd {
    let mut again = tokio::time::interval(HINTS_AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut own_told = None;
    let mut seen_told = None;
    loop {
        let mut frames = tokio::select! {
            biased;
            changed = seen.changed() => match changed {
                Ok(()) => vec![],
                Err(_) => return HintsEnd::Gone,
            },
            changed = shared.changed() => match changed {
                Ok(()) => vec![],
                Err(_) => return HintsEnd::Gone,
            },
            Some(answer) = answers.recv() => vec![*answer],
            _ = again.tick() => vec![have(&shared.borrow())],
        };
        let seen_now = *seen.borrow_and_update();
        if seen_told != Some(seen_now) {
            seen_told = Some(seen_now);
            frames.push(Frame::Seen(seen_now));
        }
        // Our own record goes at once, so that a neighbour needs no gossip to find us.
        if let Some((number, bytes)) = shared.borrow_and_update().get(&own)
            && own_told != Some(*number)
        {
            own_told = Some(*number);
            frames.push(Frame::Tell(vec![bytes.to_vec()]));
        }
        for frame in frames {
            let bytes = encode(&frame);
            let written = write_frame(&mut writer, &bytes, HINTS_FRAME_BYTES_MAX);
            if let Err(error) = within(HINTS_WRITE_TIMEOUT, written).await {
                return HintsEnd::Frame(error);
            }
        }
    }
}

fn have(shared: &Shared) -> Frame {
    let entry = |(node, (number, _)): (&NodeId, &(u64, Arc<[u8]>))| (short(node), *number);
    Frame::Have(shared.iter().map(entry).collect())
}

/// The records that the other side has not, or older.
fn lacking(shared: &Shared, have: &[(ShortId, u64)]) -> Vec<Frame> {
    let theirs: BTreeMap<_, _> = have.iter().copied().collect();
    let lacks = |node: &NodeId, number: u64| theirs.get(&short(node)).is_none_or(|known| *known < number);
    let records: Vec<Vec<u8>> = shared
        .iter()
        .filter(|(node, (number, _))| lacks(node, *number))
        .map(|(_, (_, bytes))| bytes.to_vec())
        .collect();
    let frame = |records: &[Vec<u8>]| Frame::Tell(records.to_vec());
    records.chunks(HINTS_PER_FRAME).map(frame).collect()
}

fn short(node: &NodeId) -> ShortId {
    let mut short = [0; 8];
    short.copy_from_slice(&node.0[..8]);
    short
}

fn encode(frame: &Frame) -> Vec<u8> {
    frame::encode(VERSION, frame)
}

fn decode(bytes: &[u8]) -> Option<Frame> {
    frame::decode(VERSION, bytes)
}

/// For whoever tries bytes: reads a frame and writes what was read.
pub(crate) fn again(bytes: &[u8]) -> Option<Vec<u8>> {
    decode(bytes).map(|frame| encode(&frame))
}

/// A frame of each kind.
pub(crate) fn examples() -> Vec<(String, Vec<u8>)> {
    let seen = SocketAddr::from(([203, 0, 113, 10], 4001));
    [
        ("seen", Frame::Seen(Some(seen))),
        ("unseen", Frame::Seen(None)),
        ("have", Frame::Have(vec![([1; 8], 7), ([2; 8], 1_800_000_000_001)])),
        ("tell", Frame::Tell(vec![vec![1, 2, 3]])),
    ]
    .map(|(name, frame)| (name.to_owned(), encode(&frame)))
    .into()
}

const _: () = assert!(
    HINTS_PER_FRAME * (HINT_BYTES_MAX + 8) < HINTS_FRAME_BYTES_MAX
        && keys::limits::MEMBERS_MAX * 18 < HINTS_FRAME_BYTES_MAX,
    "the largest frames fit"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(entries: &[(u8, u64)]) -> Arc<Shared> {
        let entry =
            |(node, number): &(u8, u64)| (NodeId([*node; 32]), (*number, Arc::from(&[*node, *number as u8][..])));
        Arc::new(entries.iter().map(entry).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn each_side_is_told_what_it_lacks_and_how_it_is_seen() {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let start = |stream, own: u8, entries: &[(u8, u64)], seen: Option<SocketAddr>| {
            let (report, heard) = mpsc::channel(16);
            let (seen, seen_now) = watch::channel(seen);
            let (book, shared) = watch::channel(shared(entries));
            let ends = Ends {
                own: NodeId([own; 32]),
                seen: seen_now,
                shared,
                report,
            };
            (heard, seen, book, tokio::spawn(run(stream, ends)))
        };
        let address: SocketAddr = "203.0.113.9:4001".parse().unwrap();
        let (mut heard, _seen, book, _task) = start(here, 1, &[(1, 5), (3, 2), (4, 9)], None);
        let (mut other, _kept, _book, _other_task) = start(there, 2, &[(2, 1), (3, 7), (4, 9)], Some(address));
        let mut told = std::collections::BTreeSet::new();
        let mut seen = None;
        while !told.contains(&vec![3, 7]) || !told.contains(&vec![2, 1]) || seen.is_none() {
            match heard.recv().await.unwrap() {
                Heard::Seen(address) => seen = Some(address),
                Heard::Told(records) => told.extend(records),
            }
        }
        assert_eq!(seen, Some(address));
        assert!(!told.contains(&vec![4, 9]), "what both have is not told");
        book.send_replace(shared(&[(1, 6)]));
        let newest = async {
            loop {
                if let Heard::Told(records) = other.recv().await.unwrap()
                    && records.contains(&vec![1, 6])
                {
                    return;
                }
            }
        };
        newest.await;
    }
}
