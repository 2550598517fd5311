//! What to do with a change from outside: a pure function from bytes and facts to a judgement.
//!
//! Everything cheap is checked before anything is decoded, and everything that could harm automerge is refused here: a change
//! whose first operation does not follow its dependencies (the max-op poison makes a document unwritable for ever), counters near
//! the limit at which automerge panics, times too far apart for it, more operations than can be decoded, and what automerge would
//! have written otherwise. Two
//! changes of one actor with one sequence number are not refused but kept as a fork (see `facts`), because the two halves of a mesh
//! may each have met one of them first.
//!
//! What a judgement depends on is part of the change's own causal past, so all nodes judge alike. What a node only lacks for now
//! (a dependency, the author's membership, room in the author's quota) is never a refusal: the change comes again.
//!
//! ## Authors that were revoked
//! A change says nothing of when it was written, so the changes of a revoked node from before and after cannot be told apart by
//! themselves. Two things must not happen: that it goes on writing, and that nodes which have met its changes before the
//! revocation and nodes which have not can never agree again (what honest members wrote on top of them would hang in the air, and
//! two members would reconcile the same difference for ever). So once a node knows of a revocation it refuses the author's changes
//! from the author itself and by gossip, and still takes them from a member in good standing that holds them
//! ([`Right::Former`]). A revoked node has no connection with any member that knows, so only what it gave to someone before that one
//! knew gets in. A member that would pass on more of it could as well write it in its own name.

mod columns;

use automerge::Change;

use crate::{
    envelope::Envelope,
    facts::{ACTOR_AUTHOR_BYTES, Facts},
    limits::{CHANGE_BYTES_MAX, COMMIT_TIME_MAX, DEPENDENCIES_MAX, OPERATION_COUNTER_MAX, OPERATIONS_PER_CHANGE_MAX},
    replica::Recoveries,
};

/// Whether a node may write, as far as this node knows the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It is a member.
    Member,
    /// It was a member and is one no longer. What it wrote is taken from a member that holds it, in a reconciliation, and never from
    /// itself or by gossip.
    Former,
    /// Not known here; that may change with the next certificate.
    Unknown,
}

/// Why a change is refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Over a limit of bytes.
    #[error("the change is too large")]
    TooLarge,
    /// Not decodable as an envelope, a change or a statement, not the bytes that automerge writes for the change, or not signed by
    /// whom it names.
    #[error("the change is malformed")]
    Malformed,
    /// Its first operation does not follow its dependencies.
    #[error("the change's first operation does not follow its dependencies")]
    WrongStart,
    /// Too many operations or dependencies, or counters above [`OPERATION_COUNTER_MAX`].
    #[error("the change has too many operations or dependencies, or too high counters")]
    TooManyOperations,
    /// It claims a time that no clock shows: before 1970 or after [`COMMIT_TIME_MAX`].
    #[error("the change claims a time that cannot be")]
    WrongTime,
    /// Its automerge actor does not begin with its author's id: it writes in another node's name.
    #[error("the change's actor does not belong to its author")]
    WrongActor,
    /// It claims to be of another kind than its document.
    #[error("the change is not of its document's kind")]
    WrongKind,
    /// A genesis that depends on something, or a later change that depends on nothing or names an owner.
    #[error("only the first change of a document has no dependencies and names an owner")]
    WrongGenesis,
    /// It made the view fail.
    #[error("the change cannot be applied")]
    Poison,
    /// The record's own rules refuse the first state of the document.
    #[error("the change breaks a rule of its record")]
    InvalidRecord,
}

/// What to do with a change.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// Take it in.
    Accept(Box<Change>),
    /// Take it in as a further envelope of a change that is in.
    Twin([u8; 32]),
    /// The envelope is in already.
    Known,
    /// The document's base covers it: it is in, in another form.
    Covered,
    /// Something it depends on is missing: keep it aside for a while.
    Park,
    /// The author is not a member that this node knows: leave it; it comes again.
    UnknownAuthor,
    /// Never take it in, never forward it.
    Reject(Rejection),
}

