//! Keys of a lorebook: words, and regular expressions in linear time.

use regex::{Regex, RegexBuilder};

use crate::limits::{LOREBOOK_PATTERN_BYTES_MAX, LOREBOOK_PATTERN_DEPTH_MAX, LOREBOOK_PATTERNS_MAX};

/// One key.
#[derive(Debug)]
pub(super) enum Key {
    /// The text has this word in it, as it is.
    Exact(String),
    /// The text has this word in it, in small or large letters.
    Folded(String),
    /// The text matches.
    Pattern(Box<Regex>),
    /// An expression that cannot be used: it matches nothing.
    Broken,
}

/// Counts the regular expressions of one book.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    compiled: usize,
}

impl Key {
    pub(super) fn word(word: &str, case_sensitive: bool) -> Self {
        if case_sensitive {
            Self::Exact(word.to_owned())
        } else {
            Self::Folded(word.to_lowercase())
        }
    }

    /// Whether a text has it; the second text is the same in small letters.
    pub(super) fn matches(&self, text: &str, folded: &str) -> bool {
        match self {
            Self::Exact(word) => text.contains(word.as_str()),
            Self::Folded(word) => folded.contains(word.as_str()),
            Self::Pattern(pattern) => pattern.is_match(text),
            Self::Broken => false,
        }
    }

    /// Whether it is an expression that cannot be used.
    pub(super) const fn is_broken(&self) -> bool {
        matches!(self, Self::Broken)
    }
}

impl Patterns {
    /// Compiles an expression, alone or as `/expression/flags`.
    pub(super) fn key(&mut self, expression: &str, case_sensitive: bool) -> Key {
        if self.compiled >= LOREBOOK_PATTERNS_MAX {
            return Key::Broken;
        }
        self.compiled += 1;
        let slashed = expression.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
        let (expression, flags) = match slashed {
            Some((inner, flags)) if flags.chars().all(|flag| "dgimsuvy".contains(flag)) => (inner, flags),
            _ => (expression, if case_sensitive { "" } else { "i" }),
        };
        let built = RegexBuilder::new(expression)
            .case_insensitive(flags.contains('i'))
            .multi_line(flags.contains('m'))
            .dot_matches_new_line(flags.contains('s'))
            .size_limit(LOREBOOK_PATTERN_BYTES_MAX)
            .dfa_size_limit(LOREBOOK_PATTERN_BYTES_MAX)
            .nest_limit(LOREBOOK_PATTERN_DEPTH_MAX)
            .build();
        built.map_or(Key::Broken, |pattern| Key::Pattern(Box::new(pattern)))
    }
}
