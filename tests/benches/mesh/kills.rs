//! How soon a killed member is out of every table, and how soon it is back: real processes that are ended with SIGKILL. The members that
//! watch run in this process and are linked with the victim, one and all; the victim is this program once more.

use std::{
    io::{BufRead, Write},
    process::{Child, Command, Stdio},
    time::Instant,
};

use keys::{NodeId, NodeKey, Timestamp, identity::random_bytes, invite::Invite};
use mesh::liveness::{Standing, State};

use crate::{
    Figure,
    nodes::{Founder, Running, linked, loopback, runtime, start},
    print, quantile,
};

/// What this program is called with to be the victim.
pub const VICTIM: &str = "--victim";
const MEMBERS: usize = 8;
const KILLS: usize = 24;

/// The victim: reads its key and its invite, joins, and serves until it is killed.
pub fn victim() {
    let mut lines = std::io::stdin().lock().lines().map(Result::unwrap);
    let seed: Vec<u8> = lines
        .next()
        .unwrap()
        .split(' ')
        .map(|byte| byte.parse().unwrap())
        .collect();
    let key = NodeKey::from_seed(&seed.try_into().unwrap());
    let invite = Invite::parse(&lines.next().unwrap()).unwrap();
    runtime().block_on(async {
        let roster = mesh::join(&key, &invite, "victim").await.unwrap().roster;
        let bootstrap = invite
            .addresses
            .iter()
            .map(|address| (invite.member, *address))
            .collect();
        let running = start(key, roster, loopback(), bootstrap);
        running.mesh.stand(Standing::Serving).await;
        std::future::pending::<()>().await;
    });
}

fn begin(seed: [u8; 32], invite: &Invite) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(VICTIM)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let seed: Vec<String> = seed.iter().map(u8::to_string).collect();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}\n{}", seed.join(" "), invite.to_text()).unwrap();
    child
}

/// Waits until every node thinks so of one.
async fn all_think(nodes: &[&Running], of: NodeId, wanted: impl Fn(State) -> bool) {
    for node in nodes {
        let mut view = node.mesh.view();
        view.wait_for(|view| view.members.get(&of).is_some_and(|member| wanted(member.state)))
            .await
            .unwrap();
    }
}

pub fn run() {
    runtime().block_on(async {
        let founder = Founder::start(loopback());
        let mut further = Vec::new();
        for _ in 1..MEMBERS {
            further.push(founder.second().await);
        }
        let nodes: Vec<&Running> = std::iter::once(&founder.running).chain(&further).collect();
        let seed = random_bytes();
        let id = NodeKey::from_seed(&seed).id();
        let invite = founder.invite(1, Timestamp::now().plus(3_600_000));
        let (mut out, mut gone, mut back) = (Vec::new(), Vec::new(), Vec::new());
        for kill in 0..KILLS {
            let began = Instant::now();
            let mut child = begin(seed, &invite);
            all_think(&nodes, id, |state| state == State::Serving).await;
            back.push(milliseconds(began));
            for node in &nodes {
                linked(&node.mesh, &[id]).await;
            }
            let killed = Instant::now();
            child.kill().unwrap();
            child.wait().unwrap();
            all_think(&nodes, id, |state| !state.takes_work()).await;
            out.push(milliseconds(killed));
            all_think(&nodes, id, |state| state == State::Gone).await;
            gone.push(milliseconds(killed));
            eprintln!(
                "kills: {kill}: out after {:.0} ms, gone after {:.0} ms",
                out[kill], gone[kill]
            );
        }
        let members = nodes[0].mesh.view().borrow().members.len();
        assert_eq!(members, MEMBERS + 1, "one row however often it was killed");
        figure(
            "kill -9 of a process until it is out of all 8 tables, 24 kills, p95",
            &mut out,
            Some(2000.0),
        );
        figure("the same until it is gone in all, p95", &mut gone, None);
        figure(
            "the killed process started again until it serves in all 8 tables, p95",
            &mut back,
            None,
        );
    });
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn figure(name: &str, times: &mut [f64], goal: Option<f64>) {
    print(&Figure {
        name,
        value: quantile(times, 0.95),
        unit: "ms",
        goal,
        rival: None,
    });
}
