//! Stores that earlier programs wrote: the present one opens them, finds what was there, and goes on.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tombolo_tests::{Node, NodeDir, converge, run_cli};

fn fixture(name: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name).join(file)
}

/// What the program that wrote the store said of it.
fn expected(name: &str) -> (Value, String) {
    let text = |file| fs::read_to_string(fixture(name, file)).expect("a fixture");
    (serde_json::from_str(&text("expected.json")).expect("JSON"), text("export.ndjson"))
}

/// A data directory with the store of a fixture.
fn unpack(name: &str) -> NodeDir {
    let dir = NodeDir::new(name);
    for file in ["identity", "name", "token"] {
        fs::write(dir.path().join(file), fs::read(fixture(name, file)).expect("a fixture")).expect("written");
    }
    let packed = fs::File::open(fixture(name, "store.redb.gz")).expect("a fixture");
    let mut store = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut store).expect("sound");
    fs::write(dir.path().join("store.redb"), store).expect("written");
    dir
}

fn verified(dir: &NodeDir) {
    let output = run_cli(dir.path(), &["--json", "verify"], "");
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["differences"], json!([]));
}

/// Verifying is not to change the store of an earlier format: it says what does.
fn is_older(dir: &NodeDir) {
    let output = run_cli(dir.path(), &["verify"], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("format 1"), "{output:?}");
}

/// Opens the store of a fixture, compares, writes to every entity and brings a new node up to date.
fn open_and_go_on(name: &str) -> (Node, String) {
    let (expected, export) = expected(name);
    let dir = unpack(name);
    is_older(&dir);
    is_older(&dir);
    // The first start brings it to the present format.
    let dir = dir.start().stop();
    verified(&dir);
    let old = dir.start();
    let space = expected["space"].as_str().expect("an id").to_owned();
    let found = old.space(&space).expect("the space is there");
    for what in ["frontier", "state", "entities"] {
        assert_eq!(found[what], expected[what], "{what}");
    }
    assert_eq!((&found["frozen"], &found["held"], &found["poisoned"]), (&json!([]), &json!([]), &json!(0)), "{found}");
    assert_eq!(old.export(&space), export);
    // A node that takes all of it over the wire has the same rows, and so the same state.
    let new = Node::new("new");
    new.join(&old.invite(&space, "writer"));
    converge(&space, &[&old, &new]);
    assert_eq!(new.space(&space).expect("joined")["state"], expected["state"]);
    assert_eq!(new.export(&space), export);
    for (n, line) in export.lines().enumerate() {
        let entity: Value = serde_json::from_str(line).expect("JSON");
        let names = ["collection", "id"].map(|key| entity[key].as_str().expect("text").to_owned());
        let path = format!("/v1/spaces/{space}/{}/{}", names[0], names[1]);
        let history = old.api.get(&format!("{path}/history")).expect(200).json();
        assert!(history["items"].as_array().is_some_and(|items| !items.is_empty()), "{path}: {history}");
        let writer = if n % 2 == 0 { &old } else { &new };
        writer.api.merge(&path, &json!({"since": n})).expect(200);
    }
    converge(&space, &[&old, &new]);
    assert_eq!(old.export(&space), new.export(&space));
    assert_eq!(old.export(&space).matches("\"since\":").count(), export.lines().count());
    verified(&new.stop());
    (old, space)
}

#[test]
fn a_store_of_the_program_before_is_read_as_it_was_and_goes_on() {
    let (old, space) = open_and_go_on("typical-store");
    // What was concurrent then is in conflict still, and what was deleted can come back.
    let blame = old.api.get(&format!("/v1/spaces/{space}/orders/o-1/blame?path=/status")).expect(200).json();
    let field = &blame["fields"][0];
    let values = [&field["value"], &field["others"][0]["value"]];
    assert!(values.contains(&&json!("paid")) && values.contains(&&json!("cancelled")), "{blame}");
    assert_eq!(old.entity(&format!("{space}/orders/count")).expect("present")["sold"], 111);
    old.api.put(&format!("/v1/spaces/{space}/gone/2"), &json!({"n": 2})).expect(201);
    verified(&old.stop());
}

/// A hundred bytes that stand for thousands of operations are as good as they were: the one who wrote them has gone on,
/// and so have others on top of them.
#[test]
fn changes_of_many_operations_in_few_bytes_are_still_taken() {
    let (old, space) = open_and_go_on("runs-store");
    let list = old.entity(&format!("{space}/lists/cut")).expect("present")["list"].clone();
    assert_eq!(list.as_array().map(Vec::len), Some(500));
    verified(&old.stop());
}
