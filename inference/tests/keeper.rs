//! The keeper with real engines: the built-in model, and one whose weights are damaged.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use inference::{
    EngineSettings, Engines, KeeperSettings, ModelSource,
    engine::{EngineEvent, Generation, GenerationError, Input, Sampling},
    keeper::{
        MainModel, ModelFile, ModelGuard,
        plan::{Condition, ModelView},
    },
};

const MODEL: &[u8] = include_bytes!("../models/built-in.gguf");
/// Generous: nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(directory: &Path, keeper: KeeperSettings) -> Engines {
    let settings = EngineSettings {
        program: env!("CARGO_BIN_EXE_engine-process").into(),
        model: ModelSource::BuiltIn,
        models_directory: directory.to_owned(),
        slots: 2,
        context_tokens: 256,
        threads: Some(1),
    };
    Engines::start(settings, keeper).expect("the built-in model is there")
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> ModelFile {
    let path: PathBuf = directory.join(format!("{name}.gguf"));
    fs::write(&path, bytes).expect("the disk takes it");
    ModelFile {
        name: name.into(),
        path,
    }
}

/// The last part of the weights is no number.
fn damaged() -> Vec<u8> {
    let mut bytes = MODEL.to_vec();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xff);
    bytes
}

async fn say(model: &ModelGuard) -> Result<String, GenerationError> {
    let generation = Generation {
        account: [1; 32],
        session: [2; 32],
        input: Input::Text {
            prompt: "<|im_start|>user\nКак тебя зовут?<|im_end|>\n<|im_start|>assistant\n".into(),
            card_bytes: 0,
        },
        sampling: Sampling {
            temperature: 0.0,
            tokens_max: 8,
            ..Sampling::default()
        },
        accepted: Vec::new(),
        deadline: PATIENCE,
    };
    let mut running = model.engine().generate(generation).await?;
    let mut text = String::new();
    loop {
        match running.next().await {
            Some(EngineEvent::Text(piece)) => text.push_str(&piece),
            Some(EngineEvent::Finished(_)) => return Ok(text),
            Some(EngineEvent::Failed(error)) => return Err(error),
            Some(_) => {}
            None => return Err(GenerationError::Died),
        }
    }
}

fn view(engines: &Engines, name: &str) -> Option<ModelView> {
    engines.models().into_iter().find(|view| *view.name == *name)
}

/// Waits until a model stands as wanted.
async fn until(engines: &Engines, name: &str, wanted: impl Fn(&Condition) -> bool) {
    let mut conditions = engines.conditions();
    let stands = async {
        while !view(engines, name).is_some_and(|view| wanted(&view.condition)) {
            conditions.changed().await.expect("it lives");
        }
    };
    let stood = tokio::time::timeout(PATIENCE, stands).await;
    stood.unwrap_or_else(|_| panic!("{:?}", engines.models()));
}

async fn get(engines: &Engines, name: Option<&str>) -> Result<ModelGuard, GenerationError> {
    tokio::time::timeout(PATIENCE, engines.model(name))
        .await
        .expect("in time")
}

// Red when: the model goes although somebody holds it, or the second comes in although it does not fit beside the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_held_stays_until_it_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = KeeperSettings {
        memory: Some(100 * 1024 * 1024),
        ..KeeperSettings::default()
    };
    let engines = start(directory.path(), keeper);
    engines.set_files(vec![file(directory.path(), "second", MODEL)]).await;
    let first = get(&engines, None).await.unwrap();
    let said = say(&first).await.unwrap();
    assert!(!said.is_empty());
    let waiting = tokio::spawn({
        let engines = engines.clone();
        async move { get(&engines, Some("second")).await }
    });
    // The second is wanted: the first takes nobody else, and computes to its end all the same.
    until(&engines, "built-in", |condition| *condition == Condition::Loading).await;
    assert_eq!(say(&first).await.unwrap(), said);
    assert_eq!(view(&engines, "second").unwrap().condition, Condition::OnDisk);
    drop(first);
    let second = waiting.await.unwrap().unwrap();
    assert_eq!(say(&second).await.unwrap(), said, "it is the same model");
    assert!(matches!(engines.main(), MainModel::Here(view) if view.condition == Condition::OnDisk));
    assert!(view(&engines, "second").unwrap().measured_bytes > 1_000_000);
    engines.idle().await;
    assert_eq!(engines.load().finished, 3, "probes are nobody's");
}

// Red when: a model whose weights are no numbers is offered, or when it does not come back by itself once its file is sound.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_computes_nonsense_is_offered_to_nobody_and_comes_back_when_it_is_sound() {
    let directory = tempfile::tempdir().unwrap();
    let engines = start(directory.path(), KeeperSettings::default());
    let broken = file(directory.path(), "broken", &damaged());
    engines.set_files(vec![broken.clone()]).await;
    until(&engines, "built-in", |condition| *condition == Condition::Loaded).await;
    let refused = get(&engines, Some("broken")).await.unwrap_err();
    assert!(matches!(refused, GenerationError::Engine(_)), "{refused:?}");
    let offers = engines.offers();
    let offered: Vec<&str> = offers.iter().map(|offer| offer.model.as_str()).collect();
    assert_eq!(offered, ["built-in"]);
    fs::write(&broken.path, MODEL).unwrap();
    // After three failures it is unloaded and left alone for a while; then it can be asked again.
    until(&engines, "broken", |condition| *condition == Condition::OnDisk).await;
    let sound = get(&engines, Some("broken")).await.unwrap();
    assert!(!say(&sound).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_the_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = KeeperSettings {
        memory: Some(10 * 1024 * 1024),
        ..KeeperSettings::default()
    };
    let settings = EngineSettings {
        program: env!("CARGO_BIN_EXE_engine-process").into(),
        model: ModelSource::BuiltIn,
        models_directory: directory.path().to_owned(),
        slots: 2,
        context_tokens: 256,
        threads: Some(1),
    };
    let refused = Engines::start(settings, keeper).unwrap_err().to_string();
    assert!(
        refused.contains("does not fit") && refused.contains("MB are free"),
        "{refused}"
    );
}
