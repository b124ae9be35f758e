//! An entity's past as its users meet it: history, blame, how it was, and one entity verified.

use redb::{Database, ReadableTable, TableDefinition};
use serde_json::{Value, json};
use tombolo_tests::{Node, NodeDir, converge, run_cli};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn stdout(node: &Node, args: &[&str]) -> String {
    let output = node.cli(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The items of a history, the newest first.
fn history(node: &Node, path: &str, query: &str) -> Vec<Value> {
    let page = node.api.get(&format!("{path}/history{query}")).expect(200).json();
    page["items"].as_array().expect("items").clone()
}

#[test]
fn every_change_is_told_with_its_author_and_what_it_wrote_to() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    b.join(&a.invite(&space, "writer"));
    let path = format!("/v1/spaces/{space}/orders/o-1");
    let first = a.api.put(&path, &json!({"status": "open", "lines": {"x": {"qty": 1}}})).expect(201);
    converge(&space, &[&a, &b]);
    let transaction = json!({"writes": [
        {"collection": "orders", "id": "o-1", "merge": {"status": "paid", "lines": {"x": {"qty": 2}}}},
        {"collection": "stock", "id": "s", "put": {"n": 1}},
    ]});
    let second = b.api.post(&format!("/v1/spaces/{space}/transactions"), &transaction).expect(200).json();
    converge(&space, &[&a, &b]);
    a.api.delete(&path).expect(200);
    let items = history(&a, &path, "");
    assert_eq!(items.len(), 3, "{items:?}");
    assert_eq!((&items[0]["deleted"], &items[0]["paths"]), (&json!(true), &json!([])));
    assert_eq!(items[1]["paths"], json!(["/lines/x/qty", "/status"]));
    assert_eq!((&items[1]["entities"], &items[1]["node"]), (&json!(2), &json!(b.id)));
    assert_eq!(items[1]["receipt"], second["receipt"]);
    assert_eq!(
        (&items[2]["node"], text(&items[2]["receipt"]).as_str()),
        (&json!(a.id), first.header("tombolo-receipt").expect("one"))
    );
    assert_eq!(format!("\"{}\"", text(&items[2]["revision"])), first.header("etag").expect("one"));
    assert!(
        items.iter().all(|item| item["bytes"].as_u64() > Some(60) && text(&item["time"]).ends_with('Z')),
        "{items:?}"
    );
    let lines = stdout(&a, &["history", "shop/orders/o-1"]);
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[0].contains("deleted") && lines[1].contains("  b  ") && lines[1].contains("/status"), "{lines:?}");
    assert!(lines[1].contains("1 other"), "{lines:?}");
    let json = stdout(&a, &["--json", "history", "shop/orders/o-1", "--limit", "1"]);
    assert_eq!(serde_json::from_str::<Value>(&json).expect("one line"), items[0]);
}

#[test]
fn pages_follow_each_other_and_may_be_about_one_field() {
    let a = Node::new("a");
    let space = a.create_space("shop");
    let path = format!("/v1/spaces/{space}/x/1");
    a.api.put(&path, &json!({"a": 0, "b": {"c": 0}})).expect(201);
    for n in 1..=10 {
        a.api.merge(&path, &if n % 2 == 0 { json!({"a": n}) } else { json!({"b": {"c": n}}) }).expect(200);
    }
    let all = history(&a, &path, "");
    let (mut paged, mut query) = (Vec::new(), "?limit=4".to_owned());
    for expected in [4, 4, 3] {
        let page = a.api.get(&format!("{path}/history{query}")).expect(200).json();
        let items = page["items"].as_array().expect("items").clone();
        assert_eq!(items.len(), expected);
        assert_eq!(page["before"].is_string(), expected == 4, "{page}");
        query = format!("?limit=4&before={}", text(&page["before"]));
        paged.extend(items);
    }
    assert_eq!(paged, all);
    let of_b = history(&a, &path, "?path=/b");
    assert_eq!(of_b.len(), 6, "five changes and the creation");
    assert!(of_b.iter().all(|item| item["paths"].to_string().contains("/b/c")), "{of_b:?}");
    assert_eq!(stdout(&a, &["history", "shop/x/1", "--path", "/b/c"]).lines().count(), 6);
    assert_eq!(a.api.get(&format!("{path}/history?limit=0")).expect(400).problem(), "invalid-argument");
    assert_eq!(a.api.get(&format!("{path}/history?before=x")).expect(400).problem(), "invalid-argument");
    let foreign = format!("{path}/history?before={}-1", "0".repeat(32));
    assert_eq!(a.api.get(&foreign).expect(400).problem(), "invalid-argument");
    assert_eq!(a.api.get(&format!("{path}/history?path=b")).expect(400).problem(), "invalid-argument");
    assert_eq!(a.api.get(&format!("/v1/spaces/{space}/x/none/history")).expect(404).problem(), "not-found");
}

