//! A server, a home and the home's router, each in a network namespace of its own.
//!
//! ```text
//! home 192.168.7.2 -- 192.168.7.1 router 203.0.113.10 (changes) -- 203.0.113.1 server
//! ```
//!
//! The router masquerades. Taking its outside address away makes it forget every mapping, as a router does when its line comes back
//! with another address.

use std::{net::SocketAddr, thread::JoinHandle};

use super::namespaces::{begin, must, name, remove, rules, within};

/// Where the server listens.
pub const SERVER: &str = "203.0.113.1:4001";

/// The namespaces; they go with it, also when a test fails.
pub struct Rig {
    server: String,
    router: String,
    home: String,
    outside: String,
    /// The last number of the router's address.
    address: u8,
}

impl Rig {
    /// Makes the namespaces; `None`, with a word on standard error, where this process may not.
    pub fn new() -> Option<Self> {
        let name = name("st");
        let rig = Self {
            server: format!("{name}s"),
            router: format!("{name}r"),
            home: format!("{name}h"),
            outside: format!("{name}o"),
            address: 10,
        };
        if !begin(&rig.server) {
            return None;
        }
        rig.wire(&name);
        Some(rig)
    }

    fn wire(&self, name: &str) {
        let Self {
            server,
            router,
            home,
            outside,
            ..
        } = self;
        for command in [
            format!("ip netns add {router}"),
            format!("ip netns add {home}"),
            format!("ip link add {name}a netns {server} type veth peer name {outside} netns {router}"),
            format!("ip link add {name}b netns {home} type veth peer name {name}i netns {router}"),
            format!("ip -n {server} addr add 203.0.113.1/24 dev {name}a"),
            format!("ip -n {router} addr add 203.0.113.10/24 dev {outside}"),
            format!("ip -n {router} addr add 192.168.7.1/24 dev {name}i"),
            format!("ip -n {home} addr add 192.168.7.2/24 dev {name}b"),
            format!("ip -n {server} link set {name}a up"),
            format!("ip -n {router} link set {outside} up"),
            format!("ip -n {router} link set {name}i up"),
            format!("ip -n {home} link set {name}b up"),
            format!("ip -n {home} link set lo up"),
            format!("ip -n {server} link set lo up"),
            format!("ip -n {home} route add default via 192.168.7.1"),
            format!("ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1"),
            // The second address takes over when the first goes.
            format!("ip netns exec {router} sysctl -qw net.ipv4.conf.all.promote_secondaries=1"),
            format!("ip netns exec {router} sysctl -qw net.ipv4.conf.{outside}.promote_secondaries=1"),
        ] {
            must(&command);
        }
        rules(
            router,
            &format!(
                "table ip nat {{
                chain post {{
                    type nat hook postrouting priority 100
                    oifname \"{outside}\" masquerade
                }}
            }}
            table ip guard {{
                chain forward {{
                    type filter hook forward priority 0
                }}
            }}
            "
            ),
        );
    }

    /// The router's line comes back with another address.
    pub fn change_address(&mut self) {
        let (old, new) = (self.address, if self.address == 10 { 11 } else { 10 });
        let (router, outside) = (&self.router, &self.outside);
        must(&format!("ip -n {router} addr add 203.0.113.{new}/24 dev {outside}"));
        must(&format!("ip -n {router} addr del 203.0.113.{old}/24 dev {outside}"));
        self.address = new;
    }

    /// The router drops what matches; for example `meta l4proto udp`.
    pub fn block(&self, what: &str) {
        rules(&self.router, &format!("add rule ip guard forward {what} drop"));
    }

    /// The router lets everything through again.
    pub fn unblock(&self) {
        rules(&self.router, "flush chain ip guard forward");
    }

    /// Runs `work` in a thread whose sockets are the server's.
    pub fn at_server<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        within(&self.server, work)
    }

    /// Runs `work` in a thread whose sockets are the router's, which is on the home's local network.
    pub fn at_router<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        within(&self.router, work)
    }

    /// Runs `work` in a thread whose sockets are the home's.
    pub fn at_home<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        within(&self.home, work)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        remove([&self.server, &self.router, &self.home]);
    }
}

/// The router's address on the home's local network.
pub fn router_address() -> SocketAddr {
    "192.168.7.1:4001".parse().unwrap()
}

/// The server's address.
pub fn server_address() -> SocketAddr {
    SERVER.parse().unwrap()
}

/// Where the server takes WebSockets.
pub fn websocket_address() -> SocketAddr {
    "203.0.113.1:443".parse().unwrap()
}
