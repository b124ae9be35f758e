//! `docs/architecture.md` names what there is, and all of it; and what leads down leads down.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{all_sources, relative, root};

const MAP: &str = "docs/architecture.md";

/// Folders of `node/src` and files between them, from bottom to top: each may use those before it.
const FLOORS_OF_NODE: [&str; 14] = [
    "moment", "store", "chain", "outgoing", "engine", "acks", "handle", "stream", "verify", "history", "ticket",
    "runtime", "api", "process",
];

/// Every file and folder that belongs to the sources, as paths from the root.
fn everything(dir: &Path, into: &mut Vec<PathBuf>) {
    for path in fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
            everything(&path, into);
        }
        into.push(path);
    }
}

/// Code spans of a page, without those in fenced blocks.
fn spans(page: &str) -> BTreeSet<&str> {
    let prose = page.split("```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What a code span of the map stands for, if for something that can be looked up.
#[derive(Debug, PartialEq)]
enum Named<'a> {
    Path(&'a str),
    Constant(&'a str),
    Function(&'a str),
    /// A type and what it has.
    Part(&'a str, &'a str),
    Type(&'a str),
}

fn named(span: &str) -> Option<Named<'_>> {
    let is_path = span.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c));
    let is_file = [".rs", ".md", ".toml"].iter().any(|end| span.ends_with(end));
    let is_upper = |text: &str| text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    match span.split_once("::") {
        Some((of, part)) if is_word(of) && is_word(part) => Some(Named::Part(of, part)),
        Some(_) => None,
        None if is_path && (span.contains('/') || is_file) && span != "space/collection/id" => Some(Named::Path(span)),
        None if is_upper(span) && span.contains('_') => Some(Named::Constant(span)),
        None if is_word(span) && span.starts_with(|c: char| c.is_ascii_uppercase()) => Some(Named::Type(span)),
        None => span.strip_suffix("()").filter(|name| is_word(name)).map(Named::Function),
    }
}

/// The sources as the map sees them.
struct Sources {
    paths: Vec<String>,
    texts: Vec<String>,
}

impl Sources {
    fn read() -> Self {
        let mut paths = Vec::new();
        everything(&root(), &mut paths);
        let paths = paths.iter().map(|path| relative(path)).collect();
        let texts = all_sources().iter().map(|path| fs::read_to_string(path).expect("UTF-8")).collect();
        Self { paths, texts }
    }

    fn has_path(&self, named: &str) -> bool {
        let tail = format!("/{}", named.trim_end_matches('/'));
        self.paths.iter().any(|path| format!("/{path}").ends_with(&tail))
    }

    fn has(&self, needles: &[&str]) -> bool {
        self.texts.iter().any(|text| needles.iter().any(|needle| text.contains(needle)))
    }

    /// Whether a file has an `impl` or the declaration of `of`, and declares `part` as a function, constant or variant.
    fn has_part(&self, of: &str, part: &str) -> bool {
        let declares = |text: &str| {
            let headed = |line: &str| {
                let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
                let is_head = ["impl", "enum", "struct", "trait"].iter().any(|head| words.contains(head));
                is_head && words.contains(&of)
            };
            text.lines().any(headed)
        };
        let variant = |text: &str| {
            text.lines().map(str::trim).any(|line| {
                line.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', ',', ' ']))
            })
        };
        let member = [format!("fn {part}("), format!("fn {part}<"), format!("const {part}:")];
        self.texts
            .iter()
            .filter(|text| text.contains(part) && text.contains(of))
            .any(|text| (member.iter().any(|member| text.contains(member)) || variant(text)) && declares(text))
    }

    fn knows(&self, named: &Named<'_>) -> bool {
        match *named {
            Named::Path(path) => self.has_path(path),
            Named::Constant(name) => self.has(&[&format!("const {name}:"), &format!("static {name}:")]),
            Named::Function(name) => self.has(&[&format!("fn {name}("), &format!("fn {name}<")]),
            Named::Part(of, part) => self.has_part(of, part),
            Named::Type(name) => {
                let kinds = ["struct", "enum", "trait", "type"];
                let declared: Vec<String> = kinds
                    .iter()
                    .flat_map(|kind| [" ", "<", ";", "("].iter().map(move |end| format!("{kind} {name}{end}")))
                    .collect();
                self.has(&declared.iter().map(String::as_str).collect::<Vec<_>>())
            }
        }
    }
}

#[test]
fn what_the_map_names_exists() {
    let page = fs::read_to_string(root().join(MAP)).expect("the map");
    let sources = Sources::read();
    let gone: Vec<&str> =
        spans(&page).into_iter().filter(|span| named(span).is_some_and(|named| !sources.knows(&named))).collect();
    assert!(gone.is_empty(), "{MAP} names what is not there: {gone:#?}");
}

#[test]
fn a_name_that_is_not_there_is_found() {
    let sources = Sources::read();
    for (span, is_there) in [
        ("node/src/engine/", true),
        ("engine/step.rs", true),
        ("engine/stepping.rs", false),
        ("Engine::step", true),
        ("Engine::stepping", false),
        ("Phase::Greeting", true),
        ("Phase::Parting", false),
        ("STEP_WORK_MAX", true),
        ("STEP_WORK_MIN", false),
        ("seal_all()", true),
        ("seal_none()", false),
        ("EntityState", true),
        ("EntityStatue", false),
    ] {
        assert_eq!(sources.knows(&named(span).expect(span)), is_there, "{span}");
    }
    assert_eq!(named("space/collection/id"), None);
}

#[test]
fn the_map_names_every_folder() {
    let page = fs::read_to_string(root().join(MAP)).expect("the map");
    let spans = spans(&page);
    let mut paths = Vec::new();
    for name in ["crdt", "node", "transport", "cli", "simulations"] {
        everything(&root().join(name).join("src"), &mut paths);
    }
    let folders = paths.iter().filter(|path| path.is_dir()).map(|path| format!("{}/", relative(path)));
    let missing: Vec<String> =
        folders.filter(|path| !path.contains("/tests/") && !spans.contains(path.as_str())).collect();
    assert!(missing.is_empty(), "{MAP} does not name {missing:#?}");
}

/// Words of a text that end in `.md`, as far as they are references to a file here.
fn pages_of(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in text.split(|c: char| c.is_whitespace() || "`()[]<>\"'|,;".contains(c)) {
        let word = word.split('#').next().unwrap_or_default().trim_end_matches(['.', ':']);
        let is_url = word.contains("://");
        let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c));
        if word.len() > 3 && word.ends_with(".md") && is_name && !is_url {
            found.insert(word.to_owned());
        }
    }
    found
}

