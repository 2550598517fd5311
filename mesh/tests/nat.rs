//! Two homes behind routers of every kind find each other, are linked, and exchange ten megabytes: real nodes, real sockets, in network
//! namespaces. Skipped, and said so, where this process may not make them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

#[path = "net/namespaces.rs"]
mod namespaces;
#[path = "nat/nodes.rs"]
mod nodes;
#[path = "nat/rig.rs"]
mod rig;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keys::ContentId;
use mesh::{Inputs, LinkPath, Mesh, Protocol, Reachability, frame};
use nodes::{Members, PATIENCE, link_by, runtime};
use rig::{Nat, Passes, Rig};
use tokio::sync::{mpsc, watch};

/// What is streamed between the homes.
const BYTES: usize = 10 * 1000 * 1000;
const FRAME: usize = 64 * 1024;
/// Longer than the first attempt to open both routers takes.
const SETTLES: Duration = Duration::from_secs(8);

/// What a pair of homes came to.
#[derive(Debug)]
struct Outcome {
    first: LinkPath,
    linked_after: Duration,
    /// The path once it had time to become direct.
    settled: LinkPath,
    reachability: Reachability,
    streamed_in: Duration,
}

fn content() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..BYTES).map(|_| next()).collect()
}

/// Takes what is streamed and answers with its hash.
async fn receive(inputs: &mut Inputs) {
    let streams = inputs.streams.get_mut(&Protocol::GENERATE).unwrap();
    while let Some((_, mut stream)) = streams.recv().await {
        let mut received = Vec::with_capacity(BYTES);
        while received.len() < BYTES {
            match frame::read_frame(&mut stream, FRAME).await {
                Ok(Some(part)) => received.extend(part),
                _ => break,
            }
        }
        let hash = ContentId::of(&received);
        // A cut stream has nobody to tell.
        let _ = frame::write_frame(&mut stream, &hash.0, 64).await;
    }
}

/// Sends everything and compares the hash.
async fn send(mesh: &Mesh, to: keys::NodeId, content: &[u8]) -> Duration {
    let began = Instant::now();
    let mut stream = mesh.open(to, Protocol::GENERATE).await.expect("a stream");
    for part in content.chunks(FRAME) {
        frame::write_frame(&mut stream, part, FRAME).await.unwrap();
    }
    let hash = tokio::time::timeout(PATIENCE, frame::read_frame(&mut stream, 64)).await;
    let hash = hash.expect("an answer in time").unwrap().unwrap();
    assert_eq!(hash, ContentId::of(content).0, "every byte as it was sent");
    began.elapsed()
}

/// Starts everything; the first home says what came of it. Nothing when the homes were not linked in time.
fn trial((nats, passes): ([Nat; 2], Passes), relaying: bool, patience: Duration) -> Option<Option<Outcome>> {
    let rig = Rig::new(nats, passes)?;
    let members = Arc::new(Members::new());
    let (stop, stopped) = watch::channel(false);
    let public = members.clone().run_public(&rig, relaying, stopped.clone());
    let (there, mut stop_there) = (members.clone(), stopped);
    let second = rig.at_home(1, move || {
        runtime().block_on(async {
            let (mesh, mut inputs) = there.start_home(1, relaying);
            tokio::select! {
                () = receive(&mut inputs) => {}
                _ = stop_there.wait_for(|stop| *stop) => {}
            }
            mesh.stop().await;
        });
    });
    let first = rig.at_home(0, move || {
        runtime().block_on(async {
            let other = members.home(1);
            let began = Instant::now();
            let (mesh, _inputs) = members.start_home(0, relaying);
            let outcome = match link_by(&mesh, other, |_| true, patience).await {
                None => None,
                Some(first) => {
                    let linked_after = began.elapsed();
                    let direct = link_by(&mesh, other, LinkPath::is_direct, SETTLES).await;
                    let streamed_in = send(&mesh, other, &content()).await;
                    Some(Outcome {
                        first,
                        linked_after,
                        settled: direct.unwrap_or(first),
                        reachability: mesh.reach().borrow().reachability,
                        streamed_in,
                    })
                }
            };
            mesh.stop().await;
            outcome
        })
    });
    let outcome = first.join().unwrap();
    stop.send_replace(true);
    second.join().unwrap();
    public.join().unwrap();
    if let Some(outcome) = &outcome {
        let Outcome {
            first,
            linked_after,
            settled,
            streamed_in,
            ..
        } = outcome;
        eprintln!(
            "{nats:?}, {passes:?}: linked {first:?} after {linked_after:?}, then {settled:?}; ten megabytes in {streamed_in:?}, as sent"
        );
    }
    Some(outcome)
}

/// Both are linked, and the link settles on a direct or a relayed path as is expected.
fn pair(nats: [Nat; 2], direct: bool) {
    let Some(outcome) = trial((nats, Passes::Everything), true, PATIENCE) else {
        return;
    };
    let outcome = outcome.expect("every pair is linked");
    assert_eq!(outcome.settled.is_direct(), direct, "{outcome:?}");
    let expected = match nats[0] {
        Nat::Open => Reachability::Public,
        Nat::FullCone | Nat::PortRestricted => Reachability::PortRestricted,
        Nat::Symmetric => Reachability::Symmetric,
    };
    assert_eq!(outcome.reachability, expected, "{outcome:?}");
}

