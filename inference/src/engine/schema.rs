//! From a JSON schema to a grammar: pure. What is not supported is refused by name, so that nobody gets a looser shape than asked for.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::grammar::{GrammarError, check};
use crate::limits::{GRAMMAR_BYTES_MAX, GRAMMAR_DEPTH_MAX};

/// Rules that every schema may use. Blanks are few: a model that likes them would never end.
const BASICS: &str = r#"space ::= | " " | "\n" [ \t]{0,20}
character ::= [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])
string ::= "\"" character* "\""
integer ::= "-"? ("0" | [1-9] [0-9]{0,15})
number ::= integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?
boolean ::= "true" | "false"
null ::= "null"
value ::= string | number | boolean | null | object | array
object ::= "{" space (string space ":" space value space ("," space string space ":" space value space)*)? "}"
array ::= "[" space (value space ("," space value space)*)? "]"
"#;

/// Keywords that say nothing about the shape.
const NOTES: &[&str] = &[
    "$schema",
    "$id",
    "title",
    "description",
    "default",
    "examples",
    "additionalProperties",
    "format",
];

/// The grammar of all JSON texts that obey the schema, their properties in its order.
///
/// # Errors
/// When the schema is no JSON, too large, or uses what is not supported.
pub fn grammar(schema: &str) -> Result<String, GrammarError> {
    if schema.len() > GRAMMAR_BYTES_MAX {
        return Err(GrammarError::TooLarge);
    }
    let schema: Value = serde_json::from_str(schema).map_err(|_| GrammarError::NotJson)?;
    let root = rule(&schema, 0)?;
    let text = format!("root ::= {root} space\n{BASICS}");
    check(&text)?;
    Ok(text)
}

fn rule(schema: &Value, depth: usize) -> Result<String, GrammarError> {
    if depth > GRAMMAR_DEPTH_MAX / 4 {
        return Err(GrammarError::TooDeep);
    }
    let schema = match schema {
        Value::Bool(true) => return Ok("value".into()),
        Value::Object(schema) => schema,
        _ => return Err(unsupported("a schema that is no object")),
    };
    if let Some(constant) = schema.get("const") {
        return literal(constant);
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return alternatives(values.iter().map(literal));
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(Value::Array(schemas)) = schema.get(key) {
            return alternatives(schemas.iter().map(|schema| rule(schema, depth + 1)));
        }
    }
    match schema.get("type") {
        None if schema.contains_key("properties") => object(schema, depth),
        None => {
            allow(schema, &[])?;
            Ok("value".into())
        }
        Some(Value::String(name)) => typed(name, schema, depth),
        Some(Value::Array(names)) => alternatives(names.iter().map(|name| {
            let name = name.as_str().ok_or_else(|| unsupported("a type that is no text"))?;
            typed(name, schema, depth)
        })),
        Some(_) => Err(unsupported("a type that is no text")),
    }
}

fn typed(name: &str, schema: &Map<String, Value>, depth: usize) -> Result<String, GrammarError> {
    match name {
        "object" => object(schema, depth),
        "array" => array(schema, depth),
        "string" => {
            allow(schema, &["type", "minLength", "maxLength"])?;
            match counts(schema, "minLength", "maxLength")? {
                None => Ok("string".into()),
                Some(counts) => Ok(format!("\"\\\"\" character{counts} \"\\\"\"")),
            }
        }
        "integer" | "number" | "boolean" | "null" => {
            allow(schema, &["type"])?;
            Ok(name.to_owned())
        }
        other => Err(unsupported(other)),
    }
}

fn object(schema: &Map<String, Value>, depth: usize) -> Result<String, GrammarError> {
    allow(schema, &["type", "properties", "required"])?;
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return Ok("object".into());
    };
    let required: Vec<&str> = match schema.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if let Some(missing) = required.iter().find(|name| !properties.contains_key(**name)) {
        return Err(unsupported(&format!("a required property {missing} without a schema")));
    }
    // Each property follows a comma once one has come; so the rest of the object is written once for either case.
    let mut pairs = Vec::new();
    for (name, schema) in properties {
        let key = literal(&Value::String(name.clone()))?;
        let pair = format!("{key} space \":\" space {} space", rule(schema, depth + 1)?);
        pairs.push((pair, required.contains(&name.as_str())));
    }
    let body = members(&pairs, false);
    Ok(format!("\"{{\" space {body} \"}}\""))
}

/// The members from here on; `after` whether one has come before.
fn members(pairs: &[(String, bool)], after: bool) -> String {
    let comma = if after { "\",\" space " } else { "" };
    let Some(((pair, required), rest)) = pairs.split_first() else {
        return String::new();
    };
    let with = format!("{comma}{pair} {}", members(rest, true));
    if *required {
        return with;
    }
    if after {
        // What follows is the same with it or without.
        return format!("({comma}{pair})? {}", members(rest, true));
    }
    match members(rest, false) {
        without if without.is_empty() => format!("({with})?"),
        without => format!("({with} | {without})"),
    }
}

