//! Rules about comments and pages: each is read alone, by somebody who was not there.

use std::fs;

use super::{all_sources, relative, root};

/// Longest line of a comment or of prose.
const COLUMNS_MAX: usize = 120;

fn comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("//")
}

#[test]
fn comments_fit_a_line() {
    let mut long = Vec::new();
    for path in all_sources() {
        let text = fs::read_to_string(&path).expect("UTF-8");
        for (number, line) in text.lines().enumerate() {
            // A table or an address cannot be broken.
            let is_address = line.contains("://");
            let is_table = comment(line).is_some_and(|text| text.trim_start_matches(['/', '!', ' ']).starts_with('|'));
            if comment(line).is_some() && !is_address && !is_table && line.chars().count() > COLUMNS_MAX {
                long.push(format!("{}:{}", relative(&path), number + 1));
            }
        }
    }
    assert!(long.is_empty(), "comments over {COLUMNS_MAX} columns: {long:#?}");
}

/// Lines of prose of a page, numbered from 1: those of tables and of fenced blocks are left out.
fn lines_of_prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    let mut is_prose = move |line: &str| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fence && !is_fenced && !line.trim_start().starts_with('|')
    };
    page.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(move |(_, line)| is_prose(line))
}

#[test]
fn pages_fit_a_line() {
    let page = "one\n```sh\ntwo\n```\n| three |\nfour";
    assert_eq!(lines_of_prose(page).collect::<Vec<_>>(), [(1, "one"), (6, "four")]);
    let (mut pages, mut long) = (0, Vec::new());
    for entry in fs::read_dir(root().join("docs")).expect("readable") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|end| end != "md") {
            continue;
        }
        pages += 1;
        let text = fs::read_to_string(&path).expect("UTF-8");
        let over = lines_of_prose(&text).filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
        long.extend(over.map(|(number, _)| format!("{}:{number}", relative(&path))));
    }
    assert!(pages > 3, "the walk finds the pages: {pages}");
    assert!(long.is_empty(), "prose over {COLUMNS_MAX} columns: {long:#?}");
}

#[test]
fn docs_say_their_noun() {
    for path in all_sources() {
        let text = fs::read_to_string(&path).expect("UTF-8");
        let mut before = "";
        for line in text.lines().map(str::trim_start) {
            let begins = line.starts_with("///") && !before.starts_with("///");
            let bad = begins && line.starts_with("/// The same");
            assert!(!bad, "{}: who reads this alone does not know what is meant: {line}", relative(&path));
            before = line;
        }
    }
}

/// One-line docs of public items (not of fields and variants) with at most two words.
fn short_docs(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let mut short = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(doc) = line.strip_prefix("/// ") else { continue };
        let alone = number == 0 || !lines[number - 1].starts_with("///");
        let rest = lines[number + 1..].iter().find(|line| !line.starts_with("#["));
        let item = rest.is_some_and(|line| {
            let kinds =
                ["pub fn", "pub const", "pub async fn", "pub struct", "pub enum", "pub trait", "pub type", "pub mod"];
            kinds.iter().any(|kind| line.starts_with(kind))
        });
        if alone && item && doc.split_whitespace().count() <= 2 {
            short.push(format!("{}: {doc}", number + 1));
        }
    }
    short
}

#[test]
fn docs_of_public_items_say_something() {
    assert_eq!(short_docs("/// Its name.\n#[must_use]\npub fn name() {}\n/// Of the feed.\npub fn seq() {}").len(), 1);
    let mut short = Vec::new();
    let tests = root().join("tests");
    for path in all_sources().iter().filter(|path| !path.starts_with(&tests)) {
        let text = fs::read_to_string(path).expect("UTF-8");
        short.extend(short_docs(&text).into_iter().map(|doc| format!("{}:{doc}", relative(path))));
    }
    assert!(short.is_empty(), "docs of one or two words: {short:#?}");
}
