//! How fast a message is everywhere and what it costs each node; what a link costs in memory, and in bytes when nobody says anything.
//! Real nodes of one mesh in this process: the message among a hundred in memory, each with about ten links, as in a mesh of which nobody
//! knows all; the link over QUIC on loopback, each node linked with every other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use keys::{NodeId, identity::random_bytes};
use mesh::Verdict;
use tokio::sync::mpsc;

use crate::{
    Figure,
    nodes::{Running, acquainted, in_memory, linked, loopback, runtime, start, start_in_memory},
    print,
    process::{cpu_seconds, resident_kib},
    quantile,
};

/// The figures say how many; `STARLING_BENCH_NODES` asks for others.
const NODES: usize = 100;
/// Links that each keeps by dialling; as many come from others.
const DIALLED: usize = 5;
/// Nodes that are linked with each other over QUIC: few, and then many. What the latter need more for each link is what a link costs.
const FEW_LINKED: usize = 10;
const LINKED: usize = 40;
const MESSAGES: u64 = 100;
const MESSAGE_BYTES: usize = 200;
/// Between two messages, so that each is alone on its way.
const PAUSE: Duration = Duration::from_millis(100);
/// A message that is not everywhere by then has got lost: the bench stops.
const PATIENCE: Duration = Duration::from_secs(10);
/// Over so long it is looked at what a mesh costs in which nobody says anything.
const IDLE: Duration = Duration::from_secs(10);

pub fn run() {
    let asked = std::env::var("STARLING_BENCH_NODES").ok();
    let count = asked.and_then(|text| text.parse().ok()).unwrap_or(NODES);
    runtime().block_on(linked_nodes());
    runtime().block_on(messages(count));
}

/// So many nodes, linked with each other over QUIC.
async fn linked_over_quic(count: usize) -> Vec<Running> {
    let (_, keys, roster) = acquainted(count);
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

/// Nodes that are linked with each other over QUIC, and nothing else.
async fn linked_nodes() {
    let empty = resident_kib();
    let few = linked_over_quic(FEW_LINKED).await;
    let before = resident_kib();
    let nodes = linked_over_quic(LINKED).await;
    // What a link begins with is over by then.
    tokio::time::sleep(IDLE).await;
    let ends = (LINKED * (LINKED - 1)) as f64;
    let (of_few, of_all) = ((before - empty) as f64, (resident_kib() - before) as f64);
    eprintln!(
        "{FEW_LINKED} nodes: {:.0} KiB each with {} links; {LINKED} nodes: {:.0} KiB each with {}",
        of_few / FEW_LINKED as f64,
        FEW_LINKED - 1,
        of_all / LINKED as f64,
        LINKED - 1
    );
    // Each node needs something for itself, and something for each link.
    let more_links = (LINKED - FEW_LINKED) as f64;
    print(&Figure {
        name: &format!(
            "memory for a linked member: what each needs more for each link, {LINKED} nodes against {FEW_LINKED}"
        ),
        value: (of_all / LINKED as f64 - of_few / FEW_LINKED as f64) / more_links,
        unit: "KiB",
        goal: Some(150.0),
        rival: None,
    });
    drop(few);
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.key.id()).collect();
    let sent = |nodes: &[Running]| -> u64 {
        let of = |node: &Running| -> u64 {
            ids.iter()
                .filter_map(|id| node.mesh.bytes(id))
                .map(|(sent, _)| sent)
                .sum()
        };
        nodes.iter().map(of).sum()
    };
    let (before, began) = (sent(&nodes), Instant::now());
    tokio::time::sleep(IDLE).await;
    let rate = (sent(&nodes) - before) as f64 / began.elapsed().as_secs_f64() / 1000.0;
    print(&Figure {
        name: "sent on a link on which nobody says anything: heartbeats, gossip and all else",
        value: rate / ends,
        unit: "KB/s",
        goal: Some(2.0),
        rival: None,
    });
}

/// Nodes in memory, each with about twice as many links as it dials.
async fn nodes_in_memory(count: usize) -> Vec<Running> {
    let (_, keys, roster) = acquainted(count);
    let places: Vec<_> = keys.iter().map(|key| key.id()).zip((1..).map(in_memory)).collect();
    let mut nodes: Vec<Running> = Vec::new();
    for (key, place) in keys.into_iter().zip(1..) {
        let others = places.iter().filter(|(id, _)| *id != key.id()).copied().collect();
        let few = (others, few_of(count));
        nodes.push(start_in_memory(key, roster.clone(), in_memory(place), few));
    }
    for node in &nodes {
        let mut view = node.mesh.view();
        let stand = view.wait_for(|view| view.links.values().filter(|link| link.connected).count() >= few_of(count));
        stand.await.unwrap();
    }
    nodes
}

fn few_of(count: usize) -> usize {
    DIALLED.min(count - 1)
}

async fn messages(count: usize) {
    let mut nodes = nodes_in_memory(count).await;
    let links: usize = nodes
        .iter()
        .map(|node| node.mesh.view().borrow().reachable().count())
        .sum();
    let (mut arrivals, handed) = listen(&mut nodes);
    // The gossip meshes are grafted with the first heartbeats.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = spent_over(PAUSE * MESSAGES as u32).await;
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut lasts = Vec::new();
    for number in 0..MESSAGES {
        let sent = Instant::now();
        nodes[number as usize % count].mesh.publish(content(number)).await;
        lasts.push(everywhere(&mut arrivals, count, sent).await);
        tokio::time::sleep(PAUSE).await;
    }
    let idle_meanwhile = idle * began.elapsed().as_secs_f64() / (PAUSE * MESSAGES as u32).as_secs_f64();
    let busy = cpu_seconds() - cpu - idle_meanwhile;
    eprintln!(
        "{} links a node; {} messages handed over in {:.1} s; {:.2} cores when nobody says anything",
        links as f64 / count as f64,
        handed.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
        idle / (PAUSE * MESSAGES as u32).as_secs_f64(),
    );
    print(&Figure {
        name: &format!("gossip until the last of {count} nodes has it, in memory, p50"),
        value: quantile(&mut lasts, 0.5),
        unit: "ms",
        goal: Some(40.0),
        rival: None,
    });
    let name =
        format!("gossip of {MESSAGE_BYTES} bytes, about ten a second, CPU for a message on each of {count} nodes");
    print(&Figure {
        name: &name,
        value: busy.max(0.0) * 1000.0 / (MESSAGES as usize * count) as f64,
        unit: "ms",
        goal: Some(0.25),
        rival: None,
    });
}

fn content(number: u64) -> Vec<u8> {
    let mut content = vec![0; MESSAGE_BYTES];
    content[..8].copy_from_slice(&number.to_le_bytes());
    content[8..40].copy_from_slice(&random_bytes::<32>());
    content
}

/// Milliseconds until every other node had the message.
async fn everywhere(arrivals: &mut mpsc::Receiver<(u64, Instant)>, count: usize, sent: Instant) -> f64 {
    let all = async {
        let mut last = sent;
        for _ in 1..count {
            let (_, at) = arrivals.recv().await.unwrap();
            last = last.max(at);
        }
        last
    };
    let last = tokio::time::timeout(PATIENCE, all).await.expect("it comes everywhere");
    (last - sent).as_secs_f64() * 1000.0
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

/// Core-seconds that this process spends in a time in which it has nothing to say.
async fn spent_over(time: Duration) -> f64 {
    let before = cpu_seconds();
    tokio::time::sleep(time).await;
    cpu_seconds() - before
}
