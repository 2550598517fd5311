//! One connection's side of the stream behaviour: negotiates, and answers every inbound stream with OK or BUSY.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncWriteExt, Future, StreamExt, stream::FuturesUnordered};
use keys::NodeId;
use libp2p::{
    StreamProtocol,
    core::UpgradeInfo,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, ConnectionId, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

use super::{BUSY, Inboxes, Lease, Names, OK, Open, OpenError, Opened, tokens_on, wrap};
use crate::{Protocol, blobs::TokenStreams, counters::Counters, limits::ANSWERING_STREAMS_MAX, protocol::version_in};

/// The protocols offered on this connection.
#[derive(Clone)]
pub(crate) struct Offer(pub(crate) Vec<StreamProtocol>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;
    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl libp2p::core::upgrade::InboundUpgrade<libp2p::Stream> for Offer {
    type Output = (StreamProtocol, libp2p::Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;
    fn upgrade_inbound(self, stream: libp2p::Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

/// The names that are proposed for a stream, the newest first: the other side takes the first that it knows.
impl libp2p::core::upgrade::OutboundUpgrade<libp2p::Stream> for Offer {
    type Output = (StreamProtocol, libp2p::Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;
    fn upgrade_outbound(self, stream: libp2p::Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

type Answering = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// The other side opened a stream by which it says that this connection is for blobs and nothing else.
#[derive(Debug)]
pub(crate) struct CarriesBlobs;

pub(crate) struct Handler {
    pub(super) node: NodeId,
    pub(super) connection: ConnectionId,
    pub(super) member: bool,
    /// It is for blobs, and closes when nothing uses it.
    pub(super) bulk: bool,
    pub(super) bulk_news: bool,
    pub(super) offer: Offer,
    pub(super) inboxes: Inboxes,
    pub(super) names: Arc<Names>,
    pub(super) opens: VecDeque<Open>,
    pub(super) answering: FuturesUnordered<Answering>,
    pub(super) counters: Arc<Counters>,
    pub(super) tokens: TokenStreams,
    pub(super) lease: Lease,
}

impl Handler {
    fn on_inbound(&mut self, (name, mut stream): (StreamProtocol, libp2p::Stream)) {
        let protocol = self.names.meant(name.as_ref());
        let inbox = protocol.and_then(|protocol| self.inboxes.get(&protocol));
        let (Some(protocol), Some(inbox), true) = (protocol, inbox, self.answering.len() < ANSWERING_STREAMS_MAX)
        else {
            return;
        };
        if protocol == Protocol::BULK && !self.bulk {
            (self.bulk, self.bulk_news) = (true, true);
        }
        let (node, connection) = (self.node, self.connection);
        // Dropping the future (when the connection goes) resets the stream, so nothing waits for ever.
        match inbox.clone().try_reserve_owned() {
            Ok(room) => {
                Counters::increment(&self.counters.streams_accepted);
                let tokens = tokens_on(protocol, &self.tokens);
                let (lease, version) = (self.lease.clone(), version_in(name.as_ref()));
                self.answering.push(Box::pin(async move {
                    stream.write_all(&[OK]).await?;
                    stream.flush().await?;
                    let opened = Opened { stream, version, lease };
                    room.send((node, wrap(opened, tokens, protocol).opened_on(connection)));
                    Ok(())
                }));
            }
            Err(_) => {
                Counters::increment(&self.counters.streams_busy);
                self.answering.push(Box::pin(async move {
                    stream.write_all(&[BUSY]).await?;
                    stream.close().await
                }));
            }
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = CarriesBlobs;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer, ()> {
        SubstreamProtocol::new(self.offer.clone(), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.member && !self.bulk
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Open, CarriesBlobs>> {
        // A failed answer means the stream is gone; its opener sees that on its own side.
        while let Poll::Ready(Some(_)) = self.answering.poll_next_unpin(cx) {}
        if std::mem::take(&mut self.bulk_news) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(CarriesBlobs));
        }
        match self.opens.pop_front() {
            Some(open) => {
                let proposals = Offer(self.names.proposals(open.protocol));
                let protocol = SubstreamProtocol::new(proposals, open);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, open: Open) {
        // Bounded by the behaviour's request queue: each entry belongs to a caller who waits with a deadline.
        self.opens.push_back(open);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Self::OutboundProtocol, (), Open>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.on_inbound(protocol)
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info: open }) => {
                let (name, stream) = protocol;
                let (version, lease) = (version_in(name.as_ref()), self.lease.clone());
                // A caller who gave up meanwhile drops the stream, which resets it.
                let _ = open.reply.send(Ok(Opened { stream, version, lease }));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: open, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => OpenError::Timeout(open.node),
                    StreamUpgradeError::NegotiationFailed => OpenError::Refused(open.node, open.protocol),
                    StreamUpgradeError::Io(error) => OpenError::Broken(open.node, error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = open.reply.send(Err(error));
            }
            _ => {}
        }
    }
}
