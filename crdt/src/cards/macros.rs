//! `{{char}}`, `{{user}}` and the other words in braces that a card may use, replaced in one pass from the left.
//!
//! What is put in is not looked through again, so that no text can unfold into ever more.

use crate::limits::MACROS_MAX;

/// What the words stand for.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The character, by its nickname if it has one.
    pub character: &'a str,
    /// The person.
    pub person: &'a str,
    /// What `{{original}}` stands for: the text that this one takes the place of.
    pub original: &'a str,
    /// Makes a choice repeatable: the same text gets the same one for `{{pick:...}}`, and for `{{random:...}}` as long as this stays.
    pub seed: u64,
}

/// What a replacement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The model reads it: remarks and hidden words are gone.
    Prompt,
    /// It is looked through for the keys of a lorebook: hidden words are there.
    Matching,
}

/// The text with its words replaced. A word that is not known stays.
#[must_use]
pub fn replaced(text: &str, words: &Words<'_>, purpose: Purpose) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    for turn in 0..MACROS_MAX as u64 {
        let Some((before, word, after)) = next_word(rest) else {
            break;
        };
        result.push_str(before);
        match value(word, words, purpose, turn) {
            Some(value) => result.push_str(&value),
            None => {
                result.push_str("{{");
                result.push_str(word);
                result.push_str("}}");
            }
        }
        rest = after;
    }
    result.push_str(rest);
    with_old_names(&result, words)
}

/// What stands before the next word, the word without braces, and what stands behind it.
fn next_word(text: &str) -> Option<(&str, &str, &str)> {
    let first = text.find("{{")?;
    let end = first + text[first..].find("}}")?;
    // The innermost pair: `{{a {{b}}` is the word `b`.
    let start = text[..end].rfind("{{")?;
    Some((&text[..start], &text[start + 2..end], &text[end + 2..]))
}

fn value(word: &str, words: &Words<'_>, purpose: Purpose, turn: u64) -> Option<String> {
    if word.starts_with("//") {
        return Some(String::new());
    }
    let (name, argument) = word.split_once(':').unwrap_or((word, ""));
    // Some programs write two colons.
    let argument = argument.strip_prefix(':').unwrap_or(argument);
    match name.trim().to_lowercase().as_str() {
        "char" => Some(words.character.to_owned()),
        "user" => Some(words.person.to_owned()),
        "original" => Some(words.original.to_owned()),
        "random" => choice(argument, mixed(words.seed, turn, argument)),
        "pick" => choice(argument, mixed(0, 0, argument)),
        "roll" => {
            let sides: u64 = argument.trim().trim_start_matches(['d', 'D']).parse().ok()?;
            (sides > 0).then(|| (mixed(words.seed, turn, argument) % sides + 1).to_string())
        }
        "comment" => Some(String::new()),
        "hidden_key" if purpose == Purpose::Matching => Some(argument.to_owned()),
        "hidden_key" => Some(String::new()),
        "reverse" => Some(argument.chars().rev().collect()),
        _ => None,
    }
}

/// One of the parts between commas; `\,` is a comma inside a part.
fn choice(argument: &str, number: u64) -> Option<String> {
    let mut parts = vec![String::new()];
    let mut characters = argument.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&',') => {
                characters.next();
                parts.last_mut()?.push(',');
            }
            ',' => parts.push(String::new()),
            other => parts.last_mut()?.push(other),
        }
    }
    let at = usize::try_from(number % parts.len() as u64).ok()?;
    Some(parts.swap_remove(at))
}

fn mixed(seed: u64, turn: u64, text: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&seed.to_le_bytes())
        .update(&turn.to_le_bytes())
        .update(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// `<USER>`, `<BOT>` and `<CHAR>`, as the first cards had them.
fn with_old_names(text: &str, words: &Words<'_>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, found) = rest.split_at(at);
        result.push_str(before);
        let known = [
            ("<user>", words.person),
            ("<bot>", words.character),
            ("<char>", words.character),
        ]
        .into_iter()
        .find(|(name, _)| {
            found
                .as_bytes()
                .get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        });
        match known {
            Some((name, value)) => {
                result.push_str(value);
                rest = &found[name.len()..];
            }
            None => {
                result.push('<');
                rest = &found[1..];
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words<'_> = Words {
        character: "Лис",
        person: "Рита",
        original: "Be kind.",
        seed: 7,
    };

    fn said(text: &str) -> String {
        replaced(text, &WORDS, Purpose::Prompt)
    }

    #[test]
    fn words_become_what_they_stand_for() {
        for (text, expected) in [
            ("{{char}} и {{USER}}", "Лис и Рита"),
            ("<BOT> <user> <Char> <b>", "Лис Рита Лис <b>"),
            ("{{original}} More.", "Be kind. More."),
            ("a{{// not for the model}}b{{comment: hm}}c", "abc"),
            ("{{reverse:абв}}", "вба"),
            ("{{unknown:x}} {{", "{{unknown:x}} {{"),
            ("{{pick:a\\,b}}", "a,b"),
            (
                "{{roll:1}} {{roll:d1}} {{roll:0}} {{roll:x}}",
                "1 1 {{roll:0}} {{roll:x}}",
            ),
            ("x{{hidden_key:wolf}}", "x"),
            ("}} {{char}} {{a {{user}}", "}} Лис {{a Рита"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
        assert_eq!(replaced("{{hidden_key:wolf}}", &WORDS, Purpose::Matching), "wolf");
    }

    #[test]
    fn choices_are_among_what_is_offered_and_picks_stay() {
        let other = Words { seed: 8, ..WORDS };
        let mut random = std::collections::BTreeSet::new();
        for seed in 0..50 {
            random.insert(replaced("{{random:a,b,c}}", &Words { seed, ..WORDS }, Purpose::Prompt));
        }
        assert_eq!(random.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        let pick = "{{pick:a,b,c,d,e,f,g}}";
        assert_eq!(said(pick), replaced(pick, &other, Purpose::Prompt));
    }

    #[test]
    fn what_is_put_in_is_not_looked_through_again() {
        let words = Words {
            person: "{{char}}{{char}}",
            ..WORDS
        };
        assert_eq!(replaced("{{user}}", &words, Purpose::Prompt), "{{char}}{{char}}");
        let many = "{{user}}".repeat(MACROS_MAX + 5);
        let result = replaced(&many, &WORDS, Purpose::Prompt);
        assert!(result.ends_with("{{user}}{{user}}{{user}}{{user}}{{user}}"));
    }
}
