//! The door: encryption, what is refused without it, and which device leaves when a sixth one comes.

use std::{fs, net::SocketAddr, time::Duration};

use crdt::records::{
    EntryId,
    account::{AccountEdit, Device, Role},
};
use keys::{
    ContentId, Timestamp,
    identity::random_bytes,
    limits::ACCESS_TOKEN_MILLISECONDS,
    token::{self, AccessToken},
};
use node::node::StartError;
use serde_json::json;
use tests::client::Client;

use crate::gate::{Gate, PASSWORD, first, first_with, two, until};

const MINUTE: u64 = 60 * 1000;

// Red when: with a certificate people are not told to stay with TLS, or their cookies travel without it.
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_cookies_are_secure_and_browsers_are_told_to_stay() {
    let gate = first_with(|config, directory| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| directory.join(name));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.key_pair.serialize_pem()).unwrap();
        (config.gateway.tls_certificate, config.gateway.tls_key) = (Some(certificate), Some(key));
    });
    let gate = gate.await.unwrap();
    gate.account("Рита", &[Role::User]).await;
    let http = reqwest::Client::builder()
        .danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let login = json!({"name": "Рита", "password": PASSWORD});
    let request = http.post(format!("https://{}/api/v1/sign-in", gate.http));
    let answer = request
        .header("content-type", "application/json")
        .body(login.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    assert_eq!(headers["strict-transport-security"], "max-age=31536000");
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    for cookie in cookies {
        assert!(cookie.to_str().unwrap().ends_with("; Secure"), "{cookie:?}");
    }
    gate.stop().await;
    // Without a certificate neither is said: a browser would not come back.
    let gate = first().await;
    gate.account("Рита", &[Role::User]).await;
    let answer = gate.browser().post("/api/v1/sign-in", login).await;
    assert!(!answer.headers.contains_key("strict-transport-security"));
    assert!(!answer.headers["set-cookie"].to_str().unwrap().contains("Secure"));
    gate.stop().await;
}

// Red when: a page is served in the clear beyond this machine although nobody allowed it, or is refused although somebody did.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_this_machine_a_page_in_the_clear_has_to_be_allowed() {
    let everywhere = |listen: SocketAddr| SocketAddr::from(([0, 0, 0, 0], listen.port()));
    let refused = first_with(|config, _| config.gateway.listen = everywhere(config.gateway.listen)).await;
    match refused.map(|_| ()) {
        Err(error @ StartError::PlainHttp(_)) => {
            let words = error.to_string();
            for way_out in ["tls_certificate", "127.0.0.1", "--plain-http"] {
                assert!(words.contains(way_out), "{words}");
            }
        }
        other => panic!("{other:?}"),
    }
    let half = first_with(|config, directory| config.gateway.tls_key = Some(directory.join("key.pem"))).await;
    assert!(matches!(half.map(|_| ()), Err(StartError::HalfOfTls)));
    let allowed = first_with(|config, _| {
        config.gateway.listen = everywhere(config.gateway.listen);
        config.gateway.plain_http = true;
    });
    let gate = allowed.await.unwrap();
    assert_eq!(gate.browser().get("/healthz").await.status, 200);
    gate.stop().await;
}

/// A device that was last used so many minutes ago, and its token.
async fn device(gate: &Gate, person: ContentId, minutes_ago: u64) -> (EntryId, String) {
    let now = Timestamp::now();
    let seen = Timestamp(now.0 - minutes_ago * MINUTE);
    let id = EntryId::new(seen, u128::from_le_bytes(random_bytes()));
    let device = Device {
        id,
        label: "a test".into(),
        seen,
        generation: 0,
        signed_out: false,
    };
    let edit = AccountEdit::AddDevice(device);
    gate.node.store().edit(person, edit).await.unwrap();
    let token = AccessToken {
        mesh: gate.node.mesh_id(),
        person,
        device: *id.bytes(),
        issued: now,
        expires: now.plus(ACCESS_TOKEN_MILLISECONDS),
        second_factor: None,
    };
    (id, token::issue(gate.node.key(), &token).unwrap())
}

async fn account(gate: &Gate, person: ContentId) -> Option<crdt::records::account::Account> {
    gate.node.store().read(person).await.ok()
}

/// Five devices, the first used longest ago; the sixth signs in at `at`. Says which of the five has left.
async fn who_leaves(gate: &Gate, at: &Gate, with_page: bool) -> usize {
    let name = if with_page { "Рита" } else { "Уля" };
    let person = gate.account(name, &[Role::User]).await;
    let mut devices = Vec::new();
    for minutes_ago in [25, 20, 19, 18, 17] {
        devices.push(device(gate, person, minutes_ago).await);
    }
    let patience = Duration::from_secs(10);
    let mut page = None;
    if with_page {
        let client = Client::new(gate.http).with_bearer(&devices[0].1);
        page = Some(client.socket().await);
        until("the use is known where the sixth comes", patience, || async {
            let known = account(at, person).await;
            let first = known.and_then(|known| known.devices.into_iter().find(|known| known.id == devices[0].0));
            first.is_some_and(|first| first.seen > Timestamp(Timestamp::now().0 - 2 * MINUTE))
        })
        .await;
    } else {
        until("all five are known where the sixth comes", patience, || async {
            account(at, person)
                .await
                .is_some_and(|known| known.live_devices().len() == 5)
        })
        .await;
    }
    let login = json!({"name": name, "password": PASSWORD});
    until("the sixth signs in", patience, || {
        let (mut browser, login) = (at.browser(), login.clone());
        async move { browser.post("/api/v1/sign-in", login).await.status == 200 }
    })
    .await;
    let known = account(at, person).await.unwrap();
    let live: Vec<EntryId> = known.live_devices().iter().map(|device| device.id).collect();
    let left: Vec<usize> = (0..5).filter(|place| !live.contains(&devices[*place].0)).collect();
    assert_eq!((live.len(), left.len()), (5, 1), "{left:?}");
    drop(page);
    left[0]
}

// Red when: a device with an open page leaves before one that is not used, at this gateway or at another.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_keeps_its_device_signed_in_when_a_sixth_comes() {
    let (a, b) = two().await;
    assert_eq!(who_leaves(&a, &b, true).await, 1);
    assert_eq!(
        who_leaves(&a, &b, false).await,
        0,
        "without a page the longest unused leaves"
    );
    a.stop().await;
    b.stop().await;
}

// Red when: at the same gateway only the notes in the account count, which are minutes old.
#[tokio::test(flavor = "multi_thread")]
async fn at_its_own_gateway_an_open_page_counts_at_once() {
    let gate = first().await;
    for (name, with_page) in [("Рита", true), ("Уля", false)] {
        let person = gate.account(name, &[Role::User]).await;
        let mut devices = Vec::new();
        // So lately that no use is noted for the open page.
        for minutes_ago in [5, 4, 3, 2, 1] {
            devices.push(device(&gate, person, minutes_ago).await);
        }
        let page = if with_page {
            Some(Client::new(gate.http).with_bearer(&devices[0].1).socket().await)
        } else {
            None
        };
        let login = json!({"name": name, "password": PASSWORD});
        gate.browser().post("/api/v1/sign-in", login).await.expect(200);
        let known = account(&gate, person).await.unwrap();
        let left = devices
            .iter()
            .position(|(id, _)| !known.live_devices().iter().any(|live| live.id == *id));
        assert_eq!(left, Some(usize::from(with_page)));
        drop(page);
    }
    gate.stop().await;
}
