//! What is computed and where it lies: pure bookkeeping of the sequences of a context.
//!
//! A character's card is computed once, pinned in a sequence of its own and copied to every conversation with that character; a
//! copy costs no computing and, in a unified cache, no memory. What a conversation adds, its tail, stays in the cache while there is
//! room, is then moved to ordinary memory (the tail alone, where the cache allows that) and at last dropped. Everything is keyed by
//! who it belongs to, never found by similarity: what one person said can never come up in another's conversation.
//!
//! [`Cache::place`] decides; its [`Move`]s are carried out in order by the driver (`worker/kept.rs`).

mod handoff;

use std::{collections::BTreeMap, time::Duration};

pub use handoff::{Held, Seen};

use super::schedule::Moment;
use crate::limits::{CARD_TOKENS_MIN, PARKED_ENTRIES_MAX, TAIL_IDLE_MAX};

/// A token's number in the vocabulary.
pub type TokenId = i32;

/// Whose tokens they are. The model is not part of it, since an engine has one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Conversation {
    /// Hash of the card's text, as the model sees it.
    pub card: [u8; 32],
    /// Whose conversation it is.
    pub account: [u8; 32],
    /// Which one.
    pub session: [u8; 32],
}

/// What the context can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Sequences for conversations.
    pub tails: usize,
    /// Sequences for cards.
    pub cards: usize,
    /// Tokens in all; what is shared counts once.
    pub cells: usize,
    /// Tokens of one sequence.
    pub sequence: usize,
    /// Bytes of ordinary memory for tails that were moved out.
    pub parked_bytes: usize,
    /// Whether sequences share one store, so that parts of them can be copied and saved.
    pub is_unified: bool,
}

/// What the driver does with the context before a generation begins. Positions count from the beginning of the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Save these positions of a tail under this ticket.
    Park {
        /// Which tail.
        tail: usize,
        /// From here.
        from: usize,
        /// To here.
        to: usize,
        /// Under this number.
        ticket: u64,
    },
    /// Forget a tail from this position on.
    Clear {
        /// Which tail.
        tail: usize,
        /// From here.
        from: usize,
    },
    /// Forget a card.
    ClearCard {
        /// Which one.
        card: usize,
    },
    /// Give a tail, which is empty, the whole of a card.
    CopyCard {
        /// Which one.
        card: usize,
        /// To which tail.
        tail: usize,
    },
    /// Give a card's sequence, which is empty, the beginning of a tail.
    PinCard {
        /// From which tail.
        tail: usize,
        /// To which card.
        card: usize,
        /// To here.
        to: usize,
    },
    /// Give a tail what was saved, and forget the ticket.
    Restore {
        /// Under this number.
        ticket: u64,
        /// To which tail.
        tail: usize,
        /// From here.
        from: usize,
        /// To here.
        to: usize,
    },
    /// Forget what was saved.
    Drop {
        /// Under this number.
        ticket: u64,
    },
}

/// Where a generation goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its tail.
    pub tail: usize,
    /// What to do first.
    pub moves: Vec<Move>,
    /// So many tokens of the prompt are computed then.
    pub reused: usize,
    /// The card that this generation computes first, for itself and all others, and its tokens.
    pub computes_card: Option<(usize, usize)>,
}

/// Why a generation has no place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// Another one is just computing its card.
    CardComing,
    /// All tails are in use.
    Full,
}

#[derive(Clone, Debug, Default)]
struct Tail {
    conversation: Option<Conversation>,
    card: Option<usize>,
    tokens: Vec<TokenId>,
    /// Tokens it may come to while it runs; 0 when idle.
    reserved: usize,
    used: Moment,
}

#[derive(Clone, Debug)]
struct Card {
    hash: [u8; 32],
    tokens: Vec<TokenId>,
    is_ready: bool,
    used: Moment,
}

