//! What a flood of handshakes costs a node once its sender's bucket is empty: the first packet of a real handshake, sent again and
//! again from one address, and the CPU time of everything that the node runs.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{Figure, nodes::Founder, print};

const PACKETS: u32 = 20_000;
/// Enough to empty the bucket first.
const BEFORE: u32 = 2000;

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
    let packet = first_packet();
    let cpu = || {
        let (reply, answer) = oneshot::channel();
        measure.send(reply).unwrap();
        answer.blocking_recv().unwrap()
    };
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    send(&socket, &packet, address, BEFORE);
    let (before, began) = (cpu(), Instant::now());
    send(&socket, &packet, address, PACKETS);
    let (used, took) = (cpu() - before, began.elapsed());
    let idle = {
        let before = cpu();
        std::thread::park_timeout(took);
        cpu() - before
    };
    let each = used.saturating_sub(idle).as_secs_f64() * 1000.0 / f64::from(PACKETS);
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

/// What a node sends first: taken from a node that dials a socket which does not answer.
fn first_packet() -> Vec<u8> {
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = deaf.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let other = Founder::start(crate::nodes::loopback());
        let roster = (*other.running.mesh.roster()).clone();
        let dialler = crate::nodes::start(
            keys::NodeKey::generate(),
            roster,
            crate::nodes::loopback(),
            vec![(other.running.key.id(), address)],
        );
        deaf.set_nonblocking(true).unwrap();
        let deaf = tokio::net::UdpSocket::from_std(deaf).unwrap();
        let mut packet = vec![0; 2048];
        let (length, _) = deaf.recv_from(&mut packet).await.unwrap();
        packet.truncate(length);
        dialler.mesh.stop().await;
        packet
    })
}

/// Paced, so that the socket's buffer loses none: each counts.
fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddr, count: u32) {
    for number in 0..count {
        socket.send_to(packet, to).unwrap();
        if number % 20 == 19 {
            std::thread::park_timeout(Duration::from_millis(2));
        }
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
