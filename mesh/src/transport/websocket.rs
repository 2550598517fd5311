//! A WebSocket over TLS, for networks that let nothing else through than what looks like a web page.
//!
//! TCP, TLS with the certificates of libp2p-tls on both sides (so the other's key is proven before the first byte of HTTP), a WebSocket in it whose
//! binary messages carry a byte stream, and yamux in that. To the network it is HTTPS on whatever port is given, usually 443; the
//! certificate is the node's own, so that nobody needs a name or an authority. libp2p's own WebSocket asks for both.
//!
//! Addresses are `/ip4/192.0.2.1/tcp/443/tls/ws`.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, Sink, Stream, future::BoxFuture, ready};
use futures_rustls::{
    TlsAcceptor, TlsConnector, TlsStream,
    pki_types::{IpAddr, Ipv4Addr, ServerName},
    rustls::{ClientConfig, ServerConfig},
};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        Transport,
        transport::{DialOpts, ListenerId, TransportError, TransportEvent},
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    identity::Keypair,
    multiaddr::Protocol as Part,
    tcp, yamux,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config, client_async_with_config,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use super::meter::{Counted, Meters};
use crate::limits::{HANDSHAKE_TIMEOUT, WEBSOCKET_MESSAGE_BYTES_MAX, WEBSOCKET_WRITE_BYTES};

/// Where the conversation begins; the name says nothing, because the certificate says who is there.
const REQUEST: &str = "wss://starling/";
/// What the handshake names as its protocol, as a browser does.
const ALPN: &[u8] = b"http/1.1";
/// How yamux is named in an upgrade that both sides know will come.
const YAMUX: &str = "/yamux/1.0.0";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebSocketError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    WebSocket(#[from] tungstenite::Error),
    #[error("the other side has no usable certificate")]
    NoIdentity,
    #[error("the other side did not finish the handshakes in time")]
    Timeout,
    #[error("TLS cannot be set up: no certificate can be made")]
    Setup,
}

type Tcp = Compat<TlsStream<tcp::tokio::TcpStream>>;
type Connected = Result<(PeerId, yamux::Muxer<Counted<Bytes>>), WebSocketError>;
type Upgrade = BoxFuture<'static, Connected>;
type Event = TransportEvent<Upgrade, WebSocketError>;

/// See the module.
pub(crate) struct WebSocketTransport {
    tcp: tcp::tokio::Transport,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    meters: Meters,
}

impl WebSocketTransport {
    /// A transport of the node with this key, whose connections are counted.
    pub(crate) fn new(key: &Keypair, meters: Meters) -> Result<Self, WebSocketError> {
        let mut client = libp2p::tls::make_client_config(key, None).map_err(|_| WebSocketError::Setup)?;
        let mut server = libp2p::tls::make_server_config(key).map_err(|_| WebSocketError::Setup)?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        server.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            tcp: tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)),
            client: Arc::new(client),
            server: Arc::new(server),
            meters,
        })
    }
}

/// The TCP address below a WebSocket's.
fn below(address: &Multiaddr) -> Option<Multiaddr> {
    let mut below: Multiaddr = address.iter().filter(|part| !matches!(part, Part::P2p(_))).collect();
    match (below.pop()?, below.pop()?) {
        (Part::Ws(_), Part::Tls) => Some(below),
        _ => None,
    }
}

/// The address of a WebSocket on a TCP address.
pub(crate) fn above(tcp: Multiaddr) -> Multiaddr {
    tcp.with(Part::Tls).with(Part::Ws("/".into()))
}

fn settings() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(WEBSOCKET_WRITE_BYTES)
        // Every message is written at once: tokens must not wait for more.
        .write_buffer_size(0)
        .max_write_buffer_size(WEBSOCKET_MESSAGE_BYTES_MAX)
        .max_message_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX))
}

async fn in_time(connected: impl Future<Output = Connected>) -> Connected {
    let connected = tokio::time::timeout(HANDSHAKE_TIMEOUT, connected).await;
    connected.unwrap_or(Err(WebSocketError::Timeout))
}

fn identity(stream: &TlsStream<tcp::tokio::TcpStream>) -> Result<PeerId, WebSocketError> {
    let (_, tls) = stream.get_ref();
    let certificate = tls.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or(WebSocketError::NoIdentity)?;
    let certificate = libp2p::tls::certificate::parse(certificate).map_err(|_| WebSocketError::NoIdentity)?;
    Ok(certificate.peer_id())
}

async fn dialled(stream: tcp::tokio::TcpStream, client: Arc<ClientConfig>, meters: Meters) -> Connected {
    // Without a name nothing is told to the network; the swarm compares the certificate's key with the one it dialled.
    let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])));
    let stream = TlsConnector::from(client).connect(nobody, stream).await?;
    let stream = TlsStream::from(stream);
    let peer = identity(&stream)?;
    let (socket, _) = client_async_with_config(REQUEST, stream.compat(), Some(settings())).await?;
    let muxer = yamux::Config::default()
        .upgrade_outbound(Counted::new(Bytes::new(socket), meters.meter(peer)), YAMUX)
        .await?;
    Ok((peer, muxer))
}

async fn accepted(stream: tcp::tokio::TcpStream, server: Arc<ServerConfig>, meters: Meters) -> Connected {
    let stream = TlsAcceptor::from(server).accept(stream).await?;
    let stream = TlsStream::from(stream);
    let peer = identity(&stream)?;
    let socket = accept_async_with_config(stream.compat(), Some(settings())).await?;
    let muxer = yamux::Config::default()
        .upgrade_inbound(Counted::new(Bytes::new(socket), meters.meter(peer)), YAMUX)
        .await?;
    Ok((peer, muxer))
}

fn map_error(error: TransportError<io::Error>) -> TransportError<WebSocketError> {
    error.map(WebSocketError::from)
}

impl Transport for WebSocketTransport {
    type Output = (PeerId, yamux::Muxer<Counted<Bytes>>);
    type Error = WebSocketError;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<WebSocketError>> {
        let Some(below) = below(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        self.tcp.listen_on(id, below).map_err(map_error)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.tcp.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Upgrade, TransportError<WebSocketError>> {
        let Some(below) = below(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let dial = self.tcp.dial(below, options).map_err(map_error)?;
        let (client, meters) = (self.client.clone(), self.meters.clone());
        Ok(Box::pin(in_time(
            async move { dialled(dial.await?, client, meters).await },
        )))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let event = ready!(Pin::new(&mut self.tcp).poll(cx));
        let (server, meters) = (self.server.clone(), self.meters.clone());
        let event = event.map_err(WebSocketError::from).map_upgrade(|upgrade| {
            let upgrade = in_time(async move { accepted(upgrade.await?, server, meters).await });
            Box::pin(upgrade) as Upgrade
        });
        Poll::Ready(match event {
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
        })
    }
}

/// The bytes that the binary messages of a WebSocket carry.
pub(crate) struct Bytes {
    socket: WebSocketStream<Tcp>,
    /// What came of a message and was not read yet.
    rest: tungstenite::Bytes,
}

impl Bytes {
    fn new(socket: WebSocketStream<Tcp>) -> Self {
        Self {
            socket,
            rest: tungstenite::Bytes::new(),
        }
    }
}

fn broken(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}

impl AsyncRead for Bytes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(0)),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(broken)?;
        let part = &bytes[..bytes.len().min(WEBSOCKET_WRITE_BYTES)];
        let message = Message::Binary(tungstenite::Bytes::copy_from_slice(part));
        Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(broken)
    }
}

#[cfg(test)]
mod tests;
