//! Gateways that one person uses, and what a page of theirs has of an answer.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::Client,
    process::{NodeProcess, PATIENCE},
};

/// What the person of [`two_gateways`] signs in with.
pub const NAME: &str = "Рита";
/// The password.
pub const PASSWORD: &str = "скворец-летит";

/// A gateway without a model, a node with the mock that says so many words a second, which serves people, too, and a person at
/// each of them.
///
/// # Panics
/// When they do not come up.
pub async fn two_gateways(rate: u32) -> (NodeProcess, NodeProcess, Client, Client) {
    let mut b = NodeProcess::init("B", &format!("mock:{rate}"));
    b.start();
    let mut at_b = Client::new(b.http);
    let welcome = json!({"token": b.welcome_token(), "name": NAME, "password": PASSWORD});
    at_b.post("/api/v1/welcome", welcome).await;
    let (a, at_a) = another_gateway(&b, "A", &at_b).await;
    (a, b, at_a, at_b)
}

/// A gateway without a model that joins a node with the mock, and the same person there.
///
/// # Panics
/// When it does not come up, or the person's account does not reach it.
pub async fn another_gateway(member: &NodeProcess, name: &str, person: &Client) -> (NodeProcess, Client) {
    let joined = NodeProcess::join(&member.invite(&[]), name, "none");
    let mut gateway = joined.expect("the gateway joins");
    gateway.start();
    wait_for_mock(&mut gateway);
    let client = person.at(gateway.http);
    let signed_in = async {
        while !client.request(Method::GET, "/api/v1/me", None).await.0.is_success() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, signed_in)
        .await
        .expect("the account reaches the gateway");
    (gateway, client)
}

/// Waits until a gateway sees the mock of another node.
///
/// # Panics
/// When it never does.
pub fn wait_for_mock(gateway: &mut NodeProcess) {
    gateway.wait_for_status("it sees the mock", |status| {
        status["members"].to_string().contains("mock")
    });
}

/// The words that the mock says to a question with `[tokens N]`. No two of them are alike.
#[must_use]
pub fn mock_answer(question: &str, tokens: usize) -> String {
    let said = ["This", "is", "a", "mock;", "it", "was", "asked:"]
        .into_iter()
        .chain(question.split_whitespace().take(32));
    let words: Vec<&str> = said.collect();
    let numbered = (0..tokens).map(|number| format!("{}{number}", words[number % words.len()]));
    numbered.collect::<Vec<_>>().join(" ")
}

/// What a page has of an answer.
#[derive(Debug, Default)]
pub struct Heard {
    /// The answer's id.
    pub answer: String,
    /// The run that says it.
    pub run: String,
    /// What was heard of it.
    pub text: String,
}

impl Heard {
    /// Its length as positions count it.
    #[must_use]
    pub fn characters(&self) -> usize {
        self.text.chars().count()
    }

    /// Takes in a frame, as a page does: a start says from where on. False when it does not join what was heard before, so that
    /// something is lost or doubled.
    ///
    /// # Panics
    /// When a frame of an answer is not as the API says.
    pub fn take(&mut self, frame: &Value) -> bool {
        let position = |name: &str| frame[name].as_u64().expect("a position is a number") as usize;
        let text = |name: &str| frame[name].as_str().expect("a text");
        match frame["type"].as_str() {
            Some("answer_started") => {
                text("answer_id").clone_into(&mut self.answer);
                text("run").clone_into(&mut self.run);
                let from = position("from");
                let joins = from <= self.characters();
                self.text = self.text.chars().take(from).collect();
                joins
            }
            Some("token") => {
                let joins = position("at") == self.characters();
                self.text.push_str(text("text"));
                joins
            }
            _ => true,
        }
    }

    /// What a page sends to go on with the answer at another gateway.
    #[must_use]
    pub fn open_frame(&self, session: &str) -> Value {
        json!({
            "type": "open", "session_id": session,
            "cursor": {"answer_id": self.answer, "run": self.run, "at": self.characters()},
        })
    }
}
