//! What the gateway is told of the mesh.

use std::{pin::Pin, sync::Arc, time::Duration};

use gateway::{
    GatewayAddress, InviteFate, InviteNamed, InviteWish, Inviting, MadeInvite, NodeView, ServesNobody, Surroundings,
};
use inference::{Desk, swarm};
use keys::NodeId;
use mesh::{LinkView, MemberView, Mesh, liveness::State};
use monitor::Monitor;
use tokio::time::Instant;

use crate::{inviting, node::Node, origins, standing, tasks::Tasks};

/// The section under which a gateway announces what heavy users have spent of its limits.
const SPENDING: &str = "spending";

/// The mesh, the monitor and the desk as the gateway sees them.
pub struct MeshSurroundings {
    /// The mesh.
    pub mesh: Mesh,
    /// This machine.
    pub monitor: Monitor,
    /// This node's offers.
    pub desk: Desk,
    /// Names and states of background work.
    pub tasks: Tasks,
    /// The node itself, which has the keys.
    pub node: Node,
}

/// In milliseconds.
fn age(of: Instant) -> u64 {
    u64::try_from(of.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// When there was last a sign of a member's life, over its link or by what others said.
fn last_heard(link: Option<&LinkView>, known: Option<&MemberView>) -> Option<u64> {
    let told = known.filter(|known| known.state != State::Joining);
    let told = told.and_then(|known| known.heard).map(age);
    let heard = link.map(|link| age(link.heard));
    [told, heard].into_iter().flatten().min()
}

impl Surroundings for MeshSurroundings {
    fn is_member(&self, node: &NodeId) -> bool {
        self.mesh.roster().get(node).is_some()
    }

    fn serves_nobody(&self) -> Option<ServesNobody> {
        let roster = self.mesh.roster();
        standing::serves_nobody(roster.get(&self.mesh.node()).map(|member| member.roles))
    }

    fn name_of(&self, node: &NodeId) -> String {
        self.mesh
            .roster()
            .get(node)
            .map_or_else(|| node.short(), |member| member.name.clone())
    }

    fn spawn(&self, name: &'static str, work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.tasks.spawn(name, work);
    }

    fn gateways(&self) -> Vec<GatewayAddress> {
        let view = self.mesh.view();
        let view = view.borrow();
        let mut found: Vec<_> = view
            .reachable()
            .filter_map(|(node, link)| {
                Some((
                    link.round_trip,
                    node,
                    origins::parse(link.sections.get(origins::SECTION)?)?,
                ))
            })
            .collect();
        // Unmeasured ones last.
        found.sort_by_key(|(round_trip, node, _)| (round_trip.unwrap_or(Duration::MAX), **node));
        let addresses = found.into_iter().map(|(_, node, origin)| GatewayAddress {
            node: *node,
            name: self.name_of(node),
            origin,
        });
        addresses.collect()
    }

    fn invite(&self, wish: InviteWish) -> Inviting<MadeInvite> {
        let node = self.node.clone();
        Box::pin(async move { node.invite(wish).await })
    }

    fn revoke_invite(&self, invite: InviteNamed, reason: String) -> Inviting<NodeId> {
        let node = self.node.clone();
        Box::pin(async move { node.revoke_invite(invite, reason).await })
    }

    fn invites(&self) -> Vec<InviteFate> {
        inviting::fates(&self.mesh.roster())
    }

    fn tell_spending(&self, spent: Vec<u8>) {
        if let Err(error) = self.mesh.announce(SPENDING, spent) {
            tracing::error!(%error, "what was spent of the limits cannot be announced");
        }
    }

    fn told_spending(&self) -> Vec<(NodeId, Arc<[u8]>)> {
        let roster = self.mesh.roster();
        let is_gateway = |node: &NodeId| standing::serves_nobody(roster.get(node).map(|member| member.roles)).is_none();
        let view = self.mesh.view();
        let view = view.borrow();
        let told = view.reachable().filter(|(node, _)| is_gateway(node));
        told.filter_map(|(node, link)| Some((*node, Arc::clone(link.sections.get(SPENDING)?))))
            .collect()
    }

    fn nodes(&self) -> Vec<NodeView> {
        let roster = self.mesh.roster();
        let own_models = self.desk.own_models();
        let view = self.mesh.view();
        let view = view.borrow();
        let doubled = view.doubled();
        let mut nodes: Vec<_> = roster
            .members()
            .map(|member| {
                let is_self = member.node == self.mesh.node();
                let link = view.links.get(&member.node);
                let known = view.members.get(&member.node);
                let state = known.map_or(State::Joining, |known| known.state);
                let lost = matches!(state, State::Suspect | State::Gone);
                let section = |name: &str| link.and_then(|link| link.sections.get(name)).map(Arc::clone);
                NodeView {
                    node: member.node,
                    name: member.name.clone(),
                    is_self,
                    connected: is_self || (!lost && link.is_some_and(LinkView::is_reachable)),
                    liveness: state.word(),
                    liveness_ms_ago: known.map_or(0, |known| age(known.since)),
                    doubled: doubled.contains(&member.node),
                    heard_ms_ago: if is_self { Some(0) } else { last_heard(link, known) },
                    round_trip_ms: link
                        .and_then(|link| link.round_trip)
                        .map(|round_trip| round_trip.as_secs_f64() * 1000.0),
                    path: link.map(|link| link.path.word()),
                    load: if is_self {
                        self.monitor.load()
                    } else {
                        section(monitor::SECTION).and_then(|bytes| monitor::parse(&bytes))
                    },
                    models: if is_self {
                        own_models.clone()
                    } else {
                        swarm::models::told(|name| Some(&**link?.sections.get(name)?))
                    },
                }
            })
            .collect();
        nodes.sort_by(|left, right| {
            (!left.is_self, &left.name, left.node).cmp(&(!right.is_self, &right.name, right.node))
        });
        nodes
    }
}
