//! Reaching an address as a stranger would: with a key made for this, from a new port, and for nothing but to see who answers.

use std::{io, net::SocketAddr};

use keys::NodeId;
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        Endpoint,
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, PortUse},
        upgrade::Version,
    },
    identity::Keypair,
    noise, tcp, yamux,
};
use tokio::net::TcpStream;

use super::{
    Congestion, TransportError, meter::Meters, over_tcp, over_websocket, quic::QuicTransport, quic_multiaddress,
    websocket::WebSocketTransport,
};
use crate::{LinkPath, membership::peer_of};

/// Why nobody was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TrialError {
    #[error("another key answers there")]
    AnotherKey,
    #[error("refused")]
    Refused,
    #[error("no answer")]
    Silent,
}

/// Tries to reach one node.
pub(crate) struct Trial {
    pair: Keypair,
    wanted: PeerId,
}

impl Trial {
    /// Of the node with this id; nothing when that is no key.
    pub(crate) fn of(node: NodeId) -> Option<Self> {
        Some(Self {
            pair: Keypair::generate_ed25519(),
            wanted: peer_of(&node)?,
        })
    }

    /// Connects, sees which key answers, and hangs up. How long that may take is the caller's business.
    pub(crate) async fn dial(&self, address: SocketAddr, path: LinkPath) -> Result<(), TrialError> {
        if matches!(path, LinkPath::Tcp | LinkPath::WebSocket) {
            knock(address).await?;
        }
        let (mut transport, address) = self.transport(address, path).map_err(|_| TrialError::Refused)?;
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let dialled = transport.dial(address, options).map_err(|_| TrialError::Refused)?;
        match dialled.await {
            Ok((peer, _connection)) if peer == self.wanted => Ok(()),
            Ok(_) => Err(TrialError::AnotherKey),
            Err(_) => Err(TrialError::Silent),
        }
    }

    fn transport(
        &self,
        address: SocketAddr,
        path: LinkPath,
    ) -> Result<(Boxed<(PeerId, StreamMuxerBox)>, Multiaddr), TransportError> {
        let setup = |error: &dyn std::fmt::Display| TransportError::Setup(error.to_string());
        Ok(match path {
            LinkPath::Quic | LinkPath::Punched | LinkPath::Relayed => {
                let quic = QuicTransport::new(&self.pair, Congestion::default()).map_err(|error| setup(&error))?;
                let quic = quic.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
                (quic.boxed(), quic_multiaddress(&address))
            }
            LinkPath::Tcp => {
                let noise = noise::Config::new(&self.pair).map_err(|error| setup(&error))?;
                let tcp = tcp::tokio::Transport::new(tcp::Config::default());
                let tcp = tcp
                    .upgrade(Version::V1Lazy)
                    .authenticate(noise)
                    .multiplex(yamux::Config::default());
                let tcp = tcp.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
                (tcp.boxed(), over_tcp(&address))
            }
            LinkPath::WebSocket => {
                let websocket =
                    WebSocketTransport::new(&self.pair, Meters::default()).map_err(|error| setup(&error))?;
                let websocket = websocket.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
                (websocket.boxed(), over_websocket(&address))
            }
        })
    }
}

/// Whether TCP is refused at once. libp2p's errors hide what the system said, so that it is asked first.
async fn knock(address: SocketAddr) -> Result<(), TrialError> {
    let connected = TcpStream::connect(address).await;
    connected.map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => TrialError::Silent,
        _ => TrialError::Refused,
    })
}
