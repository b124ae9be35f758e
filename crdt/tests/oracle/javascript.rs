//! Documents of the JavaScript Automerge, read and continued here and read back there, by `tests/js/automerge.mjs`.
//!
//! Needs Node.js and `npm ci` in `tests/js`. Without them the tests say so and pass, unless `TOMBOLO_CI` is set.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use automerge::{ObjType, ScalarValue};
use data_encoding::{BASE64, HEXLOWER};
use tombolo_crdt::FeedId;
use tombolo_crdt::entity::{Change, ChangeError};
use tombolo_crdt::json::Json;

use crate::choices::Choices;
use crate::compare;
use crate::history::History;
use crate::tree::{Id, Map, Op, Value};
use crate::view;

/// Documents that JavaScript writes.
const DOCUMENTS: u64 = 8;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/js"))
}

/// Whether JavaScript can be asked.
fn is_there() -> bool {
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let there = node && folder().join("node_modules/@automerge/automerge").is_dir();
    assert!(there || std::env::var_os("TOMBOLO_CI").is_none(), "needs Node.js and `npm ci` in tests/js");
    if !there {
        eprintln!("skipped: needs Node.js and `npm ci` in tests/js");
    }
    there
}

/// A document as JavaScript prints it.
struct Printed {
    changes: Vec<Vec<u8>>,
    heads: Vec<automerge::ChangeHash>,
    shown: Json,
    tree: Map,
}

fn node(arguments: &[&str], input: &str) -> Printed {
    let mut command = Command::new("node");
    command.arg(folder().join("automerge.mjs")).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "node {arguments:?}");
    let printed = Json::parse(&output.stdout).unwrap();
    Printed {
        changes: items(field(&printed, "changes")).iter().map(bytes).collect(),
        heads: items(field(&printed, "heads")).iter().map(|head| text(head).parse().unwrap()).collect(),
        shown: field(&printed, "shown").clone(),
        tree: map(field(&printed, "tree")),
    }
}

fn field<'a>(json: &'a Json, name: &str) -> &'a Json {
    &json.as_object().unwrap()[name]
}

fn items(json: &Json) -> &[Json] {
    let Json::Array(items) = json else { return &[] };
    items
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap()
}

fn bytes(json: &Json) -> Vec<u8> {
    BASE64.decode(text(json).as_bytes()).unwrap()
}

fn actor(hex: &str) -> FeedId {
    FeedId::from_bytes(HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap())
}

fn map(json: &Json) -> Map {
    json.as_object().unwrap().iter().map(|(key, here)| (key.clone(), ops(here))).collect()
}

fn ops(json: &Json) -> Vec<Op> {
    let mut ops: Vec<Op> = items(json).iter().map(op).collect();
    ops.sort_by_key(|op| op.id);
    ops
}

fn op(json: &Json) -> Op {
    let (counter, by) = text(field(json, "id")).split_once('@').unwrap();
    let id: Id = (counter.parse().unwrap(), actor(by));
    let value = field(json, "value");
    let int = || value.as_i64().unwrap();
    let scalar = match text(field(json, "type")) {
        "map" => return Op { id, value: Value::Map(ObjType::Map, map(value)) },
        "list" => return Op { id, value: Value::Seq(ObjType::List, items(value).iter().map(ops).collect()) },
        "text" => return Op { id, value: Value::Seq(ObjType::Text, items(value).iter().map(ops).collect()) },
        "null" => ScalarValue::Null,
        "boolean" => ScalarValue::Boolean(*value == Json::Bool(true)),
        "int" => ScalarValue::Int(int()),
        "uint" => ScalarValue::Uint(if let Json::Uint(uint) = value { *uint } else { int().unsigned_abs() }),
        "f64" => ScalarValue::F64(text(value).parse().unwrap()),
        "counter" => ScalarValue::counter(int()),
        "timestamp" => ScalarValue::Timestamp(int()),
        "bytes" => ScalarValue::Bytes(bytes(value)),
        kind => {
            assert_eq!(kind, "str");
            ScalarValue::Str(text(value).into())
        }
    };
    Op { id, value: Value::Scalar(scalar) }
}

