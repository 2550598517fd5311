//! llama-server beside our engine, in the same run: the same prompts, sampler and lengths, one thread each, by turns, so that a drift of the
//! machine meets both. It gets its best: as many slots as people, each person's turns in one slot, its cache of prompts, and both ways of
//! keeping keys and values, of which the better one counts. `llama-server.sh` builds the program.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use inference::ModelSource;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{GENERATED, Talk, median, say, shape, start, together};

/// Context of each sequence, here and there.
const CONTEXT: u32 = 1024;
/// The medians of so many runs count.
const ROUNDS: usize = 5;
/// It has to be there after this time.
const START_MAX: Duration = Duration::from_secs(60);
const ANSWER_MAX: Duration = Duration::from_secs(300);
/// People at once; what our tokens per second are to be of its, cold and in the second turn.
const GOALS: [(u16, Option<f64>, Option<f64>); 3] =
    [(1, Some(1.0), None), (8, Some(2.2), None), (32, Some(1.8), Some(0.95))];
/// Tokens of an answer of the large shape.
const GENERATED_LARGE: u32 = 24;

/// How it keeps keys and values.
#[derive(Clone, Copy, Debug)]
pub enum Cache {
    /// One store for all sequences.
    Unified,
    /// A store for each.
    Streams,
}

impl Cache {
    const BOTH: [Self; 2] = [Self::Unified, Self::Streams];

    const fn option(self) -> &'static str {
        match self {
            Self::Unified => "--kv-unified",
            Self::Streams => "--no-kv-unified",
        }
    }
}

/// A running llama-server; it ends when this is dropped.
pub struct Server {
    _process: Child,
    address: String,
    client: reqwest::Client,
}

impl Server {
    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// When it cannot be started or does not answer in time: then nothing can be compared.
    pub async fn start(program: &Path, model: &Path, people: u16, cache: Cache) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        drop(listener);
        let context = u32::from(people) * CONTEXT;
        let process = Command::new(program)
            .arg("--model")
            .arg(model)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args([
                "--parallel",
                &people.to_string(),
                "--ctx-size",
                &context.to_string(),
                cache.option(),
            ])
            .args([
                "--threads",
                "1",
                "--threads-batch",
                "1",
                "--batch-size",
                "2048",
                "--ubatch-size",
                "512",
            ])
            .args(["--cache-reuse", "16", "--offline", "--log-disable"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build();
        let server = Self {
            _process: process,
            address: format!("http://127.0.0.1:{port}"),
            client: client.expect("a client"),
        };
        tokio::time::timeout(START_MAX, server.healthy())
            .await
            .unwrap_or_else(|_| panic!("llama-server was not there after {START_MAX:?}"));
        server.complete("дом", 0, 1).await;
        server
    }

    async fn healthy(&self) {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            let answer = self.client.get(format!("{}/health", self.address)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
        }
    }

    async fn post(&self, prompt: &str, slot: usize, tokens: u32, is_streamed: bool) -> reqwest::Response {
        let body = json!({
            "prompt": prompt, "id_slot": slot, "n_predict": tokens, "ignore_eos": true, "cache_prompt": true, "seed": slot,
            "samplers": ["top_k", "top_p", "min_p", "temperature"], "top_k": 40, "top_p": 0.95, "min_p": 0.05,
            "temperature": 0.8, "stream": is_streamed,
        });
        let answer = self
            .client
            .post(format!("{}/completion", self.address))
            .json(&body)
            .send();
        let answer = answer.await.and_then(reqwest::Response::error_for_status);
        answer.unwrap_or_else(|error| panic!("llama-server: {error}"))
    }

    async fn complete(&self, prompt: &str, slot: usize, tokens: u32) -> String {
        let answer: Value = self.post(prompt, slot, tokens, false).await.json().await.expect("JSON");
        assert_eq!(answer["tokens_predicted"], tokens, "{answer}");
        answer["content"].as_str().unwrap_or_default().to_owned()
    }

    /// When each piece of an answer came.
    pub async fn times(&self, prompt: &str, slot: usize, tokens: u32) -> Vec<Instant> {
        let mut answer = self.post(prompt, slot, tokens, true).await;
        let mut times = Vec::new();
        while answer.chunk().await.expect("it goes on").is_some() {
            times.push(Instant::now());
        }
        times
    }

    /// All at once, each in a slot of its own: tokens per second of all together, and the texts.
    async fn together(&self, prompts: &[String], tokens: u32) -> (f64, Vec<String>) {
        let began = Instant::now();
        let answers = prompts.iter().enumerate();
        let answers = answers.map(|(slot, prompt)| self.complete(prompt, slot, tokens));
        let texts = futures::future::join_all(answers).await;
        let generated = f64::from(tokens) * prompts.len() as f64;
        (generated / began.elapsed().as_secs_f64(), texts)
    }

    /// Tokens per second of a first and a second turn.
    async fn talk(&self, talk: &Talk, people: u16, tokens: u32) -> [f64; 2] {
        let (cold, texts) = self.together(&talk.first(people), tokens).await;
        let (second, _) = self.together(&talk.second(&texts), tokens).await;
        [cold, second]
    }
}

/// The same of our engine.
async fn ours(directory: &Path, model: &ModelSource, talk: &Talk, people: u16, tokens: u32) -> [f64; 2] {
    let engine = start(directory, model.clone(), people.into(), CONTEXT).await;
    let (cold, texts, _) = together(&engine, talk.generations(talk.first(people), tokens)).await;
    let (second, _, _) = together(&engine, talk.generations(talk.second(&texts), tokens)).await;
    [cold, second]
}

/// What was measured of both, by turns: a first and a second turn of ours, and of each way of the other.
struct Measured {
    ours: Vec<[f64; 2]>,
    theirs: [Vec<[f64; 2]>; 2],
}

impl Measured {
    fn ours(&self, turn: usize) -> f64 {
        median(self.ours.iter().map(|turns| turns[turn]).collect())
    }

