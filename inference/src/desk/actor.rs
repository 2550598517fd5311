//! The desk's actor: which questions run, which wait, and when the waiting ones are tried again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crdt::{
    Store, StoreError,
    records::{
        character::{Character, Definition},
        session::{Ending, Message, MessageId, Session, SessionEdit, Speaker, answer_id},
    },
};
use futures::{FutureExt, future::Fuse};
use keys::{ContentId, NodeId};
use mesh::Mesh;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    AnswerEvent, AnswerNotice, Command, WaitReason,
    memory::{self, Memory},
    routing::{self, Routing},
};
use crate::{
    engine::{Engine, GenerationError, Sampling},
    generate,
    limits::{ANSWER_TOKENS_MAX, ANSWER_WAIT, ANSWERS_MAX, ATTEMPTS_MAX, RETRY_EVERY},
    prompt,
    serve::{self, AskError},
    swarm::{
        self, FromAsker, FromGenerator, Request,
        journal::{Journal, JournalError},
        route::Choice,
        router::Ended,
    },
};

/// What every attempt needs.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) mesh: Mesh,
    pub(super) notices: broadcast::Sender<AnswerNotice>,
    pub(super) routing: Routing,
    pub(super) memory: Memory,
}

/// Why one node did not answer.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error("it is busy")]
    Busy,
    #[error("{0}")]
    Ask(#[from] AskError),
    #[error("{0}")]
    Generation(GenerationError),
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error("it answered another question")]
    AnotherQuestion,
    #[error("its answer could not be written: {0}")]
    Record(#[from] StoreError),
    #[error("it ended without an answer")]
    NoAnswer,
}

impl TryError {
    /// What it says of the node that was asked: a full node is none that fails, and what this node could not write is not its fault.
    const fn says_of_the_node(&self) -> Ended {
        match self {
            Self::Busy => Ended::Busy,
            Self::Record(_) => Ended::Stopped,
            Self::Ask(_) | Self::Generation(_) | Self::Journal(_) | Self::AnotherQuestion | Self::NoAnswer => {
                Ended::Failed
            }
        }
    }
}

/// How an attempt ended.
enum Outcome {
    /// Answered, or no longer to be answered.
    Done,
    /// Nobody could answer now; this is what there is of an answer.
    Waiting(Journal),
}

/// An attempt on one node.
struct Following<'run> {
    node: NodeId,
    request: &'run Request,
    choice: Option<Arc<Choice>>,
}

/// How far an attempt has come.
enum Follow {
    /// It is under way.
    Goes,
    /// The answer is whole, and its node may write it.
    Finished(Message),
    /// Its node has written it.
    Recorded(Message),
    /// Its node cannot write it.
    Unrecorded(Message),
    Failed(TryError),
}

struct Actor {
    workshop: Workshop,
    /// Questions that nobody could answer at the last try.
    waiting: BTreeMap<MessageId, (ContentId, Journal)>,
    /// Questions that are being answered, with the way to stop them.
    running: HashMap<MessageId, (ContentId, Option<oneshot::Sender<()>>)>,
    attempts: JoinSet<Outcome>,
    /// Which question an attempt is for.
    asked: HashMap<tokio::task::Id, (MessageId, ContentId)>,
    /// Nodes that offered a model when questions last waited.
    able: BTreeSet<NodeId>,
}

pub(super) async fn run(workshop: Workshop, mut commands: mpsc::Receiver<Command>) {
    let waiting = unanswered(&workshop.store).await.unwrap_or_else(|error| {
        tracing::error!(%error, "unanswered questions could not be read");
        BTreeMap::new()
    });
    let mut engine = workshop.engine.status();
    let mut view = workshop.mesh.view();
    let mut actor = Actor {
        workshop,
        waiting,
        running: HashMap::new(),
        attempts: JoinSet::new(),
        asked: HashMap::new(),
        able: BTreeSet::new(),
    };
    let mut retry = tokio::time::interval(RETRY_EVERY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Ask { session, question }) => actor.try_now(question, session, Journal::default()),
                Some(Command::Stop { session }) => actor.handle_stop(session),
                None => return,
            },
            Some(ended) = actor.attempts.join_next_with_id() => actor.handle_ended(ended),
            _ = retry.tick() => actor.try_all(),
            Ok(()) = engine.changed() => actor.try_all(),
            Ok(()) = view.changed() => actor.handle_view(),
        }
    }
}

