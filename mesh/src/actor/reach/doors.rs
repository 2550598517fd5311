//! Where somebody who knows nobody finds the neighbours of this node: what an invite says besides this node's own addresses.

use std::net::SocketAddr;

use keys::NodeId;

use crate::{LinkPath, actor::Actor, reach::is_public, transport};

/// A way in at a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Door {
    node: NodeId,
    address: SocketAddr,
    /// Whether this node came in there itself.
    proven: bool,
}

impl Actor {
    /// An address of each linked member that can be dialled, the best first.
    pub(in crate::actor) fn doors(&self) -> Vec<(NodeId, SocketAddr)> {
        in_order(self.controls.keys().filter_map(|node| self.door(node)).collect())
    }

    fn door(&self, node: &NodeId) -> Option<Door> {
        let link = self.direct_connection(node)?;
        let remote = transport::bare_address(&link.remote)?;
        if link.dialled_by_us && link.path != LinkPath::Punched {
            return Some(Door {
                node: *node,
                address: remote,
                proven: true,
            });
        }
        let hint = self.reach.book.get(node)?;
        // Seen at an address where it listens, there is no router between; one that needs relays has named its router's address.
        let listens = |address: &&SocketAddr| hint.relays.is_empty() && address.ip() == remote.ip();
        let address = *hint.addresses.iter().find(listens)?;
        Some(Door {
            node: *node,
            address,
            proven: false,
        })
    }
}

/// Those that can be reached from anywhere come first, then those of local networks, those of this machine last; of equal ones those that
/// were tried.
fn in_order(mut doors: Vec<Door>) -> Vec<(NodeId, SocketAddr)> {
    doors.sort_by_key(|door| {
        let ip = door.address.ip();
        (!is_public(ip), ip.is_loopback(), !door.proven, door.address)
    });
    doors.into_iter().map(|door| (door.node, door.address)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_that_are_open_to_all_and_were_tried_come_first() {
        let doors = [
            ("127.0.0.1:4001", true),
            ("192.168.1.2:4001", true),
            ("203.0.113.9:4001", false),
            ("203.0.113.8:4001", true),
            ("192.168.1.1:4001", false),
        ];
        let node = keys::NodeKey::from_seed(&[1; 32]).id();
        let doors = doors.map(|(address, proven)| Door {
            node,
            address: address.parse().unwrap(),
            proven,
        });
        let texts: Vec<String> = in_order(doors.into())
            .iter()
            .map(|(_, address)| address.to_string())
            .collect();
        assert_eq!(
            texts,
            [
                "203.0.113.8:4001",
                "203.0.113.9:4001",
                "192.168.1.2:4001",
                "192.168.1.1:4001",
                "127.0.0.1:4001"
            ]
        );
    }
}
