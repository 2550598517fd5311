//! How fast a message is everywhere, what it costs each node, and what a linked member costs memory: real nodes of one mesh in this
//! process, over loopback, each linked with every other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    membership::{Certificate, Roster},
};
use mesh::Verdict;
use tokio::sync::mpsc;

use crate::{
    Figure,
    nodes::{Running, linked, loopback, runtime, start},
    print, quantile,
};

/// Fewer with `STARLING_BENCH_NODES`, where a machine has no room for ten thousand connections; the figure says how many.
const NODES: usize = 100;
const MESSAGES: u64 = 60;
const MESSAGE_BYTES: usize = 200;
/// Between two messages, so that each is alone on its way.
const PAUSE: Duration = Duration::from_millis(100);
/// A message that is not everywhere by then has got lost: the bench stops.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run() {
    let nodes = std::env::var("STARLING_BENCH_NODES")
        .ok()
        .and_then(|text| text.parse().ok());
    runtime().block_on(measure(nodes.unwrap_or(NODES)));
}

async fn measure(count: usize) {
    let before = resident_kib();
    let mut nodes = linked_nodes(count).await;
    let ends = count * (count - 1);
    let grown = resident_kib().saturating_sub(before);
    print(&Figure {
        name: &format!("memory for a linked member, {count} nodes each linked with every other, node included"),
        value: grown as f64 / ends as f64,
        unit: "KiB",
        goal: Some(150.0),
        rival: None,
    });
    let (mut arrivals, handed) = listen(&mut nodes);
    // The gossip meshes are grafted with the first heartbeats.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = spent_over(PAUSE * MESSAGES as u32).await;
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut lasts = Vec::new();
    for number in 0..MESSAGES {
        let mut content = vec![0; MESSAGE_BYTES];
        content[..8].copy_from_slice(&number.to_le_bytes());
        content[8..40].copy_from_slice(&random_bytes::<32>());
        let sent = Instant::now();
        nodes[number as usize % count].mesh.publish(content).await;
        let everywhere = async {
            let mut last = sent;
            for _ in 1..count {
                let (_, at) = arrivals.recv().await.unwrap();
                last = last.max(at);
            }
            last
        };
        let last = tokio::time::timeout(PATIENCE, everywhere)
            .await
            .expect("it comes everywhere");
        lasts.push((last - sent).as_secs_f64() * 1000.0);
        tokio::time::sleep(PAUSE).await;
    }
    let busy = cpu_seconds() - cpu - idle * began.elapsed().as_secs_f64() / (PAUSE * MESSAGES as u32).as_secs_f64();
    eprintln!(
        "{} messages handed over; {idle:.2} core-seconds without any",
        handed.load(Ordering::Relaxed)
    );
    print(&Figure {
        name: &format!("gossip until the last of {count} nodes has it, p50"),
        value: quantile(&mut lasts, 0.5),
        unit: "ms",
        goal: Some(40.0),
        rival: None,
    });
    print(&Figure {
        name: &format!("gossip of {MESSAGE_BYTES} bytes, CPU for a message on each of {count} nodes"),
        value: busy.max(0.0) * 1000.0 / (MESSAGES as usize * count) as f64,
        unit: "ms",
        goal: Some(0.25),
        rival: None,
    });
}

/// Every node judges what comes and says when it came.
fn listen(nodes: &mut [Running]) -> (mpsc::Receiver<(u64, Instant)>, Arc<AtomicU64>) {
    let (arrived, arrivals) = mpsc::channel(nodes.len() * 4);
    let handed = Arc::new(AtomicU64::new(0));
    for node in nodes {
        let (mesh, arrived, handed) = (node.mesh.clone(), arrived.clone(), handed.clone());
        let mut gossip = std::mem::replace(&mut node.inputs.gossip, mpsc::channel(1).1);
        tokio::spawn(async move {
            while let Some(message) = gossip.recv().await {
                handed.fetch_add(1, Ordering::Relaxed);
                let number = u64::from_le_bytes(message.content[..8].try_into().unwrap());
                mesh.judge(message.ticket, Verdict::Forward).await;
                // The bench has stopped.
                let _ = arrived.send((number, Instant::now())).await;
            }
        });
    }
    (arrivals, handed)
}

/// Nodes that know each other from the beginning: a roster as a mesh has it after all have joined.
async fn linked_nodes(count: usize) -> Vec<Running> {
    let (root, keys) = (
        NodeKey::generate(),
        (0..count).map(|_| NodeKey::generate()).collect::<Vec<_>>(),
    );
    let roster = roster(&root, &keys);
    let mut nodes: Vec<Running> = Vec::new();
    for key in keys {
        let bootstrap: Vec<_> = nodes.iter().map(|node| (node.key.id(), node.address)).collect();
        nodes.push(start(key, roster.clone(), loopback(), bootstrap));
    }
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.key.id()).collect();
    for node in &nodes {
        let others: Vec<NodeId> = ids.iter().filter(|id| **id != node.key.id()).copied().collect();
        linked(&node.mesh, &others).await;
    }
    nodes
}

fn roster(root: &NodeKey, keys: &[NodeKey]) -> Roster {
    let now = Timestamp::now();
    let certificate = Certificate::found(root, keys[0].id(), "first", random_bytes(), now).unwrap();
    let mut roster = Roster::new(certificate).unwrap();
    let address = vec!["127.0.0.1:1".parse().unwrap()];
    let terms = keys::invite::Terms::new(keys::membership::Roles::NODE, 4000, now.plus(600_000));
    let invite =
        keys::invite::Invite::issue(root, roster.mesh(), keys[0].id(), address, random_bytes(), terms).unwrap();
    for key in &keys[1..] {
        let request = invite.redeem(key.id(), "further").unwrap();
        let (grant, redemption) = request.into_parts(root.id(), None).unwrap();
        roster.admit(&keys[0], key.id(), grant, redemption, now).unwrap();
    }
    roster
}

/// Core-seconds that this process spends in a time in which it has nothing to say.
async fn spent_over(time: Duration) -> f64 {
    let before = cpu_seconds();
    tokio::time::sleep(time).await;
    cpu_seconds() - before
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
