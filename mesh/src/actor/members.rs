//! Membership: who asks to come in, what others say of us, and the roster that results.

use std::sync::Arc;

use keys::{
    NodeId, Timestamp,
    membership::{Certificate, MembershipError, Roster},
};
use libp2p::swarm::ConnectionId;
use tokio::sync::oneshot;

use super::{Actor, Event, jitter};
use crate::{
    Stream,
    counters::Counters,
    join::{self, Asked, JoinError},
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

    pub(super) fn judge_join(&mut self, node: NodeId, asked: Asked) -> Result<Vec<Certificate>, MembershipError> {
        let mut roster = Roster::clone(&self.outputs.roster.borrow());
        let verdict = match asked {
            Asked::Redeem(request) => self.admit(&mut roster, node, request),
            Asked::Present(certificates) => admit_presented(&mut roster, node, certificates),
        };
        match &verdict {
            Ok(()) => {
                let name = roster.get(&node).map(|member| member.name.clone()).unwrap_or_default();
                tracing::info!(node = %node.short(), name, "admitted");
                self.outputs.roster.send_replace(Arc::new(roster.clone()));
            }
            Err(error) => {
                tracing::warn!(node = %node.short(), %error, "refused a stranger");
                Counters::increment(&self.outputs.counters.strangers_refused);
            }
        }
        verdict.map(|()| roster.certificates().cloned().collect())
    }

    fn admit(
        &self,
        roster: &mut Roster,
        node: NodeId,
        request: keys::invite::JoinRequest,
    ) -> Result<(), MembershipError> {
        let genesis = roster
            .certificates()
            .next()
            .ok_or(MembershipError::OtherMesh)?
            .genesis
            .open()?;
        let (grant, redemption) = request.into_parts(genesis.root)?;
        roster.admit(&self.key, node, grant, redemption, Timestamp::now())?;
        Ok(())
    }

    /// Tells `node` who we are, because it treats us as a stranger or we do not know it.
    pub(super) fn present(&self, node: NodeId, id: ConnectionId) {
        let roster = self.outputs.roster.borrow().clone();
        let (opener, events) = (self.opener.clone(), self.events.clone());
        tokio::spawn(async move {
            let result = join::present(&opener, node, &roster).await;
            let _ = events.send(Event::Presented(node, id, result)).await;
        });
    }

    pub(super) fn handle_presented(
        &mut self,
        node: NodeId,
        id: ConnectionId,
        result: Result<Vec<Certificate>, JoinError>,
    ) {
        let elapsed = self.started.elapsed();
        match result {
            Ok(certificates) => {
                self.learn(certificates);
                self.plan.lost(&node, elapsed, jitter());
            }
            Err(error) => {
                tracing::warn!(node = %node.short(), %error, "not accepted as a member");
                if matches!(error, JoinError::Refused(_)) {
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
        let mut roster = Roster::clone(&self.outputs.roster.borrow());
        let before = roster.members().count();
        for (_, error) in roster.insert_all(certificates) {
            tracing::debug!(%error, "a certificate was not taken in");
        }
        if roster.members().count() != before {
            self.outputs.roster.send_replace(Arc::new(roster));
        }
    }
}

fn admit_presented(roster: &mut Roster, node: NodeId, certificates: Vec<Certificate>) -> Result<(), MembershipError> {
    let own_error = roster
        .insert_all(certificates)
        .into_iter()
        .find(|(certificate, _)| certificate.verify().is_ok_and(|(_, member)| member.node == node))
        .map(|(_, error)| error);
    match roster.get(&node) {
        Some(_) => Ok(()),
        None => Err(own_error.unwrap_or(MembershipError::BrokenChain)),
    }
}