impl Actor {
    /// Nodes within reach that offer a model.
    fn able_now(&self) -> BTreeSet<NodeId> {
        let mesh = &self.workshop.mesh;
        let offers = swarm::known_offers(mesh.node(), &self.workshop.engine, &mesh.view().borrow());
        offers
            .into_iter()
            .filter(|(_, offers)| !offers.is_empty())
            .map(|(node, _)| node)
            .collect()
    }

    /// A node with a model that comes within reach is asked at once.
    fn handle_view(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let able = self.able_now();
        let new = able.difference(&self.able).next().is_some();
        self.able = able;
        if new {
            self.try_all();
        }
    }

    fn try_all(&mut self) {
        for (question, (session, journal)) in std::mem::take(&mut self.waiting) {
            self.try_now(question, session, journal);
        }
    }

    fn try_now(&mut self, question: MessageId, session: ContentId, journal: Journal) {
        if self.running.contains_key(&question) {
            return;
        }
        if self.running.len() >= ANSWERS_MAX {
            self.waiting.insert(question, (session, journal));
            return;
        }
        let (stop, stopped) = oneshot::channel();
        self.running.insert(question, (session, Some(stop)));
        let workshop = self.workshop.clone();
        let task = self
            .attempts
            .spawn(async move { workshop.attempt(session, question, journal, stopped).await });
        self.asked.insert(task.id(), (question, session));
    }

    fn handle_stop(&mut self, session: ContentId) {
        for (asked, stop) in self.running.values_mut() {
            if *asked == session
                && let Some(stop) = stop.take()
            {
                // An attempt that has just ended needs no stop.
                let _ = stop.send(());
            }
        }
    }

    fn handle_ended(&mut self, ended: Result<(tokio::task::Id, Outcome), tokio::task::JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // The question is kept: it is tried again like one that nobody could answer.
                tracing::error!(%error, "an attempt to answer ended abnormally");
                (error.id(), Outcome::Waiting(Journal::default()))
            }
        };
        let Some((question, session)) = self.asked.remove(&id) else {
            return;
        };
        self.running.remove(&question);
        if let Outcome::Waiting(journal) = outcome {
            self.waiting.insert(question, (session, journal));
            // Those that are able now have just failed: only a further one is news.
            self.able = self.able_now();
        }
    }
}

/// Questions of this node that a stop or a crash left without an answer. They are here: who writes keeps it for a while.
async fn unanswered(store: &Store) -> Result<BTreeMap<MessageId, (ContentId, Journal)>, StoreError> {
    let mut waiting = BTreeMap::new();
    for (id, session) in store.list_here::<Session>().await? {
        for question in session.unanswered() {
            if matches!(question.speaker, Speaker::Person { gateway } if gateway == Some(store.node())) {
                waiting.insert(question.id, (id, Journal::default()));
            }
        }
    }
    Ok(waiting)
}

