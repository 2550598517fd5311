//! Where a node of a test can listen.

use std::net::{SocketAddr, TcpListener, UdpSocket};

/// An address of this machine with nothing on its port, for UDP and TCP.
pub fn free_address() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
