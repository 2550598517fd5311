//! One side of a talk: what to answer to a frame.

use super::{
    ReconcileError, Replica, ShardSet,
    frame::{self, Blob, Frame, Hello, Salt, Step, Turn},
    round::{Batch, Round},
};
use crate::group::Lane;

/// The order in which lanes are compared: erasures are known before anything that they erase can come back.
const LANES: [Lane; 2] = [Lane::Statements, Lane::Envelopes];

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

pub(super) fn step_in(
    lanes: [Lane; 2],
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
    let mut roots = [[0; 8]; 2];
    for lane in LANES {
        roots[lane as usize] = fingerprint_of_root(replica, lane, salt, &scope);
    }
    let mut batch = Batch::default();
    if turn.hands_over() {
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

fn fingerprint_of_root(replica: &mut impl Replica, lane: Lane, salt: Salt, scope: &ShardSet) -> [u8; 8] {
    salt.fingerprint(&replica.entries(lane).root_of(scope).0)
}

fn answer_hello(lanes: [Lane; 2], replica: &mut impl Replica, theirs: Hello) -> Option<Frame> {
    let Hello { turn, salt, scope, .. } = theirs;
    let mut handed: [Vec<Blob>; 2] = Default::default();
    for piece in theirs.handoff.0 {
        handed[usize::from(piece.lane != lanes[0])].push(piece.bytes);
    }
    let [for_first, for_last] = handed;
    let mut moved = take(replica, lanes[0], for_first);
    let narrow = scope.intersection(&replica.scope());
    if narrow != scope {
        // Their roots are over shards that are not compared: what is left is compared over there.
        return Some(Frame::Hello(hello(replica, turn, salt.next(), narrow)));
    }
    let agrees =
        |replica: &mut _, lane| fingerprint_of_root(replica, lane, salt, &scope) == theirs.roots[lane as usize];
    let first_agrees = agrees(replica, lanes[0]);
    if !first_agrees && !turn.is_past_first() {
        return Some(Round::begin(replica, salt, scope, lanes[0], turn.breadth()).into_frame(moved));
    }
    moved = moved.saturating_add(take(replica, lanes[1], for_last));
    if !agrees(replica, lanes[1]) {
        let mut round = Round::begin(replica, salt, scope, lanes[1], turn.breadth());
        if turn.hands_over() {
            round.hand_over();
        }
        return Some(round.into_frame(moved));
    }
    // A first lane on which the two cannot agree ends the talk without a word.
    first_agrees.then_some(Frame::Same)
}

fn answer_step(lanes: [Lane; 2], replica: &mut impl Replica, step: Step) -> Option<Frame> {
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
    let turn = match (lane == lanes[0], moved > 0) {
        (true, true) => Turn::FirstMoved(breadth),
        (true, false) => Turn::FirstSettled,
        (false, true) => Turn::LastMoved(breadth),
        (false, false) => return None,
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
