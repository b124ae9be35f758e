//! The examples of the reference are what it says they are.

use super::*;
use crate::scenario::language;

const REFERENCE: &str = include_str!("../../../../docs/scenarios.md");

/// The blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    REFERENCE.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_example_is_a_scenario_or_a_piece_of_one() {
    let head = "name = \"t\"\ntitle = \"T\"\nabout = \"A\"\nduration = \"60h\"\n";
    let nodes = "[nodes]\nnames = [\"berlin\", \"rome\", \"oslo\"]\n[[workload]]\ncollection = \"stock\"\ncount = 1\n";
    let files = |name: &str| match name {
        "data.ndjson" | "writes.ndjson" => {
            let begin = if name == "data.ndjson" { "`{\"collection\"" } else { "`{\"at\"" };
            let at = REFERENCE.find(begin).expect("an example line") + 1;
            Ok(REFERENCE[at..].split('`').next().unwrap_or_default().replace("lamp", "lamp2"))
        }
        _ => Err("not there".into()),
    };
    let examples = blocks("toml");
    assert!(examples.len() >= 8);
    for example in examples {
        let whole = match (example.starts_with("name"), example.contains("[nodes]")) {
            (true, _) => example.to_owned(),
            (false, true) => format!("{head}{example}"),
            (false, false) => format!("{head}{example}\n{nodes}"),
        };
        match Scenario::parse("scenarios.md", &whole, &files) {
            Ok(scenario) => assert_eq!(scenario.plan(1).check(), Ok(())),
            Err(error) => panic!("{error}\n{whole}"),
        }
    }
}

#[test]
fn every_example_of_a_fault_is_one() {
    for example in blocks("faults") {
        let (statements, problems) = language::read(example, None, &Place::default());
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(statements.len(), 4);
    }
    // The table: each fault that is written there, with an end where one is needed.
    let table =
        REFERENCE.split("| fault | end | |").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
    let mut seen = 0;
    for row in table.lines().filter(|row| row.starts_with("| `")) {
        for fault in row.split('|').nth(1).unwrap_or_default().split("`, `") {
            let fault = fault.trim().trim_matches('`').replace(" A", " berlin").replace(" B", " rome");
            let end = if fault.starts_with("flap") { "..2h" } else { "" };
            let text = format!("at 1h{end} {fault}");
            let (statements, problems) = language::read(&text, None, &Place::default());
            assert!(problems.is_empty() && statements.len() == 1, "{text}: {problems:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, language::VERBS.len() - 1 + 2 + 1, "all but heal, two that go both ways, one in rows");
}

#[test]
fn every_kind_and_every_key_is_explained() {
    for kind in Kind::ALL {
        assert!(REFERENCE.contains(&format!("`{}`", kind.name())), "{}", kind.name());
    }
    for piece in [
        "zzz = 1",
        "[nodes]\nzzz = 1",
        "[topology]\nzzz = 1",
        "[random]\nzzz = 1",
        "[[workload]]\nzzz = 1",
        "[[assert]]\nzzz = 1",
        "[[space]]\nzzz = 1",
        "[[write]]\nzzz = 1",
        "[[node]]\nzzz = 1",
        "[[link]]\nzzz = 1",
    ] {
        let text = if piece == "[nodes]\nzzz = 1" { piece.to_owned() } else { with(piece) };
        let said = read(&text).expect_err("an unknown key").to_string();
        let line = said.lines().find(|line| line.contains("unknown key `zzz`")).expect("it is told");
        let allowed = line.split("allowed: ").nth(1).unwrap_or_default();
        for key in allowed.split(", ") {
            let told = [format!("`{key}`"), format!("`{key}."), format!("{key} = "), format!("[{key}]")];
            assert!(told.iter().any(|form| REFERENCE.contains(form)), "{key} of {piece} is not explained");
        }
    }
}
