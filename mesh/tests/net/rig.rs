//! A server, a home and the home's router, each in a network namespace of its own.
//!
//! ```text
//! home 192.168.7.2 -- 192.168.7.1 router 203.0.113.10 (changes) -- 203.0.113.1 server
//! ```
//!
//! The router masquerades. Taking its outside address away makes it forget every mapping, as a router does when its line comes back
//! with another address.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::JoinHandle,
};

/// Where the server listens.
pub const SERVER: &str = "203.0.113.1:4001";

/// Several rigs of one process have different names.
static RIGS: AtomicU32 = AtomicU32::new(0);

/// The namespaces; they go with it, also when a test fails.
pub struct Rig {
    server: String,
    router: String,
    home: String,
    outside: String,
    /// The last number of the router's address.
    address: u8,
}

fn run(words: &[&str]) -> std::io::Result<Output> {
    Command::new(words[0]).args(&words[1..]).output()
}

fn must(words: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let output = run(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

impl Rig {
    /// Makes the namespaces; `None`, with a word on standard error, where this process may not.
    pub fn new() -> Option<Self> {
        let name = format!("st{}x{}", std::process::id(), RIGS.fetch_add(1, Ordering::Relaxed));
        let rig = Self {
            server: format!("{name}s"),
            router: format!("{name}r"),
            home: format!("{name}h"),
            outside: format!("{name}o"),
            address: 10,
        };
        let allowed = run(&["ip", "netns", "add", &rig.server]).is_ok_and(|output| output.status.success())
            && run(&["nft", "--version"]).is_ok_and(|output| output.status.success());
        if !allowed {
            eprintln!("SKIPPED: network namespaces need root, ip and nft");
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
        self.rules(&format!(
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
        ));
    }

    fn rules(&self, rules: &str) {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.router, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "{rules}");
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
        self.rules(&format!("add rule ip guard forward {what} drop"));
    }

    /// The router lets everything through again.
    pub fn unblock(&self) {
        self.rules("flush chain ip guard forward");
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
        for namespace in [&self.server, &self.router, &self.home] {
            // Some may not be there yet when setting up failed.
            let _ = run(&["ip", "netns", "del", namespace]);
        }
    }
}

fn within<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let file = File::open(format!("/var/run/netns/{namespace}")).unwrap();
    std::thread::spawn(move || {
        let network = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), network).unwrap();
        work()
    })
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
