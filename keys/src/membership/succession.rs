//! A key that takes the place of another: of a node, with its roles and powers, or of the root.
//!
//! The old key and the new one both sign: nobody can be made an heir against his will, and nobody can make himself one. A succession
//! holds every step from the key that a certificate (or the genesis) names, so that it can be judged alone.
//!
//! ## Two successions of one key
//! When an old key was rotated in both halves of a split, or a copy of it was, both halves must agree on one heir without a clock and
//! whatever comes first: at the first step in which two successions differ the lower hash of old and new key wins, and of two of which
//! one continues the other the longer one counts. The other heir is no member. Of one key at most [`SUCCESSIONS_KEPT`] are held.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

use super::MembershipError;
use crate::{
    ContentId, NodeId, NodeKey, Payload, Signed, SignedError, Timestamp,
    limits::{SUCCESSION_STEPS_MAX, SUCCESSIONS_KEPT},
};

/// The old key's and the new key's word for one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Handing {
    mesh: ContentId,
    from: NodeId,
    to: NodeId,
    at: Timestamp,
}

impl Payload for Handing {
    const DOMAIN: &'static str = "starling/succession/1";
}

/// One step with both signatures; what they sign is rebuilt, because several steps travel in one piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    to: NodeId,
    at: Timestamp,
    by_old: ([u8; 32], [u8; 32]),
    by_new: ([u8; 32], [u8; 32]),
}

/// How one key came into the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    mesh: ContentId,
    origin: NodeId,
    steps: Vec<Step>,
}

fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut first, mut second) = ([0; 32], [0; 32]);
    first.copy_from_slice(&signature[..32]);
    second.copy_from_slice(&signature[32..]);
    (first, second)
}

fn whole((first, second): &([u8; 32], [u8; 32])) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(first);
    signature[32..].copy_from_slice(second);
    signature
}

impl Succession {
    /// The key in whose place others came: a certificate names it, or the genesis does.
    #[must_use]
    pub const fn origin(&self) -> NodeId {
        self.origin
    }

    /// The mesh.
    #[must_use]
    pub const fn mesh(&self) -> ContentId {
        self.mesh
    }

    /// The key that counts in the end.
    #[must_use]
    pub fn heir(&self) -> NodeId {
        self.steps.last().map_or(self.origin, |step| step.to)
    }

    /// The key that handed over last.
    pub(super) fn author(&self) -> NodeId {
        let before = self.steps.len().checked_sub(2).and_then(|place| self.steps.get(place));
        before.map_or(self.origin, |step| step.to)
    }

    /// When the last key took over, by its clock; for people.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.steps.last().map_or(Timestamp(0), |step| step.at)
    }

    /// Every key, the first one first.
    pub fn keys(&self) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::once(self.origin).chain(self.steps.iter().map(|step| step.to))
    }

    /// `old` hands over to `new`, after the steps that brought `old` into its place, if any did.
    pub(super) fn hand_over(
        before: Option<&Self>,
        mesh: ContentId,
        (old, new): (&NodeKey, &NodeKey),
        at: Timestamp,
    ) -> Result<Self, SignedError> {
        let handing = Handing {
            mesh,
            from: old.id(),
            to: new.id(),
            at,
        };
        let step = Step {
            to: new.id(),
            at,
            by_old: halves(&Signed::sign(old, &handing)?.signature_bytes()),
            by_new: halves(&Signed::sign(new, &handing)?.signature_bytes()),
        };
        let begun = before.cloned().unwrap_or(Self {
            mesh,
            origin: old.id(),
            steps: Vec::new(),
        });
        Ok(Self {
            steps: begun.steps.into_iter().chain([step]).collect(),
            ..begun
        })
    }

    /// Verifies every signature, and that no key comes twice.
    pub(super) fn verify(&self) -> Result<(), MembershipError> {
        let keys: BTreeSet<NodeId> = self.keys().collect();
        let sane = (1..=SUCCESSION_STEPS_MAX).contains(&self.steps.len()) && keys.len() == self.steps.len() + 1;
        if !sane {
            return Err(MembershipError::BrokenChain);
        }
        let mut from = self.origin;
        for step in &self.steps {
            let handing = Handing {
                mesh: self.mesh,
                from,
                to: step.to,
                at: step.at,
            };
            Signed::from_parts(from, &handing, &whole(&step.by_old))?;
            Signed::from_parts(step.to, &handing, &whole(&step.by_new))?;
            from = step.to;
        }
        Ok(())
    }

    /// Which of two successions of one key goes before: the same answer on every node.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let places = |succession: &Self| -> Vec<ContentId> {
            let keys: Vec<NodeId> = succession.keys().collect();
            keys.windows(2)
                .map(|pair| ContentId::of(&[pair[1].0, pair[0].0].concat()))
                .collect()
        };
        let (own, theirs) = (places(self), places(other));
        let differ = own.iter().zip(&theirs).find(|(own, theirs)| own != theirs);
        let by_steps = differ.map_or(theirs.len().cmp(&own.len()), |(own, theirs)| own.cmp(theirs));
        let bytes = |succession: &Self| postcard::to_stdvec(succession).unwrap_or_default();
        by_steps.then_with(|| bytes(self).cmp(&bytes(other)))
    }
}

