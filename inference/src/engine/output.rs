//! From the bytes of tokens to what is said: whole characters, thoughts kept apart from the answer, ends at stop texts and limits.
//! Pure.

/// How reasoning models mark their thoughts. They count only at the very beginning: later it is text like any other.
const THOUGHTS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
];

/// What came of some bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Of the answer.
    pub answer: String,
    /// Of the thoughts.
    pub thought: String,
    /// Whether the answer ends here.
    pub ends: Option<End>,
}

/// Why an answer ends by what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A stop text came; it is not part of the answer.
    Stop,
    /// The answer has all characters it may have.
    Characters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing but blanks and what may become a mark.
    Beginning,
    Thinking(usize),
    /// Blanks between thoughts and answer are nobody's.
    BeforeAnswer,
    Answer,
}

/// The text of one generation as it comes.
#[derive(Clone, Debug)]
pub struct Output {
    part: Part,
    /// Bytes that are not yet a whole character.
    partial: Vec<u8>,
    /// Text that may still become a mark or a stop text.
    held: String,
    stops: Vec<String>,
    characters_left: usize,
}

impl Output {
    /// After this prompt: a template may have opened the thoughts already.
    #[must_use]
    pub fn new(prompt: &str, stops: Vec<String>, characters_max: usize) -> Self {
        let end = prompt.trim_end();
        let opened = THOUGHTS.iter().position(|(open, _)| end.ends_with(open));
        Self {
            part: opened.map_or(Part::Beginning, Part::Thinking),
            partial: Vec::new(),
            held: String::new(),
            stops,
            characters_left: characters_max,
        }
    }

    /// Takes the bytes of a token in.
    pub fn push(&mut self, bytes: &[u8]) -> Said {
        let text = self.characters(bytes);
        self.held.push_str(&text);
        let mut said = Said::default();
        while said.ends.is_none() && self.advance(&mut said) {}
        said
    }

    /// The generation ended: what was held back is said after all.
    pub fn finish(&mut self) -> Said {
        let mut said = Said::default();
        match self.part {
            Part::Thinking(_) => said.thought = std::mem::take(&mut self.held),
            _ => {
                self.part = Part::Answer;
                let rest = std::mem::take(&mut self.held);
                self.say(&rest, &mut said);
            }
        }
        said
    }

    /// One part of what is held; false when more must come first.
    fn advance(&mut self, said: &mut Said) -> bool {
        match self.part {
            Part::Beginning => self.advance_beginning(),
            Part::Thinking(kind) => {
                let close = THOUGHTS[kind].1;
                if let Some(at) = self.held.find(close) {
                    said.thought.push_str(&self.held[..at]);
                    self.held.drain(..at + close.len());
                    self.part = Part::BeforeAnswer;
                    return true;
                }
                let safe = self.held.len() - overlap(&self.held, close);
                said.thought.extend(self.held.drain(..safe));
                false
            }
            Part::BeforeAnswer => {
                let blanks = self.held.len() - self.held.trim_start().len();
                self.held.drain(..blanks);
                if self.held.is_empty() {
                    return false;
                }
                self.part = Part::Answer;
                true
            }
            Part::Answer => {
                self.advance_answer(said);
                false
            }
        }
    }

    fn advance_beginning(&mut self) -> bool {
        let text = self.held.trim_start();
        if let Some(kind) = THOUGHTS.iter().position(|(open, _)| text.starts_with(open)) {
            let after = self.held.len() - text.len() + THOUGHTS[kind].0.len();
            self.held.drain(..after);
            self.part = Part::Thinking(kind);
            return true;
        }
        if THOUGHTS.iter().any(|(open, _)| open.starts_with(text)) {
            return false;
        }
        self.part = Part::Answer;
        true
    }

