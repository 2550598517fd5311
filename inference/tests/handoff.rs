//! A conversation moves from one engine to another with what is computed of it: two real processes with the built-in model. The text must be
//! that of a conversation that stayed, byte for byte; what is not the state that was announced, or not laid out like one, is refused, and the
//! engine goes on.

#[path = "engines/started.rs"]
mod engines;

use std::path::Path;

use engines::{PATIENCE, started};
use inference::{
    Engine, ModelSource,
    engine::{
        EngineEvent, Finished, Generation, Input, Sampling,
        calibration::{self, Profile},
        state::{Incoming, Look, Part, State, StateError},
    },
};

const CARD: &str =
    "<|im_start|>system\nТы Лис, хитрый лис из зимнего леса. Отвечай коротко и весело, люби ягоды и снег.<|im_end|>\n";

async fn start(directory: &Path) -> Engine {
    started(directory, ModelSource::BuiltIn, 2).await
}

/// The engine of a node that moves, that of the one it moves to, and one on which nothing moves: all with one store of keys and values for
/// all sequences, or all with one for each.
async fn engines(directory: &Path, is_unified: bool) -> [Engine; 3] {
    drop(start(directory).await);
    // What was measured is not measured again, so it can be chosen.
    let files = std::fs::read_dir(directory).expect("a directory").flatten();
    let mut files = files.filter(|file| file.file_name().to_string_lossy().starts_with("profile-"));
    let path = files.next().expect("it was measured").path();
    let measured = calibration::decode(&std::fs::read(&path).expect("a file")).expect("a profile");
    let chosen = calibration::encode(&Profile { is_unified, ..measured });
    std::fs::write(path, chosen).expect("it is written");
    [start(directory).await, start(directory).await, start(directory).await]
}

fn generation(session: u8, prompt: &str) -> Generation {
    Generation {
        account: [session; 32],
        session: [session; 32],
        input: Input::Text {
            prompt: prompt.to_owned(),
            card_bytes: CARD.len(),
        },
        sampling: Sampling {
            temperature: 1.3,
            min_p: 0.0,
            seed: 5 + u32::from(session),
            tokens_max: 48,
            ignores_end: true,
            ..Sampling::default()
        },
        accepted: Vec::new(),
        deadline: PATIENCE,
    }
}

