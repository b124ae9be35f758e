//! House rules that a compiler does not check.

mod code;
mod map;
mod prose;

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, tests included.
const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// A path as people write it.
fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path()) {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if entry.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&entry, into);
        } else if name.ends_with(".rs") {
            into.push(entry);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    assert!(files.len() > 50, "the walk finds the sources: {}", files.len());
    files
}

#[test]
fn files_are_short() {
    let long: Vec<String> = all_sources()
        .iter()
        .filter_map(|path| {
            let lines = fs::read_to_string(path).expect("UTF-8").lines().count();
            (lines > FILE_LINES_MAX).then(|| format!("{} has {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn tests_wait_for_conditions_only() {
    let banned = ["sleep", "("].concat();
    let sleeping: Vec<_> = all_sources()
        .into_iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs"))
        .filter(|path| fs::read_to_string(path).expect("UTF-8").contains(&banned))
        .collect();
    assert!(sleeping.is_empty(), "{sleeping:#?}");
}

#[test]
fn nothing_is_left_to_do() {
    let marks = ["todo", "unimplemented"].map(|name| format!("{name}!"));
    for path in all_sources() {
        let text = fs::read_to_string(&path).expect("UTF-8");
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} has {mark}", path.display());
        }
    }
}

#[test]
fn every_crate_inherits_the_lints_and_every_library_says_what_it_is() {
    for name in ["crdt", "transport", "node", "cli", "simulations", "tests"] {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not inherit the lints");
        let lib = root().join(name).join("src").join(if name == "cli" { "main.rs" } else { "lib.rs" });
        let text = fs::read_to_string(&lib).expect("a root module");
        let intro = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(intro >= 3, "{name} does not say what it is");
    }
}

#[test]
fn the_root_holds_only_what_belongs_there() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "clippy.toml",
        "rustfmt.toml",
        "crdt",
        "transport",
        "node",
        "cli",
        "simulations",
        "tests",
        "docs",
        "target",
    ];
    for entry in fs::read_dir(root()).expect("readable") {
        let name = entry.expect("readable").file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || allowed.contains(&name.as_str()), "{name} does not belong in the root");
    }
}

#[test]
fn determinism_is_guarded() {
    let bans = fs::read_to_string(root().join("clippy.toml")).expect("clippy.toml");
    for name in ["std::time::Instant::now", "std::time::SystemTime::now", "std::collections::HashMap::iter"] {
        assert!(bans.contains(name), "clippy.toml does not ban {name}");
    }
    // The deterministic parts may not be excused from the bans.
    for path in all_sources()
        .iter()
        .filter(|path| path.starts_with(root().join("crdt/src")) || path.starts_with(root().join("node/src/engine")))
    {
        let text = fs::read_to_string(path).expect("UTF-8");
        let excuse = ["disallowed", "_methods"].concat();
        assert!(!text.contains(&excuse), "{} excuses itself from the bans", path.display());
        for name in ["getrandom", "std::thread", "tokio::"] {
            assert!(!text.contains(name), "{} uses {name}", path.display());
        }
    }
}
