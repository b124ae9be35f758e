//! What a person types and reads: the commands of the README as they stand there, and what is said when something is
//! wrong.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tombolo_tests::{Node, NodeDir, binary, converge, eventually, run_cli};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Both outputs as text.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Lines of the README that begin with `tombolo`, up to the HTTP API, without their comments.
fn readme_commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let about_cli = readme.split("## The HTTP API").next().expect("a beginning");
    let commands = about_cli.lines().filter(|line| line.starts_with("tombolo "));
    commands.map(|line| line.split(" # ").next().unwrap_or(line).trim().to_owned()).collect()
}

/// A shell in a directory of its own, in which `tombolo` is the program under test.
struct Shell {
    dir: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("bin")).expect("made");
        std::os::unix::fs::symlink(binary(), dir.path().join("bin/tombolo")).expect("linked");
        std::os::unix::fs::symlink(root().join("cli"), dir.path().join("cli")).expect("linked");
        Self { dir }
    }

    fn run(&self, data: &Path, line: &str) -> Output {
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.dir.path()).env("PATH", path).env("TOMBOLO_DATA", data);
        shell.stdin(Stdio::null()).output().expect("a shell")
    }
}

#[test]
fn the_commands_of_the_readme_work_as_they_stand_there() {
    let (shell, fresh) = (Shell::new(), tempfile::tempdir().expect("a directory"));
    let (mut berlin, hamburg) = (Some(Node::new("berlin")), Node::new("hamburg"));
    let data = berlin.as_ref().expect("runs").path().to_path_buf();
    let (mut ticket, mut receipt) = (String::new(), String::new());
    let mut stopped = None;
    let commands = readme_commands();
    assert!(commands.len() > 15, "the README has lost its commands: {commands:?}");
    for command in &commands {
        let line = command.replace("TICKET", &ticket).replace("RECEIPT", &receipt);
        let words: Vec<&str> = line.split(' ').collect();
        let output = match words[1] {
            "init" => shell.run(&fresh.path().join("new"), &line),
            // It runs already, on ports of its own.
            "run" => continue,
            "space" if words[2] == "join" => shell.run(hamburg.path(), &line),
            // Until Ctrl-C.
            "watch" => {
                let output = shell.run(&data, &format!("timeout -s INT 1 {line}"));
                assert!(!said(&output).contains("error"), "{line}: {output:?}");
                continue;
            }
            "verify" => {
                let dir = berlin.take().expect("runs").stop();
                stopped = Some(dir);
                shell.run(&data, &line)
            }
            _ => {
                if let Some(dir) = stopped.take() {
                    berlin = Some(NodeDir::start(dir));
                }
                shell.run(&data, &line)
            }
        };
        assert!(output.status.success(), "{line}: {}", said(&output));
        match (words[1], words.get(2).copied()) {
            ("space", Some("invite")) => ticket = String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            ("put", _) => {
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                receipt = text.trim().rsplit(' ').next().expect("a receipt").to_owned();
            }
            _ => {}
        }
    }
}

#[test]
fn an_export_is_imported_again() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    a.api.put(&format!("/v1/spaces/{space}/stock/apple"), &json!({"name": "apple", "price": 10})).expect(201);
    a.api.put(&format!("/v1/spaces/{space}/orders/2024~1o"), &json!({"lines": [1, 2], "price": 1e300})).expect(201);
    let file = a.path().join("shop.ndjson");
    let file = file.to_str().expect("text");
    assert!(a.cli(&["export", &space, file]).status.success());
    let other = b.create_space("shop");
    let output = b.cli(&["import", "shop", file]);
    assert!(output.status.success() && said(&output).contains("2 created"), "{output:?}");
    assert_eq!(b.export(&other), a.export(&space));
    let again = b.cli(&["import", "shop", file, "--restart"]);
    assert!(said(&again).contains("2 as they were"), "{again:?}");
    // One collection of it, from a pipe: the other's row is bad, and is named.
    let text = a.export(&space);
    let args = ["import", "shop/stock", "-", "--format", "export", "--skip-bad"];
    let part = run_cli(b.path(), &args, &text);
    assert!(part.status.success() && said(&part).contains("line 1 was skipped"), "{part:?}");
    let wrong = "{\"collection\":\"c\",\"id\":\"1\",\"value\":{}}\n{\"collection\":\"c\",\"id\":\"2\",\"value\":[]}\n";
    let refused = run_cli(b.path(), &["import", "shop", "-", "--format", "export"], wrong);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("line 2"), "{refused:?}");
    assert_eq!(b.entity(&format!("{other}/c/1")), Some(json!({})), "what stands before it is there");
}

