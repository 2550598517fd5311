//! The trust stream of a link: before anything else two members agree on who is a member.
//!
//! Each side begins with the digest of all evidence it holds (certificates and decrees, revocations among them). Where the digests
//! differ, each says what it has and is told what it lacks, revocations first; only then does the dialler open the control
//! stream, without which nobody uses the link. Afterwards whatever one side learns goes to the other at once, and the digests are
//! compared again from time to time, which repairs what a full queue has dropped.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use keys::{
    ContentId, NodeId,
    membership::{Evidence, Roster},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{broadcast, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    frame::{self, FrameError, read_frame, within, write_frame},
    limits::{
        TRUST_AGAIN, TRUST_EVIDENCE_BYTES, TRUST_FRAME_BYTES_MAX, TRUST_IDS_PER_FRAME, TRUST_QUEUE, TRUST_WRITE_TIMEOUT,
    },
};

/// First byte of every frame of this protocol.
const VERSION: u8 = 1;

/// The beginning of an evidence's id: enough to tell what one side has, and a member that made two alike would only hide its own.
type ShortId = [u8; 16];

#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// Hash over all evidence the sender holds.
    Digest(ContentId),
    /// Every id that the sender holds from `from` on and before `until` (to the end when there is none).
    Have {
        from: ShortId,
        until: Option<ShortId>,
        ids: Vec<ShortId>,
    },
    /// Evidence, each as [`Evidence::to_bytes`] writes it.
    Tell(Vec<Vec<u8>>),
    /// The other side's [`Frame::Have`] was answered to its end.
    Told,
}

/// Evidence that is new to this node, for every link but the one it came by.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) from: Option<NodeId>,
    pub(crate) evidence: Arc<[Evidence]>,
}

/// Why a trust stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustEnd {
    #[error("the other side closed it")]
    Closed,
    #[error("a malformed frame")]
    Malformed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the mesh has stopped")]
    Gone,
}

/// What a trust stream needs of the node.
pub(crate) struct Ends {
    pub(crate) neighbour: NodeId,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    pub(crate) news: broadcast::Receiver<News>,
    /// What the other side tells.
    pub(crate) report: mpsc::Sender<Vec<Evidence>>,
    /// Told once, when both sides have compared what they hold.
    pub(crate) agreed: Option<oneshot::Sender<()>>,
}

/// Runs one trust stream until it ends.
pub(crate) async fn run(stream: impl AsyncRead + AsyncWrite + Unpin, ends: Ends) -> TrustEnd {
    let (reader, writer) = tokio::io::split(stream);
    let (answers, queue) = mpsc::channel(TRUST_QUEUE);
    let roster = ends.roster.clone();
    tokio::select! {
        end = read_loop(reader, roster, answers, ends.report, ends.agreed) => end,
        end = write_loop(writer, (ends.neighbour, ends.roster, ends.news), queue) => end,
    }
}

async fn read_loop(
    mut reader: impl AsyncRead + Unpin,
    roster: watch::Receiver<Arc<Roster>>,
    answers: mpsc::Sender<Box<Frame>>,
    report: mpsc::Sender<Vec<Evidence>>,
    mut agreed: Option<oneshot::Sender<()>>,
) -> TrustEnd {
    // The writer also reads: frames of answers are dropped when it does not keep up, and the next digest repairs that. To wait
    // for it here could let two nodes wait for each other.
    let answer = |frames: Vec<Frame>| {
        for frame in frames {
            if answers.try_send(Box::new(frame)).is_err() {
                return;
            }
        }
    };
    let mut first = true;
    loop {
        let frame = match read_frame(&mut reader, TRUST_FRAME_BYTES_MAX).await {
            Err(error) => return TrustEnd::Frame(error),
            Ok(None) => return TrustEnd::Closed,
            Ok(Some(bytes)) => decode(&bytes),
        };
        let Some(frame) = frame.filter(|frame| !first || matches!(frame, Frame::Digest(_))) else {
            return TrustEnd::Malformed;
        };
        first = false;
        match frame {
            Frame::Digest(digest) if digest == roster.borrow().digest() => drop(agreed.take()),
            Frame::Digest(_) => answer(have(&roster.borrow())),
            Frame::Have { from, until, ids } => answer(missing(&roster.borrow(), (from, until), &ids)),
            Frame::Told => drop(agreed.take()),
            Frame::Tell(told) => {
                let evidence: Result<Vec<_>, _> = told.iter().map(|bytes| Evidence::from_bytes(bytes)).collect();
                let Ok(evidence) = evidence else {
                    return TrustEnd::Malformed;
                };
                if report.send(evidence).await.is_err() {
                    return TrustEnd::Gone;
                }
            }
        }
    }
}

