//! Who belongs to a mesh, with real processes: a revoked node is out everywhere within two seconds and stays out after everyone has
//! restarted; invites that are no good; an invite used on both sides of a split; operators; leaving.

use std::{fs, time::Instant};

use keys::{
    ContentId, NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::Roles,
};
use serde_json::Value;
use tests::process::{NodeProcess, error_text, starling};

/// From the command until no member has a link with the node any more.
const REVOKED_SECONDS: f64 = 2.0;

fn said(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", error_text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &std::process::Output) -> String {
    assert!(!output.status.success(), "it should have been refused");
    error_text(output)
}

fn joined(at: &NodeProcess, name: &str) -> NodeProcess {
    let mut node = NodeProcess::join(&at.invite(&[]), name, "none").unwrap_or_else(|output| panic!("{output:?}"));
    node.start();
    node
}

fn names(status: &Value, list: &str) -> Vec<String> {
    let members = status[list].as_array().unwrap().iter();
    members
        .map(|member| member["name"].as_str().unwrap().to_owned())
        .collect()
}

fn state<'a>(status: &'a Value, name: &str) -> &'a str {
    let mut members = status["members"].as_array().unwrap().iter();
    let member = members.find(|member| member["name"] == name);
    member.map_or("no member", |member| member["state"].as_str().unwrap())
}

fn why(status: &Value, name: &str) -> String {
    let mut out = status["former_members"].as_array().unwrap().iter();
    let former = out.find(|former| former["name"] == name);
    former.map_or_else(String::new, |former| former["why"].as_str().unwrap().to_owned())
}

fn id(node: &NodeProcess, field: &str) -> String {
    node.status().unwrap()[field].as_str().unwrap().to_owned()
}

fn restart(node: &mut NodeProcess) {
    let (status, _) = node.terminate();
    assert!(status.success());
    node.start();
}

/// Two members that are linked with each other.
fn two() -> (NodeProcess, NodeProcess) {
    let mut first = NodeProcess::init("first", "none");
    first.start();
    let second = joined(&first, "second");
    first.wait_for_status("they are linked", |status| state(status, "second") == "connected");
    (first, second)
}

/// Two members and one that will be revoked, all linked with each other.
fn three() -> (NodeProcess, NodeProcess, NodeProcess) {
    let mut first = NodeProcess::init("first", "none");
    first.start();
    let mut second = joined(&first, "second");
    let mut bad = joined(&first, "bad");
    for (node, others) in [
        (&mut first, ["second", "bad"]),
        (&mut second, ["first", "bad"]),
        (&mut bad, ["first", "second"]),
    ] {
        node.wait_for_status("all are linked", |status| {
            others.iter().all(|other| state(status, other) == "connected")
        });
    }
    (first, second, bad)
}

#[test]
fn two_processes_with_one_key_are_told_to_everybody() {
    let (mut first, mut second, mut third) = three();
    let is_doubled = |status: &Value| {
        let mut members = status["members"].as_array().unwrap().iter();
        let member = members.find(|member| member["name"] == "bad").unwrap();
        member["doubled"] == true
    };
    // A node that is started again is no second one.
    third.kill();
    third.start();
    first.wait_for_status("it is back", |status| state(status, "bad") == "connected");
    assert!(!is_doubled(&first.status().unwrap()));
    let mut copy = NodeProcess::copy(&third);
    copy.start();
    for node in [&mut first, &mut second, &mut third, &mut copy] {
        node.wait_for_status("everybody knows of it", is_doubled);
    }
    let table = said(&starling(&first.path(), ["members"]));
    assert!(table.contains("TWO PROCESSES RUN WITH ITS KEY"), "{table}");
    let checked = starling(&third.path(), ["doctor"]);
    let words = String::from_utf8_lossy(&checked.stdout);
    assert!(
        !checked.status.success() && words.contains("MEND  keys: this node: TWO PROCESSES"),
        "{words}"
    );
    assert!(third.log().contains("another process runs with this node's key"));
}

