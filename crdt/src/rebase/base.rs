//! A base and its bytes: the byte 6, then postcard of document, kind, heads, actors, values that count and traces of what is covered,
//! each list in its one order.

use automerge::{Change, ScalarValue};
use keys::{ContentId, NodeId};
use serde::{Deserialize, Serialize};

use super::is_rebased;
use crate::{
    envelope::Envelope,
    facts::{ChangeHash, Turn},
    limits::{
        BASE_BYTES_MAX, COVERED_CHANGES_MAX, OPERATION_COUNTER_MAX, REBASE_CHANGES_MIN, REBASE_HEADS_MAX, REBASE_SHARE,
    },
    records::RecordKind,
    view::stored_change,
};

/// First byte of a base; envelopes begin with 1 or 2, statements with 3 to 5.
pub(super) const BASE: u8 = 6;

/// Why bytes are not a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// Over [`BASE_BYTES_MAX`].
    #[error("a base of {0} bytes is over the limit of {BASE_BYTES_MAX}")]
    TooLarge(usize),
    /// Cut, not in its one form, or it says what no set of changes amounts to.
    #[error("the base is malformed")]
    Malformed,
}

/// A plain value as a base holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Plain {
    Null,
    Boolean(bool),
    Unsigned(u64),
    Signed(i64),
    /// The bits of it.
    Decimal(u64),
    Timestamp(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A value that counts, or one of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Live {
    pub(super) counter: u64,
    /// Which of the covered actors wrote it.
    pub(super) actor: u32,
    pub(super) key: String,
    pub(super) value: Plain,
}

/// What is known of the covered changes of one actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CoveredActor {
    pub(crate) actor: Vec<u8>,
    /// The node that wrote under it.
    pub(crate) author: NodeId,
    /// Its last sequence number.
    pub(crate) turns: u64,
    /// Its highest operation.
    pub(crate) highest: u64,
}

/// The beginning of a covered change's hash, and its highest operation.
pub(super) type Trace = ([u8; 8], u64);

/// What a set of changes amounts to; see [`crate::rebase`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Base {
    pub(super) document: ContentId,
    pub(super) kind: RecordKind,
    pub(super) heads: Vec<ChangeHash>,
    /// By actor.
    pub(super) actors: Vec<CoveredActor>,
    /// By operation id.
    pub(super) live: Vec<Live>,
    /// By hash.
    pub(super) traces: Vec<Trace>,
}

