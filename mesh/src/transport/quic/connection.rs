//! A QUIC connection as libp2p's swarm sees it: an authenticated peer and a multiplexer of streams.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, FutureExt, future::BoxFuture, ready};
use libp2p::{
    PeerId,
    core::muxing::{StreamMuxer, StreamMuxerEvent},
};
use quinn::rustls::pki_types::CertificateDer;

use super::{
    super::{meter::Meter, quic_multiaddress},
    QuicError,
};
use crate::limits::{HANDSHAKE_TIMEOUT, QUIC_STREAMS_FIRST, QUIC_STREAMS_MAX};

/// How often a connection looks whether its peer has moved: only for display, the packets follow at once.
const LOOK_FOR_MOVE: Duration = Duration::from_secs(1);

/// Counts a handshake, or a stream that the other side opened, for as long as it is under way.
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for the end of a handshake and says who is there; the certificate has been verified by then.
pub(super) async fn established(connecting: quinn::Connecting) -> Result<(PeerId, Connection), QuicError> {
    let connected = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await;
    let connection = connected.map_err(|_| QuicError::HandshakeTimeout)??;
    let identity = connection.peer_identity().ok_or(QuicError::NoIdentity)?;
    let certificates = identity
        .downcast::<Vec<CertificateDer<'static>>>()
        .map_err(|_| QuicError::NoIdentity)?;
    let certificate = certificates.first().ok_or(QuicError::NoIdentity)?;
    let certificate = libp2p::tls::certificate::parse(certificate).map_err(|_| QuicError::NoIdentity)?;
    Ok((certificate.peer_id(), Connection::new(connection)))
}

type Opened = Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError>;

/// An established connection.
pub(crate) struct Connection {
    connection: quinn::Connection,
    remote: SocketAddr,
    /// Where what has passed is told.
    meter: Option<Arc<Meter>>,
    look: tokio::time::Interval,
    accepting: Option<BoxFuture<'static, Opened>>,
    /// Streams that the other side has open, and how many it may.
    theirs: Arc<AtomicUsize>,
    allowed: u32,
    opening: Option<BoxFuture<'static, Opened>>,
    closing: Option<BoxFuture<'static, quinn::ConnectionError>>,
}

impl Connection {
    fn new(connection: quinn::Connection) -> Self {
        let remote = connection.remote_address();
        let mut look = tokio::time::interval(LOOK_FOR_MOVE);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self {
            connection,
            remote,
            meter: None,
            look,
            accepting: None,
            theirs: Arc::default(),
            allowed: QUIC_STREAMS_FIRST,
            opening: None,
            closing: None,
        }
    }

    /// The same connection, which tells a meter what passes.
    pub(in crate::transport) fn metered(mut self, meter: Arc<Meter>) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Allows the other side twice as many streams when it has three quarters of them open, up to [`QUIC_STREAMS_MAX`]: a connection has a
    /// place for each that it allows, and most never need more than the first few.
    fn allow_more(&mut self) {
        let open = self.theirs.load(Ordering::Relaxed);
        if self.allowed < QUIC_STREAMS_MAX && open * 4 >= self.allowed as usize * 3 {
            self.allowed = (self.allowed * 2).min(QUIC_STREAMS_MAX);
            self.connection.set_max_concurrent_bi_streams(self.allowed.into());
        }
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = QuicError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, QuicError>> {
        let connection = self.connection.clone();
        let accepting = self
            .accepting
            .get_or_insert_with(|| async move { connection.accept_bi().await }.boxed());
        let accepted = ready!(accepting.poll_unpin(cx));
        self.accepting = None;
        let counted = UnderWay::new(&self.theirs);
        self.allow_more();
        Poll::Ready(Ok(Stream::new(accepted?, Some(counted))))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, QuicError>> {
        let connection = self.connection.clone();
        let opening = self
            .opening
            .get_or_insert_with(|| async move { connection.open_bi().await }.boxed());
        let opened = ready!(opening.poll_unpin(cx));
        self.opening = None;
        Poll::Ready(Ok(Stream::new(opened?, None)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), QuicError>> {
        let connection = self.connection.clone();
        let closing = self.closing.get_or_insert_with(|| {
            connection.close(0_u32.into(), &[]);
            async move { connection.closed().await }.boxed()
        });
        match ready!(closing.poll_unpin(cx)) {
            quinn::ConnectionError::LocallyClosed => Poll::Ready(Ok(())),
            error => Poll::Ready(Err(error.into())),
        }
    }

    /// Says when the peer's address has changed: quinn follows the peer by itself, and the streams go on.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, QuicError>> {
        while self.look.poll_tick(cx).is_ready() {
            if let Some(meter) = &self.meter {
                meter.note_quic(&self.connection.stats());
            }
            let remote = self.connection.remote_address();
            if remote != self.remote {
                tracing::debug!(from = %self.remote, to = %remote, "a peer has moved; its streams go on");
                self.remote = remote;
                return Poll::Ready(Ok(StreamMuxerEvent::AddressChange(quic_multiaddress(&remote))));
            }
        }
        Poll::Pending
    }
}

/// Both directions of one stream.
pub(crate) struct Stream {
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    /// How closing the sending direction ended; the swarm may ask again.
    closed: Option<Result<(), io::ErrorKind>>,
    /// Set for one that the other side opened.
    _counted: Option<UnderWay>,
}

impl Stream {
    fn new((send, receive): (quinn::SendStream, quinn::RecvStream), counted: Option<UnderWay>) -> Self {
        Self {
            send,
            receive,
            closed: None,
            _counted: counted,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(closed) = self.closed {
            return Poll::Ready(closed.map_err(io::Error::from));
        }
        let closed = ready!(AsyncWrite::poll_close(Pin::new(&mut self.send), cx));
        self.closed = Some(closed.as_ref().copied().map_err(io::Error::kind));
        Poll::Ready(closed)
    }
}
