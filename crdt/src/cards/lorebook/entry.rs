//! One entry of a lorebook, and when it is active.

use serde_json::Value;

use super::{
    Line, Position, Scene,
    decorators::{self, Decorators},
    pattern::{Key, Patterns},
};
use crate::limits::LOREBOOK_KEYS_MAX;

/// An entry.
#[derive(Debug)]
pub struct Entry {
    /// What it says, without decorators.
    pub(super) content: String,
    pub(super) decorators: Decorators,
    pub(super) insertion_order: f64,
    priority: Option<f64>,
    enabled: bool,
    constant: bool,
    use_regex: bool,
    is_before: bool,
    keys: Vec<Key>,
    /// One of these must be there, too.
    secondary: Vec<Key>,
    additional: Vec<Key>,
    excluded: Vec<Key>,
}

/// Where keys are looked for.
pub(super) struct Scan<'a> {
    pub(super) scene: &'a Scene<'a>,
    /// Newest first.
    pub(super) texts: &'a [Searched],
    /// How many of them the book looks at.
    pub(super) depth: Option<usize>,
    /// What active entries say, if that wakes others.
    pub(super) woken: &'a [Searched],
}

/// A text in which keys are looked for.
pub(super) struct Searched {
    pub(super) text: String,
    /// The same in small letters.
    folded: String,
}

impl Searched {
    pub(super) fn new(text: String) -> Self {
        Self {
            folded: text.to_lowercase(),
            text,
        }
    }
}

/// A number of something in a card: whole, and not below zero.
pub(super) fn count(value: &Value) -> Option<usize> {
    let number = value.as_f64().filter(|number| *number >= 0.0)?;
    Some(number.min(f64::from(u32::MAX)) as usize)
}

impl Entry {
    pub(super) fn read(entry: &Value, patterns: &mut Patterns) -> Self {
        let flag = |name: &str| entry[name].as_bool();
        let (decorators, content) = decorators::split(entry["content"].as_str().unwrap_or_default());
        let use_regex = flag("use_regex").unwrap_or(false);
        // What a card does not say is the usual thing elsewhere: letters of either size match.
        let case_sensitive = flag("case_sensitive").unwrap_or(false);
        let mut key = |text: &str| match use_regex {
            true => patterns.key(text, case_sensitive),
            false => Key::word(text, case_sensitive),
        };
        let is_selective = flag("selective").unwrap_or(false) && !use_regex;
        let keys = strings(&entry["keys"]).iter().map(|text| key(text)).collect();
        let additional = decorators
            .additional_keys
            .iter()
            .take(LOREBOOK_KEYS_MAX)
            .map(|text| key(text))
            .collect();
        let words = |texts: &[String]| {
            texts
                .iter()
                .take(LOREBOOK_KEYS_MAX)
                .map(|text| Key::word(text, case_sensitive))
                .collect()
        };
        let secondary = if is_selective {
            strings(&entry["secondary_keys"])
        } else {
            Vec::new()
        };
        let excluded = if use_regex {
            &[]
        } else {
            decorators.exclude_keys.as_slice()
        };
        Self {
            secondary: words(&secondary),
            excluded: words(excluded),
            keys,
            additional,
            insertion_order: entry["insertion_order"].as_f64().unwrap_or(0.0),
            priority: entry["priority"].as_f64(),
            enabled: flag("enabled").unwrap_or(true),
            constant: flag("constant").unwrap_or(false) && !use_regex,
            use_regex,
            is_before: entry["position"] != "after_char",
            content,
            decorators,
        }
    }

    /// How many of its keys are expressions that cannot be used.
    #[must_use]
    pub fn broken_keys(&self) -> usize {
        self.keys
            .iter()
            .chain(&self.additional)
            .filter(|key| key.is_broken())
            .count()
    }

    /// The least important go first when not all fit.
    pub(super) fn importance(&self) -> f64 {
        self.priority.unwrap_or(self.insertion_order)
    }

    /// Where it goes, in a talk of so many messages.
    pub(super) fn position(&self, messages: usize) -> Position {
        let decorators = &self.decorators;
        let depth = decorators.depth.map(|depth| depth.min(messages));
        let reversed = || decorators.reverse_depth.map(|depth| messages.saturating_sub(depth));
        let usual = if self.is_before {
            Position::BeforeCharacter
        } else {
            Position::AfterCharacter
        };
        decorators
            .position
            .or_else(|| depth.or_else(reversed).map(Position::Depth))
            .unwrap_or(usual)
    }

    /// Whether it belongs into the prompt now.
    pub(super) fn is_active(&self, scan: &Scan<'_>) -> bool {
        if !self.enabled || self.content.is_empty() && self.decorators.disable_ui_prompt.is_none() {
            return false;
        }
        let decorators = &self.decorators;
        if decorators.activate {
            return true;
        }
        if decorators.dont_activate || decorators.ignore_on_max_context && scan.scene.is_full {
            return false;
        }
        if decorators.keep_activate_after_match && self.was_active(scan) {
            return true;
        }
        if decorators.dont_activate_after_match && self.was_active(scan) {
            return false;
        }
        self.fits(scan, scan.scene.lines) && self.is_spoken_of(scan)
    }

    /// Whether the conditions besides the keys hold.
    fn fits(&self, scan: &Scan<'_>, lines: &[Line<'_>]) -> bool {
        let said = lines.iter().filter(|line| line.is_character).count();
        let decorators = &self.decorators;
        decorators.activate_only_after.is_none_or(|least| said >= least)
            && decorators
                .activate_only_every
                .is_none_or(|every| said.is_multiple_of(every))
            && decorators
                .is_greeting
                .is_none_or(|greeting| greeting == scan.scene.greeting)
    }

    /// Whether it matched at an earlier message of the talk.
    fn was_active(&self, scan: &Scan<'_>) -> bool {
        let lines = scan.scene.lines;
        (1..scan.texts.len()).any(|newer| {
            let earlier = Scan {
                texts: &scan.texts[newer..],
                woken: &[],
                ..*scan
            };
            self.fits(&earlier, &lines[..lines.len() - newer]) && self.is_spoken_of(&earlier)
        })
    }

    fn is_spoken_of(&self, scan: &Scan<'_>) -> bool {
        let depth = self.decorators.scan_depth.or(scan.depth).unwrap_or(usize::MAX);
        let has = |keys: &[Key]| {
            let mut texts = scan.texts.iter().take(depth).chain(scan.woken);
            texts.any(|searched| keys.iter().any(|key| key.matches(&searched.text, &searched.folded)))
        };
        // One broken expression makes the whole entry silent.
        if self.broken_keys() > 0 {
            return false;
        }
        let by_keys = self.constant || has(&self.keys);
        let by_more = self.additional.is_empty() || has(&self.additional);
        let is_named = if self.use_regex {
            by_keys || !self.additional.is_empty() && by_more
        } else {
            by_keys && by_more
        };
        is_named && (self.constant || self.secondary.is_empty() || has(&self.secondary)) && !has(&self.excluded)
    }
}

/// The texts of a list; one text with commas is a list, too.
fn strings(value: &Value) -> Vec<String> {
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split(',').collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let texts = texts.into_iter().filter(|text| !text.trim().is_empty());
    texts.take(LOREBOOK_KEYS_MAX).map(str::to_owned).collect()
}
