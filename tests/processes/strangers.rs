//! Processes without an invite, and with one that is no good, get nothing.

use std::fs;

use tests::process::{NodeProcess, error_text, starling};

/// A node of another mesh that knows B's address and id: the most that someone without an invite can have.
fn stranger(b: &NodeProcess) -> NodeProcess {
    let stranger = NodeProcess::init("stranger", "none");
    let id = b.status().unwrap()["node_id"].as_str().unwrap().to_owned();
    let path = stranger.path().join("starling.toml");
    let config = fs::read_to_string(&path).unwrap();
    let with_b = config.replace("bootstrap = []", &format!("bootstrap = [\"{id}@{}\"]", b.mesh));
    assert_ne!(config, with_b);
    fs::write(&path, with_b).unwrap();
    stranger
}

#[test]
fn a_process_without_an_invite_gets_no_gossip_and_opens_no_stream() {
    let mut b = NodeProcess::init("B", "none");
    b.start();
    let mut member = NodeProcess::join(&b.invite(&[]), "member", "none").unwrap();
    member.start();
    let mut stranger = stranger(&b);
    stranger.start();
    b.wait_for_status("B has refused the stranger", |status| {
        status["mesh"]["strangers_refused"].as_u64() >= Some(1)
    });
    let seen = stranger.wait_for_status("the stranger was told", |status| {
        status["mesh"]["refused_by_others"].as_u64() >= Some(1)
    });
    // The only stream it may open is the one on which it was refused.
    assert_eq!(seen["mesh"]["gossip_received"], 0, "{seen}");
    assert_eq!(
        seen["mesh"]["streams_opened"], seen["mesh"]["refused_by_others"],
        "{seen}"
    );
    assert_eq!(seen["mesh"]["streams_accepted"], 0, "{seen}");
    assert_eq!(seen["members"].as_array().unwrap().len(), 1, "it learnt of no member");
    assert_ne!(
        seen["root"],
        b.status().unwrap()["root"],
        "it got none of the mesh's memory"
    );
    let at_b = b.status().unwrap();
    assert!(
        at_b["members"]
            .as_array()
            .unwrap()
            .iter()
            .all(|member| member["name"] != "stranger"),
        "{at_b}"
    );
    // The control: the member that came with an invite has all of it.
    let root = at_b["root"].clone();
    let served = member.wait_for_status("the member holds what B holds", |status| status["root"] == root);
    assert!(served["mesh"]["streams_opened"].as_u64() > Some(0));
}

#[test]
fn expired_used_and_damaged_invites_are_refused_in_words_and_nothing_is_made() {
    let mut b = NodeProcess::init("B", "none");
    b.start();
    let invite = b.invite(&[]);
    let _first = NodeProcess::join(&invite, "first", "none").unwrap();
    let refused = |invite: &str| error_text(&NodeProcess::join(invite, "late", "none").unwrap_err());
    assert!(refused(&invite).contains("used as often as it may"));
    assert!(refused(&invite[..100]).contains("damaged"));
    assert!(refused("not an invite").contains("this is not an invite"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node");
    assert!(!starling(&path, ["join", &invite]).status.success());
    assert!(!path.exists(), "a refused join leaves nothing behind");

    // A clock that says the invite is over: the member judges, not the newcomer.
    let root = keys::NodeKey::load(&b.path().join("root.key")).unwrap();
    let status = b.status().unwrap();
    let id = |name: &str| status[name].as_str().unwrap().to_owned();
    let mesh = keys::ContentId::parse(&id("mesh_id")).unwrap();
    let member = keys::NodeId::parse(&id("node_id")).unwrap();
    let over = keys::Timestamp::now();
    let terms = keys::invite::Terms::new(keys::membership::Roles::NODE, 1, over);
    let expired = keys::invite::Invite::issue(&root, mesh, member, vec![b.mesh], [7; 32], terms)
        .unwrap()
        .to_text();
    while keys::Timestamp::now() <= over {
        std::thread::yield_now();
    }
    assert!(refused(&expired).contains("expired"));
    assert!(
        b.status().unwrap()["members"].as_array().unwrap().len() == 2,
        "only the first one came in"
    );
}
