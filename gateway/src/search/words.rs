//! Words and their stems: pure. A Russian and an English word is found in each of its forms.

use std::hash::{DefaultHasher, Hash, Hasher};

use rust_stemmers::{Algorithm, Stemmer};

/// Bytes of the longest word that is looked at; longer ones are no words.
const WORD_BYTES_MAX: usize = 100;

/// Makes stems. One for many texts, because it costs something to make.
pub(super) struct Words {
    russian: Stemmer,
    english: Stemmer,
}

/// A word's stem, as a number: two that share one by chance only find a message too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stem(u64);

impl Words {
    pub(super) fn new() -> Self {
        Self {
            russian: Stemmer::create(Algorithm::Russian),
            english: Stemmer::create(Algorithm::English),
        }
    }

    /// The stems of a text with where each word stands, in bytes.
    pub(super) fn stems<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Stem, usize, usize)> + 'a {
        let words = text.split(|character: char| !character.is_alphanumeric());
        let words = words.filter(|word| !word.is_empty() && word.len() <= WORD_BYTES_MAX);
        words.map(move |word| {
            let from = word.as_ptr() as usize - text.as_ptr() as usize;
            (self.stem(word), from, from + word.len())
        })
    }

    fn stem(&self, word: &str) -> Stem {
        // People write either letter for the other.
        let folded = word.to_lowercase().replace('ё', "е");
        let is_latin = folded.bytes().all(|byte| byte.is_ascii());
        let stemmer = if is_latin { &self.english } else { &self.russian };
        let stem = stemmer.stem(&folded);
        let mut hasher = DefaultHasher::new();
        match without_fleeting_vowel(&stem) {
            Some((before, after)) if !is_latin => [before, after].concat().hash(&mut hasher),
            _ => stem.hash(&mut hasher),
        }
        Stem(hasher.finish())
    }
}

/// A Russian stem around the vowel that other forms of the word lack: скворец, скворцы; цветок, цветки.
fn without_fleeting_vowel(stem: &str) -> Option<(&str, &str)> {
    let mut characters = stem.char_indices().rev();
    let ((last_at, last), (vowel_at, vowel)) = (characters.next()?, characters.next()?);
    let is_fleeting = matches!((vowel, last), ('е', 'ц' | 'к') | ('о', 'к'));
    (is_fleeting && characters.count() >= 3).then(|| (&stem[..vowel_at], &stem[last_at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_each_of_its_forms() {
        let words = Words::new();
        let stem = |word: &str| words.stems(word).next().unwrap().0;
        for (one, other) in [
            ("скворец", "Скворец"),
            ("скворец", "скворцы"),
            ("цветок", "цветками"),
            ("птица", "птицами"),
            ("летал", "летали"),
            ("ёлка", "елки"),
            ("running", "runs"),
            ("stars", "Star"),
        ] {
            assert_eq!(stem(one), stem(other), "{one} {other}");
        }
        assert_ne!(stem("кот"), stem("дом"));
        let places: Vec<_> = words.stems("Привет, мир!").map(|(_, from, to)| (from, to)).collect();
        assert_eq!(places, [(0, 12), (14, 20)]);
    }
}
