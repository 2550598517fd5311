//! What a node knows of its neighbours at this moment; every figure has an age.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use keys::NodeId;
use tokio::time::Instant;

use crate::limits::SUSPECT_AFTER;

/// The neighbours of this node.
#[derive(Clone, Debug, Default)]
pub struct MeshView {
    /// Members with whom a control stream has stood since this node started, by id.
    pub links: BTreeMap<NodeId, LinkView>,
}

/// How the bytes of a link travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPath {
    /// QUIC over UDP.
    Quic,
    /// TCP with noise and yamux.
    Tcp,
}

/// One neighbour.
#[derive(Clone, Debug)]
pub struct LinkView {
    /// Whether the control stream stands now.
    pub connected: bool,
    /// How the bytes travel.
    pub path: LinkPath,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
    /// When the last heartbeat came.
    pub heard: Instant,
    /// The newest announcement of each section. Kept after the link is lost, so that people see what a node last said.
    pub sections: BTreeMap<String, Arc<[u8]>>,
}

impl LinkView {
    /// Whether new work may go there: the link stands and was heard a moment ago. Suspicion is not death: streams that run are
    /// kept until the link is really given up.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.connected && self.heard.elapsed() < SUSPECT_AFTER
    }
}

impl MeshView {
    /// Neighbours to whom new work may go.
    pub fn reachable(&self) -> impl Iterator<Item = (&NodeId, &LinkView)> {
        self.links.iter().filter(|(_, link)| link.is_reachable())
    }
}
