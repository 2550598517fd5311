//! Whether others can reach this node, from how they see it; pure.
//!
//! A node cannot see its own router. What it can do is ask those whom it dials where its packets come from: if that is an address of
//! its own, there is no router between; if two members see different ports, the router gives every connection a port of its own
//! (symmetric), and nobody can guess the next one; if all see the same, both sides can open their routers for each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use keys::NodeId;

use crate::limits::{OBSERVERS_MAX, PUNCH_ADDRESSES_MAX};

/// Whether others can reach this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// Nobody has said yet how it is seen, or only nodes of the same local network.
    #[default]
    Unknown,
    /// It has an address in the public network, declared or seen; a firewall may still be between.
    Public,
    /// Behind a router, seen by one member only: which kind of router cannot be told.
    Router,
    /// Behind a router that shows everybody the same address. Two such nodes are linked directly.
    PortRestricted,
    /// Behind a router that shows everybody another address. It is linked directly with public nodes only, with others through relays.
    Symmetric,
}

impl Reachability {
    /// The word for it between programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Public => "public",
            Self::Router => "router",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
        }
    }
}

/// How others see this node.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    seen: BTreeMap<NodeId, SocketAddr>,
}

impl Observations {
    /// A member that this node dialled says where its packets come from. Says whether that is news.
    pub(crate) fn saw(&mut self, observer: NodeId, address: SocketAddr) -> bool {
        if self.seen.len() >= OBSERVERS_MAX && !self.seen.contains_key(&observer) {
            return false;
        }
        self.seen.insert(observer, address) != Some(address)
    }

    /// A link is gone: what its node saw may be true no more.
    pub(crate) fn forget(&mut self, observer: &NodeId) {
        self.seen.remove(observer);
    }

    /// What follows for a node that listens on `own`; `declared` says that its operator has named a public address.
    pub(crate) fn verdict(&self, own: &[SocketAddr], declared: bool) -> Reachability {
        let translated: Vec<&SocketAddr> = self.seen.values().filter(|seen| !own.contains(seen)).collect();
        let public = self
            .seen
            .values()
            .any(|seen| own.contains(seen) && is_public(seen.ip()));
        let different = |family: fn(&SocketAddr) -> bool| {
            let seen = translated.iter().filter(|seen| family(seen));
            seen.collect::<BTreeSet<_>>().len() > 1
        };
        if declared || (public && translated.is_empty()) {
            Reachability::Public
        } else if different(SocketAddr::is_ipv4) || different(SocketAddr::is_ipv6) {
            Reachability::Symmetric
        } else {
            match translated.len() {
                0 => Reachability::Unknown,
                1 => Reachability::Router,
                _ => Reachability::PortRestricted,
            }
        }
    }

    /// Where others see this node, those addresses first that most of them see.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let mut counts: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for address in self.seen.values() {
            *counts.entry(*address).or_default() += 1;
        }
        let mut addresses: Vec<SocketAddr> = counts.keys().copied().collect();
        addresses.sort_by_key(|address| std::cmp::Reverse(counts[address]));
        addresses.truncate(PUNCH_ADDRESSES_MAX);
        addresses
    }
}

/// Whether an address can be one of the public network: not of a home, a machine, a link, or a provider's inner network.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let carrier_grade = first == 100 && (64..128).contains(&second);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || carrier_grade)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn verdict(seen: &[&str], own: &[&str], declared: bool) -> Reachability {
        let mut observations = Observations::default();
        for (observer, text) in (0..).zip(seen) {
            assert!(observations.saw(NodeId([observer; 32]), address(text)));
        }
        let own: Vec<_> = own.iter().map(|text| address(text)).collect();
        observations.verdict(&own, declared)
    }

    #[test]
    fn what_others_see_tells_the_kind_of_router() {
        let home = ["192.168.7.2:4001", "[fd00::2]:4001"];
        let (one, other) = ("203.0.113.10:4001", "203.0.113.10:4002");
        assert_eq!(verdict(&[], &home, false), Reachability::Unknown);
        assert_eq!(verdict(&[home[0], home[0]], &home, false), Reachability::Unknown);
        assert_eq!(verdict(&[one], &home, false), Reachability::Router);
        assert_eq!(verdict(&[one, home[0]], &home, false), Reachability::Router);
        assert_eq!(verdict(&[one, one], &home, false), Reachability::PortRestricted);
        assert_eq!(verdict(&[one, other], &home, false), Reachability::Symmetric);
        assert_eq!(
            verdict(&[one, "[2001:db8::9]:4001"], &home, false),
            Reachability::PortRestricted
        );
        assert_eq!(verdict(&[one], &[one], false), Reachability::Public);
        assert_eq!(verdict(&[one, other], &[one], false), Reachability::Router);
        assert_eq!(verdict(&[], &home, true), Reachability::Public);
        assert_eq!(
            verdict(&["100.64.1.2:4001"], &["100.64.1.2:4001"], false),
            Reachability::Unknown
        );
    }

    #[test]
    fn observers_are_bounded_and_forgotten_with_their_links() {
        let mut observations = Observations::default();
        let seen = address("203.0.113.10:4001");
        for observer in 0..200 {
            observations.saw(NodeId([observer; 32]), seen);
        }
        assert_eq!(observations.seen.len(), OBSERVERS_MAX);
        observations.saw(NodeId([1; 32]), address("203.0.113.10:5000"));
        assert_eq!(observations.addresses(), [seen, address("203.0.113.10:5000")]);
        observations.forget(&NodeId([1; 32]));
        assert_eq!(observations.addresses(), [seen]);
    }
}
