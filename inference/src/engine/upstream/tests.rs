//! Against a server on loopback that says what real ones say, and what broken ones do.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::engine::{Engine, EngineEvent, FinishReason, Generation, Input, ModelSource, Sampling};
use crate::template::ChatMessage;

const GOOD: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"Да\"}}]}\n\n: still here\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\", это так.\"},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

/// Serves one model and this answer to every question.
async fn server(status: &'static str, stream: &'static str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 65_536];
            let read = connection.read(&mut request).await.unwrap();
            let is_list = request[..read].starts_with(b"GET /v1/models");
            let (status, body) = if is_list {
                ("200 OK", "{\"data\":[{\"id\":\"big\"}]}")
            } else {
                (status, stream)
            };
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}");
            // A client that has heard enough closes.
            let _ = connection.write_all(head.as_bytes()).await;
        }
    });
    Server::parse(&format!("http://{address}/v1/"), None).unwrap()
}

async fn ask(server: Server, sampling: Sampling) -> Vec<EngineEvent> {
    let engine = Engine::start(EngineSettings {
        program: "unused".into(),
        model: ModelSource::Upstream(server),
        models_directory: "unused".into(),
        slots: 4,
        context_tokens: 2048,
        threads: None,
    })
    .unwrap();
    let mut status = engine.status();
    status
        .wait_for(|status| matches!(status, EngineStatus::Ready(_)))
        .await
        .unwrap();
    assert_eq!(engine.model().unwrap().name, "big");
    let question = ChatMessage {
        role: "user".into(),
        content: "?".into(),
    };
    let generation = Generation {
        account: [1; 32],
        session: [2; 32],
        input: Input::Chat(vec![question]),
        sampling,
        accepted: Vec::new(),
        deadline: std::time::Duration::from_secs(10),
    };
    let mut running = engine.generate(generation).await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = running.next().await {
        events.push(event);
    }
    events
}

fn text(events: &[EngineEvent]) -> String {
    let text = |event: &EngineEvent| match event {
        EngineEvent::Text(text) => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

#[tokio::test]
async fn an_answer_is_streamed_and_thoughts_are_kept_apart() {
    let events = ask(server("200 OK", GOOD).await, Sampling::default()).await;
    assert_eq!(text(&events), "Да, это так.");
    assert!(events.contains(&EngineEvent::Thought("hm".into())));
    let Some(EngineEvent::Finished(finished)) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(
        (finished.reason, finished.prompt_tokens, finished.generated_tokens),
        (FinishReason::Complete, 9, 5)
    );
    let stops = vec!["это".to_owned()];
    let cut = ask(
        server("200 OK", GOOD).await,
        Sampling {
            stops,
            ..Sampling::default()
        },
    )
    .await;
    assert_eq!(text(&cut), "Да, ");
}

#[tokio::test]
async fn every_way_to_fail_has_its_error() {
    for (status, stream, expected) in [
        ("503 Service Unavailable", "", UpstreamError::Status(503)),
        (
            "200 OK",
            "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n",
            UpstreamError::Broken,
        ),
        ("200 OK", "data: nonsense\n\n", UpstreamError::Malformed),
        (
            "200 OK",
            "data: {\"error\":{\"message\":\"out of memory\"}}\n\n",
            UpstreamError::Broken,
        ),
    ] {
        let events = ask(server(status, stream).await, Sampling::default()).await;
        assert_eq!(
            events.last(),
            Some(&EngineEvent::Failed(GenerationError::Upstream(expected))),
            "{stream}"
        );
    }
}

#[test]
fn addresses_are_checked_and_keys_are_not_shown() {
    for wrong in [
        "",
        "127.0.0.1:8000",
        "ftp://x/v1",
        "http://",
        "http://me:secret@host/v1",
    ] {
        assert!(Server::parse(wrong, None).is_err(), "{wrong}");
    }
    let server = Server::parse("http://127.0.0.1:1/v1#qwen", Some("secret".into())).unwrap();
    assert_eq!(
        (server.address.as_str(), server.model.as_deref()),
        ("http://127.0.0.1:1/v1", Some("qwen"))
    );
    assert!(!format!("{server:?}").contains("secret"));
}
