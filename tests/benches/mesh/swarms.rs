//! A large mesh in one process in which nodes come and go: whole nodes in memory, of which every minute a fifth stops. Nine of ten come back
//! a moment later, elsewhere and with the members that they knew when they stopped; the tenth is revoked, and a new member takes its
//! place. At the end all that run must hold the same members.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use keys::{
    ContentId, NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Evidence, Roles, Roster, Target},
};

use crate::{
    Figure,
    nodes::{Running, acquainted, in_memory, runtime, start_in_memory},
    print,
    process::{cpu_seconds, forget_peak, peak_kib, resident_kib},
};

/// `STARLING_BENCH_SWARMS` asks for others.
const NODES: usize = 1000;
/// Links that each keeps by dialling; as many come from others.
const DIALLED: usize = 3;
/// Members that a node is told of when it starts.
const BOOTSTRAP: usize = 8;
/// The part that stops in a minute.
const CHURN: f64 = 0.2;
/// How long nodes come and go; `STARLING_BENCH_CHURN_SECONDS` asks for another.
const SECONDS: u64 = 300;
/// How long one is away.
const AWAY: Duration = Duration::from_secs(5);
/// Every so many that stop are gone for good.
const FOR_GOOD: usize = 10;
/// After this the bench says that they do not agree.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether all agree.
const LOOK: Duration = Duration::from_millis(250);

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub fn run() {
    let count = asked("STARLING_BENCH_SWARMS").map_or(NODES, |count| count as usize);
    let churn = Duration::from_secs(asked("STARLING_BENCH_CHURN_SECONDS").unwrap_or(SECONDS));
    runtime().block_on(measure(count, churn));
}

/// Repeatable numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

struct Scene {
    root: NodeKey,
    /// The first node, which admits and revokes, and never stops.
    first: NodeKey,
    running: Vec<Running>,
    away: VecDeque<(Instant, NodeKey, Roster)>,
    places: usize,
    numbers: Numbers,
    stopped: usize,
}

impl Scene {
    fn new(count: usize) -> Self {
        let (root, keys, roster) = acquainted(count);
        let mut scene = Self {
            root,
            first: keys[0].clone(),
            running: Vec::new(),
            away: VecDeque::new(),
            // Behind those of the other groups, which may still be about to stop.
            places: 100_000,
            numbers: Numbers(7),
            stopped: 0,
        };
        for key in keys {
            scene.start(key, roster.clone());
        }
        scene
    }

    fn start(&mut self, key: NodeKey, roster: Roster) {
        self.places += 1;
        let mut others: Vec<(NodeId, std::net::SocketAddr)> = Vec::new();
        for _ in 0..BOOTSTRAP.min(self.running.len()) {
            let other = &self.running[self.numbers.below(self.running.len())];
            others.push((other.key.id(), other.address));
        }
        let running = start_in_memory(key, roster, in_memory(self.places), (others, DIALLED));
        self.running.push(running);
    }

    /// One stops; every so many is gone for good and another takes its place.
    async fn stop_one(&mut self) {
        let number = 1 + self.numbers.below(self.running.len() - 1);
        let Running { key, mesh, inputs, .. } = self.running.swap_remove(number);
        let roster = Roster::clone(&mesh.roster());
        mesh.stop().await;
        drop((mesh, inputs));
        self.stopped += 1;
        if self.stopped.is_multiple_of(FOR_GOOD) {
            self.replace(&key).await;
        } else {
            self.away.push_back((Instant::now() + AWAY, key, roster));
        }
    }

    async fn replace(&mut self, gone: &NodeKey) {
        let first = self.running[0].mesh.clone();
        let roster = first.roster();
        let now = Timestamp::now();
        let revoked = roster.revoke(&self.root, Target::Node(gone.id()), "sold", now).unwrap();
        first.decide(revoked).await.unwrap();
        let mut known = Roster::clone(&first.roster());
        let new = NodeKey::generate();
        let certificate = admitted(&self.root, &self.first, &mut known, &new);
        first.learn(vec![certificate.clone()]).await;
        // What a member hands out to whoever joins.
        let mut own = Roster::new(certificate).unwrap();
        own.take(
            known
                .evidence()
                .map(|(_, evidence)| evidence)
                .collect::<Vec<Evidence>>(),
        );
        self.start(new, own);
    }

