//! Two homes behind a router each, and public nodes, in network namespaces.
//!
//! ```text
//! home 0 192.168.7.2 -- router 203.0.113.10 --+
//!                                             +-- bridge with the public nodes 203.0.113.1, .2, .3
//! home 1 192.168.8.2 -- router 203.0.113.20 --+
//! ```
//!
//! An open home has an address of the public network (198.51.100.x) behind a router that only forwards.

use std::thread::JoinHandle;

use super::namespaces::{begin, must, name, remove, rules, within};

/// What a home's router does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// It only forwards.
    Open,
    /// Whatever comes to its address from anywhere goes to the home.
    FullCone,
    /// Everybody sees the same port, and only those are let in to whom the home has sent something.
    PortRestricted,
    /// Everybody sees another port.
    Symmetric,
}

/// What the routers let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// UDP and TCP.
    Everything,
    /// No TCP, so that what the router does to UDP is all there is.
    Udp,
}

/// The namespaces; they go with it, also when a test fails.
pub struct Rig {
    bridge: String,
    routers: [String; 2],
    homes: [String; 2],
}

/// The router's address in the public network.
pub fn outside(home: usize) -> String {
    format!("203.0.113.{}", 10 * (home + 1))
}

fn inside(home: usize, nat: Nat) -> String {
    match nat {
        Nat::Open => format!("198.51.{}", 100 + home),
        _ => format!("192.168.{}", 7 + home),
    }
}

impl Rig {
    /// Makes the namespaces; `None`, with a word on standard error, where this process may not.
    pub fn new(nats: [Nat; 2], passes: Passes) -> Option<Self> {
        let name = name("sn");
        let rig = Self {
            bridge: format!("{name}n"),
            routers: [format!("{name}q"), format!("{name}r")],
            homes: [format!("{name}h"), format!("{name}i")],
        };
        if !begin(&rig.bridge) {
            return None;
        }
        let bridge = &rig.bridge;
        must(&format!("ip -n {bridge} link add name public type bridge"));
        for number in 1..=3 {
            must(&format!("ip -n {bridge} addr add 203.0.113.{number}/24 dev public"));
        }
        must(&format!("ip -n {bridge} link set public up"));
        must(&format!("ip -n {bridge} link set lo up"));
        for (home, nat) in nats.into_iter().enumerate() {
            rig.wire(&name, home, nat);
            rig.let_through(home, passes);
        }
        for (home, nat) in nats.into_iter().enumerate().filter(|(_, nat)| *nat == Nat::Open) {
            let way = format!("route add {}.0/24 via {}", inside(home, nat), outside(home));
            must(&format!("ip -n {bridge} {way}"));
            must(&format!("ip -n {} {way}", rig.routers[1 - home]));
        }
        Some(rig)
    }

    fn wire(&self, name: &str, number: usize, nat: Nat) {
        let (bridge, router, home) = (&self.bridge, &self.routers[number], &self.homes[number]);
        let (inside, outside) = (inside(number, nat), outside(number));
        for command in [
            format!("ip netns add {router}"),
            format!("ip netns add {home}"),
            format!("ip link add {name}p{number} netns {bridge} type veth peer name out netns {router}"),
            format!("ip link add {name}b{number} netns {home} type veth peer name in netns {router}"),
            format!("ip -n {bridge} link set {name}p{number} master public"),
            format!("ip -n {bridge} link set {name}p{number} up"),
            format!("ip -n {router} addr add {outside}/24 dev out"),
            format!("ip -n {router} addr add {inside}.1/24 dev in"),
            format!("ip -n {home} addr add {inside}.2/24 dev {name}b{number}"),
            format!("ip -n {router} link set out up"),
            format!("ip -n {router} link set in up"),
            format!("ip -n {home} link set {name}b{number} up"),
            format!("ip -n {home} link set lo up"),
            format!("ip -n {home} route add default via {inside}.1"),
            format!("ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1"),
        ] {
            must(&command);
        }
        let masquerade = match nat {
            Nat::Open => "",
            Nat::FullCone | Nat::PortRestricted => "oifname \"out\" masquerade",
            Nat::Symmetric => "oifname \"out\" masquerade fully-random",
        };
        let let_in = match nat {
            Nat::FullCone => format!("iifname \"out\" meta l4proto {{ tcp, udp }} dnat to {inside}.2"),
            _ => String::new(),
        };
        // What was not asked for never becomes a connection that the router remembers: it would take the home's port away.
        rules(
            router,
            &format!(
                "table ip nat {{
                    chain pre {{
                        type nat hook prerouting priority -100
                        {let_in}
                    }}
                    chain post {{
                        type nat hook postrouting priority 100
                        {masquerade}
                    }}
                }}
                table ip guard {{
                    chain input {{
                        type filter hook input priority 0
                        iifname \"out\" ct state new drop
                    }}
                    chain forward {{
                        type filter hook forward priority 0
                    }}
                    chain udp_only {{
                        type filter hook forward priority 1
                        meta l4proto tcp drop
                    }}
                }}
                "
            ),
        );
    }

    fn let_through(&self, home: usize, passes: Passes) {
        let dropped = match passes {
            Passes::Everything => return,
            Passes::Udp => "tcp",
        };
        rules(
            &self.routers[home],
            &format!(
                "table ip kinds {{
                    chain forward {{
                        type filter hook forward priority 1
                        meta l4proto {dropped} drop
                    }}
                }}
                "
            ),
        );
    }

    /// The first home's router lets nothing through to the other's and back.
    pub fn part_homes(&self) {
        let other = outside(1);
        for way in ["saddr", "daddr"] {
            rules(
                &self.routers[0],
                &format!("add rule ip guard forward ip {way} {other} drop"),
            );
        }
    }

    /// The first home's router lets nothing through to the public nodes and back.
    pub fn part_from_public(&self) {
        for way in ["saddr", "daddr"] {
            let public = "203.0.113.1-203.0.113.3";
            rules(
                &self.routers[0],
                &format!("add rule ip guard forward ip {way} {public} drop"),
            );
        }
    }

    /// It lets everything through again.
    pub fn join(&self) {
        rules(&self.routers[0], "flush chain ip guard forward");
    }

    /// Runs `work` in a thread whose sockets are those of the public nodes.
    pub fn in_public<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        within(&self.bridge, work)
    }

    /// Runs `work` in a thread whose sockets are a home's.
    pub fn at_home<T: Send + 'static>(&self, home: usize, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        within(&self.homes[home], work)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        remove(self.homes.iter().chain(&self.routers).chain([&self.bridge]));
    }
}
