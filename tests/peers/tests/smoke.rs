//! The driver, end to end, for Tombolo alone with twenty entities. The peers are not started.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const METRICS: usize = 17;

#[test]
fn tombolo_alone_gives_every_figure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let builds = ["release", "debug"].map(|profile| root.join("target").join(profile).join("tombolo"));
    let given = std::env::var_os("TOMBOLO_BIN").map(Into::into);
    let Some(tombolo) = given.or_else(|| builds.into_iter().find(|path| path.exists())) else {
        println!("skipped: there is no target/release/tombolo; run `cargo build --release` first or set TOMBOLO_BIN");
        return;
    };
    let output = Command::new(env!("CARGO_BIN_EXE_tombolo-peers"))
        .arg("--tombolo")
        .arg(tombolo)
        .args(["--only", "tombolo", "--entities", "20", "--writes", "5", "--rounds", "1", "--limit", "60", "--json"])
        .output()
        .expect("the driver runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let lines = report["groups"][0]["lines"].as_array().expect("lines");
    assert_eq!(lines.len(), METRICS);
    for line in lines {
        let cell = &line["cells"]["tombolo"];
        assert!(cell["median"].as_f64().is_some_and(|median| median > 0.0), "{line}\n{log}");
        assert!(cell["failure"].is_null(), "{line}\n{log}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_tombolo-peers"))
        .args(["--tombolo", "/no/such/tombolo"])
        .output()
        .expect("the driver runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && log.contains("cargo build --release"), "{log}");
}
