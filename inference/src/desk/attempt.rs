//! One try to get a question answered: which nodes are asked, what is taken of what they say, and how the answer comes into the chat.
//!
//! What a node has made before it died or froze stands in the [`Journal`], and the next one goes on with it, if it has the same model. What
//! is taken into the journal stands in the answer's [`Live`](crate::Live) at once, where everybody reads it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crdt::{
    Store, StoreError,
    records::{
        character::{Character, Definition},
        session::{Ending, Message, MessageId, Session, SessionEdit, Speaker},
    },
};
use futures::{FutureExt, future::Fuse};
use keys::ContentId;
use mesh::Mesh;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    AnswerEvent, AnswerNotice, Order, WaitReason, Wish,
    memory::{self, Memory},
    routing::{self, Routing},
    waits::{Wait, Waits},
};
use crate::{
    admission::Standing,
    cards::Cards,
    engine::{GenerationError, Sampling},
    generate,
    keeper::Engines,
    limits::{ANSWER_TOKENS_MAX, ANSWER_WAIT, ATTEMPTS_MAX, RETRY_EVERY, WAITING_TOLD_EVERY},
    live::{self, End, Sayer},
    prompt::{self, CardText},
    serve::{self, AskError, Generator},
    swarm::{
        FromAsker, FromGenerator, Request,
        journal::{Journal, JournalError},
        route::{Choice, Decision},
        router::{Ended, Operation, Question},
    },
    template::ChatMessage,
};

/// What every attempt needs.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) engines: Engines,
    pub(super) store: Store,
    pub(super) mesh: Mesh,
    pub(super) notices: broadcast::Sender<AnswerNotice>,
    pub(super) generator: Generator,
    pub(super) routing: Routing,
    pub(super) memory: Memory,
    pub(super) cards: Cards,
    pub(super) waits: Waits,
}

/// Why one node did not answer.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error("it is busy")]
    Busy(Standing),
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
            Self::Busy(_) => Ended::Busy,
            Self::Record(_) => Ended::Stopped,
            Self::Ask(_) | Self::Generation(_) | Self::Journal(_) | Self::AnotherQuestion | Self::NoAnswer => {
                Ended::Failed
            }
        }
    }
}

/// How an attempt ended.
pub(super) enum Outcome {
    /// Answered, or no longer to be answered.
    Done,
    /// Nobody could answer now; this is what there is of an answer.
    Waiting(Journal),
}

/// A question at one node.
struct Asking<'run> {
    node: keys::NodeId,
    request: &'run Request,
    choice: Option<Arc<Choice>>,
}

/// How far it has come there.
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

