//! What of a conversation can be given to another engine, and what another engine gave.

use super::{Cache, Card, Conversation, Move, Parked, Place, Tail, TokenId, common};
use crate::engine::{schedule::Moment, state::StateError};

/// What is computed of a prompt, and from which position on a state would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Tokens at its beginning that are computed.
    pub cached: usize,
    /// 0, or the tokens of its card where that is computed and can be shared.
    pub from: usize,
}

/// Where the state of a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// In a tail, up to this position.
    Tail {
        /// Which one.
        tail: usize,
        /// To here.
        to: usize,
    },
    /// In ordinary memory, up to this position.
    Parked {
        /// Under this number.
        ticket: u64,
        /// To here.
        to: usize,
    },
}

impl Cache {
    fn tail_of(&self, conversation: Conversation) -> Option<usize> {
        let mut tails = self.tails.iter();
        tails.position(|tail| tail.conversation == Some(conversation))
    }

    fn parked_of(&self, conversation: Conversation) -> Option<(u64, &Parked)> {
        let mut parked = self.parked.iter();
        let found = parked.find(|(_, one)| one.conversation == conversation);
        found.map(|(ticket, one)| (*ticket, one))
    }

    /// What is computed of a prompt whose first `card` tokens are the card. Nothing changes.
    #[must_use]
    pub fn look(&self, conversation: Conversation, prompt: &[TokenId], card: usize) -> Seen {
        let most = prompt.len().saturating_sub(1);
        let pinned = self.find_card(conversation.card, prompt.get(..card).unwrap_or_default());
        let is_ready = |index: usize| self.cards[index].as_ref().is_some_and(|card| card.is_ready);
        let shared = pinned.filter(|index| is_ready(*index)).map_or(0, |_| card);
        let tail = self.tail_of(conversation).map(|tail| &self.tails[tail].tokens);
        let in_tail = tail.map_or(0, |tokens| common(tokens, prompt));
        let parked = self.parked_of(conversation).map(|(_, parked)| parked);
        let parked = parked.filter(|parked| parked.from == 0 || parked.from == shared);
        let in_memory = parked.map_or(0, |parked| common(&parked.tokens, prompt));
        Seen {
            cached: shared.max(in_tail).max(in_memory).min(most),
            from: if self.room.is_unified { shared } else { 0 },
        }
    }

    /// Where a state of these tokens from a position on is, as far as they are computed. Only what the tokens name is ever given; where a
    /// sequence can only be given whole, what an idle one has beyond them is forgotten.
    pub fn export(&mut self, conversation: Conversation, tokens: &[TokenId], from: usize) -> Option<(Held, Vec<Move>)> {
        if let Some(tail) = self.tail_of(conversation) {
            let to = common(&self.tails[tail].tokens, tokens);
            if to > from && self.room.is_unified {
                return Some((Held::Tail { tail, to }, Vec::new()));
            }
            let is_whole = to == self.tails[tail].tokens.len();
            if to > 0 && from == 0 && !self.room.is_unified && (is_whole || self.tails[tail].reserved == 0) {
                self.tails[tail].tokens.truncate(to);
                let moves = vec![Move::Clear { tail, from: to }];
                return Some((Held::Tail { tail, to }, moves));
            }
        }
        let (ticket, parked) = self.parked_of(conversation)?;
        let to = parked.tokens.len();
        let is_asked = parked.from == from && to > from && common(&parked.tokens, tokens) == to;
        is_asked.then_some((Held::Parked { ticket, to }, Vec::new()))
    }

    /// Takes in a state of so many bytes: the number under which the driver keeps it, and what to do first. What was here of the conversation
    /// goes: it is less, or whoever asked for the state would not have.
    ///
    /// # Errors
    /// When there is no room for it, or the conversation is being generated.
    pub fn adopt(
        &mut self,
        conversation: Conversation,
        tokens: Vec<TokenId>,
        from: usize,
        bytes: usize,
        now: Moment,
    ) -> Result<(u64, Vec<Move>), StateError> {
        if bytes > self.room.parked_bytes {
            return Err(StateError::NoRoom {
                bytes: bytes as u64,
                room: self.room.parked_bytes as u64,
            });
        }
        let mut moves = Vec::new();
        if let Some(tail) = self.tail_of(conversation) {
            if self.tails[tail].reserved > 0 {
                return Err(StateError::Busy);
            }
            self.tails[tail] = Tail::default();
            moves.push(Move::Clear { tail, from: 0 });
        }
        if let Some((ticket, _)) = self.parked_of(conversation) {
            moves.push(self.lost(ticket));
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.parked.insert(
            ticket,
            Parked {
                conversation,
                tokens,
                from,
                bytes,
                used: now,
            },
        );
        // The newest is the last to go.
        moves.extend(self.parked(ticket, bytes));
        Ok((ticket, moves))
    }

    /// Whether more of a prompt than its card is saved with its beginning.
    pub(super) fn has_whole(&self, conversation: Conversation, prompt: &[TokenId], card: usize, most: usize) -> bool {
        let parked = self.parked_of(conversation).map(|(_, parked)| parked);
        parked.is_some_and(|parked| parked.from == 0 && common(&parked.tokens, prompt).min(most) > card)
    }

    /// A conversation that came back whole brings its card: others with the same one share it.
    pub(super) fn pin_card(&mut self, hash: [u8; 32], card: &[TokenId], now: Moment, place: &mut Place) {
        if card.is_empty() || !self.room.is_unified || place.reused < card.len() {
            return;
        }
        let Some(index) = self.new_card(hash, card, now, &mut place.moves) else {
            return;
        };
        if let Some(Card { is_ready, .. }) = self.cards[index].as_mut() {
            *is_ready = true;
        }
        let (tail, to) = (place.tail, card.len());
        self.tails[tail].card = Some(index);
        place.moves.push(Move::PinCard { tail, card: index, to });
    }
}
