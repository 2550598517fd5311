//! What answering costs: each figure one JSON line on standard output, words on standard error. `./x bench inference` runs every row,
//! `./x bench inference ROW...` some. The engine is the product's: a child process, here of this program.
//!
//! Rows: `streams` (generated tokens per second of 1, 8 and 32 people, cold and in their second turn), `gap` (the longest gap in a
//! running stream while a prompt of 400 tokens arrives, on the shape of a 0.6B model), `load` (start to first token), `token` (first
//! token and memory), `kv` (a conversation of 1000 tokens from one engine to another),
//! `overload` (a minute of three times as much as can be done). The floor in `streams` and `token` is what the engine measured of llama.cpp alone when it was loaded.

mod kv;
mod overload;
mod shape;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use inference::{
    Engine, EngineSettings, EngineStatus, ModelSource,
    engine::{EngineEvent, Finished, Generation, Input, Running, Sampling},
};
use serde_json::json;

const ROWS: [&str; 6] = ["streams", "load", "token", "gap", "kv", "overload"];
const GENERATED: u32 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "engine") {
        return inference::engine::worker::main();
    }
    if let Some(unknown) = arguments.iter().find(|row| !ROWS.contains(&row.as_str())) {
        eprintln!(
            "bench inference: there is no '{unknown}'. There are: {}",
            ROWS.join(" ")
        );
        return ExitCode::from(2);
    }
    let wanted = |row: &str| arguments.is_empty() || arguments.iter().any(|wanted| wanted == row);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        if wanted("streams") {
            streams().await;
        }
        if wanted("load") {
            load().await;
        }
        if wanted("token") {
            first_token().await;
        }
        if wanted("gap") {
            gap().await;
        }
        if wanted("kv") {
            kv::kv().await;
        }
        if wanted("overload") {
            overload::overload().await;
        }
    });
    ExitCode::SUCCESS
}

fn say(name: &str, value: f64, unit: &str, goal: Option<f64>, better: &str, rival: Option<(&str, f64)>) {
    let rival = rival.map(|(name, value)| json!({"name": name, "value": value}));
    let line = json!({
        "bench": "inference", "name": name, "value": value, "unit": unit, "goal": goal, "better": better, "rival": rival,
        "mock": false,
    });
    println!("{line}");
}

async fn start(directory: &Path, model: ModelSource, slots: u32, context_tokens: u32) -> Engine {
    let engine = Engine::start(EngineSettings {
        program: std::env::current_exe().expect("this program"),
        model,
        models_directory: directory.to_owned(),
        slots,
        context_tokens,
        threads: Some(1),
    })
    .unwrap_or_else(|error| panic!("{error}"));
    let mut status = engine.status();
    let settled = status
        .wait_for(|status| !matches!(status, EngineStatus::Starting))
        .await;
    let settled = settled.expect("the engine lives").clone();
    assert!(matches!(settled, EngineStatus::Ready(_)), "{settled:?}");
    engine
}

/// So many tokens, about: one word of two letters is one or two of them.
fn filler(tokens: usize, seed: usize) -> String {
    let words = ["лес", "снег", "лис", "дом", "сад", "кот", "мир", "чай"];
    let words = (0..tokens).map(|index| words[(index * 7 + seed * 13 + index * seed) % words.len()]);
    words.collect::<Vec<_>>().join(" ")
}

fn generation(session: u16, prompt: String, card_bytes: usize, tokens_max: u32) -> Generation {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&session.to_le_bytes());
    Generation {
        account: key,
        session: key,
        input: Input::Text { prompt, card_bytes },
        sampling: Sampling {
            tokens_max,
            seed: u32::from(session),
            ignores_end: true,
            ..Sampling::default()
        },
        accepted: Vec::new(),
        deadline: Duration::from_secs(300),
    }
}

/// Follows a generation: its text and when each piece came.
async fn follow(mut running: Running) -> (String, Vec<Instant>, Finished) {
    let (mut text, mut times) = (String::new(), Vec::new());
    loop {
        match running.next().await {
            Some(EngineEvent::Text(piece)) => {
                text.push_str(&piece);
                times.push(Instant::now());
            }
            Some(EngineEvent::Finished(finished)) => return (text, times, finished),
            Some(EngineEvent::Failed(error)) => panic!("{error}"),
            // Random weights say what is no text; then only this tells of a token.
            Some(EngineEvent::Probability(_)) => times.push(Instant::now()),
            Some(EngineEvent::Thought(_) | EngineEvent::Token(_)) => {}
            None => panic!("it ended without an end"),
        }
    }
}

/// All at once; tokens per second of all together, and their texts.
async fn together(engine: &Engine, generations: Vec<Generation>) -> (f64, Vec<String>, u32) {
    let began = Instant::now();
    let mut tasks = Vec::new();
    for generation in generations {
        let running = engine
            .generate(generation)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        tasks.push(tokio::spawn(follow(running)));
    }
    let (mut generated, mut prompt, mut texts) = (0, 0, Vec::new());
    for task in tasks {
        let (text, _, finished) = task.await.expect("it ends");
        generated += finished.generated_tokens;
        prompt = finished.prompt_tokens;
        texts.push(text);
    }
    (f64::from(generated) / began.elapsed().as_secs_f64(), texts, prompt)
}

