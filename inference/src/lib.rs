//! Who does this work, and how?
//!
//! `inference` turns a question into an answer: it chooses a node, builds the prompt, runs the model, streams the tokens and sees
//! to it that the answer is written down.
//!
//! ## Parts
//! - [`engine`]: a loaded model in a child process of the same program, with continuous batching; an abort inside llama.cpp ends
//!   that process and no node.
//! - [`keeper`]: the models of a node: which are in memory, which are loaded when they are asked, which do not work now.
//! - [`admission`]: who computes next where more is asked than an engine can do.
//! - [`catalogue`]: from a model's file to its record in the catalogue.
//! - [`context`]: which messages of a chat a model sees, and what stands for the rest; [`similarity`]: how alike texts are.
//! - [`template`] and [`prompt`]: from a character and a chat to the text that the model continues.
//! - [`swarm`]: what nodes offer, and the pure choice between them in milliseconds.
//! - [`handoff`]: what is computed of a conversation goes to the node that answers next.
//! - `generate`: one generation on this node, for a question of this node or of another.
//! - [`live`]: answers while they are said, and who else may hear them.
//! - [`desk`]: sees to every question that this node accepted until it is answered.
//!
//! ## Journey: a message becomes an answer
//! The gateway has written the question into its session and calls [`Desk::ask`](desk::Desk::ask). The desk reads session and
//! character, builds a [`Request`](swarm::Request), lets [`swarm::route`] choose, and either runs it here or opens a
//! `/starling/generate/3` stream to the chosen node. What it says stands in a [`Live`](live::Live), which every socket reads. The *generating*
//! node writes the finished answer into the session; should the session not have reached it, the asking node writes it, under the
//! same id. If nobody can answer, the question waits, visibly, and is tried again when the swarm changes; after a restart the desk
//! finds it again in the session.

pub mod admission;
mod cards;
pub mod catalogue;
mod compute;
pub mod context;
pub mod desk;
pub mod engine;
mod generate;
pub mod handoff;
pub mod keeper;
pub mod limits;
pub mod live;
pub mod prompt;
mod serve;
pub mod similarity;
pub mod swarm;
pub mod template;

pub use cards::CardFiles;
pub use desk::{AnswerEvent, AnswerNotice, Desk, DeskStreams};
pub use engine::{Engine, EngineSettings, EngineStatus, ModelSource};
pub use keeper::{Engines, KeeperSettings};
pub use live::Live;
