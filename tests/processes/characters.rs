//! The editor of characters against real nodes: limits, drafts, versions, cards, pictures, uniqueness, and who may do what.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{client::Client, process::NodeProcess};

const CARDS: [(&str, &[u8]); 3] = [
    ("v3.json", include_bytes!("../../crdt/tests/cards/v3.json")),
    ("v3.png", include_bytes!("../../crdt/tests/cards/v3.png")),
    ("v3.charx", include_bytes!("../../crdt/tests/cards/v3.charx")),
];

/// A mesh of one node with its administrator.
async fn alone() -> (NodeProcess, Client) {
    let mut node = NodeProcess::init("A", "mock");
    node.start();
    let mut administrator = Client::new(node.http);
    let welcome = json!({"token": node.welcome_token(), "name": "Ада", "password": "long enough words"});
    administrator.post("/api/v1/welcome", welcome).await;
    (node, administrator)
}

fn definition(name: &str, prompt: &str) -> Value {
    json!({"name": name, "prompt": prompt})
}

async fn refused(client: &Client, method: Method, path: &str, body: Value, status: u16, code: &str) -> Value {
    let (found, answer) = client.request(method.clone(), path, Some(body)).await;
    assert_eq!(
        (found.as_u16(), answer["error"]["code"].as_str()),
        (status, Some(code)),
        "{method} {path}: {answer}"
    );
    answer
}

