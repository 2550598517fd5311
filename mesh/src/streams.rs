//! Streams between nodes: bounded, answered, and only for those who may.
//!
//! One behaviour carries every byte protocol of Starling. An inbound stream is answered with one byte: OK when its owner has
//! room for it, BUSY when not. (libp2p's own stream crate drops the stream silently in a burst: 6 of 256, measured.) A
//! stranger is offered the join protocol and nothing else; that list is made per connection, from the roster, after TLS has
//! proven who the other side is.

mod behaviour;
mod handler;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use keys::NodeId;
use libp2p::{StreamProtocol, swarm::ConnectionId};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    sync::{mpsc, oneshot},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

pub(crate) use behaviour::{Behaviour, News};

use crate::{
    Protocol,
    blobs::{TokenStream, TokenStreams},
    counters::Counters,
    limits::{INBOUND_STREAM_QUEUE, OPEN_QUEUE, OPEN_TIMEOUT},
    membership::Membership,
};

const OK: u8 = 0;
const BUSY: u8 = 1;

/// A byte stream to another node. Dropping it resets it, which the other side sees as a cancellation.
#[derive(Debug)]
pub struct Stream {
    bytes: Compat<libp2p::Stream>,
    version: u16,
    /// Counted while it lives, when tokens flow on it: bulk gives way.
    _tokens: Option<TokenStream>,
    /// The connection on which the other side opened it.
    inbound_on: Option<ConnectionId>,
    /// Held while it lives, when it is somebody's work: a connection that another has replaced stays for it.
    _lease: Option<Lease>,
}

impl Stream {
    /// The version of the protocol that both sides speak here: the newest that both know.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }
}

/// Says by being held that somebody works on a connection.
pub(crate) type Lease = Arc<()>;

impl Stream {
    /// The connection on which the other side opened it; of one that we opened, nothing.
    pub(crate) const fn on(&self) -> Option<ConnectionId> {
        self.inbound_on
    }

    const fn opened_on(mut self, connection: ConnectionId) -> Self {
        self.inbound_on = Some(connection);
        self
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.bytes).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}

/// Why no stream was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no connection to that node now.
    #[error("not connected to node {id}", id = .0.short())]
    NotConnected(NodeId),
    /// The other side does not offer this protocol to us.
    #[error("node {id} does not offer {protocol} to this node", id = .0.short(), protocol = .1)]
    Refused(NodeId, Protocol),
    /// The other side has no room for another stream of this protocol.
    #[error("node {id} is busy with {protocol}", id = .0.short(), protocol = .1)]
    Busy(NodeId, Protocol),
    /// No answer in time.
    #[error("node {id} did not answer in {OPEN_TIMEOUT:?}", id = .0.short())]
    Timeout(NodeId),
    /// The connection broke on the way.
    #[error("the connection to node {id} broke: {reason}", id = .0.short(), reason = .1)]
    Broken(NodeId, String),
    /// The mesh has stopped.
    #[error("the mesh has stopped")]
    Stopped,
}

/// A stream that was agreed upon.
#[derive(Debug)]
pub(crate) struct Opened {
    stream: libp2p::Stream,
    version: u16,
    lease: Lease,
}

/// A request to open a stream, on its way to the connection's handler.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) node: NodeId,
    pub(crate) protocol: Protocol,
    /// A particular connection (the control stream of a link); otherwise any.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) reply: oneshot::Sender<Result<Opened, OpenError>>,
}

/// Opens streams. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Opener {
    requests: mpsc::Sender<Open>,
    counters: Arc<Counters>,
    tokens: TokenStreams,
}

impl Opener {
    /// Waits until nobody opens streams any more, because the mesh has stopped.
    pub(crate) async fn closed(&self) {
        self.requests.closed().await;
    }

    /// The token streams that are open now.
    pub(crate) fn token_streams(&self) -> &TokenStreams {
        &self.tokens
    }

    /// Opens a stream of `protocol` to `node` and waits for its OK.
    pub(crate) async fn open(
        &self,
        node: NodeId,
        protocol: Protocol,
        connection: Option<ConnectionId>,
    ) -> Result<Stream, OpenError> {
        let (reply, answer) = oneshot::channel();
        let opening = async {
            let request = Open {
                node,
                protocol,
                connection,
                reply,
            };
            self.requests.send(request).await.map_err(|_| OpenError::Stopped)?;
            let opened = answer.await.map_err(|_| OpenError::NotConnected(node))??;
            let mut stream = wrap(opened, tokens_on(protocol, &self.tokens), protocol);
            match stream.read_u8().await {
                Ok(OK) => Ok(stream),
                Ok(_) => Err(OpenError::Busy(node, protocol)),
                Err(error) => Err(OpenError::Broken(node, error.to_string())),
            }
        };
        let opened = tokio::time::timeout(OPEN_TIMEOUT, opening)
            .await
            .unwrap_or(Err(OpenError::Timeout(node)));
        if opened.is_ok() {
            Counters::increment(&self.counters.streams_opened);
        }
        opened
    }
}