    fn advance_answer(&mut self, said: &mut Said) {
        let first = self.stops.iter().filter_map(|stop| self.held.find(stop)).min();
        if let Some(at) = first {
            let text = self.held[..at].to_owned();
            self.held.clear();
            self.say(&text, said);
            said.ends = said.ends.or(Some(End::Stop));
            return;
        }
        let held = self
            .stops
            .iter()
            .map(|stop| overlap(&self.held, stop))
            .max()
            .unwrap_or(0);
        let text: String = self.held.drain(..self.held.len() - held).collect();
        self.say(&text, said);
    }

    fn say(&mut self, text: &str, said: &mut Said) {
        let fits = text.char_indices().nth(self.characters_left);
        let text = fits.map_or(text, |(end, _)| &text[..end]);
        said.answer.push_str(text);
        self.characters_left -= text.chars().count();
        if self.characters_left == 0 {
            said.ends = Some(End::Characters);
        }
    }

    /// The whole characters that are complete now. Bytes that can never become one are dropped.
    fn characters(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.partial) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.partial.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, rest) = self.partial.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let wrong = error.error_len();
                    self.partial = rest[wrong.unwrap_or(0)..].to_vec();
                    if wrong.is_none() {
                        return text;
                    }
                }
            }
        }
    }
}

/// Bytes at the end of a text with which a mark could begin.
fn overlap(text: &str, mark: &str) -> usize {
    let longest = mark.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|length| text.is_char_boundary(text.len() - length) && mark.starts_with(&text[text.len() - length..]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prompt, text, stops, characters at most, and what comes of it.
    type Case = (
        &'static str,
        &'static str,
        &'static [&'static str],
        usize,
        (&'static str, &'static str, Option<End>),
    );

    /// The whole of it, whatever the borders between tokens.
    fn said(prompt: &str, text: &str, stops: &[&str], characters: usize, step: usize) -> (String, String, Option<End>) {
        let stops = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut output = Output::new(prompt, stops, characters);
        let (mut answer, mut thought) = (String::new(), String::new());
        for bytes in text.as_bytes().chunks(step) {
            let said = output.push(bytes);
            answer.push_str(&said.answer);
            thought.push_str(&said.thought);
            if said.ends.is_some() {
                return (answer, thought, said.ends);
            }
        }
        let said = output.finish();
        (answer + &said.answer, thought + &said.thought, said.ends)
    }

    #[test]
    fn borders_between_tokens_change_nothing() {
        let cases: [Case; 10] = [
            ("", "Привет, мир!", &[], 100, ("Привет, мир!", "", None)),
            ("", "<think>hm</think>\n\nДа.", &[], 100, ("Да.", "hm", None)),
            ("", " \n<thinking>a<b</thinking> x", &[], 100, ("x", "a<b", None)),
            ("ask<think>\n", "why\n</think>so", &[], 100, ("so", "why\n", None)),
            ("", "<think>never ends", &[], 100, ("", "never ends", None)),
            ("", "<thin ice", &[], 100, ("<thin ice", "", None)),
            ("", "say <think> aloud", &[], 100, ("say <think> aloud", "", None)),
            (
                "",
                "one\nUser: two",
                &["User:", "\n\n"],
                100,
                ("one\n", "", Some(End::Stop)),
            ),
            ("", "конец стоп да", &["стоп"], 100, ("конец ", "", Some(End::Stop))),
            ("", "сколько влезет", &[], 7, ("сколько", "", Some(End::Characters))),
        ];
        for (prompt, text, stops, characters, (answer, thought, end)) in cases {
            for step in 1..=text.len() {
                let (a, t, e) = said(prompt, text, stops, characters, step);
                assert_eq!(
                    (a.as_str(), t.as_str(), e),
                    (answer, thought, end),
                    "{text:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_stop_is_said_in_the_end_and_bad_bytes_are_dropped() {
        assert_eq!(said("", "ends with Use", &["User:"], 100, 3).0, "ends with Use");
        let mut output = Output::new("", Vec::new(), 100);
        assert_eq!(output.push(&[0xff, b'a', 0xd0]).answer, "a");
        assert_eq!(output.push(&[0xb0, 0xff]).answer, "а");
    }
}
