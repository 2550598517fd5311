//! A line between two nodes: it carries datagrams so fast, so late and with such losses as it is told, and never out of order. Real sockets
//! on loopback; what the kernel's shapers do in a namespace is done here by two threads for each direction, so that it needs no rights.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::nodes::loopback;

/// Datagrams on the way in one direction: what a line of 100 ms and a gigabit holds.
const ON_THE_WAY_MAX: usize = 16_384;
/// How often a direction looks whether its line is gone.
const LOOK: Duration = Duration::from_millis(100);

/// What a line does to a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Bytes a second; nothing: as fast as they come.
    pub rate: Option<f64>,
    /// Datagrams that would wait longer than this to be sent are dropped.
    pub queue: Duration,
    /// How long each is on its way.
    pub delay: Duration,
    /// The part that gets lost.
    pub loss: f64,
}

/// Heads of Ethernet, IP and UDP, which take up the line, too.
const HEADS: usize = 14 + 20 + 8;

/// A line to one node. The first that comes to `near` is who uses it; others are not heard.
pub struct Wire {
    /// Where the node is reached through it.
    pub near: SocketAddr,
    gone: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    pub fn to(far: SocketAddr, line: Line) -> Self {
        let (near, away) = (bound(), bound());
        away.connect(far).unwrap();
        let address = near.local_addr().unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let user: Arc<OnceLock<SocketAddr>> = Arc::default();
        let mut threads = Vec::new();
        for up in [true, false] {
            let (from, to) = if up { (&near, &away) } else { (&away, &near) };
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (enter, leave) = sync_channel(ON_THE_WAY_MAX);
            let (user_here, gone_here) = (user.clone(), gone.clone());
            threads.push(std::thread::spawn(move || {
                take(&from, (&enter, &gone_here), line, |source| {
                    !up || *user_here.get_or_init(|| source) == source
                });
            }));
            let user = user.clone();
            threads.push(std::thread::spawn(move || give(&to, leave, (!up).then_some(user))));
        }
        Self {
            near: address,
            gone,
            threads,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn bound() -> UdpSocket {
    let socket = UdpSocket::bind((loopback(), 0)).unwrap();
    socket.set_read_timeout(Some(LOOK)).unwrap();
    // As much as the system allows: a burst must not get lost before the line.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(8 * 1024 * 1024);
    socket
}

type OnTheWay = (Instant, Vec<u8>);

/// Takes datagrams in and says of each when it arrives.
fn take(
    socket: &UdpSocket,
    (enter, gone): (&SyncSender<OnTheWay>, &AtomicBool),
    line: Line,
    mut may: impl FnMut(SocketAddr) -> bool,
) {
    let mut datagram = vec![0; 65_536];
    let mut free_at = Instant::now();
    let mut lot = 0x9e37_79b9_7f4a_7c15_u64;
    while !gone.load(Ordering::Relaxed) {
        let Ok((length, source)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        // Xorshift: good enough to lose every two hundredth.
        lot ^= lot << 13;
        lot ^= lot >> 7;
        lot ^= lot << 17;
        let is_lost = ((lot >> 11) as f64 / (1_u64 << 53) as f64) < line.loss;
        let now = Instant::now();
        let begins = free_at.max(now);
        if is_lost || begins - now > line.queue || !may(source) {
            continue;
        }
        let takes = line.rate.map_or(0.0, |rate| (length + HEADS) as f64 / rate);
        free_at = begins + Duration::from_secs_f64(takes);
        // A full line loses it.
        let _ = enter.try_send((free_at + line.delay, datagram[..length].to_vec()));
    }
}

/// Gives datagrams out when they arrive.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own that keeps time, outside of any runtime"
)]
fn give(socket: &UdpSocket, leave: Receiver<OnTheWay>, user: Option<Arc<OnceLock<SocketAddr>>>) {
    for (at, datagram) in leave {
        let early = at.saturating_duration_since(Instant::now());
        // A sleep is not shorter than this; then they go in small bunches.
        if early > Duration::from_micros(50) {
            std::thread::sleep(early);
        }
        // Whoever is gone misses nothing.
        let _ = match &user {
            None => socket.send(&datagram),
            Some(user) => match user.get() {
                Some(user) => socket.send_to(&datagram, user),
                None => Ok(0),
            },
        };
    }
}
