//! A listening socket: who may begin a handshake, and which addresses the socket has.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    task::{Context, Poll},
    time::Instant,
};

use futures::{Stream, StreamExt, stream::FusedStream};
use if_watch::{IfEvent, tokio::IfWatcher};
use libp2p::{
    Multiaddr,
    core::transport::{ListenerId, TransportEvent},
};
use tokio::sync::mpsc;

use super::{
    super::quic_multiaddress,
    QuicError, Upgrade,
    admission::{Admission, Admit},
    connection::{UnderWay, established},
};
use crate::limits::HANDSHAKE_QUEUE;

pub(super) type Event = TransportEvent<Upgrade, QuicError>;

/// A handshake that was let in.
struct Arrival {
    remote: SocketAddr,
    upgrade: Upgrade,
}

/// One listening socket. It ends, as a stream, when it was closed.
pub(super) struct Listener {
    pub(super) id: ListenerId,
    pub(super) endpoint: quinn::Endpoint,
    /// The same socket once more, for packets that open a way through a home router.
    socket: UdpSocket,
    local: SocketAddr,
    interfaces: Option<IfWatcher>,
    /// Addresses that were told and are still there.
    addresses: Vec<IpAddr>,
    arrivals: mpsc::Receiver<Arrival>,
    events: VecDeque<Event>,
    closed: bool,
}

impl Listener {
    pub(super) fn new(id: ListenerId, endpoint: quinn::Endpoint, socket: UdpSocket) -> io::Result<Self> {
        let local = endpoint.local_addr()?;
        let (sender, arrivals) = mpsc::channel(HANDSHAKE_QUEUE);
        tokio::spawn(accept(endpoint.clone(), sender));
        let mut listener = Self {
            id,
            endpoint,
            socket,
            local,
            interfaces: None,
            addresses: Vec::new(),
            arrivals,
            events: VecDeque::new(),
            closed: false,
        };
        if local.ip().is_unspecified() {
            listener.interfaces = Some(IfWatcher::new()?);
        } else {
            listener.appeared(local.ip());
        }
        Ok(listener)
    }

    /// Whether packets of this socket get to an address: to this machine only from a socket that is on this machine's own address.
    pub(super) fn reaches(&self, remote: &SocketAddr) -> bool {
        let same_family = self.local.is_ipv4() == remote.is_ipv4();
        let own = self.local.ip();
        !self.closed && same_family && (own.is_unspecified() || own.is_loopback() == remote.ip().is_loopback())
    }

    /// A second handle to the socket.
    pub(super) fn socket(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Takes no more connections; those that are established go on.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.arrivals.close();
        for address in std::mem::take(&mut self.addresses) {
            self.tell_expired(address);
        }
        self.events.push_back(TransportEvent::ListenerClosed {
            listener_id: self.id,
            reason: Ok(()),
        });
    }

    fn multiaddress(&self, address: IpAddr) -> Multiaddr {
        quic_multiaddress(&SocketAddr::new(address, self.local.port()))
    }

    fn appeared(&mut self, address: IpAddr) {
        if address.is_ipv4() == self.local.is_ipv4() && !self.addresses.contains(&address) {
            self.addresses.push(address);
            self.events.push_back(TransportEvent::NewAddress {
                listener_id: self.id,
                listen_addr: self.multiaddress(address),
            });
        }
    }

    fn disappeared(&mut self, address: IpAddr) {
        if let Some(place) = self.addresses.iter().position(|known| *known == address) {
            self.addresses.swap_remove(place);
            self.tell_expired(address);
        }
    }

    fn tell_expired(&mut self, address: IpAddr) {
        self.events.push_back(TransportEvent::AddressExpired {
            listener_id: self.id,
            listen_addr: self.multiaddress(address),
        });
    }

    fn watch_interfaces(&mut self, cx: &mut Context<'_>) {
        let Some(mut interfaces) = self.interfaces.take_if(|interfaces| !interfaces.is_terminated()) else {
            return;
        };
        while let Poll::Ready(Some(event)) = interfaces.poll_next_unpin(cx) {
            match event {
                Ok(IfEvent::Up(network)) => self.appeared(network.addr()),
                Ok(IfEvent::Down(network)) => self.disappeared(network.addr()),
                Err(error) => self.events.push_back(TransportEvent::ListenerError {
                    listener_id: self.id,
                    error: error.into(),
                }),
            }
        }
        self.interfaces = Some(interfaces);
    }
}

impl Stream for Listener {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if !self.closed {
            self.watch_interfaces(cx);
        }
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if self.closed {
            return Poll::Ready(None);
        }
        match self.arrivals.poll_recv(cx) {
            Poll::Ready(Some(arrival)) => Poll::Ready(Some(TransportEvent::Incoming {
                listener_id: self.id,
                upgrade: arrival.upgrade,
                local_addr: quic_multiaddress(&self.local),
                send_back_addr: quic_multiaddress(&arrival.remote),
            })),
            // The socket's driver has ended: nothing comes any more.
            Poll::Ready(None) => {
                self.close();
                Poll::Ready(self.events.pop_front())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Lets handshakes in, in a task of its own, so that a flood does not take the swarm's time. Ends with the listener or its socket.
async fn accept(endpoint: quinn::Endpoint, arrivals: mpsc::Sender<Arrival>) {
    let began = Instant::now();
    let mut admission = Admission::default();
    let under_way = Arc::new(AtomicUsize::new(0));
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = arrivals.closed() => return,
        };
        let Some(incoming) = incoming else { return };
        let remote = incoming.remote_address();
        let validated = incoming.remote_address_validated();
        match admission.judge(
            remote.ip(),
            validated,
            under_way.load(Ordering::Relaxed),
            began.elapsed(),
        ) {
            Admit::Handshake => admit(incoming, remote, &under_way, &arrivals),
            Admit::Retry => {
                // Not possible twice; then the token was not valid, and nobody is owed an answer.
                if let Err(error) = incoming.retry() {
                    error.into_incoming().ignore();
                }
            }
            Admit::Ignore => incoming.ignore(),
        }
    }
}

fn admit(
    incoming: quinn::Incoming,
    remote: SocketAddr,
    under_way: &Arc<AtomicUsize>,
    arrivals: &mpsc::Sender<Arrival>,
) {
    // The swarm is behind: the sender tries again by itself.
    let Ok(place) = arrivals.try_reserve() else {
        incoming.ignore();
        return;
    };
    match incoming.accept() {
        Ok(connecting) => {
            let counted = UnderWay::new(under_way);
            let upgrade: Upgrade = Box::pin(async move {
                let result = established(connecting).await;
                drop(counted);
                result
            });
            place.send(Arrival { remote, upgrade });
        }
        Err(error) => tracing::debug!(%remote, %error, "a handshake that cannot begin"),
    }
}
