//! A chat's answer in pieces: `chat.completion.chunk`.

use inference::engine::{Finished, TokenProbability};
use serde_json::{Value, json};

use crate::routes::openai::{
    answer::{self, FINGERPRINT, Head, Logprobs, Usage},
    stream::Wording,
    tool_calls::ToolReader,
};

/// What is told of an answer in pieces.
pub(super) struct Pieces {
    head: Head,
    includes_usage: bool,
    /// Where the model may call tools.
    reader: Option<ToolReader>,
}

impl Pieces {
    pub(super) const fn new(head: Head, includes_usage: bool, reader: Option<ToolReader>) -> Self {
        Self {
            head,
            includes_usage,
            reader,
        }
    }

    fn chunk(&self, delta: &Value, logprobs: Option<Logprobs>, finish_reason: Option<&str>) -> Value {
        let choice = json!({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason});
        self.around(&json!([choice]), None)
    }

    fn around(&self, choices: &Value, usage: Option<Usage>) -> Value {
        let mut chunk = json!({
            "id": self.head.id, "object": "chat.completion.chunk", "created": self.head.created, "model": self.head.model,
            "system_fingerprint": FINGERPRINT, "choices": choices,
        });
        if self.includes_usage {
            chunk["usage"] = json!(usage);
        }
        chunk
    }
}

impl Wording for Pieces {
    fn head(&mut self) -> Vec<Value> {
        vec![self.chunk(&json!({"role": "assistant", "content": ""}), None, None)]
    }

    fn said(&mut self, text: &str, probabilities: &[TokenProbability]) -> Vec<Value> {
        let logprobs = Logprobs::of(probabilities);
        let Some(reader) = &mut self.reader else {
            return vec![self.chunk(&json!({"content": text}), logprobs, None)];
        };
        let first = reader.calls();
        let (text, calls) = reader.push(text);
        let mut chunks = Vec::new();
        if !text.is_empty() || logprobs.is_some() {
            chunks.push(self.chunk(&json!({"content": text}), logprobs, None));
        }
        for (index, call) in (first..).zip(calls) {
            let mut call = json!(call);
            call["index"] = index.into();
            chunks.push(self.chunk(&json!({"tool_calls": [call]}), None, None));
        }
        chunks
    }

    fn end(&mut self, finished: &Finished) -> Vec<Value> {
        let (rest, calls) = match &mut self.reader {
            Some(reader) => (reader.finish(), reader.calls()),
            None => (String::new(), 0),
        };
        let mut chunks = Vec::new();
        if !rest.is_empty() {
            chunks.push(self.chunk(&json!({"content": rest}), None, None));
        }
        let reason = if calls > 0 {
            "tool_calls"
        } else {
            answer::reason(finished.reason)
        };
        chunks.push(self.chunk(&json!({}), None, Some(reason)));
        if self.includes_usage {
            chunks.push(self.around(&json!([]), Some(Usage::from(finished))));
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use inference::engine::FinishReason;

    use super::*;

    fn pieces(includes_usage: bool, reader: Option<ToolReader>) -> Pieces {
        Pieces::new(Head::new("chatcmpl", "m"), includes_usage, reader)
    }

    const FINISHED: Finished = Finished {
        reason: FinishReason::Length,
        prompt_tokens: 5,
        reused_tokens: 2,
        generated_tokens: 3,
    };

    #[test]
    fn usage_comes_last_and_only_where_it_is_wanted() {
        let mut plain = pieces(false, None);
        assert_eq!(plain.head()[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(plain.said("a", &[])[0]["choices"][0]["delta"]["content"], "a");
        let end = plain.end(&FINISHED);
        assert_eq!(end.len(), 1);
        assert_eq!(end[0]["choices"][0]["finish_reason"], "length");
        assert!(end[0].get("usage").is_none());
        let end = pieces(true, None).end(&FINISHED);
        assert_eq!(end[0]["usage"], Value::Null);
        assert_eq!(end[1]["choices"], json!([]));
        assert_eq!(end[1]["usage"]["total_tokens"], 8);
        assert_eq!(end[1]["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
    }

    #[test]
    fn calls_are_numbered_and_end_the_answer_as_calls() {
        let mut pieces = pieces(false, Some(ToolReader::default()));
        assert!(pieces.said("<tool_call>{\"name\": \"a\"}", &[]).is_empty());
        let first = pieces.said("</tool_call>", &[]);
        let second = pieces.said("<tool_call>{\"name\": \"b\"}</tool_call>", &[]);
        let call = |chunks: &[Value]| chunks[0]["choices"][0]["delta"]["tool_calls"][0].clone();
        assert_eq!(
            (call(&first)["index"].clone(), call(&second)["index"].clone()),
            (json!(0), json!(1))
        );
        assert_eq!(call(&second)["function"]["name"], "b");
        assert_eq!(pieces.end(&FINISHED)[0]["choices"][0]["finish_reason"], "tool_calls");
    }
}
