//! The gate of a small model in the engine as the product runs it: the built-in model with a threshold that every line is above, and with
//! one that none is above.

#[path = "engines/started.rs"]
mod engines;

use std::path::{Path, PathBuf};

use engines::{PATIENCE, started};
use inference::{
    Engine, ModelSource,
    engine::{EngineEvent, Finished, Generation, Input, Sampling, sampling::Shape},
    template::ChatMessage,
};

const MODEL: &[u8] = include_bytes!("../models/built-in.gguf");
const THRESHOLD: &[u8] = b"starling.gate.nats";
const RUSSIAN: &str = "Как твои дела сегодня?";
const ENGLISH: &str = "How are you doing today?";
const HONEST_RUSSIAN: &str = "Я маленькая встроенная модель и такого не умею.";
const HONEST_ENGLISH: &str = "I am the small built-in model and cannot do that.";

/// The built-in model with another threshold.
fn model(directory: &Path, threshold: f32) -> PathBuf {
    let at = MODEL.windows(THRESHOLD.len()).position(|bytes| bytes == THRESHOLD);
    // After the key come four bytes that say what kind of value it is.
    let at = at.expect("the built-in model has a gate") + THRESHOLD.len() + 4;
    let mut bytes = MODEL.to_vec();
    bytes[at..at + 4].copy_from_slice(&threshold.to_le_bytes());
    let path = directory.join(format!("threshold-{threshold}.gguf"));
    std::fs::write(&path, bytes).expect("the model is written");
    path
}

async fn engine(directory: &Path, threshold: f32) -> Engine {
    started(directory, ModelSource::File(model(directory, threshold)), 2).await
}

fn steady() -> Sampling {
    Sampling {
        temperature: 0.0,
        tokens_max: 100,
        ..Sampling::default()
    }
}

fn asked(line: &str, accepted: &[i32]) -> Generation {
    let message = |role: &str, content: &str| ChatMessage {
        role: role.into(),
        content: content.into(),
    };
    Generation {
        account: [1; 32],
        session: [1; 32],
        input: Input::Chat(vec![
            message("system", "Ты Лис, хитрый лис из зимнего леса."),
            message("user", line),
        ]),
        sampling: steady(),
        accepted: accepted.to_vec(),
        deadline: PATIENCE,
    }
}

/// What was said, by which tokens, and the end.
async fn say(engine: &Engine, generation: Generation) -> (String, Vec<i32>, Finished) {
    let mut running = engine.generate(generation).await.expect("it begins");
    let (mut text, mut tokens) = (String::new(), Vec::new());
    loop {
        match tokio::time::timeout(PATIENCE, running.next()).await.expect("in time") {
            Some(EngineEvent::Text(piece)) => text.push_str(&piece),
            Some(EngineEvent::Token(token)) => tokens.push(token),
            Some(EngineEvent::Finished(finished)) => return (text, tokens, finished),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_line_above_the_threshold_is_answered_honestly_in_its_language_and_one_below_by_the_model() {
    let directory = tempfile::tempdir().unwrap();
    let strict = engine(directory.path(), 0.001).await;
    for is_again in [false, true] {
        let (text, tokens, finished) = say(&strict, asked(RUSSIAN, &[])).await;
        assert!(text.starts_with(HONEST_RUSSIAN), "{text}");
        assert_eq!(finished.generated_tokens as usize, tokens.len());
        // The second time, its tokens are computed already, and its surprise is known.
        let computed = if is_again { finished.prompt_tokens - 1 } else { 0 };
        assert_eq!(finished.reused_tokens, computed);
    }
    let (text, ..) = say(&strict, asked(ENGLISH, &[])).await;
    assert!(text.starts_with(HONEST_ENGLISH), "{text}");
    let open = engine(directory.path(), 1000.0).await;
    for line in [RUSSIAN, ENGLISH] {
        let (text, ..) = say(&open, asked(line, &[])).await;
        assert!(
            !text.contains(HONEST_RUSSIAN) && !text.contains(HONEST_ENGLISH),
            "{text}"
        );
        assert!(!text.is_empty());
    }
}

#[tokio::test]
async fn what_is_no_chat_and_what_a_grammar_shapes_passes_the_gate() {
    let directory = tempfile::tempdir().unwrap();
    let strict = engine(directory.path(), 0.001).await;
    let mut shaped = asked(RUSSIAN, &[]);
    shaped.sampling.shape = Some(Shape::Gbnf("root ::= \"yes\" | \"no\"".into()));
    let (text, ..) = say(&strict, shaped).await;
    assert!(["yes", "no"].contains(&text.as_str()), "{text}");
    let mut raw = asked(RUSSIAN, &[]);
    raw.input = Input::Text {
        prompt: format!("<|im_start|>user\n{RUSSIAN}<|im_end|>\n<|im_start|>assistant\n"),
        card_bytes: 0,
    };
    let (text, ..) = say(&strict, raw).await;
    assert!(!text.contains(HONEST_RUSSIAN), "{text}");
}

#[tokio::test]
async fn an_honest_answer_that_another_engine_began_is_ended_and_any_other_goes_on_in_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let strict = engine(directory.path(), 0.001).await;
    let open = engine(directory.path(), 1000.0).await;
    let (honest, honest_tokens, _) = say(&strict, asked(RUSSIAN, &[])).await;
    let (own, own_tokens, _) = say(&open, asked(RUSSIAN, &[])).await;
    for (whole, tokens) in [(honest, honest_tokens), (own, own_tokens)] {
        for begun in [1, tokens.len() / 2, tokens.len() - 1] {
            let (text, rest, finished) = say(&strict, asked(RUSSIAN, &tokens[..begun])).await;
            assert!(whole.ends_with(&text), "{whole:?} after {begun}: {text:?}");
            assert_eq!(rest, tokens[begun..], "{whole:?} after {begun}");
            assert_eq!(finished.generated_tokens as usize, tokens.len());
        }
    }
}
