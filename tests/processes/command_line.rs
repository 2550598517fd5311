//! Bad input at the command line and on disk: a clear sentence, a non-zero exit, nothing overwritten.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use tests::{
    free_address::free_address,
    process::{NodeProcess, error_text, starling},
};

fn said(output: &std::process::Output) -> String {
    assert!(!output.status.success(), "it should have failed");
    let text = error_text(output);
    // What was logged until then comes before it.
    assert!(
        text.lines()
            .any(|line| line.starts_with("starling: ") || line.starts_with("error: ")),
        "{text}"
    );
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn init_on_a_node_or_on_other_files_changes_nothing() {
    let node = NodeProcess::init("B", "none");
    let before = fs::read(node.path().join("node.key")).unwrap();
    assert!(said(&starling(&node.path(), ["init"])).contains("already a node"));
    assert!(said(&starling(&node.path(), ["join", "starling1abc"])).contains("already a node"));
    assert_eq!(fs::read(node.path().join("node.key")).unwrap(), before);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    assert!(said(&starling(directory.path(), ["init"])).contains("not empty"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn commands_without_a_node_say_how_to_make_one() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    for command in ["run", "invite", "status", "members", "doctor", "backup"] {
        let text = said(&starling(&nowhere, [command]));
        assert!(
            text.contains("is not a node yet") && text.contains("starling init"),
            "{command}: {text}"
        );
    }
    let node = NodeProcess::init("B", "none");
    assert!(said(&starling(&node.path(), ["status"])).contains("no node is running"));
    for help in [
        vec!["--help"],
        vec!["init", "--help"],
        vec!["join", "--help"],
        vec!["run", "--help"],
        vec!["backup", "--help"],
        vec!["restore", "--help"],
    ] {
        let output = starling(&nowhere, help.clone());
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Example"),
            "{help:?}"
        );
    }
}

#[test]
fn what_was_said_wrong_is_named_with_what_would_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(tests::process::program())
        .arg("status")
        .env("STARLING_DATA_DIR", "")
        .output()
        .unwrap();
    assert!(said(&output).contains("STARLING_DATA_DIR"));
    let node = directory.path().join("node");
    let invite = said(&starling(&node, ["join", "hello"]));
    assert!(
        invite.contains("starling1") && invite.contains("starling invite"),
        "{invite}"
    );
    // An address kept for documents: no machine has it.
    let foreign = said(&starling(&node, ["init", "--http", "203.0.113.7:8080"]));
    assert!(foreign.contains("no address 203.0.113.7"), "{foreign}");
    assert!(!node.exists());
    let made = starling(&node, ["init", "--model", "none", "--http", "0.0.0.0:8080"]);
    let words = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success() && error_text(&made).contains("without encryption"));
    assert!(
        words.contains(&format!("starling run --data-dir {}", node.display())) && words.contains("http://0.0.0.0:8080"),
        "{words}"
    );
    let refused = said(&starling(&node, ["run"]));
    assert!(
        refused.contains("0.0.0.0:8080") && refused.contains("--plain-http") && refused.contains("tls_certificate"),
        "{refused}"
    );
    let erase = said(&starling(&node, ["erase", "--account", "Rita"]));
    assert!(erase.contains("nothing was erased. Say --yes"), "{erase}");
}