#[test]
fn a_revoked_node_is_out_everywhere_in_two_seconds_and_stays_out_after_everyone_has_restarted() {
    let (mut first, mut second, mut bad) = three();
    // What a hostile program would start with: a membership that knows nothing of the revocation.
    let membership = bad.path().join("membership");
    let before = fs::read(&membership).unwrap();
    let opened = |node: &NodeProcess| node.status().unwrap()["mesh"]["streams_opened"].as_u64().unwrap();

    let began = Instant::now();
    let words = said(&starling(
        &first.path(),
        ["revoke", "bad", "--reason", "stolen", "--yes"],
    ));
    for node in [&mut first, &mut second] {
        node.wait_for_status("the node is out here, too", |status| {
            state(status, "bad") == "no member"
        });
    }
    bad.wait_for_status("it has lost every link", |status| {
        ["first", "second"]
            .iter()
            .all(|other| state(status, other) != "connected")
    });
    let took = began.elapsed().as_secs_f64();
    println!(
        r#"{{"bench":"mesh","name":"starling revoke until out at all, 3 processes","value":{took:.3},"unit":"s","goal":2,"better":"lower","rival":null,"mock":false}}"#
    );
    assert!(took < REVOKED_SECONDS, "{took} s");
    assert!(
        words.contains("Revoked: \"bad\"") && words.contains("1 connected node(s)"),
        "{words}"
    );
    for node in [&first, &second] {
        assert_eq!(why(&node.status().unwrap(), "bad"), "revoked by first today: stolen");
        let members = said(&starling(&node.path(), ["members"]));
        assert!(
            members.contains("out\n  bad") && members.contains("certificate for 29 day(s)"),
            "{members}"
        );
    }
    // It may ask as often as it likes.
    let at_most = opened(&bad);
    for node in [&mut first, &mut second, &mut bad] {
        let (ended, _) = node.terminate();
        assert!(ended.success());
    }
    // Told of it, the node itself does not start; with what it knew before it does, and every member refuses it.
    fs::write(&membership, &before).unwrap();
    for node in [&mut first, &mut second, &mut bad] {
        node.start();
    }
    let seen = bad.wait_for_status("it was told that it is no member", |status| {
        status["mesh"]["refused_by_others"].as_u64() >= Some(1)
    });
    assert_eq!(seen["mesh"]["gossip_received"], 0, "{seen}");
    assert!(at_most > 0 && seen["mesh"]["streams_accepted"] == 0, "{seen}");
    for node in [&mut first, &mut second] {
        let status = node.wait_for_status("the members are linked again", |status| {
            ["first", "second"]
                .iter()
                .all(|name| state(status, name) != "unreachable")
        });
        assert_eq!(state(&status, "bad"), "no member");
        assert_eq!(why(&status, "bad"), "revoked by first today: stolen");
    }
    assert!(bad.log().contains("was revoked"), "the refusal says why: {}", bad.log());
    // The refusal came with the signed revocation: the node believes it, says it, and does not start again.
    let told = "a member of its mesh no longer: revoked by first today: stolen";
    bad.wait_for_status("it knows that it is out", |status| status["out"].is_string());
    let members = said(&starling(&bad.path(), ["members"]));
    assert!(members.contains(told), "{members}");
    let doctor = starling(&bad.path(), ["doctor"]);
    let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && words.contains(told), "{words}");
    assert!(
        words.contains("With a new invite") && !words.contains("mesh port"),
        "{words}"
    );
    assert!(bad.log().contains("revoked by first today: stolen"), "{}", bad.log());
    let (ended, _) = bad.terminate();
    assert!(ended.success());
    assert_ne!(fs::read(&membership).unwrap(), before);
    let words = refused(&starling(&bad.path(), ["run"]));
    assert!(words.contains(told), "{words}");
}

