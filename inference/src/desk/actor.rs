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
        session::{MessageId, Session, Speaker, Tree},
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

use super::{AnswerEvent, AnswerNotice, Command, Order, WaitReason, Wish, following::Following};
use crate::{
    engine::{Engine, GenerationError, Sampling},
    generate,
    limits::{ANSWER_TOKENS_MAX, ANSWERS_MAX, ATTEMPTS_MAX, RETRY_EVERY},
    live::{Choice, Lease, Sayer},
    prompt,
    serve::{self, AskError, Generator},
    swarm::{
        self, FromAsker, FromGenerator, Request,
        route::{self, Candidate, Cost, Work},
    },
    template::ChatMessage,
};

/// What every attempt needs.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) mesh: Mesh,
    pub(super) notices: broadcast::Sender<AnswerNotice>,
    pub(super) generator: Generator,
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
    /// By their answers: orders that nobody could see to at the last try.
    waiting: BTreeMap<MessageId, Order>,
    /// By their answers: those that are being seen to, with the way to stop them.
    running: HashMap<MessageId, (ContentId, Option<oneshot::Sender<()>>)>,
    attempts: JoinSet<Outcome>,
    /// What an attempt is for.
    asked: HashMap<tokio::task::Id, Order>,
    /// What other gateways see to and somebody here wants to hear.
    following: Following,
    /// Nodes that offered a model when questions last waited.
    able: BTreeSet<NodeId>,
}

pub(super) async fn run(workshop: Workshop, mut commands: mpsc::Receiver<Command>) {
    let waiting = unanswered(&workshop.store).await.unwrap_or_else(|error| {
        tracing::error!(%error, "unanswered questions could not be read");
        BTreeMap::new()
    });
    let following = Following::new(workshop.clone());
    let mut engine = workshop.engine.status();
    let mut view = workshop.mesh.view();
    let mut actor = Actor {
        workshop,
        waiting,
        running: HashMap::new(),
        attempts: JoinSet::new(),
        asked: HashMap::new(),
        following,
        able: BTreeSet::new(),
    };
    let mut retry = tokio::time::interval(RETRY_EVERY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Ask(order)) => actor.try_now(order),
                Some(Command::Stop { session }) => actor.handle_stop(session),
                Some(Command::Watch { account, watched }) => actor.following.watch(account, watched),
                Some(Command::Adopt { order, gateway }) => {
                    actor.following.keep(order, gateway);
                    actor.handle_orphans();
                }
                None => return,
            },
            Some(ended) = actor.attempts.join_next_with_id() => actor.handle_ended(ended),
            Some(ended) = actor.following.ended() => {
                actor.following.handle_ended(ended);
                actor.handle_orphans();
            }
            _ = retry.tick() => actor.handle_retry(),
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
        self.following.look();
        self.handle_orphans();
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

    /// Questions of gateways that are gone become this one's.
    fn handle_orphans(&mut self) {
        for order in self.following.orphans() {
            self.try_now(order);
        }
    }

    fn handle_retry(&mut self) {
        self.following.look();
        self.handle_orphans();
        self.try_all();
    }

    fn try_all(&mut self) {
        for order in std::mem::take(&mut self.waiting).into_values() {
            self.try_now(order);
        }
    }

    fn try_now(&mut self, order: Order) {
        if self.running.contains_key(&order.answer) {
            if order.wish == Wish::Further {
                // The attempt before it is just ending; its turn comes with that end.
                self.waiting.insert(order.answer, order);
            }
            return;
        }
        if self.running.len() >= ANSWERS_MAX {
            self.waiting.insert(order.answer, order);
            return;
        }
        let (stop, stopped) = oneshot::channel();
        self.running.insert(order.answer, (order.session, Some(stop)));
        let ahead = self.waiting.range(..order.answer).count();
        let workshop = self.workshop.clone();
        let task = self
            .attempts
            .spawn(async move { workshop.attempt(order, ahead, stopped).await });
        self.asked.insert(task.id(), order);
    }

    fn handle_stop(&mut self, session: ContentId) {
        self.following.stop(session);
        for live in self.workshop.generator.lives.of_session(session) {
            live.stop();
        }
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
        let Some(order) = self.asked.remove(&id) else {
            return;
        };
        self.running.remove(&order.answer);
        self.workshop.generator.lives.close(order.answer);
        if matches!(outcome, Outcome::Waiting) {
            self.waiting.insert(order.answer, order);
            // Those that are able now have just failed: only a further one is news.
            self.able = self.able_now();
        } else if let Some(next) = self.waiting.remove(&order.answer) {
            self.try_now(next);
        }
    }
}

