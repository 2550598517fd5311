//! The desk's actor: which questions run, which wait, and when the waiting ones are tried again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crdt::{
    Store, StoreError,
    records::session::{MessageId, Session, Speaker},
};
use keys::{ContentId, NodeId};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    Command, Order,
    attempt::{Outcome, Workshop},
    following::Following,
};
use crate::{
    limits::{ANSWERS_MAX, RETRY_EVERY, WAITING_TOLD_EVERY},
    swarm::{self, journal::Journal},
};

/// An order, with what there is of its answer.
type Begun = (Order, Journal);

struct Actor {
    workshop: Workshop,
    /// By their answers: orders that nobody could see to at the last try.
    waiting: BTreeMap<MessageId, Begun>,
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
    let mut conditions = workshop.engines.conditions();
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
    let mut tell = tokio::time::interval(WAITING_TOLD_EVERY);
    tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Ask(order)) => actor.try_now(order, Journal::default()),
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
            _ = tell.tick() => actor.tell_waiting(),
            Ok(()) = conditions.changed() => actor.try_all(),
            Ok(()) = view.changed() => actor.handle_view(),
        }
    }
}

impl Actor {
    /// Nodes within reach that offer a model.
    fn able_now(&self) -> BTreeSet<NodeId> {
        let mesh = &self.workshop.mesh;
        let offers = swarm::known_offers(mesh.node(), &self.workshop.engines, &mesh.view().borrow());
        offers
            .into_iter()
            .filter(|(_, offers)| offers.iter().any(|offer| offer.is_main))
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
            // What was heard of the answer before its gateway and its node were gone is not lost.
            let heard = self.workshop.generator.lives.get(order.answer);
            let journal = heard.map_or_else(Journal::default, |live| live.journal());
            self.try_now(order, journal);
        }
    }

    fn handle_retry(&mut self) {
        self.following.look();
        self.handle_orphans();
        self.try_all();
    }

    /// Who waits hears of it, whether anything has changed or not.
    fn tell_waiting(&self) {
        for notice in self.workshop.waits.notices(std::time::Instant::now()) {
            // Nobody listening is usual: the person may have closed the page.
            let _ = self.workshop.notices.send(notice);
        }
    }

    fn try_all(&mut self) {
        for (order, journal) in std::mem::take(&mut self.waiting).into_values() {
            self.try_now(order, journal);
        }
    }

    fn try_now(&mut self, order: Order, journal: Journal) {
        if self.running.contains_key(&order.answer) {
            if order.wish.is_further() {
                // The attempt before it may be just ending; its turn comes with that end, unless it was for the same wish and came true.
                self.waiting.insert(order.answer, (order, journal));
            }
            return;
        }
        if self.running.len() >= ANSWERS_MAX {
            self.waiting.insert(order.answer, (order, journal));
            return;
        }
        let (stop, stopped) = oneshot::channel();
        self.running.insert(order.answer, (order.session, Some(stop)));
        let workshop = self.workshop.clone();
        let task = self
            .attempts
            .spawn(async move { workshop.attempt(order, journal, stopped).await });
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
                (error.id(), Outcome::Waiting(Journal::default()))
            }
        };
        let Some(order) = self.asked.remove(&id) else {
            return;
        };
        self.running.remove(&order.answer);
        self.workshop.generator.lives.close(order.answer);
        if let Outcome::Waiting(journal) = outcome {
            self.waiting.insert(order.answer, (order, journal));
            // Those that are able now have just failed: only a further one is news.
            self.able = self.able_now();
            return;
        }
        self.workshop.waits.end(order.answer);
        if let Some((next, journal)) = self.waiting.remove(&order.answer) {
            self.try_now(next, journal);
        }
    }
}

/// Questions of this node that a stop or a crash left without an answer. They are here: who writes keeps it for a while.
async fn unanswered(store: &Store) -> Result<BTreeMap<MessageId, Begun>, StoreError> {
    let mut waiting = BTreeMap::new();
    for (id, session) in store.list_here::<Session>().await? {
        for question in session.unanswered() {
            if matches!(question.speaker, Speaker::Person { gateway } if gateway == Some(store.node())) {
                let order = Order::first(id, question.id);
                waiting.insert(order.answer, (order, Journal::default()));
            }
        }
    }
    Ok(waiting)
}
