//! A summary made of the messages' own sentences: there at once, on every node the same, and never wrong about what was said.

use std::collections::{BTreeMap, BTreeSet};

use crdt::records::session::Message;

use super::score::text_score;
use crate::{limits::EXTRACT_CHARACTERS_MAX, similarity};

/// Sentences that are looked at: of more, the last ones. Their weights are compared with each other, so this bounds the time.
const SENTENCES_MAX: usize = 600;
/// Characters of one sentence.
const SENTENCE_CHARACTERS_MAX: usize = 240;
/// A sentence that shares this much of its words with one that is taken already says nothing new.
const REPEATS: f64 = 0.7;

struct Sentence<'a> {
    text: &'a str,
    speaker: Option<bool>,
    terms: BTreeSet<String>,
    weight: f64,
}

/// Sums up the summary before, if there is one, and the messages behind it.
#[must_use]
pub fn extract(before: Option<&str>, messages: &[&Message]) -> String {
    let mut sentences: Vec<Sentence<'_>> = Vec::new();
    // What was important enough to be kept once is so still, a little less each time.
    for line in before
        .into_iter()
        .flat_map(str::lines)
        .filter(|line| !line.trim().is_empty())
    {
        sentences.push(sentence(line.trim(), None, 1.0));
    }
    for message in messages {
        let is_from_person = message.is_from_person();
        for text in split(message.text.text()) {
            let weight = text_score(text, is_from_person) + if is_from_person { 0.4 } else { 0.0 };
            sentences.push(sentence(text, Some(is_from_person), weight));
        }
    }
    let mut sentences = sentences.split_off(sentences.len().saturating_sub(SENTENCES_MAX));
    weigh_by_words(&mut sentences);
    let mut chosen = choose(&sentences);
    chosen.sort_unstable();
    let is_russian = sentences.iter().any(|sentence| super::is_russian(sentence.text));
    let lines = chosen.into_iter().map(|index| line(&sentences[index], is_russian));
    lines.collect::<Vec<_>>().join("\n")
}

fn sentence(text: &str, speaker: Option<bool>, weight: f64) -> Sentence<'_> {
    Sentence {
        text,
        speaker,
        terms: similarity::words(text).collect(),
        weight,
    }
}

fn line(sentence: &Sentence<'_>, is_russian: bool) -> String {
    let said = match (sentence.speaker, is_russian) {
        (None, _) => "",
        (Some(true), true) => "Собеседник: ",
        (Some(false), true) => "Ты: ",
        (Some(true), false) => "They: ",
        (Some(false), false) => "You: ",
    };
    let text: String = sentence.text.chars().take(SENTENCE_CHARACTERS_MAX).collect();
    format!("{said}{text}")
}

/// Words that come back are what the talk is about; words that are everywhere are not.
fn weigh_by_words(sentences: &mut [Sentence<'_>]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for sentence in sentences.iter() {
        for term in &sentence.terms {
            *counts.entry(term.clone()).or_default() += 1;
        }
    }
    let most = sentences.len() as f64;
    for sentence in sentences.iter_mut() {
        let weights = sentence.terms.iter().map(|term| {
            let count = counts.get(term).copied().unwrap_or(1) as f64;
            (count - 1.0).min(5.0) * (most / count).ln().max(0.0)
        });
        let sum: f64 = weights.sum();
        sentence.weight += (sum / (sentence.terms.len().max(4) as f64)).min(1.5);
    }
}

/// The weightiest sentences that say something new and fit together.
fn choose(sentences: &[Sentence<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by(|left, right| {
        sentences[*right]
            .weight
            .total_cmp(&sentences[*left].weight)
            .then(right.cmp(left))
    });
    let (mut chosen, mut characters): (Vec<usize>, usize) = (Vec::new(), 0);
    for index in order {
        let sentence = &sentences[index];
        let length = sentence.text.chars().count().min(SENTENCE_CHARACTERS_MAX) + 14;
        let repeats = |other: &usize| {
            let other = &sentences[*other].terms;
            let shared = sentence.terms.intersection(other).count() as f64;
            shared >= REPEATS * sentence.terms.len().max(1) as f64
        };
        if characters + length <= EXTRACT_CHARACTERS_MAX && !chosen.iter().any(repeats) {
            characters += length;
            chosen.push(index);
        }
    }
    chosen
}

/// Sentences: up to a mark of their end and a space, or the end of a line.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines();
    lines
        .flat_map(|line| {
            let mut begin = 0;
            let mut parts = Vec::new();
            let mut was_end = false;
            for (at, c) in line.char_indices() {
                if was_end && c.is_whitespace() {
                    parts.push(&line[begin..at]);
                    begin = at;
                }
                was_end = matches!(c, '.' | '!' | '?' | '…') || (was_end && matches!(c, '"' | '»' | ')'));
            }
            parts.push(&line[begin..]);
            parts
        })
        .map(str::trim)
        .filter(|sentence| sentence.chars().filter(|c| c.is_alphanumeric()).count() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_people_end_them() {
        let parts: Vec<&str> = split("Привет! Меня зовут Рита, мне 3.5 года… Да?\n— Нет.  \n...").collect();
        assert_eq!(parts, ["Привет!", "Меня зовут Рита, мне 3.5 года…", "Да?", "— Нет."]);
    }
}