/// Questions of this node that a stop or a crash left without an answer. They are here: who writes keeps it for a while.
async fn unanswered(store: &Store) -> Result<BTreeMap<MessageId, Order>, StoreError> {
    let mut waiting = BTreeMap::new();
    for (id, session) in store.list_here::<Session>().await? {
        for question in session.unanswered() {
            if matches!(question.speaker, Speaker::Person { gateway } if gateway == Some(store.node())) {
                let order = Order::first(id, question.id);
                waiting.insert(order.answer, order);
            }
        }
    }
    Ok(waiting)
}

impl Workshop {
    /// Tries to get one question answered, on at most [`ATTEMPTS_MAX`] nodes.
    async fn attempt(&self, order: Order, ahead: usize, stop: oneshot::Receiver<()>) -> Outcome {
        let Order { session, question, .. } = order;
        // Fused: a stop is heard once, also when it is another node's turn afterwards.
        let mut stop = stop.fuse();
        let (chat, character) = match self.read(session).await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "a question cannot be read");
                return Outcome::Done;
            }
        };
        if !is_wanted(&chat, order) {
            return Outcome::Done;
        }
        let request = request(self.mesh.node(), order, &chat, &character);
        let account = chat.account;
        let candidates = self.candidates(&request);
        let count = candidates.len();
        let mut reason = WaitReason::NoNode;
        for (candidate, cost) in candidates.into_iter().take(ATTEMPTS_MAX) {
            let node = candidate.node;
            let choice = Choice {
                cost,
                candidates: count,
            };
            match self.try_node(node, choice, &request, &mut stop).await {
                Ok(()) => return Outcome::Done,
                Err(error) => {
                    if matches!(error, TryError::Busy) {
                        reason = WaitReason::AllBusy;
                    }
                    tracing::warn!(node = %node.short(), %error, "a node did not answer; the next one is asked");
                }
            }
        }
        if order.wish != Wish::First {
            // The question has an answer; whoever wants another one may ask again.
            return Outcome::Done;
        }
        let event = AnswerEvent::Waiting {
            question,
            reason,
            ahead,
            retry: RETRY_EVERY,
        };
        self.notify(session, account, event);
        Outcome::Waiting
    }

    async fn read(&self, session: ContentId) -> Result<(Session, Definition), StoreError> {
        let chat: Session = self.store.read(session).await?;
        let character: Character = self.store.read(chat.character).await?;
        let definition = character.definition().cloned().unwrap_or(character.draft);
        Ok((chat, definition))
    }

    /// Nodes that could answer, cheapest first.
    fn candidates(&self, request: &Request) -> Vec<(Candidate, Cost)> {
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
    }

    /// One attempt on one node, to the end.
    async fn try_node(
        &self,
        node: NodeId,
        choice: Choice,
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
                let live = self.generator.begin(request.clone());
                serve::relay(&live, 0, &report, stopped).await;
                drop(report);
                Ok(())
            } else {
                let question = FromAsker::Generate(request.clone());
                let result = serve::ask(&self.mesh, node, question, &report, stopped).await;
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
                            if let Some(result) = self.handle_report(node, Some(choice), request, event).await {
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

    /// Takes in a report for whoever shows it; `Some` when it was the last.
    async fn handle_report(
        &self,
        node: NodeId,
        choice: Option<Choice>,
        request: &Request,
        report: FromGenerator,
    ) -> Option<Result<(), TryError>> {
        let lease = request.lease();
        match report {
            FromGenerator::Failed(GenerationError::Busy) => Some(Err(TryError::Busy)),
            FromGenerator::Failed(error) => Some(Err(TryError::Generation(error))),
            FromGenerator::Finished { message, .. } if message.id != lease.answer => {
                Some(Err(TryError::AnotherQuestion))
            }
            FromGenerator::Finished { ref message, recorded } => {
                let edit = generate::edit(request, message);
                if !recorded && let Err(error) = self.store.edit(lease.session, edit).await {
                    return Some(Err(error.into()));
                }
                self.show(lease, node, choice, &report);
                Some(Ok(()))
            }
            report => {
                self.show(lease, node, choice, &report);
                None
            }
        }
    }

    /// Puts a report into the table, and says so where it is news to whoever listens.
    pub(super) fn show(&self, lease: Lease, node: NodeId, choice: Option<Choice>, report: &FromGenerator) {
        let live = self.generator.lives.open(lease);
        live.take(report, |run, model| Sayer {
            run,
            node: Some(node),
            model: model.into(),
            choice,
        });
        match report {
            FromGenerator::Accepted { .. } => self.notify(lease.session, lease.account, AnswerEvent::Started(live)),
            FromGenerator::Finished { message, .. } => {
                let message = Arc::new(message.clone());
                self.notify(lease.session, lease.account, AnswerEvent::Finished(message));
            }
            _ => {}
        }
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

/// Whether an answer is still wanted.
fn is_wanted(chat: &Session, order: Order) -> bool {
    let find = |id: MessageId| chat.messages.iter().find(|message| message.id == id);
    let Some(question) = find(order.question) else {
        return false;
    };
    match order.wish {
        Wish::First => chat.is_unanswered(question),
        Wish::Another => find(order.answer).is_none(),
        Wish::Further => find(order.answer).is_some_and(|answer| !chat.deleted.contains(&answer.id)),
    }
}

fn request(gateway: NodeId, order: Order, chat: &Session, character: &Definition) -> Request {
    let characters_max = u32::try_from(character.answer_characters_max).unwrap_or(2000);
    // The same question gets the same random numbers, so an answer can be repeated on an equal build; another answer gets others.
    let varied = match order.wish {
        Wish::First => order.question,
        Wish::Another | Wish::Further => order.answer,
    };
    let hash = keys::ContentId::of(varied.to_string().as_bytes());
    let seed = u32::from_le_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]);
    let mut messages = prompt::messages(character, &on_the_way(chat, order.question), order.question);
    let said = (order.wish == Wish::Further).then(|| {
        let answer = chat.messages.iter().find(|message| message.id == order.answer);
        answer.map_or_else(String::new, |answer| answer.text.text().to_owned())
    });
    if let Some(said) = &said {
        messages.push(ChatMessage {
            role: "assistant".into(),
            content: said.clone(),
        });
    }
    let said_characters = said.as_ref().map_or(0, |said| said.chars().count());
    let characters_max = characters_max.saturating_sub(u32::try_from(said_characters).unwrap_or(u32::MAX));
    Request {
        account: chat.account,
        session: order.session,
        question: order.question,
        answer: order.answer,
        gateway,
        run: u64::from_le_bytes(keys::identity::random_bytes()) | 1,
        said,
        messages,
        sampling: Sampling {
            temperature: character.temperature as f32,
            seed,
            // A token has at least one character; the limit in characters is what counts.
            tokens_max: characters_max.clamp(1, ANSWER_TOKENS_MAX),
            characters_max,
            ..Sampling::default()
        },
    }
}

/// The chat without the branches that do not lead to a question.
fn on_the_way(chat: &Session, question: MessageId) -> Session {
    let way: BTreeSet<MessageId> = Tree::of(chat).path_to(question).into_iter().collect();
    let mut chat = chat.clone();
    chat.messages.retain(|message| way.contains(&message.id));
    chat
}
