//! Free ports for a new node, so that a second node on one machine works without thinking.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Ports tried from the usual one on.
const TRIED: u16 = 100;

/// 127.0.0.1 with the first free port from 8080.
#[must_use]
pub fn free_http() -> SocketAddr {
    first_free(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), |address| {
        TcpListener::bind(address).is_ok()
    })
}

/// All addresses with the first port from 4001 that is free for UDP and TCP.
#[must_use]
pub fn free_mesh() -> SocketAddr {
    let free = |address| UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok();
    first_free(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4001)), free)
}

/// Whether this machine can listen on the address; where the system does not tell, the start will.
#[must_use]
pub fn is_own(address: IpAddr) -> bool {
    let tried = UdpSocket::bind((address, 0));
    !tried.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
}

fn first_free(usual: SocketAddr, is_free: impl Fn(SocketAddr) -> bool) -> SocketAddr {
    let candidates = (0..TRIED).map(|step| SocketAddr::new(usual.ip(), usual.port() + step));
    // When none is free the usual one is named, and `run` says clearly that it is taken.
    candidates
        .into_iter()
        .find(|address| is_free(*address))
        .unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_told_from_others() {
        assert!(is_own(IpAddr::V4(Ipv4Addr::LOCALHOST)) && is_own(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        // Kept for documents, and given to no machine.
        assert!(!is_own(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7))));
    }
}