async fn write_loop(
    mut writer: impl AsyncWrite + Unpin,
    (neighbour, roster, mut news): (NodeId, watch::Receiver<Arc<Roster>>, broadcast::Receiver<News>),
    mut answers: mpsc::Receiver<Box<Frame>>,
) -> TrustEnd {
    let mut again = tokio::time::interval_at(Instant::now() + TRUST_AGAIN, TRUST_AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The digest goes before everything else, or the other side ends the stream. Not by a first tick of the clock: that one may come a
    // millisecond late, and news before it.
    let mut frames = vec![Frame::Digest(roster.borrow().digest())];
    loop {
        for frame in frames {
            let bytes = encode(&frame);
            let written = write_frame(&mut writer, &bytes, TRUST_FRAME_BYTES_MAX);
            if let Err(error) = within(TRUST_WRITE_TIMEOUT, written).await {
                return TrustEnd::Frame(error);
            }
        }
        frames = tokio::select! {
            biased;
            _ = again.tick() => vec![Frame::Digest(roster.borrow().digest())],
            told = news.recv() => match told {
                Ok(News { from, .. }) if from == Some(neighbour) => Vec::new(),
                Ok(News { evidence, .. }) => tell(evidence.iter().map(Evidence::to_bytes)),
                Err(broadcast::error::RecvError::Lagged(_)) => vec![Frame::Digest(roster.borrow().digest())],
                Err(broadcast::error::RecvError::Closed) => return TrustEnd::Gone,
            },
            Some(frame) = answers.recv() => vec![*frame],
        };
    }
}

/// Everything a roster holds, by id.
fn have(roster: &Roster) -> Vec<Frame> {
    let ids: Vec<ShortId> = roster.evidence_ids().iter().map(short).collect();
    let mut frames = Vec::new();
    let mut from = [0; 16];
    let mut chunks = ids.chunks(TRUST_IDS_PER_FRAME).peekable();
    while let Some(chunk) = chunks.next() {
        let until = chunks.peek().map(|next| next[0]);
        frames.push(Frame::Have {
            from,
            until,
            ids: chunk.to_vec(),
        });
        from = until.unwrap_or(from);
    }
    frames
}

/// What a roster holds in a range and the other side does not.
fn missing(roster: &Roster, (from, until): (ShortId, Option<ShortId>), ids: &[ShortId]) -> Vec<Frame> {
    let known: BTreeSet<&ShortId> = ids.iter().collect();
    let until = until.map_or(Bound::Unbounded, Bound::Excluded);
    let range = (Bound::Included(from), until);
    let lacks = |id: &ContentId| {
        let id = short(id);
        std::ops::RangeBounds::contains(&range, &id) && !known.contains(&id)
    };
    let lacking = roster.evidence().filter(|(id, _)| lacks(id));
    let mut frames = tell(lacking.map(|(_, evidence)| evidence.to_bytes()));
    if range.1 == Bound::Unbounded {
        frames.push(Frame::Told);
    }
    frames
}

/// Evidence in frames of a bounded size.
fn tell(evidence: impl Iterator<Item = Vec<u8>>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let (mut told, mut size) = (Vec::new(), 0);
    for bytes in evidence {
        if size + bytes.len() > TRUST_EVIDENCE_BYTES && !told.is_empty() {
            frames.push(Frame::Tell(std::mem::take(&mut told)));
            size = 0;
        }
        size += bytes.len();
        told.push(bytes);
    }
    if !told.is_empty() {
        frames.push(Frame::Tell(told));
    }
    frames
}

fn short(id: &ContentId) -> ShortId {
    let mut short = [0; 16];
    short.copy_from_slice(&id.0[..16]);
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
    let (from, until, ids) = ([0; 16], Some([9; 16]), vec![[1; 16], [2; 16]]);
    [
        ("digest", Frame::Digest(ContentId([7; 32]))),
        ("have", Frame::Have { from, until, ids }),
        ("tell", Frame::Tell(vec![vec![1, 2, 3]])),
        ("told", Frame::Told),
    ]
    .map(|(name, frame)| (name.to_owned(), encode(&frame)))
    .into()
}

#[cfg(test)]
mod tests;
