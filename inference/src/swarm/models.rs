//! How a node's models stand, as it tells others: what is in memory, what would be loaded first, and what does not work.

use serde::{Deserialize, Serialize};

use super::{OFFERS, OFFERS_MAX, Offer, decode};
use crate::keeper::{Engines, plan::Condition};

/// The section under which all models of a node are announced.
pub const MODELS: &str = "models";
/// Its first byte.
const VERSION: u8 = 1;
/// Characters of why a model does not work.
const REASON_CHARACTERS_MAX: usize = 200;

/// How a model stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelState {
    /// It is in memory and answers.
    Loaded,
    /// It is being loaded.
    Loading,
    /// It is loaded when it is asked.
    OnDisk,
    /// It does not work now, and this is why.
    Failed(String),
}

impl ModelState {
    /// In one word, for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Loading => "loading",
            Self::OnDisk => "on_disk",
            Self::Failed(_) => "failed",
        }
    }

    /// Why it does not work.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed(reason) => Some(reason),
            _ => None,
        }
    }
}

impl From<Condition> for ModelState {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Loaded => Self::Loaded,
            Condition::Loading => Self::Loading,
            Condition::OnDisk => Self::OnDisk,
            Condition::Failed { reason, .. } => Self::Failed(reason.chars().take(REASON_CHARACTERS_MAX).collect()),
            Condition::TooLarge { needed, there_are } => Self::Failed(format!(
                "it needs about {} MB, and models may take {} MB here",
                needed / 1_000_000,
                there_are / 1_000_000
            )),
        }
    }
}

/// A model of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeModel {
    /// What it offers, if it can be asked.
    pub offer: Offer,
    /// How it stands.
    pub state: ModelState,
    /// Bytes of memory that are set aside for it, or that it needs at least.
    pub estimated_bytes: u64,
    /// Bytes that it has; 0 while it has none.
    pub measured_bytes: u64,
}

/// As it travels.
#[derive(Serialize, Deserialize)]
struct Told {
    offer: Offer,
    is_main: bool,
    reload_ms: u32,
    state: ModelState,
    estimated_bytes: u64,
    measured_bytes: u64,
}

/// Every model of this node.
#[must_use]
pub fn own(engines: &Engines) -> Vec<NodeModel> {
    let news = engines.news().into_iter().take(OFFERS_MAX);
    let model = news.map(|(offer, view)| NodeModel {
        offer,
        state: view.condition.into(),
        estimated_bytes: view.estimated_bytes,
        measured_bytes: view.measured_bytes,
    });
    model.collect()
}

/// The announced section.
#[must_use]
pub fn encode(models: &[NodeModel]) -> Vec<u8> {
    let told = models.iter().map(|model| Told {
        offer: model.offer.clone(),
        is_main: model.offer.is_main,
        reload_ms: model.offer.reload_ms,
        state: model.state.clone(),
        estimated_bytes: model.estimated_bytes,
        measured_bytes: model.measured_bytes,
    });
    mesh::frame::encode(VERSION, &told.collect::<Vec<_>>())
}

/// What a node has told of its models in its sections. One of the release before tells only of what it answers with at once; malformed
/// sections tell of nothing.
#[must_use]
pub fn told<'section>(section: impl Fn(&str) -> Option<&'section [u8]>) -> Vec<NodeModel> {
    let told = section(MODELS).and_then(|bytes| mesh::frame::decode::<Vec<Told>>(VERSION, bytes));
    let Some(told) = told else {
        let offers: Option<Vec<Offer>> = section(OFFERS).and_then(decode);
        let offers = offers.unwrap_or_default().into_iter().take(OFFERS_MAX);
        let loaded = offers.map(|offer| NodeModel {
            offer,
            state: ModelState::Loaded,
            estimated_bytes: 0,
            measured_bytes: 0,
        });
        return loaded.collect();
    };
    let models = told.into_iter().take(OFFERS_MAX).map(|told| NodeModel {
        offer: Offer {
            is_main: told.is_main,
            reload_ms: told.reload_ms,
            ..told.offer
        },
        state: told.state,
        estimated_bytes: told.estimated_bytes,
        measured_bytes: told.measured_bytes,
    });
    models.collect()
}

/// Of these models, those that can be asked.
#[must_use]
pub fn offers(models: Vec<NodeModel>) -> Vec<Offer> {
    let able = models
        .into_iter()
        .filter(|model| !matches!(model.state, ModelState::Failed(_)));
    able.map(|model| model.offer).collect()
}

/// What a node answers chats with at once, as the release before understands it.
#[must_use]
pub fn at_once(models: &[NodeModel]) -> Vec<Offer> {
    let able = models
        .iter()
        .filter(|model| model.offer.is_main && model.state == ModelState::Loaded);
    able.map(|model| model.offer.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kept for ever: what a node of this release announces must be understood by every later one that still reads version 1.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/formats/models-1.bin");
    /// And what the release before reads and announces.
    const OFFER: &[u8] = include_bytes!("../../../tests/formats/offers-4.bin");

    fn model(name: &str, is_main: bool, state: ModelState) -> NodeModel {
        NodeModel {
            offer: Offer {
                model: name.into(),
                slots: 4,
                generations: 1,
                prefill_tokens_per_second: 100.0,
                decode_tokens_per_second: 10.0,
                decode_eight_tokens_per_second: 30.0,
                is_main,
                reload_ms: if state == ModelState::OnDisk { 1500 } else { 0 },
            },
            state,
            estimated_bytes: 1 << 30,
            measured_bytes: 1000,
        }
    }

    fn models() -> Vec<NodeModel> {
        vec![
            model("a", true, ModelState::Loaded),
            model("b", false, ModelState::OnDisk),
            model("c", false, ModelState::Failed("no".into())),
        ]
    }

    #[test]
    fn a_node_tells_of_all_its_models_and_the_release_before_hears_of_the_one_that_answers_at_once() {
        let models = models();
        assert_eq!(encode(&models), GOLDEN);
        assert_eq!(super::super::encode(&at_once(&models)), OFFER);
        let both = |section: &str| Some(if section == MODELS { GOLDEN } else { OFFER });
        assert_eq!(told(both), models);
        let offered: Vec<String> = offers(told(both)).into_iter().map(|offer| offer.model).collect();
        assert_eq!(offered, ["a", "b"]);
        // One of the release before.
        let before = |section: &str| (section == OFFERS).then_some(OFFER);
        let heard = offers(told(before));
        assert_eq!(heard, [models[0].offer.clone()]);
        for length in 0..GOLDEN.len() {
            assert!(told(|section| (section == MODELS).then_some(&GOLDEN[..length])).is_empty());
        }
    }
}