/// The successions of one key that are held, in their order.
pub(super) type Held<T> = Vec<(Succession, T)>;

/// Puts a succession in its place among those of its key; whether it is held now and was not before.
pub(super) fn insert<T>(held: &mut Held<T>, succession: Succession, with: T) -> bool {
    let place = held.partition_point(|(known, _)| known.order(&succession) == Ordering::Less);
    // The same keys, signed once more, say nothing new: the first of them stays.
    let before = held[..place].last();
    let same = before.is_some_and(|(known, _)| known.keys().eq(succession.keys()));
    if same || place >= SUCCESSIONS_KEPT || held.get(place).is_some_and(|(known, _)| *known == succession) {
        return false;
    }
    held.insert(place, (succession, with));
    held.dedup_by(|later, earlier| later.0.keys().eq(earlier.0.keys()));
    held.truncate(SUCCESSIONS_KEPT);
    true
}

/// Who is who: the keys that came into each other's place, by the successions that count.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Identities {
    origins: BTreeMap<NodeId, NodeId>,
    /// Of each first key all that came after, itself among them, with the time of the last step.
    chains: BTreeMap<NodeId, (Vec<NodeId>, Timestamp)>,
}

impl Identities {
    /// The first of each key's successions counts, unless one of its heirs is somebody already: a member of its own, or the heir of a
    /// key with a lower id.
    pub(super) fn new<'a>(
        successions: impl Iterator<Item = &'a Succession>,
        is_somebody: impl Fn(&NodeId) -> bool,
    ) -> Self {
        let mut identities = Self::default();
        let mut seen = BTreeSet::new();
        for succession in successions {
            if !seen.insert(succession.origin) {
                continue;
            }
            let keys: Vec<NodeId> = succession.keys().collect();
            let free = |key: &NodeId| !is_somebody(key) && !identities.origins.contains_key(key);
            if keys[1..].iter().all(free) {
                identities
                    .origins
                    .extend(keys.iter().map(|key| (*key, succession.origin)));
                identities.chains.insert(succession.origin, (keys, succession.at()));
            }
        }
        identities
    }

    /// The first key of whoever has this one.
    pub(super) fn origin(&self, key: &NodeId) -> NodeId {
        self.origins.get(key).copied().unwrap_or(*key)
    }

    /// Every key of whoever has this one.
    pub(super) fn keys(&self, key: &NodeId) -> Vec<NodeId> {
        let chain = self.chains.get(&self.origin(key));
        chain.map_or_else(|| vec![*key], |(keys, _)| keys.clone())
    }

    /// The key that counts now of whoever has this one.
    pub(super) fn current(&self, key: &NodeId) -> NodeId {
        let chain = self.chains.get(&self.origin(key));
        chain.and_then(|(keys, _)| keys.last().copied()).unwrap_or(*key)
    }

    pub(super) fn chains(&self) -> impl Iterator<Item = (&NodeId, &(Vec<NodeId>, Timestamp))> {
        self.chains.iter()
    }
}
