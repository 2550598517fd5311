//! What every rig of network namespaces is made with.

use std::{
    fs::File,
    io::Write,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::JoinHandle,
};

/// Several rigs of one process have different names.
static RIGS: AtomicU32 = AtomicU32::new(0);

/// A name that no other rig has, of this process or of another that uses another prefix.
pub fn name(prefix: &str) -> String {
    format!(
        "{prefix}{}x{}",
        std::process::id(),
        RIGS.fetch_add(1, Ordering::Relaxed)
    )
}

/// Makes the first namespace of a rig; false, with a word on standard error, where this process may not.
pub fn begin(namespace: &str) -> bool {
    let allowed = run(&["ip", "netns", "add", namespace]).is_ok_and(|output| output.status.success())
        && run(&["nft", "--version"]).is_ok_and(|output| output.status.success());
    if !allowed {
        eprintln!("SKIPPED: network namespaces need root, ip and nft");
    }
    allowed
}

/// Removes namespaces; some may not be there yet when setting up failed.
pub fn remove<'a>(namespaces: impl IntoIterator<Item = &'a String>) {
    for namespace in namespaces {
        let _ = run(&["ip", "netns", "del", namespace]);
    }
}

fn run(words: &[&str]) -> std::io::Result<Output> {
    Command::new(words[0]).args(&words[1..]).output()
}

/// Runs a command that must succeed.
pub fn must(words: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let output = run(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

/// Gives a namespace's nftables rules.
pub fn rules(namespace: &str, rules: &str) {
    let mut nft = Command::new("ip")
        .args(["netns", "exec", namespace, "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{rules}");
}

/// Runs `work` in a thread whose sockets are a namespace's.
pub fn within<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let file = File::open(format!("/var/run/netns/{namespace}")).unwrap();
    std::thread::spawn(move || {
        let network = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), network).unwrap();
        work()
    })
}