#[test]
fn a_broken_configuration_names_the_line() {
    let node = NodeProcess::init("B", "none");
    let path = node.path().join("starling.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("slots = 4", "slotz = 4")).unwrap();
    let text = said(&starling(&node.path(), ["run"]));
    let line = good.lines().position(|line| line.starts_with("slots")).unwrap() + 1;
    assert!(
        text.contains(&format!("line {line}")) && text.contains("slotz"),
        "{text}"
    );
}

#[test]
fn a_taken_port_an_unreadable_model_and_an_open_key_are_said_and_nothing_starts() {
    let node = NodeProcess::init("B", "none");
    let taken = TcpListener::bind(node.http).unwrap();
    let text = said(&starling(&node.path(), ["run"]));
    assert!(
        text.contains(&node.http.to_string()) && text.contains("already in use") && text.contains("--http"),
        "{text}"
    );
    drop(taken);
    let taken = TcpListener::bind(node.mesh).unwrap();
    let text = said(&starling(&node.path(), ["run"]));
    assert!(
        text.contains(&node.mesh.to_string()) && text.contains("--mesh-listen"),
        "{text}"
    );
    drop(taken);
    let text = said(&starling(&node.path(), ["run", "--model", "/no/such/model.gguf"]));
    assert!(
        text.contains("/no/such/model.gguf") && text.contains("cannot be read"),
        "{text}"
    );
    let no_model = node.path().join("starling.toml");
    let text = said(&starling(
        &node.path(),
        ["run".as_ref(), "--model".as_ref(), no_model.as_os_str()],
    ));
    assert!(text.contains("is not a GGUF model file"), "{text}");
    // A model cut in its middle: whole at first sight, refused by the engine.
    let whole = concat!(env!("CARGO_MANIFEST_DIR"), "/../inference/models/built-in.gguf");
    let cut = node.path().join("cut.gguf");
    fs::write(&cut, &fs::read(whole).unwrap()[..1_200_000]).unwrap();
    let text = said(&starling(
        &node.path(),
        ["run".as_ref(), "--model".as_ref(), cut.as_os_str()],
    ));
    assert!(text.contains("cut.gguf") && text.contains("cannot be used"), "{text}");
    let key = node.path().join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(said(&starling(&node.path(), ["run"])).contains("chmod 600"));
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["init", "--model", "/no/such/model.gguf"];
    assert!(said(&starling(&directory.path().join("new"), arguments)).contains("cannot be read"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_node_with_a_file_that_is_cut_or_gone_says_which_and_what_can_be_done() {
    let node = NodeProcess::init("B", "none");
    for (file, gone, cut, remedy) in [
        (
            "node.key",
            "node.key is missing",
            "does not hold 32 bytes",
            "restore the node from a backup",
        ),
        (
            "membership",
            "it is missing",
            "is damaged",
            "restore the node from a backup",
        ),
        ("starling.toml", "cannot be read", "is wrong in line", ""),
    ] {
        let path = node.path().join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..10]).unwrap();
        let text = said(&starling(&node.path(), ["run"]));
        assert!(
            text.contains(file) && text.contains(cut) && text.contains(remedy),
            "{text}"
        );
        fs::remove_file(&path).unwrap();
        let text = said(&starling(&node.path(), ["run"]));
        let remedy = if remedy.is_empty() {
            "init --data-dir DIRECTORY"
        } else {
            remedy
        };
        assert!(
            text.contains(file) && text.contains(gone) && text.contains(remedy),
            "{text}"
        );
        fs::write(&path, whole).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    // The control: the same files, put back, are a node.
    let mut node = node;
    node.start();
}

#[test]
fn a_join_that_finds_no_room_or_no_place_uses_up_no_invite() {
    let mut node = NodeProcess::init("B", "none");
    node.start();
    let invite = node.invite(&[]);
    let taken = free_address();
    let _taken = TcpListener::bind(taken).unwrap();
    let join = |directory: &str| {
        let mesh = taken.to_string();
        let arguments = ["join", &invite, "--model", "none", "--mesh-listen", &mesh];
        starling(std::path::Path::new(directory), arguments)
    };
    // Nothing can be made there, by anybody.
    assert!(said(&join("/proc/starling")).contains("/proc/starling"));
    let directory = tempfile::tempdir().unwrap();
    let joined = join(&directory.path().join("node").display().to_string());
    assert!(joined.status.success(), "{}", error_text(&joined));
    // A port that is taken may be free when the node starts: it is said, and no more.
    assert!(
        error_text(&joined).contains("in use by another program"),
        "{}",
        error_text(&joined)
    );
    // The control: now it is used up.
    let again = join(&directory.path().join("again").display().to_string());
    assert!(!again.status.success());
}

#[test]
fn a_second_process_on_one_directory_is_refused() {
    let mut node = NodeProcess::init("B", "none");
    node.start();
    assert!(
        said(&starling(&node.path(), ["run", "--http", &free_address().to_string()]))
            .contains("another starling process")
    );
    assert!(node.status().is_some(), "the first one runs on");
}

/// A disk that is full: a file system of a few hundred kilobytes, where the test may make one.
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
        .arg(directory.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let filler = directory.path().join("filler");
    // Fills what is left; the error is the point.
    let _ = fs::write(&filler, vec![0u8; 64 * 1024]);
    let text = error_text(&starling(&directory.path().join("node"), ["init", "--model", "none"]));
    let left = fs::read_dir(directory.path()).unwrap().count();
    let unmounted = std::process::Command::new("umount")
        .arg(directory.path())
        .status()
        .unwrap();
    assert!(unmounted.success());
    assert!(text.contains("No space left on device"), "{text}");
    assert_eq!(left, 1, "only the filler is there");
}

#[test]
fn a_root_key_is_written_elsewhere_from_the_beginning_and_opens_with_its_passphrase_only() {
    let directory = tempfile::tempdir().unwrap();
    let (node, root, secret) = (
        directory.path().join("node"),
        directory.path().join("root.key"),
        directory.path().join("passphrase"),
    );
    fs::write(&secret, "correct horse battery staple").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let text = |path: &std::path::Path| path.display().to_string();
    let init = [
        "init",
        "--model",
        "none",
        "--root-key",
        &text(&root),
        "--root-passphrase-file",
        &text(&secret),
    ];
    // Where it cannot be written there is no mesh either.
    fs::write(&root, "another file").unwrap();
    assert!(said(&starling(&node, init)).contains("was not overwritten"));
    assert!(!node.exists());
    fs::remove_file(&root).unwrap();
    let made = starling(&node, init);
    assert!(made.status.success(), "{}", error_text(&made));
    assert!(!node.join("root.key").exists());
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o600);
    // This node is an operator, and invites without the root.
    assert!(starling(&node, ["invite"]).status.success());
    let renew = |arguments: &[&str]| {
        let hand_over = ["rotate", "--root", "--yes", "--to"];
        let to = directory.path().join(format!("root-{}.key", arguments.len()));
        let all = hand_over.iter().map(ToString::to_string).chain([text(&to)]);
        let all: Vec<String> = all.chain(arguments.iter().map(ToString::to_string)).collect();
        starling(&node, all.iter().map(String::as_str))
    };
    assert!(said(&renew(&[])).contains("--root-key"));
    assert!(said(&renew(&["--root-key", &text(&root)])).contains("--root-passphrase-file"));
    let opened = renew(&["--root-key", &text(&root), "--root-passphrase-file", &text(&secret)]);
    assert!(opened.status.success(), "{}", error_text(&opened));
}