#[test]
fn invites_that_are_no_good_are_refused_in_words() {
    let mut first = NodeProcess::init("first", "none");
    first.start();
    let words = |invite: &str| error_text(&NodeProcess::join(invite, "late", "none").unwrap_err());
    let root = NodeKey::load(&first.path().join("root.key")).unwrap();
    let (mesh, member) = (
        ContentId::parse(&id(&first, "mesh_id")).unwrap(),
        NodeId::parse(&id(&first, "node_id")).unwrap(),
    );
    let made = |key: &NodeKey, mesh: ContentId| {
        let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
        let invite = Invite::issue(key, mesh, member, vec![first.mesh], random_bytes(), terms);
        invite.unwrap().to_text()
    };
    // Signed by a key that is not the root's; for another mesh at this member; and the good one, as the control.
    assert!(words(&made(&NodeKey::generate(), mesh)).contains("signature"));
    assert!(words(&made(&root, ContentId([7; 32]))).contains("another mesh"));
    let good = made(&root, mesh);
    let _guest = NodeProcess::join(&good, "guest", "none").unwrap();
    assert!(words(&good).contains("used as often as it may"));
    // A changed letter.
    let mut damaged = good.clone();
    damaged.replace_range(60..61, if &good[60..61] == "a" { "b" } else { "a" });
    assert!(words(&damaged).contains("damaged"));
    // One that was revoked before it was used, here and at a member that heard of it.
    let mut second = joined(&first, "second");
    second.wait_for_status("they are linked", |status| state(status, "first") == "connected");
    let leaked = first.invite(&[]);
    said(&starling(
        &first.path(),
        ["revoke", &leaked, "--reason", "pasted into a chat", "--yes"],
    ));
    assert!(words(&leaked).contains("it was revoked"));
    // Whoever has no right says so, and nothing happens.
    let denied = refused(&starling(&second.path(), ["revoke", "guest", "--yes"]));
    assert!(denied.contains("no right") && denied.contains("--root-key"), "{denied}");
    let unknown = refused(&starling(&first.path(), ["revoke", "nobody", "--yes"]));
    assert!(unknown.contains("no member is called \"nobody\""), "{unknown}");
    let unasked = refused(&starling(&first.path(), ["revoke", "guest"]));
    assert!(
        unasked.contains("Say --yes"),
        "without a terminal nobody is asked: {unasked}"
    );
    let unasked = refused(&starling(&first.path(), ["leave"]));
    assert!(unasked.contains("nothing was changed. Say --yes"), "{unasked}");
    assert_eq!(names(&first.status().unwrap(), "members").len(), 3);
}

/// Cuts a node off from every member it has been told of, as a split would: it starts without an address to dial.
fn split_off(node: &mut NodeProcess) -> String {
    node.terminate();
    let path = node.path().join("starling.toml");
    let config = fs::read_to_string(&path).unwrap();
    let line = config
        .lines()
        .find(|line| line.starts_with("bootstrap"))
        .unwrap()
        .to_owned();
    fs::write(&path, config.replace(&line, "bootstrap = []")).unwrap();
    // Nor does it remember where it met others; the file is there when that has been written.
    let _ = fs::remove_file(node.path().join("neighbours"));
    node.start();
    line
}

