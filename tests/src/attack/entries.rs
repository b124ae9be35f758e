//! What a member gone bad may send as entries.

use std::time::{Duration, Instant};

use serde_json::json;
use tombolo_crdt::entity::CHANGE_OPERATIONS_MAX;
use tombolo_crdt::entry::Dep;
use tombolo_crdt::feed::Range;
use tombolo_crdt::{ChainHash, ChangeHash};
use tombolo_sim::pen::{forged_change, full_change};

use super::Finding;
use super::member::Member;
use super::meter::{Seen, Witness, longest_step_ms, resident_mib, steps_ms};
use crate::{Node, eventually};

/// Rate of honest writes under an attack, compared with their rate without it.
const HONEST_SHARE: &str = "honest writes, of those without it";

/// A node with a space, and a member gone bad.
fn victim(role: &str) -> (Node, String, Member) {
    let node = Node::new("a");
    let space = node.create_space("shop");
    node.api.put(&format!("/v1/spaces/{space}/x/first"), &json!({ "n": 1 })).expect(201);
    let member = Member::of(&node, &space, role);
    (node, space, member)
}

/// How many entries are held.
fn held(node: &Node, space: &str) -> u64 {
    node.space(space).map_or(0, |space| space["held_entries"].as_u64().unwrap_or(0))
}

/// Watches a node while `attack` runs and for `after` beyond.
fn watched(node: &Node, space: &str, after: Duration, attack: impl FnOnce()) -> (Seen, f64) {
    let before = resident_mib(node.pid());
    let witness = Witness::watch(node, space);
    attack();
    std::thread::park_timeout(after);
    (witness.end(), before)
}

fn findings(node: &Node, (seen, before): &(Seen, f64), step: f64, memory: f64) -> Vec<Finding> {
    let mut out = Vec::new();
    out.push(Finding::at_most("longest step", longest_step_ms(node), step, "ms"));
    out.push(Finding::figure(
        "honest writes",
        format!("{:.0}/s, p99 {:.1} ms", seen.rate(), seen.writes.percentile(99)),
    ));
    out.push(Finding::at_most("memory", seen.peak_mib - before, memory, "MiB more"));
    out
}

/// Entries that carry one forged change each, in one feed.
fn tiny(member: &Member, count: u64) -> Vec<Range> {
    let mut pen = member.pen(99);
    let feed = pen.opening().feed();
    (1..=count)
        .map(|seq| {
            let change = forged_change(feed, (1, 65_536), &[]);
            pen.append(&member.entry(seq, Vec::new(), vec![(format!("e{seq}"), change)]))
        })
        .collect()
}

/// See [`super::ROWS`].
#[must_use]
pub fn tiny_changes_of_a_writer() -> Vec<Finding> {
    let (node, space, mut member) = victim("writer");
    let ranges = tiny(&member, 1_000);
    let seen = watched(&node, &space, Duration::from_secs(5), || member.send(ranges, 1_000));
    findings(&node, &seen, 50.0, 50.0)
}

/// See [`super::ROWS`].
#[must_use]
pub fn tiny_changes_of_a_reader() -> Vec<Finding> {
    let (node, space, mut member) = victim("reader");
    let ranges = tiny(&member, 3_000);
    let seen = watched(&node, &space, Duration::from_secs(5), || member.send(ranges, 3_000));
    findings(&node, &seen, 50.0, 50.0)
}

/// What an operation of another's change may take in a step: read, judged and applied, on a slow core.
const OPERATION_MS: f64 = 0.000_5;

/// See [`super::ROWS`].
#[must_use]
pub fn full_changes() -> Vec<Finding> {
    const ENTRIES: u64 = 20;
    let (node, space, mut member) = victim("writer");
    let mut pen = member.pen(98);
    let feed = pen.opening().feed();
    let change = full_change(feed, (1, CHANGE_OPERATIONS_MAX as u32));
    let ranges = (1..=ENTRIES)
        .map(|seq| pen.append(&member.entry(seq, Vec::new(), vec![(format!("f{seq}"), change.clone())])))
        .collect();
    let seen = watched(&node, &space, Duration::ZERO, || {
        member.send(ranges, 1);
        // What follows is taken when all before it is.
        eventually("all of them are taken", || node.entity(&format!("{space}/x/f{ENTRIES}")));
    });
    // A step does one such entry whole, and may have begun when its work was nearly spent.
    let step = 50.0 + CHANGE_OPERATIONS_MAX as f64 * OPERATION_MS;
    findings(&node, &seen, step, 256.0)
}

