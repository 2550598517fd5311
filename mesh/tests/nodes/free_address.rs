//! Where a node of a test can listen, also when it is started again later.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

/// Not from the range from which a system gives ports to connections (32768 and above on Linux): any connection of the
/// machine, even one that has ended and is waited for still, could have the port when the node comes back to it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// An address of this machine with nothing on its port, for UDP and TCP. No other caller, in this process or another,
/// is given it before this process ends.
///
/// # Panics
/// When the machine has no free port, or no temporary directory.
#[must_use]
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let leases = std::env::temp_dir().join("starling-test-ports");
    std::fs::create_dir_all(&leases).expect("a directory for leases");
    // Each process begins elsewhere, so that they seldom meet.
    let begin = u16::try_from(std::process::id() * 31 % u32::from(count)).expect("within the range");
    for _ in 0..count {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + (begin + step) % count;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let lease = File::create(leases.join(port.to_string())).expect("a lease");
        if lease.try_lock().is_ok() && UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            // Held to the end of the process.
            std::mem::forget(lease);
            return address;
        }
    }
    panic!("no port from {} to {} is free", PORTS.start, PORTS.end);
}
