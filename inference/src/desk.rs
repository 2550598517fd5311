//! The desk: sees to every question that this node accepted until it is answered.

mod actor;
mod memory;
mod routing;

use std::sync::Arc;

use crdt::{
    Store,
    records::session::{Message, MessageId},
};
use keys::{ContentId, NodeId, Timestamp};
use mesh::{Mesh, Stream};
use tokio::sync::{broadcast, mpsc};

use crate::{
    engine::Engine,
    limits::{ANSWER_EVENT_QUEUE, ENGINE_COMMAND_QUEUE},
    serve,
    swarm::{self, route::Choice, router::BreakerEvent},
};

/// What happens to an answer, for whoever shows it.
#[derive(Clone, Debug)]
pub struct AnswerNotice {
    /// The chat.
    pub session: ContentId,
    /// Whose chat it is.
    pub account: ContentId,
    /// What happened.
    pub event: AnswerEvent,
}

/// What happens to an answer.
#[derive(Clone, Debug)]
pub enum AnswerEvent {
    /// A node begins to answer. A second one for the same question goes on where the first one was, or starts over.
    Started {
        /// The question.
        question: MessageId,
        /// The answer's id.
        answer: MessageId,
        /// The generating node.
        node: NodeId,
        /// Its model.
        model: Arc<str>,
        /// Whether it goes on with what another node has said.
        goes_on: bool,
        /// Why it is this one, in terms that add up.
        choice: Option<Arc<Choice>>,
    },
    /// The next piece; indexes count from 0 without gaps.
    Text {
        /// The answer's id.
        answer: MessageId,
        /// Number of the piece.
        index: u32,
        /// The piece.
        text: Arc<str>,
    },
    /// The whole answer, which is on disk.
    Finished(Arc<Message>),
    /// Nobody can answer now; the question is kept and tried again.
    Waiting {
        /// The question.
        question: MessageId,
        /// Why.
        reason: WaitReason,
    },
}

/// Why a question waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// No connected node has a model.
    NoNode,
    /// Every node that has one is busy or failed just now.
    AllBusy,
}

enum Command {
    Ask { session: ContentId, question: MessageId },
    Stop { session: ContentId },
}

/// Handle to the desk. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    commands: mpsc::Sender<Command>,
    notices: broadcast::Sender<AnswerNotice>,
    engine: Engine,
    mesh: Mesh,
    routing: routing::Routing,
}

impl Desk {
    /// Starts the desk, the service for other nodes, and the announcement of offers. Must run inside a tokio runtime.
    #[must_use]
    pub fn start(engine: Engine, store: Store, mesh: Mesh, streams: mpsc::Receiver<(NodeId, Stream)>) -> Self {
        let (commands, queue) = mpsc::channel(ENGINE_COMMAND_QUEUE);
        let (notices, _) = broadcast::channel(ANSWER_EVENT_QUEUE);
        tokio::spawn(swarm::announce(mesh.clone(), engine.clone()));
        tokio::spawn(serve::serve(engine.clone(), store.clone(), mesh.clone(), streams));
        let routing = routing::Routing::default();
        let workshop = actor::Workshop {
            engine: engine.clone(),
            store,
            mesh: mesh.clone(),
            notices: notices.clone(),
            routing: routing.clone(),
            memory: memory::Memory::default(),
        };
        tokio::spawn(actor::run(workshop, queue));
        Self {
            commands,
            notices,
            engine,
            mesh,
            routing,
        }
    }

    /// Sees to a question that is on disk.
    pub async fn ask(&self, session: ContentId, question: MessageId) {
        // A stopped desk finds the question again at the next start.
        let _ = self.commands.send(Command::Ask { session, question }).await;
    }

    /// Stops the answer that is running in a chat; what was said stays.
    pub async fn stop(&self, session: ContentId) {
        let _ = self.commands.send(Command::Stop { session }).await;
    }

    /// Notices of all answers this node sees to.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<AnswerNotice> {
        self.notices.subscribe()
    }

    /// The last changes of the breakers before nodes, oldest first: when a node was left alone, tried and trusted again.
    #[must_use]
    pub fn breaker_events(&self) -> Vec<(Timestamp, BreakerEvent)> {
        self.routing.breaker_events()
    }

    /// Every offer that may be taken up now, this node's own included.
    #[must_use]
    pub fn offers(&self) -> std::collections::BTreeMap<NodeId, Vec<swarm::Offer>> {
        swarm::known_offers(self.mesh.node(), &self.engine, &self.mesh.view().borrow())
    }

    /// What this node's engine could do, whether it takes new work or not.
    #[must_use]
    pub fn own_offers(&self) -> Vec<swarm::Offer> {
        swarm::own_offers(&self.engine)
    }
}
