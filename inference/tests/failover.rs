//! An answer whose engine dies or freezes in the middle goes on in another engine: real processes with the built-in model, killed at
//! random tokens, with grammars, seeds and penalties. The text must be that of a run that nothing disturbed, byte for byte.

#[path = "engines/started.rs"]
mod engines;

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use engines::{PATIENCE, started};
use inference::{
    Engine, ModelSource,
    engine::{
        EngineEvent, Generation, Input, Running, Sampling,
        sampling::{Dry, Shape, Xtc},
    },
    swarm::{journal::Journal, pace::Pace},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

const KILLS: usize = 40;
const MODEL: &str = "built-in";
const RUN: u64 = 1;
const CARD: &str =
    "<|im_start|>system\nТы Лис, хитрый лис из зимнего леса. Отвечай коротко и весело, люби ягоды и снег.<|im_end|>\n";

/// An engine and its process.
struct Victim {
    engine: Engine,
    process: u32,
}

/// Every process whose parent is this test.
fn children() -> BTreeSet<u32> {
    let own = std::process::id();
    let tasks = std::fs::read_dir(format!("/proc/{own}/task")).expect("this process");
    let lists = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

async fn start(directory: &Path) -> Victim {
    let before = children();
    let engine = started(directory, ModelSource::BuiltIn, 2).await;
    let process = *children().difference(&before).next().expect("a process of its own");
    Victim { engine, process }
}

fn send(process: u32, signal: Signal) {
    let process = rustix::process::Pid::from_raw(process.try_into().expect("a pid")).expect("a pid");
    rustix::process::kill_process(process, signal).expect("it is there");
}

/// Every way to choose tokens that has a state.
fn samplings() -> Vec<(&'static str, Sampling)> {
    let endless = Sampling {
        tokens_max: 60,
        ignores_end: true,
        ..Sampling::default()
    };
    let schema = r#"{"type":"object","properties":{"name":{"type":"string","maxLength":30},"likes":{"type":"array","items":{"type":"string","maxLength":20},"minItems":2,"maxItems":3},"age":{"type":"integer"}},"required":["name","likes","age"]}"#;
    vec![
        (
            "greedy",
            Sampling {
                temperature: 0.0,
                ..endless.clone()
            },
        ),
        (
            "seeded",
            Sampling {
                temperature: 1.5,
                min_p: 0.0,
                top_p: 1.0,
                seed: 7,
                ..endless.clone()
            },
        ),
        (
            "grammar",
            Sampling {
                shape: Some(Shape::JsonSchema(schema.into())),
                tokens_max: 200,
                temperature: 1.2,
                seed: 3,
                ..Sampling::default()
            },
        ),
        (
            "penalties",
            Sampling {
                repetition: 1.3,
                dry: Some(Dry {
                    multiplier: 0.8,
                    base: 1.75,
                    allowed_length: 2,
                }),
                xtc: Some(Xtc {
                    probability: 0.5,
                    threshold: 0.1,
                }),
                temperature: 1.2,
                seed: 11,
                ..endless.clone()
            },
        ),
        (
            "limits",
            Sampling {
                characters_max: 80,
                seed: 5,
                stops: vec!["никогда".into()],
                ..endless
            },
        ),
    ]
}

fn generation(session: u8, prompt: &str, sampling: &Sampling, accepted: Vec<i32>) -> Generation {
    Generation {
        account: [1; 32],
        session: [session; 32],
        input: Input::Text {
            prompt: prompt.to_owned(),
            card_bytes: CARD.len(),
        },
        sampling: sampling.clone(),
        accepted,
        deadline: PATIENCE,
    }
}

fn prompt() -> String {
    format!("{CARD}<|im_start|>user\nРасскажи сказку.<|im_end|>\n<|im_start|>assistant\n")
}

/// How following a generation ended.
#[derive(Debug)]
enum Ended {
    Finished,
    /// After so many tokens of this attempt, as was asked.
    Reached,
    Failed,
    /// Its pace says so.
    Frozen,
}

/// Follows a generation into the journal, as a gateway does, up to so many tokens. What was shown is added to `shown`.
async fn follow(running: &mut Running, journal: &mut Journal, shown: &mut String, tokens_max: usize) -> Ended {
    let epoch = journal.next_epoch();
    let mut from = u32::try_from(journal.begun().map_or(0, |begun| begun.tokens.len())).expect("few");
    journal.accepted(epoch, RUN, MODEL, "").expect("it is under way");
    let mut pulse = running.pulse();
    let mut pace = Pace::new(Instant::now());
    pace.announced(inference::limits::BEAT_EVERY);
    let (mut text, mut count) = (String::new(), 0);
    loop {
        if count == tokens_max {
            return Ended::Reached;
        }
        let event = tokio::select! {
            biased;
            event = running.next() => event,
            Ok(()) = pulse.changed() => {
                pace.heard(Instant::now());
                continue;
            }
            () = tokio::time::sleep_until(pace.frozen_at().into()) => return Ended::Frozen,
        };
        pace.heard(Instant::now());
        let tokens = match event {
            Some(EngineEvent::Text(piece)) => {
                text.push_str(&piece);
                continue;
            }
            Some(EngineEvent::Token(token)) => vec![token],
            Some(EngineEvent::Finished(_)) => Vec::new(),
            Some(EngineEvent::Failed(_)) | None => return Ended::Failed,
            Some(EngineEvent::Thought(_) | EngineEvent::Probability(_)) => continue,
        };
        let at = journal.held().1.len();
        journal.said(epoch, from, &tokens, at, &text).expect("what comes next");
        shown.push_str(&std::mem::take(&mut text));
        count += tokens.len();
        from += u32::try_from(tokens.len()).expect("one");
        if tokens.is_empty() {
            return Ended::Finished;
        }
    }
}

/// What a run that nothing disturbs says, and its tokens.
async fn undisturbed(engine: &Engine, sampling: &Sampling) -> (String, usize) {
    let mut running = engine
        .generate(generation(1, &prompt(), sampling, Vec::new()))
        .await
        .expect("it begins");
    let (mut journal, mut shown) = (Journal::default(), String::new());
    let ended = follow(&mut running, &mut journal, &mut shown, usize::MAX).await;
    assert!(matches!(ended, Ended::Finished), "{ended:?}");
    (shown, journal.begun().expect("it begins").tokens.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_killed_at_a_random_token_costs_no_token_and_doubles_none() {
    let directory = tempfile::tempdir().unwrap();
    let survivor = start(directory.path()).await;
    let mut random = ChaCha8Rng::seed_from_u64(20);
    let mut references = Vec::new();
    for (name, sampling) in samplings() {
        let (text, tokens) = undisturbed(&survivor.engine, &sampling).await;
        assert!(tokens > 10, "{name}: {text}");
        references.push((name, sampling, text, tokens));
    }
    for kill in 0..KILLS {
        let (name, sampling, reference, tokens) = &references[kill % references.len()];
        let victim = start(directory.path()).await;
        let at = random.random_range(1..*tokens);
        let (mut journal, mut shown) = (Journal::default(), String::new());
        let mut running = victim
            .engine
            .generate(generation(2, &prompt(), sampling, Vec::new()))
            .await
            .unwrap();
        let ended = follow(&mut running, &mut journal, &mut shown, at).await;
        assert!(matches!(ended, Ended::Reached), "{name} at {at}: {ended:?}");
        send(victim.process, Signal::KILL);
        drop((running, victim));
        // Where it was not killed but has to go on from what another node has.
        let begun = journal.begun().unwrap().tokens.clone();
        assert_eq!(begun.len(), at);
        let mut goes_on = survivor
            .engine
            .generate(generation(3, &prompt(), sampling, begun))
            .await
            .unwrap();
        let ended = follow(&mut goes_on, &mut journal, &mut shown, usize::MAX).await;
        assert!(matches!(ended, Ended::Finished), "{name} at {at}: {ended:?}");
        assert_eq!(&shown, reference, "{name}, killed after token {at} of {tokens}");
        assert_eq!(
            journal.begun().unwrap().tokens.len(),
            *tokens,
            "{name}, killed after token {at}"
        );
    }
}

/// The controls: without going on an answer is cut, and prompting again with the text that is there says something else.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_journal_the_answer_is_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let survivor = start(directory.path()).await;
    let mut differ = 0;
    for (name, sampling) in samplings() {
        let (reference, tokens) = undisturbed(&survivor.engine, &sampling).await;
        let (mut journal, mut shown) = (Journal::default(), String::new());
        let mut running = survivor
            .engine
            .generate(generation(2, &prompt(), &sampling, Vec::new()))
            .await
            .unwrap();
        follow(&mut running, &mut journal, &mut shown, tokens / 2).await;
        drop(running);
        assert_ne!(shown, reference, "{name}: nothing goes on by itself");
        let prompted = format!("{}{shown}", prompt());
        let mut again = survivor
            .engine
            .generate(generation(3, &prompted, &sampling, Vec::new()))
            .await
            .unwrap();
        let mut said = String::new();
        follow(&mut again, &mut Journal::default(), &mut said, usize::MAX).await;
        differ += usize::from(format!("{shown}{said}") != reference);
    }
    assert!(differ >= 4, "only {differ} of {} differ", samplings().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_engine_is_recognised_by_its_pace_and_what_it_says_later_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let survivor = start(directory.path()).await;
    let (_, sampling) = samplings().swap_remove(1);
    let (reference, tokens) = undisturbed(&survivor.engine, &sampling).await;
    let victim = start(directory.path()).await;
    let (mut journal, mut shown) = (Journal::default(), String::new());
    // Frozen before its first token: it can have said none, or some that were on their way.
    send(victim.process, Signal::STOP);
    let mut running = victim
        .engine
        .generate(generation(2, &prompt(), &sampling, Vec::new()))
        .await
        .unwrap();
    let began = Instant::now();
    let ended = follow(&mut running, &mut journal, &mut shown, usize::MAX).await;
    assert!(matches!(ended, Ended::Frozen), "{ended:?}");
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    let begun = journal.begun().map_or_else(Vec::new, |begun| begun.tokens.clone());
    let mut goes_on = survivor
        .engine
        .generate(generation(3, &prompt(), &sampling, begun))
        .await
        .unwrap();
    let ended = follow(&mut goes_on, &mut journal, &mut shown, usize::MAX).await;
    assert!(matches!(ended, Ended::Finished), "{ended:?}");
    assert_eq!(shown, reference);
    // It comes back and speaks: nothing of it is taken any more.
    send(victim.process, Signal::CONT);
    let mut late = 0;
    while let Some(event) = tokio::time::timeout(PATIENCE, running.next()).await.expect("it speaks") {
        match event {
            EngineEvent::Token(token) => {
                assert!(journal.said(1, late, &[token], reference.len(), "x").is_err());
                late += 1;
            }
            EngineEvent::Finished(_) => break,
            _ => {}
        }
    }
    assert_eq!(late as usize, tokens, "it had not noticed");
    assert_eq!(journal.begun().unwrap().text, reference);
}
