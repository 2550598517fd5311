//! Real nodes of one mesh in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use mesh::{Inputs, Mesh, MeshSettings};

/// A running node.
pub struct Running {
    pub key: NodeKey,
    pub address: SocketAddr,
    pub mesh: Mesh,
    pub inputs: Inputs,
}

/// The first node, with the root key.
pub struct Founder {
    root: NodeKey,
    pub running: Running,
}

pub fn free_address(ip: IpAddr) -> SocketAddr {
    loop {
        let address = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

pub fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

pub fn start(key: NodeKey, roster: Roster, ip: IpAddr, bootstrap: Vec<(NodeId, SocketAddr)>) -> Running {
    let address = free_address(ip);
    let settings = MeshSettings {
        bootstrap,
        ..MeshSettings::at(address)
    };
    let (mesh, inputs) = Mesh::start(&settings, &key, roster).unwrap();
    Running {
        key,
        address,
        mesh,
        inputs,
    }
}

/// The place in memory of a node with this number.
pub fn in_memory(number: usize) -> SocketAddr {
    let [.., third, second, first] = (number as u32).to_be_bytes();
    SocketAddr::from(([10, third, second, first], 4001))
}

/// A node of a mesh that is all in this process, without a socket.
pub fn start_in_memory(
    key: NodeKey,
    roster: Roster,
    address: SocketAddr,
    (bootstrap, dials_max): (Vec<(NodeId, SocketAddr)>, usize),
) -> Running {
    let settings = MeshSettings {
        bootstrap,
        // Nobody is behind a router.
        relaying: false,
        ..MeshSettings::at(address)
    };
    let (mesh, inputs) = Mesh::start_in_memory(&settings, dials_max, &key, roster).unwrap();
    Running {
        key,
        address,
        mesh,
        inputs,
    }
}

/// Keys and the roster of nodes that know each other from the beginning, as after all have joined.
pub fn acquainted(count: usize) -> (NodeKey, Vec<NodeKey>, Roster) {
    let (root, keys) = (
        NodeKey::generate(),
        (0..count).map(|_| NodeKey::generate()).collect::<Vec<_>>(),
    );
    let now = Timestamp::now();
    let certificate = Certificate::found(&root, keys[0].id(), "first", random_bytes(), now).unwrap();
    let mut roster = Roster::new(certificate).unwrap();
    let terms = Terms::new(Roles::NODE, 4000, now.plus(600_000));
    let address = vec!["127.0.0.1:1".parse().unwrap()];
    let invite = Invite::issue(&root, roster.mesh(), keys[0].id(), address, random_bytes(), terms).unwrap();
    for key in &keys[1..] {
        let request = invite.redeem(key.id(), "further").unwrap();
        let (grant, redemption) = request.into_parts(root.id(), None).unwrap();
        roster.admit(&keys[0], key.id(), grant, redemption, now).unwrap();
    }
    (root, keys, roster)
}

impl Founder {
    pub fn start(ip: IpAddr) -> Self {
        let (root, key) = (NodeKey::generate(), NodeKey::generate());
        let certificate = Certificate::found(&root, key.id(), "first", random_bytes(), Timestamp::now()).unwrap();
        let running = start(key, Roster::new(certificate).unwrap(), ip, Vec::new());
        Self { root, running }
    }

    pub fn invite(&self, uses: u32, expires: Timestamp) -> Invite {
        let mesh = self.running.mesh.roster().mesh();
        let addresses = vec![self.running.address];
        let terms = Terms::new(Roles::NODE, uses, expires);
        Invite::issue(
            &self.root,
            mesh,
            self.running.key.id(),
            addresses,
            random_bytes(),
            terms,
        )
        .unwrap()
    }

    /// A further member, linked to the first.
    pub async fn second(&self) -> Running {
        let key = NodeKey::generate();
        let invite = self.invite(1, Timestamp::now().plus(60_000));
        let roster = mesh::join(&key, &invite, "further").await.unwrap().roster;
        let bootstrap = vec![(self.running.key.id(), self.running.address)];
        let running = start(key, roster, self.running.address.ip(), bootstrap);
        linked(&running.mesh, &[self.running.key.id()]).await;
        running
    }
}

/// Waits until a node is linked with all of `nodes`.
pub async fn linked(mesh: &Mesh, nodes: &[NodeId]) {
    let mut view = mesh.view();
    view.wait_for(|view| {
        let is_linked = |node| {
            view.links
                .get(node)
                .is_some_and(|link| link.connected && link.round_trip.is_some())
        };
        nodes.iter().all(is_linked)
    })
    .await
    .unwrap();
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
