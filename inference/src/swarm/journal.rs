//! What the asking node keeps of an answer that is being made, so that another node can go on with it: pure.
//!
//! Tokens and what they say come together, in order, under the number of the attempt that made them, its *epoch*. Whoever goes on gets
//! the tokens, replays them through its sampler and grammar, and makes the next one as the first node would have. A node that was given
//! up and comes back still speaks under its old epoch: nothing it says is taken ([`JournalError::Stale`]), and it may not write the
//! answer, since that needs the asker's word.

use serde::{Deserialize, Serialize};

use crate::{
    engine::cache::TokenId,
    limits::{ANSWER_BYTES_MAX, ANSWER_TOKENS_MAX},
};

#[cfg(test)]
mod tests;

/// What another node needs to go on with an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The model that made it: the tokens of another one mean something else.
    pub model: String,
    /// So many times the prompt was made shorter.
    pub shortened: u32,
    /// The tokens so far.
    pub tokens: Vec<TokenId>,
    /// What they say.
    pub text: String,
}

/// Why something about an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// From a node that was given up.
    #[error("it belongs to attempt {epoch}, attempt {current} is under way")]
    Stale {
        /// Its attempt.
        epoch: u32,
        /// The one under way.
        current: u32,
    },
    /// Something before it is missing or comes again.
    #[error("it begins at token {from} where token {expected} comes next")]
    Gap {
        /// Where it begins.
        from: u32,
        /// What comes next.
        expected: u32,
    },
    /// Longer than any answer.
    #[error("the answer is longer than any may be")]
    TooLong,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    epoch: u32,
    begun: Option<Begun>,
    /// Pieces of text that were passed on.
    pieces: u32,
    /// Whether every piece came with its tokens.
    is_whole: bool,
}

impl Journal {
    /// A further attempt begins; its epoch. Everything under an earlier one is stale from now on.
    pub const fn next_epoch(&mut self) -> u32 {
        self.epoch += 1;
        self.epoch
    }

    /// What is there to go on with, if anything.
    #[must_use]
    pub fn begun(&self) -> Option<&Begun> {
        self.begun
            .as_ref()
            .filter(|begun| self.is_whole && !begun.tokens.is_empty())
    }

    /// A node begins: with an answer that is there, or at the beginning.
    pub fn accepted(&mut self, model: &str, goes_on: bool) {
        if goes_on {
            return;
        }
        self.pieces = 0;
        self.is_whole = true;
        self.begun = Some(Begun {
            model: model.to_owned(),
            shortened: 0,
            tokens: Vec::new(),
            text: String::new(),
        });
    }

    /// The prompt was too long for the context and was made shorter.
    pub fn shortened(&mut self) {
        if let Some(begun) = &mut self.begun {
            begun.shortened = begun.shortened.saturating_add(1);
        }
    }

    /// Takes tokens and what they say; the number of the piece if there is a text to pass on.
    ///
    /// # Errors
    /// When they are not what comes next.
    pub fn said(&mut self, epoch: u32, from: u32, tokens: &[TokenId], text: &str) -> Result<Option<u32>, JournalError> {
        self.check(epoch)?;
        let current = self.epoch;
        let begun = self.begun.as_mut().ok_or(JournalError::Stale { epoch, current })?;
        let expected = u32::try_from(begun.tokens.len()).unwrap_or(u32::MAX);
        if from != expected {
            return Err(JournalError::Gap { from, expected });
        }
        let is_too_long = begun.tokens.len() + tokens.len() > ANSWER_TOKENS_MAX as usize
            || begun.text.len() + text.len() > ANSWER_BYTES_MAX;
        if is_too_long {
            return Err(JournalError::TooLong);
        }
        begun.tokens.extend_from_slice(tokens);
        begun.text.push_str(text);
        if text.is_empty() {
            return Ok(None);
        }
        // An engine that does not tell its tokens can only begin again. The last words may have none: they were held back.
        self.is_whole &= !tokens.is_empty() || !begun.tokens.is_empty();
        self.pieces += 1;
        Ok(Some(self.pieces - 1))
    }

    /// Whether something belongs to the attempt under way.
    ///
    /// # Errors
    /// When it does not.
    pub const fn check(&self, epoch: u32) -> Result<(), JournalError> {
        let current = self.epoch;
        if epoch == current {
            Ok(())
        } else {
            Err(JournalError::Stale { epoch, current })
        }
    }
}
