//! Goal: what `docs/simulation.md` tells a newcomer to do works as it says, and `tombolo sim` has the exit codes it
//! promises. Method: every `sh` block of the page, in order, in one shell; then lines of every kind.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tombolo_tests::process::binary;

const PAGE: &str = include_str!("../../../docs/simulation.md");

/// The blocks of a language, without their fences.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().expect("a first part")).collect()
}

fn sim(dir: &Path, args: &[&str]) -> Output {
    Command::new(binary()).arg("sim").args(args).current_dir(dir).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn the_page_leads_to_a_failure_and_out_of_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blocks = blocks("sh");
    assert!(blocks.len() >= 8, "{} blocks", blocks.len());
    let folder = binary().parent().expect("a folder").display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-uo", "pipefail", "-c", &blocks.concat()])
        .current_dir(dir.path())
        .env("PATH", path)
        .output()
        .expect("bash starts");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    // What the page shows is what is printed, but for the details of the first seed.
    let shown = self::blocks("text").concat();
    let first = shown.lines().next().expect("a first line");
    for part in [first, "no room has two guests", "2 nodes, 2 writes, 1 fault (of 3 nodes, 4 writes, 1 fault)"] {
        assert!(out.contains(part), "no `{part}` in\n{out}");
    }
    assert!(out.contains("it fails as it did") && out.contains("events are the same"), "{out}");
    assert_eq!(out.matches("exit 1").count(), 2, "the failing run and its replay:\n{out}");
    assert_eq!(out.matches("exit 0").count(), 1, "{out}");
    for name in
        ["report.html", "report.json", "junit.xml", "capsules/hotel-0/diagram.html", "capsules/hotel-0/repro.rs"]
    {
        assert!(dir.path().join("out").join(name).is_file(), "{name}");
    }
}

#[test]
fn a_workflow_has_the_options_that_there_are() {
    let workflow = blocks("yaml").concat();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let help = text(&sim(dir.path(), &["run", "--help"]).stdout);
    let words = workflow.split_whitespace().filter(|word| word.starts_with("--"));
    let unknown: Vec<_> =
        words.filter(|word| !help.contains(*word) && !["--locked", "--git", "--rev"].contains(word)).collect();
    assert!(unknown.is_empty() && workflow.contains("--shard"), "{unknown:?}");
}

#[test]
fn exit_codes_are_as_promised() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let codes: [(&[&str], i32); 10] = [
        (&["run", "two-shops", "--seeds", "0..2"], 0),
        (&["run", "two-shops", "--seeds", "0..", "--time-budget", "0s"], 2),
        (&["run", "two-shops", "--seeds", "0..100000", "--time-budget", "1s"], 2),
        (&["run", "two-shops", "--seeds", "0..", "--time-budget", "1s"], 0),
        (&["run", "two-shops", "--seeds", "9..3"], 64),
        (&["run", "no-such-scenario"], 64),
        (&["run", "no-such-file.toml"], 64),
        (&["replay", "."], 64),
        (&["run", "two-shops", "--seeds", "0", "--junit", "no/such/place.xml"], 74),
        (&["ls"], 0),
    ];
    for (args, code) in codes {
        let output = sim(dir.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn what_is_wrong_with_input_is_said_with_its_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write("wrong.toml", "name = \"wrong\"\ntitle = \"t\"\nabout = \"a\"\nduration = \"1h\"\nnodez = 3\n");
    write("bad.txt", "two-shops 1\n# a comment\ntwo-shops x\n");
    let said = |args: &[&str]| text(&sim(dir.path(), args).stderr);
    let error = said(&["run", "wrong.toml"]);
    assert!(error.contains("wrong.toml:5:") && error.contains("nodez"), "{error}");
    let error = said(&["run", "two-shops", "--known-bad", "bad.txt"]);
    assert!(error.contains("bad.txt:3: ") && error.contains("allowed: "), "{error}");
    write("bad.txt", "two-shop 1\n");
    let error = said(&["run", "two-shops", "--known-bad", "bad.txt"]);
    assert!(error.contains("(did you mean `two-shops`?); there are: clock-ahead, "), "{error}");
    let error = said(&["run", "two-shosp"]);
    assert!(error.contains("there is no scenario `two-shosp` (did you mean `two-shops`?)"), "{error}");
    let error = said(&["run", "no-such-file.toml"]);
    assert!(error.contains("there is no file no-such-file.toml") && !error.contains("docs/"), "{error}");
    let error = said(&["exhaust", "--seed", "x"]);
    assert!(error.contains("a whole number from 0"), "{error}");
    let output = sim(dir.path(), &["run", "two-shops", "--report", "bad.txt"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(74), String::new()), "nothing was run");
    let error = said(&["--json", "replay", "nowhere"]);
    let error: Value = serde_json::from_str(&error).expect("JSON");
    assert_eq!(error["error"]["kind"], "usage");
    assert!(error["error"]["why"].as_str().is_some_and(|why| why.contains("no such directory")), "{error}");
}

#[test]
fn results_are_the_same_whatever_the_threads() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let report = |threads: &str| {
        let args = ["--json", "run", "two-shops", "ferry", "--seeds", "0..6", "--shard", "1/2", "--threads", threads];
        let output = sim(dir.path(), &args);
        let mut report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        report["elapsed_us"] = Value::Null;
        for scenario in report["scenarios"].as_object_mut().expect("scenarios").values_mut() {
            assert_eq!((&scenario["seeds"], &scenario["last_seed"]), (&3.into(), &4.into()));
            scenario["wall_us"] = Value::Null;
        }
        report
    };
    assert_eq!(report("1"), report("3"));
}

#[test]
fn a_scenario_with_data_can_be_taken_out_of_the_library_and_out_of_a_capsule() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = |args: &[&str]| {
        let output = sim(dir.path(), args);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run(&["show", "transfers", "--as", "mine", "--to", "mine"]).0, Some(0));
    let (code, out, err) = run(&["run", "mine/mine.toml", "transfers", "--seeds", "0"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("assertions mine: evaluated: "), "{out}");
    assert_eq!(run(&["show", "transfers", "--as", "mine", "--to", "mine"]).0, Some(74), "nothing is overwritten");
    let (_, out, err) = run(&["show", "transfers"]);
    assert!(out.starts_with("name = \"transfers\"") && err.contains("--to DIR"), "{err}");

    let toml = dir.path().join("mine/mine.toml");
    let mut scenario = std::fs::read_to_string(&toml).expect("there");
    scenario.push_str("\n[[assert]]\nname = \"never\"\nthat = \"views.size() > 99\"\n");
    std::fs::write(&toml, scenario).expect("written");
    std::fs::write(dir.path().join("bad.txt"), "mine 3\nferry 1\n").expect("written");
    let options = ["--seeds", "0", "--minimise-budget", "1s", "--report", "out", "--known-bad", "bad.txt"];
    let (code, out, err) = run(&[&["run", "mine/mine.toml"], options.as_slice()].concat());
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("it is false; views = {"), "{out}");
    assert!(err.contains("1 known bad seed first: 1 did not hold; 1 passed over"), "{err}");
    let capsule = "out/capsules/mine-0/scenario.toml";
    assert_eq!(run(&["run", capsule, "--seeds", "0", "--minimise-budget", "0s"]).0, Some(1));
}
