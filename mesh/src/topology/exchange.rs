//! The stream of a link on which both sides tell each other which states of links they have, and send what the other asks for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use keys::{ContentId, Signed};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use super::{Held, LinkState, ShortNode, Stamp, Topology, verified};
use crate::{
    frame::{self, FrameError, read_frame, within, write_frame},
    limits::{
        LINK_STATE_ASK_AGAIN, LINK_STATE_FRAME_BYTES, LINK_STATE_FRAME_BYTES_MAX, LINK_STATE_KEPT,
        LINK_STATE_STAMPS_MAX, LINK_STATE_THEIRS_KEPT, LINK_STATE_TICK, TRUST_WRITE_TIMEOUT,
    },
};

/// First byte of every frame of this protocol.
const VERSION: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// States that the sender holds and has not told of yet.
    Have(Vec<(ShortNode, Stamp)>),
    /// Those of these nodes, please.
    Want(Vec<ShortNode>),
    /// Here they are, each with its age in milliseconds.
    Tell(Vec<(Signed<LinkState>, u32)>),
}

/// Why the stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeEnd {
    #[error("the other side closed it")]
    Closed,
    #[error("a malformed frame")]
    Malformed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the mesh has stopped")]
    Gone,
}

/// What all streams of this node have asked their neighbours for, so that one is asked at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Mutex<HashMap<ShortNode, (Stamp, Instant)>>>);

impl Asked {
    /// Whether to ask now; it is noted then.
    fn ask(&self, node: ShortNode, stamp: Stamp, now: Instant) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = asked
            .get(&node)
            .is_some_and(|(known, at)| *known >= stamp && now.saturating_duration_since(*at) < LINK_STATE_ASK_AGAIN);
        if !waits {
            asked.insert(node, (stamp, now));
        }
        !waits
    }
}

/// What a stream needs of the node.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) mesh: ContentId,
    pub(crate) topology: watch::Receiver<Arc<Topology>>,
    pub(crate) asked: Asked,
    pub(crate) report: mpsc::Sender<Held>,
}

