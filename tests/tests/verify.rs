//! `tombolo verify`: nothing to say of a sound store, and every kind of damage by its place.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::json;
use tombolo_tests::{Node, NodeDir, eventually, run_cli};

fn table(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

fn verify(dir: &NodeDir) -> (Option<i32>, String) {
    let output = run_cli(dir.path(), &["verify"], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// Flips a bit in the middle of the last value of a table.
fn damage(dir: &NodeDir, name: &str) {
    let database = Database::open(dir.path().join("store.redb")).expect("opens");
    let read = database.begin_read().expect("reads");
    let (key, mut value) = {
        let table = read.open_table(table(name)).expect("is there");
        let last = table.last().expect("reads").expect("is not empty");
        (last.0.value().to_vec(), last.1.value().to_vec())
    };
    drop(read);
    let middle = value.len() / 2;
    value[middle] ^= 1;
    let write = database.begin_write().expect("writes");
    write.open_table(table(name)).expect("is there").insert(key.as_slice(), value.as_slice()).expect("inserts");
    write.commit().expect("commits");
}

fn store() -> (NodeDir, String) {
    let node = Node::new("a");
    let space = node.create_space("sound");
    for n in 0..10 {
        node.api.put(&format!("/v1/spaces/{space}/x/{n}"), &json!({"n": n, "text": "some text"})).expect(201);
    }
    node.api.delete(&format!("/v1/spaces/{space}/x/3")).expect(200);
    node.api.merge(&format!("/v1/spaces/{space}/x/4"), &json!({"n": 40})).expect(200);
    (node.stop(), space)
}

#[test]
fn a_sound_store_verifies_and_says_what_was_looked_at() {
    let (dir, _) = store();
    let output = run_cli(dir.path(), &["--json", "verify"], "");
    assert!(output.status.success(), "{output:?}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["entities"], 10, "{said}");
    assert_eq!(said["differences"], json!([]));
}

#[test]
fn a_damaged_row_is_named() {
    let (dir, _) = store();
    damage(&dir, "entities");
    let (code, said) = verify(&dir);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("x/9"), "{said}");
}

#[test]
fn damaged_entries_and_journals_are_found() {
    for name in ["entries", "journal"] {
        let (dir, _) = store();
        damage(&dir, name);
        let (code, said) = verify(&dir);
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains("damage") || said.contains(name), "{name}: {said}");
    }
}

#[test]
fn a_damaged_row_is_not_served_but_built_anew_and_the_rest_goes_on() {
    let (dir, space) = store();
    damage(&dir, "entities");
    let node = dir.start();
    let path = format!("/v1/spaces/{space}/x/9");
    let answer = node.api.get(&path);
    assert_eq!((answer.status, answer.problem().as_str()), (500, "damaged"), "{answer:?}");
    assert_eq!(node.entity(&format!("{space}/x/1")), Some(json!({"n": 1, "text": "some text"})));
    let healed =
        eventually("the row is built anew", || Some(node.api.get(&path)).filter(|answer| answer.status == 200));
    assert_eq!(healed.json(), json!({"n": 9, "text": "some text"}));
    assert_eq!(node.space(&space).expect("the space")["repaired"], 1);
    node.api.merge(&path, &json!({"n": 2})).expect(200);
    let (code, said) = verify(&node.stop());
    assert_eq!(code, Some(0), "{said}");
}
