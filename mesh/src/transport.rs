//! libp2p's transports as Starling uses them: QUIC first (our own, see `quic`), TCP with noise and yamux where UDP is blocked, a
//! WebSocket over TLS where nothing but the web passes, and circuits through other members.

mod memory;
mod meter;
mod quic;
mod trial;
mod websocket;

use std::net::{IpAddr, SocketAddr};

use keys::NodeKey;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport as _,
    core::{ConnectedPoint, transport::TransportEvent},
    identity,
    multiaddr::Protocol as Part,
    noise, relay,
    swarm::{DialError, NetworkBehaviour},
    tcp, yamux,
};

pub(crate) use self::meter::Meters;
pub use self::quic::Congestion;
pub(crate) use self::trial::{Trial, TrialError};
use self::{memory::InMemory, meter::MeteredNoise, quic::QuicTransport, websocket::WebSocketTransport};
use crate::{LinkPath, MeshSettings, limits::IDLE_CONNECTION};

/// The local network could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The key or the transports could not be set up.
    #[error("the network could not be set up: {0}")]
    Setup(String),
    /// The port is taken or not allowed.
    #[error("cannot listen on {address} ({kind}): {reason}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// `UDP`, `TCP` or `WebSocket`.
        kind: &'static str,
        /// What the system said.
        reason: String,
    },
}

/// Over what the nodes of a mesh speak.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Medium {
    /// Sockets.
    Network,
    /// The memory of one process, where each node keeps so many links by dialling.
    Memory {
        /// So many.
        dials_max: usize,
    },
}

impl Medium {
    /// Listens where the settings say.
    pub(crate) fn listen<B: NetworkBehaviour>(
        self,
        swarm: &mut Swarm<B>,
        settings: &MeshSettings,
    ) -> Result<(), TransportError> {
        match self {
            Self::Network => listen(swarm, settings.listen, settings.websocket),
            Self::Memory { .. } => listen_at(swarm, ("memory", settings.listen), quic_multiaddress(&settings.listen)),
        }
    }
}

/// A swarm with our identity and transports around a behaviour, which is given what asks relays for circuits; nobody counts its
/// connections.
pub(crate) fn swarm<B: NetworkBehaviour>(
    key: &NodeKey,
    congestion: Congestion,
    behaviour: impl FnOnce(relay::client::Behaviour) -> B,
) -> Result<Swarm<B>, TransportError> {
    swarm_with(key, congestion, behaviour, &Meters::default())
}

/// The same, with connections that are counted.
pub(crate) fn swarm_with<B: NetworkBehaviour>(
    key: &NodeKey,
    congestion: Congestion,
    behaviour: impl FnOnce(relay::client::Behaviour) -> B,
    meters: &Meters,
) -> Result<Swarm<B>, TransportError> {
    let setup = |error: &dyn std::fmt::Display| TransportError::Setup(error.to_string());
    let pair = identity::Keypair::ed25519_from_bytes(*key.seed()).map_err(|error| setup(&error))?;
    let swarm = SwarmBuilder::with_existing_identity(pair)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            metered_noise(meters),
            yamux::Config::default,
        )
        .map_err(|error| setup(&error))?
        .with_other_transport(|key| {
            let meters = meters.clone();
            let quic = QuicTransport::new(key, congestion)?;
            Ok(quic.map(move |(peer, connection), _| (peer, connection.metered(meters.meter(peer)))))
        })
        .map_err(|error| setup(&error))?
        .with_other_transport(|key| Ok(WebSocketTransport::new(key, meters.clone())?))
        .map_err(|error| setup(&error))?
        .with_relay_client(metered_noise(meters), yamux::Config::default)
        .map_err(|error| setup(&error))?
        .with_behaviour(|_, client| behaviour(client))
        .map_err(|error| setup(&error))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_CONNECTION).with_smart_dial())
        .build();
    Ok(swarm)
}

/// The same within one process (see `memory`).
pub(crate) fn swarm_in_memory<B: NetworkBehaviour>(
    key: &NodeKey,
    behaviour: impl FnOnce(relay::client::Behaviour) -> B,
    meters: &Meters,
) -> Result<Swarm<B>, TransportError> {
    let setup = |error: &dyn std::fmt::Display| TransportError::Setup(error.to_string());
    let pair = identity::Keypair::ed25519_from_bytes(*key.seed()).map_err(|error| setup(&error))?;
    let swarm = SwarmBuilder::with_existing_identity(pair)
        .with_tokio()
        .with_other_transport(|key| Ok(InMemory::new(metered_noise(meters)(key)?)))
        .map_err(|error| setup(&error))?
        .with_relay_client(metered_noise(meters), yamux::Config::default)
        .map_err(|error| setup(&error))?
        .with_behaviour(|_, client| behaviour(client))
        .map_err(|error| setup(&error))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_CONNECTION).with_smart_dial())
        .build();
    Ok(swarm)
}