/// What the reader has heard and the writer acts upon. Bounded by the members of the mesh.
#[derive(Default)]
struct Heard {
    /// What the other side has told of that is not yet known to be as new here and told of.
    theirs: HashMap<ShortNode, Stamp>,
    wanted: BTreeSet<ShortNode>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    news: Notify,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Heard) -> T) -> T {
        act(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs one stream until it ends.
pub(crate) async fn run(stream: impl AsyncRead + AsyncWrite + Unpin, ends: Ends) -> ExchangeEnd {
    let (reader, writer) = tokio::io::split(stream);
    let shared = Shared::default();
    // Two independent half-loops, so that a slow write cannot block reads.
    tokio::select! {
        end = read_loop(reader, &ends, &shared) => end,
        end = write_loop(writer, ends.clone(), &shared) => end,
    }
}

async fn read_loop(mut reader: impl AsyncRead + Unpin, ends: &Ends, shared: &Shared) -> ExchangeEnd {
    loop {
        let frame = match read_frame(&mut reader, LINK_STATE_FRAME_BYTES_MAX).await {
            Err(error) => return ExchangeEnd::Frame(error),
            Ok(None) => return ExchangeEnd::Closed,
            Ok(Some(bytes)) => decode(&bytes),
        };
        match frame {
            None => return ExchangeEnd::Malformed,
            Some(Frame::Have(stamps)) => {
                let topology = ends.topology.borrow().clone();
                let known = stamps.into_iter().filter(|(node, _)| topology.knows(*node));
                shared.with(|heard| heard.theirs.extend(known));
                shared.news.notify_one();
            }
            Some(Frame::Want(nodes)) => {
                let topology = ends.topology.borrow().clone();
                let known = nodes.into_iter().filter(|node| topology.knows(*node));
                shared.with(|heard| heard.wanted.extend(known));
                shared.news.notify_one();
            }
            Some(Frame::Tell(told)) => {
                for (signed, age) in told {
                    if let Some(end) = take(ends, signed, age).await {
                        return end;
                    }
                }
            }
        }
    }
}

/// Verifies a state and reports it; the end of the stream when it is not what its node signed.
async fn take(ends: &Ends, signed: Signed<LinkState>, age: u32) -> Option<ExchangeEnd> {
    // Several neighbours may tell the same. Whether the signature of what is not newer holds makes no difference.
    if signed
        .unverified()
        .is_ok_and(|claim| ends.topology.borrow().holds(&signed.author(), claim.stamp))
    {
        return None;
    }
    let Some(state) = verified(&signed, ends.mesh) else {
        return Some(ExchangeEnd::Malformed);
    };
    let age = Duration::from_millis(u64::from(age));
    // A machine that has just started cannot tell times before its start.
    let made = Instant::now().checked_sub(age).filter(|_| age < LINK_STATE_KEPT)?;
    let reported = ends.report.send(Held { state, signed, made }).await;
    reported.err().map(|_| ExchangeEnd::Gone)
}

async fn write_loop(mut writer: impl AsyncWrite + Unpin, mut ends: Ends, shared: &Shared) -> ExchangeEnd {
    let mut tick = tokio::time::interval(LINK_STATE_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was asked of somebody and has not come yet.
    let mut waits = false;
    let mut untold = true;
    // Up to which place of its arrivals the graph was told of.
    let mut told = 0;
    loop {
        // Hundreds of links tick in a dense mesh, and hardly ever is there something to say: then none of them wakes.
        let is_tick = tokio::select! {
            biased;
            () = shared.news.notified() => false,
            changed = ends.topology.changed(), if !untold && !waits => match changed {
                Ok(()) => {
                    untold = true;
                    continue;
                }
                Err(_) => return ExchangeEnd::Gone,
            },
            _ = tick.tick(), if untold || waits => true,
        };
        let Ok(changed) = ends.topology.has_changed() else {
            return ExchangeEnd::Gone;
        };
        untold |= changed;
        let topology = ends.topology.borrow_and_update().clone();
        let now = Instant::now();
        let mut frames = shared.with(|heard| answers(&topology, &mut heard.wanted, now));
        let asked = shared.with(|heard| questions(&topology, &heard.theirs, &ends.asked, now));
        waits = asked.1;
        frames.extend(asked.0);
        if is_tick && std::mem::take(&mut untold) {
            frames.extend(shared.with(|heard| news(&topology, told, &heard.theirs)));
            told = topology.last_place();
        }
        if !untold {
            // What is known here as well has been told of, or need not be.
            shared.with(|heard| {
                heard.theirs.retain(|node, stamp| is_newer(&topology, *node, *stamp));
                heard.theirs.shrink_to(LINK_STATE_THEIRS_KEPT);
            });
        }
        for frame in frames {
            let bytes = encode(&frame);
            let written = write_frame(&mut writer, &bytes, LINK_STATE_FRAME_BYTES_MAX);
            if let Err(error) = within(TRUST_WRITE_TIMEOUT, written).await {
                return ExchangeEnd::Frame(error);
            }
        }
    }
}

/// What the other side has asked for, in frames of a bounded size.
fn answers(topology: &Topology, wanted: &mut BTreeSet<ShortNode>, now: Instant) -> Vec<Frame> {
    let mut frames = Vec::new();
    let (mut told, mut size) = (Vec::new(), 0);
    for held in std::mem::take(wanted)
        .into_iter()
        .filter_map(|node| topology.held(node))
    {
        let age = now.saturating_duration_since(held.made).as_millis();
        told.push((held.signed.clone(), u32::try_from(age).unwrap_or(u32::MAX)));
        size += 128 + held.state.links.len() * 32;
        if size > LINK_STATE_FRAME_BYTES {
            frames.push(Frame::Tell(std::mem::take(&mut told)));
            size = 0;
        }
    }
    if !told.is_empty() {
        frames.push(Frame::Tell(told));
    }
    frames
}

/// What the other side has newer than this node, and no other neighbour was asked for a moment ago; and whether anything is still to come.
fn questions(
    topology: &Topology,
    theirs: &HashMap<ShortNode, Stamp>,
    asked: &Asked,
    now: Instant,
) -> (Vec<Frame>, bool) {
    let newer: Vec<_> = theirs
        .iter()
        .filter(|(node, stamp)| is_newer(topology, **node, **stamp))
        .collect();
    let due = newer.iter().filter(|(node, stamp)| asked.ask(**node, **stamp, now));
    let wanted: Vec<ShortNode> = due.map(|(node, _)| **node).collect();
    let chunks = wanted.chunks(LINK_STATE_STAMPS_MAX);
    (
        chunks.map(|chunk| Frame::Want(chunk.to_vec())).collect(),
        !newer.is_empty(),
    )
}

/// Whether a state is newer than what the graph holds of a member.
fn is_newer(topology: &Topology, node: ShortNode, stamp: Stamp) -> bool {
    topology.knows(node) && topology.held(node).is_none_or(|held| held.state.stamp < stamp)
}

/// What has come here after the place `told` and is newer than what the other side has, as far as that is known.
fn news(topology: &Topology, told: u64, theirs: &HashMap<ShortNode, Stamp>) -> Vec<Frame> {
    let newer: Vec<_> = topology
        .stamps(told)
        .filter(|(node, stamp)| theirs.get(node).is_none_or(|known| known < stamp))
        .collect();
    let chunks = newer.chunks(LINK_STATE_STAMPS_MAX);
    chunks.map(|chunk| Frame::Have(chunk.to_vec())).collect()
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
    let key = keys::NodeKey::from_seed(&[3; 32]);
    let state = LinkState {
        mesh: ContentId([7; 32]),
        stamp: Stamp::default(),
        links: Vec::new(),
    };
    let told = Signed::sign(&key, &state).map(|signed| (signed, 5));
    [
        ("have", Frame::Have(vec![(ShortNode([1; 8]), Stamp::default())])),
        ("want", Frame::Want(vec![ShortNode([1; 8])])),
        ("tell", Frame::Tell(told.into_iter().collect())),
    ]
    .map(|(name, frame)| (name.to_owned(), encode(&frame)))
    .into()
}
