//! People complain of answers and characters, and moderators decide.

use std::{collections::BTreeSet, time::Duration};

use crdt::records::{
    EntryId,
    account::Role,
    character::{Character, Definition},
    complaint::{Complaint, ComplaintReason, Decided, Decision},
    session::{Ending, Message, Session, SessionEdit},
};
use keys::{ContentId, Timestamp};
use serde_json::{Value, json};
use tests::process::PATIENCE;

use crate::gate::{Caller, Gate, PASSWORD, first, two, until};

const ANSWER: &str = "Прыгай с крыши!";

/// A character of somebody's, and a chat with an answer of it; chat and answer as the API names them.
pub async fn character(gate: &Gate, name: &str, author: ContentId) -> ContentId {
    let definition = Definition::new(name, "Хитрый", "Привет!", &format!("Ты {name}."));
    let character = Character::published(definition, Some(author), Timestamp::now());
    gate.node.store().create(character).await.unwrap()
}

pub async fn answer(gate: &Gate, person: ContentId, character: ContentId) -> (String, String) {
    let (store, now) = (gate.node.store(), Timestamp::now());
    let chat = store.create(Session::new(person, character, now)).await.unwrap();
    let question = Message::from_person("Что делать?", "outbox-1", &chat, None, now);
    let answer = Message::answer(question.id, ANSWER, now.plus(1), "mock", Ending::Complete);
    let id = answer.id.to_string();
    for message in [question, answer] {
        store.edit(chat, SessionEdit::PutMessage(message)).await.unwrap();
    }
    (chat.to_string(), id)
}

fn of_character(character: ContentId, reason: &str) -> Value {
    json!({"about": {"kind": "character", "character_id": character.to_string()}, "reason": reason})
}

fn id_of(complaint: &Value) -> String {
    complaint["id"].as_str().unwrap().to_owned()
}

