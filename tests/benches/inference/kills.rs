//! An engine's process is killed at a random token, and another engine goes on with what was heard of it, as a gateway does: whether anything
//! is lost, doubled or otherwise than in a run that nothing disturbed, and how long nothing is said, less what computing it again takes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use inference::{
    Engine, ModelSource,
    engine::{EngineEvent, Generation, Running},
};

use rustix::process::{Signal, kill_process};

use super::{GENERATED, Talk, memory::pid, percentile, say, start};

/// What may be missing or doubled: nothing.
const NONE: Option<f64> = Some(0.0);
/// How long nothing may be said, less computing again, of 95 in 100.
const SILENCE_MAX: f64 = 100.0;
/// Different random numbers of the answers.
const SEEDS: u32 = 5;

/// What was heard of an answer.
#[derive(Default)]
struct Heard {
    text: String,
    tokens: Vec<i32>,
    /// Text whose token has not come.
    untold: String,
    last: Option<Instant>,
}

impl Heard {
    /// Listens until so many tokens are there; whether the generation has ended before.
    async fn listen(&mut self, running: &mut Running, tokens: usize) -> bool {
        while self.tokens.len() < tokens {
            match running.next().await {
                Some(EngineEvent::Text(piece)) => self.untold.push_str(&piece),
                Some(EngineEvent::Token(token)) => {
                    self.text.push_str(&std::mem::take(&mut self.untold));
                    self.tokens.push(token);
                    self.last = Some(Instant::now());
                }
                Some(EngineEvent::Finished(_)) => {
                    self.text.push_str(&std::mem::take(&mut self.untold));
                    return true;
                }
                Some(EngineEvent::Failed(_)) | None => {
                    self.untold.clear();
                    return true;
                }
                Some(EngineEvent::Thought(_) | EngineEvent::Probability(_)) => {}
            }
        }
        false
    }
}

/// The whole of an answer, after what is there of it.
fn whole(talk: &Talk, session: u16, seed: u32, accepted: &[i32]) -> Generation {
    let prompt = talk.first(1).swap_remove(0);
    let mut generation = super::generation(session, prompt, talk.card.len(), GENERATED);
    generation.sampling.seed = seed;
    generation.accepted = accepted.to_vec();
    generation
}

/// What going on takes from being asked to the next token.
async fn goes_on(engine: &Engine, generation: Generation, heard: &mut Heard) -> (Running, Duration) {
    let asked = Instant::now();
    let until = generation.accepted.len() + 1;
    let mut running = engine.generate(generation).await.expect("it begins");
    heard.listen(&mut running, until).await;
    (running, asked.elapsed())
}

#[derive(Default)]
struct Found {
    lost: usize,
    doubled: usize,
    otherwise: usize,
    /// Milliseconds.
    silences: Vec<f64>,
}

pub async fn kills(count: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let survivor = start(directory.path(), ModelSource::BuiltIn, 2, 512).await;
    let talk = Talk::new();
    let mut undisturbed = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut heard = Heard::default();
        let mut running = survivor.generate(whole(&talk, 1, seed, &[])).await.expect("it begins");
        heard.listen(&mut running, usize::MAX).await;
        undisturbed.insert(seed, heard);
    }
    let mut found = Found::default();
    let mut random = 20_u64;
    for kill in 0..count {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let seed = u32::try_from(kill).unwrap_or(0) % SEEDS;
        let at = 1 + (random >> 33) as usize % (GENERATED as usize - 1);
        let victim = start(directory.path(), ModelSource::BuiltIn, 2, 512).await;
        one(&survivor, victim, (&talk, seed, at), &undisturbed[&seed], &mut found).await;
    }
    // One that had said everything before its end was noticed cut nothing off.
    let cut = found.silences.len() as f64;
    say(
        "kills-in-the-middle",
        cut,
        "answers",
        None,
        "higher",
        Some(("engines killed", count as f64)),
    );
    say("kills-lost", found.lost as f64, "tokens", NONE, "lower", None);
    say("kills-doubled", found.doubled as f64, "tokens", NONE, "lower", None);
    say(
        "kills-otherwise",
        found.otherwise as f64,
        "answers",
        NONE,
        "lower",
        None,
    );
    let silence = percentile(found.silences, 0.95);
    say("kills-silence-p95", silence, "ms", Some(SILENCE_MAX), "lower", None);
}

/// Kills one engine after a token of its answer, and holds what came of it against the undisturbed answer.
async fn one(
    survivor: &Engine,
    victim: Engine,
    (talk, seed, at): (&Talk, u32, usize),
    whole_answer: &Heard,
    found: &mut Found,
) {
    let mut heard = Heard::default();
    let mut running = victim.generate(whole(talk, 2, seed, &[])).await.expect("it begins");
    heard.listen(&mut running, at).await;
    let process = victim.load().borrow().process.expect("it is a process");
    kill_process(pid(process), Signal::KILL).expect("it lives");
    // What was on its way counts, as at a gateway.
    let has_ended = heard.listen(&mut running, GENERATED as usize).await;
    let (begun, last) = (heard.tokens.clone(), heard.last.expect("a token came"));
    if has_ended {
        let (mut running, _) = goes_on(survivor, whole(talk, 3, seed, &begun), &mut heard).await;
        let silence = heard.last.expect("it goes on") - last;
        heard.listen(&mut running, usize::MAX).await;
        let (_, computing) = goes_on(
            survivor,
            whole(talk, 4, seed, &begun),
            &mut Heard {
                tokens: begun,
                ..Heard::default()
            },
        )
        .await;
        found
            .silences
            .push(silence.saturating_sub(computing).as_secs_f64() * 1000.0);
    }
    found.lost += whole_answer.tokens.len().saturating_sub(heard.tokens.len());
    found.doubled += heard.tokens.len().saturating_sub(whole_answer.tokens.len());
    found.otherwise += usize::from((&heard.tokens, &heard.text) != (&whole_answer.tokens, &whole_answer.text));
}
