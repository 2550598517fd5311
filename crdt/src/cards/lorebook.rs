//! A lorebook: pieces of knowledge that go into a prompt when the talk comes to them, by all rules of cards of version 3.
//!
//! Everything is a function of the book, of what was said and of nothing else, so every node that is asked puts the same prompt
//! together. What was active earlier (`@@keep_activate_after_match`) follows from the messages, too, and is not remembered.
//!
//! Keys that are regular expressions run in an engine whose time grows with the text and not with the expression's malice; one that
//! this engine does not know (backward references, look-around) never matches, as the specification has it for broken ones.

mod decorators;
mod entry;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

pub use self::{
    decorators::{Position, Role},
    entry::Entry,
};
use self::{
    entry::{Scan, Searched},
    pattern::Patterns,
};
use super::macros::{self, Purpose, Words};
use crate::limits::{LOREBOOK_ENTRIES_MAX, LOREBOOK_ROUNDS_MAX, LOREBOOK_SCAN_BYTES_MAX, LOREBOOK_SCAN_MESSAGES_MAX};

/// A lorebook.
#[derive(Debug)]
pub struct Lorebook {
    /// Messages, from the newest, that are looked through; `None` for as many as may be.
    scan_depth: Option<usize>,
    /// Tokens that all entries together may take.
    token_budget: Option<usize>,
    /// Whether entries wake each other.
    recursive: bool,
    entries: Vec<Entry>,
}

/// A message of the talk.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Whether the character said it.
    pub is_character: bool,
    /// What was said.
    pub text: &'a str,
}

/// What is going on.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// What was said, oldest first.
    pub lines: &'a [Line<'a>],
    /// With which greeting the talk began: 0 is the usual one.
    pub greeting: usize,
    /// What the words in braces stand for.
    pub words: &'a Words<'a>,
    /// How many tokens a text takes, about.
    pub tokens: fn(&str) -> usize,
    /// Whether the context is full already.
    pub is_full: bool,
}

/// An entry that belongs into the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What it says, without decorators and with its words replaced.
    pub text: String,
    /// Where it goes.
    pub position: Position,
    /// Who says it.
    pub role: Role,
}

/// What a book says now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lore {
    /// In the order in which it stands in the prompt.
    pub placed: Vec<Placed>,
    /// Prompts that an entry switched off: `system_prompt`, `post_history_instructions`.
    pub disabled: BTreeSet<String>,
}

impl Lorebook {
    /// Reads the book of a card, or a book alone (`lorebook_v3`). What is malformed says nothing.
    #[must_use]
    pub fn read(book: &Value) -> Option<Self> {
        let book = if book["spec"] == "lorebook_v3" {
            &book["data"]
        } else {
            book
        };
        let entries = book["entries"].as_array()?;
        let mut patterns = Patterns::default();
        Some(Self {
            scan_depth: entry::count(&book["scan_depth"]),
            token_budget: entry::count(&book["token_budget"]),
            recursive: book["recursive_scanning"].as_bool().unwrap_or(false),
            entries: entries
                .iter()
                .take(LOREBOOK_ENTRIES_MAX)
                .map(|entry| Entry::read(entry, &mut patterns))
                .collect(),
        })
    }

    /// Its entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the book says in a scene.
    #[must_use]
    pub fn lore(&self, scene: &Scene<'_>) -> Lore {
        let mut active = self.active(scene);
        // The most important first, to be kept when not all fit.
        active.sort_by(|left, right| {
            let rank = |index: &usize| {
                let entry = &self.entries[*index];
                (!entry.decorators.ignore_on_max_context, entry.importance())
            };
            rank(right)
                .partial_cmp(&rank(left))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut room = self.token_budget.unwrap_or(usize::MAX);
        let mut kept: Vec<(usize, String)> = Vec::new();
        for index in active {
            let text = macros::replaced(&self.entries[index].content, scene.words, Purpose::Prompt);
            let cost = (scene.tokens)(&text);
            // A less important one that is short does not take the place of what had to go.
            let Some(left) = room.checked_sub(cost) else {
                break;
            };
            room = left;
            kept.push((index, text));
        }
        kept.sort_by(|(left, _), (right, _)| {
            let order = |index: &usize| (self.entries[*index].insertion_order, *index);
            order(left)
                .partial_cmp(&order(right))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut lore = Lore::default();
        for (index, text) in kept {
            let entry = &self.entries[index];
            lore.disabled.extend(entry.decorators.disable_ui_prompt.clone());
            if !text.trim().is_empty() {
                lore.placed.push(Placed {
                    text: text.trim().to_owned(),
                    position: entry.position(scene.lines.len()),
                    role: entry.decorators.role,
                });
            }
        }
        lore
    }

    /// Which entries are active, by number.
    fn active(&self, scene: &Scene<'_>) -> Vec<usize> {
        let texts = searched(scene.lines);
        let mut active: BTreeSet<usize> = BTreeSet::new();
        let mut woken: Vec<Searched> = Vec::new();
        for _ in 0..LOREBOOK_ROUNDS_MAX {
            let scan = Scan {
                scene,
                texts: &texts,
                depth: self.scan_depth,
                woken: &woken,
            };
            let fresh: Vec<usize> = (0..self.entries.len())
                .filter(|index| !active.contains(index) && self.entries[*index].is_active(&scan))
                .collect();
            if fresh.is_empty() {
                break;
            }
            if self.recursive {
                let said = fresh.iter().map(|index| {
                    let content = &self.entries[*index].content;
                    Searched::new(macros::replaced(content, scene.words, Purpose::Matching))
                });
                woken.extend(said);
                let mut room = LOREBOOK_SCAN_BYTES_MAX;
                woken.retain(|searched| {
                    let fits = searched.text.len() <= room;
                    room = room.saturating_sub(searched.text.len());
                    fits
                });
            }
            active.extend(fresh);
            if !self.recursive {
                break;
            }
        }
        active.into_iter().collect()
    }
}

/// The messages that are looked through, newest first, bounded in number and bytes.
fn searched(lines: &[Line<'_>]) -> Vec<Searched> {
    let mut room = LOREBOOK_SCAN_BYTES_MAX;
    let mut texts = Vec::new();
    for line in lines.iter().rev().take(LOREBOOK_SCAN_MESSAGES_MAX) {
        // Of one that is too long the end, which was said last.
        let from = line.text.ceil_char_boundary(line.text.len().saturating_sub(room));
        texts.push(Searched::new(line.text[from..].to_owned()));
        room -= line.text.len() - from;
    }
    texts
}