/// Noise whose connections are counted.
fn metered_noise(meters: &Meters) -> impl FnOnce(&identity::Keypair) -> Result<MeteredNoise, noise::Error> {
    let meters = meters.clone();
    |key| {
        let noise = noise::Config::new(key)?;
        Ok(MeteredNoise { noise, meters })
    }
}

/// Listens on the same port for UDP (QUIC) and TCP, and elsewhere for WebSockets.
pub(crate) fn listen<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    address: SocketAddr,
    websocket: Option<SocketAddr>,
) -> Result<(), TransportError> {
    let direct = [
        ("UDP", address, quic_multiaddress(&address)),
        ("TCP", address, over_tcp(&address)),
    ];
    let websocket = websocket.map(|at| ("WebSocket", at, over_websocket(&at)));
    for (kind, address, multiaddress) in direct.into_iter().chain(websocket) {
        listen_at(swarm, (kind, address), multiaddress)?;
    }
    Ok(())
}

fn listen_at<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    (kind, address): (&'static str, SocketAddr),
    multiaddress: Multiaddr,
) -> Result<(), TransportError> {
    let listening = swarm.listen_on(multiaddress);
    listening.map(drop).map_err(|error| TransportError::Listen {
        address,
        kind,
        reason: listen_reason(&error),
    })
}

/// An event of a transport below, with the addresses of the one above.
fn readdressed<U, E>(event: TransportEvent<U, E>, above: impl Fn(Multiaddr) -> Multiaddr) -> TransportEvent<U, E> {
    match event {
        TransportEvent::NewAddress {
            listener_id,
            listen_addr,
        } => TransportEvent::NewAddress {
            listener_id,
            listen_addr: above(listen_addr),
        },
        TransportEvent::AddressExpired {
            listener_id,
            listen_addr,
        } => TransportEvent::AddressExpired {
            listener_id,
            listen_addr: above(listen_addr),
        },
        TransportEvent::Incoming {
            listener_id,
            upgrade,
            local_addr,
            send_back_addr,
        } => TransportEvent::Incoming {
            listener_id,
            upgrade,
            local_addr: above(local_addr),
            send_back_addr: above(send_back_addr),
        },
        other => other,
    }
}

fn listen_reason(error: &libp2p::TransportError<std::io::Error>) -> String {
    let text = format!("{error:?}");
    if text.contains("AddrInUse") || text.contains("Address already in use") {
        "the port is already in use by another program".to_owned()
    } else {
        error.to_string()
    }
}

fn base(address: &SocketAddr) -> Multiaddr {
    Multiaddr::empty().with(match address.ip() {
        IpAddr::V4(ip) => Part::Ip4(ip),
        IpAddr::V6(ip) => Part::Ip6(ip),
    })
}

pub(crate) fn quic_multiaddress(address: &SocketAddr) -> Multiaddr {
    base(address).with(Part::Udp(address.port())).with(Part::QuicV1)
}

fn over_tcp(address: &SocketAddr) -> Multiaddr {
    base(address).with(Part::Tcp(address.port()))
}

pub(crate) fn over_websocket(address: &SocketAddr) -> Multiaddr {
    websocket::above(over_tcp(address))
}

/// The address of a WebSocket listener.
pub(crate) fn websocket_address(multiaddress: &Multiaddr) -> Option<SocketAddr> {
    let parts: Vec<_> = multiaddress.iter().collect();
    match parts[..] {
        [Part::Ip4(ip), Part::Tcp(port), Part::Tls, Part::Ws(_)] => Some((ip, port).into()),
        [Part::Ip6(ip), Part::Tcp(port), Part::Tls, Part::Ws(_)] => Some((ip, port).into()),
        _ => None,
    }
}

