//! What was acknowledged survives: kill −9, a directory copied and put back, restarts.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tombolo_tests::process::run_cli;
use tombolo_tests::{Node, converge, eventually};

/// Rounds of killing. Each takes a process start and a recovery.
const ROUNDS: usize = 50;

fn verify(path: &Path) {
    let output = run_cli(path, &["verify"], "");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn every_acknowledged_write_survives_fifty_kills_during_writes_and_sync() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("kill");
    b.join(&a.invite(&space, "writer"));
    let mut victim = b;
    let mut acknowledged: Vec<(String, u64)> = Vec::new();
    for round in 0..ROUNDS {
        a.api.post("/v1/peers", &json!({"addr": victim.listen})).expect(201);
        // A keeps syncing towards the victim while the victim writes; it is killed in the middle.
        let pid = victim.pid();
        let killer = std::thread::spawn(move || {
            std::thread::park_timeout(std::time::Duration::from_millis(5 + (round as u64 * 7) % 60));
            assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs").success());
        });
        for n in 0..10_000u64 {
            let id = format!("r{round}-{n}");
            let body = json!({"round": round, "n": n}).to_string();
            a.api.put(&format!("/v1/spaces/{space}/from-a/{id}"), &json!({"n": n})).expect(201);
            let headers = [("content-type", "application/json")];
            match victim.api.try_send("PUT", &format!("/v1/spaces/{space}/kills/{id}"), &headers, Some(body)) {
                Ok(answer) => {
                    answer.expect(201);
                    acknowledged.push((id, n));
                }
                Err(_) => break,
            }
        }
        killer.join().expect("killed");
        let dir = victim.kill();
        if round % 10 == 9 {
            verify(dir.path());
        }
        victim = dir.start();
        for (id, n) in acknowledged.iter().rev().take(50) {
            let found = victim.entity(&format!("{space}/kills/{id}"));
            assert_eq!(found.map(|value| value["n"].clone()), Some(json!(n)), "round {round}: lost {id}");
        }
    }
    a.api.post("/v1/peers", &json!({"addr": victim.listen})).expect(201);
    converge(&space, &[&a, &victim]);
    for (id, n) in &acknowledged {
        let found = a.entity(&format!("{space}/kills/{id}")).unwrap_or_else(|| panic!("lost {id}"));
        assert_eq!(found["n"], *n);
    }
    assert!(acknowledged.len() >= ROUNDS, "the test wrote something: {}", acknowledged.len());
    verify(victim.stop().path());
    verify(a.stop().path());
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs").success());
}

#[test]
fn a_directory_put_back_loses_nothing_and_writes_no_position_twice() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("restored");
    b.join(&a.invite(&space, "writer"));
    let path = |id: &str| format!("/v1/spaces/{space}/x/{id}");
    a.api.put(&path("before"), &json!({"n": 0})).expect(201);
    converge(&space, &[&a, &b]);
    // The whole directory is copied, written on, replicated …
    let a = a.stop();
    let image = tempfile::tempdir().expect("a directory");
    copy(&a.path().join("store.redb"), &image.path().join("store.redb"));
    let a = a.start();
    a.api.post("/v1/peers", &json!({"addr": b.listen})).expect(201);
    let receipt = a.api.put(&path("lost-here"), &json!({"n": 1})).expect(201);
    let first = receipt.header("tombolo-receipt").expect("a receipt").to_owned();
    converge(&space, &[&a, &b]);
    // … put back, and written on again, offline.
    let b = b.stop();
    let a = a.stop();
    copy(&image.path().join("store.redb"), &a.path().join("store.redb"));
    let a = a.start();
    assert_eq!(a.entity(&format!("{space}/x/lost-here")), None, "the image is older");
    let receipt = a.api.put(&path("after"), &json!({"n": 2})).expect(201);
    assert_ne!(receipt.header("tombolo-receipt"), Some(first.as_str()), "no feed position is written twice");
    let b = b.start();
    b.api.post("/v1/peers", &json!({"addr": a.listen})).expect(201);
    converge(&space, &[&a, &b]);
    for node in [&a, &b] {
        for id in ["before", "lost-here", "after"] {
            assert!(node.entity(&format!("{space}/x/{id}")).is_some(), "{id} is everywhere");
        }
        assert_eq!(node.space(&space).expect("held")["held"], json!([]), "no fork");
    }
    verify(a.stop().path());
    verify(b.stop().path());
}

#[test]
fn an_idempotent_retry_after_a_restart_gives_the_first_answer() {
    let a = Node::new("a");
    let space = a.create_space("retry");
    let path = format!("/v1/spaces/{space}/orders/1");
    let send = |node: &Node, body: &str| {
        let headers = [("content-type", "application/tombolo-ops+json"), ("idempotency-key", "k-1")];
        node.api.send("PATCH", &path, &headers, Some(body.to_owned()))
    };
    a.api.put(&path, &json!({"n": 1})).expect(201);
    let ops = r#"[{"op":"increment","path":"/sold","by":1}]"#;
    let first = send(&a, ops).expect(200);
    let a = a.kill().start();
    let again = send(&a, ops).expect(200);
    assert_eq!(again.header("tombolo-replayed"), Some("true"));
    assert_eq!(again.header("tombolo-receipt"), first.header("tombolo-receipt"));
    assert_eq!(a.entity(&format!("{space}/orders/1")).expect("present")["sold"], 1);
    let other = r#"[{"op":"increment","path":"/sold","by":2}]"#;
    assert_eq!(send(&a, other).expect(422).problem(), "idempotency-conflict");
}

#[test]
fn changes_resumed_after_a_restart_give_each_event_once_and_in_order() {
    let a = Node::new("a");
    let space = a.create_space("events");
    for n in 0..20 {
        a.api.put(&format!("/v1/spaces/{space}/x/{n}"), &json!({"n": n})).expect(201);
    }
    let page = |node: &Node, since: &str| {
        node.api.get(&format!("/v1/spaces/{space}/changes?limit=7&{since}")).expect(200).lines()
    };
    let mut seen = page(&a, "");
    assert_eq!(seen.len(), 7);
    let a = a.kill().start();
    eventually("all events", || {
        let last = seen.last().expect("some")["id"].as_str().expect("a cursor").to_owned();
        let more = page(&a, &format!("since={last}"));
        let done = more.is_empty();
        seen.extend(more);
        done.then_some(())
    });
    let subjects: Vec<&str> =
        seen.iter().filter_map(|event| event["subject"].as_str()).filter(|s| s.starts_with("x/")).collect();
    let expected: Vec<String> = (0..20).map(|n| format!("x/{n}")).collect();
    assert_eq!(subjects, expected);
    let wrong = format!("{}{}", "0".repeat(15), "1deadbeefdeadbeef");
    let reset = page(&a, &format!("since={wrong}"));
    assert_eq!(reset[0]["type"], "dev.tombolo.reset", "{reset:?}");
}