async fn streams() {
    for people in [1_u16, 8, 32] {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = start(directory.path(), ModelSource::BuiltIn, people.into(), 1024).await;
        let profile = engine.model().and_then(|model| model.profile).expect("measured");
        let card = filler(130, 1);
        let prompt = |person: u16| format!("{card}\n{}", filler(18, usize::from(person) + 2));
        let cold = (0..people).map(|person| generation(person, prompt(person), card.len(), GENERATED));
        let (rate, texts, tokens) = together(&engine, cold.collect()).await;
        eprintln!("streams: {people} people, prompts of {tokens} tokens, {profile:?}");
        let floor = if people == 1 {
            profile.decode
        } else {
            profile.decode_eight
        };
        let floor_name = if people == 1 {
            "llama.cpp, one sequence"
        } else {
            "llama.cpp, eight sequences"
        };
        say(
            &format!("cold-{people}"),
            rate,
            "tokens/s",
            None,
            "higher",
            Some((floor_name, floor)),
        );
        let second = (0..people).zip(&texts).map(|(person, text)| {
            let prompt = format!("{}{text}\n{}", prompt(person), filler(18, 99));
            generation(person, prompt, card.len(), GENERATED)
        });
        let (rate, _, _) = together(&engine, second.collect()).await;
        say(
            &format!("second-turn-{people}"),
            rate,
            "tokens/s",
            None,
            "higher",
            Some((floor_name, floor)),
        );
    }
}

async fn load() {
    let directory = tempfile::tempdir().expect("a directory");
    // The first start unpacks and measures; the second is what a restart costs.
    for name in ["load-first", "load-again"] {
        let began = Instant::now();
        let engine = start(directory.path(), ModelSource::BuiltIn, 4, 1024).await;
        let (_, times, _) = follow(
            engine
                .generate(generation(1, filler(5, 1), 0, 1))
                .await
                .expect("it begins"),
        )
        .await;
        let ended = times.first().copied().unwrap_or_else(Instant::now);
        say(name, (ended - began).as_secs_f64() * 1000.0, "ms", None, "lower", None);
    }
}

/// Time to the first token of a prompt that is computed but for its last token, less what one token takes llama.cpp.
async fn first_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = start(directory.path(), ModelSource::BuiltIn, 4, 1024).await;
    let profile = engine.model().and_then(|model| model.profile).expect("measured");
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        let running = engine
            .generate(generation(1, filler(130, 1), 0, 1))
            .await
            .expect("it begins");
        let (_, _, finished) = follow(running).await;
        if finished.reused_tokens > 0 {
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let raw = 1000.0 / profile.decode;
    say(
        "first-token-over-raw",
        median - raw,
        "ms",
        Some(0.38),
        "lower",
        Some(("llama.cpp, one decode", raw)),
    );
}

fn shapes() -> PathBuf {
    let program = std::env::current_exe().expect("this program");
    let target = program.ancestors().nth(2).expect("the target folder").join("shapes");
    std::fs::create_dir_all(&target).expect("the target folder can be written");
    target
}

async fn gap() {
    let path = shapes().join("qwen3-0.6b-q8_0.gguf");
    if !path.exists() {
        eprintln!("gap: making {}", path.display());
        shape::write(&path).expect("the model can be written");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let engine = start(directory.path(), ModelSource::File(path), 2, 2048).await;
    eprintln!("gap: {:?}", engine.model().and_then(|model| model.profile));
    let reporting = |session: u16, tokens, tokens_max| {
        let mut generation = generation(session, filler(tokens, session.into()), 0, tokens_max);
        generation.sampling.logprobs = Some(0);
        generation
    };
    let first = engine.generate(reporting(1, 20, 120)).await.expect("it begins");
    let first = tokio::spawn(watch(first));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let began = Instant::now();
    let second = engine.generate(reporting(2, 318, 2)).await.expect("it begins");
    let (_, times, finished) = follow(second).await;
    let newcomer = times.first().map_or(began.elapsed(), |first| *first - began);
    let (mut gaps, first) = first.await.expect("it ends");
    assert!(gaps.len() > 100, "only {} gaps were seen: {first:?}", gaps.len());
    gaps.sort();
    let longest = gaps.last().copied().unwrap_or_default();
    let median = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
    eprintln!(
        "gap: a prompt of {} tokens, median gap {median:?}, its first token after {newcomer:?}",
        finished.prompt_tokens
    );
    say(
        "gap-400",
        longest.as_secs_f64() * 1000.0,
        "ms",
        Some(350.0),
        "lower",
        None,
    );
    let process = peak(&engine).await;
    if let Some(megabytes) = process {
        say("gap-peak-resident", megabytes, "MB", None, "lower", None);
    }
}

/// The gaps between the tokens of a generation.
async fn watch(running: Running) -> (Vec<Duration>, Finished) {
    let (_, times, finished) = follow(running).await;
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    (gaps.collect(), finished)
}

/// The most memory that the engine process had, in megabytes.
async fn peak(_engine: &Engine) -> Option<f64> {
    let own = std::process::id();
    let mut tasks = tokio::fs::read_dir(format!("/proc/{own}/task")).await.ok()?;
    while let Ok(Some(task)) = tasks.next_entry().await {
        let children = tokio::fs::read_to_string(task.path().join("children"))
            .await
            .unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            let status = tokio::fs::read_to_string(format!("/proc/{child}/status")).await.ok()?;
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            return line
                .split_whitespace()
                .nth(1)?
                .parse::<f64>()
                .ok()
                .map(|kilobytes| kilobytes / 1024.0);
        }
    }
    None
}
