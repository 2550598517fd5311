//! What answering costs: each figure one JSON line on standard output, words on standard error. `./x bench inference` runs every row,
//! `./x bench inference ROW...` some. The engine is the product's: a child process, here of this program.
//!
//! Rows: `streams` (generated tokens per second of 1, 8 and 32 people, cold and in their second turn), `server` (the same beside
//! llama-server), `gap` (the longest gap in a running stream while a prompt of 400 tokens arrives, on the shape of a 0.6B model), `load`
//! (start to first token), `token` (first token), `kv` (a conversation of 1000 tokens from one engine to another), `memory` (what
//! stays after a model left, and the most that the shape of a 1.7B model takes), `kills` (200 engines, or `kills=N`, killed in the middle
//! of an answer that another one finishes), `overload` (a minute of three times as much as can be done). The floor in `streams` and `token` is what the engine measured of llama.cpp alone when it was loaded.
//!
//! `server=PATH`, or `STARLING_LLAMA_SERVER`, is a llama-server to compare with; `./x bench inference server` builds one.

mod kills;
mod kv;
mod memory;
mod overload;
mod server;
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

const ROWS: [&str; 9] = [
    "streams", "server", "load", "token", "gap", "kv", "memory", "kills", "overload",
];
const GENERATED: u32 = 64;

/// What was asked for.
struct Options {
    /// Which rows; all where none is named.
    rows: Vec<String>,
    /// A llama-server to compare with.
    server: Option<PathBuf>,
    /// How many engines `kills` kills.
    kills: usize,
}

