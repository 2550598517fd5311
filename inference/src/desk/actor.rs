//! The desk's actor: which questions run, which wait, and when the waiting ones are tried again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crdt::{
    Store, StoreError,
    records::{
        character::{Character, Definition},
        session::{Ending, MessageId, Session, SessionEdit, Speaker, answer_id},
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
};
use crate::{
    engine::{Engine, GenerationError, Sampling},
    generate,
    limits::{ANSWER_TOKENS_MAX, ANSWER_WAIT, ANSWERS_MAX, ATTEMPTS_MAX, RETRY_EVERY},
    prompt,
    serve::{self, AskError},
    swarm::{
        self, FromGenerator, Request,
        route::{self, Candidate, Work},
    },
};

/// What every attempt needs.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) mesh: Mesh,
    pub(super) notices: broadcast::Sender<AnswerNotice>,
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
    #[error("it answered another question")]
    AnotherQuestion,
    #[error("its answer could not be written: {0}")]
    Record(#[from] StoreError),
    #[error("it ended without an answer")]
    NoAnswer,
}

/// How an attempt ended.
enum Outcome {
    /// Answered, or no longer to be answered.
    Done,
    /// Nobody could answer.
    Waiting,
}

struct Actor {
    workshop: Workshop,
    /// Questions that nobody could answer at the last try.
    waiting: BTreeMap<MessageId, ContentId>,
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
                Some(Command::Ask { session, question }) => actor.try_now(question, session),
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
        for (question, session) in std::mem::take(&mut self.waiting) {
            self.try_now(question, session);
        }
    }

    fn try_now(&mut self, question: MessageId, session: ContentId) {
        if self.running.contains_key(&question) {
            return;
        }
        if self.running.len() >= ANSWERS_MAX {
            self.waiting.insert(question, session);
            return;
        }
        let (stop, stopped) = oneshot::channel();
        self.running.insert(question, (session, Some(stop)));
        let workshop = self.workshop.clone();
        let task = self
            .attempts
            .spawn(async move { workshop.attempt(session, question, stopped).await });
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
                (error.id(), Outcome::Waiting)
            }
        };
        let Some((question, session)) = self.asked.remove(&id) else {
            return;
        };
        self.running.remove(&question);
        if matches!(outcome, Outcome::Waiting) {
            self.waiting.insert(question, session);
            // Those that are able now have just failed: only a further one is news.
            self.able = self.able_now();
        }
    }
}

/// Questions of this node that a stop or a crash left without an answer. They are here: who writes keeps it for a while.
async fn unanswered(store: &Store) -> Result<BTreeMap<MessageId, ContentId>, StoreError> {
    let mut waiting = BTreeMap::new();
    for (id, session) in store.list_here::<Session>().await? {
        for question in session.unanswered() {
            if matches!(question.speaker, Speaker::Person { gateway } if gateway == Some(store.node())) {
                waiting.insert(question.id, id);
            }
        }
    }
    Ok(waiting)
}

