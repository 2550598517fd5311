//! What a chat request says, and what of it the engine gets: pure.

use inference::{
    engine::{Input, Sampling},
    template::{ChatMessage, Exchange, Turn},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    limits::{PROGRAM_MESSAGES_MAX, PROGRAM_TOOLS_MAX},
    routes::openai::{
        body::Parameters,
        error::ProgramError,
        parameters::{Choosing, ResponseFormat, alternatives, choosing},
    },
};

/// A chat that a model shall go on with.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct ChatRequest {
    #[serde(flatten)]
    pub(super) choosing: Choosing,
    /// Oldest first.
    #[schema(min_items = 1, max_items = 1000)]
    messages: Vec<Message>,
    /// Tokens of the answer at most.
    max_completion_tokens: Option<u32>,
    response_format: Option<ResponseFormat>,
    /// Whether to tell how likely each token was.
    #[serde(default)]
    logprobs: bool,
    /// How many alternatives to tell with each.
    #[schema(maximum = 20)]
    top_logprobs: Option<u32>,
    /// What the model may ask to be called, for its chat template.
    #[schema(value_type = Option<Vec<Object>>, max_items = 128)]
    tools: Option<Vec<Value>>,
    /// `auto` or `none`.
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    /// `["text"]`.
    modalities: Option<Vec<String>>,
}

impl Parameters for ChatRequest {
    const NAMES: &'static [&'static str] = choosing![
        "messages",
        "max_completion_tokens",
        "response_format",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "modalities",
    ];
}

/// One message of the chat.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Message {
    role: Role,
    content: Option<Content>,
    /// Of the assistant: what it wanted to be called.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    tool_calls: Option<Vec<Value>>,
    /// Of a tool: which call this is the result of.
    tool_call_id: Option<String>,
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            // What the newer word means is what templates call the older one.
            Self::System | Self::Developer => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// What is said.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Part {
    /// `text`.
    r#type: String,
    text: Option<String>,
}

/// What the engine shall do.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) input: Input,
    pub(super) sampling: Sampling,
    pub(super) has_tools: bool,
    /// By which a conversation is known again when it goes on.
    pub(super) beginning: Vec<u8>,
}

fn invalid(name: &str, why: &str) -> ProgramError {
    ProgramError::ParameterInvalid {
        name: name.into(),
        why: why.into(),
    }
}

impl Content {
    fn text(self) -> Result<String, ProgramError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Parts(parts) => parts
                .into_iter()
                .map(|part| match (part.r#type.as_str(), part.text) {
                    ("text", Some(text)) => Ok(text),
                    _ => Err(ProgramError::ParameterUnsupported {
                        name: "messages",
                        why: "only parts of text are understood",
                    }),
                })
                .collect(),
        }
    }
}

impl Message {
    fn turn(self) -> Result<Turn, ProgramError> {
        let tool_calls = self.tool_calls.unwrap_or_default();
        if self.content.is_none() && tool_calls.is_empty() {
            return Err(invalid("messages", "a message has content"));
        }
        if tool_calls.len() > PROGRAM_TOOLS_MAX {
            return Err(invalid("messages", "too many calls in one message"));
        }
        Ok(Turn {
            role: self.role.name().into(),
            content: self.content.map_or(Ok(String::new()), Content::text)?,
            tool_calls: tool_calls.into_iter().map(unpacked).collect(),
            tool_call_id: self.tool_call_id,
        })
    }
}

/// Arguments are JSON in a text; templates want what is in it.
fn unpacked(mut call: Value) -> Value {
    let arguments = call.pointer_mut("/function/arguments");
    if let Some(arguments) = arguments
        && let Some(inside) = arguments.as_str().and_then(|text| serde_json::from_str(text).ok())
    {
        *arguments = inside;
    }
    call
}

impl ChatRequest {
    /// What the engine shall do. `random` is the seed of an answer that need not come again.
    pub(super) fn asked(self, random: u32) -> Result<Asked, ProgramError> {
        let mut sampling = self.choosing.sampling(self.max_completion_tokens, random)?;
        sampling.shape = self.response_format.as_ref().and_then(ResponseFormat::shape);
        if self.logprobs {
            sampling.logprobs = Some(alternatives("top_logprobs", self.top_logprobs.unwrap_or(0))?);
        }
        if self.modalities.is_some_and(|modalities| modalities != ["text"]) {
            return Err(ProgramError::ParameterUnsupported {
                name: "modalities",
                why: "answers are text",
            });
        }
        let tools = chosen_tools(self.tools, self.tool_choice.as_ref(), self.parallel_tool_calls)?;
        if !(1..=PROGRAM_MESSAGES_MAX).contains(&self.messages.len()) {
            return Err(invalid("messages", "a chat has 1 to 1000 messages"));
        }
        let turns: Result<Vec<_>, _> = self.messages.into_iter().map(Message::turn).collect();
        let turns = turns?;
        let first_said = turns.iter().position(|turn| turn.role != "system").unwrap_or(0);
        let beginning: Vec<&str> = turns[..=first_said].iter().map(|turn| turn.content.as_str()).collect();
        let beginning = beginning.join("\n").into_bytes();
        let has_tools = !tools.is_empty();
        let is_plain = |turn: &Turn| turn.tool_calls.is_empty() && turn.role != "tool";
        let input = if !has_tools && turns.iter().all(is_plain) {
            let message = |turn: Turn| ChatMessage {
                role: turn.role,
                content: turn.content,
            };
            Input::Chat(turns.into_iter().map(message).collect())
        } else {
            Input::Exchange(Exchange { turns, tools })
        };
        Ok(Asked {
            input,
            sampling,
            has_tools,
            beginning,
        })
    }
}