#[derive(Clone, Debug)]
struct Parked {
    conversation: Conversation,
    tokens: Vec<TokenId>,
    from: usize,
    bytes: usize,
    used: Moment,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Cache {
    room: Room,
    tails: Vec<Tail>,
    cards: Vec<Option<Card>>,
    parked: BTreeMap<u64, Parked>,
    next_ticket: u64,
}

fn common(left: &[TokenId], right: &[TokenId]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

impl Cache {
    /// Empty.
    #[must_use]
    pub fn new(room: Room) -> Self {
        Self {
            room,
            tails: vec![Tail::default(); room.tails],
            cards: vec![None; room.cards],
            parked: BTreeMap::new(),
            next_ticket: 1,
        }
    }

    /// Finds a place for a prompt whose first `card` tokens are the card, and whose answer has at most so many tokens.
    ///
    /// # Errors
    /// When it has to wait.
    pub fn place(
        &mut self,
        conversation: Conversation,
        prompt: &[TokenId],
        card: usize,
        answer: usize,
        now: Moment,
    ) -> Result<Place, NoPlace> {
        let reserved = (prompt.len() + answer).min(self.room.sequence);
        // The last token is always computed again: its logits choose the first new one.
        let most = prompt.len().saturating_sub(1);
        if let Some(place) = self.continue_tail(conversation, prompt, reserved, now) {
            return Ok(place);
        }
        let card = if card >= CARD_TOKENS_MIN && card <= most {
            card
        } else {
            0
        };
        let pinned = self.find_card(conversation.card, &prompt[..card]);
        if pinned.is_some_and(|index| self.cards[index].as_ref().is_some_and(|card| !card.is_ready)) {
            return Err(NoPlace::CardComing);
        }
        let tail = self.idle_tail(None).ok_or(NoPlace::Full)?;
        let mut moves = Vec::new();
        self.vacate(tail, now, &mut moves);
        // From here on it is not idle, so that nothing else takes it.
        self.tails[tail].reserved = reserved;
        let is_whole = pinned.is_none() && self.has_whole(conversation, prompt, card, most);
        let pinned = match pinned {
            None if card > 0 && !is_whole => self.new_card(conversation.card, &prompt[..card], now, &mut moves),
            other => other,
        };
        let mut place = Place {
            tail,
            moves,
            reused: 0,
            computes_card: None,
        };
        self.tails[tail].card = pinned;
        self.tails[tail].conversation = Some(conversation);
        self.tails[tail].used = now;
        if let Some(index) = pinned
            && let Some(pinned) = self.cards[index].as_mut()
        {
            pinned.used = now;
            if pinned.is_ready {
                place.reused = card;
                place.moves.push(Move::CopyCard { card: index, tail });
                self.tails[tail].tokens = prompt[..card].to_vec();
            } else {
                place.computes_card = Some((index, card));
            }
        }
        if place.computes_card.is_none() {
            self.unpark(conversation, prompt, most, &mut place);
        }
        if is_whole {
            self.pin_card(conversation.card, &prompt[..card], now, &mut place);
        }
        let shared = self.shared(tail);
        self.make_room(tail, shared, now, &mut place.moves);
        Ok(place)
    }

    /// The idle tail of the same conversation, as far as it agrees with the prompt.
    fn continue_tail(
        &mut self,
        conversation: Conversation,
        prompt: &[TokenId],
        reserved: usize,
        now: Moment,
    ) -> Option<Place> {
        let is_its = |tail: &Tail| tail.reserved == 0 && tail.conversation == Some(conversation);
        let tail = self.tails.iter().position(is_its)?;
        let reused = common(&self.tails[tail].tokens, prompt).min(prompt.len().saturating_sub(1));
        let shared = self.shared(tail);
        if reused <= shared && reused < self.tails[tail].tokens.len() {
            // Nothing of its own would be left; it begins again from the card.
            return None;
        }
        self.tails[tail].tokens.truncate(reused);
        self.tails[tail].reserved = reserved;
        self.tails[tail].used = now;
        if let Some(card) = self.tails[tail].card.and_then(|card| self.cards[card].as_mut()) {
            card.used = now;
        }
        let mut moves = vec![Move::Clear { tail, from: reused }];
        self.make_room(tail, shared, now, &mut moves);
        Some(Place {
            tail,
            moves,
            reused,
            computes_card: None,
        })
    }

    fn find_card(&self, hash: [u8; 32], tokens: &[TokenId]) -> Option<usize> {
        let is_it = |card: &Option<Card>| {
            card.as_ref()
                .is_some_and(|card| !tokens.is_empty() && card.hash == hash && card.tokens == tokens)
        };
        self.cards.iter().position(is_it)
    }

    /// A sequence for a new card: an empty one, else that of the card longest unused whose conversations are all idle.
    fn new_card(&mut self, hash: [u8; 32], tokens: &[TokenId], now: Moment, moves: &mut Vec<Move>) -> Option<usize> {
        let free = self.cards.iter().position(Option::is_none);
        let index = free.or_else(|| self.card_longest_unused())?;
        self.drop_card(index, now, moves);
        self.cards[index] = Some(Card {
            hash,
            tokens: tokens.to_vec(),
            is_ready: false,
            used: now,
        });
        Some(index)
    }

    fn card_longest_unused(&self) -> Option<usize> {
        let in_use = |index: usize| {
            let mut tails = self.tails.iter();
            tails.any(|tail| tail.reserved > 0 && tail.card == Some(index))
        };
        let unused = self.cards.iter().enumerate().filter(|(index, _)| !in_use(*index));
        unused
            .filter_map(|(index, card)| Some((card.as_ref()?.used, index)))
            .min()
            .map(|(_, index)| index)
    }

    fn drop_card(&mut self, index: usize, now: Moment, moves: &mut Vec<Move>) {
        for tail in 0..self.tails.len() {
            if self.tails[tail].card == Some(index) {
                self.vacate(tail, now, moves);
            }
        }
        if self.cards[index].take().is_some() {
            moves.push(Move::ClearCard { card: index });
        }
    }

    /// The tail to take: an empty one, else the one longest unused.
    fn idle_tail(&self, except: Option<usize>) -> Option<usize> {
        let idle = self.tails.iter().enumerate();
        idle.filter(|(index, tail)| tail.reserved == 0 && Some(*index) != except)
            .min_by_key(|(_, tail)| (!tail.tokens.is_empty(), tail.used))
            .map(|(index, _)| index)
    }

    /// Empties an idle tail; what it has of its own is parked.
    fn vacate(&mut self, tail: usize, now: Moment, moves: &mut Vec<Move>) {
        let from = if self.room.is_unified { self.shared(tail) } else { 0 };
        let old = std::mem::take(&mut self.tails[tail]);
        if let Some(conversation) = old.conversation
            && old.tokens.len() > from
            && self.room.parked_bytes > 0
        {
            let stale = self.parked.iter().find(|(_, one)| one.conversation == conversation);
            if let Some(ticket) = stale.map(|(ticket, _)| *ticket) {
                self.parked.remove(&ticket);
                moves.push(Move::Drop { ticket });
            }
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            let to = old.tokens.len();
            moves.push(Move::Park { tail, from, to, ticket });
            let parked = Parked {
                conversation,
                tokens: old.tokens,
                from,
                bytes: 0,
                used: now,
            };
            self.parked.insert(ticket, parked);
        }
        moves.push(Move::Clear { tail, from: 0 });
    }

    /// Brings back what was moved out, if it agrees with the prompt beyond what the place has already.
    fn unpark(&mut self, conversation: Conversation, prompt: &[TokenId], most: usize, place: &mut Place) {
        let found = self.parked.iter().find(|(_, one)| one.conversation == conversation);
        let Some((ticket, from)) = found.map(|(ticket, one)| (*ticket, one.from)) else {
            return;
        };
        // Saved without its card, it can only follow that card.
        if from > 0 && from != place.reused {
            return;
        }
        let Some(parked) = self.parked.remove(&ticket) else {
            return;
        };
        let reused = common(&parked.tokens, prompt).min(most);
        if reused <= place.reused {
            place.moves.push(Move::Drop { ticket });
            return;
        }
        if from == 0 && place.reused > 0 {
            // The whole is saved: no copy of the card is needed, and its cells are its own.
            place.moves.pop();
            self.tails[place.tail].card = None;
        }
        let (tail, to) = (place.tail, parked.tokens.len());
        place.moves.push(Move::Restore { ticket, tail, from, to });
        place.moves.push(Move::Clear { tail, from: reused });
        place.reused = reused;
        self.tails[tail].tokens = prompt[..reused].to_vec();
    }

    /// Empties idle tails, then unused cards, until what runs fits in any case.
    fn make_room(&mut self, tail: usize, shared: usize, now: Moment, moves: &mut Vec<Move>) {
        debug_assert!(self.tails[tail].reserved >= shared);
        // What is emptied for it must be empty before anything is put in: these moves come first.
        let mut first = Vec::new();
        while self.room.is_unified && self.cells() > self.room.cells {
            let idle = self
                .idle_tail(Some(tail))
                .filter(|idle| !self.tails[*idle].tokens.is_empty());
            match idle {
                Some(idle) => self.vacate(idle, now, &mut first),
                None => match self.card_longest_unused() {
                    Some(card) => self.drop_card(card, now, &mut first),
                    None => break,
                },
            }
        }
        first.append(moves);
        *moves = first;
    }

    fn shared(&self, tail: usize) -> usize {
        let card = self.tails[tail].card.and_then(|card| self.cards[card].as_ref());
        card.map_or(0, |card| card.tokens.len())
    }

    /// Cells that are in use or promised.
    fn cells(&self) -> usize {
        let cards: usize = self.cards.iter().flatten().map(|card| card.tokens.len()).sum();
        let tails = self.tails.iter().enumerate().map(|(index, tail)| {
            let whole = tail.reserved.max(tail.tokens.len());
            whole.saturating_sub(self.shared(index))
        });
        cards + tails.sum::<usize>()
    }

    /// A card is computed: it can be copied now.
    pub fn card_ready(&mut self, card: usize) {
        if let Some(card) = self.cards[card].as_mut() {
            card.is_ready = true;
        }
    }

    /// These tokens are computed in a tail.
    pub fn extend(&mut self, tail: usize, tokens: &[TokenId]) {
        self.tails[tail].tokens.extend_from_slice(tokens);
    }

    /// How many tokens are computed in a tail.
    #[must_use]
    pub fn length(&self, tail: usize) -> usize {
        self.tails[tail].tokens.len()
    }

    /// A generation is over: its tail stays for the next turn. A card that it did not finish is given up.
    pub fn release(&mut self, tail: usize, now: Moment) -> Vec<Move> {
        let mut moves = Vec::new();
        self.tails[tail].reserved = 0;
        self.tails[tail].used = now;
        let unfinished = self.tails[tail].card.filter(|card| {
            let card = self.cards[*card].as_ref();
            card.is_some_and(|card| !card.is_ready)
        });
        if let Some(card) = unfinished {
            self.drop_card(card, now, &mut moves);
        }
        moves
    }

    /// What was saved takes so many bytes; what must go for it is answered.
    pub fn parked(&mut self, ticket: u64, bytes: usize) -> Vec<Move> {
        if let Some(parked) = self.parked.get_mut(&ticket) {
            parked.bytes = bytes;
        }
        let mut moves = Vec::new();
        loop {
            let bytes: usize = self.parked.values().map(|parked| parked.bytes).sum();
            if bytes <= self.room.parked_bytes && self.parked.len() <= PARKED_ENTRIES_MAX {
                return moves;
            }
            let oldest = self.parked.iter().min_by_key(|(ticket, one)| (one.used, **ticket));
            let Some(ticket) = oldest.map(|(ticket, _)| *ticket) else {
                return moves;
            };
            moves.push(self.lost(ticket));
        }
    }

    /// What was saved is gone, or could not be saved.
    pub fn lost(&mut self, ticket: u64) -> Move {
        self.parked.remove(&ticket);
        Move::Drop { ticket }
    }

    /// What a tail held turned out to be unusable: only its place stays.
    pub fn spoiled(&mut self, tail: usize) {
        self.tails[tail].tokens.clear();
        let card = self.tails[tail].card.take();
        if let Some(card) = card.and_then(|card| self.cards.get_mut(card)) {
            // Nobody computes it any more.
            card.take_if(|card| !card.is_ready);
        }
    }

    /// What nobody used for long: a conversation that is over needs no memory.
    pub fn expire(&mut self, now: Moment) -> Vec<Move> {
        let is_old = |used: Moment| now.saturating_sub(used) > TAIL_IDLE_MAX;
        let old: Vec<u64> = self
            .parked
            .iter()
            .filter(|(_, one)| is_old(one.used))
            .map(|(ticket, _)| *ticket)
            .collect();
        let mut moves: Vec<Move> = old.into_iter().map(|ticket| self.lost(ticket)).collect();
        for (index, tail) in self.tails.iter_mut().enumerate() {
            if tail.reserved == 0 && !tail.tokens.is_empty() && is_old(tail.used) {
                *tail = Tail::default();
                moves.push(Move::Clear { tail: index, from: 0 });
            }
        }
        moves
    }

    /// How long the oldest thing may still stay; `None` when there is nothing.
    #[must_use]
    pub fn next_expiry(&self, now: Moment) -> Option<Duration> {
        let tails = self
            .tails
            .iter()
            .filter(|tail| tail.reserved == 0 && !tail.tokens.is_empty());
        let used = tails
            .map(|tail| tail.used)
            .chain(self.parked.values().map(|one| one.used))
            .min()?;
        Some((used + TAIL_IDLE_MAX).saturating_sub(now))
    }

    /// Everything computed is gone.
    pub fn clear(&mut self) {
        *self = Self {
            next_ticket: self.next_ticket,
            ..Self::new(self.room)
        };
    }
}

#[cfg(test)]
mod tests;
