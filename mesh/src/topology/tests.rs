//! Routes against every way that there is in small graphs, kept tables against fresh ones, and how states spread.

use keys::{
    NodeKey, Timestamp,
    membership::{Certificate, Roster},
};
use proptest::prelude::*;
use tokio::sync::{mpsc, watch};

use super::*;

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// Every way without a circle, by trying all.
fn all_ways(graph: &Graph, at: u32, to: u32, passed: &mut Vec<u32>, ways: &mut Vec<(u64, Vec<u32>)>) {
    passed.push(at);
    if at == to {
        let cost = passed
            .windows(2)
            .map(|pair| graph.cost(pair[0], pair[1]).unwrap())
            .sum();
        ways.push((cost, passed.clone()));
    } else {
        for (next, _) in graph.around(at) {
            if !passed.contains(next) {
                all_ways(graph, *next, to, passed, ways);
            }
        }
    }
    passed.pop();
}

/// The most ways, at most `count`, that share no node but the ends, and the least they cost together.
fn best_disjoint(ways: &[(u64, Vec<u32>)], count: usize) -> (usize, u64) {
    fn choose(ways: &[(u64, Vec<u32>)], left: usize, taken: &mut Vec<u32>, so_far: (usize, u64)) -> (usize, u64) {
        let mut best = so_far;
        if left == 0 {
            return best;
        }
        for (index, (cost, way)) in ways.iter().enumerate() {
            let inner = &way[1..way.len() - 1];
            if inner.iter().any(|node| taken.contains(node)) {
                continue;
            }
            let mark = taken.len();
            taken.extend(inner);
            let found = choose(&ways[index + 1..], left - 1, taken, (so_far.0 + 1, so_far.1 + cost));
            taken.truncate(mark);
            if found.0 > best.0 || (found.0 == best.0 && found.1 < best.1) {
                best = found;
            }
        }
        best
    }
    choose(ways, count, &mut Vec::new(), (0, 0))
}

fn graphs(nodes: u8) -> impl Strategy<Value = Vec<(NodeId, NodeId, u64)>> {
    let link = (0..nodes, 0..nodes, 1u64..20).prop_map(|(a, b, cost)| (node(a), node(b), cost));
    prop::collection::vec(link, 1..18)
}

