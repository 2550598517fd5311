//! Two ends of a WebSocket on loopback, and what is counted on them.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, future::poll_fn};
use libp2p::core::{
    Endpoint,
    muxing::{StreamMuxerBox, StreamMuxerExt},
    transport::{Boxed, PortUse},
};

use super::*;
use crate::membership::node_of;

/// Long enough for a busy machine; nothing waits for it when all goes well.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is sent there and back.
const BYTES: usize = 100_000;

type Muxers = Boxed<(PeerId, StreamMuxerBox)>;

fn end(key: &Keypair, meters: &Meters) -> Muxers {
    let transport = WebSocketTransport::new(key, meters.clone()).unwrap();
    transport
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

#[test]
fn addresses_are_those_of_tcp_with_something_above() {
    let tcp: Multiaddr = "/ip4/192.0.2.1/tcp/443".parse().unwrap();
    let websocket: Multiaddr = "/ip4/192.0.2.1/tcp/443/tls/ws".parse().unwrap();
    assert_eq!(above(tcp.clone()), websocket);
    assert_eq!(below(&websocket), Some(tcp.clone()));
    assert_eq!(below(&websocket.with(Part::P2p(PeerId::random()))), Some(tcp.clone()));
    assert_eq!(below(&tcp), None);
    assert_eq!(below(&"/ip4/192.0.2.1/udp/443/quic-v1".parse().unwrap()), None);
}

/// Takes one connection and sends back what comes on its first stream, for as long as it stands.
async fn echo(mut transport: Muxers, listening: tokio::sync::oneshot::Sender<Multiaddr>) {
    let anywhere = "/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap();
    transport.listen_on(ListenerId::next(), anywhere).unwrap();
    let mut listening = Some(listening);
    let upgrade = loop {
        match poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await {
            TransportEvent::NewAddress { listen_addr, .. } => {
                let first = listening.take().map(|listening| listening.send(listen_addr));
                assert!(first.is_none_or(|told| told.is_ok()));
            }
            TransportEvent::Incoming { upgrade, .. } => break upgrade,
            _ => {}
        }
    };
    let (_, mut muxer) = upgrade.await.unwrap();
    let stream = poll_fn(|cx| {
        // A muxer works only while it is polled.
        let _ = muxer.poll_unpin(cx);
        muxer.poll_inbound_unpin(cx)
    });
    let (reader, mut writer) = stream.await.unwrap().split();
    let copied = futures::io::copy(reader, &mut writer);
    let driven = poll_fn(|cx| muxer.poll_unpin(cx));
    futures::future::select(Box::pin(copied), Box::pin(driven)).await;
}

#[tokio::test]
async fn the_bytes_of_a_websocket_are_counted_at_both_ends() {
    let (server, client) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (at_server, at_client) = (Meters::default(), Meters::default());
    let (listening, address) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(echo(end(&server, &at_server), listening));
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::Reuse,
    };
    let mut transport = end(&client, &at_client);
    let dial = transport.dial(address.await.unwrap(), options).unwrap();
    let (peer, mut muxer) = tokio::time::timeout(PATIENCE, dial).await.unwrap().unwrap();
    assert_eq!(peer, server.public().to_peer_id());
    let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
    let talk = async {
        let sent = vec![7; BYTES];
        let mut back = vec![0; BYTES];
        let (mut reader, mut writer) = (&mut stream).split();
        let write = async {
            writer.write_all(&sent).await.unwrap();
            writer.flush().await.unwrap();
        };
        futures::join!(write, async { reader.read_exact(&mut back).await.unwrap() });
        assert_eq!(back, sent);
    };
    let driven = futures::future::select(Box::pin(talk), Box::pin(poll_fn(|cx| muxer.poll_unpin(cx))));
    let done = tokio::time::timeout(PATIENCE, driven)
        .await
        .expect("all comes back in time");
    assert!(
        matches!(done, futures::future::Either::Left(_)),
        "the connection stands"
    );
    drop(done);
    for (meters, other) in [(&at_server, &client), (&at_client, &server)] {
        let other = node_of(&other.public().to_peer_id()).unwrap();
        let metered = meters.read(&other).expect("the connection has a meter");
        assert!(
            metered.sent >= BYTES as u64 && metered.received >= BYTES as u64,
            "{metered:?}"
        );
        assert!(metered.sent < 2 * BYTES as u64, "each byte once: {metered:?}");
        assert_eq!(metered.loss, None, "TCP tells no losses");
    }
    serving.abort();
}