// Red when: a moderator does not see what the person saw, sees more of the chat, a decision does nothing or is not told, or who
// complained is told to the author.
#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_is_seen_taken_and_decided_and_everybody_hears_of_it() {
    let gate = first().await;
    let (rita, author) = (
        gate.account("Рита", &[Role::User]).await,
        gate.account("Автор", &[Role::Manager]).await,
    );
    let keeper = gate.account("Надя", &[Role::Moderator]).await;
    let fox = character(&gate, "Лис", author).await;
    let (chat, answer) = answer(&gate, rita, fox).await;
    let (rita, author, keeper) = (
        Caller::of(&gate, rita).await,
        Caller::of(&gate, author).await,
        Caller::of(&gate, keeper).await,
    );
    let about = json!({"kind": "answer", "session_id": chat, "message_id": answer});
    let request = json!({"about": about, "reason": "harmful", "words": " Это опасно. "});
    author
        .post("/api/v1/complaints", request.clone())
        .await
        .refused(404, "not_found");
    let made = rita.post("/api/v1/complaints", request.clone()).await.expect(201);
    assert_eq!(
        (&made["state"], &made["excerpt"], &made["words"], &made["decision"]),
        (&json!("open"), &json!(ANSWER), &json!("Это опасно."), &Value::Null)
    );
    // The same once more changes nothing.
    let again = rita.post("/api/v1/complaints", request).await.expect(200);
    assert_eq!(again["id"], made["id"]);
    let path = format!("/api/v1/complaints/{}", id_of(&made));
    rita.get(&path).await.refused(403, "not_allowed");

    let queue = keeper.get("/api/v1/complaints").await.expect(200);
    assert_eq!((&queue["undecided"], &queue["next"]), (&json!(1), &Value::Null));
    assert!(!queue.to_string().contains(ANSWER), "the list tells no texts: {queue}");
    keeper.post(&format!("{path}/take"), json!({})).await.expect(204);
    let shown = keeper.get(&path).await.expect(200);
    assert_eq!(
        (&shown["excerpt"], &shown["words"], &shown["person"]["name"]),
        (&json!(ANSWER), &json!("Это опасно."), &json!("Рита"))
    );
    assert_eq!(shown["author"]["name"], "Автор");
    assert_eq!(shown["complaint"]["taken_by"]["name"], "Надя");
    assert!(
        !shown.to_string().contains("Что делать?"),
        "no more of the chat: {shown}"
    );
    let decide = |decision: &str| json!({ "decision": decision });
    let decided = format!("{path}/decide");
    keeper.post(&decided, decide("character_hidden")).await.expect(204);
    // Who was interrupted asks once more; anything else comes too late.
    keeper.post(&decided, decide("character_hidden")).await.expect(204);
    for late in ["dismissed", "author_blocked"] {
        keeper
            .post(&decided, decide(late))
            .await
            .refused(409, "complaint_decided");
    }
    keeper
        .post(&format!("{path}/take"), json!({}))
        .await
        .refused(409, "complaint_decided");

    let mine = rita.get("/api/v1/complaints/mine").await.expect(200);
    assert_eq!(mine["complaints"][0]["decision"], "character_hidden");
    assert!(!mine.to_string().contains("Надя"), "who decided stays among moderators");
    let warnings = author.get("/api/v1/account/warnings").await.expect(200);
    let warning = &warnings["warnings"][0];
    assert_eq!(
        (&warning["character_name"], &warning["reason"], &warning["decision"]),
        (&json!("Лис"), &json!("harmful"), &json!("character_hidden"))
    );
    for hidden in ["Рита", "опасно", "Прыгай"] {
        assert!(!warnings.to_string().contains(hidden), "{warnings}");
    }
    let offered = rita.get("/api/v1/characters").await.expect(200);
    assert!(!offered.to_string().contains(&fox.to_string()), "{offered}");
    let begin = json!({"character_id": fox.to_string()});
    rita.post("/api/v1/sessions", begin).await.refused(404, "not_found");
    let vera = gate.account("Вера", &[Role::Administrator]).await;
    let log = Caller::of(&gate, vera).await.get("/api/v1/audit").await.expect(200);
    for act in ["make", "open", "take", "decide"] {
        assert!(log.to_string().contains(&format!("complaint.{act}")), "{act}: {log}");
    }
    assert!(log.to_string().contains("character.withdraw"));
    assert!(!log.to_string().contains("опасно"), "the log holds no words of theirs");
    gate.stop().await;
}

// Red when: a blocked author signs in, a blocked character is begun, a moderator shuts out a keeper or judges in an own case, or
// somebody is warned who is not there.
#[tokio::test(flavor = "multi_thread")]
async fn each_decision_does_what_it_says_for_those_who_may() {
    let gate = first().await;
    let author = gate.account("Автор", &[Role::Manager]).await;
    let keeper_id = gate.account("Надя", &[Role::Moderator, Role::Manager]).await;
    let rita = Caller::of(&gate, gate.account("Рита", &[Role::User]).await).await;
    let vera = Caller::of(&gate, gate.account("Вера", &[Role::Administrator]).await).await;
    let keeper = Caller::of(&gate, keeper_id).await;
    let store = gate.node.store();
    let built_in = store.list::<Character>().await.unwrap().first().unwrap().0;
    let (wolf, own) = (
        character(&gate, "Волк", author).await,
        character(&gate, "Ёж", keeper_id).await,
    );
    let mut paths = Vec::new();
    for character in [wolf, own, built_in] {
        let made = rita
            .post("/api/v1/complaints", of_character(character, "other"))
            .await
            .expect(201);
        paths.push(format!("/api/v1/complaints/{}", id_of(&made)));
    }
    let decide = |decision: &str| json!({ "decision": decision });
    let (of_wolf, of_own, of_built_in) = (&paths[0], &paths[1], &paths[2]);
    keeper
        .post(&format!("{of_own}/decide"), decide("dismissed"))
        .await
        .refused(403, "not_allowed");
    // Nor does anybody read who complained of them.
    keeper.get(of_own).await.refused(403, "not_allowed");
    keeper
        .post(&format!("{of_own}/take"), json!({}))
        .await
        .refused(403, "not_allowed");
    keeper
        .post(&format!("{of_built_in}/decide"), decide("author_warned"))
        .await
        .refused(409, "conflict");
    let milder = json!(["dismissed", "character_hidden", "character_blocked"]);
    assert_eq!(keeper.get(of_built_in).await.expect(200)["may_decide"], milder);
    // What is a keeper's is judged by administrators.
    vera.post(&format!("{of_own}/decide"), decide("author_warned"))
        .await
        .expect(204);
    keeper
        .post(&format!("{of_wolf}/decide"), decide("author_blocked"))
        .await
        .expect(204);
    let login = json!({"name": "Автор", "password": PASSWORD});
    let reply = gate.browser().post("/api/v1/sign-in", login).await;
    reply.refused(403, "account_blocked");
    let wolf: Character = store.read(wolf).await.unwrap();
    assert!(wolf.retired);
    gate.stop().await;
}

