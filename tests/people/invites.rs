//! Machines are invited on the page.

use crdt::records::account::Role;
use keys::{
    NodeId,
    membership::{Roles, Roster},
};
use node::{commands::join, data_directory::DataDirectory};
use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Gate, Reply, first, new_node, two};

async fn post(gate: &Gate, token: &str, path: &str, body: Value) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    gate.browser().send(Method::POST, path, Some(body), &headers).await
}

fn one(roles: &[&str]) -> Value {
    json!({"uses": 2, "minutes": 60, "roles": roles, "residency": null})
}

/// A machine joins; its id, or what it was told.
async fn join(invite: &str) -> Result<NodeId, String> {
    let invite = invite.to_owned();
    // Joining has a runtime of its own, as on the command line.
    let joining = tokio::task::spawn_blocking(move || {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node");
        join::run(&path, &invite, &new_node("machine")).map_err(|error| error.to_string())?;
        Ok(DataDirectory::open(&path).unwrap().key().unwrap().id())
    });
    joining.await.unwrap()
}

fn roster(gate: &Gate) -> std::sync::Arc<Roster> {
    gate.node.mesh().roster()
}

// Red when: an invite made on the page lets nobody in, or more than it says, or is good after it was taken back.
#[tokio::test(flavor = "multi_thread")]
async fn an_invite_of_the_page_brings_machines_in_until_it_is_taken_back() {
    let gate = first().await;
    let administrator = gate.account("Вера", &[Role::Administrator]).await;
    let without_code = gate.device(administrator, false).await;
    let refused = post(&gate, &without_code, "/api/v1/invites", one(&["worker"])).await;
    refused.refused(403, "second_factor_required");
    let token = gate.device(administrator, true).await;
    let made = post(&gate, &token, "/api/v1/invites", one(&["worker"]))
        .await
        .expect(201);
    let (id, invite) = (made["id"].as_str().unwrap(), made["invite"].as_str().unwrap());
    let machine = join(invite).await.unwrap();
    assert_eq!(roster(&gate).get(&machine).unwrap().roles, Roles::WORKER);
    let revoke = |invite: &str| json!({"invite": invite, "reason": "a test"});
    post(&gate, &token, "/api/v1/invites/revoke", revoke("starling1nonsense"))
        .await
        .refused(400, "invite_invalid");
    // A hundred letters of two bytes are as much as a node shows in its line; one more is nobody's fault but the reason's.
    for reason in ["ы".repeat(101), "two\nlines".into()] {
        let revoke = json!({"invite": id, "reason": reason});
        post(&gate, &token, "/api/v1/invites/revoke", revoke)
            .await
            .refused(400, "body_invalid");
    }
    let bearer = format!("Bearer {token}");
    let listed = async || {
        let headers = [("authorization", bearer.as_str())];
        let listed = gate
            .browser()
            .send(Method::GET, "/api/v1/invites", None, &headers)
            .await;
        let listed = listed.expect(200)["invites"].as_array().unwrap().clone();
        listed.into_iter().find(|invite| invite["id"] == made["id"]).unwrap()
    };
    let before = listed().await;
    assert_eq!(
        (
            &before["state"],
            &before["uses"],
            &before["roles"],
            &before["expires_at"]
        ),
        (&json!("open"), &json!(2), &json!("worker"), &made["expires_at"])
    );
    assert_eq!(
        (
            &before["used_by"][0]["id"],
            &before["used_by"][0]["name"],
            &before["made_by"]["name"]
        ),
        (&json!(machine.to_string()), &json!("machine"), &json!("Вера"))
    );
    let taken_back = post(&gate, &token, "/api/v1/invites/revoke", revoke(id)).await;
    taken_back.expect(204);
    assert!(roster(&gate).get(&machine).is_some(), "whoever came in by it stays");
    let after = listed().await;
    assert!(after["state"] == "revoked" && after["revoked_at"].is_u64(), "{after}");
    join(invite).await.unwrap_err();
    // By its text, too.
    let made = post(&gate, &token, "/api/v1/invites", one(&["worker"]))
        .await
        .expect(201);
    let invite = made["invite"].as_str().unwrap();
    post(&gate, &token, "/api/v1/invites/revoke", revoke(invite))
        .await
        .expect(204);
    join(invite).await.unwrap_err();
    let (mut browser, headers) = (gate.browser(), [("authorization", bearer.as_str())]);
    let acts = browser.send(Method::GET, "/api/v1/audit", None, &headers).await;
    let acts = acts.expect(200).to_string();
    for act in ["invite.make", "invite.revoke", id] {
        assert!(acts.contains(act), "{act} is in no log: {acts}");
    }
    assert!(!acts.contains(invite), "the log holds no key");
    gate.stop().await;
}

// Red when: a node without the right says that its invites are good, or an operator is made on the page.
#[tokio::test(flavor = "multi_thread")]
async fn only_an_operators_node_invites_and_no_page_makes_operators() {
    let (a, b) = two().await;
    for (gate, name) in [(&a, "Вера"), (&b, "Надя")] {
        let administrator = gate.account(name, &[Role::Administrator]).await;
        let token = gate.device(administrator, true).await;
        let operator = post(gate, &token, "/api/v1/invites", one(&["worker", "operator"])).await;
        operator.refused(400, "body_invalid");
        let made = post(gate, &token, "/api/v1/invites", one(&["worker"])).await;
        if gate.http == a.http {
            made.expect(201);
        } else {
            made.refused(409, "no_operator");
        }
    }
    a.stop().await;
    b.stop().await;
}
