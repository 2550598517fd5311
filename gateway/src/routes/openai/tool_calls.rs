//! Calls of tools in what a model says: pure. Most open models write one as `<tool_call>{"name": ..., "arguments": ...}</tool_call>`; what
//! is written otherwise stays text, so nothing is ever lost.

use keys::identity::random_bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// A tool that the model wants to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ToolCall {
    id: String,
    #[schema(example = "function")]
    r#type: &'static str,
    function: CalledFunction,
}

/// Its name and what it is given, as JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct CalledFunction {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Said {
    name: String,
    #[serde(default)]
    arguments: Value,
}

fn call(text: &str) -> Option<ToolCall> {
    let said: Said = serde_json::from_str(text.trim()).ok()?;
    let number = data_encoding::HEXLOWER.encode(&random_bytes::<12>());
    Some(ToolCall {
        id: format!("call_{number}"),
        r#type: "function",
        function: CalledFunction {
            name: said.name,
            arguments: match said.arguments {
                Value::Null => "{}".into(),
                Value::String(text) => text,
                value => value.to_string(),
            },
        },
    })
}

/// Parts text and calls as the text comes in pieces.
#[derive(Debug, Default)]
pub(super) struct ToolReader {
    /// What may still become a call.
    held: String,
    calls: usize,
}

impl ToolReader {
    /// How many calls there were.
    pub(super) const fn calls(&self) -> usize {
        self.calls
    }

    /// Takes the next piece; what is text of it, and the calls that are complete.
    pub(super) fn push(&mut self, piece: &str) -> (String, Vec<ToolCall>) {
        self.held.push_str(piece);
        let (mut text, mut calls) = (String::new(), Vec::new());
        while let Some(open) = self.held.find(OPEN) {
            let Some(length) = self.held[open..].find(CLOSE) else {
                break;
            };
            let inside = &self.held[open + OPEN.len()..open + length];
            let end = open + length + CLOSE.len();
            match call(inside) {
                Some(call) => {
                    text.push_str(self.held[..open].trim_end());
                    calls.push(call);
                }
                None => text.push_str(&self.held[..end]),
            }
            self.held.drain(..end);
        }
        let safe = self
            .held
            .find(OPEN)
            .unwrap_or_else(|| self.held.len() - begun(&self.held));
        text.extend(self.held.drain(..safe));
        self.calls += calls.len();
        // Blanks between calls are no text.
        if self.calls > 0 && text.trim().is_empty() {
            text.clear();
        }
        (text, calls)
    }

    /// The end: what was held back is text after all.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of a text that may be the beginning of [`OPEN`].
fn begun(text: &str) -> usize {
    let lengths = (1..OPEN.len()).rev();
    lengths
        .into_iter()
        .find(|length| text.ends_with(&OPEN[..*length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> (String, Vec<(String, String)>) {
        let mut reader = ToolReader::default();
        let (mut text, mut calls) = (String::new(), Vec::new());
        for piece in pieces {
            let (more, made) = reader.push(piece);
            text.push_str(&more);
            calls.extend(
                made.into_iter()
                    .map(|call| (call.function.name, call.function.arguments)),
            );
        }
        text.push_str(&reader.finish());
        (text, calls)
    }

    #[test]
    fn calls_are_found_however_the_text_is_cut() {
        let said = "Хорошо.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Псков\"}}\n</tool_call>\n\
            <tool_call>{\"name\": \"now\"}</tool_call>";
        let expected = vec![
            ("weather".to_owned(), "{\"city\":\"Псков\"}".to_owned()),
            ("now".to_owned(), "{}".to_owned()),
        ];
        let letters: Vec<String> = said.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        let (text, calls) = read(&letters);
        assert_eq!((text.trim(), calls), ("Хорошо.", expected.clone()));
        assert_eq!(read(&[said]), ("Хорошо.".into(), expected));
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for text in [
            "a < b",
            "<tool_call>no json</tool_call>",
            "<tool_call>{\"name\": \"x\"",
            "<tool_",
            "",
        ] {
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            assert_eq!(read(&letters), (text.to_owned(), vec![]));
        }
    }
}
