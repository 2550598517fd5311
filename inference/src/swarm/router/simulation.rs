//! Forty conversations with five characters on four nodes, one of them four times slower, through two gateways whose news is up to a
//! second old: what the router makes of it, beside sending each question where the fewest are (join-shortest-queue).
//!
//! A simulated node computes up to four generations at once, each at an equal share of its speed, and lets the others wait in order; it
//! keeps the prompts of so many tokens, those used last. Nothing else of the product is simulated here.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::swarm::route::{Priced, decide};

const CHATS: usize = 40;
const TURNS: usize = 10;
const CARDS: usize = 5;
const CARD_TOKENS: f64 = 300.0;
const QUESTION_TOKENS: f64 = 30.0;
const ANSWER_TOKENS: f64 = 64.0;
/// Seconds for which a person thinks and writes, on average.
const THINKING: f64 = 25.0;
/// Seconds between two announcements of a node.
const NEWS_EVERY: f64 = 1.0;
const STEP: f64 = 0.005;
const SLOTS: usize = 4;
/// Tokens that a node keeps.
const KEPT_TOKENS: f64 = 16_384.0;
const ROUND_TRIP: f64 = 0.01;

/// Who decides.
#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Router,
    /// The router without what it learns of computed prompts.
    WithoutAffinity,
    ShortestQueue,
}

struct Job {
    chat: usize,
    /// Seconds of work if it were alone.
    work: f64,
    asked: f64,
    handed: Option<Asked>,
}

struct Node {
    speed: f64,
    claims: f64,
    jobs: VecDeque<Job>,
    /// Conversations that are kept with their tokens, the one used last behind.
    kept: Vec<(usize, f64)>,
    cards: Vec<usize>,
    announced: u32,
}

struct Chat {
    turn: usize,
    /// When the person asks next; infinite while an answer is awaited.
    asks: f64,
}

struct Simulation {
    policy: Policy,
    nodes: Vec<Node>,
    chats: Vec<Chat>,
    routers: [Router; 2],
    random: ChaCha8Rng,
    start: Instant,
    prefilled: f64,
    took: Vec<f64>,
    /// Questions to each node.
    sent: Vec<usize>,
}

fn id(number: usize) -> [u8; 32] {
    [number as u8 + 1; 32]
}

impl Simulation {
    fn new(policy: Policy, seed: u64, speeds: &[(f64, f64)]) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let nodes = speeds.iter().map(|(speed, claims)| Node {
            speed: *speed,
            claims: *claims,
            jobs: VecDeque::new(),
            kept: Vec::new(),
            cards: Vec::new(),
            announced: 0,
        });
        let chats = (0..CHATS).map(|_| Chat {
            turn: 0,
            asks: random.random_range(0.0..THINKING),
        });
        Self {
            policy,
            chats: chats.collect(),
            nodes: nodes.collect(),
            routers: [Router::default(), Router::default()],
            random,
            start: Instant::now(),
            prefilled: 0.0,
            took: Vec::new(),
            sent: vec![0; speeds.len()],
        }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    fn run(mut self) -> Self {
        let mut now = 0.0;
        let mut news = 0.0;
        while self.took.len() < CHATS * TURNS {
            now += STEP;
            assert!(now < 3600.0, "everybody is answered");
            if now >= news {
                news += NEWS_EVERY;
                for node in &mut self.nodes {
                    node.announced = node.jobs.len() as u32;
                }
            }
            for chat in 0..CHATS {
                if self.chats[chat].asks <= now {
                    self.ask(chat, now);
                }
            }
            for node in 0..self.nodes.len() {
                self.work(node, now);
            }
        }
        self
    }

    fn ask(&mut self, chat: usize, now: f64) {
        self.chats[chat].asks = f64::INFINITY;
        let before = self.chats[chat].turn as f64 * (QUESTION_TOKENS + ANSWER_TOKENS);
        let question = Question {
            session: ContentId(id(chat)),
            card: ContentId(id(200 + chat % CARDS)),
            card_tokens: CARD_TOKENS,
            work: Work {
                prompt_tokens: CARD_TOKENS + before + QUESTION_TOKENS,
                answer_tokens: ANSWER_TOKENS,
            },
            operation: Operation::Generate,
        };
        let gateway = chat % 2;
        let (node, handed) = match self.policy {
            Policy::ShortestQueue => (self.shortest(chat, gateway), None),
            policy => self.routed(policy, gateway, question, now),
        };
        self.sent[node] += 1;
        let new = self.nodes[node].take_prompt(chat, question.work.prompt_tokens);
        self.prefilled += new;
        let speed = self.nodes[node].speed;
        self.nodes[node].jobs.push_back(Job {
            chat,
            work: new / (10.0 * speed) + ANSWER_TOKENS / speed,
            asked: now,
            handed,
        });
    }

    fn routed(&mut self, policy: Policy, gateway: usize, question: Question, now: f64) -> (usize, Option<Asked>) {
        let known = self.nodes.iter().enumerate().map(|(number, node)| Known {
            node: NodeId(id(number)),
            offer: Offer {
                model: "simulated".into(),
                slots: SLOTS as u32,
                generations: node.announced,
                prefill_tokens_per_second: node.claims as f32 * 10.0,
                decode_tokens_per_second: node.claims as f32,
                decode_eight_tokens_per_second: node.claims as f32,
                is_main: true,
                reload_ms: 0,
            },
            round_trip_ms: ROUND_TRIP * 1000.0,
            penalties: Penalties::default(),
        });
        let now = self.at(now);
        let mut candidates = self.routers[gateway].candidates(now, &question, known.collect());
        if policy == Policy::WithoutAffinity {
            candidates.iter_mut().for_each(|candidate| {
                (candidate.cached_tokens, candidate.holds_conversation) = (0.0, false);
            });
        }
        let decision = decide(candidates, question.work, self.random.random());
        let (candidate, cost): &Priced = decision.winner().expect("somebody can be asked");
        let (asked, _) = self.routers[gateway].began(now, question, candidate, *cost);
        (usize::from(candidate.node.0[0]) - 1, Some(asked))
    }

