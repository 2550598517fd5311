//! Why a node was asked for an answer: what its cost was made of, and that of the one that would have been asked instead.
//!
//! The gateway that asked writes it, beside the answer and not in it: the node that made the answer does not know why it was asked. It
//! names nodes, models and times, and no word of the person's.

use keys::NodeId;
use serde::{Deserialize, Serialize};

use super::MODEL_CHARACTERS_MAX;
use crate::records::{
    RecordError,
    migrate::InitialFormat,
    shape::{self, cut},
};

/// Terms of one cost that are kept.
pub const CHOICE_TERMS_MAX: usize = 16;
/// Of a millisecond: terms are kept as whole numbers of this, so that they add up.
const PARTS: f64 = 1e9;

/// Why a node was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerChoice {
    /// How many could be asked.
    pub candidates: u32,
    /// How it came about.
    pub how: ChoiceHow,
    /// Who was asked.
    pub winner: ChoiceCost,
    /// Who would have been asked instead.
    pub runner_up: Option<ChoiceCost>,
}

/// How a choice came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChoiceHow {
    /// It was clearly the cheapest.
    Cheapest,
    /// It has the conversation computed.
    Stayed,
    /// It was drawn from those that could not be told apart.
    Drawn,
}

/// What asking a node was expected to cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceCost {
    /// The node.
    pub node: NodeId,
    /// Its model.
    pub model: String,
    /// Each term that is not nothing.
    terms: Vec<(ChoiceTerm, i64)>,
}

/// A part of a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChoiceTerm {
    /// Once over the network and back.
    RoundTrip,
    /// Until the model is in memory.
    Reload,
    /// Until it has its turn.
    Queue,
    /// Computing what is new of the prompt.
    Prefill,
    /// Generating the answer.
    Decode,
    /// What all others wait longer.
    Displaced,
    /// What the node takes longer than it claims.
    Slowdown,
    /// What is lost because it fails sometimes.
    Risk,
    /// It runs on a battery.
    Battery,
    /// It is hot.
    Heat,
    /// What it said before turned out wrong.
    Trust,
}

impl ChoiceTerm {
    /// Every term with the name under which programs know it.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::RoundTrip, "round_trip"),
        (Self::Reload, "reload"),
        (Self::Queue, "queue"),
        (Self::Prefill, "prefill"),
        (Self::Decode, "decode"),
        (Self::Displaced, "displaced"),
        (Self::Slowdown, "slowdown"),
        (Self::Risk, "risk"),
        (Self::Battery, "battery"),
        (Self::Heat, "heat"),
        (Self::Trust, "trust"),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(term, _)| *term == self);
        found.map_or("", |(_, name)| name)
    }

    /// The term of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(term, _)| *term)
    }
}

impl ChoiceCost {
    /// A cost from its terms in milliseconds; those that are nothing are left out.
    #[must_use]
    pub fn new(node: NodeId, model: &str, terms: impl IntoIterator<Item = (ChoiceTerm, f64)>) -> Self {
        let terms = terms.into_iter().map(|(term, milliseconds)| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a cast from a float saturates, and a cost is a number"
            )]
            let parts = (milliseconds * PARTS).round() as i64;
            (term, parts)
        });
        Self {
            node,
            model: cut(model.to_owned(), MODEL_CHARACTERS_MAX),
            terms: terms.filter(|(_, parts)| *parts != 0).take(CHOICE_TERMS_MAX).collect(),
        }
    }

    /// The terms in milliseconds.
    pub fn terms(&self) -> impl Iterator<Item = (ChoiceTerm, f64)> + '_ {
        self.terms.iter().map(|(term, parts)| (*term, milliseconds(*parts)))
    }

    /// Their sum.
    #[must_use]
    pub fn total(&self) -> f64 {
        let sum = self
            .terms
            .iter()
            .fold(0_i64, |sum, (_, parts)| sum.saturating_add(*parts));
        milliseconds(sum)
    }

    fn check(&self) -> Result<(), RecordError> {
        shape::check_text("model", &self.model, 0, MODEL_CHARACTERS_MAX)?;
        shape::check_count("terms", self.terms.len(), CHOICE_TERMS_MAX)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "to the millionth of a millisecond it is exact for hours"
)]
fn milliseconds(parts: i64) -> f64 {
    parts as f64 / PARTS
}

impl AnswerChoice {
    /// Checks every limit.
    pub(super) fn check(&self) -> Result<(), RecordError> {
        self.winner.check()?;
        self.runner_up.as_ref().map_or(Ok(()), ChoiceCost::check)
    }
}

impl InitialFormat for AnswerChoice {
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::migrate::Migrate;

    /// Kept for ever.
    const CHOICE: &[u8] = include_bytes!("../../../../tests/formats/session-choice-1.bin");

    fn choice() -> AnswerChoice {
        let terms = [
            (ChoiceTerm::RoundTrip, 20.5),
            (ChoiceTerm::Decode, 234.567_891_234),
            (ChoiceTerm::Slowdown, -3.25),
        ];
        AnswerChoice {
            candidates: 3,
            how: ChoiceHow::Stayed,
            winner: ChoiceCost::new(NodeId([1; 32]), "built-in", terms),
            runner_up: Some(ChoiceCost::new(
                NodeId([2; 32]),
                "m",
                [(ChoiceTerm::Queue, 0.0), (ChoiceTerm::Trust, 1.0)],
            )),
        }
    }

    #[test]
    fn its_bytes_are_what_they_were() {
        assert_eq!(choice().encode().unwrap(), CHOICE);
        assert_eq!(AnswerChoice::decode(CHOICE), Some(choice()));
        assert_eq!(AnswerChoice::decode(&CHOICE[..CHOICE.len() - 1]), None);
    }

    #[test]
    fn terms_add_up_to_the_total_and_what_is_nothing_is_left_out() {
        let choice = choice();
        let sum: f64 = choice.winner.terms().map(|(_, milliseconds)| milliseconds).sum();
        assert!((sum - choice.winner.total()).abs() < 1e-6);
        assert!((choice.winner.total() - (20.5 + 234.567_891_234 - 3.25)).abs() < 1e-6);
        let runner_up = choice.runner_up.unwrap();
        assert_eq!(runner_up.terms().collect::<Vec<_>>(), [(ChoiceTerm::Trust, 1.0)]);
        for (term, name) in ChoiceTerm::ALL {
            assert_eq!((term.name(), ChoiceTerm::named(name)), (name, Some(term)));
        }
    }

    #[test]
    fn what_is_too_much_is_cut_or_refused() {
        let many = std::iter::repeat_n((ChoiceTerm::Queue, f64::MAX), 100);
        let mut cost = ChoiceCost::new(NodeId([1; 32]), &"m".repeat(1000), many);
        cost.check().unwrap();
        assert!(cost.total() > 0.0 && cost.total().is_finite());
        cost.model.push('m');
        assert!(cost.check().is_err());
    }
}