#[test]
fn open_and_open_are_linked_directly() {
    pair([Nat::Open, Nat::Open], true);
}

#[test]
fn open_and_symmetric_are_linked_directly() {
    pair([Nat::Open, Nat::Symmetric], true);
}

#[test]
fn full_cone_and_full_cone_are_linked_directly() {
    pair([Nat::FullCone, Nat::FullCone], true);
}

#[test]
fn full_cone_and_port_restricted_are_linked_directly() {
    pair([Nat::FullCone, Nat::PortRestricted], true);
}

#[test]
fn full_cone_and_symmetric_are_linked_directly() {
    pair([Nat::FullCone, Nat::Symmetric], true);
}

#[test]
fn open_and_port_restricted_are_linked_directly() {
    pair([Nat::Open, Nat::PortRestricted], true);
}

#[test]
fn port_restricted_and_port_restricted_are_linked_directly() {
    pair([Nat::PortRestricted, Nat::PortRestricted], true);
}

#[test]
fn port_restricted_and_symmetric_are_linked_through_a_relay() {
    pair([Nat::PortRestricted, Nat::Symmetric], false);
}

#[test]
fn symmetric_and_symmetric_are_linked_through_a_relay() {
    pair([Nat::Symmetric, Nat::Symmetric], false);
}

/// What UDP alone comes to, with no TCP that could help.
#[test]
fn port_restricted_and_port_restricted_are_linked_directly_where_no_tcp_passes() {
    let nats = [Nat::PortRestricted; 2];
    if let Some(outcome) = trial((nats, Passes::Udp), true, PATIENCE) {
        let outcome = outcome.expect("they are linked");
        assert!(outcome.settled.is_direct(), "{outcome:?}");
    }
}

#[test]
fn control_without_relaying_port_restricted_and_symmetric_are_never_linked() {
    let nats = [Nat::PortRestricted, Nat::Symmetric];
    let Some(outcome) = trial((nats, Passes::Everything), false, SETTLES) else {
        return;
    };
    assert!(outcome.is_none(), "{outcome:?}");
}

/// A token that arrived, and when.
type Arrival = (u32, Instant);

/// Takes tokens, of one stream after the other, and says of each when it came.
async fn take_tokens(inputs: &mut Inputs, arrivals: mpsc::Sender<Arrival>) {
    let streams = inputs.streams.get_mut(&Protocol::GENERATE).unwrap();
    while let Some((_, mut stream)) = streams.recv().await {
        while let Ok(Some(token)) = frame::read_frame(&mut stream, 256).await {
            let number = u32::from_le_bytes(token[..4].try_into().unwrap());
            if arrivals.send((number, Instant::now())).await.is_err() {
                return;
            }
        }
    }
}

/// Sends numbered tokens until told to stop.
async fn send_tokens(mesh: &Mesh, to: keys::NodeId, mut stop: watch::Receiver<u32>, stage: u32) {
    let mut stream = mesh.open(to, Protocol::GENERATE).await.unwrap();
    let tokens = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for number in 0_u32.. {
            pace.tick().await;
            let mut token = [0; 100];
            token[..4].copy_from_slice(&number.to_le_bytes());
            frame::write_frame(&mut stream, &token, 256).await.unwrap();
        }
    };
    tokio::select! {
        () = tokens => {}
        _ = stop.wait_for(|now| *now > stage) => {}
    }
}

/// The next `count` arrivals.
fn arrived(arrivals: &mut mpsc::Receiver<Arrival>, count: usize) -> Vec<Arrival> {
    runtime().block_on(async {
        let mut all = Vec::new();
        while all.len() < count {
            let next = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
            all.push(next.expect("the stream goes on").expect("the stream goes on"));
        }
        all
    })
}

