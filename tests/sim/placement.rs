//! An hour in which nodes die, come and restart, with sizes and ids only. Which shards a node holds and what it may drop is decided
//! by the real core, at each node from what that node knows; news of births and deaths reaches each node at another moment.
//!
//! A change counts as acknowledged by the mesh when all holders but one have it: gossip brings it there in a fraction of a second,
//! until then its writer keeps it. From then on it must never be on fewer than three disks that still exist.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crdt::{
    limits::{PLACEMENT_COPIES, PLACEMENT_PATIENCE, PLACEMENT_PATIENCE_URGENT},
    placement::{Drop, Holding, Scores, Weather, choose},
    set::ShardSet,
};
use keys::{NodeId, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// Milliseconds of a step.
const STEP: u64 = 1000;
const MINUTE: u64 = 60 * STEP;
/// After the hour the mesh may come to rest.
const CALM: u64 = 10 * MINUTE;
/// Bytes that a node sends or receives in a step: 100 Mbit/s.
const BYTES_PER_STEP: u64 = 12_500_000;
/// Bytes of a shard at the beginning.
const SHARD_BYTES: std::ops::Range<u64> = 64_000_000..192_000_000;
/// Bytes of a change with its texts.
const CHANGE_BYTES: u64 = 560;
/// Changes of the whole mesh in a step.
const CHANGES_PER_STEP: usize = 20;
/// Of a hundred pushes so many are lost; the next reconciliation repairs it.
const LOST_PERCENT: u32 = 2;
/// How long a restart takes.
const RESTART: std::ops::Range<u64> = 10 * STEP..45 * STEP;
/// News of a birth or a death reaches a node within this.
const NEWS: u64 = 3 * STEP;
/// A node that leaves a shard talks with a holder of it every so many steps.
const TALKS_EVERY: u64 = 5;
/// So many members of a shard's order are asked whether they hold it.
const ASKED: usize = 16;

/// What keeps the data; each off in a run that must fail.
#[derive(Clone, Copy, Debug)]
pub struct Protections {
    /// A shard is dropped only after enough holders have confirmed it.
    pub confirmations: bool,
    /// A silent holder is waited for.
    pub patience: bool,
}

impl std::default::Default for Protections {
    fn default() -> Self {
        Self {
            confirmations: true,
            patience: true,
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub struct Churn {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// So many die without a word in this time, and as many come.
    pub replaced: usize,
    /// How long it lasts.
    pub minutes: u64,
    /// Whether the new ones come first, all within a minute; else each comes some minutes after a death.
    pub planned: bool,
    /// What keeps the data.
    pub protections: Protections,
}

impl std::default::Default for Churn {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 1000,
            replaced: 200,
            minutes: 60,
            planned: false,
            protections: Protections::default(),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The fewest disks that an acknowledged change was on at any moment.
    pub least_holders: usize,
    /// Bytes that went from node to node because holders changed, or because a push or a restart had left a gap.
    pub moved: u64,
    /// Bytes that had to: each shard once to each node that became its holder by a birth or a death.
    pub had_to_move: u64,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Shards that nodes let go of.
    pub dropped: usize,
}

/// Prints the two figures of placement, each a JSON line: the worst of the two ways to replace nodes.
pub fn bench(seed: u64) {
    let outcomes = [true, false].map(|planned| {
        Churn {
            seed,
            planned,
            ..Churn::default()
        }
        .run()
    });
    let least = outcomes.iter().map(|outcome| outcome.least_holders).min();
    let factor = outcomes.iter().map(Outcome::factor).fold(0.0, f64::max);
    let what = "1000 nodes, 256 shards, 5 holders, 20 % of the nodes replaced in an hour";
    println!(
        "{}",
        json!({
            "bench": "sim", "name": format!("fewest holders of an acknowledged change, {what}"), "value": least, "unit": "holders",
            "goal": 3, "better": "higher", "rival": null, "mock": false,
        })
    );
    println!(
        "{}",
        json!({
            "bench": "sim", "name": format!("bytes moved for each that had to move, {what}"), "value": factor, "unit": "ratio",
            "goal": 2, "better": "lower", "rival": null, "mock": false,
        })
    );
}

impl Outcome {
    /// Bytes moved for each byte that had to.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.moved as f64 / self.had_to_move as f64
    }
}

struct Node {
    id: NodeId,
    scores: Scores,
    born: u64,
    dies: Option<u64>,
    restarts: Option<(u64, u64)>,
    holding: Holding,
}

impl Node {
    /// Since when it has been silent, if it is.
    fn silent_since(&self, now: u64) -> Option<u64> {
        let restart = self.restarts.filter(|(from, to)| (*from..*to).contains(&now));
        let death = self.dies.filter(|moment| *moment <= now);
        death.or(restart.map(|(from, _)| from))
    }

    fn is_up(&self, now: u64) -> bool {
        self.born <= now && self.silent_since(now).is_none()
    }

    /// Its disk is there, whether it runs or not.
    fn exists(&self, now: u64) -> bool {
        self.born <= now && self.dies.is_none_or(|moment| moment > now)
    }
}

/// What a node has of a shard.
#[derive(Clone, Copy)]
struct Copy {
    /// Bytes that are still to come; none where it is whole.
    missing: u64,
    from: Option<usize>,
    /// The last change in it.
    version: u64,
}

struct Shard {
    bytes: u64,
    version: u64,
    acknowledged: u64,
    /// All nodes there will be, by rank.
    order: Vec<usize>,
    copies: BTreeMap<usize, Copy>,
    /// In which steps opinions about it may change.
    unsettled: BTreeSet<u64>,
    /// Its holders if everybody knew everything at once.
    ideal: BTreeSet<usize>,
}

struct World {
    churn: Churn,
    rng: ChaCha8Rng,
    nodes: Vec<Node>,
    shards: Vec<Shard>,
    outcome: Outcome,
    weather: Weather,
}

impl Churn {
    /// Runs the hour.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let mut world = World::new(*self);
        let mut now = 0;
        while now < self.minutes * MINUTE + CALM {
            world.step(now);
            now += STEP;
        }
        let outcome = &mut world.outcome;
        outcome.acknowledged = world.shards.iter().map(|shard| shard.acknowledged).sum();
        world.outcome
    }

    fn nodes(&self, rng: &mut ChaCha8Rng) -> Vec<Node> {
        let mut nodes: Vec<Node> = (0..self.nodes + self.replaced)
            .map(|number| {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&self.seed.to_le_bytes()).update(&number.to_le_bytes());
                let id = NodeId(*hasher.finalize().as_bytes());
                let from = rng.random_range(STEP..self.minutes * MINUTE);
                Node {
                    id,
                    scores: Scores::new(&id),
                    born: 0,
                    dies: None,
                    // Every node is restarted once in this hour: a new version of the program.
                    restarts: Some((from, from + rng.random_range(RESTART))),
                    holding: Holding::of(ShardSet::none()),
                }
            })
            .collect();
        for number in 0..self.replaced {
            let dies = rng.random_range(MINUTE..self.minutes * MINUTE);
            nodes[number].dies = Some(dies);
            nodes[self.nodes + number].born = if self.planned {
                rng.random_range(STEP..60 * STEP)
            } else {
                dies + rng.random_range(60 * STEP..600 * STEP)
            };
        }
        nodes
    }
}

impl World {
    fn new(churn: Churn) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(churn.seed);
        let nodes = churn.nodes(&mut rng);
        let shards = (0..=u8::MAX).map(|number| {
            let mut order: Vec<usize> = (0..nodes.len()).collect();
            order.sort_by_key(|at| Reverse(nodes[*at].scores.of(number)));
            Shard {
                bytes: rng.random_range(SHARD_BYTES),
                version: 1,
                acknowledged: 1,
                order,
                copies: BTreeMap::new(),
                unsettled: BTreeSet::new(),
                ideal: BTreeSet::new(),
            }
        });
        let mut world = Self {
            shards: shards.collect(),
            nodes,
            churn,
            rng,
            outcome: Outcome {
                least_holders: usize::MAX,
                moved: 0,
                had_to_move: 0,
                acknowledged: 0,
                dropped: 0,
            },
            weather: Weather::Calm,
        };
        world.settle_in();
        world
    }

    /// At the beginning each holder has its shards.
    fn settle_in(&mut self) {
        for number in 0..=u8::MAX {
            let ideal = self.ideal(number, 0);
            let shard = &mut self.shards[usize::from(number)];
            for holder in &ideal {
                let whole = Copy {
                    missing: 0,
                    from: None,
                    version: 1,
                };
                shard.copies.insert(*holder, whole);
                let holding = &mut self.nodes[*holder].holding;
                let scope = holding.scope().iter().chain([number]).collect();
                holding.place(scope, Timestamp(0));
            }
            shard.ideal = ideal;
        }
    }

    fn ideal(&self, shard: u8, now: u64) -> BTreeSet<usize> {
        let order = self.shards[usize::from(shard)].order.iter();
        let alive = order.filter(|at| self.nodes[**at].exists(now));
        alive.take(PLACEMENT_COPIES).copied().collect()
    }

    fn step(&mut self, now: u64) {
        let silences = self.nodes.iter().filter(|node| node.born <= now);
        let silences =
            silences.map(|node| Duration::from_millis(node.silent_since(now).map_or(0, |since| now - since)));
        self.weather = Weather::of(silences);
        self.stir(now);
        self.check(now);
        self.write(now);
        let mut load: BTreeMap<usize, u64> = BTreeMap::new();
        for number in 0..=u8::MAX {
            if self.shards[usize::from(number)].unsettled.remove(&now) {
                self.place(number, now);
            }
            self.choose_sources(number, now, &mut load);
        }
        for number in 0..=u8::MAX {
            self.transfer(number, &load);
            self.repair(number, now);
            self.let_go(number, now);
        }
        self.check(now);
    }

    /// Births, deaths, and restarts that begin or end: the shards near whose beginning the node stands are looked at for a while.
    fn stir(&mut self, now: u64) {
        let moment = |moment: u64| moment <= now && moment + STEP > now;
        let mut stirred: BTreeMap<usize, bool> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let is_lasting = (node.born > 0 && moment(node.born)) || node.dies.is_some_and(moment);
            let restarts = node.restarts.is_some_and(|(from, to)| moment(from) || moment(to));
            if is_lasting || restarts {
                stirred.insert(at, is_lasting);
            }
        }
        for number in 0..=u8::MAX {
            let near = self.shards[usize::from(number)].order.iter();
            let near: Vec<bool> = near.take(ASKED).filter_map(|at| stirred.get(at).copied()).collect();
            if near.is_empty() {
                continue;
            }
            let ideal = self.ideal(number, now);
            let shard = &mut self.shards[usize::from(number)];
            // While the news travels, when a silence becomes urgent, and when patience ends.
            for after in [Duration::ZERO, PLACEMENT_PATIENCE_URGENT, PLACEMENT_PATIENCE] {
                let from = now + after.as_millis() as u64;
                shard
                    .unsettled
                    .extend((0..=NEWS / STEP + 1).map(|step| from + step * STEP));
            }
            if near.contains(&true) {
                self.outcome.had_to_move += ideal.difference(&shard.ideal).count() as u64 * shard.bytes;
                shard.ideal = ideal;
            }
        }
    }

    /// What a node knows of another: for how long it has been silent, or nothing at all of one that has just been born.
    fn silence(&self, observer: usize, of: usize, now: u64) -> Option<Duration> {
        let node = &self.nodes[of];
        let delay = (observer as u64 * 31 + of as u64 * 17) % NEWS;
        if node.born + delay.min(node.born) > now {
            return None;
        }
        let silent = node
            .silent_since(now)
            .map_or(0, |since| (now - since).saturating_sub(delay));
        Some(match silent {
            0 => Duration::ZERO,
            _ if !self.churn.protections.patience => Duration::MAX,
            silent => Duration::from_millis(silent),
        })
    }

    fn holders_as_seen_by(&self, observer: usize, number: u8, now: u64) -> Vec<NodeId> {
        let order = self.shards[usize::from(number)].order.iter();
        let known = order.filter_map(|at| Some((self.nodes[*at].id, self.silence(observer, *at, now)?)));
        choose(known, PLACEMENT_COPIES, self.weather)
    }

    /// Each node that may be concerned says whether it holds the shard.
    fn place(&mut self, number: u8, now: u64) {
        let shard = &self.shards[usize::from(number)];
        let mut asked: BTreeSet<usize> = shard.order.iter().take(ASKED).copied().collect();
        asked.extend(shard.copies.keys());
        for at in asked
            .into_iter()
            .filter(|at| self.nodes[*at].is_up(now))
            .collect::<Vec<_>>()
        {
            let holds = self.holders_as_seen_by(at, number, now).contains(&self.nodes[at].id);
            let bytes = self.shards[usize::from(number)].bytes;
            let holding = &mut self.nodes[at].holding;
            if holding.scope().contains(number) == holds {
                continue;
            }
            let others = holding
                .scope()
                .iter()
                .filter(|other| *other != number)
                .collect::<Vec<_>>();
            let scope = others.into_iter().chain(holds.then_some(number)).collect();
            holding.place(scope, Timestamp(now));
            let nothing = Copy {
                missing: bytes,
                from: None,
                version: 0,
            };
            self.shards[usize::from(number)].copies.entry(at).or_insert(nothing);
        }
    }

    /// Who gets what from whom; `load` counts the transfers at each node.
    fn choose_sources(&mut self, number: u8, now: u64, load: &mut BTreeMap<usize, u64>) {
        let nodes = &self.nodes;
        let shard = &mut self.shards[usize::from(number)];
        if shard.copies.values().all(|copy| copy.missing == 0) {
            return;
        }
        let sources: Vec<usize> = shard
            .copies
            .iter()
            .filter(|(at, copy)| copy.missing == 0 && nodes[**at].is_up(now))
            .map(|(at, _)| *at)
            .collect();
        for (at, copy) in &mut shard.copies {
            let wants = copy.missing > 0 && nodes[*at].is_up(now) && nodes[*at].holding.scope().contains(number);
            copy.from = copy.from.filter(|from| wants && sources.contains(from));
            if wants && copy.from.is_none() {
                let least = sources
                    .iter()
                    .min_by_key(|source| load.get(source).copied().unwrap_or(0));
                copy.from = least.copied();
            }
            if let Some(from) = copy.from {
                *load.entry(from).or_default() += 1;
                *load.entry(*at).or_default() += 1;
            }
        }
    }

    fn transfer(&mut self, number: u8, load: &BTreeMap<usize, u64>) {
        let shard = &mut self.shards[usize::from(number)];
        if shard.copies.values().all(|copy| copy.from.is_none()) {
            return;
        }
        let versions: BTreeMap<usize, u64> = shard.copies.iter().map(|(at, copy)| (*at, copy.version)).collect();
        for (at, copy) in &mut shard.copies {
            let Some(from) = copy.from else { continue };
            let share = BYTES_PER_STEP / load[&from].max(load[at]);
            let bytes = copy.missing.min(share);
            copy.missing -= bytes;
            self.outcome.moved += bytes;
            if copy.missing == 0 {
                (copy.version, copy.from) = (versions[&from], None);
                self.nodes[*at].holding.inserted(number);
            }
        }
    }

    /// People write; gossip brings it to every holder that is up, mostly.
    fn write(&mut self, now: u64) {
        for _ in 0..CHANGES_PER_STEP {
            let number = self.rng.random_range(0..=u8::MAX);
            let shard = &mut self.shards[usize::from(number)];
            let (before, nodes) = (shard.version, &mut self.nodes);
            let mut reached = false;
            for (at, copy) in &mut shard.copies {
                let is_there = copy.missing == 0 && copy.version == before && nodes[*at].is_up(now);
                if is_there && self.rng.random_range(0..100) >= LOST_PERCENT {
                    copy.version = before + 1;
                    nodes[*at].holding.inserted(number);
                    reached = true;
                }
            }
            // Nobody got it: its writer keeps it and offers it again.
            if reached {
                shard.version = before + 1;
                shard.bytes += CHANGE_BYTES;
            }
        }
    }

    /// Those who are up reconcile: who is behind gets what it lacks from another who is up.
    fn repair(&mut self, number: u8, now: u64) {
        let nodes = &mut self.nodes;
        let shard = &mut self.shards[usize::from(number)];
        let up = |at: &usize, copy: &Copy| copy.missing == 0 && nodes[*at].is_up(now);
        let newest = shard
            .copies
            .iter()
            .filter(|(at, copy)| up(at, copy))
            .map(|(_, copy)| copy.version)
            .max();
        let Some(newest) = newest else { return };
        for (at, copy) in &mut shard.copies {
            if copy.missing > 0 || !nodes[*at].is_up(now) || copy.version == newest {
                continue;
            }
            self.outcome.moved += (newest - copy.version) * CHANGE_BYTES;
            copy.version = newest;
            nodes[*at].holding.inserted(number);
        }
        let has_newest =
            |(at, copy): &(&usize, &Copy)| copy.missing == 0 && copy.version == newest && nodes[**at].exists(now);
        if shard.copies.iter().filter(has_newest).count() >= PLACEMENT_COPIES - 1 {
            shard.acknowledged = newest;
        }
    }

    /// Whoever is no holder any more talks with one that is, and drops what may be dropped.
    fn let_go(&mut self, number: u8, now: u64) {
        let nodes = &self.nodes;
        let leaves = |at: &usize| {
            let is_due = (now / STEP + *at as u64).is_multiple_of(TALKS_EVERY) || !self.churn.protections.confirmations;
            is_due && nodes[*at].is_up(now) && !nodes[*at].holding.scope().contains(number)
        };
        let copies = self.shards[usize::from(number)].copies.keys();
        let leaving: Vec<usize> = copies.copied().filter(leaves).collect();
        for at in leaving {
            let holders = self.holders_as_seen_by(at, number, now);
            let shard = &mut self.shards[usize::from(number)];
            let copy = shard.copies[&at];
            let peer = shard
                .order
                .iter()
                .copied()
                .filter(|peer| holders.contains(&self.nodes[*peer].id));
            let peers: Vec<usize> = peer.take(holders.len()).collect();
            let is_partial = copy.missing > 0;
            if let Some(peer) = peers.get(self.rng.random_range(0..PLACEMENT_COPIES)) {
                let theirs = shard.copies.get(peer).filter(|theirs| theirs.missing == 0);
                let agree = theirs.is_some_and(|theirs| theirs.version == copy.version) && self.nodes[*peer].is_up(now);
                if agree && !is_partial {
                    let (peer, shards) = (self.nodes[*peer].id, std::iter::once(number).collect());
                    self.nodes[at].holding.agreed(peer, &shards);
                }
            }
            let verdict = self.nodes[at]
                .holding
                .may_drop(number, &holders, PLACEMENT_COPIES, Timestamp(now));
            let drops = verdict == Drop::Now || is_partial || !self.churn.protections.confirmations;
            if drops {
                shard.copies.remove(&at);
                self.nodes[at].holding.dropped(number);
                self.outcome.dropped += 1;
            }
        }
    }

    /// On how many disks each acknowledged change is.
    fn check(&mut self, now: u64) {
        for shard in &self.shards {
            let held = shard.copies.iter().filter(|(at, copy)| {
                copy.missing == 0 && copy.version >= shard.acknowledged && self.nodes[**at].exists(now)
            });
            self.outcome.least_holders = self.outcome.least_holders.min(held.count());
        }
    }
}
