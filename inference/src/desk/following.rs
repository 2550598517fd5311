//! Answers that other gateways see to: heard here as long as somebody wants to, and taken over when their gateway is gone.
//!
//! A node says by its leases what it generates, so whoever watches an account finds its answers without asking anybody. An answer
//! whose gateway dies goes on at the node that generates it; a question that had not come that far is an orphan, and the gateway to
//! which the person came sees to it.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crdt::records::session::MessageId;
use keys::{ContentId, NodeId};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use super::{
    AnswerEvent, Order,
    attempt::{Workshop, queued},
};
use crate::{
    admission::Standing,
    limits::{ORPHANS_MAX, WATCHED_MAX},
    live::{self, Cursor, End, Lease, Sayer},
    serve,
    swarm::{FromAsker, FromGenerator},
};

/// Reports that wait to be shown; showing one takes no time.
const REPORT_QUEUE: usize = 64;

/// See the module. Owned by the desk's actor.
pub(super) struct Following {
    workshop: Workshop,
    /// How many want to hear the answers of an account.
    watched: HashMap<ContentId, usize>,
    /// By their answers: what is being heard, with the way to stop it.
    heard: HashMap<MessageId, (ContentId, mpsc::Sender<FromAsker>)>,
    hearing: JoinSet<Heard>,
    /// By their answers: questions that other gateways see to.
    kept: BTreeMap<MessageId, (Order, NodeId)>,
}

/// One answer was heard to its end, or until its node was gone.
pub(super) struct Heard(Lease);

impl Following {
    pub(super) fn new(workshop: Workshop) -> Self {
        Self {
            workshop,
            watched: HashMap::new(),
            heard: HashMap::new(),
            hearing: JoinSet::new(),
            kept: BTreeMap::new(),
        }
    }

    /// Somebody wants to hear the answers of an account, or no longer.
    pub(super) fn watch(&mut self, account: ContentId, watched: bool) {
        if watched {
            if self.watched.len() < WATCHED_MAX || self.watched.contains_key(&account) {
                *self.watched.entry(account).or_default() += 1;
            }
            self.look();
        } else if let Some(count) = self.watched.get_mut(&account) {
            *count -= 1;
            if *count == 0 {
                self.watched.remove(&account);
            }
        }
    }

    /// Keeps an eye on a question of another gateway.
    pub(super) fn keep(&mut self, order: Order, gateway: NodeId) {
        if self.kept.len() >= ORPHANS_MAX {
            // The oldest is the likeliest to be answered by now.
            self.kept.pop_first();
        }
        self.kept.insert(order.answer, (order, gateway));
    }

    /// Begins to hear what others have begun to say.
    pub(super) fn look(&mut self) {
        if self.watched.is_empty() {
            return;
        }
        let leases = live::leases(&self.workshop.mesh.view().borrow());
        for (node, lease, _) in leases {
            // What this gateway sees to it hears anyway, unless it was started again meanwhile.
            let is_ours = lease.gateway == self.workshop.mesh.node();
            let is_heard = is_ours && self.workshop.generator.lives.get(lease.answer).is_some();
            let is_new = !is_heard && !self.heard.contains_key(&lease.answer);
            if is_new && self.watched.contains_key(&lease.account) {
                self.hear(node, lease);
            }
        }
    }

    fn hear(&mut self, node: NodeId, lease: Lease) {
        let known = self.workshop.generator.lives.get(lease.answer);
        if known.is_some_and(|live| live.is_finished()) {
            return;
        }
        let (orders, to_node) = mpsc::channel(1);
        self.heard.insert(lease.answer, (lease.session, orders));
        let workshop = self.workshop.clone();
        self.hearing.spawn(async move {
            hear(&workshop, node, lease, to_node).await;
            Heard(lease)
        });
    }

    /// The next answer that is heard no longer.
    pub(super) async fn ended(&mut self) -> Option<Result<Heard, JoinError>> {
        self.hearing.join_next().await
    }