impl Base {
    /// Whether the first byte says that these bytes are a base.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.first() == Some(&BASE)
    }

    /// The exact bytes, as journalled and sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Plain data of known length: postcard refuses none of it.
        postcard::to_extend(self, vec![BASE]).unwrap_or_default()
    }

    /// Reads a base and checks that it could be what some changes amount to.
    ///
    /// # Errors
    /// Why the bytes are not one.
    pub fn open(bytes: &[u8]) -> Result<Self, BaseError> {
        if bytes.len() > BASE_BYTES_MAX {
            return Err(BaseError::TooLarge(bytes.len()));
        }
        let body = bytes.strip_prefix(&[BASE]).ok_or(BaseError::Malformed)?;
        let (base, rest): (Self, _) = postcard::take_from_bytes(body).map_err(|_| BaseError::Malformed)?;
        // In its one form only, or whoever passes it on could give it a second id.
        if rest.is_empty() && base.is_consistent() && base.to_bytes() == bytes {
            Ok(base)
        } else {
            Err(BaseError::Malformed)
        }
    }

    fn is_consistent(&self) -> bool {
        let counts = !self.heads.is_empty()
            && self.heads.len() <= REBASE_HEADS_MAX
            && self.traces.len() <= COVERED_CHANGES_MAX
            && self.heads.iter().all(|head| self.highest_of(head).is_some());
        let orders = self.heads.is_sorted_by(|left, right| left < right)
            && self.actors.is_sorted_by(|left, right| left.actor < right.actor)
            && self
                .live
                .is_sorted_by(|left, right| self.id_of(left) < self.id_of(right))
            && self.traces.is_sorted();
        let actors = self.actors.iter();
        let turns = actors.map(|actor| actor.turns).fold(0, u64::saturating_add);
        let written = self.live.iter().all(|live| {
            let actor = self.actors.get(live.actor as usize);
            live.counter > 0 && actor.is_some_and(|actor| live.counter <= actor.highest)
        });
        let highest = self.highest();
        is_rebased(self.kind)
            && counts
            && orders
            && written
            && turns <= self.traces.len() as u64
            && self.actors.iter().all(|actor| actor.highest <= highest)
            && highest <= OPERATION_COUNTER_MAX
    }

    pub(super) fn id_of(&self, live: &Live) -> (u64, Option<&[u8]>) {
        let actor = self.actors.get(live.actor as usize);
        (live.counter, actor.map(|actor| actor.actor.as_slice()))
    }

    /// Hash of the exact bytes.
    #[must_use]
    pub fn id(&self) -> ContentId {
        ContentId::of(&self.to_bytes())
    }

    /// The document that stands on it.
    #[must_use]
    pub const fn document(&self) -> ContentId {
        self.document
    }

    /// What the document is.
    #[must_use]
    pub const fn kind(&self) -> RecordKind {
        self.kind
    }

    /// How many changes it covers.
    #[must_use]
    pub fn covered_changes(&self) -> usize {
        self.traces.len()
    }

    pub(crate) fn heads(&self) -> &[ChangeHash] {
        &self.heads
    }

    pub(crate) fn actors(&self) -> &[CoveredActor] {
        &self.actors
    }

    pub(crate) fn actor(&self, actor: &[u8]) -> Option<&CoveredActor> {
        let place = self.actors.binary_search_by(|known| known.actor.as_slice().cmp(actor));
        self.actors.get(place.ok()?)
    }

    /// The highest operation of anything covered.
    pub(crate) fn highest(&self) -> u64 {
        self.traces.iter().map(|(_, highest)| *highest).max().unwrap_or(0)
    }

    /// The highest operation of a covered change; `None` for one that is not covered.
    pub(crate) fn highest_of(&self, hash: &ChangeHash) -> Option<u64> {
        let beginning = beginning(hash);
        let after = self.traces.partition_point(|(trace, _)| *trace <= beginning);
        let (trace, highest) = self.traces.get(after.checked_sub(1)?)?;
        (*trace == beginning).then_some(*highest)
    }

    /// Whether an actor's turn belongs to a covered change.
    pub(crate) fn covers_turn(&self, (actor, sequence): &Turn) -> bool {
        self.actor(actor).is_some_and(|actor| *sequence <= actor.turns)
    }

    /// Whether a covered envelope stays all the same: the first one certifies the document, and a sealed text that is still named is
    /// proven by the envelope that brought it.
    pub(crate) fn keeps(&self, envelope: &Envelope) -> bool {
        envelope.is_genesis || envelope.payloads.iter().any(|(hash, _)| self.names(hash))
    }

    /// Whether a value that counts names a sealed text.
    fn names(&self, payload: &ContentId) -> bool {
        let reference = &payload.0[..8];
        self.live.iter().any(|live| match &live.value {
            Plain::Bytes(bytes) => bytes.windows(reference.len()).any(|window| window == reference),
            _ => false,
        })
    }

    /// The base without what the author of a change wrote in its turn and later, so that this change can take their place: how the
    /// document looks to one who follows the other branch of a fork. What those overwrote is gone.
    pub(crate) fn before(&self, rival: &Change) -> Self {
        let mut before = self.clone();
        let (actor, start) = (rival.actor_id().to_bytes(), rival.start_op().get());
        let place = before
            .actors
            .binary_search_by(|known| known.actor.as_slice().cmp(actor));
        let Ok(place) = place else { return before };
        let covered = &mut before.actors[place];
        if rival.seq() <= covered.turns {
            covered.turns = rival.seq().saturating_sub(1);
            covered.highest = covered.highest.min(start.saturating_sub(1));
            before
                .live
                .retain(|live| live.actor as usize != place || live.counter < start);
        }
        before
    }

    /// Whether an envelope goes when the document stands on this base.
    pub(crate) fn drops(&self, envelope: &Envelope) -> bool {
        !self.keeps(envelope)
            && stored_change(envelope).is_some_and(|change| self.highest_of(&change.hash().0).is_some())
    }

    /// Whether everything that another base covers is covered here, too.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        other.heads.iter().all(|head| self.highest_of(head).is_some())
    }

    /// Whether a document with so many changes is better off on a base.
    pub(crate) fn is_worth_it(&self, older: usize) -> bool {
        let newer = self.traces.len().saturating_sub(older);
        newer >= REBASE_CHANGES_MIN && self.live.len().saturating_mul(REBASE_SHARE) < newer
    }
}

pub(super) fn beginning(hash: &ChangeHash) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    first
}

impl Plain {
    pub(super) fn of(value: &ScalarValue) -> Option<Self> {
        Some(match value {
            ScalarValue::Null => Self::Null,
            ScalarValue::Boolean(value) => Self::Boolean(*value),
            ScalarValue::Uint(number) => Self::Unsigned(*number),
            ScalarValue::Int(number) => Self::Signed(*number),
            ScalarValue::F64(number) => Self::Decimal(number.to_bits()),
            ScalarValue::Timestamp(time) => Self::Timestamp(*time),
            ScalarValue::Str(text) => Self::Text(text.to_string()),
            ScalarValue::Bytes(bytes) => Self::Bytes(bytes.clone()),
            ScalarValue::Counter(_) | ScalarValue::Unknown { .. } => return None,
        })
    }

    pub(super) fn to_scalar(&self) -> ScalarValue {
        match self {
            Self::Null => ScalarValue::Null,
            Self::Boolean(value) => ScalarValue::Boolean(*value),
            Self::Unsigned(number) => ScalarValue::Uint(*number),
            Self::Signed(number) => ScalarValue::Int(*number),
            Self::Decimal(bits) => ScalarValue::F64(f64::from_bits(*bits)),
            Self::Timestamp(time) => ScalarValue::Timestamp(*time),
            Self::Text(text) => ScalarValue::Str(text.as_str().into()),
            Self::Bytes(bytes) => ScalarValue::Bytes(bytes.clone()),
        }
    }
}
