//! Whether a grammar may be given to llama.cpp: pure checks of its size, depth and repetitions, since its reader recurses as deep as
//! the text is nested and copies what is repeated.

use serde::{Deserialize, Serialize};

use crate::limits::{GRAMMAR_BYTES_MAX, GRAMMAR_DEPTH_MAX, GRAMMAR_REPETITIONS_MAX, GRAMMAR_RULES_MAX};

/// Why a grammar or a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum GrammarError {
    /// Too long.
    #[error("it is too large")]
    TooLarge,
    /// Brackets in brackets.
    #[error("it is nested more than {GRAMMAR_DEPTH_MAX} deep")]
    TooDeep,
    /// Repetitions in repetitions.
    #[error("its repetitions make more than {GRAMMAR_REPETITIONS_MAX} copies")]
    TooManyCopies,
    /// No rule `root`, brackets that do not match, a zero byte.
    #[error("it cannot be read")]
    Malformed,
    /// The schema is no JSON.
    #[error("the schema is no JSON")]
    NotJson,
    /// A keyword of JSON schema that is not supported.
    #[error("the schema uses {keyword}, which is not supported")]
    Unsupported {
        /// Which one.
        keyword: String,
    },
    /// One token took too long, or no token fits.
    #[error("it is too ambiguous to follow")]
    TooAmbiguous,
    /// No token of the model fits it.
    #[error("no token of the model continues it")]
    Stuck,
}

/// Whether this grammar, in llama.cpp's notation, may be given to it.
///
/// # Errors
/// Why not.
pub fn check(grammar: &str) -> Result<(), GrammarError> {
    if grammar.len() > GRAMMAR_BYTES_MAX || grammar.matches("::=").count() > GRAMMAR_RULES_MAX {
        return Err(GrammarError::TooLarge);
    }
    let defines_root = grammar.lines().any(|line| {
        let rest = line.trim_start().strip_prefix("root");
        rest.is_some_and(|rest| rest.trim_start().starts_with("::="))
    });
    if !defines_root || grammar.contains('\0') {
        return Err(GrammarError::Malformed);
    }
    Reader::default().read(grammar)
}

/// Copies made inside each open bracket, the text outside first.
struct Reader {
    copies: Vec<u64>,
    /// Copies of the element that was read last: a repetition makes more of them.
    last: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            copies: vec![0],
            last: 0,
        }
    }
}

impl Reader {
    fn read(mut self, grammar: &str) -> Result<(), GrammarError> {
        let mut characters = grammar.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '#' => while characters.next_if(|next| *next != '\n').is_some() {},
                '"' => self.quoted(&mut characters, '"')?,
                '[' => self.quoted(&mut characters, ']')?,
                '(' if self.copies.len() > GRAMMAR_DEPTH_MAX => return Err(GrammarError::TooDeep),
                '(' => self.copies.push(0),
                ')' => {
                    let inside = self.copies.pop().ok_or(GrammarError::Malformed)?;
                    if self.copies.is_empty() {
                        return Err(GrammarError::Malformed);
                    }
                    self.element(inside.max(1))?;
                }
                '{' => {
                    let text: String = std::iter::from_fn(|| characters.next_if(|next| *next != '}')).collect();
                    let counts = text.split(',').filter(|count| !count.trim().is_empty());
                    let mut most = 1;
                    for count in counts {
                        let count: u64 = count.trim().parse().map_err(|_| GrammarError::Malformed)?;
                        most = most.max(count);
                    }
                    let more = self.last.max(1).saturating_mul(most - 1);
                    self.element(more)?;
                }
                letter if letter.is_alphanumeric() => {
                    while characters
                        .next_if(|next| next.is_alphanumeric() || *next == '-')
                        .is_some()
                    {}
                    self.element(1)?;
                }
                // A rule begins: what came before belongs to others.
                ':' if self.copies.len() == 1 => self.copies[0] = 0,
                _ => {}
            }
        }
        if self.copies.len() == 1 {
            Ok(())
        } else {
            Err(GrammarError::Malformed)
        }
    }

    fn element(&mut self, copies: u64) -> Result<(), GrammarError> {
        let inside = self.copies.last_mut().ok_or(GrammarError::Malformed)?;
        *inside = inside.saturating_add(copies);
        self.last = copies;
        if copies > GRAMMAR_REPETITIONS_MAX || *inside > GRAMMAR_REPETITIONS_MAX * 4 {
            return Err(GrammarError::TooManyCopies);
        }
        Ok(())
    }

    fn quoted(
        &mut self,
        characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
        end: char,
    ) -> Result<(), GrammarError> {
        loop {
            match characters.next() {
                Some('\\') => drop(characters.next()),
                Some(character) if character == end => return self.element(1),
                Some('\n') | None => return Err(GrammarError::Malformed),
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_grammars_pass() {
        for grammar in [
            "root ::= \"yes\" | \"no\"",
            "# a list\nroot ::= item+\nitem ::= \"- \" [^\\r\\n]{1,80} \"\\n\"",
            "root ::= (\"a\" | [\"()] (\"b\"){2,3})*\n",
        ] {
            assert_eq!(check(grammar), Ok(()), "{grammar}");
        }
    }

    #[test]
    fn those_that_would_explode_do_not() {
        let deep = format!("root ::= {}\"a\"{}", "(".repeat(5000), ")".repeat(5000));
        let cases = [
            (deep.as_str(), GrammarError::TooDeep),
            ("root ::= ((\"a\"?){900}){900}", GrammarError::TooManyCopies),
            ("root ::= \"a\"{99999999}", GrammarError::TooManyCopies),
            ("root ::= (\"a\"", GrammarError::Malformed),
            ("root ::= \"a", GrammarError::Malformed),
            ("root ::= \"a\"{x}", GrammarError::Malformed),
            ("rot ::= \"a\"", GrammarError::Malformed),
            ("root ::= \"a\0\"", GrammarError::Malformed),
        ];
        for (grammar, error) in cases {
            assert_eq!(check(grammar), Err(error), "{:.60}", grammar);
        }
        assert_eq!(
            check(&format!("root ::= \"{}\"", "x".repeat(GRAMMAR_BYTES_MAX))),
            Err(GrammarError::TooLarge)
        );
    }
}