#[test]
fn an_invite_used_on_both_sides_of_a_split_lets_one_node_in_and_puts_the_other_out() {
    let (mut first, mut second) = two();
    first.terminate();
    let bootstrap = split_off(&mut second);
    first.start();
    let root = NodeKey::load(&first.path().join("root.key")).unwrap();
    let mesh = ContentId::parse(&id(&first, "mesh_id")).unwrap();
    let (seed, expires) = (random_bytes(), Timestamp::now().plus(600_000));
    let mut twins = [(&first, "left"), (&second, "right")].map(|(at, name)| {
        let member = NodeId::parse(&id(at, "node_id")).unwrap();
        let terms = Terms::new(Roles::NODE, 1, expires);
        let invite = Invite::issue(&root, mesh, member, vec![at.mesh], seed, terms).unwrap();
        let mut node = NodeProcess::join(&invite.to_text(), name, "none").unwrap();
        node.start();
        node
    });
    assert_eq!(names(&first.status().unwrap(), "members").len(), 3);
    assert_eq!(names(&second.status().unwrap(), "members").len(), 3);
    // The halves meet again.
    second.terminate();
    let path = second.path().join("starling.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("bootstrap = []", &bootstrap)).unwrap();
    second.start();
    let one_is_out = |status: &Value| names(status, "members").len() == 3 && names(status, "former_members").len() == 1;
    let at_first = first.wait_for_status("one is out at the first", one_is_out);
    let at_second = second.wait_for_status("one is out at the second", one_is_out);
    let out = names(&at_first, "former_members");
    assert_eq!(out, names(&at_second, "former_members"), "both keep the same one");
    let (loser, winner) = if out[0] == "left" { (0, "right") } else { (1, "left") };
    assert!(
        why(&at_first, &out[0]).contains(&format!("{winner} keeps it")),
        "{at_first}"
    );
    twins[loser].wait_for_status("the loser has lost its links", |status| {
        ["first", "second"]
            .iter()
            .all(|name| state(status, name) != "connected")
    });
}

#[test]
fn an_operator_invites_and_revokes_without_the_root_key_until_the_root_takes_that_back() {
    let (mut first, mut second, mut third) = three();
    let denied = refused(&starling(&second.path(), ["invite"]));
    assert!(denied.contains("may not invite"), "{denied}");
    // The root key goes to a safe place; the first node operates on without it.
    let safe = tempfile::tempdir().unwrap();
    let key = safe.path().join("root.key");
    fs::rename(first.path().join("root.key"), &key).unwrap();
    let by_first = first.invite(&[]);
    let read = keys::invite::Invite::parse(&by_first).unwrap();
    assert!(read.operator().is_some() && by_first.len() <= 400);
    assert!(!read.others().is_empty(), "it knows the way to the others");
    let mut guest = NodeProcess::join(&by_first, "guest", "none").unwrap();
    guest.start();
    let denied = refused(&starling(&first.path(), ["operator", "second"]));
    assert!(denied.contains("--root-key"), "{denied}");
    let key = key.to_str().unwrap();
    said(&starling(&first.path(), ["operator", "second", "--root-key", key]));
    second.wait_for_status("it is an operator, whose certificate does not end", |status| {
        status["members"]
            .as_array()
            .unwrap()
            .iter()
            .any(|member| member["name"] == "second" && member["certificate_days"].is_null())
    });
    let mut fourth = joined(&second, "fourth");
    fourth.wait_for_status("it is linked with the first, too", |status| {
        state(status, "first") == "connected"
    });
    said(&starling(
        &second.path(),
        ["revoke", "bad", "--reason", "noisy", "--yes"],
    ));
    let status = first.wait_for_status("the first has heard of it", |status| {
        state(status, "bad") == "no member"
    });
    assert_eq!(why(&status, "bad"), "revoked by second today: noisy");
    // Operators do not put each other out.
    let denied = refused(&starling(&second.path(), ["revoke", "first", "--yes"]));
    assert!(denied.contains("only the root"), "{denied}");
    // The root takes it back: who came in by it stays, who was put out stays out, and it invites no more.
    let taken = [
        "revoke",
        "second",
        "--operator",
        "--root-key",
        key,
        "--reason",
        "left the team",
        "--yes",
    ];
    let words = said(&starling(&first.path(), taken));
    assert!(words.contains("1 node(s) that came in by it stay members"), "{words}");
    second.wait_for_status("it is no operator any more", |status| {
        status["members"]
            .as_array()
            .unwrap()
            .iter()
            .any(|member| member["name"] == "second" && member["certificate_days"].is_i64())
    });
    let status = first.status().unwrap();
    assert_ne!(state(&status, "fourth"), "no member");
    assert_eq!(why(&status, "bad"), "revoked by the root today: noisy");
    assert!(refused(&starling(&second.path(), ["invite"])).contains("may not invite"));
    third.kill();
}

#[test]
fn a_node_is_found_by_its_id_whatever_others_are_called() {
    let (mut first, mut second) = two();
    let short = id(&second, "node_id")[..8].to_owned();
    let namesake = joined(&first, &short);
    said(&starling(&first.path(), ["revoke", &short, "--yes"]));
    let status = first.wait_for_status("the one of this id is out", |status| {
        state(status, "second") == "no member"
    });
    assert!(names(&status, "members").contains(&short), "{status}");
    drop(namesake);
    second.kill();
}

#[test]
fn a_node_that_leaves_is_gone_everywhere_and_does_not_start_again() {
    let (mut first, mut second, mut third) = three();
    let words = said(&starling(&third.path(), ["leave", "--reason", "given away", "--yes"]));
    assert!(
        words.contains("has left its mesh") && !words.contains("root.key"),
        "{words}"
    );
    for node in [&mut first, &mut second] {
        let status = node.wait_for_status("it is gone", |status| state(status, "bad") == "no member");
        assert_eq!(why(&status, "bad"), "left today: given away");
    }
    third.terminate();
    let words = refused(&starling(&third.path(), ["run"]));
    assert!(
        words.contains("no longer: left today: given away") && words.contains("new invite"),
        "{words}"
    );
    restart(&mut first);
    assert_eq!(why(&first.status().unwrap(), "bad"), "left today: given away");
    let words = said(&starling(&first.path(), ["revoke", "bad", "--yes"]));
    assert!(
        words.starts_with("Nothing to do") && words.contains("left today"),
        "{words}"
    );
    // A node that is off is revoked at another member; it hears of it from there.
    second.terminate();
    let denied = refused(&starling(&second.path(), ["leave", "--yes"]));
    assert!(denied.contains("no node is running"), "{denied}");
    // The only one that invites is told so, and that it holds the root key; the third one, which could not, was not.
    let left = starling(&first.path(), ["leave", "--yes"]);
    let words = String::from_utf8_lossy(&left.stdout).into_owned() + &error_text(&left);
    assert!(
        words.contains("make another node an operator first") && words.contains("root.key"),
        "{words}"
    );
}
