//! Capsules written, read, damaged and replayed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::outcome::{Oracle, Outcome, RunOptions, Stats, Verdict};
use crate::scenario::Draft;
use crate::trace::{Trace, What};

/// A plan that the real lanes can carry out.
fn plan(seed: u64) -> Plan {
    let mut draft = Draft::new("made", "a title", Duration::from_secs(60)).nodes(&["north", "south"]);
    draft = draft.initial("stock", "lamp", json!({"name": "a \"#quoted\"# lamp"}));
    draft.check().expect("it can be").plan(seed)
}

fn violation(place: &str) -> Violation {
    let at = Duration::from_millis(1_500);
    Violation { oracle: Oracle::Values, place: place.into(), node: Some(1), at, detail: "it is\ngone".into() }
}

fn events(count: u64) -> Vec<Event> {
    (0..count).map(|no| Event { at: Duration::from_secs(no), node: Some(0), what: What::Woke }).collect()
}

fn capsule() -> Capsule {
    let mut header = Header::new("made", 17, LaneName::World, "made/of glass.toml");
    header.minimal = true;
    Capsule {
        header,
        scenario_toml: Some("name = \"made\"\n".into()),
        original: plan(17),
        plan: plan(17),
        events: events(5),
        violation: violation("a value"),
    }
}

fn written() -> (TempDir, std::path::PathBuf, Capsule) {
    let dir = tempfile::tempdir().expect("a directory");
    let capsule = capsule();
    let more = [("diagram.html", "<html>".to_owned())];
    let path = capsule.write(&dir.path().join("deep/made-17"), &more).expect("written");
    (dir, path, capsule)
}

#[test]
fn what_is_written_is_read_again() {
    let (dir, path, capsule) = written();
    assert_eq!(path, dir.path().join("deep/made-17"));
    assert_eq!(Capsule::read(&path), Ok(capsule.clone()));
    let mut names: Vec<_> =
        fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("read").file_name()).collect();
    names.sort();
    let expected = [
        "README.txt",
        "capsule.json",
        "diagram.html",
        "events.jsonl",
        "original-plan.json",
        "plan.json",
        "repro.rs",
        "scenario.toml",
        "verdict.json",
    ];
    assert_eq!(names, expected);
    let readme = fs::read_to_string(path.join(README_TXT)).expect("there");
    assert!(readme.contains("tombolo sim run 'made/of glass.toml' --seeds 17\n"), "{readme}");
    assert!(readme.contains("2 nodes, 0 writes, 0 faults"), "{readme}");
}

#[test]
fn an_older_capsule_is_not_overwritten() {
    let (dir, path, capsule) = written();
    let before = fs::read_to_string(path.join(PLAN_JSON)).expect("there");
    let again = Capsule { plan: plan(18), ..capsule };
    let second = again.write(&path, &[]).expect("written");
    assert_eq!(second, dir.path().join("deep/made-17-2"));
    assert_eq!(fs::read_to_string(path.join(PLAN_JSON)).expect("there"), before);
    assert_eq!(Capsule::read(&second), Ok(again));
    // Nothing unfinished stays.
    assert_eq!(fs::read_dir(dir.path().join("deep")).expect("a directory").count(), 2);
}