/// As when the disk is full: no row is at fault, and `--skip-bad` must not go on as if one were.
#[test]
fn an_import_that_the_node_stops_fails_and_goes_on_later() {
    let a = Node::new("a");
    let space = a.create_space("geo");
    let mut import = Command::new(binary());
    import.arg("--data").arg(a.path()).args(["import", "geo/x", "-", "--id", "id", "--skip-bad"]);
    let import = import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut import = import.expect("starts");
    let mut rows = import.stdin.take().expect("piped");
    rows.write_all(b"{\"id\":\"1\"}\n{\"id\":\"2\"}\n").expect("written");
    eventually("the first rows", || (a.space(&space)?["entities"] == 2).then_some(()));
    let dir = a.stop();
    drop(rows);
    let output = import.wait_with_output().expect("ends");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("line 0") && !text.contains("leave such rows out"), "{text}");
    assert!(text.contains("run the same command again"), "{text}");
    drop(dir);
}

#[test]
fn a_list_goes_on_over_pages_of_deleted_rows() {
    let a = Node::new("a");
    let space = a.create_space("shop");
    let rows: String = (0..10_000).map(|n| format!("{{\"id\":\"k{n:05}\"}}\n")).collect();
    assert!(run_cli(a.path(), &["import", "shop/c", "-", "--id", "id"], &rows).status.success());
    for from in (0..10_000).step_by(2_500) {
        let writes: Vec<_> = (from..from + 2_500)
            .map(|n| json!({"collection": "c", "id": format!("k{n:05}"), "delete": true}))
            .collect();
        a.api.post(&format!("/v1/spaces/{space}/transactions"), &json!({ "writes": writes })).expect(200);
    }
    a.api.put(&format!("/v1/spaces/{space}/c/z"), &json!({"v": 1})).expect(201);
    let listed = a.cli(&["ls", "shop/c"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "z\n", "{listed:?}");
    assert_eq!(String::from_utf8_lossy(&a.cli(&["ls", "shop"]).stdout), "shop/c\n");
    let nothing = a.cli(&["ls", "shop/nothing"]);
    assert!(nothing.status.success() && nothing.stdout.is_empty(), "{nothing:?}");
    assert!(said(&nothing).contains("shop/nothing has no entity"), "{nothing:?}");
}

#[test]
fn mistakes_are_answered_with_the_way_out() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let created = a.cli(&["space", "create", "a b"]);
    assert!(said(&created).contains("`tombolo space invite 'a b' --role writer`"), "{created:?}");
    let space = a.create_space("shop");
    b.join(&a.invite(&space, "writer"));
    converge(&space, &[&a, &b]);
    for (node, args, expected) in [
        (&b, &["space", "join", &a.invite(&space, "admin")][..], "a member of shop already, as writer"),
        (&a, &["put", "shop/c/1", "{price:9}"], "single quotes"),
        (&a, &["peer", "rm", "nothere"], "`nothere:7700` is not dialled by hand"),
        (&a, &["peer", "add", "b:c"], "192.0.2.1:7700"),
        (&a, &["run", "--listen", "berlin:7705"], "0.0.0.0:7700"),
        (&a, &["run"], "a node runs on"),
        (&a, &["import", "shop/c", "-"], "--id FIELD"),
        (&a, &["receipt", "00000000000000000000000000000000-1"], "copy the whole receipt"),
    ] {
        let output = node.cli(args);
        assert!(said(&output).contains(expected), "{args:?}: {}", said(&output));
    }
    a.api.put(&format!("/v1/spaces/{space}/c/2"), &json!({"price": 9})).expect(201);
    let counted = a.cli(&["patch", "shop/c/2", "--ops", r#"[{"op":"increment","path":"/price","by":1}]"#]);
    assert!(said(&counted).contains("patch the field to null, then increment it"), "{counted:?}");
    // The way out is one.
    assert!(a.cli(&["patch", "shop/c/2", r#"{"price":null}"#]).status.success());
    assert!(a.cli(&["patch", "shop/c/2", "--ops", r#"[{"op":"increment","path":"/price","by":10}]"#]).status.success());
    assert_eq!(a.entity(&format!("{space}/c/2")), Some(json!({"price": 10})));
    let dir = a.stop();
    std::fs::write(dir.path().join("token"), format!("{}\n", "x".repeat(40))).expect("written");
    let a = dir.start();
    std::fs::write(a.path().join("token"), format!("{}\n", "y".repeat(40))).expect("written");
    let wrong = a.cli(&["status"]);
    assert!(said(&wrong).contains("--data") && !said(&wrong).contains("Bearer"), "{wrong:?}");
}

#[test]
fn a_hangup_means_nothing_to_a_node_without_a_terminal() {
    let a = Node::new("a");
    let hangup = Command::new("kill").args(["-HUP", &a.pid().to_string()]).status().expect("kill runs");
    assert!(hangup.success());
    a.create_space("shop");
    assert!(a.cli(&["space", "ls"]).status.success());
}
