//! What a node knows of its neighbours at this moment; every figure has an age.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use keys::NodeId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{limits::SUSPECT_AFTER, liveness::State, lives, reach::Reachability};

/// The neighbours of this node, and what it thinks of every member.
#[derive(Clone, Debug, Default)]
pub struct MeshView {
    /// Members with whom a control stream has stood since this node started, by id.
    pub links: BTreeMap<NodeId, LinkView>,
    /// Every member of the roster by id, linked or not, this node itself among them.
    pub members: Arc<BTreeMap<NodeId, MemberView>>,
    /// Nodes of which this one has seen two processes with the same key of late, and when last.
    pub doubled: BTreeMap<NodeId, Instant>,
}

/// What this node thinks of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Whether it is there, and what it is ready for.
    pub state: State,
    /// When that became so, for this node.
    pub since: Instant,
    /// When there was last a sign of life, from itself or by others; nothing when there was none since this node started.
    pub heard: Option<Instant>,
}

/// A background task of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskView {
    /// Whether it runs.
    pub running: bool,
    /// Errors it met and went on.
    pub errors: u64,
    /// The last of them.
    pub last_error: Option<String>,
}

/// How the bytes of a link travel, the better ones first. Nodes tell each other, by this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LinkPath {
    /// QUIC over UDP.
    Quic,
    /// QUIC over UDP, through two home routers that both sides opened at once.
    Punched,
    /// TCP with noise and yamux.
    Tcp,
    /// A WebSocket over TLS.
    WebSocket,
    /// Through another member, which sees nothing of what passes.
    Relayed,
}

impl LinkPath {
    /// The word for it in tables and in the interface between programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Punched => "punched",
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
            Self::Relayed => "relayed",
        }
    }

    /// The better one takes a link over: QUIC moves with an address and loses no tokens behind bulk, and directly is shorter.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Quic | Self::Punched => 3,
            Self::Tcp => 2,
            Self::WebSocket => 1,
            Self::Relayed => 0,
        }
    }

    /// Whether it is QUIC from end to end.
    pub(crate) const fn is_quic(self) -> bool {
        matches!(self, Self::Quic | Self::Punched)
    }

    /// Whether no other member is between.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        !matches!(self, Self::Relayed)
    }
}

/// Whether and how others can reach this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReachView {
    /// Whether relays may be used at all.
    pub relaying: bool,
    /// What follows from how others see it.
    pub reachability: Reachability,
    /// Where others see it.
    pub seen_at: Vec<SocketAddr>,
    /// The relays that hold a reservation for it.
    pub relays: Vec<NodeId>,
    /// Whether it carries circuits for others.
    pub carries: bool,
    /// Members whose address hints it has.
    pub hints: usize,
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
    /// Since when this control stream stands.
    pub since: Instant,
    /// When the last heartbeat came.
    pub heard: Instant,
    /// The newest announcement of each section. Kept after the link is lost, so that people see what a node last said.
    pub sections: BTreeMap<String, Arc<[u8]>>,
}

impl LinkView {
    /// Whether anything new may be sent there: the link stands and was heard a moment ago. Suspicion is not death: streams that run are
    /// kept until the link is really given up.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.connected && self.heard.elapsed() < SUSPECT_AFTER
    }
}

impl MeshView {
    /// Whether a member takes new work, as far as is known; whether it can be reached is another question.
    #[must_use]
    pub fn takes_work(&self, node: &NodeId) -> bool {
        self.members.get(node).is_none_or(|member| member.state.takes_work())
    }

    /// Nodes whose key is used by two processes at once, as far as this node or a neighbour has seen of late; this node may be one.
    #[must_use]
    pub fn doubled(&self) -> BTreeSet<NodeId> {
        let own = self.doubled.iter();
        let own = own.filter(|(_, at)| lives::is_recent(Some(**at), Instant::now()));
        let told = self.links.values().filter(|link| link.connected);
        let told = told.flat_map(lives::doubled_by);
        own.map(|(node, _)| *node).chain(told).collect()
    }

    /// Neighbours that are reached now.
    pub fn reachable(&self) -> impl Iterator<Item = (&NodeId, &LinkView)> {
        self.links.iter().filter(|(_, link)| link.is_reachable())
    }
}