#[test]
fn a_capsule_that_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = capsule().write(&dir.path().join("made"), &[("no/such/place", String::new())]).expect_err("fails");
    assert!(error.to_string().contains("no/such/place"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
}

/// What is said of a capsule in which a file was changed.
fn complaint(file: &str, change: impl FnOnce(String) -> Option<String>) -> CapsuleError {
    let (_dir, path, _) = written();
    let file = path.join(file);
    match change(fs::read_to_string(&file).expect("there")) {
        Some(text) => fs::write(&file, text).expect("written"),
        None => fs::remove_file(&file).expect("removed"),
    }
    let error = Capsule::read(&path).expect_err("damaged");
    assert_eq!(error.file, file);
    error
}

#[test]
fn damage_is_said_with_file_and_line() {
    for file in [CAPSULE_JSON, ORIGINAL_PLAN_JSON, PLAN_JSON, EVENTS_JSONL, VERDICT_JSON] {
        let error = complaint(file, |_| None);
        assert!(
            error.to_string().contains(&format!("{file}: this part of the capsule is missing; allowed: ")),
            "{error}"
        );
    }
    let error = complaint(CAPSULE_JSON, |text| Some(text.replace("\"format\": 1", "\"format\": 2")));
    assert_eq!((error.line, error.reason.as_str()), (Some(2), "this capsule has format 2"));
    assert!(error.allowed.starts_with("format 1; replay it with the version"));
    // A later format may have other fields: the version is what is told then.
    let error = complaint(CAPSULE_JSON, |_| Some("{\"format\": 3, \"new\": []}".to_owned()));
    assert_eq!(error.reason, "this capsule has format 3");
    let error = complaint(CAPSULE_JSON, |text| Some(text.replace("\"minimal\"", "\"minimax\"")));
    assert!(error.reason.contains("minimax"), "{error}");
    let error = complaint(EVENTS_JSONL, |text| {
        Some(text.replacen("\"woke\"", "\"slept\"", 4).replacen("\"slept\"", "\"woke\"", 2))
    });
    assert_eq!(error.line, Some(3));
    assert!(error.reason.contains("slept"), "{error}");
    for (part, more) in [
        ("\"noise\": ", "\"noize\": 1, \"noise\": "),
        ("\"latency\": {", "\"latency\": { \"p95_us\": 1,"),
        ("\"members\": ", "\"owner\": 1, \"members\": "),
        ("\"collection\": ", "\"colour\": 1, \"collection\": "),
    ] {
        let error = complaint(PLAN_JSON, |text| Some(text.replacen(part, more, 1)));
        assert!(error.line.is_some_and(|line| line > 1) && error.reason.contains("unknown field"), "{error}");
    }
    let error = complaint(PLAN_JSON, |text| Some(text.get(..text.len() / 2).unwrap_or_default().to_owned()));
    assert!(error.line.is_some_and(|line| line > 10), "{error}");
    let error = complaint(PLAN_JSON, |text| Some(text.replace("\"south\"", "\"north\"")));
    assert!(error.reason.contains("two nodes `north`"), "{error}");
    let error = complaint(VERDICT_JSON, |_| Some("\"held\"".to_owned()));
    assert!(error.reason.contains("no violation"), "{error}");

    for (path, reason) in [("/no/such/place", "there is no such directory"), (file!(), "this is a file")] {
        let path = Path::new(path);
        let path = if path.is_absolute() {
            path.to_path_buf()
        } else {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")
        };
        assert_eq!(Capsule::read(&path).expect_err("none").reason, reason);
    }
}

#[test]
fn a_capsule_of_another_version_is_told() {
    let mut header = capsule().header;
    assert_eq!(header.other_version(env!("CARGO_PKG_VERSION")), None);
    header.tombolo = "0.0.7".to_owned();
    let told = header.other_version(env!("CARGO_PKG_VERSION")).expect("another one");
    assert!(told.starts_with("tombolo 0.0.7 wrote this capsule, this is "), "{told}");
}

#[test]
fn a_replay_says_whether_it_still_fails() {
    let capsule = capsule();
    let run = |verdict: Verdict, count: u64| {
        move |_: &Plan, options: RunOptions| Outcome {
            verdict: verdict.clone(),
            hash: [7; 32],
            stats: Stats::default(),
            trace: options.record.then(|| Trace { events: events(count) }),
        }
    };
    let replay = capsule.replay(&run(Verdict::Violated(violation("a value")), 5));
    assert_eq!((replay.sameness, replay.divergence, replay.deterministic), (Sameness::FailsAlike, None, true));
    let replay = capsule.replay(&run(Verdict::Violated(violation("another")), 7));
    assert_eq!(replay.sameness, Sameness::FailsOtherwise);
    let divergence = replay.divergence.expect("two events more");
    assert_eq!((divergence.line, divergence.expected, divergence.found), (6, None, events(6).pop()));
    let replay = capsule.replay(&run(Verdict::Held, 3));
    assert_eq!((replay.sameness, replay.divergence.map(|d| d.line)), (Sameness::Holds, Some(4)));
    assert_eq!(capsule.replay(&run(Verdict::Inconclusive(String::new()), 5)).sameness, Sameness::Inconclusive);
    let moody = |_: &Plan, options: RunOptions| Outcome {
        hash: [u8::from(options.record); 32],
        ..run(Verdict::Held, 5)(&capsule.plan, options)
    };
    assert!(!capsule.replay(&moody).deterministic);
}

/// `tests/repro.rs` is what a capsule's test looks like; it is compiled and run with the other tests.
#[test]
fn the_regression_test_is_one_that_compiles() {
    let made = repro::test(&capsule()).expect("text");
    let kept = include_str!("../../tests/all/repro.rs");
    assert!(made == kept, "tests/all/repro.rs is not what is generated now; it must be:\n{made}");
}
