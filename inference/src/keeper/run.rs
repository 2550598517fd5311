//! The keeper at work: it looks at the engines and at the machine, asks the plan what is to be done, and does it.

use std::{
    fs,
    sync::{Arc, Weak},
};

use tokio::sync::watch;

use super::{
    Counted, Running, Shared, State,
    plan::{Effect, Moment, Name, Seen},
    probe,
};
use crate::{
    engine::{Engine, EngineLoad, EngineSettings, EngineStatus, ModelError, model},
    limits::{KEEPER_LOOKS_BUSY, KEEPER_LOOKS_EVERY, MEMORY_RESERVE_BYTES},
};

/// Keeps the models until nobody needs them any more.
pub(super) async fn keep(shared: Weak<Shared>, mut wake: watch::Receiver<u64>) {
    loop {
        // Before it looks: what changes meanwhile is seen at the next look.
        wake.mark_unchanged();
        let pause = match shared.upgrade() {
            None => return,
            Some(shared) => {
                let (effects, pause) = look(&shared);
                for effect in effects {
                    obey(&shared, effect);
                }
                tell(&shared);
                pause
            }
        };
        // A closed channel means that nobody is left, which the next look finds.
        drop(tokio::time::timeout(pause, wake.changed()).await);
    }
}

/// Looks at everything; with what is to be done, and when to look again.
fn look(shared: &Shared) -> (Vec<Effect>, std::time::Duration) {
    let now = shared.now();
    let mut state = shared.lock();
    see_engines(now, &mut state);
    let capacity = capacity(shared, &mut state);
    let effects = state.plan.step(now, capacity);
    let pause = if state.plan.is_waited_for() {
        KEEPER_LOOKS_BUSY
    } else {
        KEEPER_LOOKS_EVERY
    };
    (effects, pause)
}

fn see_engines(now: Moment, state: &mut State) {
    let State {
        plan,
        engines,
        profiles,
        ..
    } = state;
    for (name, running) in engines {
        let status = running.engine.status();
        let seen = match &*status.borrow() {
            EngineStatus::None | EngineStatus::Starting => Seen::Starting,
            EngineStatus::Ready(model) => {
                if let Some(profile) = model.profile {
                    profiles.insert(Name::clone(name), profile);
                }
                Seen::Ready
            }
            EngineStatus::Failed { reason } => Seen::Failed(reason.clone()),
        };
        plan.saw(now, name, seen);
    }
}

/// Bytes that models may take, what they have among them.
fn capacity(shared: &Shared, state: &mut State) -> u64 {
    let mut taken = 0_u64;
    for (name, running) in &state.engines {
        let process = running.engine.load().borrow().process;
        let bytes = process.and_then(resident).unwrap_or(0);
        state.plan.measured(name, bytes);
        taken = taken.saturating_add(bytes);
    }
    // What is about to end still has its memory, which nobody counts as free: it comes back in a moment.
    taken = taken.saturating_add(state.plan.going());
    let free = model::available_memory().unwrap_or(u64::MAX);
    for_models(free, taken).min(shared.memory.unwrap_or(u64::MAX))
}

/// What models may have of a machine that has so much left while they have so much: less than that, where the machine has less left than it
/// is to keep.
const fn for_models(free: u64, taken: u64) -> u64 {
    free.saturating_add(taken).saturating_sub(MEMORY_RESERVE_BYTES)
}

