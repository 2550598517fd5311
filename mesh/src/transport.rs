//! libp2p's transports as Starling uses them: QUIC first (our own, see `quic`), TCP with noise and yamux where UDP is blocked.

mod meter;
mod quic;

use std::net::{IpAddr, SocketAddr};

use keys::NodeKey;
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder, Transport as _, identity,
    multiaddr::Protocol as Part,
    noise,
    swarm::{DialError, NetworkBehaviour},
    tcp, yamux,
};

pub(crate) use self::meter::Meters;
pub use self::quic::Congestion;
use self::{meter::MeteredNoise, quic::QuicTransport};
use crate::limits::IDLE_CONNECTION;

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
        /// `UDP` or `TCP`.
        kind: &'static str,
        /// What the system said.
        reason: String,
    },
}

/// A swarm with our identity and transports around `behaviour`, whose connections nobody counts.
pub(crate) fn swarm<B: NetworkBehaviour>(
    key: &NodeKey,
    congestion: Congestion,
    behaviour: B,
) -> Result<Swarm<B>, TransportError> {
    swarm_with(key, congestion, behaviour, &Meters::default())
}

/// A swarm with our identity and transports around `behaviour`.
pub(crate) fn swarm_with<B: NetworkBehaviour>(
    key: &NodeKey,
    congestion: Congestion,
    behaviour: B,
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
        .with_behaviour(|_| behaviour)
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

/// Listens on the same port for UDP (QUIC) and TCP.
pub(crate) fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>, address: SocketAddr) -> Result<(), TransportError> {
    for (kind, multiaddress) in [("UDP", quic_multiaddress(&address)), ("TCP", over_tcp(&address))] {
        swarm.listen_on(multiaddress).map_err(|error| TransportError::Listen {
            address,
            kind,
            reason: listen_reason(&error),
        })?;
    }
    Ok(())
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

fn quic_multiaddress(address: &SocketAddr) -> Multiaddr {
    base(address).with(Part::Udp(address.port())).with(Part::QuicV1)
}

fn over_tcp(address: &SocketAddr) -> Multiaddr {
    base(address).with(Part::Tcp(address.port()))
}

/// Both transports of every address; libp2p's smart dial tries QUIC first and TCP shortly after.
pub(crate) fn multiaddresses(addresses: &[SocketAddr]) -> Vec<Multiaddr> {
    addresses
        .iter()
        .flat_map(|address| [quic_multiaddress(address), over_tcp(address)])
        .collect()
}

/// The address of a QUIC listener, which is also that of the TCP listener beside it.
pub(crate) fn quic_address(multiaddress: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = multiaddress.iter();
    let ip = match parts.next()? {
        Part::Ip4(ip) => IpAddr::V4(ip),
        Part::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match (parts.next()?, parts.next()?) {
        (Part::Udp(port), Part::QuicV1) => Some(SocketAddr::new(ip, port)),
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
        }
    }
}