#[test]
fn every_page_that_is_named_exists() {
    let mut paths = Vec::new();
    everything(&root(), &mut paths);
    let known: Vec<String> = paths.iter().map(|path| format!("/{}", relative(path))).collect();
    let texts = paths.iter().filter(|path| path.is_file()).filter(|path| {
        let ends = ["rs", "md", "toml"];
        path.extension().is_some_and(|end| ends.iter().any(|known| end == *known)) && !path.ends_with("tidy/map.rs")
    });
    for path in texts {
        for page in pages_of(&fs::read_to_string(path).expect("UTF-8")) {
            let tail = format!("/{}", page.trim_start_matches("../").trim_start_matches("./"));
            assert!(known.iter().any(|known| known.ends_with(&tail)), "{} names {page}", relative(path));
        }
    }
}

#[test]
fn a_folder_has_one_module_file() {
    for path in all_sources() {
        assert!(
            !path.with_extension("").is_dir(),
            "{} stands beside its folder: it is to be its mod.rs",
            relative(&path)
        );
    }
}

#[test]
fn crates_use_the_crates_below_them_alone() {
    let floors = ["crdt", "transport", "node", "sim"];
    for (number, name) in floors.iter().enumerate() {
        let folder = if *name == "sim" { "simulations" } else { *name };
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for above in floors.iter().skip(number + 1) {
            assert!(!dependencies.contains(&format!("tombolo-{above}")), "{folder} uses {above}, which is above it");
        }
    }
}

#[test]
fn folders_of_node_use_those_below_them_alone() {
    let dir = root().join("node/src");
    for path in all_sources().iter().filter(|path| path.starts_with(&dir)) {
        let inside = path.strip_prefix(&dir).expect("inside").to_string_lossy().into_owned();
        let own = inside.split(['/', '.']).next().unwrap_or_default();
        if own == "lib" || inside.contains("tests") {
            continue;
        }
        let floor = FLOORS_OF_NODE.iter().position(|floor| *floor == own);
        let floor = floor.unwrap_or_else(|| panic!("node/src/{own} has no floor: name it here and in {MAP}"));
        let text = fs::read_to_string(path).expect("UTF-8");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in super::code::product(code) {
            for above in FLOORS_OF_NODE.iter().skip(floor + 1) {
                let uses = line.contains(&format!("crate::{above}::")) || line.contains(&format!("crate::{above};"));
                assert!(!uses, "node/src/{inside} uses {above}, which is above it");
            }
        }
    }
}
