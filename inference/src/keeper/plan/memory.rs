//! Which model is loaded next, and which go for it.

use super::{Effect, Moment, Name, Plan, Slot, State, unload};
use crate::limits::MODEL_KEPT_LEAST;

/// Those that would go, and what is free then.
struct Chosen {
    names: Vec<Name>,
    freed: u64,
}

impl Plan {
    /// Bytes that all models take, now or soon.
    pub(super) fn committed(&self) -> u64 {
        self.slots.values().map(Slot::committed).sum()
    }

    /// Bytes that models have whose engines are about to end.
    pub fn going(&self) -> u64 {
        let going = self.slots.values().filter(|slot| slot.state == State::Unloading);
        going.map(|slot| slot.measured).sum()
    }

    fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.committed())
    }

    /// Where the machine itself is short of memory, models go that nobody asks, one after the other.
    pub(super) fn relieve(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let taken: u64 = self.slots.values().map(|slot| slot.measured).sum();
        let is_going = self.slots.values().any(|slot| slot.state == State::Unloading);
        if taken <= self.capacity || is_going {
            return;
        }
        let idle = self.slots.values_mut().filter(|slot| {
            let is_new = now < slot.loaded_at + MODEL_KEPT_LEAST;
            let can_go = !slot.listed.is_main && !is_new && slot.uses == 0 && !slot.is_probing;
            can_go && matches!(slot.state, State::Loaded | State::Sick { .. })
        });
        if let Some(least) = idle.min_by(|left, right| left.value(now).total_cmp(&right.value(now))) {
            unload(least, None, effects);
        }
    }

    /// Loads the next model, or makes room for it.
    pub(super) fn load(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let was_draining: Vec<Name> = self.draining();
        if self.slots.values().any(|slot| slot.state.is_loading()) {
            return;
        }
        for slot in self.slots.values_mut() {
            slot.is_draining &= !self.listing.contains_key(&slot.listed.name);
        }
        let Some(head) = self.head() else {
            if let Some(main) = self.idle_main() {
                let free = self.free();
                self.begin(now, &main, free, effects);
            }
            return;
        };
        let (needed, free) = (self.slots[&head].listed.bytes, self.free());
        if needed <= free {
            self.begin(now, &head, free, effects);
            return;
        }
        let going: u64 = self
            .slots
            .values()
            .filter(|slot| slot.state == State::Unloading)
            .map(Slot::committed)
            .sum();
        let lacking = needed.saturating_sub(free + going);
        if lacking == 0 {
            return;
        }
        let idle = self.choose(now, &head, lacking, &was_draining, false);
        if let Some(chosen) = idle {
            for name in chosen.names {
                if let Some(slot) = self.slots.get_mut(&name) {
                    unload(slot, None, effects);
                }
            }
            return;
        }
        // Of those that compute, some have to go, too: they take nobody else.
        let Some(chosen) = self.choose(now, &head, lacking, &was_draining, true) else {
            return;
        };
        for name in &chosen.names {
            if let Some(slot) = self.slots.get_mut(name) {
                slot.is_draining = true;
            }
        }
        let spare = (free + going + chosen.freed).saturating_sub(needed);
        self.go_before(now, free.min(spare), effects);
    }

    /// While the first one waits, another one is loaded where the first does not need the memory.
    fn go_before(&mut self, now: Moment, spare: u64, effects: &mut Vec<Effect>) {
        let fits = |name: &&Name| {
            let slot = &self.slots[*name];
            slot.state == State::OnDisk && slot.listed.bytes <= spare
        };
        let listed = self.waiters.values().filter(|name| self.listing.contains_key(*name));
        if let Some(name) = listed.filter(|name| self.slots.contains_key(*name)).find(fits).cloned() {
            self.begin(now, &name, spare, effects);
        }
    }

    fn begin(&mut self, now: Moment, name: &Name, room: u64, effects: &mut Vec<Effect>) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.reserved = slot.listed.bytes;
            slot.state = State::Loading { since: now };
            effects.push(Effect::Load(Name::clone(name), room));
        }
    }

    fn draining(&self) -> Vec<Name> {
        let draining = self.slots.iter().filter(|(_, slot)| slot.is_draining);
        draining.map(|(name, _)| Name::clone(name)).collect()
    }

    /// What was waited for longest of those that are to be loaded.
    fn head(&self) -> Option<Name> {
        let can_load = |name: &&Name| {
            let slot = self.slots.get(*name);
            slot.is_some_and(|slot| slot.state == State::OnDisk && slot.listed.bytes <= self.capacity)
                && self.listing.contains_key(*name)
        };
        self.waiters.values().find(can_load).cloned()
    }

    /// The main one, where it is not in memory and fits in beside what is.
    fn idle_main(&self) -> Option<Name> {
        let free = self.free();
        let found = self.slots.iter().find(|(name, slot)| {
            let is_listed = slot.listed.is_main && self.listing.contains_key(*name);
            is_listed && slot.state == State::OnDisk && slot.listed.bytes <= free
        });
        found.map(|(name, _)| Name::clone(name))
    }

    /// The models that are worth least and whose going gives so many bytes; nothing when that cannot be.
    fn choose(
        &self,
        now: Moment,
        head: &Name,
        lacking: u64,
        was_draining: &[Name],
        takes_busy: bool,
    ) -> Option<Chosen> {
        let wanting = &self.slots[head];
        let is_busy = |slot: &Slot| {
            // Who waits for one that takes nobody else waits for it to come back.
            let takes = slot.state == State::Loaded && !was_draining.contains(&slot.listed.name);
            let comes = takes && self.waiters.values().any(|name| *name == slot.listed.name);
            slot.uses > 0 || slot.is_probing || comes
        };
        let mut able: Vec<(&Name, &Slot, bool)> = self
            .slots
            .iter()
            .filter(|(name, slot)| {
                let is_there = matches!(
                    slot.state,
                    State::Loaded | State::Sick { .. } | State::Recovering { .. }
                );
                *name != head && is_there && now >= self.protected_until(slot, wanting)
            })
            .map(|(name, slot)| (name, slot, is_busy(slot)))
            .filter(|(_, _, is_busy)| takes_busy || !is_busy)
            .collect();
        able.sort_by(|(left_name, left, left_busy), (right_name, right, right_busy)| {
            // Whom it was told once stays chosen: otherwise one would come in again while the next one goes.
            let stays = |name: &Name| !was_draining.contains(name);
            let order = stays(left_name).cmp(&stays(right_name)).then(left_busy.cmp(right_busy));
            order.then(left.value(now).total_cmp(&right.value(now)))
        });
        let (mut names, mut freed) = (Vec::new(), 0_u64);
        for (name, slot, _) in able {
            if freed >= lacking {
                break;
            }
            freed += slot.committed();
            names.push(name);
        }
        if freed < lacking {
            return None;
        }
        // What was taken before a large one may not be needed any more; the most valuable stays first.
        let mut kept = Vec::new();
        for name in names.into_iter().rev() {
            let bytes = self.slots[name].committed();
            if freed - bytes >= lacking {
                freed -= bytes;
            } else {
                kept.push(Name::clone(name));
            }
        }
        Some(Chosen { names: kept, freed })
    }
}
