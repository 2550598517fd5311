//! How alike two prompts are: pure.

use std::collections::BTreeMap;

/// From this on a prompt is called another one's double.
pub const LIKENESS_WARNED: f64 = 0.85;
/// Characters in a piece.
const PIECE: usize = 3;

/// The pieces of a text, counted: three characters each, of its words in small letters with one blank between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    counts: BTreeMap<[char; PIECE], u32>,
    total: u32,
}

impl Pieces {
    /// Takes a text apart.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let folded = text.to_lowercase();
        let words = folded
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        let mut characters = vec![' '];
        for word in words {
            characters.extend(word.chars());
            characters.push(' ');
        }
        let mut counts = BTreeMap::new();
        let mut total = 0;
        for piece in characters.windows(PIECE) {
            *counts.entry([piece[0], piece[1], piece[2]]).or_insert(0) += 1;
            total += 1;
        }
        Self { counts, total }
    }

    /// From 0 (nothing in common) to 1 (the same words in the same order): twice what both have, of all they have.
    #[must_use]
    pub fn likeness(&self, other: &Self) -> f64 {
        let all = self.total + other.total;
        if all == 0 {
            return 1.0;
        }
        let common: u32 = self
            .counts
            .iter()
            .filter_map(|(piece, count)| Some(count.min(other.counts.get(piece)?)))
            .sum();
        f64::from(2 * common) / f64::from(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(left: &str, right: &str) -> f64 {
        Pieces::of(left).likeness(&Pieces::of(right))
    }

    #[test]
    fn a_paraphrase_is_alike_and_another_text_is_not() {
        let fox = "Ты Лис, хитрый лис из зимнего леса. Отвечай коротко и по-доброму, шути и никогда не груби человеку.";
        assert!((likeness(fox, &fox.to_uppercase().replace(". ", " —  ")) - 1.0).abs() < f64::EPSILON);
        let paraphrase = fox.replace("зимнего", "летнего");
        assert!(
            (LIKENESS_WARNED..1.0).contains(&likeness(fox, &paraphrase)),
            "{}",
            likeness(fox, &paraphrase)
        );
        let other = "Ты строгий учитель математики. Проверяй каждое решение по шагам и спрашивай, почему оно верно.";
        assert!(likeness(fox, other) < 0.4, "{}", likeness(fox, other));
        assert_eq!(likeness("", "!?"), likeness("?", ""));
        assert!(likeness("", fox) < 0.1);
    }
}