#[test]
fn a_direct_connection_takes_a_relayed_link_over_and_loses_no_token() {
    let Some(rig) = Rig::new([Nat::PortRestricted; 2], Passes::Everything) else {
        return;
    };
    rig.part_homes();
    let members = Arc::new(Members::new());
    let (stop, stopped) = watch::channel(0_u32);
    let (stop_public, public_stopped) = watch::channel(false);
    let public = members.clone().run_public(&rig, true, public_stopped);
    let (token, mut arrivals) = mpsc::channel(10_000);
    let (there, mut stop_there) = (members.clone(), stopped.clone());
    let second = rig.at_home(1, move || {
        runtime().block_on(async {
            let (mesh, mut inputs) = there.start_home(1, true);
            tokio::select! {
                () = take_tokens(&mut inputs, token) => {}
                _ = stop_there.wait_for(|now| *now > 1) => {}
            }
            mesh.stop().await;
        });
    });
    let (paths, mut path) = mpsc::channel(4);
    let first = rig.at_home(0, move || {
        runtime().block_on(async {
            let (mesh, _inputs) = members.start_home(0, true);
            let other = members.home(1);
            paths
                .send(link_by(&mesh, other, |_| true, PATIENCE).await)
                .await
                .unwrap();
            let direct = async {
                let direct = link_by(&mesh, other, LinkPath::is_direct, 2 * PATIENCE).await;
                paths.send(direct).await.unwrap();
            };
            tokio::join!(send_tokens(&mesh, other, stopped.clone(), 0), direct);
            send_tokens(&mesh, other, stopped, 1).await;
            mesh.stop().await;
        });
    });
    assert_eq!(path.blocking_recv(), Some(Some(LinkPath::Relayed)));
    let mut all = arrived(&mut arrivals, 25);
    rig.join();
    let joined = Instant::now();
    let direct = path.blocking_recv().flatten().expect("the link becomes direct");
    eprintln!(
        "from relayed to {direct:?} {:?} after the way was free",
        joined.elapsed()
    );
    // What arrived meanwhile, and as much again.
    let meanwhile = arrivals.len();
    all.extend(arrived(&mut arrivals, meanwhile + 50));
    let gaps = all.windows(2).map(|pair| {
        assert_eq!(pair[1].0, pair[0].0 + 1, "a token is lost, doubled or out of order");
        pair[1].1 - pair[0].1
    });
    let gap = gaps.max().unwrap();
    eprintln!("{} tokens in one stream, longest stall {gap:?}", all.len());
    assert!(gap <= Duration::from_millis(500), "stalled for {gap:?}");
    // The next stream goes the direct way: it needs no public node any more.
    stop.send_replace(1);
    rig.part_from_public();
    let last = loop {
        let (number, _) = arrived(&mut arrivals, 1)[0];
        if number == 0 {
            break arrived(&mut arrivals, 50);
        }
    };
    assert_eq!(last.last().map(|(number, _)| *number), Some(50));
    stop.send_replace(2);
    stop_public.send_replace(true);
    for thread in [first, second, public] {
        thread.join().unwrap();
    }
}

/// What the home that stays saw of the revocation, counted from the decision.
#[derive(Debug)]
struct Ending {
    /// Until the stream over the circuit was dead.
    stream: Duration,
    /// Until there was no link any more.
    link: Duration,
}

/// Two homes whose link is a circuit with tokens on it; a public node decides that one of them is out.
#[test]
fn a_revoked_member_loses_the_circuit_that_it_uses() {
    let Some(rig) = Rig::new([Nat::PortRestricted, Nat::Symmetric], Passes::Everything) else {
        return;
    };
    let members = Arc::new(Members::new());
    let (stop, stopped) = watch::channel(false);
    let (decide, decided) = watch::channel(Vec::new());
    let public = members
        .clone()
        .run_public_deciding(&rig, (true, decided), stopped.clone());
    let (token, mut arrivals) = mpsc::channel(10_000);
    let (there, mut stop_there) = (members.clone(), stopped);
    let second = rig.at_home(1, move || {
        runtime().block_on(async {
            let (mesh, mut inputs) = there.start_home(1, true);
            tokio::select! {
                () = take_tokens(&mut inputs, token) => {}
                _ = stop_there.wait_for(|stop| *stop) => {}
            }
            mesh.stop().await;
        });
    });
    let (here, (ended, mut ending)) = (members.clone(), mpsc::channel(1));
    let first = rig.at_home(0, move || {
        runtime().block_on(async {
            let (mesh, _inputs) = here.start_home(0, true);
            let other = here.home(1);
            let path = link_by(&mesh, other, |_| true, PATIENCE).await;
            assert_eq!(path, Some(LinkPath::Relayed));
            let mut stream = mesh.open(other, Protocol::GENERATE).await.unwrap();
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            let mut dead = None;
            for number in 0_u32.. {
                pace.tick().await;
                let mut token = [0; 100];
                token[..4].copy_from_slice(&number.to_le_bytes());
                if frame::write_frame(&mut stream, &token, 256).await.is_err() {
                    dead = Some(Instant::now());
                    break;
                }
            }
            let mut view = mesh.view();
            let gone = view.wait_for(|view| view.links.get(&other).is_none_or(|link| !link.connected));
            gone.await.unwrap();
            ended.send((dead.unwrap(), Instant::now())).await.unwrap();
            mesh.stop().await;
        });
    });
    // The control: as long as nobody is revoked the tokens come.
    assert_eq!(arrived(&mut arrivals, 100).len(), 100);
    let began = Instant::now();
    decide.send_replace(members.revocation_of_home(1));
    let ended = runtime().block_on(async { tokio::time::timeout(PATIENCE, ending.recv()).await });
    let (stream, link) = ended.expect("the circuit ends").unwrap();
    let ending = Ending {
        stream: stream.saturating_duration_since(began),
        link: link.saturating_duration_since(began),
    };
    eprintln!("a circuit in use after its member was revoked: {ending:?}");
    assert!(ending.stream.max(ending.link) <= Duration::from_secs(2), "{ending:?}");
    // And no other: it does not come back.
    while arrivals.try_recv().is_ok() {}
    stop.send_replace(true);
    for thread in [first, second, public] {
        thread.join().unwrap();
    }
}
