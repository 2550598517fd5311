//! QUIC, directly on quinn: a transport of our own for libp2p's swarm.
//!
//! It speaks what stock libp2p-quic speaks (certificates of libp2p-tls, the same ALPN) and interoperates with it; a test dials both
//! ways. It exists for what the stock transport does not allow:
//! - *Connections migrate.* When a home's address changes, its packets simply come from elsewhere, and every stream goes on. Stock
//!   libp2p forbids that and lost all streams for ten seconds (measured).
//! - *Congestion control is a choice.* On a lossy long line BBR carries a hundred times what Cubic does (measured); quinn calls its BBR
//!   experimental, so Cubic can be set.
//! - *Floods are refused before they cost anything* (`admission`): stock libp2p begins each handshake before anybody is asked.
//!
//! ## Journeys
//! *An inbound connection*: socket -> quinn -> `listener::accept` asks `admission` -> a bounded queue -> the swarm drives the
//! handshake -> [`Connection`] with the peer's proven id.
//!
//! *An outbound connection*: from a listener's socket, so that the other side sees the port under which this node can be reached and
//! home routers keep one mapping; from a socket of its own where there is no listener or the swarm asks for a new port.
//!
//! *Through two home routers*: both sides dial at once; the one that is to be the server only sends packets that open its router
//! and takes the connection that comes.

