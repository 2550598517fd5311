//! Carries out what the cache decides: copies, forgets, saves and restores parts of the context.

use std::collections::HashMap;

use llama_cpp_2::context::LlamaContext;

use super::raw;
use crate::engine::cache::{Cache, Held, Move, Room};

/// What was saved of tails that had to leave the context, and what came from other engines.
#[derive(Default)]
pub(super) struct Kept {
    saved: HashMap<u64, Vec<u8>>,
}

fn sequence(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

/// The sequence of a card: after those of the tails.
pub(super) fn card_sequence(room: Room, card: usize) -> usize {
    room.tails + card
}

/// The sequence for parts on their way, after all others.
fn transit(room: Room) -> usize {
    room.tails + room.cards
}

/// Forgets a sequence from a position on; false where the architecture cannot forget a part.
pub(super) fn forget(context: &mut LlamaContext<'_>, index: usize, from: usize) -> bool {
    let number = |value: usize| u32::try_from(value).ok();
    context
        .clear_kv_cache_seq(number(index), number(from).filter(|from| *from > 0), None)
        .unwrap_or(false)
}

impl Kept {
    /// Carries moves out in order. False when the context did not do as told: then the tail is spoiled.
    pub(super) fn carry_out(
        &mut self,
        context: &mut LlamaContext<'_>,
        cache: &mut Cache,
        room: Room,
        moves: Vec<Move>,
    ) -> bool {
        let mut is_sound = true;
        for one in moves {
            match one {
                Move::Park { tail, from, to, ticket } => {
                    let more = match save(context, room, tail, from, to) {
                        Some(state) => {
                            let bytes = state.len();
                            self.saved.insert(ticket, state);
                            cache.parked(ticket, bytes)
                        }
                        None => vec![cache.lost(ticket)],
                    };
                    for one in more {
                        self.drop_saved(&one);
                    }
                }
                Move::Clear { tail, from } => is_sound &= forget(context, tail, from),
                Move::ClearCard { card } => is_sound &= forget(context, card_sequence(room, card), 0),
                Move::CopyCard { card, tail } => is_sound &= copy_card(context, room, card, tail),
                Move::PinCard { tail, card, to } => is_sound &= pin_card(context, room, (tail, card), to),
                Move::Restore { ticket, tail, from, to } => {
                    let state = self.saved.remove(&ticket);
                    is_sound &= state.is_some_and(|state| restore(context, room, tail, (from, to), &state));
                }
                Move::Drop { .. } => self.drop_saved(&one),
            }
        }
        is_sound
    }

    /// Keeps what came from another engine.
    pub(super) fn keep(&mut self, ticket: u64, state: Vec<u8>) {
        self.saved.insert(ticket, state);
    }

    /// The state from a position on, and up to which one.
    pub(super) fn state(
        &self,
        context: &mut LlamaContext<'_>,
        room: Room,
        held: Held,
        from: usize,
    ) -> Option<(usize, Vec<u8>)> {
        match held {
            Held::Parked { ticket, to } => Some((to, self.saved.get(&ticket)?.clone())),
            Held::Tail { tail, to } if room.is_unified => Some((to, save_part(context, room, tail, (from, to))?)),
            Held::Tail { tail, to } => Some((to, raw::get(context, sequence(tail))?)),
        }
    }

    fn drop_saved(&mut self, one: &Move) {
        if let Move::Drop { ticket } = one {
            self.saved.remove(ticket);
        }
    }
}

/// Copies a whole card into an empty tail.
pub(super) fn copy_card(context: &mut LlamaContext<'_>, room: Room, card: usize, tail: usize) -> bool {
    let from = sequence(card_sequence(room, card));
    context.copy_kv_cache_seq(from, sequence(tail), None, None).is_ok()
}

/// Copies the beginning of a tail into a card's empty sequence.
fn pin_card(context: &mut LlamaContext<'_>, room: Room, (tail, card): (usize, usize), to: usize) -> bool {
    let (from, into) = (sequence(tail), sequence(card_sequence(room, card)));
    context
        .copy_kv_cache_seq(from, into, Some(0), u32::try_from(to).ok())
        .is_ok()
}

fn save(context: &mut LlamaContext<'_>, room: Room, tail: usize, from: usize, to: usize) -> Option<Vec<u8>> {
    if from == 0 {
        return raw::get(context, sequence(tail));
    }
    save_part(context, room, tail, (from, to))
}

/// A part of a tail, by way of a sequence of its own; only where sequences share one store.
fn save_part(context: &mut LlamaContext<'_>, room: Room, tail: usize, (from, to): (usize, usize)) -> Option<Vec<u8>> {
    let part = (u32::try_from(from).ok(), u32::try_from(to).ok());
    let index = transit(room);
    context
        .copy_kv_cache_seq(sequence(tail), sequence(index), part.0, part.1)
        .ok()?;
    let state = raw::get(context, sequence(index));
    forget(context, index, 0);
    state
}

fn restore(context: &mut LlamaContext<'_>, room: Room, tail: usize, (from, to): (usize, usize), state: &[u8]) -> bool {
    if from == 0 {
        return raw::set(context, sequence(tail), state);
    }
    let index = transit(room);
    let part = (u32::try_from(from).ok(), u32::try_from(to).ok());
    let is_there = raw::set(context, sequence(index), state);
    let is_copied = is_there
        && context
            .copy_kv_cache_seq(sequence(index), sequence(tail), part.0, part.1)
            .is_ok();
    forget(context, index, 0) && is_copied
}