/// Bytes of memory that a process has and cannot give back: not those of files, such as the program itself.
fn resident(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Tells those who wait, and others where it is news to them.
fn tell(shared: &Shared) {
    let view = shared.lock().plan.view(shared.now());
    let conditions = view.into_iter().map(|view| (view.name, view.condition.steady()));
    let conditions: Vec<_> = conditions.collect();
    let is_new = shared.conditions.send_if_modified(|known| {
        *known != conditions && {
            *known = conditions;
            true
        }
    });
    if is_new {
        shared.tell();
    }
    shared.looks.send_modify(|looks| *looks = looks.wrapping_add(1));
}

fn obey(shared: &Arc<Shared>, effect: Effect) {
    match effect {
        Effect::Load(name, room) => {
            tracing::info!(model = &*name, room, "a model is loaded");
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                let (with, its) = (Arc::clone(&shared), Name::clone(&name));
                // Reading a file's header waits for the disk.
                let started = tokio::task::spawn_blocking(move || start(&with, &its, Some(room))).await;
                let reason = match started {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => error.to_string(),
                    Err(panic) => panic.to_string(),
                };
                tracing::error!(model = &*name, reason, "a model cannot be loaded");
                let now = shared.now();
                shared.lock().plan.refused(now, &name, reason);
                shared.wake();
            });
        }
        Effect::Unload(name) => {
            tracing::info!(model = &*name, "a model is unloaded");
            let mut state = shared.lock();
            match state.engines.remove(&name) {
                // What watches it tells when it has ended.
                Some(running) => drop(state.ending.insert(name, running.counted)),
                None => {
                    let now = shared.now();
                    state.plan.unloaded(now, &name);
                }
            }
        }
        Effect::Probe(name) => {
            let engine = shared.lock().engines.get(&name).map(|running| running.engine.clone());
            let Some(engine) = engine else {
                let now = shared.now();
                return shared.lock().plan.refused(now, &name, "its engine ended".into());
            };
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                let (is_counted, result) = probe::ask(&engine).await;
                if let Err(reason) = &result {
                    tracing::warn!(model = &*name, reason, "a model is not well");
                }
                let now = shared.now();
                let mut state = shared.lock();
                if let Some(running) = state.engines.get_mut(&name).filter(|_| is_counted) {
                    running.counted.probes += 1;
                }
                state.plan.probed(now, &name, result);
                drop(state);
                shared.wake();
            });
        }
    }
}

/// Starts the main model's engine at once, so that what is wrong with it is told to whoever starts the node.
pub(super) fn start_main(shared: &Arc<Shared>, name: &Name) -> Result<(), ModelError> {
    let room = {
        let mut state = shared.lock();
        capacity(shared, &mut state)
    };
    let now = shared.now();
    start(shared, name, Some(room))?;
    let mut state = shared.lock();
    let bytes = state.engines.get(name).map_or(0, |running| running.engine.memory());
    state.plan.began(now, name, bytes);
    Ok(())
}

fn start(shared: &Arc<Shared>, name: &Name, room: Option<u64>) -> Result<(), ModelError> {
    let source = shared.lock().sources.get(name).cloned();
    let Some(source) = source else {
        return Err(ModelError::NotFetched(name.to_string()));
    };
    let settings = EngineSettings {
        model: source.model,
        ..shared.settings.clone()
    };
    let engine = Engine::start_within(settings, room)?;
    tokio::spawn(watch(Arc::downgrade(shared), Name::clone(name), engine.clone()));
    let mut state = shared.lock();
    state.plan.reserve(name, engine.memory());
    let counted = Counted {
        load: engine.load(),
        probes: 0,
    };
    state.engines.insert(Name::clone(name), Running { engine, counted });
    drop(state);
    shared.wake();
    Ok(())
}

/// Has the keeper look whenever an engine's status changes, and tells others when its load does; until the engine has ended.
async fn watch(shared: Weak<Shared>, name: Name, engine: Engine) {
    let (mut status, mut load, mut waiting) = (engine.status(), engine.load(), engine.questions_waiting());
    // It must not keep the engine.
    drop(engine);
    let mut waits = true;
    loop {
        let is_status = tokio::select! {
            changed = status.changed() => match changed {
                Ok(()) => true,
                Err(_) => break,
            },
            Ok(()) = load.changed() => false,
            changed = waiting.changed(), if waits => {
                waits = changed.is_ok();
                false
            }
        };
        let Some(shared) = shared.upgrade() else { return };
        if is_status {
            shared.wake();
        }
        shared.tell();
    }
    let Some(shared) = shared.upgrade() else { return };
    let now = shared.now();
    let mut state = shared.lock();
    // One that ends without being told to has met something that nobody thought of.
    let counted = match state.engines.remove(&name) {
        Some(running) => {
            state.plan.refused(now, &name, "its engine ended".into());
            Some(running.counted)
        }
        None => {
            state.plan.unloaded(now, &name);
            state.ending.remove(&name)
        }
    };
    if let Some(counted) = counted {
        let past = counted.added_to(state.past);
        state.past = EngineLoad { generations: 0, ..past };
    }
    drop(state);
    shared.wake();
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when: models are never told to go on a machine that has hardly anything left.
    #[test]
    fn where_the_machine_has_hardly_anything_left_models_may_have_less_than_they_have() {
        let taken = 4 * MEMORY_RESERVE_BYTES;
        assert!(for_models(MEMORY_RESERVE_BYTES / 2, taken) < taken);
        assert_eq!(for_models(MEMORY_RESERVE_BYTES, taken), taken);
        assert_eq!(for_models(3 * MEMORY_RESERVE_BYTES, 0), 2 * MEMORY_RESERVE_BYTES);
    }
}