    /// The better way of the other one.
    fn best(&self, turn: usize) -> (Cache, f64) {
        let of = |way: usize| median(self.theirs[way].iter().map(|turns| turns[turn]).collect());
        let (unified, streams) = (of(0), of(1));
        if unified > streams {
            (Cache::Unified, unified)
        } else {
            (Cache::Streams, streams)
        }
    }
}

async fn measure(program: &Path, model: &Path, (people, tokens, rounds): (u16, u32, usize)) -> Measured {
    let directory = tempfile::tempdir().expect("a directory");
    let talk = Talk::new();
    let source = ModelSource::File(model.to_owned());
    let mut measured = Measured {
        ours: Vec::new(),
        theirs: [Vec::new(), Vec::new()],
    };
    for _ in 0..rounds {
        measured
            .ours
            .push(ours(directory.path(), &source, &talk, people, tokens).await);
        for (way, cache) in Cache::BOTH.into_iter().enumerate() {
            let server = Server::start(program, model, people, cache).await;
            measured.theirs[way].push(server.talk(&talk, people, tokens).await);
        }
    }
    eprintln!(
        "server: {people} people, cold and second turn: ours {:.0?}, llama-server unified {:.0?}, streams {:.0?}",
        measured.ours, measured.theirs[0], measured.theirs[1]
    );
    measured
}

/// The built-in model, then the shape of a 0.6B one.
pub async fn server(program: &Path) {
    let directory = tempfile::tempdir().expect("a directory");
    let built_in: PathBuf = directory.path().join("built-in.gguf");
    std::fs::write(&built_in, shape::BUILT_IN).expect("the model can be written");
    for (people, cold, second) in GOALS {
        let measured = measure(program, &built_in, (people, GENERATED, ROUNDS)).await;
        for (turn, name, goal) in [(0, "cold", cold), (1, "second-turn", second)] {
            let (ours, (cache, theirs)) = (measured.ours(turn), measured.best(turn));
            let rival = format!("llama-server {}, tokens/s", cache.option());
            let name = format!("server-{name}-{people}");
            say(
                &name,
                ours / theirs,
                "times its tokens/s",
                goal,
                "higher",
                Some((&rival, theirs)),
            );
        }
    }
    let measured = measure(program, &shape::Shape::QWEN_600M.file(), (8, GENERATED_LARGE, 1)).await;
    let (cache, theirs) = measured.best(0);
    let rival = format!("llama-server {}, tokens/s", cache.option());
    let times = theirs / measured.ours(0);
    say(
        "server-0.6b-cold-8",
        times,
        "of its time",
        Some(0.4),
        "lower",
        Some((&rival, theirs)),
    );
}
