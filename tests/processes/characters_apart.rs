//! Characters at two nodes: a name that was given away on both sides of a split, and pictures that lie with another node.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{
    client::Client,
    process::{NodeProcess, PATIENCE},
};

const LIST: &str = "/api/v1/characters";
const PICTURE: &[u8] = include_bytes!("../../crdt/tests/cards/v3.png");

/// Two linked nodes and their administrator at both.
async fn two() -> ((NodeProcess, Client), (NodeProcess, Client)) {
    let mut first = NodeProcess::init("A", "mock");
    first.start();
    let mut at_first = Client::new(first.http);
    let welcome = json!({"token": first.welcome_token(), "name": "Ада", "password": "long enough words"});
    at_first.post("/api/v1/welcome", welcome).await;
    let mut second = NodeProcess::join(&first.invite(&[]), "B", "mock").unwrap();
    second.start();
    let at_second = at_first.at(second.http);
    until(&at_second, "/api/v1/me", |_| true).await;
    ((first, at_first), (second, at_second))
}

/// Asks until the answer is as wanted.
async fn until(client: &Client, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            let (status, body) = client.request(Method::GET, path, None).await;
            if status.is_success() && wanted(&body) {
                return body;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("in vain asked for {path}"))
}

async fn wolf(client: &mut Client, prompt: &str) -> String {
    let made = client.post(LIST, json!({"name": "Волк", "prompt": prompt})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    client.post(&format!("{LIST}/{id}/publish"), json!({})).await;
    id
}

fn names(list: &Value) -> Vec<(String, String)> {
    let characters = list["characters"].as_array().unwrap();
    let mut names: Vec<_> = characters
        .iter()
        .map(|one| {
            (
                one["id"].as_str().unwrap().to_owned(),
                one["name"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    names.sort();
    names
}

// Red when: one of two characters is lost when a split heals, the nodes disagree about who has the name, nobody tells the
// loser, or the name stays in conflict after it was changed.
#[tokio::test]
async fn a_name_given_twice_in_a_split_has_one_holder_everywhere_and_the_other_is_told() {
    let ((mut first, mut at_first), (mut second, mut at_second)) = two().await;
    second.kill();
    let here = wolf(&mut at_first, "Ты Волк из серых гор. Говори мало и по делу.").await;
    first.kill();
    second.start();
    let there = wolf(&mut at_second, "Ты Волк из морской пены. Пой обо всём, что видишь.").await;
    first.start();
    let mine = format!("{LIST}?mine=true");
    let has_both = |list: &Value| {
        let characters = list["characters"].as_array().unwrap();
        let count = |wanted: &dyn Fn(&Value) -> bool| characters.iter().filter(|one| wanted(one)).count();
        let wolves = count(&|one| one["name"].as_str().unwrap().starts_with("Волк"));
        wolves == 2 && count(&|one| one["has_conflict"] == true) == 1
    };
    let at_both = [
        until(&at_first, &mine, has_both).await,
        until(&at_second, &mine, has_both).await,
    ];
    assert_eq!(
        names(&at_both[0]),
        names(&at_both[1]),
        "the same one has the name everywhere"
    );
    let loser = at_both[0]["characters"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["has_conflict"] == true)
        .unwrap()
        .clone();
    assert_ne!(loser["name"], "Волк", "people see a suffix");
    let loser = loser["id"].as_str().unwrap();
    let holder = if loser == here { &there } else { &here };
    let path = format!("{LIST}/{loser}");
    let told = at_first.get(&path).await;
    assert_eq!(
        told["conflicts"],
        json!([{"kind": "name", "holder_id": holder, "holder_name": "Волк"}])
    );
    assert_eq!(told["draft"]["name"], "Волк", "what its maker wrote stays");
    let rename = json!({"name": "Морской волк"});
    let (status, renamed) = at_first.request(Method::PATCH, &path, Some(rename)).await;
    assert_eq!((status, &renamed["conflicts"]), (StatusCode::OK, &json!([])));
    until(&at_second, &path, |seen| {
        seen["shown_name"] == "Морской волк" && seen["conflicts"] == json!([])
    })
    .await;
}

// Red when: a picture or a card can be had only where it was uploaded.
#[tokio::test]
async fn a_picture_and_a_card_are_had_through_any_node() {
    let ((mut first, at_first), (second, at_second)) = two().await;
    let (status, made) = at_first
        .send(Method::POST, &format!("{LIST}/import"), PICTURE.to_vec())
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let made: Value = serde_json::from_slice(&made).unwrap();
    let path = format!("{LIST}/{}", made["id"].as_str().unwrap());
    until(&at_second, &path, |seen| seen["has_avatar"] == true).await;
    let there = at_second.send(Method::GET, &format!("{path}/avatar"), Vec::new()).await;
    assert_eq!(
        there,
        at_first.send(Method::GET, &format!("{path}/avatar"), Vec::new()).await
    );
    assert_eq!(there.0, StatusCode::OK);
    let card = at_second.send(Method::GET, &format!("{path}/card"), Vec::new()).await;
    assert!(card == (StatusCode::OK, PICTURE.to_vec()), "{}", card.0);
    // Who has seen them has them: the node where they were uploaded may go.
    first.kill();
    assert!(card == at_second.send(Method::GET, &format!("{path}/card"), Vec::new()).await);
    assert_eq!(
        there,
        at_second.send(Method::GET, &format!("{path}/avatar"), Vec::new()).await
    );
    drop(second);
}