impl Options {
    /// From the command line; what it cannot be understood for.
    fn read(arguments: Vec<String>) -> Result<Self, String> {
        let mut options = Self {
            rows: Vec::new(),
            server: std::env::var_os("STARLING_LLAMA_SERVER").map(PathBuf::from),
            kills: 200,
        };
        for argument in arguments {
            let known = match argument.split_once('=') {
                Some(("server", path)) => {
                    options.server = Some(path.into());
                    Some(())
                }
                Some(("kills", text)) => text.parse().ok().map(|count| options.kills = count),
                Some(_) => None,
                None => ROWS
                    .iter()
                    .find(|row| **row == argument)
                    .map(|row| options.rows.push((*row).to_owned())),
            };
            if known.is_none() {
                let rows = ROWS.join(" ");
                return Err(format!(
                    "there is no '{argument}'. There are: {rows} server=PATH kills=N"
                ));
            }
        }
        if options.rows.iter().any(|row| row == "server") && options.server.is_none() {
            return Err("'server' needs server=PATH, a llama-server".into());
        }
        Ok(options)
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "engine") {
        return inference::engine::worker::main();
    }
    let options = match Options::read(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("bench inference: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(run(&options));
    ExitCode::SUCCESS
}

async fn run(options: &Options) {
    if options.wants("streams") {
        streams().await;
    }
    match &options.server {
        Some(program) if options.wants("server") => server::server(program).await,
        None if options.wants("server") => eprintln!("server: left out without server=PATH"),
        _ => {}
    }
    if options.wants("load") {
        load().await;
    }
    if options.wants("token") {
        first_token().await;
    }
    if options.wants("gap") {
        gap(options.server.as_deref()).await;
    }
    if options.wants("kv") {
        kv::kv().await;
    }
    if options.wants("memory") {
        memory::memory().await;
    }
    if options.wants("kills") {
        kills::kills(options.kills).await;
    }
    if options.wants("overload") {
        overload::overload().await;
    }
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
    start_within(directory, model, (slots, context_tokens), None).await
}

/// In so many bytes of memory, where that is said.
async fn start_within(
    directory: &Path,
    model: ModelSource,
    (slots, context_tokens): (u32, u32),
    room: Option<u64>,
) -> Engine {
    let settings = EngineSettings {
        program: std::env::current_exe().expect("this program"),
        model,
        models_directory: directory.to_owned(),
        slots,
        context_tokens,
        threads: Some(1),
    };
    let engine = Engine::start_within(settings, room).unwrap_or_else(|error| panic!("{error}"));
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

/// Words of one token each: of the card, and of a person's line.
const CARD_WORDS: usize = 200;
const LINE_WORDS: usize = 29;

/// What people ask: a card that all share, and a line of each one's own; in the second turn the answer follows, and another line.
struct Talk {
    card: String,
}

impl Talk {
    fn new() -> Self {
        Self {
            card: filler(CARD_WORDS, 1),
        }
    }

    fn first(&self, people: u16) -> Vec<String> {
        let prompts =
            (0..people).map(|person| format!("{}\n{}", self.card, filler(LINE_WORDS, usize::from(person) + 2)));
        prompts.collect()
    }

    fn second(&self, said: &[String]) -> Vec<String> {
        let first = self.first(u16::try_from(said.len()).unwrap_or(u16::MAX));
        let line = filler(LINE_WORDS, 99);
        first
            .iter()
            .zip(said)
            .map(|(prompt, said)| format!("{prompt}{said}\n{line}"))
            .collect()
    }

    fn generations(&self, prompts: Vec<String>, tokens: u32) -> Vec<Generation> {
        let prompts = (0..).zip(prompts);
        prompts
            .map(|(person, prompt)| generation(person, prompt, self.card.len(), tokens))
            .collect()
    }
}

fn median(figures: Vec<f64>) -> f64 {
    percentile(figures, 0.5)
}

/// The value below which this part of them lies.
fn percentile(mut figures: Vec<f64>, part: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = ((figures.len() as f64 * part).ceil() as usize).max(1) - 1;
    figures.get(at).copied().unwrap_or(f64::NAN)
}

async fn streams() {
    for people in [1_u16, 8, 32] {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = start(directory.path(), ModelSource::BuiltIn, people.into(), 1024).await;
        let profile = engine.model().and_then(|model| model.profile).expect("measured");
        let talk = Talk::new();
        let (cold, texts, tokens) = together(&engine, talk.generations(talk.first(people), GENERATED)).await;
        eprintln!("streams: {people} people, prompts of {tokens} tokens, {profile:?}");
        let (second, _, _) = together(&engine, talk.generations(talk.second(&texts), GENERATED)).await;
        let floor = if people == 1 {
            ("llama.cpp, one sequence", profile.decode)
        } else {
            ("llama.cpp, eight sequences", profile.decode_eight)
        };
        for (name, rate) in [("cold", cold), ("second-turn", second)] {
            say(
                &format!("{name}-{people}"),
                rate,
                "tokens/s",
                None,
                "higher",
                Some(floor),
            );
        }
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
    let raw = 1000.0 / profile.decode;
    say(
        "first-token-over-raw",
        median(times) - raw,
        "ms",
        Some(0.38),
        "lower",
        Some(("llama.cpp, one decode", raw)),
    );
}

/// The newcomer's prompt in `gap`, and what the other one says meanwhile.
const NEWCOMER_WORDS: usize = 355;
const GAP_TOKENS: u32 = 120;
/// The other one speaks for this long before the newcomer comes.
const GAP_ALONE: Duration = Duration::from_millis(1500);

async fn gap(server: Option<&Path>) {
    let path = shape::Shape::QWEN_600M.file();
    let theirs = match server {
        Some(program) => Some(gap_of_server(program, &path).await),
        None => None,
    };
    let directory = tempfile::tempdir().expect("a directory");
    let engine = start(directory.path(), ModelSource::File(path), 2, 2048).await;
    eprintln!("gap: {:?}", engine.model().and_then(|model| model.profile));
    let reporting = |session: u16, tokens, tokens_max| {
        let mut generation = generation(session, filler(tokens, session.into()), 0, tokens_max);
        generation.sampling.logprobs = Some(0);
        generation
    };
    let first = engine.generate(reporting(1, 20, GAP_TOKENS)).await.expect("it begins");
    let first = tokio::spawn(watch(first));
    tokio::time::sleep(GAP_ALONE).await;
    let began = Instant::now();
    let second = engine
        .generate(reporting(2, NEWCOMER_WORDS, 2))
        .await
        .expect("it begins");
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
        theirs.map(|longest| ("llama-server", longest)),
    );
    if let Some(megabytes) = memory::peak(&engine) {
        say("gap-peak-resident", megabytes, "MB", None, "lower", None);
    }
}

/// The same in llama-server: its longest gap in milliseconds.
async fn gap_of_server(program: &Path, model: &Path) -> f64 {
    let server = server::Server::start(program, model, 2, server::Cache::Unified).await;
    let newcomer = async {
        tokio::time::sleep(GAP_ALONE).await;
        server.times(&filler(NEWCOMER_WORDS, 2), 1, 2).await
    };
    let first = filler(20, 1);
    let (times, _) = tokio::join!(server.times(&first, 0, GAP_TOKENS), newcomer);
    let gaps = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1000.0);
    gaps.fold(0.0, f64::max)
}

/// The gaps between the tokens of a generation.
async fn watch(running: Running) -> (Vec<Duration>, Finished) {
    let (_, times, finished) = follow(running).await;
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    (gaps.collect(), finished)
}
