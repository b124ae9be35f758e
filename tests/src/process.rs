//! Processes of the `tombolo` binary.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Api, eventually};

/// The binary under test, built once per test process with the profile of the tests.
///
/// # Panics
/// If it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Ok(path) = std::env::var("TOMBOLO_BIN") {
            return PathBuf::from(path);
        }
        // …/target/<profile>/deps/<test>, or …/target/<profile>/<binary> → …/target/<profile>/tombolo
        let test = std::env::current_exe().expect("the test's own path");
        let folder = test.parent().expect("a folder");
        let profile = if folder.ends_with("deps") { folder.parent().expect("a target folder") } else { folder };
        let profile = profile.to_path_buf();
        let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        // With the features that the whole workspace asks for: otherwise half of the crates are built once more.
        build.args(["build", "--quiet", "--workspace", "--bin", "tombolo"]);
        let name = profile.file_name().and_then(OsStr::to_str).expect("a profile's folder");
        build.args(["--profile", if name == "debug" { "dev" } else { name }]);
        build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"));
        if let Some(target) = profile.parent() {
            build.arg("--target-dir").arg(target);
        }
        assert!(build.status().expect("cargo runs").success(), "the binary does not build");
        // A folder of its own, so that a build that happens meanwhile does not change what is tested.
        let folder = test.with_extension("bin");
        std::fs::create_dir_all(&folder).expect("a folder");
        let kept = folder.join("tombolo");
        drop(std::fs::remove_file(&kept));
        std::fs::hard_link(profile.join("tombolo"), &kept).expect("a second name in one folder");
        kept
    })
}

/// Runs a command line to its end.
#[track_caller]
pub fn run_cli<S: AsRef<OsStr>>(data: &Path, args: &[S], stdin: &str) -> Output {
    let mut child = Command::new(binary())
        .arg("--data")
        .arg(data)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut input = child.stdin.take().expect("piped");
    let text = stdin.to_owned();
    // A child that does not read all of it is not an error here.
    let feed = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().expect("the child ends");
    feed.join().expect("fed");
    output
}

/// A data directory, initialised, with or without a running node.
#[derive(Debug)]
pub struct NodeDir {
    dir: TempDir,
    name: String,
}

impl NodeDir {
    /// A new data directory with a key, a store and a token.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("tombolo-test-").tempdir().expect("a temporary directory");
        let node = Self { dir, name: name.to_owned() };
        let output = run_cli(node.path(), &["init", "--name", name], "");
        assert!(output.status.success(), "{output:?}");
        node
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a node on it and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start(self) -> Node {
        self.start_with(&[])
    }

    /// Starts a node with more arguments.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start_with(self, extra: &[&str]) -> Node {
        self.spawn(Command::new(binary()), extra)
    }

    /// Starts a node by a shell that runs `before` first.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start_under(self, before: &str) -> Node {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{before} && exec \"$0\" \"$@\"")]).arg(binary());
        self.spawn(shell, &[])
    }

    fn spawn(self, mut command: Command, extra: &[&str]) -> Node {
        let info = self.path().join("node.json");
        drop(std::fs::remove_file(&info));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path().join("log"));
        let mut child = command
            .arg("--data")
            .arg(self.path())
            .args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--no-mdns"])
            .args(extra)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("the binary starts");
        let log = self.path().join("log");
        let info: Value = eventually("node.json", || {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                panic!("the node ended with {status}: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            serde_json::from_str(&std::fs::read_to_string(&info).ok()?).ok()
        });
        let token = std::fs::read_to_string(self.path().join("token")).expect("a token");
        let text = |key: &str| info[key].as_str().unwrap_or_default().to_owned();
        let api = Api::new(&text("http"), token.trim());
        let node = Node { child: Some(child), api, id: text("node"), listen: text("listen"), dir: Some(self) };
        eventually("readyz", || (node.api.get("/readyz").status == 200).then_some(()));
        node
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    child: Option<Child>,
    /// Its HTTP API.
    pub api: Api,
    /// Its key.
    pub id: String,
    /// Its QUIC address.
    pub listen: String,
    dir: Option<NodeDir>,
}