/// Our codec's answer to a change, as if its actor's feed carried it.
fn parse(bytes: &[u8]) -> Result<Change, ChangeError> {
    let theirs = automerge::Change::try_from(bytes).unwrap();
    Change::parse(bytes, FeedId::from_bytes(theirs.actor_id().to_bytes().try_into().unwrap()))
}

/// Takes in what JavaScript printed, through codec and gate, and compares. How many values are in conflict.
fn take(history: &mut History, printed: &Printed) -> u64 {
    let mut all = Vec::new();
    for bytes in &printed.changes {
        let theirs = automerge::Change::try_from(bytes.as_slice()).unwrap();
        let ours = parse(bytes).unwrap();
        assert_eq!(ours.bytes(), bytes);
        all.push(history.add(ours, theirs));
    }
    history.deliver(0, &all);
    same(history, printed)
}

/// What the live state holds is what JavaScript shows, and Rust's Automerge too.
fn same(history: &mut History, printed: &Printed) -> u64 {
    compare::check(history, 0);
    let marks = compare::marks(history, 0);
    assert_eq!(view::plain(&printed.tree), printed.shown, "what JavaScript shows is the winners of its tree");
    compare::compare_tree(&printed.tree, &printed.heads, &history.nodes[0].state, &marks)
}

/// All changes, for JavaScript to read.
fn lines(history: &History) -> String {
    history.made.iter().map(|made| BASE64.encode(made.ours.bytes()) + "\n").collect()
}

#[test]
fn documents_of_javascript_are_read_continued_and_read_back() {
    if !is_there() {
        return;
    }
    let (mut conflicts, mut operations) = (0, 0);
    for seed in 0..DOCUMENTS {
        let argument = seed.to_string();
        let mut choices = Choices::Seed(seed);
        let mut history = History::new(1, &mut choices);
        let printed = node(&["write", &argument], "");
        conflicts += take(&mut history, &printed);
        let foreign = history.made.len();
        (0..12).for_each(|_| history.write(0, &mut choices));
        assert!(history.made.len() > foreign, "nothing was written");
        // JavaScript shows what we wrote, and goes on from there.
        let all = lines(&history);
        same(&mut history, &node(&["read"], &all));
        let again = node(&["continue", &argument], &all);
        assert!(again.changes.len() > history.made.len());
        conflicts += take(&mut history, &again);
        let replayed = history.replay(&mut choices);
        assert!(replayed == history.nodes[0].state, "another order, another row");
        operations += history.made.iter().map(|made| made.theirs.len()).sum::<usize>();
    }
    println!("{DOCUMENTS} documents, {operations} operations, {conflicts} values in conflict");
    assert!(conflicts > DOCUMENTS);
}

/// Marks wait for a version that knows them; an author's name behind the columns has no place in a change.
#[test]
fn what_javascript_writes_and_this_version_does_not_take_is_called_by_its_name() {
    if !is_there() {
        return;
    }
    for (what, error) in [("marks", ChangeError::Unknown), ("author", ChangeError::NotCanonical)] {
        let Printed { changes, .. } = node(&[what], "");
        let answers: Vec<_> = changes.iter().map(|bytes| parse(bytes).err()).collect();
        assert!(answers.contains(&Some(error)), "{what}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.is_none_or(|answer| answer == error)), "{what}: {answers:?}");
    }
}

/// Without concurrent maps, empty maps and our register, both show the same JSON.
#[test]
fn a_plain_document_of_javascript_shows_the_same_json() {
    if !is_there() {
        return;
    }
    let printed = node(&["plain"], "");
    assert!(printed.changes.iter().any(|bytes| bytes.len() > 5000), "nothing is deflated");
    let mut history = History::new(1, &mut Choices::Seed(0));
    take(&mut history, &printed);
    assert_eq!(history.nodes[0].state.view(), printed.shown);
}