/// `count` feeds of one entry each: each waits for the one before it, the first for `root`.
fn chained(member: &Member, count: u64, root: Dep) -> Vec<Range> {
    let mut before = root;
    (1..=count)
        .map(|n| {
            let mut pen = member.pen(1_000 + n);
            let range = pen.append(&member.entry(1, vec![before], Vec::new()));
            before = pen.dep();
            range
        })
        .collect()
}

/// See [`super::ROWS`].
#[must_use]
pub fn held_chain() -> Vec<Finding> {
    let (node, space, mut member) = victim("writer");
    let (calm, _) = watched(&node, &space, Duration::from_secs(5), || ());
    let mut root = member.pen(1);
    let first = root.append(&member.entry(1, Vec::new(), Vec::new()));
    let ranges = chained(&member, 16_000, root.dep());
    member.send(ranges, 500);
    eventually("they are held", || (held(&node, &space) > 10_000).then_some(()));
    let began = Instant::now();
    let seen = watched(&node, &space, Duration::ZERO, || {
        member.send(vec![first], 1);
        eventually("nothing is held any more", || (held(&node, &space) == 0).then_some(()));
    });
    let settled = began.elapsed();
    let mut out = findings(&node, &seen, 50.0, 50.0);
    out.push(Finding::figure("all settled after", format!("{:.1} s", settled.as_secs_f64())));
    out.push(Finding::at_least(HONEST_SHARE, seen.0.rate() / calm.rate(), 0.5, "x"));
    out
}

/// See [`super::ROWS`].
#[must_use]
pub fn waiting_feeds() -> Vec<Finding> {
    let (node, space, mut member) = victim("writer");
    let (calm, _) = watched(&node, &space, Duration::from_secs(5), || ());
    let nobody = member.pen(7).opening().feed();
    let missing = Dep { feed: nobody, seq: 5, chain: ChainHash::from_bytes([1; 32]) };
    let ranges: Vec<Range> =
        (1..=40_000).map(|n| member.pen(10_000 + n).append(&member.entry(1, vec![missing], Vec::new()))).collect();
    let seen = watched(&node, &space, Duration::from_secs(5), || member.send(ranges, 500));
    let mut out = findings(&node, &seen, 50.0, 64.0);
    out.push(Finding::at_least(HONEST_SHARE, seen.0.rate() / calm.rate(), 0.5, "x"));
    out
}

/// See [`super::ROWS`].
#[must_use]
pub fn unknown_dependency() -> Vec<Finding> {
    let (node, space, mut member) = victim("writer");
    let rows: String = (0..100_000).map(|n| format!("{{\"id\":\"old\",\"n\":{n}}}\n")).collect();
    let path = format!("/v1/spaces/{space}/x/import?id=id");
    node.api.send("POST", &path, &[("content-type", "application/x-ndjson")], Some(rows)).expect(200);
    let step_before = longest_step_ms(&node);
    let mut one = |n: u64| {
        let mut pen = member.pen(20_000 + n);
        let missing = ChangeHash::from_bytes([n as u8; 32]);
        let change = forged_change(pen.opening().feed(), (1, 1), &[missing]);
        pen.append(&member.entry(1, Vec::new(), vec![("old".to_owned(), change)]))
    };
    let (alone, together): (Vec<Range>, Vec<Range>) = ((1..=20).map(&mut one).collect(), (21..=40).map(one).collect());
    let steps_before = steps_ms(&node);
    member.send(alone, 1);
    eventually("they are held", || (held(&node, &space) == 20).then_some(()));
    let each = (steps_ms(&node) - steps_before) / 20.0;
    let began = Instant::now();
    let (seen, before) = watched(&node, &space, Duration::from_secs(1), || member.send(together, 20));
    let mut out = vec![
        Finding::at_most("time in steps for each of 20 of them", each, 1.0, "ms"),
        Finding::at_most("slowest honest write while 20 of them come", seen.writes.worst(), 40.0, "ms"),
        Finding::figure(
            "honest writes",
            format!("p99 {:.1} ms in {:.1} s", seen.writes.percentile(99), began.elapsed().as_secs_f64()),
        ),
        Finding::at_most("memory", seen.peak_mib - before, 50.0, "MiB more"),
    ];
    let step_after = longest_step_ms(&node);
    out.push(Finding::figure("longest step before and after", format!("{step_before:.1}, {step_after:.1} ms")));
    out
}
