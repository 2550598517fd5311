//! What a node says of its own links, signed and numbered.

use keys::{ContentId, NodeId, Payload, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{LinkPath, limits::LINKS_TOLD_MAX};

/// The beginning of a node's id: it names a member wherever the roster is known, at a quarter of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShortNode(pub [u8; 8]);

impl ShortNode {
    /// That of `node`.
    #[must_use]
    pub fn of(node: &NodeId) -> Self {
        let mut short = [0; 8];
        short.copy_from_slice(&node.0[..8]);
        Self(short)
    }
}

/// Tells the older of two states of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// When the node started, by its own clock: each start counts anew.
    pub started: Timestamp,
    /// The how-manieth since then.
    pub sequence: u64,
}

/// One link, as the node at one of its ends sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// The other end.
    pub to: ShortNode,
    /// The smoothed round trip in microseconds.
    pub round_trip: Option<u32>,
    /// Lost packets in ten thousand, where the path tells.
    pub loss: Option<u16>,
    /// How its bytes travel.
    pub path: LinkPath,
    /// Bytes sent and received since the connection stands, where they are counted.
    pub bytes: Option<(u64, u64)>,
}

/// The links of the node that signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// The mesh.
    pub mesh: ContentId,
    /// Which of its states this is.
    pub stamp: Stamp,
    /// Its links.
    pub links: Vec<LinkRecord>,
}

impl Payload for LinkState {
    const DOMAIN: &'static str = "starling/links/1";
}

impl LinkState {
    /// Whether a node that keeps the rules could have made it.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        self.links.len() <= LINKS_TOLD_MAX && self.links.is_sorted_by(|a, b| a.to < b.to)
    }
}
