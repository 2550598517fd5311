//! One side of a talk: what to answer to a frame.

use super::{
    ReconcileError, Replica, ShardSet,
    frame::{self, Blob, Frame, Hello, Roots, Salt, Step, Turn},
    round::{Batch, Round},
};
use crate::group::Lane;

/// The order in which lanes are compared: erasures are known before anything that they erase can come back.
const LANES: [Lane; 3] = [Lane::Statements, Lane::Common, Lane::Envelopes];

/// The first frame of a talk. `salt` must be unpredictable and new in each talk.
pub fn start(replica: &mut impl Replica, salt: u64) -> Vec<u8> {
    let scope = replica.scope();
    Frame::Hello(hello(replica, Turn::Opening, Salt(salt.to_le_bytes()), scope)).encode()
}

/// Answers a frame; `None` when nothing is to be answered and the talk is over. It is over as well when the answer is
/// [Same](says_same), which needs no answer.
///
/// # Errors
/// When the bytes are no frame; nothing was taken in and the talk is over.
pub fn step(replica: &mut impl Replica, frame: &[u8]) -> Result<Option<Vec<u8>>, ReconcileError> {
    step_in(LANES, replica, frame)
}

/// Whether a frame, sent or received, says that both sides hold the same: the talk ends with it.
#[must_use]
pub fn says_same(frame: &[u8]) -> bool {
    frame::is_same(frame)
}

/// Whether a frame, sent or received, says that something moved in the round before it.
#[must_use]
pub fn says_moved(frame: &[u8]) -> bool {
    frame::follows_movement(frame)
}

/// The shards over which a frame, sent or received, compares roots; `None` if it does not.
#[must_use]
pub fn scope_of_hello(frame: &[u8]) -> Option<ShardSet> {
    if !frame::is_hello(frame) {
        return None;
    }
    match Frame::decode(frame) {
        Ok(Frame::Hello(hello)) => Some(hello.scope),
        _ => None,
    }
}

pub(super) fn step_in(
    lanes: [Lane; 3],
    replica: &mut impl Replica,
    frame: &[u8],
) -> Result<Option<Vec<u8>>, ReconcileError> {
    let answer = match Frame::decode(frame)? {
        Frame::Same => None,
        Frame::Hello(hello) => answer_hello(lanes, replica, hello),
        Frame::Step(step) => answer_step(lanes, replica, step),
    };
    Ok(answer.map(|answer| answer.encode()))
}

fn hello(replica: &mut impl Replica, turn: Turn, salt: Salt, scope: ShardSet) -> Hello {
    let mut roots = Roots::default();
    for lane in LANES {
        set_root(replica, &mut roots, lane, salt, &scope);
    }
    let mut batch = Batch::default();
    if turn.hands_over(LANES) {
        for entry in replica.handoff() {
            let held = LANES.into_iter().find(|lane| replica.entries(*lane).contains(&entry));
            if !held.is_none_or(|lane| batch.add(replica, lane, &entry)) {
                break;
            }
        }
    }
    Hello {
        turn,
        salt,
        scope,
        roots,
        handoff: batch.pieces.into_iter().collect(),
    }
}

/// The shards of a lane that two nodes compare when they share `scope`: what is not placed is held by all.
pub(super) const fn compared(lane: Lane, scope: &ShardSet) -> ShardSet {
    if lane.is_sharded() { *scope } else { ShardSet::all() }
}

fn set_root(replica: &mut impl Replica, roots: &mut Roots, lane: Lane, salt: Salt, scope: &ShardSet) {
    let root = replica.entries(lane).root_of(&compared(lane, scope));
    roots.set(lane, &root.0, salt);
}

fn answer_hello(lanes: [Lane; 3], replica: &mut impl Replica, theirs: Hello) -> Option<Frame> {
    let Hello { turn, salt, scope, .. } = theirs;
    let mut handed: [Vec<Blob>; 3] = Default::default();
    for piece in theirs.handoff.0 {
        handed[piece.lane as usize].push(piece.bytes);
    }
    let mut take_handed = |replica: &mut _, lane: Lane| take(replica, lane, std::mem::take(&mut handed[lane as usize]));
    let mut moved = take_handed(replica, lanes[0]);
    let narrow = scope.intersection(&replica.scope());
    if narrow != scope {
        // Their roots are over shards that are not compared: what is left is compared over there.
        return Some(Frame::Hello(hello(replica, turn, salt.next(), narrow)));
    }
    let past = turn.lanes_past(lanes);
    let mut all_agree = true;
    for (place, lane) in lanes.into_iter().enumerate() {
        moved = moved.saturating_add(take_handed(replica, lane));
        let mut ours = Roots::default();
        set_root(replica, &mut ours, lane, salt, &scope);
        let agrees = ours.agree(&theirs.roots, lane);
        all_agree &= agrees;
        if !agrees && place >= past {
            let mut round = Round::begin(replica, salt, scope, lane, turn.breadth());
            if lane == lanes[2] && turn.hands_over(lanes) {
                round.hand_over();
            }
            return Some(round.into_frame(moved));
        }
    }
    // An earlier lane on which the two cannot agree ends the talk without a word.
    all_agree.then_some(Frame::Same)
}

fn answer_step(lanes: [Lane; 3], replica: &mut impl Replica, step: Step) -> Option<Frame> {
    let Step { salt, lane, .. } = step;
    let scope = step.scope.intersection(&replica.scope());
    let moved = step.moved.saturating_add(take(replica, lane, step.envelopes.0));
    let mut round = Round::new(replica, salt, scope, lane, step.breadth);
    step.wants.0.iter().for_each(|want| round.look_up(want));
    let mut nodes = step.nodes.0;
    round.compare_all(&mut nodes);
    round.send();
    if !round.is_empty() {
        return Some(round.into_frame(moved));
    }
    let breadth = round.breadth();
    let turn = match (lane == lanes[2], moved > 0) {
        (_, true) => Turn::Moved(lane, breadth),
        (false, false) => Turn::Settled(lane),
        (true, false) => return None,
    };
    Some(Frame::Hello(hello(replica, turn, salt.next(), scope)))
}

/// Lets the replica judge; how many were taken in, or none if its set is as before, whatever it says.
fn take(replica: &mut impl Replica, lane: Lane, pieces: Vec<Blob>) -> u32 {
    if pieces.is_empty() {
        return 0;
    }
    let before = replica.entries(lane).root();
    let taken = pieces
        .into_iter()
        .map(|piece| replica.take(lane, piece.0))
        .filter(|taken| *taken)
        .count();
    let unchanged = replica.entries(lane).root() == before;
    if unchanged {
        0
    } else {
        u32::try_from(taken).unwrap_or(u32::MAX)
    }
}
