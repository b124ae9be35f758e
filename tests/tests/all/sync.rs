//! Nodes that sync: two and three processes over real QUIC, offline writes on both sides, relaying, isolation.

use serde_json::json;
use tombolo_tests::{Node, converge, eventually};

/// A space with these nodes in it; the first founds it and invites the others.
fn space_of(name: &str, nodes: &[&Node]) -> String {
    let space = nodes[0].create_space(name);
    for node in &nodes[1..] {
        node.join(&nodes[0].invite(&space, "writer"));
    }
    space
}

#[test]
fn two_nodes_reach_the_same_bytes() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = space_of("shop", &[&a, &b]);
    a.api.put(&format!("/v1/spaces/{space}/orders/1"), &json!({"qty": 2, "by": "a"})).expect(201);
    b.api.put(&format!("/v1/spaces/{space}/orders/2"), &json!({"qty": 3, "by": "b"})).expect(201);
    eventually("both orders on both nodes", || {
        let both = [&a, &b].map(|node| ["1", "2"].map(|id| node.entity(&format!("{space}/orders/{id}"))));
        both.iter().flatten().all(Option::is_some).then_some(())
    });
    converge(&space, &[&a, &b]);
    assert_eq!(a.export(&space), b.export(&space));
    assert_eq!(a.export(&space).lines().count(), 2);
}

#[test]
fn offline_writes_on_both_sides_merge_after_the_heal() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = space_of("shop", &[&a, &b]);
    let entity = format!("/v1/spaces/{space}/stock/apple");
    a.api.put(&entity, &json!({"name": "apple", "price": 10})).expect(201);
    a.api.ops(&entity, &json!([{"op": "increment", "path": "/count", "by": 100}])).expect(200);
    converge(&space, &[&a, &b]);
    // Each side writes while the other is down.
    let b = b.stop();
    a.api.merge(&entity, &json!({"price": 11})).expect(200);
    a.api.ops(&entity, &json!([{"op": "increment", "path": "/count", "by": -1}])).expect(200);
    let a = a.stop();
    let b = b.start();
    b.api.merge(&entity, &json!({"price": 12, "origin": "Vinschgau"})).expect(200);
    b.api.ops(&entity, &json!([{"op": "increment", "path": "/count", "by": -2}])).expect(200);
    // Ports are new after a restart, so the addresses in the roster are stale: one is told where the other is.
    let a = a.start();
    b.api.post("/v1/peers", &json!({"addr": a.listen})).expect(201);
    converge(&space, &[&a, &b]);
    assert_eq!(a.export(&space), b.export(&space));
    let merged = a.entity(&format!("{space}/stock/apple")).expect("present");
    assert_eq!(
        (&merged["count"], &merged["origin"], &merged["name"]),
        (&json!(97), &json!("Vinschgau"), &json!("apple"))
    );
    assert!(merged["price"] == 11 || merged["price"] == 12, "{merged}");
}

#[test]
fn a_relay_carries_what_two_nodes_that_never_meet_write() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = space_of("line", &[&a, &b]);
    converge(&space, &[&a, &b]);
    // C takes a ticket that A made, and meets B only: A is gone by then.
    let ticket = a.invite(&space, "writer");
    a.api.put(&format!("/v1/spaces/{space}/notes/from-a"), &json!({"n": 1})).expect(201);
    converge(&space, &[&a, &b]);
    let a = a.stop();
    let c = Node::new("c");
    c.api.post("/v1/peers", &json!({"addr": b.listen})).expect(201);
    c.join(&ticket);
    c.api.put(&format!("/v1/spaces/{space}/notes/from-c"), &json!({"n": 2})).expect(201);
    converge(&space, &[&b, &c]);
    assert_eq!(c.entity(&format!("{space}/notes/from-a")), Some(json!({"n": 1})));
    // A returns and meets B only: C is gone by then.
    let _c = c.stop();
    let a = a.start();
    a.api.post("/v1/peers", &json!({"addr": b.listen})).expect(201);
    converge(&space, &[&a, &b]);
    assert_eq!(a.entity(&format!("{space}/notes/from-c")), Some(json!({"n": 2})));
}

#[test]
fn members_of_one_space_see_nothing_of_another() {
    let (a, b, c) = (Node::new("a"), Node::new("b"), Node::new("c"));
    let red = a.create_space("red");
    let blue = a.create_space("blue");
    b.join(&a.invite(&red, "writer"));
    c.join(&a.invite(&blue, "writer"));
    a.api.put(&format!("/v1/spaces/{red}/x/1"), &json!({"secret": "red"})).expect(201);
    a.api.put(&format!("/v1/spaces/{blue}/x/1"), &json!({"secret": "blue"})).expect(201);
    converge(&red, &[&a, &b]);
    converge(&blue, &[&a, &c]);
    // B and C also know each other's addresses; they share no space, so they say nothing about any.
    b.api.post("/v1/peers", &json!({"addr": c.listen})).expect(201);
    eventually("b and c connected", || {
        let status = b.status();
        let connected = status["connections"].as_array()?.iter().any(|known| known["node"] == c.id.as_str());
        connected.then_some(())
    });
    assert_eq!(b.space(&blue), None);
    assert_eq!(c.space(&red), None);
    assert_eq!(b.api.get(&format!("/v1/spaces/{blue}/x/1")).expect(404).problem(), "unknown-space");
    assert_eq!(c.entity(&format!("{blue}/x/1")), Some(json!({"secret": "blue"})));
}

