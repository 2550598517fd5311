//! Who is linked with whom, as the control socket tells it.

use keys::NodeId;
use mesh::{
    liveness::State,
    topology::{Link, Topology},
};
use tokio::time::Instant;

use crate::{
    control::{LinkStatus, LinksStatus},
    node::Node,
};

/// Routes that are told of: with three of them, two nodes between may die.
const ROUTES: usize = 3;

impl Node {
    /// Every link of the mesh, and the routes to a node by name or by the beginning of its id.
    ///
    /// # Errors
    /// When nobody is called so, in words.
    pub(crate) fn links(&self, to: Option<&str>) -> Result<LinksStatus, String> {
        let now = Instant::now();
        let members = self.mesh().view().borrow().members.clone();
        let state = |node: &NodeId| members.get(node).map(|member| member.state);
        let is_gone = |node: &NodeId| state(node) == Some(State::Gone);
        let topology = Topology::clone(&self.mesh().topology().borrow()).without(is_gone);
        let to = to.map(|said| self.called(said)).transpose()?;
        let named = |route: Vec<NodeId>| route.iter().map(|node| self.told_apart(node)).collect();
        Ok(LinksStatus {
            members: self.mesh().roster().members().count(),
            heard_of: topology.nodes(),
            links: topology
                .links(now)
                .into_iter()
                .filter(|link| !is_gone(&link.nodes.0) && !is_gone(&link.nodes.1))
                .map(|link| {
                    let is_suspect = |node: &&NodeId| state(node) == Some(State::Suspect);
                    let silent = [&link.nodes.0, &link.nodes.1].into_iter().find(is_suspect);
                    self.link_status(&link, silent)
                })
                .collect(),
            routes: to.map(|to| {
                let routes = topology.disjoint_routes(&self.key().id(), &to, ROUTES, now);
                routes.into_iter().map(named).collect()
            }),
        })
    }

    /// A node's name, with the first digits of its id when another member is called the same.
    fn told_apart(&self, node: &NodeId) -> String {
        let name = self.name_of(node);
        let roster = self.mesh().roster();
        match roster.members().filter(|member| member.name == name).count() {
            0 | 1 => name,
            _ => format!("{name} {}", node.short()),
        }
    }

    fn called(&self, said: &str) -> Result<NodeId, String> {
        let roster = self.mesh().roster();
        let is_meant =
            |node: &NodeId, name: &str| name == said || (said.len() >= 8 && node.to_string().starts_with(said));
        let mut found = roster.members().filter(|member| is_meant(&member.node, &member.name));
        match (found.next(), found.next()) {
            (Some(member), None) => Ok(member.node),
            (None, _) => Err(format!(
                "no member is called {said:?}, and no id begins so (of an id at least 8 digits are needed)"
            )),
            _ => Err(format!(
                "several members are called {said:?}; say the first digits of the id instead"
            )),
        }
    }

    fn link_status(&self, link: &Link, silent: Option<&NodeId>) -> LinkStatus {
        let (a, b) = link.nodes;
        LinkStatus {
            nodes: [self.told_apart(&a), self.told_apart(&b)],
            node_ids: [a.to_string(), b.to_string()],
            confirmed: link.confirmed,
            silent: silent.map(|node| self.told_apart(node)),
            round_trip_ms: link.round_trip.map(|round_trip| round_trip.as_secs_f64() * 1000.0),
            loss: link.loss,
            path: link.path.word().to_owned(),
            bytes: [link.bytes.0, link.bytes.1],
            age_seconds: link.age.as_secs_f64(),
        }
    }
}