impl Node {
    /// A new node, running.
    #[must_use]
    pub fn new(name: &str) -> Self {
        NodeDir::new(name).start()
    }

    /// Its data directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.as_ref().expect("present until it ends").path()
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Runs a command line against it.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Output {
        run_cli(self.path(), args, "")
    }

    /// Creates a space; returns its id.
    ///
    /// # Panics
    /// If it cannot be created.
    #[track_caller]
    pub fn create_space(&self, name: &str) -> String {
        let answer = self.api.post("/v1/spaces", &serde_json::json!({ "name": name })).expect(201);
        answer.json()["space"].as_str().expect("an id").to_owned()
    }

    /// A ticket to a space.
    ///
    /// # Panics
    /// If none is given.
    #[track_caller]
    pub fn invite(&self, space: &str, role: &str) -> String {
        let body = serde_json::json!({ "role": role, "expires_in_s": 3600 });
        let answer = self.api.post(&format!("/v1/spaces/{space}/invites"), &body).expect(201);
        answer.json()["ticket"].as_str().expect("a ticket").to_owned()
    }

    /// Joins with a ticket and waits until this node is a member.
    ///
    /// # Panics
    /// If that does not happen.
    #[track_caller]
    pub fn join(&self, ticket: &str) {
        let body = serde_json::json!({ "ticket": ticket });
        let answer = self.api.post("/v1/join?timeout=30s", &body);
        assert_eq!(answer.json()["state"], "joined", "{answer:?}\n{}", self.log());
    }

    /// Its status.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> Value {
        self.api.get("/v1/status").expect(200).json()
    }

    /// A space as its status shows it.
    #[must_use]
    #[track_caller]
    pub fn space(&self, space: &str) -> Option<Value> {
        let status = self.status();
        let found = status["spaces"].as_array()?.iter().find(|known| known["space"] == space || known["name"] == space);
        found.cloned()
    }

    /// Frontier and state digest of a space, if nothing is held.
    #[must_use]
    #[track_caller]
    pub fn digests(&self, space: &str) -> Option<String> {
        let space = self.space(space)?;
        space["held"].as_array().is_none_or(Vec::is_empty).then(|| format!("{} {}", space["frontier"], space["state"]))
    }

    /// An entity, if it is present.
    #[must_use]
    #[track_caller]
    pub fn entity(&self, path: &str) -> Option<Value> {
        let answer = self.api.get(&format!("/v1/spaces/{path}"));
        (answer.status == 200).then(|| answer.json())
    }

    /// The export of a space.
    #[must_use]
    #[track_caller]
    pub fn export(&self, space: &str) -> String {
        self.api.get(&format!("/v1/spaces/{space}/export")).expect(200).body
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Ends it with SIGKILL; the data directory stays.
    ///
    /// # Panics
    /// If it cannot be ended.
    #[must_use]
    pub fn kill(mut self) -> NodeDir {
        let mut child = self.child.take().expect("running");
        child.kill().expect("the child is ours");
        child.wait().expect("the child ends");
        self.dir.take().expect("present until it ends")
    }

    /// Ends it with SIGTERM and expects a clean stop.
    ///
    /// # Panics
    /// If it does not stop cleanly.
    #[must_use]
    pub fn stop(mut self) -> NodeDir {
        let mut child = self.child.take().expect("running");
        let status = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
        assert!(status.success());
        let status = eventually("a clean stop", || child.try_wait().expect("the child is ours"));
        assert!(status.success(), "{status}: {}", self.log());
        self.dir.take().expect("present until it ends")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let log = self.dir.as_ref().map(|_| self.log()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            for line in tail.iter().rev() {
                drop(writeln!(std::io::stderr(), "  [{}] {line}", self.dir.as_ref().map_or("", |dir| &dir.name)));
            }
        }
    }
}