async fn changed(client: &Client, path: &str, body: Value) -> Value {
    let (status, answer) = client.request(Method::PATCH, path, Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

#[tokio::test]
async fn a_character_goes_through_drafts_and_versions() {
    let (_node, mut client) = alone().await;
    let list = "/api/v1/characters";
    for (field, value) in [
        ("name", json!("Я")),
        ("name", json!("x".repeat(51))),
        ("description", json!("x".repeat(501))),
        ("prompt", json!("x".repeat(2001))),
        ("prompt", json!("")),
        ("temperature", json!(2.1)),
        ("answer_characters_max", json!(99)),
        ("answer_characters_max", json!(2001)),
        ("examples", json!(vec!["x"; 6])),
        ("filters", json!([""])),
    ] {
        let mut body = definition("Волк", "Ты Волк.");
        body[field] = value;
        refused(&client, Method::POST, list, body, 400, "field_invalid").await;
    }
    refused(
        &client,
        Method::POST,
        list,
        json!({"name": "Волк"}),
        400,
        "field_invalid",
    )
    .await;
    refused(
        &client,
        Method::POST,
        list,
        json!({"nmae": "Волк"}),
        400,
        "body_invalid",
    )
    .await;
    let made = client
        .post(list, definition("Волк", "Ты Волк из серых гор. Говори мало и по делу."))
        .await;
    let path = format!("{list}/{}", made["id"].as_str().unwrap());
    assert_eq!((&made["published"], &made["versions"]), (&Value::Null, &json!(0)));
    let names = |list: &Value| -> Vec<String> {
        let characters = list["characters"].as_array().unwrap();
        characters
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&client.get(list).await), ["Лис"], "a draft is nobody's yet");
    assert_eq!(
        names(&client.get("/api/v1/characters?mine=true&limit=1").await),
        ["Волк"]
    );
    let published = client.post(&format!("{path}/publish"), json!({"note": "first"})).await;
    let first = published["published"].as_str().unwrap().to_owned();
    changed(
        &client,
        &path,
        json!({"prompt": "Ты Волк. Вой на луну каждую ночь.", "temperature": 1.5}),
    )
    .await;
    assert_eq!(names(&client.get(list).await), ["Волк", "Лис"]);
    let page = client.get("/api/v1/characters?limit=1").await;
    assert_eq!(names(&page), ["Волк"]);
    let after = page["next"].as_str().unwrap().replace('\u{1}', "%01");
    let second = client.get(&format!("/api/v1/characters?limit=1&after={after}")).await;
    assert_eq!(
        (names(&second), &second["next"]),
        (vec!["Лис".to_owned()], &Value::Null)
    );
    let difference = client.get(&format!("{path}/difference?from={first}")).await;
    let fields = difference["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 2);
    assert_eq!(
        (&fields[1]["field"], &fields[1]["before"], &fields[1]["after"]),
        (&json!("temperature"), &json!(0.7), &json!(1.5))
    );
    client.post(&format!("{path}/publish"), json!({})).await;
    let back = client
        .post(&format!("{path}/roll-back"), json!({"version": first}))
        .await;
    assert_eq!(back["draft"], published["draft"]);
    let versions = client.get(&format!("{path}/versions?limit=2")).await;
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    let after = versions["next"].as_str().unwrap();
    let rest = client.get(&format!("{path}/versions?limit=2&after={after}")).await;
    assert_eq!(
        (&rest["versions"][0]["note"], &rest["versions"][0]["by"], &rest["next"]),
        (&json!("first"), &json!("Ада"), &Value::Null)
    );
    let trial = client
        .post(
            &format!("{path}/trial"),
            json!({"messages": [{"role": "person", "text": "who are you"}]}),
        )
        .await;
    assert_eq!(
        trial,
        json!({"text": "This is a mock; it was asked: who are you", "model": "mock"})
    );
    assert_eq!(
        client.get("/api/v1/sessions").await,
        json!({"sessions": [], "has_more": false}),
        "a trial is not kept"
    );
    refused(
        &client,
        Method::POST,
        &format!("{path}/trial"),
        json!({"messages": [{"role": "person", "text": " "}]}),
        400,
        "text_empty",
    )
    .await;
    let (status, _) = client.request(Method::POST, &format!("{path}/withdraw"), None).await;
    assert_eq!(
        (status, names(&client.get(list).await)),
        (StatusCode::NO_CONTENT, vec!["Лис".to_owned()])
    );
}

#[tokio::test]
async fn names_and_prompts_belong_to_one_character() {
    let (_node, mut client) = alone().await;
    let list = "/api/v1/characters";
    let prompt = "Ты Волк из серых гор. Говори мало и по делу, не хвастай и никогда не лги человеку, который пришёл.";
    let wolf = client.post(list, definition("Волк", prompt)).await;
    let id = wolf["id"].as_str().unwrap().to_owned();
    let taken = refused(
        &client,
        Method::POST,
        list,
        definition(" ВОЛК ", "x y z"),
        409,
        "character_name_taken",
    )
    .await;
    assert_eq!(taken["error"]["twin"], json!({"id": id, "name": "Волк"}));
    let same = prompt.to_uppercase().replace(' ', "  ");
    let taken = refused(
        &client,
        Method::POST,
        list,
        definition("Пёс", &same),
        409,
        "prompt_taken",
    )
    .await;
    assert_eq!(taken["error"]["twin"], json!({"id": id, "name": "Волк"}));
    let alike = client
        .post(list, definition("Пёс", &prompt.replace("серых", "белых")))
        .await;
    assert_eq!(
        (&alike["twin"]["id"], &alike["twin"]["name"]),
        (&json!(id), &json!("Волк"))
    );
    assert!(alike["twin"]["score"].as_f64().unwrap() >= 0.85);
    let path = format!("{list}/{}", alike["id"].as_str().unwrap());
    refused(
        &client,
        Method::PATCH,
        &path,
        json!({"name": "Волк"}),
        409,
        "character_name_taken",
    )
    .await;
    let (status, _) = client.request(Method::DELETE, &format!("{list}/{id}"), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(
        changed(&client, &path, json!({"name": "Волк"})).await["conflicts"],
        json!([]),
        "who is gone holds nothing"
    );
}

#[tokio::test]
async fn cards_come_and_leave_and_hostile_files_do_nothing() {
    let (node, client) = alone().await;
    let list = "/api/v1/characters";
    for (name, card) in CARDS {
        let (status, made) = client
            .send(Method::POST, &format!("{list}/import"), card.to_vec())
            .await;
        let made: Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(status, StatusCode::CREATED, "{name}: {made}");
        assert_eq!((&made["draft"]["name"], &made["too_long"]), (&json!("Ада"), &json!([])));
        assert_eq!(made["has_avatar"], json!(name != "v3.json"), "{name}");
        let path = format!("{list}/{}", made["id"].as_str().unwrap());
        let (_, same) = client.send(Method::GET, &format!("{path}/card"), Vec::new()).await;
        assert!(same == card, "{name}: what nobody edited leaves to the byte");
        changed(&client, &path, json!({"greeting": "Добрый день."})).await;
        let (_, edited) = client.send(Method::GET, &format!("{path}/card"), Vec::new()).await;
        let mut expected = crdt::cards::Card::read(card).unwrap();
        let edited = crdt::cards::Card::read(&edited).unwrap();
        expected.json["data"]["first_mes"] = json!("Добрый день.");
        expected.json["data"]["modification_date"] = edited.json["data"]["modification_date"].clone();
        assert_eq!(edited, expected, "{name}");
        if name != "v3.json" {
            let (status, picture) = client.send(Method::GET, &format!("{path}/avatar"), Vec::new()).await;
            assert_eq!((status, &picture[..3]), (StatusCode::OK, &b"\xff\xd8\xff"[..]));
            assert!(!picture.windows(8).any(|window| window == b"Software"));
            let (status, png) = client
                .send(Method::GET, &format!("{path}/card?format=png"), Vec::new())
                .await;
            assert_eq!(
                (status, crdt::cards::Card::read(&png).unwrap().json),
                (StatusCode::OK, expected.json)
            );
        }
        let (status, _) = client.request(Method::DELETE, &path, None).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    let long = json!({"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Долгий", "description": "ы".repeat(9000), "first_mes": "!"}});
    let (_, made) = client
        .send(Method::POST, &format!("{list}/import"), long.to_string().into_bytes())
        .await;
    let made: Value = serde_json::from_slice(&made).unwrap();
    assert_eq!(
        (&made["too_long"][0]["field"], &made["too_long"][0]["length"]),
        (&json!("prompt"), &json!(9000))
    );
    let path = format!("{list}/{}", made["id"].as_str().unwrap());
    refused(
        &client,
        Method::POST,
        &format!("{path}/publish"),
        json!({}),
        409,
        "fields_too_long",
    )
    .await;
    let shortened = changed(&client, &path, json!({"prompt": "Ты Долгий, но говоришь кратко."})).await;
    assert_eq!(shortened["too_long"], json!([]));
    for (bytes, status, code) in [
        (b"<script>".to_vec(), 400, "card_invalid"),
        (b"PK\x03\x04".repeat(1000), 400, "card_invalid"),
        (vec![b'{'; 5 << 20], 413, "card_too_large"),
        (vec![b'{'; 17 << 20], 413, "body_too_large"),
    ] {
        let (found, body) = client.send(Method::POST, &format!("{list}/import"), bytes).await;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert_eq!(
            (found.as_u16(), body["error"]["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
    }
    for (bytes, status, code) in [
        (b"<svg/>".to_vec(), 400, "picture_invalid"),
        (vec![0; (2 << 20) + 1], 413, "picture_too_large"),
    ] {
        let (found, body) = client.send(Method::PUT, &format!("{path}/avatar"), bytes).await;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert_eq!(
            (found.as_u16(), body["error"]["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
    }
    drop(node);
}

#[tokio::test]
async fn only_those_who_make_characters_may_change_them() {
    let (node, mut client) = alone().await;
    let link = client.post("/api/v1/people/links", json!({"role": "user"})).await;
    let token = link["path"].as_str().unwrap().split('#').nth(1).unwrap().to_owned();
    let mut user = Client::new(node.http);
    user.post(
        "/api/v1/welcome",
        json!({"token": token, "name": "Борис", "password": "long enough words"}),
    )
    .await;
    let made = client.post("/api/v1/characters", definition("Волк", "Ты Волк.")).await;
    let path = format!("/api/v1/characters/{}", made["id"].as_str().unwrap());
    let nobody = Client::new(node.http);
    for (method, path) in [
        (Method::POST, "/api/v1/characters".to_owned()),
        (Method::POST, "/api/v1/characters/import".to_owned()),
        (Method::GET, "/api/v1/characters?mine=true".to_owned()),
        (Method::GET, path.clone()),
        (Method::PATCH, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::GET, format!("{path}/card")),
        (Method::GET, format!("{path}/versions")),
        (Method::GET, format!("{path}/difference?from=draft")),
        (Method::POST, format!("{path}/publish")),
        (Method::POST, format!("{path}/withdraw")),
        (Method::PUT, format!("{path}/avatar")),
    ] {
        let body = (method != Method::GET).then(|| definition("Пёс", "Ты Пёс."));
        let body = if path.ends_with("publish") {
            Some(json!({}))
        } else {
            body
        };
        let (status, answer) = user.request(method.clone(), &path, body.clone()).await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["code"]),
            (403, &json!("not_allowed")),
            "{method} {path}"
        );
        let (status, answer) = nobody.request(method.clone(), &path, body).await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["code"]),
            (401, &json!("not_signed_in")),
            "{method} {path}"
        );
    }
}

// Red when: the words in braces of a card reach people or the model as they stand, or the maker's own text is changed.
#[tokio::test]
async fn the_words_of_a_card_are_put_in_for_whoever_reads() {
    let (_node, mut client) = alone().await;
    let mut fields = definition("Волк", "Ты {{char}}, и {{user}} тебя не боится.");
    fields["greeting"] = json!("Здравствуй, {{user}}. Я {{char}}.{{// <img src=x onerror=alert(1)>}}");
    let made = client.post("/api/v1/characters", fields.clone()).await;
    assert_eq!(made["draft"]["greeting"], fields["greeting"]);
    let path = format!("/api/v1/characters/{}", made["id"].as_str().unwrap());
    client.post(&format!("{path}/publish"), json!({})).await;
    let list = client.get("/api/v1/characters").await;
    assert_eq!(list["characters"][0]["greeting"], "Здравствуй, Ада. Я Волк.");
}
