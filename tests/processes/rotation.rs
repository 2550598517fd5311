//! Keys that take the place of others, with real processes: of a node, and of the root.

use std::fs;

use serde_json::Value;
use tests::process::{NodeProcess, error_text, starling};

fn said(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", error_text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn state<'a>(status: &'a Value, name: &str) -> &'a str {
    let mut members = status["members"].as_array().unwrap().iter();
    let member = members.find(|member| member["name"] == name);
    member.map_or("no member", |member| member["state"].as_str().unwrap())
}

fn id_of(status: &Value, name: &str) -> String {
    let mut members = status["members"].as_array().unwrap().iter();
    let member = members.find(|member| member["name"] == name).unwrap();
    member["node_id"].as_str().unwrap().to_owned()
}

fn why(status: &Value, id: &str) -> String {
    let mut out = status["former_members"].as_array().unwrap().iter();
    let former = out.find(|former| former["node_id"] == id);
    former.map_or_else(String::new, |former| former["why"].as_str().unwrap().to_owned())
}

#[test]
fn a_rotated_node_is_the_same_member_everywhere_and_its_old_key_is_refused() {
    let mut first = NodeProcess::init("first", "none");
    first.start();
    let mut second = NodeProcess::join(&first.invite(&[]), "second", "none").unwrap();
    second.start();
    let status = first.wait_for_status("they are linked", |status| state(status, "second") == "connected");
    let old = id_of(&status, "second");
    let links = first.wait_for_links(|links| {
        links["links"]
            .as_array()
            .unwrap()
            .iter()
            .any(|link| link["confirmed"] == true)
    });
    assert_eq!(links["members"], 2);
    let table = said(&starling(&first.path(), ["links", "--to", "second"]));
    for part in ["round trip", " ms", "quic", "first - second", "2 of 2 members"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }

    // Not while it runs.
    let refused = starling(&second.path(), ["rotate", "--yes"]);
    assert!(
        !refused.status.success() && error_text(&refused).contains("running"),
        "{refused:?}"
    );
    second.terminate();
    let (key, membership) = (second.path().join("node.key"), second.path().join("membership"));
    let (old_key, old_membership) = (fs::read(&key).unwrap(), fs::read(&membership).unwrap());
    said(&starling(&second.path(), ["rotate", "--yes"]));
    let (new_key, new_membership) = (fs::read(&key).unwrap(), fs::read(&membership).unwrap());
    assert_ne!(old_key, new_key);
    second.start();
    let status = first.wait_for_status("it is back under its new key", |status| {
        state(status, "second") == "connected" && id_of(status, "second") != old
    });
    assert!(why(&status, &old).starts_with("its key was replaced by "), "{status}");
    let new = id_of(&status, "second");

    // The old key with the old membership, as a thief of an old backup has it: refused.
    second.terminate();
    fs::write(&key, old_key).unwrap();
    fs::write(&membership, old_membership).unwrap();
    second.start();
    second.wait_for_status("it has been refused", |status| {
        status["mesh"]["refused_by_others"].as_u64() > Some(0)
    });
    assert_ne!(state(&first.status().unwrap(), "second"), "connected");
    second.kill();

    // The new key is still the member, also after the other has restarted.
    fs::write(&key, new_key).unwrap();
    fs::write(&membership, new_membership).unwrap();
    first.terminate();
    first.start();
    second.start();
    let status = first.wait_for_status("it is back again", |status| state(status, "second") == "connected");
    assert_eq!(id_of(&status, "second"), new);
}

/// Where it met others is the only way: it joined through a node that is away, and nobody else knows its new key.
#[test]
fn a_rotated_node_finds_the_mesh_when_the_node_through_which_it_joined_is_away() {
    let mut first = NodeProcess::init("first", "none");
    first.start();
    let mut second = NodeProcess::join(&first.invite(&[]), "second", "none").unwrap();
    second.start();
    let mut third = NodeProcess::join(&first.invite(&[]), "third", "none").unwrap();
    third.start();
    let file = third.path().join("neighbours");
    let (here, there) = (second.mesh.to_string(), first.mesh.to_string());
    third.wait_for_status("where it met the others is written", |_| {
        fs::read_to_string(&file).is_ok_and(|met| met.contains(&here) && met.contains(&there))
    });
    first.terminate();
    third.terminate();
    said(&starling(&third.path(), ["rotate", "--yes"]));
    // The control: without the file it stays alone.
    let met = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    third.start();
    assert!(third.log().contains("no other member can be reached yet"));
    assert_ne!(state(&third.status().unwrap(), "second"), "connected");
    third.terminate();
    fs::write(&file, met).unwrap();
    third.start();
    let status = third.wait_for_status("it is linked", |status| state(status, "second") == "connected");
    second.wait_for_status("with its new key", |other| {
        let new = status["node_id"].as_str().unwrap();
        other["members"]
            .as_array()
            .unwrap()
            .iter()
            .any(|member| member["node_id"] == new && member["state"] == "connected")
    });
}

#[test]
fn the_root_is_handed_over_to_a_key_that_a_passphrase_closes() {
    let mut first = NodeProcess::init("first", "none");
    first.start();
    let mut second = NodeProcess::join(&first.invite(&[]), "second", "none").unwrap();
    second.start();
    first.wait_for_status("they are linked", |status| state(status, "second") == "connected");
    let safe = tempfile::tempdir().unwrap();
    let (passphrase, key) = (safe.path().join("passphrase"), safe.path().join("root-2.key"));
    let (passphrase_text, key_text) = (passphrase.to_str().unwrap(), key.to_str().unwrap());
    fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    fs::set_permissions(&passphrase, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let handing = [
        "rotate",
        "--root",
        "--to",
        key_text,
        "--new-passphrase-file",
        passphrase_text,
        "--yes",
    ];
    let words = said(&starling(&first.path(), handing));
    assert!(words.contains("1 connected node(s)"), "{words}");
    // The old root, which still lies in the data directory, makes no operators any more; the new one does, with its passphrase.
    let refused = starling(&first.path(), ["operator", "second"]);
    assert!(
        !refused.status.success() && error_text(&refused).contains("no right"),
        "{refused:?}"
    );
    let closed = starling(&first.path(), ["operator", "second", "--root-key", key_text]);
    assert!(
        !closed.status.success() && error_text(&closed).contains("passphrase"),
        "{closed:?}"
    );
    let open = [
        "operator",
        "second",
        "--root-key",
        key_text,
        "--root-passphrase-file",
        passphrase_text,
    ];
    said(&starling(&first.path(), open));
    second.wait_for_status("the other node follows the new root", |status| {
        let mut members = status["members"].as_array().unwrap().iter();
        members.any(|member| member["name"] == "second" && member["roles"].as_str().unwrap().contains("operator"))
    });
    // The operators go on inviting, the one of before and the new one; the old root key beside the first is not used any more.
    for (node, name) in [(&first, "third"), (&second, "fourth")] {
        let joined = NodeProcess::join(&node.invite(&[]), name, "none");
        assert!(joined.is_ok(), "{:?}", joined.err());
    }
}