fn first(question: &str) -> String {
    format!("{CARD}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
}

fn next(before: &str, answer: &str, question: &str) -> String {
    format!("{before}{answer}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
}

async fn say(engine: &Engine, session: u8, prompt: &str) -> (String, Finished) {
    let mut running = engine.generate(generation(session, prompt)).await.expect("it begins");
    let mut text = String::new();
    loop {
        match tokio::time::timeout(PATIENCE, running.next()).await.expect("in time") {
            Some(EngineEvent::Text(piece)) => text.push_str(&piece),
            Some(EngineEvent::Finished(finished)) => return (text, finished),
            Some(EngineEvent::Token(_) | EngineEvent::Thought(_) | EngineEvent::Probability(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// What is done to the bytes of a state.
type Change<'change> = &'change dyn Fn(&mut Vec<u8>);

/// As it travels: what is received has the bytes and the hash that were announced.
fn received(state: &State, bytes: &[u8], hash: &[u8; 32]) -> Result<State, StateError> {
    let mut incoming = Incoming::new(state.part().clone(), bytes.len() as u64);
    for piece in bytes.chunks(10_000) {
        incoming.push(piece)?;
    }
    incoming.finish(hash)
}

/// The state that an engine has of what another one lacks.
async fn asked(from: &Engine, to: &Engine, session: u8, prompt: &str) -> (Look, State) {
    let look = to.look(generation(session, prompt)).await.expect("it can be looked at");
    let state = from.export(look.part.clone()).await.expect("it is there");
    assert_eq!(state.bytes().len() as u64, look.bytes(state.part().count()));
    (look, state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_elsewhere_byte_for_byte_from_what_was_computed() {
    for is_unified in [true, false] {
        goes_on_elsewhere(is_unified).await;
    }
}

async fn goes_on_elsewhere(is_unified: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let [left, right, undisturbed] = engines(directory.path(), is_unified).await;
    let same = left.compatibility().await;
    assert!(same.is_some() && same == right.compatibility().await);
    for session in 1..4 {
        let mut prompt = first("Расскажи сказку про лес.");
        let mut at = (&left, &right);
        for question in ["А что дальше?", "Как тебя зовут?", "Ты любишь снег?", "Что ты ешь?"]
        {
            let (text, there) = say(at.0, session, &prompt).await;
            let (expected, stayed) = say(&undisturbed, session, &prompt).await;
            assert_eq!(text, expected, "session {session}, {question}");
            assert_eq!(
                there.reused_tokens, stayed.reused_tokens,
                "session {session}, {question}"
            );
            prompt = next(&prompt, &text, question);
            let (look, state) = asked(at.0, at.1, session, &prompt).await;
            assert!(state.part().tokens.len() > look.cached as usize);
            // The first conversation brings its card; where parts can be given, the others come behind it.
            assert_eq!(look.part.from > 0, is_unified && look.cached > 0, "{look:?}");
            let state = received(&state, state.bytes(), &state.hash()).expect("as announced");
            at.1.adopt(state).await.expect("it is taken");
            at = (at.1, at.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_state_that_was_asked_for_is_refused_and_the_engine_answers_by_text() {
    let directory = tempfile::tempdir().unwrap();
    let [left, right, undisturbed] = engines(directory.path(), true).await;
    let begun = first("Расскажи сказку про лес.");
    let (text, _) = say(&left, 1, &begun).await;
    let prompt = next(&begun, &text, "А что дальше?");
    let (look, state) = asked(&left, &right, 1, &prompt).await;

    // Nobody is given another's conversation, nor more than was named.
    let stranger = Part {
        conversation: right.look(generation(2, &prompt)).await.unwrap().part.conversation,
        ..look.part.clone()
    };
    assert_eq!(left.export(stranger).await.unwrap_err(), StateError::Unknown);
    let mut guessed = look.part.clone();
    guessed.tokens.truncate(10);
    let given = left.export(guessed).await;
    assert!(
        given.as_ref().map_or(true, |given| given.part().tokens.len() <= 10),
        "{given:?}"
    );

    // Another hash than was announced, and bytes that were changed on the way.
    let mut changed = state.bytes().to_vec();
    changed[state.bytes().len() / 2] ^= 1;
    assert_eq!(received(&state, &changed, &state.hash()).unwrap_err(), StateError::Hash);
    assert_eq!(received(&state, state.bytes(), &[0; 32]).unwrap_err(), StateError::Hash);

    // Bytes with their true hash that are no state of these tokens.
    let hostile = |change: Change<'_>| {
        let mut bytes = state.bytes().to_vec();
        change(&mut bytes);
        received(&state, &bytes, blake3::hash(&bytes).as_bytes()).unwrap()
    };
    let half = state.bytes().len() / 2;
    let changes: [Change<'_>; 7] = [
        &|bytes| bytes.truncate(half),
        &|bytes| bytes.truncate(1),
        &|bytes| bytes.push(0),
        &|bytes| bytes.fill(0xff),
        &|bytes| bytes[0] ^= 1,
        // Streams, cells, and the first position.
        &|bytes| bytes[8..12].fill(0x7f),
        &|bytes| bytes[12..24].fill(0x7f),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let refused = right.adopt(hostile(change)).await.unwrap_err();
        let is_named = matches!(refused, StateError::Length { .. } | StateError::Layout(_));
        assert!(is_named, "change {number}: {refused}");
    }

    // It lives, and says from the text what any engine says from it.
    let (expected, _) = say(&undisturbed, 1, &prompt).await;
    let (text, finished) = say(&right, 1, &prompt).await;
    assert_eq!(finished.reused_tokens, 0);
    assert_eq!(text, expected);
    assert_eq!(right.load().borrow().restarts, 0);
}
