//! Rules about code: how much of it is asserted.

use std::fs;

use super::{relative, root, sources};

/// Least assertions in 1,000 lines of product code, in each crate.
const ASSERTIONS_PER_1000_LINES: usize = 5;

/// Lines without the items that are compiled for tests alone. As rustfmt leaves them: an item ends with its line, or at
/// the brace that stands below its beginning.
pub(super) fn product<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept = Vec::new();
    let mut lines = lines;
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push(line);
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let head = lines.by_ref().find(|line| line.ends_with(['{', ';', '}', ',']));
        if head.is_some_and(|head| head.ends_with('{')) {
            lines.by_ref().find(|line| *line == end);
        }
    }
    kept
}

/// What belongs to a space knows no connection; what belongs to connections decides on no entry and reads no row.
#[test]
fn the_halves_of_the_engine_know_nothing_of_each_other() {
    let halves = [
        ("space", &["engine::peers", "engine::after", "ConnId", "Conns"][..]),
        (
            "peers",
            &[
                "Batch",
                "EntityState",
                "space::append",
                "space::care::",
                "space::held::",
                "space::holding",
                "space::judge",
            ],
        ),
        ("peers", &["space::local", "space::looks", "space::past", "space::planning", "space::rows", "space::settle"]),
    ];
    let mut seen = 0;
    for (half, others) in halves {
        let folder = root().join("node/src/engine").join(half);
        let mut files = Vec::new();
        sources(&folder, &mut files);
        // What peers say of themselves is stored with what a step writes; tests of the engine know all of it.
        for file in
            files.into_iter().filter(|file| !file.ends_with("contacts.rs") && !relative(file).contains("tests/"))
        {
            let text = fs::read_to_string(&file).expect("readable");
            for line in product(text.lines()) {
                seen += 1;
                let code = line.split("//").next().unwrap_or_default();
                let found = others.iter().find(|other| code.contains(*other));
                assert_eq!(found, None, "{}: {line}", relative(&file));
            }
        }
    }
    assert!(seen > 3_000, "{seen} lines");
}

fn asserts(line: &str) -> bool {
    let names = ["assert!(", "assert_eq!(", "assert_ne!("];
    !line.trim_start().starts_with("//") && names.iter().any(|name| line.contains(name))
}

#[test]
fn what_is_compiled_for_tests_alone_is_no_product() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n    #[cfg(test)]\n    fn c() {\n        assert!(d);\n    }\n    // assert!(e)\n\
                debug_assert_eq!(f, g);";
    let lines = product(text.lines());
    assert_eq!(lines, ["a", "b", "    // assert!(e)", "debug_assert_eq!(f, g);"]);
    assert_eq!(lines.iter().filter(|line| asserts(line)).count(), 1);
}

#[test]
fn product_code_asserts_what_it_rests_on() {
    for name in ["crdt", "transport", "node", "simulations", "cli"] {
        let mut files = Vec::new();
        sources(&root().join(name).join("src"), &mut files);
        let (mut lines, mut assertions) = (0, 0);
        for path in files {
            let place = relative(&path);
            // What measures the product is no part of it.
            if place.contains("/tests/") || place.ends_with("/tests.rs") || place.contains("/commands/bench/") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("UTF-8");
            let product = product(text.lines());
            lines += product.len();
            assertions += product.iter().filter(|line| asserts(line)).count();
        }
        let least = lines * ASSERTIONS_PER_1000_LINES / 1_000;
        assert!(assertions >= least, "{name}: {assertions} assertions in {lines} lines; at least {least}");
    }
}
