//! How long answers become: what this character needed before for this kind of question, so that a limit is there before a model rambles
//! and never cuts what is usual. Pure; the desk keeps one.

use std::collections::{BTreeMap, VecDeque};

use keys::ContentId;

use crate::limits::{ANSWER_TOKENS_MAX, NEEDS_KEPT, NEEDS_KEYS_MAX};

/// With fewer answers nothing is concluded.
const ANSWERS_MIN: usize = 5;
/// How much more than usual an answer may need.
const ROOM: f64 = 2.0;
/// An answer is never limited to less.
const TOKENS_MIN: u32 = 96;
/// Beginnings of words by which a person asks for something long.
const LONG: &[&str] = &[
    "расскаж",
    "сказк",
    "истори",
    "подробн",
    "объясни",
    "опиши",
    "напиши",
    "сочини",
    "список",
    "перечисл",
    "почему",
    "tell",
    "story",
    "explain",
    "describe",
    "write",
    "list",
    "detail",
    "why",
];

/// What kind of question it is, as far as that says how long its answer becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A word or two.
    Short,
    /// An ordinary one.
    Usual,
    /// One that asks for a tale, a list, an explanation.
    Long,
}

impl Kind {
    /// The kind of a question.
    #[must_use]
    pub fn of(question: &str) -> Self {
        let lower = question.to_lowercase();
        let mut words = lower
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        if words
            .clone()
            .any(|word| LONG.iter().any(|beginning| word.starts_with(beginning)))
        {
            Self::Long
        } else if words.nth(3).is_none() {
            Self::Short
        } else {
            Self::Usual
        }
    }
}

/// Lengths of answers by character and kind of question.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    lengths: BTreeMap<(ContentId, Kind), VecDeque<u32>>,
    /// Keys in the order in which they were last written.
    recent: VecDeque<(ContentId, Kind)>,
}

impl Needs {
    /// An answer ended. One that its limit cut off would have needed more.
    pub fn note(&mut self, character: ContentId, kind: Kind, tokens: u32, was_cut: bool) {
        let key = (character, kind);
        self.recent.retain(|other| *other != key);
        self.recent.push_back(key);
        while self.recent.len() > NEEDS_KEYS_MAX {
            if let Some(oldest) = self.recent.pop_front() {
                self.lengths.remove(&oldest);
            }
        }
        let lengths = self.lengths.entry(key).or_default();
        lengths.push_back(if was_cut { tokens.saturating_mul(2) } else { tokens });
        while lengths.len() > NEEDS_KEPT {
            lengths.pop_front();
        }
    }

    /// How many tokens the next answer may have, of those that the character allows.
    #[must_use]
    pub fn tokens_max(&self, character: ContentId, kind: Kind, allowed: u32) -> u32 {
        let allowed = allowed.clamp(1, ANSWER_TOKENS_MAX);
        let Some(lengths) = self
            .lengths
            .get(&(character, kind))
            .filter(|lengths| lengths.len() >= ANSWERS_MIN)
        else {
            return allowed;
        };
        let mut sorted: Vec<u32> = lengths.iter().copied().collect();
        sorted.sort_unstable();
        // Nineteen of twenty.
        let place = (sorted.len() * 19).div_ceil(20).saturating_sub(1);
        let usual = sorted.get(place).copied().unwrap_or(allowed);
        let room = (f64::from(usual) * ROOM).min(f64::from(ANSWER_TOKENS_MAX));
        (room as u32).max(TOKENS_MIN).min(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOX: ContentId = ContentId([1; 32]);

    #[test]
    fn a_limit_follows_what_was_needed_and_grows_again_when_it_cuts() {
        let mut needs = Needs::default();
        assert_eq!(needs.tokens_max(FOX, Kind::Short, 2000), 2000, "nothing is known");
        for tokens in [40, 45, 50, 60, 70, 80] {
            needs.note(FOX, Kind::Short, tokens, false);
        }
        assert_eq!(needs.tokens_max(FOX, Kind::Short, 2000), 160);
        assert_eq!(
            needs.tokens_max(FOX, Kind::Short, 100),
            100,
            "the character's limit holds"
        );
        assert_eq!(needs.tokens_max(FOX, Kind::Long, 2000), 2000, "another kind");
        assert_eq!(
            needs.tokens_max(ContentId([2; 32]), Kind::Short, 2000),
            2000,
            "another character"
        );
        let mut limit = 160;
        for _ in 0..4 {
            needs.note(FOX, Kind::Short, limit, true);
            let next = needs.tokens_max(FOX, Kind::Short, 2000);
            assert!(next > limit || next == 2000);
            limit = next;
        }
        assert_eq!(limit, 2000);
        for _ in 0..NEEDS_KEPT {
            needs.note(FOX, Kind::Short, 10, false);
        }
        assert_eq!(needs.tokens_max(FOX, Kind::Short, 2000), TOKENS_MIN);
    }

    #[test]
    fn characters_that_nobody_talks_to_any_more_are_forgotten() {
        let mut needs = Needs::default();
        for number in 0..2 * NEEDS_KEYS_MAX {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            needs.note(ContentId(id), Kind::Usual, 10, false);
        }
        assert_eq!(
            (needs.lengths.len(), needs.recent.len()),
            (NEEDS_KEYS_MAX, NEEDS_KEYS_MAX)
        );
    }

    #[test]
    fn questions_are_short_usual_or_long() {
        assert_eq!(Kind::of("Как дела?"), Kind::Short);
        assert_eq!(Kind::of("Что ты думаешь о зиме в лесу?"), Kind::Usual);
        assert_eq!(Kind::of("Расскажи сказку"), Kind::Long);
        assert_eq!(Kind::of("Explain how rain works"), Kind::Long);
    }
}
