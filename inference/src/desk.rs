//! The desk: sees to every question that this node accepted until it is answered.

mod actor;
mod attempt;
pub mod breakers;
mod direct;
mod following;
mod memory;
mod routing;
mod waits;
mod wish;

use std::{path::PathBuf, sync::Arc, time::Duration};

use crdt::{
    Store,
    records::session::{Message, MessageId, answer_id},
};
use keys::{ContentId, NodeId, Timestamp};
use mesh::{Mesh, Stream};
use tokio::sync::{broadcast, mpsc};

use crate::{
    cards::{CardFiles, Cards},
    compute,
    handoff::{Counts, Handoffs},
    keeper::Engines,
    limits::{ANSWER_EVENT_QUEUE, ENGINE_COMMAND_QUEUE},
    live::{self, Live, Lives},
    serve,
    swarm::{self, router::BreakerEvent},
};

pub use self::{
    direct::Direct,
    wish::{FurtherWish, Wish},
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
    /// A node begins to say an answer, goes on with it, or begins over: what it says is read there.
    Started(Live),
    /// The whole answer, which is on disk.
    Finished(Arc<Message>),
    /// Nobody can answer now; the question is kept until it has its turn. Told again at least every two seconds while that is so.
    Waiting {
        /// The question.
        question: MessageId,
        /// Why.
        reason: WaitReason,
        /// How many questions go before it.
        ahead: usize,
        /// How long it is expected to wait, or until it is tried again.
        wait: Duration,
    },
    /// Nobody can give another answer, or go on with one, now. It is not kept: the question has an answer, and whoever wants more may ask
    /// again.
    Refused {
        /// The question.
        question: MessageId,
        /// The answer that will not come.
        answer: MessageId,
        /// Why.
        reason: WaitReason,
    },
}

/// Why a question waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// No connected node has a model.
    NoNode,
    /// Every node that has one is busy or failed just now, or others have their turn first.
    AllBusy,
    /// A node is loading it.
    Loading,
}

/// An answer that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The chat.
    pub session: ContentId,
    /// The question.
    pub question: MessageId,
    /// The answer's id.
    pub answer: MessageId,
    /// Which kind of answer.
    pub wish: Wish,
}

impl Order {
    /// The first answer to a question.
    #[must_use]
    pub fn first(session: ContentId, question: MessageId) -> Self {
        Self {
            session,
            question,
            answer: answer_id(question),
            wish: Wish::First,
        }
    }
}

enum Command {
    Ask(Order),
    Stop { session: ContentId },
    Watch { account: ContentId, watched: bool },
    Adopt { order: Order, gateway: NodeId },
}

/// What other nodes ask for.
pub struct DeskStreams {
    /// Answers in chats.
    pub questions: mpsc::Receiver<(NodeId, Stream)>,
    /// Work for their programs.
    pub work: mpsc::Receiver<(NodeId, Stream)>,
    /// What is computed here of conversations that they go on with.
    pub states: mpsc::Receiver<(NodeId, Stream)>,
}

/// Handle to the desk. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    commands: mpsc::Sender<Command>,
    notices: broadcast::Sender<AnswerNotice>,
    engines: Engines,
    mesh: Mesh,
    lives: Lives,
    routing: routing::Routing,
    cards: Cards,
    handoffs: Handoffs,
}

impl Desk {
    /// Starts the desk, the services for other nodes, and the announcement of offers. Must run inside a tokio runtime.
    #[must_use]
    pub fn start(engines: Engines, store: Store, mesh: Mesh, cards: Arc<dyn CardFiles>, streams: DeskStreams) -> Self {
        let (commands, queue) = mpsc::channel(ENGINE_COMMAND_QUEUE);
        let (notices, _) = broadcast::channel(ANSWER_EVENT_QUEUE);
        tokio::spawn(swarm::announce(mesh.clone(), engines.clone()));
        let lives = Lives::default();
        tokio::spawn(live::announce(mesh.clone(), lives.clone()));
        let handoffs = Handoffs::default();
        tokio::spawn(handoffs.clone().serve(engines.clone(), streams.states));
        let generator = serve::Generator {
            engines: engines.clone(),
            store: store.clone(),
            mesh: mesh.clone(),
            lives: lives.clone(),
            handoffs: handoffs.clone(),
            notices: notices.clone(),
        };
        tokio::spawn(generator.clone().serve(streams.questions));
        tokio::spawn(compute::serve(engines.clone(), mesh.clone(), streams.work));
        let routing = routing::Routing::default();
        let cards = Cards::new(cards);
        let workshop = attempt::Workshop {
            engines: engines.clone(),
            store,
            mesh: mesh.clone(),
            notices: notices.clone(),
            generator,
            routing: routing.clone(),
            memory: memory::Memory::default(),
            cards: cards.clone(),
            waits: waits::Waits::default(),
        };
        tokio::spawn(actor::run(workshop, queue));
        Self {
            commands,
            notices,
            engines,
            mesh,
            lives,
            routing,
            cards,
            handoffs,
        }
    }

    /// Sees to a question that is on disk.
    pub async fn ask(&self, order: Order) {
        // A stopped desk finds a question without an answer again at the next start.
        let _ = self.commands.send(Command::Ask(order)).await;
    }

    /// Whether somebody here wants to hear the answers in the chats of an account, whichever gateway sees to them.
    pub async fn watch(&self, account: ContentId, watched: bool) {
        let _ = self.commands.send(Command::Watch { account, watched }).await;
    }

    /// Sees to a question of another gateway when that one is gone and nobody answers.
    pub async fn adopt(&self, order: Order, gateway: NodeId) {
        let _ = self.commands.send(Command::Adopt { order, gateway }).await;
    }

    /// What is being said in a chat, or was until a moment ago, as far as it is known here.
    #[must_use]
    pub fn live(&self, session: ContentId) -> Vec<Live> {
        self.lives.of_session(session)
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

    /// Keeps these changes in a file, those of before a restart among them, until the desk is gone.
    pub fn keep_breaker_events(&self, path: PathBuf) -> impl Future<Output = ()> + Send + 'static {
        breakers::keep(self.routing.clone(), path, self.routing.changed())
    }

    /// Every offer that may be taken up now, this node's own included.
    #[must_use]
    pub fn offers(&self) -> std::collections::BTreeMap<NodeId, Vec<swarm::Offer>> {
        swarm::known_offers(self.mesh.node(), &self.engines, &self.mesh.view().borrow())
    }

    /// How it went that conversations came here with what was computed of them.
    #[must_use]
    pub fn handoffs(&self) -> Counts {
        self.handoffs.counts()
    }

    /// How the models of this node stand, whether it takes new work or not.
    #[must_use]
    pub fn own_models(&self) -> Vec<swarm::models::NodeModel> {
        swarm::models::own(&self.engines)
    }
}
