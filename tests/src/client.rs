//! A person's client: HTTP with a cookie, and the chat socket.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::process::PATIENCE;

/// A person at one gateway.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    cookie: Option<String>,
    bearer: Option<String>,
}

impl Client {
    /// Someone who is not signed in.
    ///
    /// # Panics
    /// When the HTTP client cannot be made.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        // No pool: a node that was restarted on the same port must not be met on a connection to its predecessor.
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .pool_max_idle_per_host(0)
            .build()
            .expect("an HTTP client");
        Self {
            http,
            address,
            cookie: None,
            bearer: None,
        }
    }

    /// The same with an access token, or with a program's key.
    #[must_use]
    pub fn with_bearer(self, token: &str) -> Self {
        Self {
            bearer: Some(format!("Bearer {token}")),
            ..self
        }
    }

    /// What keeps this person signed in, as a browser sends it.
    #[must_use]
    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// One request; returns status and body (null when it is no JSON).
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn request(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", bearer);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.expect("the node answers");
        let status = response.status();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// One request with bytes; returns status and bytes.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let request = request.header("content-type", "application/octet-stream");
        let response = request.body(body).send().await.expect("the node answers");
        let status = response.status();
        (status, response.bytes().await.expect("the answer is whole").to_vec())
    }

    /// A GET that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.request(Method::GET, path, None).await;
        assert!(status.is_success(), "GET {path}: {status} {body}");
        body
    }

    /// A POST that must succeed; keeps the cookie that comes with it.
    ///
    /// # Panics
    /// When it does not succeed.
    pub async fn post(&mut self, path: &str, body: Value) -> Value {
        let mut request = self
            .http
            .post(format!("http://{}{path}", self.address))
            .header("content-type", "application/json");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.body(body.to_string()).send().await.expect("the node answers");
        let status = response.status();
        let cookie = response
            .headers()
            .get("set-cookie")
            .and_then(|value| value.to_str().ok());
        if let Some(cookie) = cookie.and_then(|cookie| cookie.split(';').next()) {
            self.cookie = Some(cookie.to_owned());
        }
        let body = response.json().await.unwrap_or(Value::Null);
        assert!(status.is_success(), "POST {path}: {status} {body}");
        body
    }

    /// Begins a chat with the first character; its id.
    ///
    /// # Panics
    /// When there is no character, or it does not begin.
    pub async fn first_chat(&mut self) -> String {
        let characters = self.get("/api/v1/characters").await;
        let character = json!({"character_id": characters["characters"][0]["id"]});
        let session = self.post("/api/v1/sessions", character).await;
        session["id"].as_str().expect("a chat has an id").to_owned()
    }

    /// The same person, by the same cookie, at another gateway.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    /// Opens the chat socket and reads its `hello`.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn socket(&self) -> Socket {
        let mut request = format!("ws://{}/api/v1/ws", self.address)
            .into_client_request()
            .expect("an address");
        if let Some(cookie) = &self.cookie {
            request
                .headers_mut()
                .insert("cookie", cookie.parse().expect("a cookie is a header"));
        }
        if let Some(bearer) = &self.bearer {
            let bearer = bearer.parse().expect("a token is a header");
            request.headers_mut().insert("authorization", bearer);
        }
        let (stream, _) = connect_async_with_config(request, None, true)
            .await
            .expect("the socket opens");
        let mut socket = Socket {
            stream,
            said: HashMap::new(),
        };
        socket.wait_for("hello").await;
        socket
    }
}

/// The chat socket.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What each stream said.
    said: HashMap<u64, String>,
}

/// A frame as a program likes it: a piece of an answer as an object of type `token`, and the text of a finished answer with it where
/// it was streamed from its beginning.
fn readable(said: &mut HashMap<u64, String>, frame: Value) -> Value {
    if let Some([stream, at, text]) = frame.as_array().map(Vec::as_slice) {
        let piece = text.as_str().unwrap_or_default();
        said.entry(stream.as_u64().unwrap_or(0)).or_default().push_str(piece);
        return json!({"type": "token", "stream": stream, "at": at, "text": text});
    }
    let mut frame = frame;
    if frame["type"] == "answer_finished" {
        let text = frame["stream"].as_u64().and_then(|stream| said.remove(&stream));
        if frame["as_streamed"] == true {
            frame["message"]["text"] = text.unwrap_or_default().trim().into();
        }
    }
    frame
}

impl Socket {
    /// Sends a message.
    ///
    /// # Panics
    /// When the socket is gone.
    pub async fn say(&mut self, session: &str, outbox: &str, text: &str) {
        self.send(json!({"type": "send", "outbox_id": outbox, "session_id": session, "text": text}))
            .await;
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When the socket is gone.
    pub async fn send(&mut self, frame: Value) {
        self.stream
            .send(Message::text(frame.to_string()))
            .await
            .expect("the socket takes the frame");
    }

    /// The next frame; `None` when nothing comes in time or the socket closes.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Value> {
        let next = async {
            loop {
                match self.stream.next().await? {
                    Ok(Message::Text(text)) => {
                        let frame = serde_json::from_str(&text).ok()?;
                        return Some(readable(&mut self.said, frame));
                    }
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(patience, next).await.ok().flatten()
    }

    /// The next frame of a type; others are passed over.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn wait_for(&mut self, kind: &str) -> Value {
        self.collect_until(kind)
            .await
            .pop()
            .expect("the last frame is the wanted one")
    }

    /// Every frame up to and including the next one of a type.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn collect_until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next_within(PATIENCE).await;
            let frame = frame.unwrap_or_else(|| panic!("no {kind} came after {frames:?}"));
            let wanted = frame["type"] == kind;
            frames.push(frame);
            if wanted {
                return frames;
            }
        }
    }
}