/// Where inbound streams of each protocol go.
pub(crate) type Inboxes = Arc<HashMap<Protocol, mpsc::Sender<(NodeId, Stream)>>>;

/// The names by which each protocol is spoken, the newest first.
#[derive(Clone, Debug)]
pub(crate) struct Names(Vec<(Protocol, Vec<&'static str>)>);

impl Names {
    /// As this build speaks them.
    fn of(protocols: &[Protocol]) -> Self {
        let names = |protocol: Protocol| {
            let former = Protocol::FORMER.iter().filter(move |(of, _)| *of == protocol);
            let names = std::iter::once(protocol.name()).chain(former.map(|(_, name)| *name));
            (protocol, names.collect())
        };
        Self(protocols.iter().copied().map(names).collect())
    }

    /// What to propose for a protocol.
    pub(crate) fn proposals(&self, protocol: Protocol) -> Vec<StreamProtocol> {
        let known = self.0.iter().find(|(one, _)| *one == protocol);
        let names = known.map_or_else(|| vec![protocol.name()], |(_, names)| names.clone());
        names.into_iter().map(StreamProtocol::new).collect()
    }

    /// The protocol that is meant by a name.
    pub(crate) fn meant(&self, name: &str) -> Option<Protocol> {
        let by = self.0.iter().find(|(_, names)| names.contains(&name));
        by.map(|(protocol, _)| *protocol)
    }
}

/// What the behaviour needs to know about protocols.
pub(crate) struct Offers {
    pub(crate) inboxes: Inboxes,
    pub(crate) names: Arc<Names>,
    pub(crate) for_members: Vec<StreamProtocol>,
    pub(crate) for_strangers: Vec<StreamProtocol>,
    pub(crate) tokens: TokenStreams,
}

/// Receivers of inbound streams by protocol.
pub(crate) type Inbound = HashMap<Protocol, mpsc::Receiver<(NodeId, Stream)>>;

/// Makes the behaviour, the handle that opens streams, and a receiver per protocol.
pub(crate) fn new(
    membership: Membership,
    protocols: &[Protocol],
    counters: Arc<Counters>,
) -> (Behaviour, Opener, Inbound) {
    speaking(membership, Names::of(protocols), counters)
}

/// The same of a build that knows other versions.
fn speaking(membership: Membership, names: Names, counters: Arc<Counters>) -> (Behaviour, Opener, Inbound) {
    let protocols: Vec<Protocol> = names.0.iter().map(|(protocol, _)| *protocol).collect();
    let (requests, open_requests) = mpsc::channel(OPEN_QUEUE);
    let mut inboxes = HashMap::new();
    let mut inbound = HashMap::new();
    for protocol in protocols.iter().filter(|protocol| **protocol != Protocol::BULK) {
        let (sender, receiver) = mpsc::channel(INBOUND_STREAM_QUEUE);
        inboxes.insert(*protocol, sender);
        inbound.insert(*protocol, receiver);
    }
    // On whatever connection blobs are asked for, one serves them.
    if let Some(sender) = inboxes.get(&Protocol::BLOB).cloned() {
        inboxes.insert(Protocol::BULK, sender);
    }
    let all = |protocols: &[Protocol]| -> Vec<StreamProtocol> {
        protocols
            .iter()
            .flat_map(|protocol| names.proposals(*protocol))
            .collect()
    };
    let join: &[Protocol] = if protocols.contains(&Protocol::JOIN) {
        &[Protocol::JOIN]
    } else {
        &[]
    };
    let offers = Offers {
        inboxes: Arc::new(inboxes),
        for_members: all(&protocols),
        for_strangers: all(join),
        names: Arc::new(names),
        tokens: TokenStreams::default(),
    };
    let tokens = offers.tokens.clone();
    let behaviour = Behaviour::new(membership, offers, open_requests, counters.clone());
    let opener = Opener {
        requests,
        counters,
        tokens,
    };
    (behaviour, opener, inbound)
}

fn wrap(opened: Opened, tokens: Option<TokenStream>, protocol: Protocol) -> Stream {
    let Opened { stream, version, lease } = opened;
    Stream {
        bytes: stream.compat(),
        version,
        _tokens: tokens,
        inbound_on: None,
        _lease: (!protocol.belongs_to_the_link()).then_some(lease),
    }
}

/// Counts a stream on which tokens flow.
fn tokens_on(protocol: Protocol, tokens: &TokenStreams) -> Option<TokenStream> {
    matches!(protocol, Protocol::GENERATE | Protocol::COMPUTE).then(|| tokens.enter())
}

#[cfg(test)]
mod tests;