impl Workshop {
    /// Tries to get one question answered, on at most [`ATTEMPTS_MAX`] nodes. What one of them has made before it failed, the next one
    /// goes on with, if it has the same model.
    pub(super) async fn attempt(&self, order: Order, mut journal: Journal, stop: oneshot::Receiver<()>) -> Outcome {
        let (chat, character) = match self.read(order.session).await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "a question cannot be read");
                return Outcome::Done;
            }
        };
        let Some(asked) = wanted(&chat, order).filter(|_| !self.has_just_come_true(order)) else {
            return Outcome::Done;
        };
        let chat = memory::fold(&self.store, order.session, chat, order.question).await;
        let card = self.cards.of(&character).await;
        let mut request = request(self.mesh.node(), order, &chat, (&character, card.as_deref()));
        if !order.wish.is_further() {
            let allowed = request.sampling.tokens_max;
            request.sampling.tokens_max = self.memory.tokens_max(chat.character, &asked, allowed);
        }
        let (reason, standing) = match self.ask_in_turn(order.wish, &mut request, &mut journal, stop).await {
            Ok(answer) => {
                self.waits.end(order.answer);
                self.remember(order, chat.character, &asked, &answer);
                return Outcome::Done;
            }
            Err(reason) => reason,
        };
        if order.wish != Wish::First {
            // The question has an answer; whoever wants another one hears why there is none, and may ask again.
            let _ = self.notices.send(AnswerNotice {
                session: order.session,
                account: request.account,
                event: AnswerEvent::Refused {
                    question: order.question,
                    answer: order.answer,
                    reason,
                },
            });
            return Outcome::Done;
        }
        let now = Instant::now();
        let wait = Wait {
            order,
            account: request.account,
            reason,
            ahead: standing.ahead,
            until: now + standing.wait.max(RETRY_EVERY),
        };
        let _ = self.notices.send(self.waits.begin(now, wait));
        Outcome::Waiting(journal)
    }

    /// Whether an answer was said further for this wish a moment ago: the chat may not have it yet where another node wrote it.
    fn has_just_come_true(&self, order: Order) -> bool {
        let (Wish::Further(wish), Some(live)) = (order.wish, self.generator.lives.get(order.answer)) else {
            return false;
        };
        live.is_finished() && live.sayer().is_some_and(|sayer| wish.has_run(sayer.run))
    }

    /// Asks one node after the other until one has answered; with the answer, or with where the question would stand soonest.
    async fn ask_in_turn(
        &self,
        wish: Wish,
        request: &mut Request,
        journal: &mut Journal,
        stop: oneshot::Receiver<()>,
    ) -> Result<Arc<Message>, (WaitReason, Standing)> {
        // Fused: a stop is heard once, also when it is another node's turn afterwards.
        let mut stop = stop.fuse();
        let operation = operation(journal.begun().is_some());
        let (question_to_route, mut decision) = self.routing.decide(&self.engines, &self.mesh, request, operation);
        self.join(request.answer, &mut decision, journal);
        let (mut reason, mut soonest) = (WaitReason::NoNode, None);
        if decision.order.is_empty() && self.routing.is_anyone_known(&self.engines, &self.mesh) {
            // There are some, and all of them failed too often just now.
            reason = WaitReason::AllBusy;
        }
        for place in 0..decision.order.len().min(ATTEMPTS_MAX) {
            if let Some(begun) = journal.begun() {
                decision.prefer(place, &begun.model);
            }
            let Some(priced) = decision.order.get(place) else { break };
            let node = priced.0.node;
            let goes_on = journal.begun().filter(|begun| begun.model == priced.0.offer.model);
            request.begun = goes_on.cloned();
            request.run = match request.begun {
                Some(_) => journal.run(),
                None => wish.new_run(),
            };
            request.epoch = journal.next_epoch();
            request.computed_at = self.routing.holder(request, priced);
            let choice = decision.choice(place).map(Arc::new);
            let question_to_route = Question {
                operation: self::operation(request.begun.is_some()),
                ..question_to_route
            };
            let watched = self.routing.began(question_to_route, priced);
            let began = Instant::now();
            let asking = Asking { node, request, choice };
            match self.try_node(&asking, journal, &mut stop).await {
                Ok(message) => {
                    self.keep_choice(&asking).await;
                    self.routing
                        .ended(watched, routing::answered(&message, began.elapsed()));
                    return Ok(message);
                }
                Err(error) => {
                    self.routing.ended(watched, error.says_of_the_node());
                    if let TryError::Busy(standing) = error {
                        reason = WaitReason::AllBusy;
                        soonest = [soonest, Some(standing)]
                            .into_iter()
                            .flatten()
                            .min_by_key(|one| one.wait);
                    }
                    tracing::warn!(node = %node.short(), %error, "a node did not answer; the next one is asked");
                }
            }
        }
        Err((reason, soonest.unwrap_or_default()))
    }

    /// Writes down why this node was asked. An answer without it is an answer all the same.
    async fn keep_choice(&self, asking: &Asking<'_>) {
        let Some(choice) = asking
            .choice
            .as_deref()
            .filter(|_| generate::writes_answers(&self.mesh))
        else {
            return;
        };
        let edit = SessionEdit::PutChoice {
            answer: asking.request.answer,
            choice: Box::new(choice.to_record()),
        };
        if let Err(error) = self.store.edit(asking.request.session, edit).await {
            tracing::warn!(%error, "why a node was asked could not be kept");
        }
    }

    /// A node that says the answer already is asked first, for what it says: this gateway was started again meanwhile, or takes the question
    /// over.
    fn join(&self, answer: MessageId, decision: &mut Decision, journal: &mut Journal) {
        if journal.begun().is_some() {
            return;
        }
        let leases = live::leases(&self.mesh.view().borrow());
        let Some((node, _, epoch)) = leases.into_iter().find(|(_, lease, _)| lease.answer == answer) else {
            return;
        };
        if decision.ask_first(node) {
            journal.join(epoch);
        }
    }

    /// Notes how long the answer became, and has the summary written better when nobody waits.
    fn remember(&self, order: Order, character: ContentId, asked: &str, answer: &Message) {
        // One that was said further is no measure of what a question needs.
        if !order.wish.is_further() {
            let was_cut = matches!(&answer.speaker, Speaker::Character { ending, .. } if *ending == Ending::Length);
            self.memory.note(character, asked, answer.text.text(), was_cut);
        }
        if generate::writes_answers(&self.mesh) {
            self.memory.write_later(&self.engines, &self.store, order.session);
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
        asking: &Asking<'_>,
        journal: &mut Journal,
        stop: &mut Fuse<oneshot::Receiver<()>>,
    ) -> Result<Arc<Message>, TryError> {
        let (report, mut reports) = mpsc::channel(64);
        let (orders, to_node) = mpsc::channel(2);
        let work = async {
            let request = asking.request.clone();
            let result = if asking.node == self.mesh.node() {
                self.generator.answer_here(request, &report, to_node).await;
                Ok(())
            } else {
                let question = FromAsker::Generate(Box::new(request));
                serve::ask(&self.mesh, asking.node, question, &report, to_node).await
            };
            drop(report);
            result
        };
        let follow = async {
            let mut is_stopped = false;
            let mut follow = Follow::Goes;
            // When it was last told that the model is loaded, until the node says that it computes or where it stands.
            let mut told_loading = Some(None);
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
                            self.tell_loading(asking, &mut told_loading, &event);
                            follow = self.handle_report(asking, journal, follow, event);
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
            (_, followed) => self.conclude(asking, journal.run(), followed).await,
        }
    }

    /// A node that says nothing but that it lives, and whose model is not in memory, loads it: the person is told, and for how long.
    fn tell_loading(&self, asking: &Asking<'_>, told: &mut Option<Option<Instant>>, report: &FromGenerator) {
        if !matches!(report, FromGenerator::Progress) {
            *told = None;
        }
        let Some(last) = told else { return };
        if last.is_some_and(|last| last.elapsed() < WAITING_TOLD_EVERY) {
            return;
        }
        let Some(wait) = self.routing.loading(&self.engines, &self.mesh, asking.node) else {
            return;
        };
        *last = Some(Instant::now());
        self.waits.end(asking.request.answer);
        let Request {
            session,
            account,
            question,
            ..
        } = *asking.request;
        let event = AnswerEvent::Waiting {
            question,
            reason: WaitReason::Loading,
            ahead: 0,
            wait,
        };
        self.notify(session, account, event);
    }

    /// Takes in what a node reports.
    fn handle_report(
        &self,
        asking: &Asking<'_>,
        journal: &mut Journal,
        follow: Follow,
        report: FromGenerator,
    ) -> Follow {
        if matches!(follow, Follow::Failed(_)) {
            // After the first thing that went wrong nothing else is taken.
            return follow;
        }
        if let Err(error) = enter(journal, asking.request, &report) {
            return Follow::Failed(error.into());
        }
        match &report {
            FromGenerator::Accepted { .. } | FromGenerator::Shortened | FromGenerator::Said { .. } => {
                self.show(asking, journal, &report);
            }
            FromGenerator::Queued { ahead, wait_ms } => {
                self.waits.end(asking.request.answer);
                let standing = Standing {
                    ahead: *ahead,
                    wait: Duration::from_millis((*wait_ms).into()),
                };
                let Request {
                    session,
                    account,
                    question,
                    ..
                } = *asking.request;
                self.notify(session, account, queued(question, standing));
            }
            _ => {}
        }
        match report {
            FromGenerator::Failed(GenerationError::Busy) => Follow::Failed(TryError::Busy(Standing::default())),
            FromGenerator::Failed(GenerationError::Full { ahead, wait_ms }) => {
                let wait = Duration::from_millis(wait_ms.into());
                Follow::Failed(TryError::Busy(Standing { ahead, wait }))
            }
            FromGenerator::Failed(error) => Follow::Failed(TryError::Generation(error)),
            FromGenerator::Finished { message, .. } if message.id != asking.request.answer => {
                Follow::Failed(TryError::AnotherQuestion)
            }
            FromGenerator::Finished {
                message, can_record, ..
            } => match can_record {
                true => Follow::Finished(message),
                false => Follow::Unrecorded(message),
            },
            FromGenerator::Recorded(is_recorded) => match follow {
                Follow::Finished(message) if is_recorded => Follow::Recorded(message),
                Follow::Finished(message) => Follow::Unrecorded(message),
                other => other,
            },
            _ => follow,
        }
    }

    /// Puts what the journal has taken where everybody reads it, and says so where it is news to whoever listens.
    fn show(&self, asking: &Asking<'_>, journal: &Journal, report: &FromGenerator) {
        let live = self.generator.lives.open(asking.request.lease());
        if asking.node != self.mesh.node() {
            live.take(report, Some(journal.held()), |run, model| Sayer {
                run,
                node: Some(asking.node),
                model: model.into(),
                choice: asking.choice.clone(),
            });
        }
        if matches!(report, FromGenerator::Accepted { .. }) {
            self.waits.end(asking.request.answer);
            // What this node says itself stands there already, but not why it was chosen.
            live.chosen(asking.choice.clone());
            let Request { session, account, .. } = *asking.request;
            self.notify(session, account, AnswerEvent::Started(live));
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
    async fn conclude(&self, asking: &Asking<'_>, run: u64, followed: Follow) -> Result<Arc<Message>, TryError> {
        let request = asking.request;
        let message = match followed {
            Follow::Goes => return Err(TryError::NoAnswer),
            Follow::Failed(error) => return Err(error),
            Follow::Recorded(message) => {
                self.wait_for_answer(request.session, message.id).await;
                message
            }
            Follow::Finished(message) | Follow::Unrecorded(message) => {
                let edit = generate::edit(request, run, &message);
                self.store.edit(request.session, edit).await?;
                generate::signed(&message, asking.node)
            }
        };
        let message = Arc::new(message);
        self.generator.lives.open(request.lease()).end(End::Finished {
            message: Arc::clone(&message),
            recorded: true,
        });
        let event = AnswerEvent::Finished(Arc::clone(&message));
        self.notify(request.session, request.account, event);
        Ok(message)
    }

    pub(super) fn notify(&self, session: ContentId, account: ContentId, event: AnswerEvent) {
        // Nobody listening is usual: the person may have closed the page.
        let _ = self.notices.send(AnswerNotice {
            session,
            account,
            event,
        });
    }
}

const fn operation(is_begun: bool) -> Operation {
    match is_begun {
        true => Operation::Continue,
        false => Operation::Generate,
    }
}

/// A question waits for its turn at a node.
pub(super) const fn queued(question: MessageId, standing: Standing) -> AnswerEvent {
    AnswerEvent::Waiting {
        question,
        reason: WaitReason::AllBusy,
        ahead: standing.ahead as usize,
        wait: standing.wait,
    }
}

/// Takes a report into the journal.
fn enter(journal: &mut Journal, request: &Request, report: &FromGenerator) -> Result<(), JournalError> {
    match report {
        FromGenerator::Accepted { model, run, epoch, .. } => {
            // A node that had begun before says by its run that it begins elsewhere than it was asked to.
            let said = request.said.as_deref().filter(|_| *run == request.run);
            journal.accepted(*epoch, *run, model, said.unwrap_or(""))
        }
        FromGenerator::Shortened => {
            journal.shortened();
            Ok(())
        }
        FromGenerator::Said {
            epoch,
            from,
            tokens,
            at,
            text,
        } => journal.said(*epoch, *from, tokens, *at as usize, text),
        FromGenerator::Finished { epoch, .. } => journal.check(*epoch),
        _ => Ok(()),
    }
}

/// What was asked, if an answer is still wanted.
fn wanted(chat: &Session, order: Order) -> Option<String> {
    let find = |id: MessageId| chat.messages.iter().find(|message| message.id == id);
    let question = find(order.question)?;
    let is_wanted = match order.wish {
        Wish::First => chat.is_unanswered(question),
        Wish::Another => find(order.answer).is_none(),
        Wish::Further(wish) => {
            find(order.answer).is_some_and(|answer| !chat.deleted.contains(&answer.id) && !wish.came_true(answer))
        }
    };
    is_wanted.then(|| question.text.text().to_owned())
}

/// Without the number of an attempt and its run, which come with each.
fn request(
    gateway: keys::NodeId,
    order: Order,
    chat: &Session,
    (character, card): (&Definition, Option<&CardText>),
) -> Request {
    let characters_max = u32::try_from(character.answer_characters_max).unwrap_or(2000);
    // The same question gets the same random numbers, so an answer can be repeated on an equal build; another answer gets others.
    let varied = match order.wish {
        Wish::First => order.question,
        Wish::Another | Wish::Further(_) => order.answer,
    };
    let hash = ContentId::of(varied.to_string().as_bytes());
    let seed = u32::from_le_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]);
    let mut messages = prompt::messages(character, card, chat, order.question);
    let said = order.wish.is_further().then(|| {
        let answer = chat.messages.iter().find(|message| message.id == order.answer);
        answer.map_or_else(String::new, |answer| answer.text.text().to_owned())
    });
    if let Some(said) = &said {
        messages.push(ChatMessage::new("assistant", said.as_str()));
    }
    let said_characters = said.as_ref().map_or(0, |said| said.chars().count());
    let characters_max = characters_max.saturating_sub(u32::try_from(said_characters).unwrap_or(u32::MAX));
    Request {
        account: chat.account,
        session: order.session,
        question: order.question,
        answer: order.answer,
        gateway,
        run: 0,
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
        epoch: 0,
        begun: None,
        computed_at: None,
    }
}
