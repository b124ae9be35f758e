//! A receiver that never reads, with five spaces in transfer, while others go on.

use std::process::Command;

use serde_json::json;
use tombolo_tests::{Node, converge};

fn signal(node: &Node, name: &str) {
    let status = Command::new("kill").args([name, &node.pid().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

#[test]
fn a_stopped_receiver_with_five_spaces_in_transfer_holds_up_nobody() {
    let (a, b, c) = (Node::new("a"), Node::new("b"), Node::new("c"));
    let spaces: Vec<String> = (0..5).map(|n| a.create_space(&format!("space-{n}"))).collect();
    for space in &spaces {
        b.join(&a.invite(space, "writer"));
        c.join(&a.invite(space, "writer"));
        converge(space, &[&a, &b, &c]);
    }
    // The process stands still: its connections are open, its windows fill, it acknowledges nothing.
    signal(&c, "-STOP");
    let text = "x".repeat(50_000);
    for n in 0..60 {
        for space in &spaces {
            a.api.put(&format!("/v1/spaces/{space}/big/{n}"), &json!({"n": n, "text": text})).expect(201);
        }
    }
    for space in &spaces {
        converge(space, &[&a, &b]);
        b.api.put(&format!("/v1/spaces/{space}/small/1"), &json!({"from": "b"})).expect(201);
        converge(space, &[&a, &b]);
    }
    signal(&c, "-CONT");
    for space in &spaces {
        converge(space, &[&a, &b, &c]);
        assert_eq!(a.export(space), c.export(space));
    }
}
