//! From the pasted invite until the new node can be reached by every other, and how fast a stranger is sent away.

use std::time::Instant;

use keys::{NodeKey, Timestamp};

use crate::{
    Figure,
    nodes::{Founder, Running, linked, loopback, runtime, start},
    print, quantile,
};

const MEMBERS: usize = 8;
const JOINS: usize = 12;
const STRANGERS: usize = 100;

pub fn run() {
    runtime().block_on(async {
        let founder = Founder::start(loopback());
        let mut members: Vec<Running> = Vec::new();
        for _ in 1..MEMBERS {
            members.push(founder.second().await);
        }
        let mut figures = Vec::new();
        for _ in 0..JOINS {
            figures.push(joined(&founder, &members).await);
        }
        print(&Figure {
            name: "invite pasted until 8 nodes can reach the new one, p95",
            value: quantile(&mut figures, 0.95),
            unit: "ms",
            goal: Some(1000.0),
            rival: None,
        });
        let mut figures = Vec::new();
        for _ in 0..STRANGERS {
            let began = Instant::now();
            let expired = founder.invite(1, Timestamp(1));
            mesh::join(&NodeKey::generate(), &expired, "stranger")
                .await
                .unwrap_err();
            figures.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        print(&Figure {
            name: "stranger with an expired invite refused, dial included, p50",
            value: quantile(&mut figures, 0.5),
            unit: "ms",
            goal: Some(10.0),
            rival: None,
        });
    });
}

/// One join in ms; the new node stops afterwards.
async fn joined(founder: &Founder, members: &[Running]) -> f64 {
    let invite = founder.invite(1, Timestamp::now().plus(60_000)).to_text();
    let began = Instant::now();
    let key = NodeKey::generate();
    let roster = mesh::join(&key, &keys::invite::Invite::parse(&invite).unwrap(), "new")
        .await
        .unwrap()
        .roster;
    let first = &founder.running;
    let new = start(key, roster, loopback(), vec![(first.key.id(), first.address)]);
    let id = [new.key.id()];
    for member in std::iter::once(first).chain(members) {
        linked(&member.mesh, &id).await;
    }
    let took = began.elapsed().as_secs_f64() * 1000.0;
    new.mesh.stop().await;
    took
}