/// Judges a verified envelope whose author has this `right`. `facts` are those of its document, if the document is known; of
/// `recoveries`, some are off only in a simulation that must fail.
pub(crate) fn judge(envelope: &Envelope, facts: Option<&Facts>, right: Right, recoveries: Recoveries) -> Judgement {
    let start_rule = recoveries.start_rule;
    if right != Right::Member {
        return Judgement::UnknownAuthor;
    }
    if envelope.change.len() > CHANGE_BYTES_MAX {
        return Judgement::Reject(Rejection::TooLarge);
    }
    if let Err(rejection) = columns::check(&envelope.change) {
        return Judgement::Reject(rejection);
    }
    // automerge's decoder is foreign code on foreign bytes: a panic in it must cost one change, not the thread.
    let Ok(Some(change)) = std::panic::catch_unwind(|| decode(&envelope.change)) else {
        return Judgement::Reject(Rejection::Malformed);
    };
    let within = change.len() <= OPERATIONS_PER_CHANGE_MAX
        && (change.max_op() <= OPERATION_COUNTER_MAX || !start_rule)
        && change.deps().len() <= DEPENDENCIES_MAX;
    if !within {
        return Judgement::Reject(Rejection::TooManyOperations);
    }
    if recoveries.times && !(0..=COMMIT_TIME_MAX).contains(&change.timestamp()) {
        return Judgement::Reject(Rejection::WrongTime);
    }
    let own_actor = change
        .actor_id()
        .to_bytes()
        .starts_with(&envelope.author.0[..ACTOR_AUTHOR_BYTES]);
    if !own_actor && recoveries.actors && !envelope.is_version_1() {
        return Judgement::Reject(Rejection::WrongActor);
    }
    let wrong_genesis =
        change.deps().is_empty() != envelope.is_genesis || (envelope.owner.is_some() && !envelope.is_genesis);
    if wrong_genesis {
        return Judgement::Reject(Rejection::WrongGenesis);
    }
    match facts {
        Some(facts) if facts.is_covered(&change.hash().0) => Judgement::Covered,
        None if envelope.is_genesis => judge_start(change, 0, start_rule),
        None => Judgement::Park,
        Some(facts) => judge_in(envelope, facts, change, start_rule),
    }
}

/// Decodes a change that is written as automerge itself writes it. Of others, a saved document would not load again: saving writes
/// each change anew, under another hash. That also leaves one way to write a change, checksum included.
fn decode(bytes: &[u8]) -> Option<Change> {
    let change = Change::try_from(bytes).ok()?;
    let rewritten = Change::from(change.decode());
    (rewritten.raw_bytes() == bytes).then_some(change)
}

fn judge_in(envelope: &Envelope, facts: &Facts, change: Change, start_rule: bool) -> Judgement {
    if facts.kind != envelope.kind {
        return Judgement::Reject(Rejection::WrongKind);
    }
    let hash = change.hash().0;
    if let Some(known) = facts.changes.get(&hash) {
        let is_in = known.envelope == envelope.id || known.twins.contains(&envelope.id);
        return if is_in { Judgement::Known } else { Judgement::Twin(hash) };
    }
    let mut highest = 0;
    for dependency in change.deps() {
        match facts.highest_of(&dependency.0) {
            Some(known) => highest = highest.max(known),
            None => return Judgement::Park,
        }
    }
    judge_start(change, highest, start_rule)
}

fn judge_start(change: Change, highest: u64, start_rule: bool) -> Judgement {
    if change.start_op().get() == highest + 1 || !start_rule {
        Judgement::Accept(Box::new(change))
    } else {
        Judgement::Reject(Rejection::WrongStart)
    }
}