/// Every way is one: along links, without a circle; and no two share a node but the ends.
fn assert_disjoint(graph: &Graph, (from, to): (u32, u32), found: &Disjoint) {
    let mut passed: Vec<u32> = Vec::new();
    let mut total = 0;
    for route in &found.routes {
        assert_eq!((route.first(), route.last()), (Some(&from), Some(&to)));
        total += route
            .windows(2)
            .map(|pair| graph.cost(pair[0], pair[1]).unwrap())
            .sum::<u64>();
        passed.extend(&route[1..route.len() - 1]);
    }
    assert_eq!(total, found.total);
    let count = passed.len();
    passed.sort_unstable();
    passed.dedup();
    assert_eq!(passed.len(), count, "{:?}", found.routes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_disjoint_routes_are_cheaper_or_more(links in graphs(8), count in 1usize..4) {
        let graph = Graph::new(links);
        let mut search = Search::default();
        for to in 0..graph.nodes() as u32 {
            let distances = graph.distances(to);
            for from in (0..graph.nodes() as u32).filter(|from| *from != to) {
                let mut ways = Vec::new();
                all_ways(&graph, from, to, &mut Vec::new(), &mut ways);
                let found = search.disjoint(&graph, (from, to), count, &distances);
                assert_disjoint(&graph, (from, to), &found);
                prop_assert_eq!((found.routes.len(), found.total), best_disjoint(&ways, count));
            }
        }
    }

    #[test]
    fn no_shorter_route_is_left_out(links in graphs(7), count in 1usize..6) {
        let graph = Graph::new(links);
        for to in 0..graph.nodes() as u32 {
            let distances = graph.distances(to);
            for from in (0..graph.nodes() as u32).filter(|from| *from != to) {
                let mut ways = Vec::new();
                all_ways(&graph, from, to, &mut Vec::new(), &mut ways);
                ways.sort();
                let found = shortest(&graph, (from, to), count, &distances);
                let costs: Vec<u64> = found.iter().map(|(cost, _)| *cost).collect();
                let expected: Vec<u64> = ways.iter().take(count).map(|(cost, _)| *cost).collect();
                prop_assert_eq!(costs, expected);
                for (index, way) in found.iter().enumerate() {
                    prop_assert!(ways.contains(way) && !found[..index].contains(way));
                }
            }
        }
    }

    #[test]
    fn a_kept_table_is_what_a_fresh_one_would_be(
        links in graphs(9),
        changes in prop::collection::vec((0u8..9, 0u8..9, prop::option::of(1u64..20)), 1..30),
        batch in 1usize..4,
    ) {
        let ends: Vec<NodeId> = [0, 2, 5, 7].map(node).to_vec();
        let mut kept = RouteTable::new(Graph::new(links), &ends, 3);
        for changes in changes.chunks(batch) {
            let changes: Vec<_> = changes.iter().map(|(a, b, cost)| (node(*a), node(*b), *cost)).collect();
            kept.change(&changes);
            let fresh = RouteTable::new(kept.graph().clone(), &ends, 3);
            prop_assert_eq!(kept.totals().collect::<Vec<_>>(), fresh.totals().collect::<Vec<_>>());
        }
        let links: Vec<_> = kept.graph().links().into_iter().collect();
        let half = links.iter().step_by(2).map(|((a, b), cost)| (kept.graph().id(*a), kept.graph().id(*b), *cost));
        let half: Vec<_> = half.collect();
        kept.follow(half.clone());
        prop_assert_eq!(kept.graph().links().len(), half.len());
    }
}

/// Bhandari's trap: the shortest route lies across both of the disjoint ones, so that a search which keeps it finds one route only.
#[test]
fn a_shortest_route_that_is_in_the_way_is_taken_back() {
    let links = [
        (0, 1, 1),
        (1, 2, 1),
        (2, 5, 1),
        (0, 3, 3),
        (3, 2, 2),
        (1, 4, 2),
        (4, 5, 3),
    ];
    let graph = Graph::new(links.map(|(a, b, cost)| (node(a), node(b), cost)));
    let (from, to) = (graph.find(&node(0)).unwrap(), graph.find(&node(5)).unwrap());
    let distances = graph.distances(to);
    assert_eq!(shortest(&graph, (from, to), 1, &distances)[0].0, 3);
    let found = Search::default().disjoint(&graph, (from, to), 2, &distances);
    assert_eq!((found.routes.len(), found.total), (2, 12));
}

/// A change far away from a pair costs it nothing.
#[test]
fn what_a_change_cannot_touch_is_not_computed_again() {
    let ring = |begin: u8| (0..6u8).map(move |at| (node(begin + at), node(begin + (at + 1) % 6), 10));
    let bridge = [(node(0), node(10), 10)];
    let ends = [0, 3, 10, 13].map(node);
    let mut table = RouteTable::new(Graph::new(ring(0).chain(ring(10)).chain(bridge)), &ends, 2);
    assert_eq!(table.change(&[(node(11), node(12), Some(10))]), Work::default());
    let work = table.change(&[(node(11), node(12), Some(11))]);
    assert_eq!(work.pairs, 3, "those that end in the second ring's far side: {work:?}");
    assert!(work.ends > 0);
    let links: Vec<_> = ring(0).chain(ring(10)).chain(bridge).collect();
    let mut table = RouteTable::new(Graph::new(links), &ends[..2], 2);
    assert_eq!(table.change(&[(node(1), node(4), Some(100_000))]), Work::default());
    assert_eq!(
        table.change(&[(node(1), node(4), Some(1))]).pairs,
        1,
        "the control: a short cut is looked at"
    );
}

struct Teller {
    key: NodeKey,
    roster: Roster,
}

impl Teller {
    fn new() -> Self {
        let key = NodeKey::from_seed(&[3; 32]);
        let certificate = Certificate::found(&key, key.id(), "one", [0; 16], Timestamp(1)).unwrap();
        let roster = Roster::new(certificate).unwrap();
        Self { key, roster }
    }

    fn held(&self, sequence: u64, made: Instant) -> Held {
        let stamp = Stamp {
            started: Timestamp(5),
            sequence,
        };
        let links = vec![LinkRecord {
            to: ShortNode([9; 8]),
            round_trip: Some(1000),
            loss: None,
            path: LinkPath::Quic,
            bytes: None,
        }];
        let state = LinkState {
            mesh: self.roster.mesh(),
            stamp,
            links,
        };
        let signed = Signed::sign(&self.key, &state).unwrap();
        Held { state, signed, made }
    }
}

#[tokio::test(start_paused = true)]
async fn newer_states_count_strangers_do_not_and_old_ones_are_forgotten() {
    let teller = Teller::new();
    let now = Instant::now();
    let mut topology = Topology::default();
    assert!(!topology.take(teller.held(1, now)), "nobody is a member yet");
    topology.follow(&teller.roster);
    assert!(topology.take(teller.held(2, now)));
    assert!(!topology.take(teller.held(2, now)) && !topology.take(teller.held(1, now)));
    assert!(topology.take(teller.held(3, now)));
    assert!(!topology.expire(now + LINK_STATE_KEPT / 2));
    assert!(topology.expire(now + LINK_STATE_KEPT));
    assert_eq!(topology.nodes(), 0);
    let (foreign, signed) = (ContentId([1; 32]), teller.held(4, now).signed);
    assert!(verified(&signed, foreign).is_none());
    assert!(verified(&signed, teller.roster.mesh()).is_some());
}

/// A state comes to a neighbour once, with its age, and a forged one ends the stream.
#[tokio::test(start_paused = true)]
async fn a_stream_brings_what_the_other_side_lacks_with_its_age() {
    let teller = Teller::new();
    let mut known = Topology::default();
    known.follow(&teller.roster);
    let empty = known.clone();
    let made = Instant::now();
    tokio::time::advance(Duration::from_secs(100)).await;
    known.take(teller.held(7, made));
    let (here, there) = tokio::io::duplex(64 * 1024);
    let ends = |topology: Topology| {
        let (publish, topology) = watch::channel(Arc::new(topology));
        let (report, reports) = mpsc::channel(16);
        let ends = exchange::Ends {
            mesh: teller.roster.mesh(),
            topology,
            asked: exchange::Asked::default(),
            report,
        };
        (ends, publish, reports)
    };
    let (has, _has_publish, mut nothing) = ends(known.clone());
    let (lacks, publish, mut told) = ends(empty.clone());
    let (has, lacks) = (
        tokio::spawn(exchange::run(here, has)),
        tokio::spawn(exchange::run(there, lacks)),
    );
    let held = told.recv().await.unwrap();
    assert_eq!(held.state.stamp.sequence, 7);
    let age = Instant::now() - held.made;
    assert!(
        age >= Duration::from_secs(100) && age < Duration::from_secs(103),
        "{age:?}"
    );
    publish.send_replace(Arc::new(known));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(
        told.try_recv().is_err() && nothing.try_recv().is_err(),
        "nothing comes twice"
    );
    assert!(!has.is_finished());
    drop(publish);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(lacks.is_finished(), "a stopped mesh has no streams");
}