mod admission;
mod connection;
mod listener;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::{StreamExt, future::BoxFuture, stream::SelectAll};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        Endpoint, Transport,
        transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent},
    },
    identity::Keypair,
};
use quinn::{
    IdleTimeout, VarInt,
    congestion::{BbrConfig, CubicConfig},
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use tokio::sync::oneshot;

pub(crate) use self::connection::Connection;
use self::{
    connection::established,
    listener::{Event, Listener},
};
use super::quic_address;
use crate::limits::{
    HANDSHAKE_TIMEOUT, HANDSHAKES_UNDER_WAY_MAX, PUNCH_EVERY, PUNCHES_MAX, QUIC_CONNECTION_WINDOW, QUIC_IDLE,
    QUIC_KEEP_ALIVE, QUIC_STREAM_WINDOW, QUIC_STREAMS_FIRST,
};

/// Which congestion control a node sends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// Measures the line instead of waiting for losses: good on long and lossy lines.
    #[default]
    Bbr,
    /// What most of the internet uses: a loss halves the pace.
    Cubic,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuicError {
    /// The socket.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It could not begin.
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    /// It broke off.
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    /// No end of the handshake in time.
    #[error("the other side did not finish the handshake in time")]
    HandshakeTimeout,
    /// The other side has no certificate of libp2p's kind, although TLS asks for one.
    #[error("the other side has no usable certificate")]
    NoIdentity,
    /// Certificates or ciphers cannot be set up here.
    #[error("QUIC cannot be set up: {0}")]
    Setup(&'static str),
    /// Connecting through two home routers needs a listening socket.
    #[error("nothing listens from which a home router could be opened")]
    NoListener,
    /// As many as there may be are under way, or one to this address is.
    #[error("a connection through a home router is being tried already")]
    PunchesFull,
}

type Connected = Result<(PeerId, Connection), QuicError>;
/// A connection in the making.
pub(super) type Upgrade = BoxFuture<'static, Connected>;

/// See the module.
pub(crate) struct QuicTransport {
    client: quinn::ClientConfig,
    server: quinn::ServerConfig,
    endpoint: quinn::EndpointConfig,
    listeners: SelectAll<Listener>,
    /// Sockets for dials where nothing listens, by whether they are for IPv4.
    dialers: HashMap<bool, quinn::Endpoint>,
    /// Connections that are expected from an address because both sides dial.
    punches: HashMap<SocketAddr, oneshot::Sender<Upgrade>>,
    waker: Option<Waker>,
}

impl QuicTransport {
    /// A transport of the node with this key.
    pub(crate) fn new(key: &Keypair, congestion: Congestion) -> Result<Self, QuicError> {
        let setup = QuicError::Setup;
        let tls = libp2p::tls::make_client_config(key, None).map_err(|_| setup("no client certificate"))?;
        let tls = QuicClientConfig::try_from(tls).map_err(|_| setup("no cipher for a client"))?;
        let transport = Arc::new(parameters(congestion));
        let mut client = quinn::ClientConfig::new(Arc::new(tls));
        client.transport_config(transport.clone());
        let tls = libp2p::tls::make_server_config(key).map_err(|_| setup("no server certificate"))?;
        let tls = QuicServerConfig::try_from(tls).map_err(|_| setup("no cipher for a server"))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server
            .transport_config(transport)
            .migration(true)
            .max_incoming(HANDSHAKES_UNDER_WAY_MAX);
        Ok(Self {
            client,
            server,
            endpoint: endpoint_parameters(key)?,
            listeners: SelectAll::new(),
            dialers: HashMap::new(),
            punches: HashMap::new(),
            waker: None,
        })
    }

    fn open(&self, server: bool, socket: UdpSocket) -> io::Result<quinn::Endpoint> {
        let server = server.then(|| self.server.clone());
        quinn::Endpoint::new(self.endpoint.clone(), server, socket, Arc::new(quinn::TokioRuntime))
    }

    /// The socket for a dial.
    fn dialer(&mut self, remote: &SocketAddr, port: PortUse) -> io::Result<quinn::Endpoint> {
        if port == PortUse::New {
            return self.open(false, UdpSocket::bind(any_port(remote))?);
        }
        if let Some(listener) = self.listeners.iter().find(|listener| listener.reaches(remote)) {
            return Ok(listener.endpoint.clone());
        }
        if let Some(dialer) = self.dialers.get(&remote.is_ipv4()) {
            return Ok(dialer.clone());
        }
        let dialer = self.open(false, UdpSocket::bind(any_port(remote))?)?;
        self.dialers.insert(remote.is_ipv4(), dialer.clone());
        Ok(dialer)
    }

    /// Waits as a server for the connection of a peer that dials at the same time, and opens this side's router for it.
    fn punch(&mut self, remote: SocketAddr) -> Result<Upgrade, QuicError> {
        self.punches.retain(|_, waiting| !waiting.is_closed());
        if self.punches.len() >= PUNCHES_MAX || self.punches.contains_key(&remote) {
            return Err(QuicError::PunchesFull);
        }
        let listener = self.listeners.iter().find(|listener| listener.reaches(&remote));
        let socket = listener.ok_or(QuicError::NoListener)?.socket()?;
        let (sender, arrival) = oneshot::channel();
        self.punches.insert(remote, sender);
        Ok(Box::pin(async move {
            let opening = open_router(&socket, remote);
            let arrived = async {
                tokio::select! {
                    arrived = arrival => arrived.map_err(|_| QuicError::HandshakeTimeout),
                    error = opening => Err(error.into()),
                }
            };
            let arrived = tokio::time::timeout(HANDSHAKE_TIMEOUT, arrived).await;
            arrived.map_err(|_| QuicError::HandshakeTimeout)??.await
        }))
    }
}

/// Sends packets that say nothing, so that this side's router lets the other side's packets in; ends only with an error.
async fn open_router(socket: &UdpSocket, remote: SocketAddr) -> io::Error {
    let mut again = tokio::time::interval(PUNCH_EVERY);
    loop {
        again.tick().await;
        // No QUIC packet: the bit that all of them have is off, so that the other side drops it unread.
        let mut packet: [u8; 32] = keys::identity::random_bytes();
        packet[0] &= 0x3f;
        match socket.send_to(&packet, remote) {
            Ok(_) => {}
            // A full socket buffer, or a router that says there is nobody yet: the next packet may get through.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable
                ) => {}
            Err(error) => return error,
        }
    }
}

fn any_port(remote: &SocketAddr) -> SocketAddr {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, 0)
}

