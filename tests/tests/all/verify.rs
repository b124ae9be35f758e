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
    node.api.put(&format!("/v1/spaces/{space}/x/new"), &json!({"n": 11})).expect(201);
    let healed =
        eventually("the row is built anew", || Some(node.api.get(&path)).filter(|answer| answer.status == 200));
    assert_eq!(healed.json(), json!({"n": 9, "text": "some text"}));
    assert_eq!(node.space(&space).expect("the space")["repaired"], 1);
    node.api.merge(&path, &json!({"n": 2})).expect(200);
    let (code, said) = verify(&node.stop());
    assert_eq!(code, Some(0), "{said}");
}

/// Flips a bit in the middle of every value of a table that contains some text.
fn damage_what_holds(dir: &NodeDir, name: &str, text: &[u8]) -> usize {
    let database = Database::open(dir.path().join("store.redb")).expect("opens");
    let write = database.begin_write().expect("writes");
    let mut damaged = 0;
    {
        let mut table = write.open_table(table(name)).expect("is there");
        let all: Vec<(Vec<u8>, Vec<u8>)> = table
            .iter()
            .expect("reads")
            .map(|row| row.expect("reads"))
            .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
            .collect();
        for (key, mut value) in all {
            if value.windows(text.len()).any(|window| window == text) {
                let middle = value.len() / 2;
                value[middle] ^= 1;
                table.insert(key.as_slice(), value.as_slice()).expect("inserts");
                damaged += 1;
            }
        }
    }
    write.commit().expect("commits");
    damaged
}

/// A store of more than one page, and in its second page an entity whose text is `precious`.
fn long_store() -> (NodeDir, String) {
    let node = Node::new("a");
    let space = node.create_space("sound");
    let lines: Vec<String> = (0..300).map(|n| json!({"id": format!("a-{n:03}"), "n": n}).to_string()).collect();
    let import = node.api.send(
        "POST",
        &format!("/v1/spaces/{space}/x/import?id=id"),
        &[("content-type", "application/x-ndjson")],
        Some(lines.join("\n")),
    );
    import.expect(200);
    node.api.put(&format!("/v1/spaces/{space}/x/broken"), &json!({"text": "precious"})).expect(201);
    node.api.put(&format!("/v1/spaces/{space}/x/c"), &json!({"n": 1})).expect(201);
    (node.stop(), space)
}

#[test]
fn one_rotten_entry_hides_no_other_and_harms_no_other_entity() {
    let (dir, _) = long_store();
    assert_eq!(damage_what_holds(&dir, "entries", b"precious"), 1);
    damage(&dir, "entities");
    let (code, said) = verify(&dir);
    assert_eq!(code, Some(1), "{said}");
    assert!(["cannot be read", "x/broken", "x/c"].iter().all(|what| said.contains(what)), "{said}");
    assert!(!said.contains("x/a-"), "{said}");
    for (id, sound) in [("a-007", true), ("broken", false), ("c", false)] {
        let output = run_cli(dir.path(), &["--json", "verify", "--entity", &format!("sound/x/{id}")], "");
        assert_eq!(output.status.success(), sound, "{id}: {output:?}");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(said["differences"].as_array().map(Vec::is_empty), Some(sound), "{said}");
        assert_eq!(said["changes"], if id == "broken" { 0 } else { 1 }, "{said}");
    }
}

