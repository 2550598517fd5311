//! How soon everybody knows who is there. Simulated: the liveness core of the product on a model of links that lose every twentieth
//! frame for good, which real ones send again.

use std::time::Duration;

use mesh::liveness::Recovery;
use sim::liveness::{Mesh, Setting, deaths, heals_in};

use crate::{Figure, print, quantile};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

fn started(nodes: usize, seed: u64, recovery: Recovery) -> Mesh {
    let mut mesh = Mesh::start(Setting {
        nodes,
        dials: 5,
        loss: 0.05,
        recovery,
        seed,
    });
    mesh.run(Duration::from_secs(10), |_, _| ());
    // Without recovery somebody may be called gone this early.
    assert!(
        recovery == Recovery::OFF || mesh.agrees(),
        "all that started are known to all"
    );
    mesh
}

/// A minute in which twenty links fall silent for four seconds, six times; how many living members were called gone.
fn falsely_gone(mesh: &mut Mesh) -> usize {
    for _ in 0..6 {
        (0..20).for_each(|_| mesh.silence_a_link());
        mesh.run(Duration::from_secs(4), |_, _| ());
        mesh.unsilence();
        mesh.run(Duration::from_secs(6), |_, _| ());
    }
    mesh.falsely_gone.len()
}

fn figure(name: &str, value: f64, unit: &str, goal: Option<f64>) {
    print(&Figure {
        name,
        value,
        unit,
        goal,
        rival: None,
    });
}

pub fn run() {
    let (mut times, mut heals, mut false_ones, mut unaided) = (Vec::new(), Vec::new(), 0, 0);
    for seed in SEEDS {
        let mut mesh = started(1000, seed, Recovery::ON);
        mesh.run(Duration::from_secs(60), |_, _| ());
        falsely_gone(&mut mesh);
        times.extend(deaths(&mut mesh, 10).iter().map(Duration::as_secs_f64));
        eprintln!("liveness: seed {seed}: p99 so far {:.2} s", quantile(&mut times, 0.99));
        false_ones += mesh.falsely_gone.len();
        unaided += falsely_gone(&mut started(1000, seed, Recovery::OFF));
        let healed = heals_in(&mut started(100, seed, Recovery::ON));
        eprintln!(
            "liveness: seed {seed}: {false_ones} falsely gone so far, {unaided} without recovery, healed in {healed:?}"
        );
        heals.push(healed.map_or(f64::INFINITY, |time| time.as_secs_f64()));
    }
    let seeds = SEEDS.count() as f64;
    let p99 = quantile(&mut times, 0.99);
    figure(
        "kill -9 to gone in every table, 1000 nodes, 5 % loss, simulated, p99",
        p99,
        "s",
        Some(5.0),
    );
    figure("the same, the slowest of all", quantile(&mut times, 1.0), "s", None);
    let name = "living members called gone in 160 s, 1000 nodes, 5 % loss, 120 silent links, simulated";
    figure(name, f64::from(false_ones as u32), "members", Some(0.0));
    let name = "the same in 60 s without asking and contradicting, of one run";
    figure(name, f64::from(unaided as u32) / seeds, "members", None);
    let name = "heal of a half/half split to liveness agrees, 100 nodes, simulated, slowest";
    figure(name, quantile(&mut heals, 1.0), "s", Some(5.0));
}