/// The tools that the model may see.
fn chosen_tools(
    tools: Option<Vec<Value>>,
    choice: Option<&Value>,
    parallel: Option<bool>,
) -> Result<Vec<Value>, ProgramError> {
    let tools = tools.unwrap_or_default();
    if tools.len() > PROGRAM_TOOLS_MAX || !tools.iter().all(|tool| tool["function"]["name"].is_string()) {
        return Err(invalid("tools", "at most 128 functions, each with a name"));
    }
    if tools.is_empty() {
        return Ok(tools);
    }
    if parallel == Some(false) {
        return Err(ProgramError::ParameterUnsupported {
            name: "parallel_tool_calls",
            why: "how many tools the model calls is its own choice",
        });
    }
    match choice.map(Value::as_str) {
        None | Some(Some("auto")) => Ok(tools),
        Some(Some("none")) => Ok(Vec::new()),
        Some(_) => Err(ProgramError::ParameterUnsupported {
            name: "tool_choice",
            why: "whether to call a tool is the model's own choice: 'auto' or 'none'",
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(mut body: Value) -> Result<Asked, ProgramError> {
        body["model"] = "m".into();
        let request: ChatRequest = serde_json::from_value(body).unwrap();
        request.asked(7)
    }

    #[test]
    fn messages_come_as_text_and_as_parts() {
        let asked = asked(json!({"messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "При"}, {"type": "text", "text": "вет"}], "name": "r"},
        ], "logprobs": true, "top_logprobs": 2, "max_completion_tokens": 5, "max_tokens": 9}))
        .unwrap();
        let message = |role: &str, content: &str| ChatMessage {
            role: role.into(),
            content: content.into(),
        };
        let expected = vec![message("system", "Be brief."), message("user", "Привет")];
        assert_eq!(asked.input, Input::Chat(expected));
        assert_eq!((asked.sampling.logprobs, asked.sampling.tokens_max), (Some(2), 5));
        assert_eq!(asked.beginning, "Be brief.\nПривет".as_bytes());
    }

    #[test]
    fn tools_and_what_came_of_them_reach_the_template() {
        let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {}}}]);
        let body = json!({"tools": tools, "messages": [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Псков\"}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
        ]});
        let made = asked(body.clone()).unwrap();
        let Input::Exchange(exchange) = made.input else {
            panic!("no tools: {:?}", made.input);
        };
        assert!(made.has_tools && exchange.tools.len() == 1);
        assert_eq!(
            exchange.turns[1].tool_calls[0]["function"]["arguments"]["city"],
            "Псков"
        );
        assert_eq!(exchange.turns[2].tool_call_id.as_deref(), Some("1"));
        let mut without = body.clone();
        without["tool_choice"] = "none".into();
        assert!(!asked(without).unwrap().has_tools);
        let mut forced = body;
        forced["tool_choice"] = "required".into();
        let refused = asked(forced).unwrap_err();
        assert!(matches!(
            refused,
            ProgramError::ParameterUnsupported {
                name: "tool_choice",
                ..
            }
        ));
    }

    #[test]
    fn what_is_no_chat_is_refused() {
        let user = json!([{"role": "user", "content": "?"}]);
        for (body, name) in [
            (json!({"messages": []}), "messages"),
            (json!({"messages": [{"role": "user"}]}), "messages"),
            (json!({"messages": user, "tools": [{"type": "web"}]}), "tools"),
            (
                json!({"messages": user, "logprobs": true, "top_logprobs": 99}),
                "top_logprobs",
            ),
        ] {
            let refused = asked(body.clone()).unwrap_err();
            assert!(
                matches!(&refused, ProgramError::ParameterInvalid { name: is, .. } if is == name),
                "{body}"
            );
        }
        let picture =
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]});
        assert!(matches!(
            asked(picture).unwrap_err(),
            ProgramError::ParameterUnsupported { .. }
        ));
        let sound = json!({"messages": user, "modalities": ["audio"]});
        assert!(matches!(
            asked(sound).unwrap_err(),
            ProgramError::ParameterUnsupported { .. }
        ));
    }
}
