//! Who is a member, as the swarm's behaviours see it: a shared view of the roster that the mesh actor owns.

use std::sync::Arc;

use keys::{NodeId, membership::Roster};
use libp2p::{PeerId, identity};
use tokio::sync::watch;

/// A read-only view of who is a member now.
#[derive(Clone)]
pub(crate) enum Membership {
    /// Before a node has joined, everyone is a stranger to it.
    Nobody,
    /// The members of the roster that the mesh actor publishes.
    Members(watch::Receiver<Arc<Roster>>),
    /// A cheat for tests: takes everyone for a member, so that only the other side's gate is left.
    #[cfg(test)]
    Everyone,
}

impl Membership {
    pub(crate) fn is_member(&self, peer: &PeerId) -> bool {
        match self {
            Self::Nobody => false,
            #[cfg(test)]
            Self::Everyone => true,
            Self::Members(roster) => node_of(peer).is_some_and(|node| roster.borrow().get(&node).is_some()),
        }
    }
}

/// Our id of a libp2p peer; `None` for keys that are not ed25519, which no member has.
pub(crate) fn node_of(peer: &PeerId) -> Option<NodeId> {
    // An ed25519 peer id is the identity multihash of the protobuf of its public key.
    let multihash = peer.as_ref();
    if multihash.code() != 0 {
        return None;
    }
    let key = identity::PublicKey::try_decode_protobuf(multihash.digest())
        .ok()?
        .try_into_ed25519()
        .ok()?;
    Some(NodeId(key.to_bytes()))
}

/// The libp2p peer of our id; `None` when the bytes are no curve point.
pub(crate) fn peer_of(node: &NodeId) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&node.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

#[cfg(test)]
mod tests {
    use keys::NodeKey;

    use super::*;

    #[test]
    fn node_and_peer_ids_are_two_spellings_of_one_key() {
        let key = NodeKey::generate();
        let pair = identity::Keypair::ed25519_from_bytes(*key.seed()).unwrap();
        assert_eq!(peer_of(&key.id()), Some(pair.public().to_peer_id()));
        assert_eq!(node_of(&pair.public().to_peer_id()), Some(key.id()));
        assert_eq!(node_of(&PeerId::random()), None);
    }
}
