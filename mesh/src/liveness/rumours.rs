//! What nodes tell each other of members, and the queue of what is still to be told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Standing;
use crate::limits::{LIVENESS_RUMOURS_PER_FRAME, LIVENESS_TELLINGS};

/// The beginning of a member's id: enough to tell the members of one roster apart.
pub type Tag = [u8; 16];

/// What a member says of itself; the higher incarnation is the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Only the member itself counts it up.
    pub incarnation: u64,
    /// What it is ready for.
    pub standing: Standing,
}

/// One piece of news. It carries no age: whoever hears of a suspicion gives the suspect its full time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rumour {
    /// A member says that it is there.
    Alive(Tag, Claim),
    /// A neighbour of a member does not hear it, and nobody it asked does.
    Suspect {
        /// The member.
        about: Tag,
        /// The member's last known incarnation.
        incarnation: u64,
        /// Who does not hear it.
        by: Tag,
    },
    /// A member did not contradict in time.
    Gone {
        /// The member.
        about: Tag,
        /// The member's last known incarnation.
        incarnation: u64,
    },
}

impl Rumour {
    pub(crate) const fn about(&self) -> Tag {
        match self {
            Self::Alive(about, _) | Self::Suspect { about, .. } | Self::Gone { about, .. } => *about,
        }
    }

    pub(crate) const fn incarnation(&self) -> u64 {
        match self {
            Self::Alive(_, claim) => claim.incarnation,
            Self::Suspect { incarnation, .. } | Self::Gone { incarnation, .. } => *incarnation,
        }
    }
}

/// What one node sends to a neighbour. The order is that of the wire, here and in what it holds: new ones come last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// News of members.
    News(Vec<Rumour>),
    /// Do you hear this member?
    Ask(Tag),
    /// I hear this member.
    Vouch(Tag),
}

/// News to pass on. One per member and teller of a suspicion, so that it is bounded by the roster.
#[derive(Debug, Default)]
pub(super) struct Rumours {
    queue: BTreeMap<Tag, Vec<(Rumour, u32)>>,
}

impl Rumours {
    /// What is known of the same member from before is not told any more.
    pub(super) fn add(&mut self, rumour: Rumour) {
        let queued = self.queue.entry(rumour.about()).or_default();
        let replaces = |old: &Rumour| match (old, &rumour) {
            // Suspicions of several tellers stand beside each other.
            (Rumour::Suspect { incarnation, by, .. }, Rumour::Suspect { by: teller, .. }) => {
                by == teller || *incarnation < rumour.incarnation()
            }
            _ => true,
        };
        queued.retain(|(old, _)| !replaces(old));
        queued.push((rumour, 0));
    }

    pub(super) fn retain(&mut self, keep: impl Fn(Tag) -> bool) {
        self.queue.retain(|tag, _| keep(*tag));
    }

    /// What to tell one neighbour now, what was told least first: a contradiction that has just come goes before the suspicion
    /// that was told already.
    pub(super) fn take(&mut self, members: usize) -> Vec<Rumour> {
        let tellings = LIVENESS_TELLINGS * (members + 2).ilog2();
        let mut all: Vec<_> = self.queue.values_mut().flatten().collect();
        all.sort_by_key(|(rumour, told)| (*told, !matches!(rumour, Rumour::Alive(..))));
        let mut taken = Vec::new();
        for (rumour, told) in all.into_iter().take(LIVENESS_RUMOURS_PER_FRAME) {
            *told += 1;
            taken.push(rumour.clone());
        }
        self.queue.retain(|_, queued| {
            queued.retain(|(_, told)| *told < tellings);
            !queued.is_empty()
        });
        taken
    }
}

/// A number in 0..1.
pub(super) fn share(rng: &mut impl rand::Rng) -> f64 {
    f64::from(rng.next_u32()) / f64::from(u32::MAX)
}

/// Some of `all`, at random.
pub(super) fn pick(mut all: Vec<Tag>, count: usize, rng: &mut impl rand::Rng) -> Vec<Tag> {
    let count = count.min(all.len());
    for place in 0..count {
        let other = place + rng.next_u64() as usize % (all.len() - place);
        all.swap(place, other);
    }
    all.truncate(count);
    all
}
