//! The faults as a table. Each scenario says what it proves to have hit, and names the runs in which one protection is off: these
//! must end badly, or the scenario would prove nothing.

mod hostile;
mod honest;

use std::collections::BTreeSet;

pub use self::{hostile::HOSTILE, honest::HONEST};
use crate::{
    history::Violation,
    world::{Setup, World},
};

/// A fault or several, and what must hold in spite of them.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// How the mesh is.
    pub setup: fn(u64) -> Setup,
    /// What happens.
    pub run: fn(&mut World),
    /// What must have happened at least once, or nothing was tested.
    pub hits: fn(&World) -> Vec<(&'static str, u64)>,
    /// What protects.
    pub controls: &'static [Control],
}

/// A run in which something that protects is off.
pub struct Control {
    /// What is off.
    pub off: &'static str,
    /// Switches it off.
    pub switch: fn(&mut Setup),
    /// One of these must be found then.
    pub ends_in: &'static [Violation],
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was found that must never be.
    pub violations: BTreeSet<Violation>,
    /// What happened how often.
    pub hits: Vec<(&'static str, u64)>,
    /// A hash of everything that happened.
    pub trace: [u8; 32],
}

/// Every scenario.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    HONEST.iter().chain(HOSTILE)
}

impl Scenario {
    /// Runs it.
    #[must_use]
    pub fn play(&self, seed: u64, control: Option<&Control>) -> Outcome {
        let mut setup = (self.setup)(seed);
        if let Some(control) = control {
            (control.switch)(&mut setup);
        }
        let mut world = World::new(setup);
        (self.run)(&mut world);
        let violations = world.check();
        Outcome {
            violations,
            hits: (self.hits)(&world),
            trace: world.trace(),
        }
    }
}