fn array(schema: &Map<String, Value>, depth: usize) -> Result<String, GrammarError> {
    allow(schema, &["type", "items", "minItems", "maxItems"])?;
    let item = schema
        .get("items")
        .map_or(Ok("value".to_owned()), |items| rule(items, depth + 1))?;
    let least = count(schema, "minItems")?.unwrap_or(0);
    let most = count(schema, "maxItems")?;
    if most == Some(0) {
        return Ok("\"[\" space \"]\"".into());
    }
    let more = match most {
        None if least <= 1 => "*".to_owned(),
        None => format!("{{{},}}", least - 1),
        Some(most) if most < least => return Err(unsupported("maxItems below minItems")),
        Some(most) => format!("{{{},{}}}", least.saturating_sub(1), most - 1),
    };
    let items = format!("{item} space (\",\" space {item} space){more}");
    Ok(match least {
        0 => format!("\"[\" space ({items})? \"]\""),
        _ => format!("\"[\" space {items} \"]\""),
    })
}

fn count(schema: &Map<String, Value>, key: &str) -> Result<Option<u64>, GrammarError> {
    match schema.get(key) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| unsupported(key)),
    }
}

fn counts(schema: &Map<String, Value>, least: &str, most: &str) -> Result<Option<String>, GrammarError> {
    Ok(match (count(schema, least)?, count(schema, most)?) {
        (None, None) => None,
        (Some(least), None) => Some(format!("{{{least},}}")),
        (least, Some(most)) => Some(format!("{{{},{most}}}", least.unwrap_or(0))),
    })
}

fn alternatives(rules: impl Iterator<Item = Result<String, GrammarError>>) -> Result<String, GrammarError> {
    let rules: Vec<String> = rules.collect::<Result<_, _>>()?;
    if rules.is_empty() {
        return Err(unsupported("an empty list of alternatives"));
    }
    Ok(format!("({})", rules.join(" | ")))
}

/// A JSON value as the grammar writes it.
fn literal(value: &Value) -> Result<String, GrammarError> {
    let json = serde_json::to_string(value).map_err(|_| GrammarError::NotJson)?;
    let mut text = String::from("\"");
    for character in json.chars() {
        match character {
            '"' | '\\' => {
                text.push('\\');
                text.push(character);
            }
            // The JSON has escaped control characters already; writing into a text cannot fail.
            control if control.is_control() => drop(write!(text, "\\x{:02X}", control as u32)),
            other => text.push(other),
        }
    }
    text.push('"');
    Ok(text)
}

fn allow(schema: &Map<String, Value>, known: &[&str]) -> Result<(), GrammarError> {
    let other = schema
        .keys()
        .find(|key| !known.contains(&key.as_str()) && !NOTES.contains(&key.as_str()));
    other.map_or(Ok(()), |key| Err(unsupported(key)))
}

fn unsupported(keyword: &str) -> GrammarError {
    GrammarError::Unsupported {
        keyword: keyword.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(schema: &str) -> String {
        let text = grammar(schema).unwrap_or_else(|error| panic!("{schema}: {error}"));
        text.lines().next().unwrap().to_owned()
    }

    #[test]
    fn schemas_become_rules() {
        let cases = [
            (r#"{"type":"integer"}"#, r"root ::= integer space"),
            (
                r#"{"enum":["да","\"no\""]}"#,
                r#"root ::= ("\"да\"" | "\"\\\"no\\\"\"") space"#,
            ),
            (
                r#"{"type":"string","maxLength":3}"#,
                r#"root ::= "\"" character{0,3} "\"" space"#,
            ),
            (
                r#"{"type":"array","items":{"type":"null"},"minItems":2,"maxItems":3}"#,
                r#"root ::= "[" space null space ("," space null space){1,2} "]" space"#,
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"}},"required":["a"]}"#,
                r#"root ::= "{" space "\"a\"" space ":" space null space ("," space "\"b\"" space ":" space null space)?  "}" space"#,
            ),
        ];
        for (schema, expected) in cases {
            assert_eq!(root(schema), expected);
        }
        // Without a required one either of them may be the first.
        let either = root(r#"{"properties":{"a":{"type":"null"},"b":{"type":"null"}}}"#);
        assert!(either.contains(" | "), "{either}");
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (schema, keyword) in [
            (r##"{"$ref":"#/x"}"##, "$ref"),
            (r#"{"type":"string","pattern":"x"}"#, "pattern"),
            (r#"{"type":"integer","minimum":1}"#, "minimum"),
            (r#"{"type":"thing"}"#, "thing"),
        ] {
            assert_eq!(grammar(schema), Err(unsupported(keyword)));
        }
        assert_eq!(grammar("{"), Err(GrammarError::NotJson));
        let deep = format!("{}{{}}{}", r#"{"type":"array","items":"#.repeat(60), "}".repeat(60));
        assert_eq!(grammar(&deep), Err(GrammarError::TooDeep));
        let huge = r#"{"type":"string","maxLength":999999}"#;
        assert_eq!(grammar(huge), Err(GrammarError::TooManyCopies));
    }
}