/// A socket for one family only: a node listens on both families with two sockets.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn parameters(congestion: Congestion) -> quinn::TransportConfig {
    let mut parameters = quinn::TransportConfig::default();
    let idle = VarInt::try_from(QUIC_IDLE.as_millis()).map_or(IdleTimeout::from(VarInt::MAX), IdleTimeout::from);
    parameters
        .max_concurrent_uni_streams(0_u32.into())
        .max_concurrent_bidi_streams(QUIC_STREAMS_FIRST.into())
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(QUIC_KEEP_ALIVE))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(QUIC_STREAM_WINDOW.into())
        .receive_window(QUIC_CONNECTION_WINDOW.into())
        .allow_spin(false);
    match congestion {
        Congestion::Bbr => parameters.congestion_controller_factory(Arc::new(BbrConfig::default())),
        Congestion::Cubic => parameters.congestion_controller_factory(Arc::new(CubicConfig::default())),
    };
    parameters
}

/// Signs stateless resets. It comes from the node's key: a node that was restarted can tell its peers at once that it has forgotten
/// their connections.
struct ResetKey([u8; 32]);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let claimed = blake3::Hash::from_slice(signature).map_err(|_| quinn::crypto::CryptoError)?;
        // This comparison takes the same time whatever differs.
        if blake3::keyed_hash(&self.0, data) == claimed {
            Ok(())
        } else {
            Err(quinn::crypto::CryptoError)
        }
    }
}

fn endpoint_parameters(key: &Keypair) -> Result<quinn::EndpointConfig, QuicError> {
    let secret = key.derive_secret(b"starling quic stateless reset 1");
    let secret = secret.ok_or(QuicError::Setup("no secret can be derived from the node's key"))?;
    let mut parameters = quinn::EndpointConfig::new(Arc::new(ResetKey(secret)));
    parameters.supported_versions(vec![1]);
    Ok(parameters)
}

impl Transport for QuicTransport {
    type Output = (PeerId, Connection);
    type Error = QuicError;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<QuicError>> {
        let Some(local) = quic_address(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let listen = || -> io::Result<Listener> {
            let socket = bind(local)?;
            let again = socket.try_clone()?;
            Listener::new(id, self.open(true, socket)?, again)
        };
        let listener = listen().map_err(|error| TransportError::Other(error.into()))?;
        self.listeners.push(listener);
        // From now on this family dials from the listener; the other socket closes with its last connection.
        self.dialers.remove(&local.is_ipv4());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let listener = self.listeners.iter_mut().find(|listener| listener.id == id);
        let found = listener.map(Listener::close).is_some();
        if let Some(waker) = self.waker.take().filter(|_| found) {
            waker.wake();
        }
        found
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Upgrade, TransportError<QuicError>> {
        let remote = quic_address(&address).filter(|remote| remote.port() != 0 && !remote.ip().is_unspecified());
        let Some(remote) = remote else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let other = TransportError::Other;
        if (options.role, options.port_use) == (Endpoint::Listener, PortUse::New) {
            return self.punch(remote).map_err(other);
        }
        let endpoint = self
            .dialer(&remote, options.port_use)
            .map_err(|error| other(error.into()))?;
        let client = self.client.clone();
        Ok(Box::pin(async move {
            // TLS wants a name; the certificate says which key is there, and the swarm compares it with the one it dialled.
            let connecting = endpoint.connect_with(client, remote, "l")?;
            established(connecting).await
        }))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        while let Poll::Ready(Some(event)) = self.listeners.poll_next_unpin(cx) {
            let TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            } = event
            else {
                return Poll::Ready(event);
            };
            let waiting = quic_address(&send_back_addr).and_then(|remote| self.punches.remove(&remote));
            let upgrade = match waiting {
                // Where nobody waits any more it is a connection like any other.
                Some(waiting) => match waiting.send(upgrade) {
                    Ok(()) => continue,
                    Err(upgrade) => upgrade,
                },
                None => upgrade,
            };
            return Poll::Ready(TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
