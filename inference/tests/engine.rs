//! The engine as the product runs it: a child process with the built-in model.

#[path = "engines/started.rs"]
mod engines;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use engines::{PATIENCE, ready, started};
use inference::{
    Engine, ModelSource,
    engine::{
        EngineEvent, FinishReason, Finished, Generation, GenerationError, Input, Running, Sampling,
        sampling::{Dry, Shape, Xtc},
    },
};

const CARD: &str =
    "<|im_start|>system\nТы Лис, хитрый лис из зимнего леса. Отвечай коротко и весело, люби ягоды и снег.<|im_end|>\n";

async fn start(directory: &Path, slots: u32) -> Engine {
    started(directory, ModelSource::BuiltIn, slots).await
}

fn text(question: &str) -> String {
    format!("{CARD}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
}

fn generation(session: u8, prompt: String, sampling: Sampling) -> Generation {
    Generation {
        account: [session / 16; 32],
        session: [session; 32],
        input: Input::Text {
            prompt,
            card_bytes: CARD.len(),
        },
        sampling,
        accepted: Vec::new(),
        deadline: PATIENCE,
    }
}

fn steady(tokens_max: u32) -> Sampling {
    Sampling {
        temperature: 0.0,
        tokens_max,
        ..Sampling::default()
    }
}

/// What came of a generation: its text, its other events, its end.
async fn rest(mut running: Running) -> (String, Vec<EngineEvent>, Result<Finished, GenerationError>) {
    let (mut text, mut others) = (String::new(), Vec::new());
    loop {
        match tokio::time::timeout(PATIENCE, running.next()).await.expect("in time") {
            Some(EngineEvent::Text(piece)) => text.push_str(&piece),
            Some(EngineEvent::Finished(finished)) => return (text, others, Ok(finished)),
            Some(EngineEvent::Failed(error)) => return (text, others, Err(error)),
            Some(EngineEvent::Token(_)) => {}
            Some(other) => others.push(other),
            None => return (text, others, Err(GenerationError::Died)),
        }
    }
}

async fn say(
    engine: &Engine,
    session: u8,
    prompt: String,
    sampling: Sampling,
) -> (String, Result<Finished, GenerationError>) {
    let running = engine
        .generate(generation(session, prompt, sampling))
        .await
        .expect("it begins");
    let (text, _, end) = rest(running).await;
    (text, end)
}

/// Processes of the system whose parent is this test.
fn child() -> Option<u32> {
    let own = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    let of_any_thread = || {
        let tasks = std::fs::read_dir(format!("/proc/{own}/task")).ok()?;
        let lists = tasks
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .next()
    };
    let first = children
        .split_whitespace()
        .next()
        .map(str::to_owned)
        .or_else(of_any_thread)?;
    first.parse().ok()
}

fn send(process: u32, signal: rustix::process::Signal) {
    let process = rustix::process::Pid::from_raw(process.try_into().expect("a pid")).expect("a pid");
    rustix::process::kill_process(process, signal).expect("it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_shared_a_conversation_continues_and_the_text_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(directory.path(), 4).await;
    let (alone, end) = say(&engine, 1, text("Как тебя зовут?"), steady(40)).await;
    let first = end.unwrap();
    assert!(!alone.is_empty() && first.reused_tokens == 0, "{alone:?} {first:?}");
    // Another conversation with the same character, and eight at once: the card is not computed again, the text is the same.
    let mut all = Vec::new();
    for session in 2..10 {
        all.push(
            engine
                .generate(generation(session, text("Как тебя зовут?"), steady(40)))
                .await
                .unwrap(),
        );
    }
    for running in all {
        let (same, _, end) = rest(running).await;
        assert_eq!(same, alone);
        assert!(end.unwrap().reused_tokens > 20);
    }
    // The next turn continues what is computed, the answer included.
    let next = format!(
        "{}{alone}<|im_end|>\n<|im_start|>user\nПока!<|im_end|>\n<|im_start|>assistant\n",
        text("Как тебя зовут?")
    );
    let (continued, end) = say(&engine, 1, next.clone(), steady(40)).await;
    let second = end.unwrap();
    assert!(second.reused_tokens > first.prompt_tokens, "{second:?} after {first:?}");
    // The control: a conversation of somebody else has the card, and nothing of this one.
    let (fresh, end) = say(&engine, 200, next, steady(40)).await;
    assert!(end.unwrap().reused_tokens < first.prompt_tokens);
    assert_eq!(fresh, continued);
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_that_had_to_leave_come_back_from_memory_with_the_same_words() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(directory.path(), 1).await;
    let question = text("Расскажи сказку.");
    let (tale, end) = say(&engine, 1, question.clone(), steady(60)).await;
    let first = end.unwrap();
    for session in 2..12 {
        say(&engine, session, text("Мне грустно."), steady(20)).await.1.unwrap();
    }
    let next = format!("{question}{tale}<|im_end|>\n<|im_start|>user\nЕщё!<|im_end|>\n<|im_start|>assistant\n");
    let (continued, end) = say(&engine, 1, next.clone(), steady(60)).await;
    assert!(end.unwrap().reused_tokens > first.prompt_tokens, "it came back");
    assert_eq!(
        say(&engine, 250, next, steady(60)).await.0,
        continued,
        "as if it had never been away"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_a_frozen_and_an_aborted_child_end_no_node() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(directory.path(), 2).await;
    for signal in [
        rustix::process::Signal::KILL,
        rustix::process::Signal::ABORT,
        rustix::process::Signal::STOP,
    ] {
        let endless = Sampling {
            ignores_end: true,
            ..steady(400)
        };
        let mut running = engine
            .generate(generation(1, text("Расскажи сказку."), endless))
            .await
            .unwrap();
        assert!(running.next().await.is_some());
        send(child().expect("an engine process"), signal);
        assert_eq!(rest(running).await.2, Err(GenerationError::Died), "{signal:?}");
        ready(&engine).await;
        say(&engine, 1, text("Как тебя зовут?"), steady(20)).await.1.unwrap();
    }
    assert_eq!(engine.load().borrow().restarts, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_by_name_and_the_engine_lives() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(directory.path(), 2).await;
    let nan = Sampling {
        temperature: f32::NAN,
        ..Sampling::default()
    };
    let refused = engine.generate(generation(1, text("?"), nan)).await.unwrap_err();
    assert!(matches!(refused, GenerationError::Sampling(_)), "{refused}");
    let long = "сказка ".repeat(2000);
    let refused = say(&engine, 1, text(&long), steady(20)).await.1.unwrap_err();
    assert!(
        matches!(refused, GenerationError::PromptTooLong { limit: 1..=512, .. }),
        "{refused}"
    );
    let bombs = [
        "root ::= ((\"a\"?){900}){900}".to_owned(),
        format!("root ::= {}\"a\"{}", "(".repeat(9000), ")".repeat(9000)),
        "root ::= root \"a\"".to_owned(),
        "root ::= missing".to_owned(),
        "nothing".to_owned(),
    ];
    for bomb in bombs {
        let sampling = Sampling {
            shape: Some(Shape::Gbnf(bomb.clone())),
            ..steady(5)
        };
        let end = say(&engine, 1, text("?"), sampling).await.1;
        assert!(matches!(end, Err(GenerationError::Grammar(_))), "{bomb:.60}: {end:?}");
    }
    // Harmless, though it can be read in endlessly many ways.
    let sampling = Sampling {
        shape: Some(Shape::Gbnf("root ::= (\"a\"?)*".into())),
        ..steady(5)
    };
    say(&engine, 1, text("?"), sampling).await.1.unwrap();
    let mut late = generation(
        1,
        text("Расскажи сказку."),
        Sampling {
            ignores_end: true,
            ..steady(400)
        },
    );
    late.deadline = Duration::from_millis(1);
    assert_eq!(
        rest(engine.generate(late).await.unwrap()).await.2,
        Err(GenerationError::Deadline)
    );
    say(&engine, 1, text("Как тебя зовут?"), steady(20)).await.1.unwrap();
    assert_eq!(engine.load().borrow().restarts, 0, "nothing of it ended the engine");
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_samplers_stops_probabilities_and_embeddings_do_what_they_say() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(directory.path(), 2).await;
    let schema = r#"{"type":"object","properties":{"name":{"type":"string","maxLength":8},"age":{"type":"integer"}},"required":["name","age"]}"#;
    for seed in 0..8 {
        let sampling = Sampling {
            seed,
            shape: Some(Shape::JsonSchema(schema.into())),
            tokens_max: 200,
            ..Sampling::default()
        };
        let (json, end) = say(&engine, 1, text("Кто ты?"), sampling).await;
        assert_eq!(end.unwrap().reason, FinishReason::Complete, "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert!(value["name"].is_string() && value["age"].is_i64(), "{json}");
    }
    let all = Sampling {
        repetition: 1.2,
        dry: Some(Dry {
            multiplier: 0.8,
            base: 1.75,
            allowed_length: 2,
        }),
        xtc: Some(Xtc {
            probability: 0.5,
            threshold: 0.1,
        }),
        seed: 7,
        tokens_max: 40,
        ..Sampling::default()
    };
    let (one, _) = say(&engine, 2, text("Расскажи сказку."), all.clone()).await;
    let (other, _) = say(&engine, 3, text("Расскажи сказку."), all).await;
    assert_eq!(one, other, "the same seed says the same");
    let (whole, _) = say(&engine, 4, text("Как тебя зовут?"), steady(40)).await;
    let stop = whole.split_whitespace().nth(1).unwrap().to_owned();
    let (cut, _) = say(
        &engine,
        5,
        text("Как тебя зовут?"),
        Sampling {
            stops: vec![stop.clone()],
            ..steady(40)
        },
    )
    .await;
    assert_eq!(Some(cut.as_str()), whole.split_once(&stop).map(|(before, _)| before));
    let probabilities = Sampling {
        logprobs: Some(3),
        ..steady(5)
    };
    let running = engine
        .generate(generation(6, text("Как тебя зовут?"), probabilities))
        .await
        .unwrap();
    let (_, others, _) = rest(running).await;
    assert_eq!(others.len(), 5);
    for event in others {
        let EngineEvent::Probability(token) = event else {
            panic!("{event:?}")
        };
        assert!(token.logprob <= 0.0 && token.alternatives.len() == 3, "{token:?}");
        assert!(
            (token.alternatives[0].1 - token.logprob).abs() < 1e-5,
            "the likeliest was taken: {token:?}"
        );
    }
    let [weather, also, food] = ["Какая сегодня погода?", "Какая погода сегодня?", "Ты любишь ягоды?"];
    let (weather, also, food) = (
        engine.embed(weather).await.unwrap(),
        engine.embed(also).await.unwrap(),
        engine.embed(food).await.unwrap(),
    );
    assert!(weather.tokens > 1);
    let [weather, also, food] = [weather.values, also.values, food.values];
    let likeness = |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>();
    assert!(likeness(&weather, &also) > likeness(&weather, &food));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_and_a_forgotten_generation_make_room_and_the_profile_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(directory.path(), 1).await;
    let endless = Sampling {
        ignores_end: true,
        ..steady(400)
    };
    let mut stopped = engine
        .generate(generation(1, text("Расскажи сказку."), endless.clone()))
        .await
        .unwrap();
    stopped.next().await.unwrap();
    stopped.stop().await;
    assert_eq!(rest(stopped).await.2.unwrap().reason, FinishReason::Stopped);
    drop(
        engine
            .generate(generation(2, text("Расскажи сказку."), endless))
            .await
            .unwrap(),
    );
    say(&engine, 3, text("Как тебя зовут?"), steady(20)).await.1.unwrap();
    let profile = engine.model().unwrap().profile.expect("it was measured");
    assert!(profile.threads == 1 && profile.prefill > profile.decode / 100.0 && profile.decode_eight > 0.0);
    let process = child().expect("an engine process");
    drop(engine);
    let began = Instant::now();
    while Path::new(&format!("/proc/{process}/exe")).exists() {
        assert!(began.elapsed() < PATIENCE, "the child outlives its node");
        tokio::task::yield_now().await;
    }
    let again = start(directory.path(), 1).await;
    assert_eq!(
        again.model().unwrap().profile,
        Some(profile),
        "it is not measured again"
    );
}
