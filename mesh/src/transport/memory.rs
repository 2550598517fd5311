//! Connections inside one process, for meshes of a thousand nodes that no machine has sockets for: tests and measurements.
//!
//! To everything above they look like QUIC: the same addresses, the same path kind. Below there is libp2p's memory transport, with the noise and
//! yamux of a TCP connection, so that keys are proven and bytes are counted as anywhere else.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
};

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, MemoryTransport, TransportError, TransportEvent},
        upgrade::Version,
    },
    multiaddr::Protocol as Part,
    yamux,
};

use super::{meter::MeteredNoise, quic_address, quic_multiaddress};

type Muxers = Boxed<(PeerId, StreamMuxerBox)>;

/// See the module.
pub(super) struct InMemory(Muxers);

impl InMemory {
    pub(super) fn new(noise: MeteredNoise) -> Self {
        let upgraded = MemoryTransport::default()
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(yamux::Config::default());
        Self(
            upgraded
                .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
                .boxed(),
        )
    }
}

/// The place in memory that stands for an address: its four bytes and its port in one number.
fn below(address: &Multiaddr) -> Option<Multiaddr> {
    let direct: Multiaddr = address.iter().filter(|part| !matches!(part, Part::P2p(_))).collect();
    match quic_address(&direct)? {
        SocketAddr::V4(address) => {
            let number = u64::from(u32::from(*address.ip())) << 16 | u64::from(address.port());
            Some(Part::Memory(number).into())
        }
        SocketAddr::V6(_) => None,
    }
}

/// The address for which a place stands; that of a dialler is made up by the transport, and nobody listens there.
fn above(place: Multiaddr) -> Multiaddr {
    match place.iter().next() {
        Some(Part::Memory(number)) => {
            let ip = Ipv4Addr::from((number >> 16) as u32);
            quic_multiaddress(&SocketAddr::from((ip, number as u16)))
        }
        _ => place,
    }
}

impl Transport for InMemory {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = <Muxers as Transport>::ListenerUpgrade;
    type Dial = <Muxers as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        match below(&address) {
            Some(place) => self.0.listen_on(id, place),
            None => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        match below(&address) {
            Some(place) => self.0.dial(place, options),
            None => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(match event {
            TransportEvent::NewAddress {
                listener_id,
                listen_addr,
            } => TransportEvent::NewAddress {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_its_place_translate_both_ways() {
        let address: SocketAddr = "10.1.2.3:4001".parse().unwrap();
        let multiaddress = quic_multiaddress(&address);
        let place = below(&multiaddress).unwrap();
        assert_eq!(place, Part::Memory(0x0a01_0203_0fa1).into());
        assert_eq!(above(place.clone()), multiaddress);
        assert_eq!(below(&multiaddress.with(Part::P2p(PeerId::random()))), Some(place));
        assert_eq!(below(&"/ip6/::1/udp/4001/quic-v1".parse().unwrap()), None);
        assert_eq!(below(&"/ip4/10.1.2.3/tcp/4001".parse().unwrap()), None);
    }
}