#[test]
fn no_reader_serves_a_damaged_row_or_leaves_it_out() {
    let (dir, space) = long_store();
    // Its entry is damaged too, so that it stays as it is.
    assert_eq!(damage_what_holds(&dir, "entities", b"precious"), 1);
    assert_eq!(damage_what_holds(&dir, "entries", b"precious"), 1);
    let node = dir.start();
    let named = |answer: &tombolo_tests::Answer, what: &str| {
        assert_eq!((answer.status, answer.problem().as_str()), (500, "damaged"), "{what}: {answer:?}");
        let problem = answer.json();
        assert_eq!((&problem["collection"], &problem["id"]), (&json!("x"), &json!("broken")), "{what}");
        assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("tombolo status")), "{what}: {problem}");
    };
    let entity = format!("/v1/spaces/{space}/x/broken");
    let at = "2999-01-01T00:00:00Z";
    let base = "0".repeat(32);
    for round in 0..2 {
        for what in ["", "/history", "/blame", &format!("?at={at}")] {
            named(&node.api.get(&format!("{entity}{what}")), what);
        }
        let headers = [("content-type", "application/json"), ("tombolo-base", base.as_str())];
        named(&node.api.send("PUT", &entity, &headers, Some("{}".to_owned())), "a base");
        let refused = node.api.merge(&entity, &json!({"n": 2}));
        assert_eq!((refused.status, refused.problem().as_str()), (500, "damaged"), "{refused:?}");
        // What comes before it is listed, and the page behind that ends.
        let page = node.api.get(&format!("/v1/spaces/{space}/x?limit=1000")).expect(200).json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(300), "{page}");
        let cursor = page["cursor"].as_str().expect("there is more");
        named(&node.api.get(&format!("/v1/spaces/{space}/x?limit=1000&cursor={cursor}")), "the listing");
        named(&node.api.get(&format!("/v1/spaces/{space}/x?prefix=b")), "a listing of it alone");
        // What comes before is told; then its name and an end that is none.
        let output = node.cli(&["export", "sound"]);
        let (told, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), told.lines().count()), (Some(1), 300), "{error}");
        assert!(told.lines().all(|line| line.starts_with(r#"{"collection":"x","id":"a-"#)), "{told}");
        assert!(error.contains("x/broken is damaged") && error.contains("try: "), "{error}");
        assert!(node.api.try_send("GET", &format!("/v1/spaces/{space}/export"), &[], None).is_err(), "not complete");
        let changes = node.api.try_send("GET", &format!("/v1/spaces/{space}/changes"), &[], None);
        assert!(changes.is_err(), "not complete: {changes:?}");
        assert!(node.api.try_send("GET", &format!("/v1/spaces/{space}/changes?since={base}"), &[], None).is_err());
        if round == 0 {
            // From now on it is known that it cannot be built anew, and why.
            let frozen = eventually("frozen", || {
                let frozen = node.space(&space)?["frozen"].clone();
                frozen.as_array().is_some_and(|frozen| !frozen.is_empty()).then_some(frozen)
            });
            assert!(frozen.to_string().contains("broken") && frozen.to_string().contains("checksum"), "{frozen}");
        }
    }
    assert_eq!(node.entity(&format!("{space}/x/c")), Some(json!({"n": 1})));
    let (code, said) = verify(&node.stop());
    assert_eq!(code, Some(1));
    assert!(said.contains("entries"), "{said}");
}

#[test]
fn whoever_meets_a_damaged_row_has_it_built_anew() {
    let (mut dir, space) = long_store();
    let entity = format!("/v1/spaces/{space}/x/broken");
    for what in ["/history", "/blame", "export", "base"] {
        assert_eq!(damage_what_holds(&dir, "entities", b"precious"), 1, "{what}");
        let node = dir.start();
        match what {
            "export" => {
                let output = node.cli(&["export", "sound"]);
                assert_eq!(output.status.code(), Some(1), "{output:?}");
            }
            "base" => {
                let base = "0".repeat(32);
                let headers = [("content-type", "application/json"), ("tombolo-base", base.as_str())];
                node.api.send("PUT", &entity, &headers, Some("{}".to_owned())).expect(500);
            }
            _ => drop(node.api.get(&format!("{entity}{what}")).expect(500)),
        }
        let space_then = eventually("a row that is served again", || {
            node.entity(&format!("{space}/x/broken")).and_then(|_| node.space(&space))
        });
        // The first pass over all rows, after five seconds, would have found it too.
        assert_eq!((&space_then["repaired"], &space_then["scrubs"]), (&json!(1), &json!(0)), "{what}");
        assert_eq!(node.export(&space).lines().count(), 302, "{what}");
        dir = node.stop();
    }
    assert_eq!(verify(&dir).0, Some(0));
}

/// A backup on a volume that cannot be written: it is read as it is.
#[test]
fn a_store_that_cannot_be_written_is_verified() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;

    let (dir, _) = store();
    let backup = tempfile::tempdir().expect("a directory");
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    for name in ["identity", "store.redb"] {
        std::fs::copy(dir.path().join(name), backup.path().join(name)).expect("copied");
        mode(&backup.path().join(name), 0o444);
    }
    let program = backup.path().join("tombolo");
    std::fs::copy(tombolo_tests::binary(), &program).expect("copied");
    mode(&program, 0o555);
    mode(backup.path(), 0o555);
    let verify = |args: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.arg("--data").arg(backup.path()).args(args).env("HOME", "/");
        // Modes mean nothing to root.
        if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            command.uid(65_534).gid(65_534);
        }
        command.output().expect("runs")
    };
    let all = verify(&["--json", "verify"]);
    let said: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap_or_else(|_| panic!("{all:?}"));
    assert_eq!((&said["entities"], &said["differences"]), (&json!(10), &json!([])), "{all:?}");
    let one = verify(&["verify", "--entity", "sound/x/4"]);
    assert!(one.status.success(), "{one:?}");
    mode(backup.path(), 0o755);
}

#[test]
fn a_running_node_is_named_once_when_one_entity_is_verified() {
    let node = Node::new("a");
    let output = node.cli(&["verify", "--entity", "s/c/i"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("stop the node first"), "{said}");
    assert_eq!(said.matches("store.redb").count(), 1, "{said}");
}
