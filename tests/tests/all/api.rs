//! The HTTP API as its users meet it: writes, reads, and what bad input gets.

use serde_json::json;
use tombolo_tests::{Node, NodeDir, converge, eventually, run_cli};

fn node_with_space() -> (Node, String) {
    let node = Node::new("a");
    let space = node.create_space("shop");
    (node, space)
}

#[test]
fn an_entity_lives_and_dies() {
    let (a, space) = node_with_space();
    let path = format!("/v1/spaces/{space}/orders/o-1");
    let made = a.api.put(&path, &json!({"b": 1, "a": {"x": [1, 2.5, null]}})).expect(201);
    let read = a.api.get(&path).expect(200);
    assert_eq!(read.body.strip_suffix('\n'), Some(r#"{"a":{"x":[1,2.5,null]},"b":1}"#), "a line");
    assert_eq!(read.header("etag"), made.header("etag"));
    let etag = read.header("etag").expect("a revision").to_owned();
    assert_eq!(a.api.send("GET", &path, &[("if-none-match", &etag)], None).status, 304);
    let same = a.api.put(&path, &json!({"a": {"x": [1, 2.5, null]}, "b": 1})).expect(200);
    assert_eq!(same.json()["changed"], false);
    assert_eq!(same.header("tombolo-receipt"), made.header("tombolo-receipt"));
    a.api.merge(&path, &json!({"b": null, "c": "new"})).expect(200);
    assert_eq!(a.api.get(&path).json(), json!({"a": {"x": [1, 2.5, null]}, "c": "new"}));
    let patch = json!([{"op": "replace", "path": "/a/x/0", "value": 9}, {"op": "test", "path": "/c", "value": "new"}]);
    let headers = [("content-type", "application/json-patch+json")];
    a.api.send("PATCH", &path, &headers, Some(patch.to_string())).expect(200);
    assert_eq!(a.api.get(&path).json()["a"]["x"][0], 9);
    a.api.delete(&path).expect(200);
    assert_eq!(a.api.get(&path).expect(404).problem(), "not-found");
    assert_eq!(a.api.merge(&path, &json!({"c": 1})).expect(404).problem(), "not-found");
    a.api.put(&path, &json!({"again": true})).expect(201);
    assert_eq!(a.api.get(&path).json(), json!({"again": true}));
}

#[test]
fn a_put_from_a_stale_read_with_and_without_base() {
    let (a, space) = node_with_space();
    let path = format!("/v1/spaces/{space}/x/1");
    let first = a.api.put(&path, &json!({"a": 1, "b": 1})).expect(201);
    let etag = first.header("etag").expect("a revision").to_owned();
    let base = etag.trim_matches('"').to_owned();
    a.api.merge(&path, &json!({"b": 2})).expect(200);
    let stale = Some(json!({"a": 9, "b": 1}).to_string());
    let json = ("content-type", "application/json");
    let refused = a.api.send("PUT", &path, &[json, ("if-match", &etag)], stale.clone()).expect(412);
    assert_eq!(refused.problem(), "revision-mismatch");
    assert_eq!(refused.json()["current"].as_str(), a.api.get(&path).header("etag").map(|e| e.trim_matches('"')));
    a.api.send("PUT", &path, &[json, ("tombolo-base", &base)], stale.clone()).expect(200);
    assert_eq!(a.api.get(&path).json(), json!({"a": 9, "b": 2}), "with its base, a stale PUT keeps the other's edit");
    a.api.send("PUT", &path, &[json], stale).expect(200);
    assert_eq!(a.api.get(&path).json(), json!({"a": 9, "b": 1}), "without, it replaces what is here");
    let unknown = a.api.send("PUT", &path, &[json, ("tombolo-base", &"0".repeat(32))], Some("{}".into())).expect(412);
    assert_eq!(unknown.problem(), "base-unknown");
    assert!(unknown.json()["current"].is_string());
}

#[test]
fn a_transaction_is_one_entry_or_nothing() {
    let (a, space) = node_with_space();
    let path = format!("/v1/spaces/{space}/transactions");
    let both = json!({"writes": [
        {"collection": "acc", "id": "x", "put": {"n": 1}},
        {"collection": "acc", "id": "y", "put": {"n": 2}},
        {"collection": "acc", "id": "x", "ops": [{"op": "increment", "path": "/n2", "by": 5}]},
    ]});
    let answer = a.api.post(&path, &both).expect(200).json();
    assert_eq!(answer["writes"][0]["receipt"], answer["writes"][1]["receipt"]);
    assert_eq!(a.entity(&format!("{space}/acc/x")), Some(json!({"n": 1, "n2": 5})));
    let half = json!({"writes": [
        {"collection": "acc", "id": "z", "put": {"n": 1}},
        {"collection": "acc", "id": "x", "put": {"n": 9}, "if_none_match": true},
    ]});
    assert_eq!(a.api.post(&path, &half).expect(412).problem(), "revision-mismatch");
    assert_eq!(a.entity(&format!("{space}/acc/z")), None);
}

#[test]
fn bad_input_is_named_and_nothing_is_lost() {
    let (a, space) = node_with_space();
    let path = format!("/v1/spaces/{space}/x/1");
    a.api.put(&path, &json!({"n": 1})).expect(201);
    let send = |body: &str| a.api.send("PUT", &path, &[("content-type", "application/json")], Some(body.to_owned()));
    let invalid = send("{\"a\": 1,\n \"b\" 2}").expect(422);
    assert_eq!((invalid.problem().as_str(), &invalid.json()["line"]), ("invalid-json", &json!(2)));
    assert_eq!(send("[1]").expect(422).problem(), "invalid-value");
    assert_eq!(send("{\"n\": 9007199254740993.0}").status, 200, "a double is the nearest double");
    send("{\"n\": 1}").expect(200);
    assert!(
        ["invalid-value", "invalid-json"]
            .contains(&send("{\"n\": 36893488147419103233}").expect(422).problem().as_str())
    );
    let large = format!("{{\"s\":\"{}\"}}", "x".repeat(2 << 20));
    let refused = send(&large).expect(413);
    assert_eq!(refused.problem(), "too-large");
    assert!(refused.json()["limit"].is_number());
    let bad_name = a.api.put(&format!("/v1/spaces/{space}/bad%20name/1"), &json!({}));
    assert_eq!(bad_name.expect(422).problem(), "invalid-name");
    let control = a.api.put(&format!("/v1/spaces/{space}/x/a%01b"), &json!({}));
    assert_eq!(control.expect(422).problem(), "invalid-name");
    let long = a.api.put(&format!("/v1/spaces/{space}/x/{}", "i".repeat(257)), &json!({}));
    assert_eq!(long.expect(422).problem(), "invalid-name");
    assert_eq!(a.api.get("/v1/spaces/nowhere/x/1").expect(404).problem(), "unknown-space");
    let wrong = [("authorization", "Bearer wrong")];
    assert_eq!(a.api.send("GET", &path, &wrong, None).expect(401).problem(), "unauthorized");
    let host = [("host", "evil.example")];
    assert_eq!(a.api.send("GET", &path, &host, None).expect(403).problem(), "forbidden-host");
    let origin = [("origin", "https://evil.example")];
    assert_eq!(a.api.send("PUT", &path, &origin, Some("{}".into())).expect(403).problem(), "forbidden-origin");
    assert_eq!(a.entity(&format!("{space}/x/1")), Some(json!({"n": 1})), "nothing was lost");
}

#[test]
fn tickets_are_single_use_and_their_faults_are_told_apart() {
    let (a, space) = node_with_space();
    let (b, c) = (Node::new("b"), Node::new("c"));
    let ticket = a.invite(&space, "writer");
    b.join(&ticket);
    let used = c.api.post("/v1/join?timeout=30s", &json!({"ticket": ticket}));
    assert_eq!((used.status, used.problem().as_str()), (409, "ticket-used"), "{used:?}");
    let half = &ticket[..ticket.len() - 7];
    assert_eq!(c.api.post("/v1/join", &json!({"ticket": half})).expect(422).problem(), "invalid-ticket");
    assert_eq!(c.api.post("/v1/join", &json!({"ticket": "hello"})).expect(422).problem(), "invalid-ticket");
    assert_eq!(c.space(&space), None);
    // A reader reads and does not write.
    let d = Node::new("d");
    d.join(&a.invite(&space, "reader"));
    a.api.put(&format!("/v1/spaces/{space}/x/1"), &json!({"n": 1})).expect(201);
    converge(&space, &[&a, &b, &d]);
    assert_eq!(d.api.put(&format!("/v1/spaces/{space}/x/1"), &json!({"n": 2})).expect(403).problem(), "role");
}

#[test]
fn a_receipt_says_who_has_the_write() {
    let (a, space) = node_with_space();
    let b = Node::new("b");
    b.join(&a.invite(&space, "writer"));
    converge(&space, &[&a, &b]);
    let path = format!("/v1/spaces/{space}/x/1");
    let receipt = a.api.put(&path, &json!({"n": 1})).expect(201).header("tombolo-receipt").expect("one").to_owned();
    let everywhere = a.api.get(&format!("/v1/receipts/{receipt}?wait=all&timeout=30s")).expect(200).json();
    assert_eq!((&everywhere["everywhere"], &everywhere["acknowledged"]), (&json!(true), &json!(2)), "{everywhere}");
    let _b = b.stop();
    eventually("b is gone", || a.status()["connections"].as_array().is_some_and(Vec::is_empty).then_some(()));
    let receipt = a.api.put(&path, &json!({"n": 2})).expect(200).header("tombolo-receipt").expect("one").to_owned();
    let here = a.api.get(&format!("/v1/receipts/{receipt}?wait=all&timeout=50ms")).expect(202).json();
    assert_eq!((&here["here"], &here["everywhere"]), (&json!(true), &json!(false)));
    let status = a.space(&space).expect("held");
    assert_eq!(status["members"][0]["reason"].as_str(), Some("not connected"), "{status}");
}

#[test]
fn one_data_directory_has_one_process() {
    let (a, _) = node_with_space();
    let second = run_cli(a.path(), &["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"], "");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("in use"), "{said}");
    assert_eq!(a.status()["node"], a.id.as_str(), "the first goes on");
}

#[test]
fn a_foreign_or_truncated_store_is_refused_by_name() {
    let dir = NodeDir::new("a");
    let store = dir.path().join("store.redb");
    let whole = std::fs::read(&store).expect("a store");
    for bytes in [b"this is not a database".to_vec(), whole[..whole.len() / 2].to_vec()] {
        std::fs::write(&store, bytes).expect("written");
        let output = run_cli(dir.path(), &["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"], "");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("store.redb"), "{said}");
    }
}