#[test]
fn an_entity_is_shown_as_it_was() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    b.join(&a.invite(&space, "writer"));
    let path = format!("/v1/spaces/{space}/x/1");
    a.api.put(&path, &json!({"n": 0, "list": [1]})).expect(201);
    converge(&space, &[&a, &b]);
    for n in 1..=3 {
        b.api.merge(&path, &json!({"n": n})).expect(200);
    }
    converge(&space, &[&a, &b]);
    a.api.delete(&path).expect(200);
    let items = history(&a, &path, "");
    let values = [None, Some(3), Some(2), Some(1), Some(0)];
    for (item, n) in items.iter().zip(values) {
        for at in ["revision", "receipt", "time"] {
            let at = text(&item[at]);
            let answer = a.api.get(&format!("{path}?at={at}"));
            match n {
                Some(n) => {
                    let answer = answer.expect(200);
                    // Two changes of one millisecond are not told apart by their time.
                    let newest = items.iter().find(|other| other["time"] == item["time"]).expect("itself");
                    if !at.ends_with('Z') || newest == item {
                        assert_eq!(answer.json(), json!({"n": n, "list": [1]}), "{at}");
                        let revision = answer.header("etag").expect("a revision").trim_matches('"').to_owned();
                        assert_eq!(revision, text(&item["revision"]), "{at}");
                        let read = stdout(&a, &["get", "shop/x/1", "--at", &at]);
                        assert_eq!(read.trim_end(), answer.body.trim_end());
                    }
                }
                None => assert_eq!(answer.expect(404).problem(), "not-found", "{at}"),
            }
        }
    }
    assert_eq!(a.api.get(&format!("{path}?at=1999-12-31T23:59:59%2B01:00")).expect(404).problem(), "not-found");
    let unknown = a.api.get(&format!("{path}?at={}", "0".repeat(32))).expect(404);
    assert_eq!(unknown.problem(), "revision-unknown");
    assert!(unknown.json()["hint"].as_str().is_some_and(|hint| hint.contains("tombolo history")), "{unknown:?}");
    let receipt = format!("{}-1", "0".repeat(32));
    assert_eq!(a.api.get(&format!("{path}?at={receipt}")).expect(404).problem(), "revision-unknown");
    for wrong in ["yesterday", "2027-01-15", ""] {
        assert_eq!(a.api.get(&format!("{path}?at={wrong}")).expect(400).problem(), "invalid-argument", "{wrong}");
    }
    let said = a.cli(&["get", "shop/x/1", "--at", &"0".repeat(32)]);
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("try: "), "{said:?}");
}