    pub(super) fn handle_ended(&mut self, ended: Result<Heard, JoinError>) {
        let Ok(Heard(lease)) = ended else {
            // Without its name it stays among the heard until the next start; the person reads the chat instead.
            tracing::error!("hearing an answer ended abnormally");
            return;
        };
        self.heard.remove(&lease.answer);
        self.workshop.generator.lives.close(lease.answer);
        let live = self.workshop.generator.lives.get(lease.answer);
        if !live.is_some_and(|live| live.is_recorded()) {
            self.keep(Order::first(lease.session, lease.question), lease.gateway);
        }
    }

    /// Asks the nodes that generate for this chat to stop.
    pub(super) fn stop(&self, session: ContentId) {
        for (_, orders) in self.heard.values().filter(|(heard, _)| *heard == session) {
            // One that is under way already is enough.
            let _ = orders.try_send(FromAsker::Stop);
        }
    }

    /// Takes out the questions whose gateway is gone and which nobody answers.
    pub(super) fn orphans(&mut self) -> Vec<Order> {
        if self.kept.is_empty() {
            return Vec::new();
        }
        let view = self.workshop.mesh.view();
        let view = view.borrow();
        let leases = live::leases(&view);
        let is_said = |answer: &MessageId| leases.iter().any(|(_, lease, _)| lease.answer == *answer);
        let own = self.workshop.mesh.node();
        let is_gone =
            |gateway: &NodeId| *gateway == own || !view.links.get(gateway).is_some_and(|link| link.is_reachable());
        let orphaned = |answer: &MessageId, gateway: &NodeId| is_gone(gateway) && !is_said(answer);
        let found = self
            .kept
            .iter()
            .filter(|(answer, (_, gateway))| orphaned(answer, gateway));
        let found: Vec<Order> = found.map(|(_, (order, _))| *order).collect();
        drop(view);
        for order in &found {
            self.kept.remove(&order.answer);
        }
        found
    }
}

/// Hears one answer until it is over.
async fn hear(workshop: &Workshop, node: NodeId, lease: Lease, orders: mpsc::Receiver<FromAsker>) {
    let (report, mut reports) = mpsc::channel(REPORT_QUEUE);
    let question = FromAsker::Follow {
        answer: lease.answer,
        bytes: 0,
    };
    let ask = async {
        let result = serve::ask(&workshop.mesh, node, question, &report, orders).await;
        drop(report);
        if let Err(error) = result {
            tracing::debug!(node = %node.short(), %error, "an answer of another gateway cannot be heard");
        }
    };
    let show = async {
        while let Some(report) = reports.recv().await {
            // Why it failed is its gateway's business; the chat says how it ends.
            if !matches!(report, FromGenerator::Failed(_)) {
                take(workshop, node, lease, &report);
            }
        }
    };
    tokio::join!(ask, show);
}

/// Puts what was heard where everybody reads it, and says so where it is news to whoever listens.
fn take(workshop: &Workshop, node: NodeId, lease: Lease, report: &FromGenerator) {
    let live = workshop.generator.lives.open(lease);
    live.take(report, None, |run, model| Sayer {
        run,
        node: Some(node),
        model: model.into(),
        choice: None,
    });
    let event = match report {
        FromGenerator::Accepted { .. } => AnswerEvent::Started(live),
        FromGenerator::Queued { ahead, wait_ms } => {
            let wait = Duration::from_millis((*wait_ms).into());
            queued(lease.question, Standing { ahead: *ahead, wait })
        }
        FromGenerator::Finished { .. } | FromGenerator::Recorded(_) => match live.since(Cursor::default()).end {
            Some(End::Finished { message, .. }) => AnswerEvent::Finished(message),
            _ => return,
        },
        _ => return,
    };
    workshop.notify(lease.session, lease.account, event);
}
