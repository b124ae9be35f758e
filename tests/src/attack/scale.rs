//! A node with much on it.

use std::time::Instant;

use serde_json::json;

use super::Finding;
use super::member::Member;
use super::meter::{Witness, resident_mib};
use crate::Node;

/// Median time of a write over a second or two, in milliseconds.
fn write_ms(node: &Node, space: &str) -> f64 {
    let witness = Witness::watch(node, space);
    std::thread::park_timeout(std::time::Duration::from_secs(3));
    witness.end().writes.percentile(50)
}

/// See [`super::ROWS`].
#[must_use]
pub fn many() -> Vec<Finding> {
    let small = Node::new("small");
    let one = small.create_space("one");
    let calm = write_ms(&small, &one);
    drop(small);

    let node = Node::new("a");
    let space = node.create_space("shop");
    for part in 0..20 {
        let lines: String = (0..50_000).map(|n| format!("{{\"id\":\"r{part}-{n}\",\"n\":{n}}}\n")).collect();
        let path = format!("/v1/spaces/{space}/rows/import?id=id");
        node.api.send("POST", &path, &[("content-type", "application/x-ndjson")], Some(lines)).expect(200);
    }
    let mut member = Member::of(&node, &space, "writer");
    let feeds = (0..6_000).map(|n| member.pen(100 + n).append(&member.entry(1, Vec::new(), Vec::new()))).collect();
    member.send(feeds, 500);
    drop(member);
    for n in 0..1_999 {
        let space = node.create_space(&format!("space-{n}"));
        node.api.put(&format!("/v1/spaces/{space}/x/1"), &json!({ "n": n })).expect(201);
    }
    let rough = write_ms(&node, &space);
    let dir = node.stop();
    let began = Instant::now();
    let node = dir.start();
    let ready = began.elapsed().as_secs_f64();
    let again = write_ms(&node, &space);
    vec![
        Finding::at_most("ready after a restart", ready, 1.0, "s"),
        Finding::figure("a write of a small node, median", format!("{calm:.2} ms")),
        Finding::at_most("a write, of that", rough / calm, 1.2, "x"),
        Finding::at_most("a write after the restart, of that", again / calm, 1.2, "x"),
        Finding::figure("memory", format!("{:.0} MiB", resident_mib(node.pid()))),
    ]
}
