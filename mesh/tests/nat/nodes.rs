//! The members of a trial: public nodes and two homes, each a real node in its namespace.

use std::{net::SocketAddr, thread::JoinHandle, time::Duration};

use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Decree, Roles, Roster, Target},
};
use mesh::{Inputs, LinkPath, Mesh, MeshSettings};
use tokio::sync::{oneshot, watch};

/// Generous: a deadline only turns a hang into a failure.
pub const PATIENCE: Duration = Duration::from_secs(25);
/// Public nodes.
pub const PUBLIC: usize = 3;

/// Keys and rosters of all members: the public ones first, then the homes.
pub struct Members {
    root: NodeKey,
    pub keys: Vec<NodeKey>,
    certificates: Vec<Certificate>,
}

impl Members {
    /// A mesh of `PUBLIC` public nodes and two homes that know each other's membership and no home's address.
    pub fn new() -> Self {
        let root = NodeKey::generate();
        let keys: Vec<NodeKey> = (0..PUBLIC + 2).map(|_| NodeKey::generate()).collect();
        let first = Certificate::found(&root, keys[0].id(), "node 0", random_bytes(), Timestamp::now()).unwrap();
        let mut roster = Roster::new(first).unwrap();
        for (number, key) in keys.iter().enumerate().skip(1) {
            let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(600_000));
            let invite = Invite::issue(&root, roster.mesh(), keys[0].id(), vec![], random_bytes(), terms).unwrap();
            let request = invite.redeem(key.id(), &format!("node {number}")).unwrap();
            let (grant, redemption) = request.into_parts(root.id(), None).unwrap();
            roster
                .admit(&keys[0], key.id(), grant, redemption, Timestamp::now())
                .unwrap();
        }
        let certificates = roster.certificates().cloned().collect();
        Self {
            root,
            keys,
            certificates,
        }
    }

    /// The root's word that a home is out.
    pub fn revocation_of_home(&self, home: usize) -> Vec<Decree> {
        let target = Target::Node(self.home(home));
        let roster = self.roster(0);
        roster.revoke(&self.root, target, "stolen", Timestamp::now()).unwrap()
    }

    fn roster(&self, number: usize) -> Roster {
        let own = self.certificates.iter().find(|one| {
            let (_, member) = one.verify().unwrap();
            member.node == self.keys[number].id()
        });
        let mut roster = Roster::new(own.unwrap().clone()).unwrap();
        roster.insert_all(self.certificates.clone());
        roster
    }

    fn public_address(number: usize) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 1 + number as u8], 4001))
    }

    /// The id of a home.
    pub fn home(&self, home: usize) -> NodeId {
        self.keys[PUBLIC + home].id()
    }

    fn start(&self, number: usize, relaying: bool) -> (Mesh, Inputs) {
        let home = number >= PUBLIC;
        let others = (0..PUBLIC).filter(|other| *other != number);
        let listen = if home {
            "0.0.0.0:4001".parse().unwrap()
        } else {
            Self::public_address(number)
        };
        let settings = MeshSettings {
            bootstrap: others
                .map(|other| (self.keys[other].id(), Self::public_address(other)))
                .collect(),
            relaying,
            ..MeshSettings::at(listen)
        };
        Mesh::start(&settings, &self.keys[number], self.roster(number)).unwrap()
    }

    /// The public nodes, in one thread; they stop when told.
    pub fn run_public(
        self: std::sync::Arc<Self>,
        rig: &super::rig::Rig,
        relaying: bool,
        stop: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let (_, nothing) = watch::channel(Vec::new());
        self.run_public_deciding(rig, (relaying, nothing), stop)
    }

    /// The same, and the last of them decides what it is told to.
    pub fn run_public_deciding(
        self: std::sync::Arc<Self>,
        rig: &super::rig::Rig,
        (relaying, mut decide): (bool, watch::Receiver<Vec<Decree>>),
        mut stop: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let (ready, is_ready) = oneshot::channel();
        let thread = rig.in_public(move || {
            runtime().block_on(async {
                let meshes: Vec<(Mesh, Inputs)> = (0..PUBLIC).map(|number| self.start(number, relaying)).collect();
                ready.send(()).unwrap();
                let deciding = async {
                    // Where nobody can decide anything any more, there is nothing to wait for.
                    while decide.changed().await.is_ok() {
                        let decrees = decide.borrow_and_update().clone();
                        meshes[PUBLIC - 1].0.decide(decrees).await.unwrap();
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = deciding => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                for (mesh, _) in meshes {
                    mesh.stop().await;
                }
            });
        });
        is_ready.blocking_recv().unwrap();
        thread
    }

    /// A home's node.
    pub fn start_home(&self, home: usize, relaying: bool) -> (Mesh, Inputs) {
        self.start(PUBLIC + home, relaying)
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Waits until the link with a node stands on a path that is wanted; the path, or nothing when time is over.
pub async fn link_by(
    mesh: &Mesh,
    node: NodeId,
    wanted: impl Fn(LinkPath) -> bool,
    patience: Duration,
) -> Option<LinkPath> {
    let mut view = mesh.view();
    let stands = view.wait_for(|view| {
        let link = view.links.get(&node);
        link.is_some_and(|link| link.connected && wanted(link.path))
    });
    let view = tokio::time::timeout(patience, stands).await.ok()?.unwrap();
    Some(view.links[&node].path)
}
