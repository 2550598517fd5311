//! Real `starling` processes.

use std::{
    ffi::OsStr,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::free_address::free_address;

/// How long anything may take before the test calls it a hang. Generous: nothing here measures speed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test: `STARLING_BIN`, or the one built beside this test.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn program() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().ok()?;
        test.ancestors()
            .map(|directory| directory.join("starling"))
            .find(|program| program.is_file())
    };
    let program = std::env::var_os("STARLING_BIN").map(PathBuf::from).or_else(beside);
    program
        .filter(|program| program.is_file())
        .expect("the starling program is built: cargo build -p node")
}

/// Runs one command of the program to its end.
///
/// # Panics
/// When the program cannot be started.
pub fn starling<S: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(program())
        .arg("--data-dir")
        .arg(directory)
        .args(arguments)
        .env_remove("STARLING_LAUNCHER")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// A node: its directory, its addresses, and its process while it runs.
#[derive(Debug)]
pub struct NodeProcess {
    directory: tempfile::TempDir,
    /// Where its page is.
    pub http: SocketAddr,
    /// Where other nodes reach it.
    pub mesh: SocketAddr,
    child: Option<Child>,
}

impl NodeProcess {
    /// Makes the first node of a new mesh, not yet running.
    ///
    /// # Panics
    /// When `starling init` fails.
    #[must_use]
    pub fn init(name: &str, model: &str) -> Self {
        Self::make(&["init"], name, model).unwrap_or_else(|output| panic!("{}", error_text(&output)))
    }

    /// Makes a node that joins with an invite, not yet running.
    ///
    /// # Errors
    /// What the program said when it was refused.
    pub fn join(invite: &str, name: &str, model: &str) -> Result<Self, Box<Output>> {
        Self::make(&["join", invite], name, model).map_err(Box::new)
    }

    /// Makes the node that another one was, from a backup and further arguments of `restore`, not yet running.
    ///
    /// # Errors
    /// What the program said when it was refused.
    ///
    /// # Panics
    /// When the machine has no temporary directory.
    pub fn restore(original: &Self, arguments: &[&OsStr]) -> Result<Self, Box<Output>> {
        let node = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            // The configuration is restored, too.
            http: original.http,
            mesh: original.mesh,
            child: None,
        };
        let output = starling(&node.path(), [OsStr::new("restore")].iter().chain(arguments));
        if output.status.success() {
            Ok(node)
        } else {
            Err(Box::new(output))
        }
    }

    /// A copy of a node's data directory, as it is now, that is found at addresses of its own; not yet running.
    ///
    /// # Panics
    /// When the directory cannot be copied, or its configuration is none.
    #[must_use]
    pub fn copy(original: &Self) -> Self {
        let copy = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            http: free_address(),
            mesh: free_address(),
            child: None,
        };
        copy_directory(&original.path(), &copy.path()).expect("the directory is copied");
        let path = copy.path().join("starling.toml");
        let config = fs::read_to_string(&path).expect("a configuration");
        let config = config.replace(&original.http.to_string(), &copy.http.to_string());
        let config = config.replace(&original.mesh.to_string(), &copy.mesh.to_string());
        fs::write(&path, config).expect("the configuration is written");
        copy
    }

    fn make(command: &[&str], name: &str, model: &str) -> Result<Self, Output> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (http, mesh) = (free_address(), free_address());
        let (http_text, mesh_text) = (http.to_string(), mesh.to_string());
        let settings = [
            "--name",
            name,
            "--model",
            model,
            "--http",
            &http_text,
            "--mesh-listen",
            &mesh_text,
        ];
        let node = Self {
            directory,
            http,
            mesh,
            child: None,
        };
        let output = starling(&node.path(), command.iter().chain(&settings));
        if output.status.success() { Ok(node) } else { Err(output) }
    }

    /// The data directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("node")
    }

    fn output_path(&self) -> PathBuf {
        self.directory.path().join("stdout")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Starts the node and waits until it is up.
    ///
    /// # Panics
    /// When it does not come up; with its log.
    pub fn start(&mut self) {
        self.start_logging("info,mesh=debug");
    }

    /// The same, with a log of these levels.
    ///
    /// # Panics
    /// When it does not come up; with its log.
    pub fn start_logging(&mut self, levels: &str) {
        let output = fs::File::create(self.output_path()).expect("a file for the output");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a file for the log");
        let child = Command::new(program())
            .arg("--data-dir")
            .arg(self.path())
            .arg("run")
            .env("RUST_LOG", levels)
            .env_remove("STARLING_LAUNCHER")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
        self.wait_for("the node is up", |node| {
            let ended = node.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "the node ended at once: {}", node.log());
            node.output().contains("Starling ").then_some(())
        });
    }

    /// The process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it printed.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(self.output_path()).unwrap_or_default()
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The token of the one-time link it printed.
    ///
    /// # Panics
    /// When it printed none.
    #[must_use]
    pub fn welcome_token(&self) -> String {
        let output = self.output();
        let token = output
            .split("/welcome#")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        token.expect("a one-time link is printed").to_owned()
    }

    /// A fresh invite.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn invite(&self, arguments: &[&str]) -> String {
        let output = starling(&self.path(), ["invite"].iter().chain(arguments));
        assert!(output.status.success(), "{}", error_text(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What `starling status --json` says; `None` while the node does not answer.
    #[must_use]
    pub fn status(&self) -> Option<Value> {
        let output = starling(&self.path(), ["status", "--json"]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).ok())
            .flatten()
    }

    /// Waits until the status is as wanted.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait_for_status(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(what, |node| node.status().filter(|status| wanted(status)))
    }

    /// Waits until `starling links --json` says what is wanted.
    ///
    /// # Panics
    /// When it never does.
    pub fn wait_for_links(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("the links are known", |node| {
            let output = starling(&node.path(), ["links", "--json"]);
            let links = serde_json::from_slice(&output.stdout).ok();
            links.filter(|links| wanted(links))
        })
    }

    fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "in vain waited until {what}: {}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    /// Kills the node's engine process, as an abort inside llama.cpp or the memory killer would.
    ///
    /// # Panics
    /// When there is none.
    pub fn kill_engine(&self) {
        let engine = self.engines().into_iter().next();
        end(engine.expect("the engine is a child of the node"));
    }

    /// Kills all of them.
    pub fn kill_engines(&self) {
        self.engines().into_iter().for_each(end);
    }

    /// The node's engine processes.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn engines(&self) -> Vec<u32> {
        let node = self.child.as_ref().expect("the node runs").id();
        let of_threads = fs::read_dir(format!("/proc/{node}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let all = of_threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
        let pids = all.collect::<Vec<_>>().join(" ");
        pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Stops the node in its tracks, as a machine that sleeps does; nothing is said and no connection closed.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets a frozen node go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().expect("the node runs");
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).expect("the node can be signalled");
    }

    /// Asks the node to stop and waits for it; returns how it ended and how long that took.
    ///
    /// # Panics
    /// When it was not running or does not end.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait_for("the node ends", |node| node.child.as_mut()?.try_wait().ok().flatten());
        self.child = None;
        (status, began.elapsed())
    }

    /// Ends the node without a chance to say goodbye.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it has ended already.
            let _: io::Result<()> = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.path().display(), self.log());
        }
        self.kill();
    }
}

fn end(process: u32) {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    let process = process.expect("a process has a number");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("the engine can be signalled");
}

/// Copies files and directories with their permissions; sockets are left out.
fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What a command said when it failed.
#[must_use]
pub fn error_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