impl Workshop {
    /// Tries to get one question answered, on at most [`ATTEMPTS_MAX`] nodes.
    async fn attempt(&self, session: ContentId, question: MessageId, stop: oneshot::Receiver<()>) -> Outcome {
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
        let account = chat.account;
        let candidates = self.candidates(&request);
        let mut reason = WaitReason::NoNode;
        for candidate in candidates.into_iter().take(ATTEMPTS_MAX) {
            let node = candidate.node;
            match self.try_node(node, account, &request, &mut stop).await {
                Ok(()) => {
                    self.remember(session, chat.character, &asked, question).await;
                    return Outcome::Done;
                }
                Err(error) => {
                    if matches!(error, TryError::Busy) {
                        reason = WaitReason::AllBusy;
                    }
                    tracing::warn!(node = %node.short(), %error, "a node did not answer; the next one is asked");
                }
            }
        }
        self.notify(session, account, AnswerEvent::Waiting { question, reason });
        Outcome::Waiting
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

    /// Nodes that could answer, cheapest first.
    fn candidates(&self, request: &Request) -> Vec<Candidate> {
        let own = self.mesh.node();
        let view = self.mesh.view();
        let view = view.borrow();
        let mut candidates = Vec::new();
        for (node, offers) in swarm::known_offers(own, &self.engine, &view) {
            let round_trip = view
                .links
                .get(&node)
                .and_then(|link| link.round_trip)
                .unwrap_or(Duration::ZERO);
            let round_trip_ms = round_trip.as_secs_f64() * 1000.0;
            candidates.extend(offers.into_iter().map(|offer| Candidate {
                node,
                offer,
                round_trip_ms,
            }));
        }
        drop(view);
        let characters: usize = request
            .messages
            .iter()
            .map(|message| message.content.chars().count())
            .sum();
        // Three characters a token is near the truth for Russian and English alike.
        let work = Work {
            prompt_tokens: characters as f64 / 3.0,
            answer_tokens: 100.0,
        };
        route::rank(candidates, work)
            .into_iter()
            .map(|(candidate, _)| candidate)
            .collect()
    }

    /// One attempt on one node, to the end.
    async fn try_node(
        &self,
        node: NodeId,
        account: ContentId,
        request: &Request,
        stop: &mut Fuse<oneshot::Receiver<()>>,
    ) -> Result<(), TryError> {
        let (report, mut reports) = mpsc::channel(64);
        let (stop_sender, stopped) = oneshot::channel();
        let work = async {
            if node == self.mesh.node() {
                let stopped = async {
                    if stopped.await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                let writes = generate::writes_answers(&self.mesh);
                generate::run(&self.engine, (&self.store, writes), request.clone(), &report, stopped).await;
                drop(report);
                Ok(())
            } else {
                let result = serve::ask(&self.mesh, node, request.clone(), &report, stopped).await;
                drop(report);
                result
            }
        };
        let follow = async {
            let mut stop_sender = Some(stop_sender);
            let mut last = Err(TryError::NoAnswer);
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = &mut *stop, if stop_sender.is_some() => {
                        if let Some(sender) = stop_sender.take() {
                            let _ = sender.send(());
                        }
                    }
                    event = reports.recv() => match event {
                        Some(event) => {
                            if let Some(result) = self.handle_report(node, account, request, event).await {
                                last = result;
                            }
                        }
                        None => return last,
                    },
                }
            }
        };
        let (worked, followed): (Result<(), AskError>, _) = tokio::join!(work, follow);
        match (worked, followed) {
            // What broke the conversation says more than that it ended.
            (Err(broken), Err(TryError::NoAnswer)) => Err(broken.into()),
            (_, followed) => followed,
        }
    }

    /// Passes a report on to whoever shows it; `Some` when it was the last.
    async fn handle_report(
        &self,
        node: NodeId,
        account: ContentId,
        request: &Request,
        report: FromGenerator,
    ) -> Option<Result<(), TryError>> {
        let (session, question) = (request.session, request.question);
        let answer = answer_id(question);
        match report {
            FromGenerator::Accepted { model } => {
                let event = AnswerEvent::Started {
                    question,
                    answer,
                    node,
                    model: model.into(),
                };
                self.notify(session, account, event);
                None
            }
            FromGenerator::Progress => None,
            FromGenerator::Text { index, text } => {
                self.notify(
                    session,
                    account,
                    AnswerEvent::Text {
                        answer,
                        index,
                        text: text.into(),
                    },
                );
                None
            }
            FromGenerator::Failed(GenerationError::Busy) => Some(Err(TryError::Busy)),
            FromGenerator::Failed(error) => Some(Err(TryError::Generation(error))),
            FromGenerator::Finished { message, .. } if message.id != answer => Some(Err(TryError::AnotherQuestion)),
            FromGenerator::Finished { message, recorded } => {
                let edit = SessionEdit::PutMessage(message.clone());
                if !recorded && let Err(error) = self.store.edit(session, edit).await {
                    return Some(Err(error.into()));
                }
                if recorded && node != self.mesh.node() {
                    self.wait_for_answer(session, answer).await;
                }
                self.notify(session, account, AnswerEvent::Finished(Arc::new(message)));
                Some(Ok(()))
            }
        }
    }

    /// An answer that another node wrote travels here by replication, its end over the stream, which is faster: who is told of
    /// the end and reads the chat again must not find the question still waiting.
    async fn wait_for_answer(&self, session: ContentId, answer: MessageId) {
        let mut changes = self.store.changes();
        let arrives = async {
            while let Ok(chat) = self.store.read::<Session>(session).await
                && !chat.messages.iter().any(|message| message.id == answer)
                && !matches!(changes.recv().await, Err(broadcast::error::RecvError::Closed))
            {}
        };
        // Later is no loss: the one who waits was told the text.
        let _ = tokio::time::timeout(ANSWER_WAIT, arrives).await;
    }

    fn notify(&self, session: ContentId, account: ContentId, event: AnswerEvent) {
        // Nobody listening is usual: the person may have closed the page.
        let _ = self.notices.send(AnswerNotice {
            session,
            account,
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
    }
}