impl Workshop {
    /// Tries to get one question answered, on at most [`ATTEMPTS_MAX`] nodes. What one of them has made before it failed, the next one
    /// goes on with, if it has the same model.
    async fn attempt(
        &self,
        session: ContentId,
        question: MessageId,
        mut journal: Journal,
        stop: oneshot::Receiver<()>,
    ) -> Outcome {
        // Fused: a stop is heard once, also when it is another node's turn afterwards.
        let mut stop = stop.fuse();
        let (chat, character) = match self.read(session).await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "a question cannot be read");
                return Outcome::Done;
            }
        };
        let Some(asked) = chat.messages.iter().find(|message| message.id == question) else {
            return Outcome::Done;
        };
        if !chat.is_unanswered(asked) {
            return Outcome::Done;
        }
        let asked = asked.text.text().to_owned();
        let chat = memory::fold(&self.store, session, chat, question).await;
        let mut request = request(session, &chat, &character, question);
        let allowed = request.sampling.tokens_max;
        request.sampling.tokens_max = self.memory.tokens_max(chat.character, &asked, allowed);
        let (question_to_route, mut decision) = self.routing.decide(&self.engine, &self.mesh, &request);
        let mut reason = WaitReason::NoNode;
        for place in 0..decision.order.len().min(ATTEMPTS_MAX) {
            if let Some(begun) = journal.begun() {
                decision.prefer(place, &begun.model);
            }
            let Some(priced) = decision.order.get(place) else { break };
            let node = priced.0.node;
            let goes_on = journal.begun().filter(|begun| begun.model == priced.0.offer.model);
            request.begun = goes_on.cloned();
            request.epoch = journal.next_epoch();
            let choice = decision.choice(place).map(Arc::new);
            let watched = self.routing.began(question_to_route, priced);
            let began = Instant::now();
            let following = Following {
                node,
                request: &request,
                choice,
            };
            match self.try_node(following, &mut journal, &mut stop).await {
                Ok(message) => {
                    self.routing
                        .ended(watched, routing::answered(&message, began.elapsed()));
                    self.remember(session, chat.character, &asked, question).await;
                    return Outcome::Done;
                }
                Err(error) => {
                    self.routing.ended(watched, error.says_of_the_node());
                    if matches!(error, TryError::Busy) {
                        reason = WaitReason::AllBusy;
                    }
                    tracing::warn!(node = %node.short(), %error, "a node did not answer; the next one is asked");
                }
            }
        }
        self.notify(&request, AnswerEvent::Waiting { question, reason });
        Outcome::Waiting(journal)
    }

    /// Notes how long the answer became, and has the summary written better when nobody waits.
    async fn remember(&self, session: ContentId, character: ContentId, asked: &str, question: MessageId) {
        let Ok(chat) = self.store.read::<Session>(session).await else {
            return;
        };
        let id = answer_id(question);
        if let Some(answer) = chat.messages.iter().find(|message| message.id == id) {
            let was_cut = matches!(&answer.speaker, Speaker::Character { ending, .. } if *ending == Ending::Length);
            self.memory.note(character, asked, answer.text.text(), was_cut);
        }
        if generate::writes_answers(&self.mesh) {
            self.memory.write_later(&self.engine, &self.store, session);
        }
    }

    async fn read(&self, session: ContentId) -> Result<(Session, Definition), StoreError> {
        let chat: Session = self.store.read(session).await?;
        let character: Character = self.store.read(chat.character).await?;
        let definition = character.definition().cloned().unwrap_or(character.draft);
        Ok((chat, definition))
    }

    /// One attempt on one node, to the end.
    async fn try_node(
        &self,
        following: Following<'_>,
        journal: &mut Journal,
        stop: &mut Fuse<oneshot::Receiver<()>>,
    ) -> Result<Arc<Message>, TryError> {
        let (node, request) = (following.node, following.request);
        let (report, mut reports) = mpsc::channel(64);
        let (orders, mut to_node) = mpsc::channel(2);
        let work = async {
            if node == self.mesh.node() {
                let stopped = async {
                    if to_node.recv().await.is_none() {
                        std::future::pending::<()>().await;
                    }
                };
                if let Some(message) = generate::run(&self.engine, request, &report, stopped).await {
                    let finished = FromGenerator::Finished {
                        epoch: request.epoch,
                        message,
                        can_record: false,
                    };
                    // The listener beside this ends after it.
                    let _ = report.send(finished).await;
                }
                drop(report);
                Ok(())
            } else {
                let result = serve::ask(&self.mesh, node, request.clone(), &report, to_node).await;
                drop(report);
                result
            }
        };
        let follow = async {
            let mut is_stopped = false;
            let mut follow = Follow::Goes;
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = &mut *stop, if !is_stopped => {
                        is_stopped = true;
                        // There is room for both orders; a node that is gone needs none.
                        let _ = orders.try_send(FromAsker::Stop);
                    }
                    event = reports.recv() => match event {
                        Some(event) => {
                            follow = self.handle_report(&following, journal, follow, event);
                            if matches!(follow, Follow::Finished(_)) {
                                let _ = orders.try_send(FromAsker::Record);
                            }
                        }
                        None => return follow,
                    },
                }
            }
        };
        let (worked, followed): (Result<(), AskError>, _) = tokio::join!(work, follow);
        match (worked, followed) {
            // What broke the conversation says more than that it ended.
            (Err(broken), Follow::Goes) => Err(broken.into()),
            (_, followed) => self.conclude(&following, followed).await,
        }
    }

    /// Passes a report on to whoever shows it.
    fn handle_report(
        &self,
        following: &Following<'_>,
        journal: &mut Journal,
        follow: Follow,
        report: FromGenerator,
    ) -> Follow {
        let request = following.request;
        let answer = answer_id(request.question);
        match report {
            // After the first thing that went wrong nothing else is taken.
            _ if matches!(follow, Follow::Failed(_)) => follow,
            FromGenerator::Accepted { model, .. } => {
                let goes_on = request.begun.is_some();
                journal.accepted(&model, goes_on);
                let event = AnswerEvent::Started {
                    question: request.question,
                    answer,
                    node: following.node,
                    model: model.into(),
                    goes_on,
                    choice: following.choice.clone(),
                };
                self.notify(request, event);
                follow
            }
            FromGenerator::Progress => follow,
            FromGenerator::Shortened => {
                journal.shortened();
                follow
            }
            FromGenerator::Said {
                epoch,
                from,
                tokens,
                text,
            } => match journal.said(epoch, from, &tokens, &text) {
                Ok(None) => follow,
                Ok(Some(index)) => {
                    let text = text.into();
                    self.notify(request, AnswerEvent::Text { answer, index, text });
                    follow
                }
                Err(error) => Follow::Failed(error.into()),
            },
            FromGenerator::Failed(GenerationError::Busy) => Follow::Failed(TryError::Busy),
            FromGenerator::Failed(error) => Follow::Failed(TryError::Generation(error)),
            FromGenerator::Finished { message, .. } if message.id != answer => {
                Follow::Failed(TryError::AnotherQuestion)
            }
            FromGenerator::Finished {
                epoch,
                message,
                can_record,
            } => match journal.check(epoch) {
                Err(error) => Follow::Failed(error.into()),
                Ok(()) if can_record => Follow::Finished(message),
                Ok(()) => Follow::Unrecorded(message),
            },
            FromGenerator::Recorded(is_recorded) => match follow {
                Follow::Finished(message) if is_recorded => Follow::Recorded(message),
                Follow::Finished(message) => Follow::Unrecorded(message),
                other => other,
            },
        }
    }

    /// An answer that another node wrote travels here by replication, its end over the stream, which is faster: who is told of
    /// the end and reads the chat again must not find the question still waiting.
    async fn wait_for_answer(&self, session: ContentId, answer: MessageId) {
        let arrived = |chat: Result<Session, StoreError>| match chat {
            Ok(chat) => chat.messages.iter().any(|message| message.id == answer).then_some(true),
            Err(_) => Some(false),
        };
        // Later is no loss: the one who waits was told the text.
        let _ = generate::chat_settles(&self.store, session, ANSWER_WAIT, arrived).await;
    }

    /// The end of an attempt: an answer that its node did not write is written here.
    async fn conclude(&self, following: &Following<'_>, followed: Follow) -> Result<Arc<Message>, TryError> {
        let message = match followed {
            Follow::Goes => return Err(TryError::NoAnswer),
            Follow::Failed(error) => return Err(error),
            Follow::Recorded(message) => {
                self.wait_for_answer(following.request.session, message.id).await;
                message
            }
            Follow::Finished(message) | Follow::Unrecorded(message) => {
                let edit = SessionEdit::PutMessage(message.clone());
                self.store.edit(following.request.session, edit).await?;
                generate::signed(&message, following.node)
            }
        };
        let message = Arc::new(message);
        self.notify(following.request, AnswerEvent::Finished(Arc::clone(&message)));
        Ok(message)
    }

    fn notify(&self, request: &Request, event: AnswerEvent) {
        // Nobody listening is usual: the person may have closed the page.
        let _ = self.notices.send(AnswerNotice {
            session: request.session,
            account: request.account,
            event,
        });
    }
}

fn request(session: ContentId, chat: &Session, character: &Definition, question: MessageId) -> Request {
    let characters_max = u32::try_from(character.answer_characters_max).unwrap_or(2000);
    // The same question gets the same random numbers, so an answer can be repeated on an equal build.
    let hash = keys::ContentId::of(question.to_string().as_bytes());
    let seed = u32::from_le_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]);
    Request {
        account: chat.account,
        session,
        question,
        messages: prompt::messages(character, chat, question),
        sampling: Sampling {
            temperature: character.temperature as f32,
            seed,
            // A token has at least one character; the limit in characters is what counts.
            tokens_max: characters_max.min(ANSWER_TOKENS_MAX),
            characters_max,
            ..Sampling::default()
        },
        epoch: 0,
        begun: None,
    }
}