// Red when: a page repeats or leaves out something, a filter lets others through, what is open does not go first, a long text or an
// unknown reason is taken, or one person fills the queue.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_has_pages_filters_and_limits() {
    let gate = first().await;
    let author = gate.account("Автор", &[Role::Manager]).await;
    let keeper = Caller::of(&gate, gate.account("Надя", &[Role::Moderator]).await).await;
    let mut made = Vec::new();
    for person in 0..2 {
        let rita = gate.account(&format!("Рита {person}"), &[Role::User]).await;
        let rita = Caller::of(&gate, rita).await;
        for number in 0..5 {
            let fox = character(&gate, &format!("Лис {person} {number}"), author).await;
            let complaint = of_character(fox, "sexual");
            made.push(id_of(&rita.post("/api/v1/complaints", complaint).await.expect(201)));
        }
        // Five at once are many; the sixth waits.
        let next = character(&gate, &format!("Кот {person}"), author).await;
        let too_many = rita.post("/api/v1/complaints", of_character(next, "sexual")).await;
        too_many.refused(429, "too_many_requests");
        let mut long = of_character(next, "sexual");
        long["words"] = json!("я".repeat(1001));
        rita.post("/api/v1/complaints", long).await.refused(400, "body_invalid");
        let unknown = of_character(next, "boring");
        rita.post("/api/v1/complaints", unknown)
            .await
            .refused(400, "body_invalid");
    }
    let dismissed = format!("/api/v1/complaints/{}/decide", made[0]);
    keeper
        .post(&dismissed, json!({"decision": "dismissed"}))
        .await
        .expect(204);
    keeper
        .post(&format!("/api/v1/complaints/{}/take", made[1]), json!({}))
        .await
        .expect(204);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = format!("/api/v1/complaints?limit=3{after}");
        let page = keeper.get(&page).await.expect(200);
        assert_eq!(page["undecided"], 9);
        let row = |row: &Value| (row["created_at"].as_u64().unwrap(), id_of(row));
        seen.extend(page["complaints"].as_array().unwrap().iter().map(row));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    // Open ones by age, then the taken one, then the decided one.
    let ids: Vec<&String> = seen.iter().map(|(_, id)| id).collect();
    assert_eq!(ids[8..], [&made[1], &made[0]]);
    assert!(seen[..8].is_sorted(), "{seen:?}");
    let open: BTreeSet<&String> = ids[..8].iter().copied().collect();
    assert_eq!(open, made[2..].iter().collect());
    for (state, count) in [("open", 8), ("taken", 1), ("decided", 1)] {
        let page = keeper
            .get(&format!("/api/v1/complaints?state={state}"))
            .await
            .expect(200);
        assert_eq!(page["complaints"].as_array().unwrap().len(), count, "{state}");
    }
    for wrong in ["state=new", "limit=0", "limit=101", "skip=1"] {
        let reply = keeper.get(&format!("/api/v1/complaints?{wrong}")).await;
        reply.refused(400, "body_invalid");
    }
    gate.stop().await;
}