#[test]
fn a_field_names_its_author_and_what_it_is_in_conflict_with() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    b.join(&a.invite(&space, "writer"));
    let path = format!("/v1/spaces/{space}/x/1");
    let made =
        a.api.put(&path, &json!({"both": 0, "gone": 1, "kept": {"big": 18_446_744_073_709_551_615_u64}})).expect(201);
    converge(&space, &[&a, &b]);
    a.api.ops(&path, &json!([{"op": "increment", "path": "/sold", "by": 2}])).expect(200);
    converge(&space, &[&a, &b]);
    // Offline, both write one field.
    let dir = b.stop();
    a.api.merge(&path, &json!({"both": "a"})).expect(200);
    let a = a.stop();
    let b = dir.start();
    b.api.merge(&path, &json!({"both": "b", "gone": null})).expect(200);
    let a = a.start();
    b.api.post("/v1/peers", &json!({"addr": a.listen})).expect(201);
    converge(&space, &[&a, &b]);
    let answer = a.api.get(&format!("{path}/blame")).expect(200).json();
    let fields = answer["fields"].as_array().expect("fields");
    let of = |path: &str| fields.iter().find(|field| field["path"] == path).expect("told").clone();
    assert_eq!(fields.len(), 3, "{answer}");
    let both = of("/both");
    let values = [&both["value"], &both["others"][0]["value"]].map(text);
    let nodes = [&both["node"], &both["others"][0]["node"]].map(text);
    for (value, node) in values.iter().zip(&nodes) {
        assert_eq!(node, if value == "a" { &a.id } else { &b.id });
    }
    assert_ne!(values[0], values[1]);
    let kept = of("/kept/big");
    assert_eq!(kept["value"], json!(18_446_744_073_709_551_615_u64));
    assert_eq!(text(&kept["receipt"]), made.header("tombolo-receipt").expect("one"));
    assert_eq!((&of("/sold")["counter"], &of("/sold")["value"]), (&json!(true), &json!(2)));
    let lines = stdout(&a, &["blame", "shop/x/1"]);
    assert!(lines.lines().count() == 4 && lines.contains("in conflict with"), "{lines}");
    let gone = a.api.get(&format!("{path}/blame?path=/gone")).expect(200).json();
    assert_eq!((&gone["fields"], &gone["removed"]["node"]), (&json!([]), &json!(b.id)), "{gone}");
    assert!(stdout(&a, &["blame", "shop/x/1", "/gone"]).contains("is gone"));
    for never in ["/never", "/kept/never"] {
        let answer = a.api.get(&format!("{path}/blame?path={never}"));
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{never}: {answer:?}");
    }
    let some = a.api.get(&format!("{path}/blame?limit=1")).expect(200).json();
    assert_eq!((some["fields"].as_array().map(Vec::len), &some["more"]), (Some(1), &json!(true)));
    a.api.delete(&path).expect(200);
    assert_eq!(a.api.get(&format!("{path}/blame")).expect(404).problem(), "not-found");
    let again = a.api.put(&path, &json!({"kept": 1})).expect(201);
    let sold = a.api.get(&format!("{path}/blame?path=/sold")).expect(200).json();
    assert_eq!(text(&sold["removed"]["receipt"]), again.header("tombolo-receipt").expect("one"), "{sold}");
    assert_eq!(a.api.get(&format!("{path}/blame?path=/never")).expect(404).problem(), "not-found");
}

fn store() -> NodeDir {
    let node = Node::new("a");
    let space = node.create_space("shop");
    for n in 0..5 {
        for id in ["1", "2"] {
            node.api.put(&format!("/v1/spaces/{space}/x/{id}"), &json!({"n": n})).expect(if n == 0 {
                201
            } else {
                200
            });
        }
    }
    node.stop()
}

fn verify(dir: &NodeDir, entity: &str) -> (Option<i32>, Value, String) {
    let output = run_cli(dir.path(), &["--json", "verify", "--entity", entity], "");
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), said, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn one_entity_is_folded_again_and_differences_are_named() {
    let dir = store();
    let (code, said, _) = verify(&dir, "shop/x/1");
    assert_eq!((code, &said["changes"], &said["differences"]), (Some(0), &json!(5), &json!([])), "{said}");
    assert_eq!(verify(&dir, "shop/x/none").0, Some(1));
    assert!(verify(&dir, "other/x/1").2.contains("no space"), "the space is named");
    assert_eq!(run_cli(dir.path(), &["verify", "--entity", "shop"], "").status.code(), Some(2));
    // The row of the first is put in the place of the second's, whole and sound; then it is damaged.
    let rows: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entities");
    let key = |id: &str| [&1_u32.to_be_bytes()[..], b"x\0", id.as_bytes()].concat();
    let database = Database::open(dir.path().join("store.redb")).expect("opens");
    let write = database.begin_write().expect("writes");
    {
        let mut table = write.open_table(rows).expect("is there");
        let mut other = table.get(key("1").as_slice()).expect("reads").expect("has a row").value().to_vec();
        table.insert(key("2").as_slice(), other.as_slice()).expect("inserts").expect("the key is the row's");
        let middle = other.len() / 2;
        other[middle] ^= 1;
        table.insert(key("1").as_slice(), other.as_slice()).expect("inserts");
    }
    write.commit().expect("commits");
    drop(database);
    for (id, word) in [("1", "damaged"), ("2", "its row ends")] {
        let (code, said, error) = verify(&dir, &format!("shop/x/{id}"));
        assert_eq!((code, &said["changes"]), (Some(1), &json!(5)), "its entries are sound: {said} {error}");
        assert!(said["differences"].to_string().contains(word), "{said}");
    }
}
