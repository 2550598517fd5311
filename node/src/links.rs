//! Who is linked with whom, as the control socket tells it.

use keys::NodeId;
use mesh::{
    liveness::State,
    topology::{Link, Topology},
};
use tokio::time::Instant;

use crate::{
    control::{ID_DIGITS_MIN, LinkStatus, LinksStatus, Names},
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
        let roster = self.mesh().roster();
        let names = Names::of(roster.members().map(|member| member.name.clone()));
        let named = |node: &NodeId| names.apart(&self.name_of(node), &node.to_string());
        Ok(LinksStatus {
            members: roster.members().count(),
            heard_of: topology.nodes(),
            links: topology
                .links(now)
                .into_iter()
                .filter(|link| !is_gone(&link.nodes.0) && !is_gone(&link.nodes.1))
                .map(|link| {
                    let is_suspect = |node: &&NodeId| state(node) == Some(State::Suspect);
                    let silent = [&link.nodes.0, &link.nodes.1].into_iter().find(is_suspect);
                    link_status(&link, silent, named)
                })
                .collect(),
            routes: to.map(|to| {
                let routes = topology.disjoint_routes(&self.key().id(), &to, ROUTES, now);
                routes.iter().map(|route| route.iter().map(named).collect()).collect()
            }),
        })
    }

    fn called(&self, said: &str) -> Result<NodeId, String> {
        let roster = self.mesh().roster();
        let is_meant = |node: &NodeId, name: &str| {
            name == said || (said.len() >= ID_DIGITS_MIN && node.to_string().starts_with(said))
        };
        let mut found = roster.members().filter(|member| is_meant(&member.node, &member.name));
        match (found.next(), found.next()) {
            (Some(member), None) => Ok(member.node),
            (None, _) => Err(format!(
                "no member is called {said:?}, and no id begins so (of an id at least {ID_DIGITS_MIN} digits are needed)"
            )),
            _ => Err(format!(
                "several members are called {said:?}; say the first digits of the id instead"
            )),
        }
    }
}

fn link_status(link: &Link, silent: Option<&NodeId>, named: impl Fn(&NodeId) -> String) -> LinkStatus {
    let (a, b) = link.nodes;
    LinkStatus {
        nodes: [named(&a), named(&b)],
        node_ids: [a.to_string(), b.to_string()],
        confirmed: link.confirmed,
        silent: silent.map(named),
        round_trip_ms: link.round_trip.map(|round_trip| round_trip.as_secs_f64() * 1000.0),
        loss: link.loss,
        path: link.path.word().to_owned(),
        bytes: [link.bytes.0, link.bytes.1],
        age_seconds: link.age.as_secs_f64(),
    }
}