    /// Where the fewest are, by what was announced and what this gateway has sent itself.
    fn shortest(&mut self, chat: usize, gateway: usize) -> usize {
        let lengths: Vec<usize> = self
            .nodes
            .iter()
            .map(|node| {
                let own = node
                    .jobs
                    .iter()
                    .filter(|job| job.chat % 2 == gateway && job.chat != chat);
                own.count().max(node.announced as usize)
            })
            .collect();
        let least = lengths.iter().min().copied().unwrap_or(0);
        let shortest: Vec<usize> = (0..lengths.len()).filter(|node| lengths[*node] == least).collect();
        shortest[self.random.random_range(0..shortest.len())]
    }

    fn work(&mut self, node: usize, now: f64) {
        let running = self.nodes[node].jobs.len().min(SLOTS);
        let mut ended = Vec::new();
        for (number, job) in self.nodes[node].jobs.iter_mut().take(SLOTS).enumerate() {
            job.work -= STEP / running as f64;
            if job.work <= 0.0 {
                ended.push(number);
            }
        }
        for number in ended.into_iter().rev() {
            let job = self.nodes[node].jobs.remove(number).expect("it was just seen");
            let took = now - job.asked + ROUND_TRIP;
            self.took.push(took);
            if let Some(asked) = job.handed {
                let answered = Ended::Answered {
                    took_ms: took * 1000.0,
                    answer_tokens: ANSWER_TOKENS,
                };
                let at = self.at(now);
                self.routers[job.chat % 2].ended(at, asked, answered);
            }
            let chat = &mut self.chats[job.chat];
            chat.turn += 1;
            if chat.turn < TURNS {
                let thinking = -self.random.random_range(0.0001_f64..1.0).ln() * THINKING;
                self.chats[job.chat].asks = now + thinking;
            }
        }
    }

    fn percentile(&self, part: f64) -> f64 {
        let mut took = self.took.clone();
        took.sort_by(f64::total_cmp);
        took[((took.len() - 1) as f64 * part) as usize]
    }

    /// Every question once, and every card once.
    fn oracle() -> f64 {
        (CHATS * TURNS) as f64 * QUESTION_TOKENS + CARDS as f64 * CARD_TOKENS
    }
}

impl Node {
    /// The tokens of a prompt that must be computed; afterwards it and its answer are kept.
    fn take_prompt(&mut self, chat: usize, tokens: f64) -> f64 {
        let kept = self.kept.iter().position(|(kept, _)| *kept == chat);
        let had = kept.map(|position| self.kept.remove(position).1);
        let card = chat % CARDS;
        let from_card = if self.cards.contains(&card) { CARD_TOKENS } else { 0.0 };
        if !self.cards.contains(&card) {
            self.cards.push(card);
        }
        self.kept.push((chat, tokens + ANSWER_TOKENS));
        // A conversation holds only what it has beyond its card.
        while self.kept.iter().map(|(_, tokens)| tokens - CARD_TOKENS).sum::<f64>() > KEPT_TOKENS {
            self.kept.remove(0);
        }
        tokens - had.unwrap_or(from_card)
    }
}

const FAST: (f64, f64) = (40.0, 40.0);
const SLOW: (f64, f64) = (10.0, 10.0);

/// The mean over seeds of what was computed, and the mean of the time within which 95 of 100 were answered.
fn over_seeds(policy: Policy) -> (f64, f64) {
    const SEEDS: u64 = 20;
    let runs = (1..=SEEDS).map(|seed| Simulation::new(policy, seed, &[FAST, FAST, FAST, SLOW]).run());
    let sums = runs.fold((0.0, 0.0), |(tokens, time), run| {
        (tokens + run.prefilled, time + run.percentile(0.95))
    });
    (sums.0 / SEEDS as f64, sums.1 / SEEDS as f64)
}

#[test]
fn prompts_are_computed_about_once_and_the_slowest_answers_come_sooner() {
    let (tokens, time) = over_seeds(Policy::Router);
    let (shortest_tokens, shortest_time) = over_seeds(Policy::ShortestQueue);
    let (scattered_tokens, _) = over_seeds(Policy::WithoutAffinity);
    let oracle = Simulation::oracle();
    println!(
        "tokens computed by the least that is possible: router {:.3}, without affinity {:.3}, shortest queue {:.3}; \
         p95 {time:.2} s, shortest queue {shortest_time:.2} s",
        tokens / oracle,
        scattered_tokens / oracle,
        shortest_tokens / oracle
    );
    assert!(tokens <= 1.2 * oracle, "{}", tokens / oracle);
    assert!(time <= 0.7 * shortest_time, "{time} of {shortest_time}");
    assert!(
        scattered_tokens > 1.2 * oracle,
        "it is the affinity that does it: {}",
        scattered_tokens / oracle
    );
}

#[test]
fn a_node_that_overstates_its_speed_loses_its_questions() {
    let speeds = [FAST, FAST, FAST];
    let share = |speeds: &[(f64, f64)]| {
        let run = Simulation::new(Policy::WithoutAffinity, 3, speeds).run();
        run.sent[0] as f64 / (CHATS * TURNS) as f64
    };
    let honest = share(&speeds);
    let boasting = share(&[(40.0, 160.0), FAST, FAST]);
    assert!(
        boasting - honest < 0.2 * (1.0 - honest),
        "{boasting} of all questions, {honest} when honest"
    );
}
