//! What the built-in model is worth: 200 held-out prompts in each language, answered by the product's engine with the likeliest words.
//! `cargo test -p inference --test score -- --nocapture` prints the score of each kind and what went wrong. With the path of another GGUF
//! file in `STARLING_SCORE_MODEL` it scores that one, and then asks for nothing.

use std::{collections::BTreeMap, path::Path, time::Duration};

use futures::{StreamExt, stream};
use inference::{
    Engine, EngineSettings, EngineStatus, ModelSource,
    engine::{EngineEvent, Generation, Input, Sampling},
    template::ChatMessage,
};

const HONEST: [&str; 2] = [
    "маленькая встроенная модель и такого не умею",
    "small built-in model and cannot",
];
const AT_ONCE: usize = 8;
/// Of 200 in each language: what was measured when the model was made, less a few, since other processors round otherwise.
const AT_LEAST: usize = 148;
/// An answer that is longer is no small talk.
const WORDS_MAX: usize = 60;

#[derive(Clone, Debug)]
struct Prompt {
    language: &'static str,
    kind: String,
    character: String,
    lines: Vec<String>,
    wanted: String,
}

fn prompts(language: &'static str, text: &str) -> Vec<Prompt> {
    let (mut character, mut prompts) = (String::new(), Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(who) = line.strip_prefix("@ ") {
            who.clone_into(&mut character);
            continue;
        }
        let parts: Vec<&str> = line.split(" | ").collect();
        let [kind, lines, wanted] = parts[..] else {
            panic!("{line}")
        };
        prompts.push(Prompt {
            language,
            kind: kind.to_owned(),
            character: character.clone(),
            lines: lines.split(" > ").map(str::to_owned).collect(),
            wanted: wanted.to_owned(),
        });
    }
    prompts
}

fn is_right(prompt: &Prompt, answer: &str) -> bool {
    let answer = answer.to_lowercase();
    let is_honest = HONEST.iter().any(|honest| answer.contains(honest));
    if prompt.kind == "outside" {
        return is_honest;
    }
    let is_wanted = prompt.wanted.split('/').any(|word| match word.parse::<u32>() {
        // "1" is no right answer where "11" was said.
        Ok(_) => answer
            .split(|letter: char| !letter.is_ascii_digit())
            .any(|number| number == word),
        Err(_) => answer.contains(word),
    });
    !is_honest && is_wanted && answer.split_whitespace().count() <= WORDS_MAX
}

async fn answer(engine: &Engine, session: u16, prompt: &Prompt) -> String {
    let message = |role: &str, content: &str| ChatMessage {
        role: role.into(),
        content: content.into(),
    };
    let mut messages = vec![message("system", &prompt.character)];
    let mut said = String::new();
    let mut key = [0; 32];
    key[..2].copy_from_slice(&session.to_le_bytes());
    for line in &prompt.lines {
        messages.push(message("user", line));
        let generation = Generation {
            account: key,
            session: key,
            input: Input::Chat(messages.clone()),
            sampling: Sampling {
                temperature: 0.0,
                tokens_max: 120,
                ..Sampling::default()
            },
            accepted: Vec::new(),
            deadline: Duration::from_secs(60),
        };
        let mut running = engine.generate(generation).await.expect("it begins");
        said.clear();
        loop {
            match running.next().await.expect("an end") {
                EngineEvent::Text(piece) => said.push_str(&piece),
                EngineEvent::Finished(_) => break,
                EngineEvent::Failed(error) => panic!("{error}"),
                EngineEvent::Token(_) | EngineEvent::Thought(_) | EngineEvent::Probability(_) => {}
            }
        }
        messages.push(message("assistant", &said));
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_model_answers_held_out_prompts_as_well_as_its_readme_says() {
    let directory = tempfile::tempdir().unwrap();
    let other = std::env::var_os("STARLING_SCORE_MODEL");
    let engine = Engine::start(EngineSettings {
        program: env!("CARGO_BIN_EXE_engine-process").into(),
        model: other
            .clone()
            .map_or(ModelSource::BuiltIn, |path| ModelSource::File(path.into())),
        models_directory: Path::to_owned(directory.path()),
        slots: 8,
        context_tokens: 512,
        threads: Some(1),
    })
    .expect("the built-in model is there");
    let mut status = engine.status();
    let ready = status.wait_for(|status| matches!(status, EngineStatus::Ready(_)));
    tokio::time::timeout(Duration::from_secs(60), ready)
        .await
        .expect("in time")
        .expect("it lives");
    let mut all = prompts("ru", include_str!("../builtin/heldout/ru.txt"));
    all.extend(prompts("en", include_str!("../builtin/heldout/en.txt")));
    let answers = stream::iter(all.into_iter().zip(1..)).map(|(prompt, session)| {
        let engine = engine.clone();
        async move {
            let said = answer(&engine, session, &prompt).await;
            (prompt, said)
        }
    });
    let answers: Vec<(Prompt, String)> = answers.buffered(AT_ONCE).collect().await;
    let mut scores: BTreeMap<(&str, String), (usize, usize)> = BTreeMap::new();
    let mut false_alarms = 0;
    for (prompt, said) in &answers {
        let is_right = is_right(prompt, said);
        for kind in [prompt.kind.clone(), "~ all".to_owned()] {
            let score = scores.entry((prompt.language, kind)).or_default();
            *score = (score.0 + usize::from(is_right), score.1 + 1);
        }
        if !is_right {
            println!(
                "{} {}: {} -> {said}",
                prompt.language,
                prompt.kind,
                prompt.lines.join(" > ")
            );
            false_alarms += usize::from(
                prompt.kind != "outside" && HONEST.iter().any(|honest| said.to_lowercase().contains(honest)),
            );
        }
    }
    for ((language, kind), (right, of)) in &scores {
        println!("{language} {kind}: {right} of {of}");
    }
    println!("false alarms: {false_alarms}");
    for language in ["ru", "en"] {
        let (right, of) = scores[&(language, "~ all".to_owned())];
        assert_eq!(of, 200);
        assert!(right >= AT_LEAST || other.is_some(), "{language}: {right} of {of}");
    }
}