// Red when: what was decided at one gateway is not so at another one, or a moderator's page there is not told of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_at_one_gateway_counts_at_the_other() {
    let (a, b) = two().await;
    let author = a.account("Автор", &[Role::Manager]).await;
    let (rita, nadya) = (
        a.account("Рита", &[Role::User]).await,
        a.account("Надя", &[Role::Moderator]).await,
    );
    let fox = character(&a, "Лис", author).await;
    let rita = Caller::of(&a, rita).await;
    let keeper = Caller::of(&a, nadya).await;
    let at_b = keeper.at(&b);
    let (mut keepers_page, mut ritas_page) = (at_b.socket(&b).await, rita.socket(&a).await);
    let made = rita.post("/api/v1/complaints", of_character(fox, "hateful")).await;
    let path = format!("/api/v1/complaints/{}", id_of(&made.expect(201)));
    keepers_page.wait_for("complaints").await;
    let within = Duration::from_secs(5);
    let text = "Хитрый\n\nПривет!";
    until("the complaint can be read at the other gateway", within, || async {
        at_b.get(&path).await.json()["excerpt"] == text
    })
    .await;
    let decision = json!({"decision": "character_blocked"});
    let mut at_a = keeper.socket(&a).await;
    at_b.post(&format!("{path}/decide"), decision).await.expect(204);
    at_a.wait_for("complaints").await;
    // What moderators hear, nobody else does.
    ritas_page
        .send(json!({"type": "open", "session_id": fox.to_string()}))
        .await;
    let heard = ritas_page.collect_until("error").await;
    assert!(heard.iter().all(|frame| frame["type"] != "complaints"), "{heard:?}");
    until("the decision is known at the first gateway", within, || async {
        let mine = rita.get("/api/v1/complaints/mine").await.json();
        let offered = rita.get("/api/v1/characters").await.json();
        mine["complaints"][0]["decision"] == "character_blocked" && !offered.to_string().contains(&fox.to_string())
    })
    .await;
    a.stop().await;
    b.stop().await;
}

/// A complaint that was decided so many days ago, or not yet.
fn old_complaint(person: ContentId, character: ContentId, days: Option<u64>) -> Complaint {
    let ago = |days: u64| Timestamp(Timestamp::now().0 - days * 24 * 60 * 60 * 1000);
    let decided = days.map(|days| Decided {
        id: EntryId::new(ago(days), 1),
        decision: Decision::Dismissed,
        by: person,
    });
    Complaint {
        account: person,
        character,
        author: None,
        answer: None,
        reason: ComplaintReason::Other,
        words: "Это опасно.".into(),
        name: "Лис".into(),
        excerpt: ANSWER.into(),
        created: ago(40),
        taken: None,
        decisions: decided.into_iter().collect(),
    }
}

// Red when: what a complaint copied can be read long after the decision, goes too early or undecided, or takes the decision with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_complaint_copied_goes_some_time_after_the_decision() {
    let (a, b) = two().await;
    let rita = a.account("Рита", &[Role::User]).await;
    let fox = character(&a, "Лис", rita).await;
    let mut made = Vec::new();
    for days in [Some(31), Some(29), None] {
        let complaint = old_complaint(rita, fox, days);
        made.push(a.node.store().create(complaint).await.unwrap());
    }
    let caller = Caller::of(&a, rita).await;
    for gate in [&a, &b] {
        until("its texts are gone", PATIENCE, || async {
            let read = gate.node.store().read::<Complaint>(made[0]).await;
            read.is_ok_and(|complaint| !complaint.excerpt.is_readable() && complaint.decided().is_some())
        })
        .await;
        for id in &made[1..] {
            until("the others are here", PATIENCE, || async {
                let read = gate.node.store().read::<Complaint>(*id).await;
                read.is_ok_and(|complaint| complaint.excerpt.is_readable() && complaint.words.is_readable())
            })
            .await;
        }
    }
    let mine = caller.get("/api/v1/complaints/mine").await.expect(200);
    let told = mine["complaints"].as_array().unwrap();
    let old = told.iter().find(|told| id_of(told) == made[0].to_string()).unwrap();
    assert_eq!(
        (&old["excerpt"], &old["words"], &old["decision"]),
        (&json!(""), &json!(""), &json!("dismissed"))
    );
    a.stop().await;
    b.stop().await;
}
