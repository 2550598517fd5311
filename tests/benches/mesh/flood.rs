//! What a flood of handshakes costs a node once its sender's bucket is empty: the first packets of real handshakes, each of another
//! connection, from one address, and the CPU time of everything that the node runs.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{Figure, nodes::Founder, print};

const PACKETS: usize = 3000;
/// Enough to empty the bucket first.
const BEFORE: usize = 500;

pub fn run() {
    let Some(ip) = own_address() else {
        eprintln!("bench mesh flood: skipped, this machine has no address but the loopback's, which is not limited");
        return;
    };
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let (measure, measures) = std::sync::mpsc::channel::<oneshot::Sender<Duration>>();
    // One thread with all of the node in it, so that its CPU time is the node's.
    let node = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let founder = Founder::start(ip);
            ready.send(founder.running.address).unwrap();
            let mut look = tokio::time::interval(Duration::from_millis(1));
            tokio::pin!(stopped);
            loop {
                tokio::select! {
                    _ = look.tick() => while let Ok(reply) = measures.try_recv() {
                        reply.send(own_cpu()).unwrap();
                    },
                    _ = &mut stopped => return,
                }
            }
        });
    });
    let address = is_ready.recv().unwrap();
    let packets = first_packets(BEFORE + PACKETS);
    if packets.is_empty() {
        eprintln!("bench mesh flood: skipped, it needs the feature `rivals`, as `./x bench mesh` sets it");
        return;
    }
    let cpu = || {
        let (reply, answer) = oneshot::channel();
        measure.send(reply).unwrap();
        answer.blocking_recv().unwrap()
    };
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    send(&socket, &packets[..BEFORE], address);
    // The handshakes that were let in end by themselves; they are not what is measured.
    std::thread::park_timeout(Duration::from_secs(7));
    send(&socket, &packets[..BEFORE], address);
    let (before, began) = (cpu(), Instant::now());
    send(&socket, &packets[BEFORE..], address);
    let (used, took) = (cpu() - before, began.elapsed());
    let idle = {
        let before = cpu();
        std::thread::park_timeout(took);
        cpu() - before
    };
    let each = used.saturating_sub(idle).as_secs_f64() * 1000.0 / PACKETS as f64;
    eprintln!("{PACKETS} packets in {took:?}; CPU {used:?}, {idle:?} of it would have been used idle");
    print(&Figure {
        name: "CPU of a refused handshake packet, bucket empty",
        value: each,
        unit: "ms",
        goal: Some(0.05),
        rival: Some(("a whole refused handshake, from the notes", 0.56)),
    });
    stop.send(()).unwrap();
    node.join().unwrap();
}

/// An address of this machine that is not the loopback's.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only asks which address would be used.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[cfg(not(feature = "rivals"))]
fn first_packets(_: usize) -> Vec<Vec<u8>> {
    Vec::new()
}

/// What dialling nodes send first, each with another connection id: taken from dials to a socket that does not answer.
#[cfg(feature = "rivals")]
fn first_packets(count: usize) -> Vec<Vec<u8>> {
    use std::{collections::BTreeMap, sync::Arc};

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let deaf = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = deaf.local_addr().unwrap();
        let mut roots = quinn::rustls::RootCertStore::empty();
        let any = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        roots.add(any.cert.into()).unwrap();
        let client = quinn::ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(client);
        let mut first = BTreeMap::new();
        let mut packet = [0; 2048];
        while first.len() < count {
            let dial = endpoint.connect(address, "localhost").unwrap();
            let before = first.len();
            while first.len() == before {
                let (length, _) = deaf.recv_from(&mut packet).await.unwrap();
                // A long header of the type Initial; behind version and length stands the connection's id.
                if packet[0] & 0xf0 == 0xc0 {
                    let id = packet[6..6 + usize::from(packet[5])].to_vec();
                    first.entry(id).or_insert_with(|| packet[..length].to_vec());
                }
            }
            drop(dial);
        }
        first.into_values().collect()
    })
}

/// Paced, so that the socket's buffer loses none: each counts.
fn send(socket: &UdpSocket, packets: &[Vec<u8>], to: SocketAddr) {
    for some in packets.chunks(20) {
        for packet in some {
            socket.send_to(packet, to).unwrap();
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// CPU time of this thread.
fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