#[test]
fn concurrent_creation_delete_and_counters_on_three_nodes() {
    let (a, b, c) = (Node::new("a"), Node::new("b"), Node::new("c"));
    let space = space_of("three", &[&a, &b, &c]);
    converge(&space, &[&a, &b, &c]);
    let path = |id: &str| format!("/v1/spaces/{space}/items/{id}");
    // Started together, on three nodes: creation of one entity with nested maps.
    for (node, site) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        node.api.put(&path("made"), &json!({"sites": {site: {"n": 1}}, "note": site}));
    }
    converge(&space, &[&a, &b, &c]);
    let made = a.entity(&format!("{space}/items/made")).expect("present");
    let note = made["note"].as_str().expect("text");
    assert!(["a", "b", "c"].contains(&note));
    a.api.put(&path("count"), &json!({"name": "count"})).expect(201);
    a.api.ops(&path("count"), &json!([{"op": "increment", "path": "/n", "by": 0}])).expect(200);
    converge(&space, &[&a, &b, &c]);
    for round in 0..10 {
        for (node, by) in [(&a, 1), (&b, 10), (&c, 100)] {
            let ops = json!([{"op": "increment", "path": "/n", "by": by}]);
            node.api.ops(&path("count"), &ops).expect(200);
        }
        if round == 5 {
            a.api.delete(&path("made")).expect(200);
        }
    }
    converge(&space, &[&a, &b, &c]);
    assert_eq!(b.entity(&format!("{space}/items/count")).expect("present")["n"], 1110);
    assert_eq!(c.entity(&format!("{space}/items/made")), None);
    assert_eq!(a.export(&space), b.export(&space));
    assert_eq!(b.export(&space), c.export(&space));
}

#[test]
fn two_that_move_in_turn_find_each_other_by_what_they_said_last() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = space_of("shop", &[&a, &b]);
    converge(&space, &[&a, &b]);
    // Every start takes another port. B knows where A is and dials it: A hears where B is now.
    let b = b.stop().start();
    let there = b.listen.clone();
    eventually("a shows where b is now", || {
        let status = a.status();
        let member = &status["spaces"][0]["members"][0];
        member["addrs"].as_array()?.iter().any(|addr| *addr == there.as_str()).then_some(())
    });
    // Then A moves. B looks for it where it is no more; A knows where B is, although it has been restarted.
    let a = a.stop().start();
    a.api.put(&format!("/v1/spaces/{space}/notes/1"), &json!({"n": 1})).expect(201);
    converge(&space, &[&a, &b]);
    assert_eq!(b.entity(&format!("{space}/notes/1")), Some(json!({"n": 1})));
}

#[test]
fn a_node_stops_at_once_while_it_dials_who_does_not_answer() {
    let a = Node::new("a");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
    silent.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("set");
    let addr = silent.local_addr().expect("one").to_string();
    a.api.post("/v1/peers", &json!({ "addr": addr })).expect(201);
    silent.recv(&mut [0; 2_000]).expect("it is dialled");
    let begun = std::time::Instant::now();
    drop(a.stop());
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_member_that_was_renamed_is_called_by_its_new_name_everywhere() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = space_of("shop", &[&a, &b]);
    let made = a.api.put(&format!("/v1/spaces/{space}/notes/1"), &json!({"n": 1})).expect(201);
    let receipt = made.header("tombolo-receipt").expect("one").to_owned();
    let wait = |name: &str| a.api.get(&format!("/v1/receipts/{receipt}?wait={name}&timeout=20s"));
    wait("b").expect(200);
    let b = b.stop().start_with(&["--name", "harbour"]);
    eventually("the new name", || (a.space(&space)?["members"][0]["name"] == "harbour").then_some(()));
    assert_eq!(wait("harbour").expect(200).json()["peers"][0]["name"], "harbour");
    assert_eq!(wait("b").expect(400).problem(), "invalid-argument");
    let told = a.cli(&["receipt", &receipt, "--wait", "harbour"]);
    assert!(told.status.success() && String::from_utf8_lossy(&told.stdout).contains("harbour"), "{told:?}");
    // Two of one name are told apart by their ids.
    let c = Node::new("harbour");
    c.join(&a.invite(&space, "writer"));
    converge(&space, &[&a, &b, &c]);
    let both = wait("harbour").expect(400).json();
    let nodes: Vec<&str> = both["nodes"].as_array().expect("both").iter().filter_map(|node| node.as_str()).collect();
    assert!(nodes.len() == 2 && nodes.contains(&b.id.as_str()) && nodes.contains(&c.id.as_str()), "{both}");
    wait(&c.id[..8]).expect(200);
}
