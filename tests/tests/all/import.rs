//! Import and export: real rows, resumed after a kill, idempotent, honest about malformed lines.

use std::fmt::Write as _;

use serde_json::json;
use tombolo_tests::{Node, eventually};

fn rows(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, r#"{{"id":"c{n:06}","name":"City {n}","lat":{}.5,"tags":["a","b"]}}"#, n % 90).expect("text");
        text
    })
}

#[test]
fn an_import_killed_in_the_middle_is_resumed_and_repeats_nothing() {
    let a = Node::new("a");
    let space = a.create_space("geo");
    let file = a.path().join("cities.ndjson");
    std::fs::write(&file, rows(20_000)).expect("written");
    let file = file.to_str().expect("text").to_owned();
    let target = format!("{space}/cities");
    let path = a.path().to_path_buf();
    let args = ["import".to_owned(), target.clone(), file.clone(), "--id".to_owned(), "id".to_owned()];
    let first = std::thread::spawn({
        let (path, args) = (path.clone(), args.clone());
        move || tombolo_tests::run_cli(&path, &args, "")
    });
    eventually("some rows", || a.space(&space)?["entities"].as_u64().filter(|n| *n > 500));
    let dir = a.kill();
    assert!(!first.join().expect("ended").status.success(), "the node was killed under it");
    let a = dir.start();
    let before = a.space(&space).expect("held")["entities"].as_u64().expect("a number");
    let again = tombolo_tests::run_cli(&path, &args, "");
    assert!(again.status.success(), "{again:?}");
    let space_now = a.space(&space).expect("held");
    assert_eq!(space_now["entities"], 20_000);
    let journal = space_now["journal"].as_u64().expect("a number");
    assert!(before >= 500 && journal <= 20_000 + 10, "every row was written once: {journal} journal rows");
    let third = a.cli(&["--json", "import", &target, &file, "--id", "id", "--restart"]);
    assert!(third.status.success(), "{third:?}");
    assert_eq!(a.space(&space).expect("held")["journal"].as_u64(), Some(journal), "importing again writes nothing");
}

#[test]
fn malformed_lines_are_reported_by_number_and_skipped_only_if_asked() {
    let a = Node::new("a");
    let space = a.create_space("geo");
    let text = "{\"id\":\"1\"}\n{\"id\":\"2\",}\n{\"noid\":true}\n{\"id\":\"4\"}\n";
    let target = format!("{space}/x");
    let strict = tombolo_tests::run_cli(a.path(), &["import", &target, "-", "--id", "id"], text);
    assert_eq!(strict.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&strict.stderr).contains("line 2"), "{strict:?}");
    assert_eq!(a.entity(&format!("{target}/4")), None);
    let skip = tombolo_tests::run_cli(a.path(), &["--json", "import", &target, "-", "--id", "id", "--skip-bad"], text);
    assert!(skip.status.success(), "{skip:?}");
    assert_eq!(a.entity(&format!("{target}/4")), Some(json!({"id": "4"})));
    let said = String::from_utf8_lossy(&skip.stderr).into_owned() + &String::from_utf8_lossy(&skip.stdout);
    assert!(said.contains('2') && said.contains('3'), "both bad lines are named: {said}");
}

#[test]
fn a_json_array_and_a_template_and_equal_exports() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("geo");
    let array = r#"[ {"country":"IT","n":1}, {"country":"AT","n":2} ]"#;
    let args = ["import", &format!("{space}/x"), "-", "--id-template", "{country}-{n}"];
    let output = tombolo_tests::run_cli(a.path(), &args, array);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(a.entity(&format!("{space}/x/IT-1")), Some(json!({"country": "IT", "n": 1})));
    b.join(&a.invite(&space, "writer"));
    tombolo_tests::converge(&space, &[&a, &b]);
    assert_eq!(a.export(&space), b.export(&space));
    let exported = a.cli(&["export", &space]);
    assert_eq!(String::from_utf8_lossy(&exported.stdout), a.export(&space));
}

/// Small lines over an entity of 60,000 keys go to it one by one, beside the engine, and in their order.
#[test]
fn small_lines_over_a_large_entity_are_made_in_their_order() {
    const LINES: usize = 2_000;
    let a = Node::new("a");
    let space = a.create_space("shop");
    let keys: serde_json::Map<_, _> = (0..60_000).map(|n| (format!("k{n}"), json!(n))).collect();
    a.api.put(&format!("/v1/spaces/{space}/x/big"), &json!(keys)).expect(201);
    // One of ten goes to the large one: some in every batch that is under way at once.
    let text = (0..LINES).fold(String::new(), |mut text, n| {
        let id = if n % 10 == 5 { "big".to_owned() } else { format!("s{n}") };
        writeln!(text, r#"{{"id":"{id}","n":{n}}}"#).expect("text");
        text
    });
    let path = format!("/v1/spaces/{space}/x/import?id=id");
    let answer = a.api.send("POST", &path, &[("content-type", "application/x-ndjson")], Some(text)).expect(200);
    let done = &answer.lines().pop().expect("the end")["done"];
    let counted =
        json!({"lines": LINES, "created": LINES * 9 / 10, "updated": LINES / 10, "unchanged": 0, "errors": 0});
    assert_eq!(*done, counted, "{answer:?}");
    assert_eq!(a.entity(&format!("{space}/x/big")), Some(json!({"id": "big", "n": LINES - 5})), "the last line of it");
}
