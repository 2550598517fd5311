//! A conversation of about 1000 tokens goes from one engine to another: what taking its keys and values out of one process and putting them into
//! the context of another one costs, without a network in between. The continuation must be the same to the bit: probabilities are compared.

use std::time::{Duration, Instant};

use inference::{
    Engine, ModelSource,
    engine::{EngineEvent, Generation, Running, TokenProbability, state::Incoming},
};

use super::{filler, generation, say, shape, start};

/// Words of one token each.
const WORDS: usize = 1000;
const ROUNDS: usize = 5;

pub async fn kv() {
    one("tiny", ModelSource::BuiltIn, 5.0).await;
    one("0.6b", ModelSource::File(shape::Shape::QWEN_600M.file()), 100.0).await;
}

async fn one(name: &str, model: ModelSource, goal: f64) {
    let directory = tempfile::tempdir().expect("a directory");
    // One after the other: the second one takes what the first one has measured.
    let from = start(directory.path(), model.clone(), 2, 2048).await;
    let to = start(directory.path(), model, 2, 2048).await;
    let begun = filler(WORDS, 1);
    first_token(&from, asked(&begun)).await;
    let next = asked(&format!("{begun} кот"));
    let look = to.look(next.clone()).await.expect("it can be looked at");
    let mut times = Vec::new();
    let (mut bytes, mut tokens) = (0, 0);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let state = from.export(look.part.clone()).await.expect("it is there");
        let out = began.elapsed();
        (bytes, tokens) = (state.bytes().len(), state.part().tokens.len());
        // As it comes from a network, hashed on its way.
        let mut incoming = Incoming::new(state.part().clone(), bytes as u64);
        for piece in state.bytes().chunks(256 * 1024) {
            incoming.push(piece).expect("within its length");
        }
        let state = incoming.finish(&state.hash()).expect("it is whole");
        let began = Instant::now();
        to.adopt(state).await.expect("it is taken");
        times.push((out, began.elapsed()));
    }
    times.sort_by_key(|(out, into)| *out + *into);
    let (out, into) = times[ROUNDS / 2];
    // What is left to be done when the conversation goes on: llama.cpp reads the state.
    let (there, moved) = first_token(&to, next.clone()).await;
    let (here, stayed) = first_token(&from, next).await;
    assert_eq!(moved, stayed, "the continuation is not the same");
    let placed = there.saturating_sub(here);
    eprintln!("kv: {name}: {tokens} tokens, out {out:?}, in {into:?}, into the context {placed:?}");
    let all = (out + into + placed).as_secs_f64() * 1000.0;
    say(&format!("kv-1000-{name}"), all, "ms", Some(goal), "lower", None);
    say(
        &format!("kv-1000-{name}-bytes"),
        bytes as f64 / 1e6,
        "MB",
        None,
        "lower",
        None,
    );
}

fn asked(prompt: &str) -> Generation {
    let mut generation = generation(1, prompt.to_owned(), 0, 4);
    generation.sampling.logprobs = Some(5);
    generation
}

/// How long the first token takes, and how likely all of them were.
async fn first_token(engine: &Engine, generation: Generation) -> (Duration, Vec<TokenProbability>) {
    let began = Instant::now();
    let mut running: Running = engine.generate(generation).await.expect("it begins");
    let (mut first, mut probabilities) = (None, Vec::new());
    loop {
        match running.next().await {
            Some(EngineEvent::Probability(probability)) => {
                first.get_or_insert_with(|| began.elapsed());
                probabilities.push(probability);
            }
            Some(EngineEvent::Finished(_)) => return (first.expect("a token"), probabilities),
            Some(EngineEvent::Failed(error)) => panic!("{error}"),
            Some(_) => {}
            None => panic!("it ended without an end"),
        }
    }
}
