//! Our QUIC transport against stock libp2p-quic, through routers that change their address, and through two routers at once.

use std::{sync::Mutex, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, future::poll_fn};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::Boxed;
use tokio::{net::UdpSocket as AsyncUdpSocket, sync::mpsc};

use super::*;
use crate::limits::QUIC_STREAMS_MAX;

type Muxers = Boxed<(PeerId, StreamMuxerBox)>;

/// Long enough for a busy machine; nothing waits for it when all goes well.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a stream of stock libp2p is watched after its peer has moved; ours goes on within one round trip.
const STALL: Duration = Duration::from_secs(2);

fn ours(key: &Keypair) -> Muxers {
    let transport = QuicTransport::new(key, Congestion::default()).unwrap();
    transport
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

fn stock(key: &Keypair) -> Muxers {
    let transport = libp2p::quic::tokio::Transport::new(libp2p::quic::Config::new(key));
    transport
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

async fn next_event(transport: &mut Muxers) -> TransportEvent<<Muxers as Transport>::ListenerUpgrade, io::Error> {
    let event = poll_fn(|cx| Pin::new(&mut *transport).poll(cx));
    tokio::time::timeout(PATIENCE, event).await.expect("an event in time")
}

/// Listens on the loopback address and says where.
async fn listen(transport: &mut Muxers) -> Multiaddr {
    let anywhere = "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap();
    transport.listen_on(ListenerId::next(), anywhere).unwrap();
    match next_event(transport).await {
        TransportEvent::NewAddress { listen_addr, .. } => listen_addr,
        _ => panic!("the address comes first"),
    }
}

/// Takes connections and echoes every stream; tells who came.
fn serve(mut transport: Muxers) -> mpsc::Receiver<PeerId> {
    let (came, peers) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let event = poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await;
            if let TransportEvent::Incoming { upgrade, .. } = event {
                let came = came.clone();
                tokio::spawn(async move {
                    let Ok((peer, muxer)) = upgrade.await else { return };
                    came.send(peer).await.ok();
                    echo(muxer).await;
                });
            }
        }
    });
    peers
}

async fn echo(mut muxer: StreamMuxerBox) {
    loop {
        let accepted = poll_fn(|cx| {
            // A muxer works only while it is polled.
            let _ = muxer.poll_unpin(cx);
            muxer.poll_inbound_unpin(cx)
        });
        let Ok(stream) = accepted.await else { return };
        tokio::spawn(async move {
            let (reader, mut writer) = stream.split();
            futures::io::copy(reader, &mut writer).await.ok();
            writer.close().await.ok();
        });
    }
}

async fn connect(transport: &mut Muxers, address: Multiaddr) -> (PeerId, StreamMuxerBox) {
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::Reuse,
    };
    let dial = transport.dial(address, options).unwrap();
    let dialled = tokio::time::timeout(PATIENCE, dial).await.expect("connected in time");
    dialled.unwrap()
}

async fn open(muxer: &mut StreamMuxerBox) -> SubstreamBox {
    poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap()
}

/// Sends a word and waits for its echo; whether it came within `patience`.
async fn is_echoed(stream: &mut SubstreamBox, word: [u8; 4], patience: Duration) -> bool {
    let talk = async {
        stream.write_all(&word).await.unwrap();
        stream.flush().await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, word);
    };
    tokio::time::timeout(patience, talk).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_libp2p_and_ours_connect_both_ways() {
    type Make = fn(&Keypair) -> Muxers;
    let pairs: [(Make, Make); 3] = [(ours, stock), (stock, ours), (ours, ours)];
    for (server, client) in pairs {
        let (server_key, client_key) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let mut listening = server(&server_key);
        let address = listen(&mut listening).await;
        let mut came = serve(listening);
        let mut dialling = client(&client_key);
        let (peer, mut muxer) = connect(&mut dialling, address).await;
        assert_eq!(peer, server_key.public().to_peer_id());
        assert_eq!(came.recv().await, Some(client_key.public().to_peer_id()));
        let mut stream = open(&mut muxer).await;
        assert!(is_echoed(&mut stream, *b"word", PATIENCE).await);
        // Closing our direction ends theirs, and closing twice is as good as once.
        stream.close().await.unwrap();
        stream.close().await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        poll_fn(|cx| muxer.poll_close_unpin(cx)).await.unwrap();
    }
}

/// A connection begins with few places for streams, and has as many as it may when they are used.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_streams_as_allowed_are_open_at_once_and_the_next_waits_for_a_place() {
    let mut listening = ours(&Keypair::generate_ed25519());
    let address = listen(&mut listening).await;
    let _came = serve(listening);
    let mut dialling = ours(&Keypair::generate_ed25519());
    let (_, mut muxer) = connect(&mut dialling, address).await;
    let mut held = Vec::new();
    for number in 0..QUIC_STREAMS_MAX {
        let opened = tokio::time::timeout(PATIENCE, open(&mut muxer)).await;
        let mut stream = opened.unwrap_or_else(|_| panic!("stream {number} finds a place"));
        assert!(is_echoed(&mut stream, number.to_be_bytes(), PATIENCE).await);
        held.push(stream);
    }
    assert!(futures::poll!(std::pin::pin!(open(&mut muxer))).is_pending());
    // QUIC tells of new places when an eighth of them has become free.
    for mut stream in held.drain(..QUIC_STREAMS_MAX as usize / 4) {
        stream.close().await.unwrap();
    }
    let opened = tokio::time::timeout(PATIENCE, open(&mut muxer)).await;
    assert!(is_echoed(&mut opened.unwrap(), *b"next", PATIENCE).await);
}

