//! Every command that README.md shows is run here, as it stands there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

/// A first `./x run` builds the program, on a slow machine in a quarter of an hour.
const BUILD_PATIENCE: Duration = Duration::from_secs(40 * 60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The commands of README.md: every line of its `sh` blocks.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    blocks
        .flat_map(str::lines)
        .map(str::to_owned)
        .filter(|line| !line.trim().is_empty())
        .collect()
}

fn x(line: &str, data: &Path) -> Command {
    // By a shell, as a person types it; with a data directory of the test's own.
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("exec {line}"))
        .current_dir(root())
        .env("STARLING_DATA_DIR", data)
        .stdin(Stdio::null());
    // A person's shell does not say which crate is tested. Some libraries ask for it when they are built, and would be built again, with all
    // that stands on them: here, and once more by whoever builds next without it.
    let of_the_test = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "NEXTEST"]
            .iter()
            .any(|it| name.starts_with(it))
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_the_test) {
            command.env_remove(&name);
        }
    }
    command
}

fn done(line: &str, data: &Path) -> Output {
    let output = x(line, data).output().unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A node started by `./x run`, ended when dropped.
struct Running(Child);

impl Running {
    /// Starts a node and reads its output until it has said the address of its page.
    fn start(line: &str, data: &Path) -> (Self, String) {
        let mut child = x(line, data).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let running = Self(child);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        loop {
            let said = lines
                .recv_timeout(BUILD_PATIENCE)
                .expect("the node says where its page is");
            if let Some(address) = said.trim().strip_prefix("Open ") {
                return (running, address.trim().to_owned());
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        // Fails only when it has ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn page(address: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { reqwest::get(address).await.unwrap().text().await.unwrap() })
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let (mut nodes, mut invite) = (Vec::new(), String::new());
    let mut ran = Vec::new();
    for line in commands() {
        match line.as_str() {
            // The second time it stands in the README it is the new machine's.
            "./x run" => {
                let data = if nodes.is_empty() { &first } else { &second };
                let (node, address) = Running::start(&line, data);
                nodes.push(node);
                assert!(page(&address).contains("<title>Starling"), "{address} shows the page");
            }
            "./x test" => assert!(
                fs::read_to_string(root().join(".ci/run")).unwrap().contains("./x test"),
                "what runs this test in continuous integration"
            ),
            "./x invite" => invite = String::from_utf8(done(&line, &first).stdout).unwrap().trim().to_owned(),
            "./x join INVITE" => {
                assert!(invite.starts_with("starling1"), "{invite}");
                done(&line.replace("INVITE", &invite), &second);
            }
            "./x status" => {
                let said = String::from_utf8(done(&line, &second).stdout).unwrap();
                assert!(said.contains("members") && said.contains("this node"), "{said}");
            }
            "./x doctor" => drop(done(&line, &first)),
            "./x fmt" | "./x tidy" => drop(done(&line, &first)),
            "./x bench hop" => {
                let said = String::from_utf8(done(&line, &first).stdout).unwrap();
                assert!(
                    said.lines()
                        .any(|line| line.starts_with("{\"") && line.contains("\"bench\":\"hop\"")),
                    "{said}"
                );
            }
            other => panic!("README.md shows a command that no test runs: {other}"),
        }
        ran.push(line);
    }
    assert!(nodes.len() == 2 && ran.len() >= 8, "{ran:?}");
}
