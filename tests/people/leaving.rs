//! One's own data: taken along, and erased for good.

use std::{io::Read, path::Path, time::Duration};

use crdt::records::{
    account::{AccountEdit, Role},
    character::Character,
    complaint::{Complaint, ComplaintReason},
    session::{Message, Session, SessionEdit},
};
use keys::Timestamp;
use reqwest::Method;
use serde_json::json;

use crate::gate::{PASSWORD, two, until};

const MARKER: &str = "маяк-который-нигде-не-останется";
const EMAIL: &str = "leaving@example.org";

/// Files under a directory in which one of the texts stands.
fn holders(directory: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, texts));
            continue;
        }
        let mut bytes = Vec::new();
        // A socket cannot be read, and a file may be gone by now.
        let Ok(mut file) = std::fs::File::open(&path) else {
            continue;
        };
        let _ = file.read_to_end(&mut bytes);
        for text in texts {
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(format!("{text:?} in {}", path.display()));
            }
        }
    }
    found
}

// Red when: the download lacks something, an erased account signs in, a node has no receipt, or what was written stands on a disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_takes_everything_along_and_is_erased_everywhere() {
    let (a, b) = two().await;
    let id = a.account("Рита", &[Role::User]).await;
    let store = a.node.store();
    store.edit(id, AccountEdit::SetEmail(Some(EMAIL.into()))).await.unwrap();
    let characters = store.list::<Character>().await.unwrap();
    let character = characters.first().unwrap().0;
    let chat = store
        .create(Session::new(id, character, Timestamp::now()))
        .await
        .unwrap();
    let message = Message::from_person(MARKER, "outbox-1", &chat, None, Timestamp::now());
    store.edit(chat, SessionEdit::PutMessage(message)).await.unwrap();
    let complaint = Complaint {
        account: id,
        character,
        author: None,
        answer: None,
        reason: ComplaintReason::Other,
        words: MARKER.into(),
        name: MARKER.into(),
        excerpt: MARKER.into(),
        created: Timestamp::now(),
        taken: None,
        decisions: Vec::new(),
    };
    store.create(complaint).await.unwrap();
    let mut browser = a.browser();
    let login = json!({"name": "Рита", "password": PASSWORD});
    browser.post("/api/v1/sign-in", login.clone()).await.expect(200);
    let mut at_b = browser.at(&b);
    until("the chat is at the other node", Duration::from_secs(5), || {
        let mut at_b = at_b.clone();
        async move {
            at_b.get("/api/v1/sessions").await.json()["sessions"]
                .as_array()
                .is_some_and(|all| all.len() == 1)
        }
    })
    .await;
    let export = browser.get("/api/v1/account/export").await;
    assert_eq!(export.headers["content-type"], "application/zip");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(export.bytes)).unwrap();
    let mut text = String::new();
    archive
        .by_name(&format!("chats/{chat}.json"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.contains(MARKER), "{text}");
    text.clear();
    archive
        .by_name("complaints.json")
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.contains(MARKER), "{text}");
    archive
        .by_name("account.json")
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.contains(EMAIL), "{text}");
    // The control: before it is erased, the person is on both nodes and can be read there.
    at_b.get(&format!("/api/v1/sessions/{chat}")).await.expect(200);

    let wrong = json!({"password": "not the one"});
    browser
        .post("/api/v1/account/delete", wrong)
        .await
        .refused(401, "name_or_password_wrong");
    let right = json!({"password": PASSWORD});
    let deleted = browser.post("/api/v1/account/delete", right).await.expect(202);
    assert!(browser.cookies.is_empty());
    let path = format!("/api/v1/erasures/{}", deleted["erasure"].as_str().unwrap());
    until("both nodes have signed a receipt", Duration::from_secs(60), || {
        let (mut browser, path) = (browser.clone(), path.clone());
        async move {
            let reply = browser.get(&path).await.expect(200);
            reply["receipts"].as_array().unwrap().len() == 2 && reply["waiting"] == json!([])
        }
    })
    .await;
    let act = browser.get(&format!("{path}/act")).await;
    let act = String::from_utf8(act.bytes).unwrap();
    assert!(
        act.contains("Акт об уничтожении") && act.matches("\n- ").count() == 2,
        "{act}"
    );
    until("nobody is signed in as the person", Duration::from_secs(2), || {
        let mut at_b = at_b.clone();
        async move { at_b.get("/api/v1/me").await.outcome() == (401, "not_signed_in".into()) }
    })
    .await;
    for gate in [&a, &b] {
        gate.browser()
            .post("/api/v1/sign-in", login.clone())
            .await
            .refused(401, "name_or_password_wrong");
        let forgotten = gate.browser().send(Method::GET, &path, None, &[]).await;
        forgotten.expect(200);
        assert_eq!(holders(gate.data(), &[MARKER, EMAIL]), Vec::<String>::new());
        assert_eq!(gate.node.store().list::<Complaint>().await.unwrap(), []);
    }
    a.stop().await;
    b.stop().await;
}