    fn bring_back(&mut self) {
        while self.away.front().is_some_and(|(at, ..)| *at <= Instant::now()) {
            if let Some((_, key, roster)) = self.away.pop_front() {
                self.start(key, roster);
            }
        }
    }

    /// How many hold the same members as the first.
    fn agreeing(&self) -> usize {
        let digest = |node: &Running| -> ContentId { node.mesh.roster().digest() };
        let first = digest(&self.running[0]);
        self.running.iter().filter(|node| digest(node) == first).count()
    }

    fn linked(&self) -> (usize, usize) {
        let links = self
            .running
            .iter()
            .map(|node| node.mesh.view().borrow().reachable().count());
        links.fold((0, 0), |(linked, all), links| {
            (linked + usize::from(links > 0), all + links)
        })
    }
}

/// A new member, as the first node admits one who holds an invite.
fn admitted(root: &NodeKey, first: &NodeKey, roster: &mut Roster, new: &NodeKey) -> Certificate {
    let now = Timestamp::now();
    let terms = Terms::new(Roles::NODE, 1, now.plus(600_000));
    let place = vec!["127.0.0.1:1".parse().unwrap()];
    let invite = Invite::issue(root, roster.mesh(), first.id(), place, random_bytes(), terms).unwrap();
    let request = invite.redeem(new.id(), "new").unwrap();
    let (grant, redemption) = request.into_parts(root.id(), None).unwrap();
    roster.admit(first, new.id(), grant, redemption, now).unwrap()
}

async fn measure(count: usize, churn: Duration) {
    forget_peak();
    let before = resident_kib();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut scene = Scene::new(count);
    while scene.linked().0 < count && began.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
    }
    let (linked, links) = scene.linked();
    eprintln!(
        "swarms: {linked} of {count} linked after {:.1} s, {:.1} links each, {} MiB",
        began.elapsed().as_secs_f64(),
        links as f64 / count as f64,
        (resident_kib() - before) / 1024,
    );
    let every = Duration::from_secs_f64(60.0 / (CHURN * count as f64));
    let (churning, mut stops) = (Instant::now(), tokio::time::interval(every));
    stops.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while churning.elapsed() < churn {
        stops.tick().await;
        scene.stop_one().await;
        scene.bring_back();
    }
    while !scene.away.is_empty() {
        scene.bring_back();
        tokio::time::sleep(LOOK).await;
    }
    let quiet = Instant::now();
    while (scene.agreeing() < count || scene.linked().0 < count) && quiet.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
    }
    let (agreeing, (linked, _)) = (scene.agreeing(), scene.linked());
    eprintln!(
        "swarms: {} stopped in {:.0} s; {agreeing} of {count} agree and {linked} are linked; {:.2} cores on average",
        scene.stopped,
        churning.elapsed().as_secs_f64() - quiet.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) / began.elapsed().as_secs_f64(),
    );
    tell(
        count,
        churn,
        (agreeing, quiet.elapsed()),
        peak_kib().saturating_sub(before),
    );
}

fn tell(count: usize, churn: Duration, (agreeing, after): (usize, Duration), kib: usize) {
    let of = format!(
        "{count} whole nodes in one process, a fifth a minute stops for {} s",
        churn.as_secs()
    );
    let figure = |name: &str, value: f64, unit: &str, goal: Option<f64>| {
        print(&Figure {
            name: &format!("{of}: {name}"),
            value,
            unit,
            goal,
            rival: None,
        });
    };
    figure(
        "nodes that do not hold the same members at the end",
        (count - agreeing) as f64,
        "nodes",
        Some(0.0),
    );
    figure("until all hold the same", after.as_secs_f64(), "s", None);
    figure("memory at its peak", kib as f64 / 1024.0, "MiB", Some(1024.0));
}
