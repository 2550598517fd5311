//! Three times as much as an engine can do, for a minute: twelve people, one of whom asks for as much as all can have together. The engine
//! and its queue are the product's; who is refused tries again every two seconds, as a gateway does, and goes away after half a minute.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use inference::{
    Engine, ModelSource,
    admission::Asked,
    engine::{EngineEvent, Generation, GenerationError},
    limits::{RETRY_EVERY, WAITING_TOLD_EVERY},
};
use tokio::task::JoinSet;

use super::{filler, generation, say, start};

const PLACES: u32 = 4;
const PEOPLE: usize = 12;
const OFFERED: f64 = 3.0;
const MINUTE: Duration = Duration::from_secs(60);
/// How long the engine is measured alone.
const ALONE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(30);
const TOKENS: u32 = 192;

/// When somebody waiting was last told, and the longest time that anybody was not.
struct Silence {
    told: std::sync::Mutex<Instant>,
    longest: Arc<AtomicU64>,
}

impl Silence {
    fn told(&self) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let silent = u64::try_from(told.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.longest.fetch_max(silent, Ordering::Relaxed);
        *told = Instant::now();
    }
}

pub(crate) async fn overload() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = start(directory.path(), ModelSource::BuiltIn, PLACES, 512).await;
    let alone = capacity(&engine).await;
    eprintln!("overload: alone it makes {alone:.0} tokens a second");
    let longest = Arc::new(AtomicU64::new(0));
    let made: Arc<Vec<AtomicU64>> = Arc::new((0..PEOPLE).map(|_| AtomicU64::new(0)).collect());
    let began = Instant::now();
    let mut people = JoinSet::new();
    for person in 0..PEOPLE {
        let share = if person == 0 {
            1.0
        } else {
            (OFFERED - 1.0) / (PEOPLE - 1) as f64
        };
        let every = Duration::from_secs_f64(f64::from(TOKENS) / (alone * share));
        people.spawn(ask(
            engine.clone(),
            person,
            every,
            Arc::clone(&made),
            Arc::clone(&longest),
        ));
    }
    while people.join_next().await.is_some() {}
    let took = began.elapsed().as_secs_f64();
    let made: Vec<f64> = made.iter().map(|made| made.load(Ordering::Relaxed) as f64).collect();
    let sum: f64 = made.iter().sum();
    let jain = sum.powi(2) / (PEOPLE as f64 * made.iter().map(|made| made * made).sum::<f64>());
    eprintln!("overload: tokens of each person {made:?} in {took:.1} s");
    say(
        "overload-goodput",
        sum / took / alone,
        "of capacity",
        Some(0.95),
        "higher",
        None,
    );
    let silence = longest.load(Ordering::Relaxed) as f64 / 1000.0;
    say("overload-silence", silence, "s", Some(2.0), "lower", None);
    say("overload-jain", jain, "", Some(0.95), "higher", None);
}

fn question(person: usize, number: u16) -> Generation {
    let card = filler(60, 1);
    let prompt = format!("{card}\n{}", filler(12, usize::from(number) + person));
    let mut generation = generation(number, prompt, card.len(), TOKENS);
    generation.account = account(person);
    generation
}

fn account(person: usize) -> [u8; 32] {
    [u8::try_from(person).unwrap_or(0) + 1; 32]
}

/// Tokens a second with as many people as there are places, each of whom asks again at once.
async fn capacity(engine: &Engine) -> f64 {
    let began = Instant::now();
    let made = Arc::new(AtomicU64::new(0));
    let mut people = JoinSet::new();
    for person in 0..PLACES as usize {
        let (engine, made) = (engine.clone(), Arc::clone(&made));
        people.spawn(async move {
            for number in 0.. {
                if began.elapsed() > ALONE {
                    return;
                }
                let generation = question(person, number * 16 + u16::try_from(person).unwrap_or(0));
                generate(&engine, generation, &made).await.expect("there is room");
            }
        });
    }
    while people.join_next().await.is_some() {}
    made.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// Counts each token as it is made.
async fn generate(engine: &Engine, generation: Generation, made: &AtomicU64) -> Result<(), GenerationError> {
    let mut running = engine.generate(generation).await?;
    while let Some(event) = running.next().await {
        match event {
            EngineEvent::Token(_) => drop(made.fetch_add(1, Ordering::Relaxed)),
            EngineEvent::Failed(error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// One person, for a minute; the answers under way at its end count as far as they have come, and what waits then goes away.
async fn ask(engine: Engine, person: usize, every: Duration, made: Arc<Vec<AtomicU64>>, longest: Arc<AtomicU64>) {
    let mut questions = JoinSet::new();
    let mut next = tokio::time::interval(every);
    let until = tokio::time::Instant::now() + MINUTE;
    for number in 0_u16.. {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(until) => break,
            _ = next.tick() => {}
        }
        let (engine, made) = (engine.clone(), Arc::clone(&made));
        let silence = Silence {
            told: std::sync::Mutex::new(Instant::now()),
            longest: Arc::clone(&longest),
        };
        questions.spawn(async move {
            let in_turn = answered(&engine, person, number, &made[person], &silence);
            // Whoever goes away takes nothing along: a generation that runs goes on to its end.
            let _ = in_turn.await;
        });
        while questions.try_join_next().is_some() {}
    }
    questions.shutdown().await;
}

/// Waits for its turn, tries again when there is no room, and gives up after a while.
async fn answered(
    engine: &Engine,
    person: usize,
    number: u16,
    made: &AtomicU64,
    silence: &Silence,
) -> Result<(), GenerationError> {
    let began = Instant::now();
    let place = loop {
        // Of one person the older question goes first, whatever happened to it before.
        let asked = Asked::by_person(account(person), number.into());
        let left = PATIENCE.saturating_sub(began.elapsed());
        let placed = tokio::time::timeout(left, engine.place(asked, |_| silence.told())).await;
        match placed.unwrap_or(Err(GenerationError::Deadline)) {
            Ok(place) => break place,
            Err(GenerationError::Full { .. }) => {
                silence.told();
                let mut tell = tokio::time::interval(WAITING_TOLD_EVERY);
                for _ in 0..=RETRY_EVERY.as_secs() / WAITING_TOLD_EVERY.as_secs() {
                    tell.tick().await;
                    silence.told();
                }
            }
            Err(error) => return Err(error),
        }
    };
    silence.told();
    generate(engine, question(person, number), made).await?;
    drop(place);
    Ok(())
}