/// Every way that a bare address may mean: where the port is that of the web, a WebSocket over TLS may be there, too.
pub(crate) fn every_multiaddress(addresses: &[SocketAddr]) -> Vec<Multiaddr> {
    let websockets = addresses
        .iter()
        .filter(|address| is_of_the_web(address))
        .map(over_websocket);
    multiaddresses(addresses).into_iter().chain(websockets).collect()
}

/// Whether an address has the port of HTTPS.
pub(crate) fn is_of_the_web(address: &SocketAddr) -> bool {
    address.port() == 443
}

/// Both transports of every address; libp2p's smart dial tries QUIC first and TCP shortly after.
pub(crate) fn multiaddresses(addresses: &[SocketAddr]) -> Vec<Multiaddr> {
    addresses
        .iter()
        .flat_map(|address| [quic_multiaddress(address), over_tcp(address)])
        .collect()
}

/// The way to a node through a relay: where the relay is, who it is, and who is meant; without the last, where to listen.
pub(crate) fn circuit(relay_at: &Multiaddr, relay: PeerId, to: Option<PeerId>) -> Multiaddr {
    // An address may say already whose it is.
    let at: Multiaddr = relay_at.iter().filter(|part| !matches!(part, Part::P2p(_))).collect();
    let circuit = at.with(Part::P2p(relay)).with(Part::P2pCircuit);
    match to {
        Some(to) => circuit.with(Part::P2p(to)),
        None => circuit,
    }
}

/// The relay of a connection that goes through one.
pub(crate) fn relay_of(endpoint: &ConnectedPoint) -> Option<PeerId> {
    let address = match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
    };
    let mut before = None;
    for part in address {
        match part {
            Part::P2pCircuit => return before,
            Part::P2p(peer) => before = Some(peer),
            _ => {}
        }
    }
    None
}

/// How the bytes of a connection travel, as its address tells.
pub(crate) fn path(endpoint: &ConnectedPoint) -> LinkPath {
    if endpoint.is_relayed() {
        return LinkPath::Relayed;
    }
    let parts: Vec<_> = endpoint.get_remote_address().iter().collect();
    if parts.contains(&Part::QuicV1) {
        LinkPath::Quic
    } else if parts.iter().any(|part| matches!(part, Part::Ws(_) | Part::Wss(_))) {
        LinkPath::WebSocket
    } else {
        LinkPath::Tcp
    }
}

/// The address of a QUIC listener, which is also that of the TCP listener beside it; that of a circuit is its relay's, and not meant.
pub(crate) fn quic_address(multiaddress: &Multiaddr) -> Option<SocketAddr> {
    let is_quic = multiaddress.iter().nth(2) == Some(Part::QuicV1);
    bare_address(multiaddress).filter(|_| is_quic)
}

/// Address and port, whatever is spoken there; nothing for a circuit, whose address is its relay's.
pub(crate) fn bare_address(multiaddress: &Multiaddr) -> Option<SocketAddr> {
    if multiaddress.iter().any(|part| part == Part::P2pCircuit) {
        return None;
    }
    let mut parts = multiaddress.iter();
    let ip = match parts.next()? {
        Part::Ip4(ip) => IpAddr::V4(ip),
        Part::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Part::Udp(port) | Part::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// A dial error in one line.
pub(crate) fn why(error: &DialError) -> String {
    match error {
        DialError::Transport(attempts) => {
            let reasons: Vec<_> = attempts
                .iter()
                .map(|(address, error)| format!("{address}: {}", root_cause(error)))
                .collect();
            reasons.join("; ")
        }
        other => other.to_string(),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    // Bounded: a chain of sources deeper than this says nothing more to a person.
    for _ in 0..16 {
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_translate_both_ways() {
        for text in ["192.0.2.1:4001", "[2001:db8::1]:4001"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(quic_address(&quic_multiaddress(&address)), Some(address));
            assert_eq!(quic_address(&over_tcp(&address)), None);
            assert_eq!(multiaddresses(&[address]).len(), 2);
            let (relay, node) = (PeerId::random(), PeerId::random());
            let through = circuit(&quic_multiaddress(&address).with(Part::P2p(relay)), relay, Some(node));
            let expected = format!("{}/p2p/{relay}/p2p-circuit/p2p/{node}", quic_multiaddress(&address));
            assert_eq!(through.to_string(), expected);
            assert_eq!(websocket_address(&over_websocket(&address)), Some(address));
            assert_eq!(websocket_address(&over_tcp(&address)), None);
            assert_eq!(quic_address(&through), None, "it is the relay that listens there");
        }
    }
}
