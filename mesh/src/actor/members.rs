//! Membership: who asks to come in, what others say of us, who is put out, and the roster that results.

use std::{collections::BTreeSet, sync::Arc};

use keys::{
    NodeId, Timestamp,
    membership::{Certificate, Evidence, MembershipError, Powers, Residency, Roster, Taken},
};
use libp2p::swarm::ConnectionId;
use tokio::sync::oneshot;

use super::{Actor, Event, jitter};
use crate::{
    Stream,
    counters::Counters,
    join::{self, Answer, Asked, JoinError, Presented},
    limits::EVIDENCE_WAITING_MAX,
    membership::{node_of, peer_of},
    trust::News,
};

impl Actor {
    /// Reads what someone asks, lets the actor decide, and answers; the conversation has its own deadline.
    pub(super) fn handle_join_stream(&self, node: NodeId, mut stream: Stream) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let conversation = async {
                let asked = join::read_request(&mut stream).await?;
                let (reply, verdict) = oneshot::channel();
                let _ = events.send(Event::Asked(node, asked, reply)).await;
                match verdict.await {
                    Ok(verdict) => join::write_reply(&mut stream, verdict).await,
                    // The mesh stops; the stranger sees the stream end.
                    Err(_) => Ok(()),
                }
            };
            if let Err(error) = conversation.await {
                tracing::debug!(node = %node.short(), %error, "a join conversation failed");
            }
        });
    }

    pub(super) fn judge_join(&mut self, node: NodeId, asked: Asked) -> Answer {
        let mut roster = Roster::clone(&self.outputs.roster.borrow());
        let verdict = match asked {
            Asked::Redeem {
                request,
                residency,
                operator,
            } => self.admit(&mut roster, node, request, (residency, operator)),
            Asked::Present(evidence) => {
                let news = roster.take(evidence).news;
                match roster.get(&node) {
                    Some(_) => Ok(news),
                    None => Err(roster.why_not(&node)),
                }
            }
        };
        match verdict {
            Ok(news) => {
                let name = roster.get(&node).map(|member| member.name.clone()).unwrap_or_default();
                tracing::info!(node = %node.short(), name, "admitted");
                let certificates = roster.certificates().cloned().collect();
                let decided = roster.evidence().map(|(_, evidence)| evidence);
                let decided = decided.filter(|one| matches!(one, Evidence::Decree(_))).collect();
                self.adopt(roster, news, None);
                Answer::Welcome(certificates, decided)
            }
            Err(error) => {
                tracing::warn!(node = %node.short(), %error, "refused a stranger");
                Counters::increment(&self.outputs.counters.strangers_refused);
                Answer::Refused(error, self.outputs.roster.borrow().because(&node))
            }
        }
    }

    fn admit(
        &self,
        roster: &mut Roster,
        node: NodeId,
        request: keys::invite::JoinRequest,
        (residency, operator): (Option<Residency>, Option<NodeId>),
    ) -> Result<Vec<Evidence>, MembershipError> {
        let issuer = operator.unwrap_or_else(|| roster.root());
        let (grant, redemption) = request.into_parts(issuer, residency)?;
        let known = roster.get(&node).is_some();
        let certificate = roster.admit(&self.key, node, grant, redemption, Timestamp::now())?;
        Ok(if known {
            vec![]
        } else {
            vec![Evidence::Certificate(certificate)]
        })
    }

    /// Tells `node` who we are, because it treats us as a stranger or we do not know it.
    pub(super) fn present(&self, node: NodeId, id: ConnectionId) {
        let roster = self.outputs.roster.borrow().clone();
        let (opener, events) = (self.opener.clone(), self.events.clone());
        tokio::spawn(async move {
            let presented = join::present(&opener, node, &roster).await;
            let _ = events.send(Event::Presented(node, id, presented)).await;
        });
    }

    pub(super) fn handle_presented(
        &mut self,
        node: NodeId,
        id: ConnectionId,
        Presented { result, because }: Presented,
    ) {
        let elapsed = self.started.elapsed();
        match result {
            Ok(certificates) => {
                self.learn(certificates);
                let _ = self.take(because, None);
                self.plan.lost(&node, elapsed, jitter());
            }
            Err(error) => {
                tracing::warn!(node = %node.short(), %error, "not accepted as a member");
                if matches!(error, JoinError::Refused(_)) {
                    // What does not verify is left out: nobody switches this node off by saying so.
                    let _ = self.take(because, None);
                    Counters::increment(&self.outputs.counters.refused_by_others);
                    self.plan.refused(&node, elapsed);
                } else {
                    self.plan.lost(&node, elapsed, jitter());
                }
            }
        }
        // What a connection may speak was decided when it was established: close it; it is dialled again as what we now are.
        if let Some(connections) = self.connections.get_mut(&node) {
            connections.retain(|connection| connection.id != id);
            if connections.is_empty() {
                self.connections.remove(&node);
            }
        }
        self.swarm.close_connection(id);
    }

    /// Takes certificates into the roster; those of other meshes or with broken chains are left out.
    pub(super) fn learn(&mut self, certificates: Vec<Certificate>) {
        let evidence = certificates.into_iter().map(Evidence::Certificate).collect();
        // Refusals were said in the log; whoever sent them is not waiting for an answer.
        let _ = self.take(evidence, None);
    }

    /// Takes evidence into the roster, with what has waited for it, and passes on what is news. Returns the first refusal.
    pub(super) fn take(&mut self, evidence: Vec<Evidence>, from: Option<NodeId>) -> Result<(), MembershipError> {
        let mut roster = Roster::clone(&self.outputs.roster.borrow());
        let Taken { mut news, refused } = roster.take(evidence);
        let refusal = refused.first().map_or(Ok(()), |(_, error)| Err(*error));
        self.keep_waiting(refused);
        if !news.is_empty() {
            let waiting = std::mem::take(&mut self.waiting).into_values().collect();
            let more = roster.take(waiting);
            news.extend(more.news);
            self.keep_waiting(more.refused);
            self.adopt(roster, news, from);
        }
        refusal
    }

    fn keep_waiting(&mut self, refused: Vec<(Evidence, MembershipError)>) {
        for (evidence, error) in refused {
            let may_come = matches!(
                error,
                MembershipError::UnknownAdmitter | MembershipError::UnknownOperator
            );
            if may_come && self.waiting.len() < EVIDENCE_WAITING_MAX {
                self.waiting.insert(evidence.id(), evidence);
            } else {
                tracing::debug!(%error, "a certificate or decree was not taken in");
            }
        }
    }

    /// A new roster counts from now on: whoever is out loses its connections, and the links tell the others.
    fn adopt(&mut self, roster: Roster, news: Vec<Evidence>, from: Option<NodeId>) {
        if let (Some(_), Some(former)) = (
            self.outputs.roster.borrow().get(&self.key.id()),
            roster.former(&self.key.id()),
        ) {
            // Whoever runs the mesh says it in words.
            tracing::debug!(why = ?former.why, "this node is a member of its mesh no longer");
        }
        self.outputs.roster.send_replace(Arc::new(roster));
        if !news.is_empty() {
            // Nobody listens while there is no link.
            let _ = self.news.send(News {
                from,
                evidence: news.into(),
            });
        }
        self.drop_former_members();
    }

    fn drop_former_members(&mut self) {
        let roster = self.outputs.roster.borrow().clone();
        let linked = self.connections.keys().chain(self.controls.keys());
        let mut gone: BTreeSet<NodeId> = linked.filter(|node| roster.get(node).is_none()).copied().collect();
        // Connections that belong to no link, too.
        let connected = self.swarm.connected_peers().filter_map(node_of);
        gone.extend(connected.filter(|node| roster.former(node).is_some()));
        for former in roster.formers() {
            self.plan.forget(&former.member.node);
        }
        for node in gone {
            tracing::warn!(node = %self.name(&node), "no member any more: its connections are closed");
            Counters::increment(&self.outputs.counters.members_dropped);
            self.connections.remove(&node);
            self.spare.remove(&node);
            self.drop_link(&node);
            self.outputs.view.send_modify(|view| drop(view.links.remove(&node)));
            if let Some(peer) = peer_of(&node) {
                // An error means that it is gone already.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    /// Time passes: certificates end, and an operator's node renews those of the members it has met.
    pub(super) fn handle_time(&mut self) {
        self.age_lives();
        let now = Timestamp::now();
        let mut roster = Roster::clone(&self.outputs.roster.borrow());
        if roster.advance(now) {
            self.adopt(roster.clone(), vec![], None);
        }
        if !roster.powers(&self.key.id()).contains(Powers::INVITE) {
            return;
        }
        let met = |node: &NodeId| *node == self.key.id() || self.controls.contains_key(node);
        let due = roster.due(now).filter(|member| met(&member.node));
        let renewals: Vec<_> = due
            .filter_map(|member| roster.renew(&self.key, member.node, now).ok())
            .map(Evidence::Decree)
            .collect();
        if !renewals.is_empty() {
            tracing::info!(count = renewals.len(), "certificates renewed");
            // What this node has just made from its own roster is not refused.
            let _ = self.take(renewals, None);
        }
    }
}