#[cfg(test)]
mod tests {
    use automerge::{
        ActorId, AutoCommit, ObjType, ROOT, ReadDoc, ScalarValue,
        marks::{ExpandMark, Mark},
        transaction::Transactable,
    };
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// One random change of any sort that automerge can make.
    fn write(document: &mut AutoCommit, random: &mut ChaCha8Rng) {
        let (_, text) = document.get(ROOT, "text").unwrap().unwrap();
        let (_, list) = document.get(ROOT, "list").unwrap().unwrap();
        let (_, map) = document.get(ROOT, "map").unwrap().unwrap();
        let key = ["a", "b", "c"][random.random_range(0..3)];
        match random.random_range(0..9) {
            0 => document.put(ROOT, key, random.random::<i64>()).unwrap(),
            1 => document.put(&map, key, random.random::<f64>()).unwrap(),
            2 => document
                .put(&map, key, ScalarValue::Bytes(vec![random.random(); 20]))
                .unwrap(),
            3 => document.delete(&map, key).unwrap(),
            4 => document.increment(ROOT, "counter", random.random_range(-9..9)).unwrap(),
            5 => {
                let place = random.random_range(0..=document.length(&list));
                let inner = document.insert_object(&list, place, ObjType::Map).unwrap();
                document
                    .put(&inner, key, ScalarValue::Timestamp(random.random()))
                    .unwrap();
                document
                    .delete(&list, random.random_range(0..document.length(&list)))
                    .unwrap();
            }
            6 => {
                let end = document.length(&text);
                let mark = Mark::new("bold".to_owned(), true, 0, end);
                document.mark(&text, mark, ExpandMark::Both).unwrap();
            }
            7 => document.put(ROOT, key, ()).unwrap(),
            _ => {
                let place = random.random_range(0..document.length(&text));
                document.splice_text(&text, place, 1, "\u{43f}\u{1f426} words").unwrap();
            }
        }
    }

    #[test]
    fn what_automerge_writes_is_decoded() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut first = AutoCommit::new().with_actor(ActorId::from([1; 16]));
        first.put_object(ROOT, "text", ObjType::Text).unwrap();
        first.put_object(ROOT, "list", ObjType::List).unwrap();
        first.put_object(ROOT, "map", ObjType::Map).unwrap();
        first.put(ROOT, "counter", ScalarValue::counter(1)).unwrap();
        let (_, text) = first.get(ROOT, "text").unwrap().unwrap();
        first.splice_text(&text, 0, 0, "murmuration").unwrap();
        first.commit();
        let mut writers = vec![first];
        for actor in 2..5 {
            let writer = writers[0].fork().with_actor(ActorId::from([actor; 16]));
            writers.push(writer);
        }
        let mut seen = 0;
        for _ in 0..400 {
            let chosen = random.random_range(0..writers.len());
            for _ in 0..random.random_range(1..4) {
                write(&mut writers[chosen], &mut random);
            }
            if let Some(change) = writers[chosen].get_last_local_change() {
                let decoded = decode(change.raw_bytes()).expect("an honest change");
                assert_eq!(decoded.hash(), change.hash());
                assert_eq!(columns::check(change.raw_bytes()), Ok(()));
                seen += 1;
            }
            let mut other = writers[random.random_range(0..4)].clone();
            writers[chosen].merge(&mut other).unwrap();
        }
        assert!(seen > 300, "{seen} changes");
    }

    #[test]
    fn a_second_way_to_write_a_change_is_refused() {
        let mut document = AutoCommit::new();
        document.put(ROOT, "a", 1).unwrap();
        let change = document.get_last_local_change().unwrap();
        let mut bytes = change.raw_bytes().to_vec();
        assert!(decode(&bytes).is_some());
        // The checksum: automerge does not look at it.
        bytes[4] ^= 1;
        assert!(Change::from_bytes(bytes.clone()).is_ok());
        assert!(decode(&bytes).is_none());
    }
}
