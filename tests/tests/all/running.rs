//! How a node starts and what it tells of that: few descriptors, names that lead nowhere, tickets and clocks.

use std::net::TcpStream;

use serde_json::json;
use tombolo_node::ticket::Ticket;
use tombolo_tests::{Node, NodeDir, converge, eventually};

/// With 64 descriptors a node has some thirty for HTTP. Idle clients without the token must not take the last.
#[test]
fn a_node_with_few_descriptors_serves_whoever_shows_the_token() {
    let a = NodeDir::new("a").start_under("ulimit -n 64");
    let space = a.create_space("shop");
    let idle: Vec<TcpStream> = (0..120).filter_map(|_| TcpStream::connect(a.api.address()).ok()).collect();
    assert!(idle.len() > 60, "{}", idle.len());
    for n in 0..20 {
        a.api.put(&format!("/v1/spaces/{space}/x/{n}"), &json!({ "n": n })).expect(201);
    }
    let b = Node::new("b");
    b.join(&a.invite(&space, "writer"));
    converge(&space, &[&a, &b]);
}

#[test]
fn a_name_that_leads_nowhere_is_warned_of_when_others_are_told_it() {
    let a = NodeDir::new("a").start_with(&["--advertise", "127.0.0.1:7700", "--advertise", "berlin.invalid:7700"]);
    let line = eventually("a warning", || {
        let log = a.log();
        Some(log.lines().find(|line| line.contains("berlin.invalid:7700"))?.to_owned())
    });
    assert!(line.contains("WARN") && line.contains("--advertise") && line.contains("does not resolve"), "{line}");
    assert!(!a.log().contains("name=127.0.0.1"), "a number needs no resolver");
}

#[test]
fn a_ticket_lasts_a_day_unless_it_is_said_otherwise() {
    let a = Node::new("a");
    let space = a.create_space("shop");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let lasts = |body: serde_json::Value| {
        let made = a.api.post(&format!("/v1/spaces/{space}/invites"), &body).expect(201).json();
        let ticket: Ticket = made["ticket"].as_str().expect("one").parse().expect("reads");
        assert_eq!(made["expires"], ticket.expires);
        ticket.expires.saturating_sub(now) / 60_000
    };
    let day = lasts(json!({"role": "writer"}));
    assert!((24 * 60..24 * 60 + 2).contains(&day), "{day} minutes");
    assert!((60..62).contains(&lasts(json!({"role": "writer", "expires_in_s": 3_600}))));
}

/// Whether a ticket is still good is for a member to say, by its clock.
#[test]
fn a_ticket_that_looks_over_by_the_joiners_clock_is_taken() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    let mut ticket: Ticket = a.invite(&space, "writer").parse().expect("reads");
    ticket.expires = 1_000_000_000_000;
    b.join(&ticket.to_string());
    converge(&space, &[&a, &b]);
    // The member's word is the last one: it knows when the place closes.
    let body = json!({"role": "writer", "expires_in_s": 1});
    let short = a.api.post(&format!("/v1/spaces/{space}/invites"), &body).expect(201).json();
    let until = short["expires"].as_u64().expect("a time");
    let mut late: Ticket = short["ticket"].as_str().expect("one").parse().expect("reads");
    late.expires = until + 3_600_000;
    eventually("the end of its second", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        (now.as_millis() as u64 > until).then_some(())
    });
    let c = Node::new("c");
    let refused = c.api.post("/v1/join?timeout=30s", &json!({"ticket": late.to_string()})).expect(409);
    assert_eq!(refused.problem(), "ticket-expired");
}
