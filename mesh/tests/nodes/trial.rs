//! Members of one mesh, each with a key and an address, that a test starts.

use std::net::SocketAddr;

use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use mesh::{Inputs, Mesh, MeshSettings};

use crate::free_address::free_address;

/// One of them.
pub struct Member {
    /// Its key.
    pub key: NodeKey,
    /// Where it listens.
    pub address: SocketAddr,
    roles: Roles,
}

/// Members with a key and an address each; the first is the founder.
pub struct Trial {
    /// Decides about members.
    pub root: NodeKey,
    /// In the order of their roles.
    pub members: Vec<Member>,
    certificates: Vec<Certificate>,
}

impl Trial {
    /// A mesh with a member of each of these roles.
    pub fn new(roles: &[Roles]) -> Self {
        let root = NodeKey::generate();
        let member = |roles: &Roles| Member {
            key: NodeKey::generate(),
            address: free_address(),
            roles: *roles,
        };
        let members: Vec<Member> = roles.iter().map(member).collect();
        let founder = &members[0].key;
        let first = Certificate::found(&root, founder.id(), "node 0", random_bytes(), Timestamp::now()).unwrap();
        let mut roster = Roster::new(first).unwrap();
        for (number, member) in members.iter().enumerate().skip(1) {
            let terms = Terms::new(member.roles, 1, Timestamp::now().plus(600_000));
            let invite = Invite::issue(&root, roster.mesh(), founder.id(), vec![], random_bytes(), terms).unwrap();
            let request = invite.redeem(member.key.id(), &format!("node {number}")).unwrap();
            let (grant, redemption) = request.into_parts(root.id(), None).unwrap();
            let admitted = roster.admit(founder, member.key.id(), grant, redemption, Timestamp::now());
            admitted.unwrap();
        }
        let certificates = roster.certificates().cloned().collect();
        Self {
            root,
            members,
            certificates,
        }
    }

    /// Whom a number means.
    pub fn id(&self, number: usize) -> NodeId {
        self.members[number].key.id()
    }

    /// Starts a member, with the operator's word that it is public or without.
    pub fn start(&self, number: usize, public: bool) -> (Mesh, Inputs) {
        let address = self.members[number].address;
        self.start_at(number, public.then_some(address))
    }

    /// Starts a member whose operator says where it is public.
    pub fn start_at(&self, number: usize, public: Option<SocketAddr>) -> (Mesh, Inputs) {
        let member = &self.members[number];
        let own = self.certificates.iter().find(|one| {
            let (_, found) = one.verify().unwrap();
            found.node == member.key.id()
        });
        let mut roster = Roster::new(own.unwrap().clone()).unwrap();
        roster.insert_all(self.certificates.clone());
        let others = self.members.iter().filter(|other| other.key.id() != member.key.id());
        let settings = MeshSettings {
            bootstrap: others.map(|other| (other.key.id(), other.address)).collect(),
            public_addresses: public.into_iter().collect(),
            ..MeshSettings::at(member.address)
        };
        Mesh::start(&settings, &member.key, roster).unwrap()
    }
}
