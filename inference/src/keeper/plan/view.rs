//! What is told of the models.

use std::time::Duration;

use super::{Moment, Name, Plan, Slot, State};
use crate::limits::{OVERRUN_BYTES, OVERRUN_PART};

/// How a model stands, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It can be asked.
    Loaded,
    /// It is being loaded, or takes nobody now because another one needs its memory.
    Loading,
    /// It is loaded when it is asked.
    OnDisk,
    /// It does not work now; why, and in how long it is tried again.
    Failed {
        /// In words for the operator.
        reason: String,
        /// Nothing where its engine is starting again already.
        again_in: Option<Duration>,
    },
    /// It does not fit, even alone.
    TooLarge {
        /// Bytes that it needs at least.
        needed: u64,
        /// Bytes that models may take here.
        there_are: u64,
    },
}

impl Condition {
    /// Whether it can be asked, at once or after it was loaded.
    #[must_use]
    pub const fn can_be_asked(&self) -> bool {
        matches!(self, Self::Loaded | Self::Loading | Self::OnDisk)
    }

    /// Without what changes all the time.
    #[must_use]
    pub(crate) fn steady(self) -> Self {
        match self {
            Self::Failed { reason, .. } => Self::Failed { reason, again_in: None },
            Self::TooLarge { .. } => Self::TooLarge {
                needed: 0,
                there_are: 0,
            },
            other => other,
        }
    }
}

/// A model of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelView {
    /// What it is called.
    pub name: Name,
    /// Whether it is the one that this node is configured to work with.
    pub is_main: bool,
    /// How it stands.
    pub condition: Condition,
    /// How long it takes until it can be asked; nothing when it can.
    pub expected: Duration,
    /// Bytes that are set aside for it, or that it needs at least.
    pub estimated_bytes: u64,
    /// Bytes that its process has; 0 when it has none.
    pub measured_bytes: u64,
    /// Those who ask it now.
    pub uses: u32,
}

impl ModelView {
    /// Whether it has clearly more memory than was set aside for it.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        let allowed = self.estimated_bytes as f64 * OVERRUN_PART + OVERRUN_BYTES as f64;
        self.measured_bytes as f64 > allowed
    }
}

impl Plan {
    /// Every model, by name.
    #[must_use]
    pub fn view(&self, now: Moment) -> Vec<ModelView> {
        let listed = self.slots.iter().filter(|(name, _)| self.listing.contains_key(*name));
        let view = |(name, slot): (&Name, &Slot)| ModelView {
            name: Name::clone(name),
            is_main: slot.listed.is_main,
            condition: self.condition(now, slot),
            expected: self.expected(now, slot),
            estimated_bytes: if slot.state.is_in_memory() {
                slot.reserved
            } else {
                slot.listed.bytes
            },
            measured_bytes: slot.measured,
            uses: slot.uses,
        };
        listed.map(view).collect()
    }

    fn condition(&self, now: Moment, slot: &Slot) -> Condition {
        let failed = |until: Option<Moment>| Condition::Failed {
            reason: slot.reason.clone().unwrap_or_default(),
            again_in: until.map(|until| until.saturating_sub(now)),
        };
        match slot.state {
            State::Loaded if !slot.is_draining => Condition::Loaded,
            State::Loaded | State::Loading { .. } | State::Checking { .. } => Condition::Loading,
            State::OnDisk if slot.listed.bytes > self.capacity => Condition::TooLarge {
                needed: slot.listed.bytes,
                there_are: self.capacity,
            },
            State::Unloading if slot.rests.is_some() => failed(slot.rests.map(|rests| now + rests)),
            State::OnDisk | State::Unloading => Condition::OnDisk,
            State::Failed { until } | State::Sick { until } => failed(Some(until)),
            State::Recovering { .. } => failed(None),
        }
    }
}
