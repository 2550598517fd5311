//! Who answered and why, in numbers that add up: what is kept of a [`Decision`] with the answer.
//!
//! A person is told the two best nodes with every term of their costs, which term made the difference, and what would have had to be
//! different for the other one to be asked. None of it is put into words here.

use crdt::records::session::{AnswerChoice, ChoiceCost, ChoiceHow, ChoiceTerm};
use keys::NodeId;
use serde::Serialize;

use super::{Cost, Decision, Priced, STAYS, margin};

/// How the choice came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It was clearly the cheapest.
    Cheapest,
    /// It has the conversation computed, and no other was clearly better.
    Stayed,
    /// It was drawn from those that could not be told apart.
    Drawn,
}

/// A node with its cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// The node.
    #[serde(serialize_with = "as_text")]
    pub node: NodeId,
    /// Its model.
    pub model: String,
    /// The terms, in milliseconds.
    pub terms: Cost,
    /// Their sum.
    pub total: f64,
}

/// What would have led to another choice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Counterfactual {
    /// The term in which the chosen one was most ahead of the other.
    pub term: &'static str,
    /// By how many milliseconds it was ahead in it.
    pub ahead_ms: f64,
    /// Had that term been longer by this, another node would have been asked for certain.
    pub flips_at_ms: f64,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Who was asked.
    pub winner: Scored,
    /// Who would have been asked otherwise.
    pub runner_up: Option<Scored>,
    /// How many there were to choose from.
    pub candidates: usize,
    /// How it came about.
    pub how: How,
    /// What would have changed it; nothing, where nobody else could be asked.
    pub counterfactual: Option<Counterfactual>,
}

fn as_text<S: serde::Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(node)
}

impl Scored {
    fn new((candidate, cost): &Priced) -> Self {
        Self {
            node: candidate.node,
            model: candidate.offer.model.clone(),
            terms: *cost,
            total: cost.total(),
        }
    }
}

impl Scored {
    fn to_record(&self) -> ChoiceCost {
        let terms = self.terms.terms().into_iter();
        let named = terms.filter_map(|(name, milliseconds)| Some((ChoiceTerm::named(name)?, milliseconds)));
        ChoiceCost::new(self.node, &self.model, named)
    }
}

impl Choice {
    /// What of it stays with the answer.
    #[must_use]
    pub fn to_record(&self) -> AnswerChoice {
        AnswerChoice {
            candidates: u32::try_from(self.candidates).unwrap_or(u32::MAX),
            how: match self.how {
                How::Cheapest => ChoiceHow::Cheapest,
                How::Stayed => ChoiceHow::Stayed,
                How::Drawn => ChoiceHow::Drawn,
            },
            winner: self.winner.to_record(),
            runner_up: self.runner_up.as_ref().map(Scored::to_record),
        }
    }
}

impl Decision {
    /// Why the node at this place of the order was asked: those before it were asked and did not answer, so that the choice was between
    /// it and those behind it.
    #[must_use]
    pub fn choice(&self, place: usize) -> Option<Choice> {
        let left = self.order.get(place..)?;
        let (winner, others) = left.split_first()?;
        // What stands first by a draw or because it has the conversation is not the cheapest; the rest is in order.
        let how = if place == 0 { self.how } else { How::Cheapest };
        let counterfactual = others.first().map(|runner_up| {
            let (term, ahead_ms) = winner.1.ahead(&runner_up.1);
            let least = runner_up.1.total();
            let out = match how {
                How::Stayed => least * STAYS,
                How::Cheapest | How::Drawn => margin(least),
            };
            Counterfactual {
                term,
                ahead_ms,
                flips_at_ms: out - winner.1.total(),
            }
        });
        Some(Choice {
            candidates: left.len(),
            winner: Scored::new(winner),
            runner_up: others.first().map(Scored::new),
            how,
            counterfactual,
        })
    }
}
