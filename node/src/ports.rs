//! Free ports for a new node, so that a second node on one machine works without thinking.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Ports tried from the usual one on.
const TRIED: u16 = 100;

/// 127.0.0.1 with the first free port from 8080.
#[must_use]
pub fn free_http() -> SocketAddr {
    first_free(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), false)
}

/// All addresses with the first port from 4001 that is free for UDP and TCP.
#[must_use]
pub fn free_mesh() -> SocketAddr {
    first_free(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4001)), true)
}

/// Whether this machine can listen on the address; where the system does not tell, the start will.
#[must_use]
pub fn is_own(address: IpAddr) -> bool {
    let tried = UdpSocket::bind((address, 0));
    !tried.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
}

/// Why nothing can listen on an address now, in words: with TCP, and with UDP where `udp` says so. Nothing when it can.
#[must_use]
pub fn why_not(address: SocketAddr, udp: bool) -> Option<String> {
    let tcp = TcpListener::bind(address).map(drop).map_err(|error| ("TCP", error));
    let both = tcp.and_then(|()| match udp {
        true => UdpSocket::bind(address).map(drop).map_err(|error| ("UDP", error)),
        false => Ok(()),
    });
    let (protocol, error) = both.err()?;
    Some(match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("{protocol} port {} is in use by another program", address.port()),
        std::io::ErrorKind::AddrNotAvailable => format!("this machine has no address {}", address.ip()),
        _ => format!("{protocol} on {address}: {error}"),
    })
}

fn first_free(usual: SocketAddr, udp: bool) -> SocketAddr {
    let candidates = (0..TRIED).map(|step| SocketAddr::new(usual.ip(), usual.port() + step));
    // When none is free the usual one is named, and `run` says clearly that it is taken.
    candidates
        .into_iter()
        .find(|address| why_not(*address, udp).is_none())
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

    #[test]
    fn why_nothing_can_listen_is_said_by_its_cause() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = taken.local_addr().unwrap();
        assert!(why_not(here, true).unwrap().contains("in use by another program"));
        drop(taken);
        let talking = UdpSocket::bind(here).unwrap();
        assert!(why_not(here, true).unwrap().starts_with("UDP port"));
        assert_eq!(why_not(here, false), None);
        drop(talking);
        assert_eq!(why_not(here, true), None);
        let elsewhere = SocketAddr::from((Ipv4Addr::new(203, 0, 113, 7), 4001));
        assert!(why_not(elsewhere, true).unwrap().contains("no address 203.0.113.7"));
    }
}
