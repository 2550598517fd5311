//! Finds and replaces values in the text of JSON, so that everything else stays as it was written: order, blanks, how numbers and
//! characters are spelled, fields that nobody knows.

use std::ops::Range;

use serde_json::Value;

use super::{CardError, Spec};

/// A new value for one place of a card.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The names on the way to it.
    pub path: Vec<&'static str>,
    /// What shall stand there.
    pub value: Value,
    /// Cards of an earlier version do not know the field and do not get it.
    pub since: Spec,
}

/// Reads JSON. How deep it may nest is bounded by `serde_json`.
pub(super) fn parse(text: &str) -> Result<Value, CardError> {
    serde_json::from_str(text).map_err(|error| CardError::Json {
        line: error.line(),
        column: error.column(),
    })
}

/// The text with one value replaced, or put in where there was none. The text must be JSON.
pub(super) fn replaced(text: &str, root: &[&str], edit: &Edit) -> String {
    let path: Vec<&str> = root.iter().copied().chain(edit.path.iter().copied()).collect();
    let whole = Scanner::new(text, 0).value();
    let mut found = whole;
    for (depth, name) in path.iter().enumerate() {
        match member(text, &found, name) {
            Some(inner) => found = inner,
            None => return inserted(text, &found, &path[depth..], &edit.value),
        }
    }
    spliced(text, &found, &edit.value.to_string())
}

fn spliced(text: &str, place: &Range<usize>, value: &str) -> String {
    [&text[..place.start], value, &text[place.end..]].concat()
}

/// Adds a member at the end of an object; what is no object becomes one.
fn inserted(text: &str, object: &Range<usize>, path: &[&str], value: &Value) -> String {
    let Some((name, inner)) = path.split_first() else {
        return spliced(text, object, &value.to_string());
    };
    let value = inner.iter().rev().fold(value.clone(), |value, name| {
        Value::Object([((*name).to_owned(), value)].into_iter().collect())
    });
    let name = Value::from(*name);
    if !text[object.clone()].starts_with('{') {
        return spliced(text, object, &format!("{{{name}:{value}}}"));
    }
    let before = text[object.start..object.end - 1].trim_end();
    let comma = if before == "{" { "" } else { "," };
    let at = object.start + before.len();
    spliced(text, &(at..at), &format!("{comma}{name}:{value}"))
}

/// Where the value of a member stands; of several of one name the last, which is the one that programs read.
fn member(text: &str, object: &Range<usize>, name: &str) -> Option<Range<usize>> {
    if !text[object.clone()].starts_with('{') {
        return None;
    }
    let mut scanner = Scanner::new(text, object.start + 1);
    let mut found = None;
    while scanner.next_is(b'"') {
        let key = scanner.value();
        scanner.pass(b':');
        let value = scanner.value();
        if serde_json::from_str::<String>(&text[key]).is_ok_and(|key| key == name) {
            found = Some(value);
        }
        scanner.pass(b',');
    }
    found
}

/// Goes through text that is known to be JSON.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    const fn new(text: &'a str, at: usize) -> Self {
        Self {
            bytes: text.as_bytes(),
            at,
        }
    }

    fn blanks(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn next_is(&mut self, wanted: u8) -> bool {
        self.blanks();
        self.bytes.get(self.at) == Some(&wanted)
    }

    fn pass(&mut self, wanted: u8) {
        if self.next_is(wanted) {
            self.at += 1;
        }
    }

    /// Passes one value and says where it stood.
    fn value(&mut self) -> Range<usize> {
        self.blanks();
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.bytes.get(self.at) {
                None => break,
                Some(b'"') => self.string(),
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']' | b',' | b':') if depth == 0 => break,
                Some(b'}' | b']') => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(byte) if depth == 0 && byte.is_ascii_whitespace() => break,
                Some(_) => {
                    self.at += 1;
                    continue;
                }
            }
            if depth == 0 {
                break;
            }
        }
        start..self.at.min(self.bytes.len())
    }

    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += match byte {
                b'\\' => 2,
                _ => 1,
            };
            if *byte == b'"' {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(path: &[&'static str], value: impl Into<Value>) -> Edit {
        Edit {
            path: path.to_vec(),
            value: value.into(),
            since: Spec::V1,
        }
    }

    #[test]
    fn only_the_value_that_is_meant_changes() {
        let text = "{ \"a\" : 1.50,\n \"d\\u0061ta\": {\"name\" : \"x\\\"}\", \"list\":[ {\"name\":1} , \"]\" ], \"n\":1e400 }, \"z\":null }";
        let changed = replaced(text, &["data"], &edit(&["name"], "Ж\n"));
        assert_eq!(changed, text.replace("\"x\\\"}\"", "\"Ж\\n\""));
        let changed = replaced(text, &["data"], &edit(&["n"], 2));
        assert_eq!(changed, text.replace("1e400", "2"));
        let changed = replaced(text, &["data"], &edit(&["list"], Value::from(vec!["a"])));
        assert_eq!(changed, text.replace("[ {\"name\":1} , \"]\" ]", "[\"a\"]"));
        let changed = replaced(text, &[], &edit(&["z"], true));
        assert_eq!(changed, text.replace("null", "true"));
    }

    #[test]
    fn what_is_not_there_is_put_in() {
        assert_eq!(replaced("{}", &[], &edit(&["a"], 1)), "{\"a\":1}");
        assert_eq!(replaced("{ \"b\": 2 }", &[], &edit(&["a"], 1)), "{ \"b\": 2,\"a\":1 }");
        assert_eq!(
            replaced("{\"data\":{\"x\":1}}", &["data"], &edit(&["extensions", "starling"], 1)),
            "{\"data\":{\"x\":1,\"extensions\":{\"starling\":1}}}"
        );
        assert_eq!(
            replaced(
                "{\"data\":{\"extensions\":null}}",
                &["data"],
                &edit(&["extensions", "starling"], 1)
            ),
            "{\"data\":{\"extensions\":{\"starling\":1}}}"
        );
        assert_eq!(
            replaced("{\"a\":1,\"a\":2}", &[], &edit(&["a"], 3)),
            "{\"a\":1,\"a\":3}"
        );
    }
}