/// A home router: what comes in is sent on from an outside port, which changes when it is told to.
struct Router {
    inside: SocketAddr,
    outside: Arc<Mutex<Arc<AsyncUdpSocket>>>,
    inner: Arc<AsyncUdpSocket>,
    home: Arc<Mutex<Option<SocketAddr>>>,
    server: SocketAddr,
}

impl Router {
    async fn new(server: SocketAddr) -> Self {
        let inner = Arc::new(AsyncUdpSocket::bind("127.0.0.1:0").await.unwrap());
        let first = Arc::new(AsyncUdpSocket::bind("127.0.0.1:0").await.unwrap());
        let router = Self {
            inside: inner.local_addr().unwrap(),
            outside: Arc::new(Mutex::new(first.clone())),
            inner,
            home: Arc::default(),
            server,
        };
        router.carry_in(first);
        let (inner, outside, home) = (router.inner.clone(), router.outside.clone(), router.home.clone());
        tokio::spawn(async move {
            let mut packet = [0; 2048];
            while let Ok((length, from)) = inner.recv_from(&mut packet).await {
                *home.lock().unwrap() = Some(from);
                let socket = outside.lock().unwrap().clone();
                socket.send_to(&packet[..length], server).await.ok();
            }
        });
        router
    }

    fn carry_in(&self, socket: Arc<AsyncUdpSocket>) {
        let (inner, home, outside) = (self.inner.clone(), self.home.clone(), self.outside.clone());
        tokio::spawn(async move {
            let mut packet = [0; 2048];
            while let Ok((length, _)) = socket.recv_from(&mut packet).await {
                // The old port leads nowhere any more.
                let is_current = Arc::ptr_eq(&socket, &outside.lock().unwrap());
                let home = *home.lock().unwrap();
                if let Some(home) = home.filter(|_| is_current) {
                    inner.send_to(&packet[..length], home).await.ok();
                }
            }
        });
    }

    async fn change_address(&self) {
        let next = Arc::new(AsyncUdpSocket::bind("127.0.0.1:0").await.unwrap());
        *self.outside.lock().unwrap() = next.clone();
        self.carry_in(next);
        assert_ne!(self.inside, self.server);
    }
}

async fn streams_after_a_move(server: fn(&Keypair) -> Muxers, patience: Duration) -> bool {
    let mut listening = server(&Keypair::generate_ed25519());
    let address = listen(&mut listening).await;
    let _came = serve(listening);
    let router = Router::new(quic_address(&address).unwrap()).await;
    let mut home = ours(&Keypair::generate_ed25519());
    let (_, mut muxer) = connect(&mut home, super::super::quic_multiaddress(&router.inside)).await;
    let mut stream = open(&mut muxer).await;
    assert!(is_echoed(&mut stream, *b"here", PATIENCE).await);
    router.change_address().await;
    is_echoed(&mut stream, *b"gone", patience).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_when_the_home_address_changes() {
    assert!(streams_after_a_move(ours, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_the_stock_transport_loses_the_stream_when_the_address_changes() {
    assert!(!streams_after_a_move(stock, STALL).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_dial_at_once_get_one_connection() {
    let (left_key, right_key) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (mut left, mut right) = (ours(&left_key), ours(&right_key));
    let (left_address, right_address) = (listen(&mut left).await, listen(&mut right).await);
    let as_server = DialOpts {
        role: Endpoint::Listener,
        port_use: PortUse::New,
    };
    let waits = right.dial(left_address.clone(), as_server).unwrap();
    assert!(
        right.dial(left_address, as_server).is_err(),
        "one at a time for an address"
    );
    let (waited, (peer, _muxer)) = tokio::join!(
        async {
            tokio::select! {
                waited = waits => waited.unwrap().0,
                _ = async { loop { next_event(&mut right).await; } } => unreachable!("events go on for ever"),
            }
        },
        connect(&mut left, right_address),
    );
    assert_eq!(waited, left_key.public().to_peer_id());
    assert_eq!(peer, right_key.public().to_peer_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_no_quic_are_left_to_other_transports_and_a_taken_port_is_an_error() {
    let mut transport = ours(&Keypair::generate_ed25519());
    for text in [
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/0.0.0.0/udp/4001/quic-v1",
        "/ip4/127.0.0.1/udp/0/quic-v1",
    ] {
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        };
        let refused = transport.dial(text.parse().unwrap(), options);
        assert!(
            matches!(refused, Err(TransportError::MultiaddrNotSupported(_))),
            "{text}"
        );
    }
    let address = listen(&mut transport).await;
    let mut other = ours(&Keypair::generate_ed25519());
    let taken = other.listen_on(ListenerId::next(), address);
    assert!(matches!(taken, Err(TransportError::Other(_))), "{taken:?}");
}
