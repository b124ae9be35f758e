//! Long answers and large entities over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;
use tombolo_tests::{Node, PATIENCE, converge};

/// The heartbeat is an event, so that a client can see that its connection lives.
#[test]
fn a_silent_stream_says_that_it_is_there() {
    let a = Node::new("a");
    let space = a.create_space("shop");
    let mut stream = TcpStream::connect(a.api.address()).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let (host, token) = (a.api.address(), a.api.token());
    let head = format!(
        "GET /v1/spaces/{space}/changes?since=now&live=sse HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let (mut said, mut buffer) = (String::new(), [0; 1_024]);
    while !said.contains("event: heartbeat\ndata: {}\n\n") {
        let read = stream.read(&mut buffer).expect("it goes on");
        assert!(read > 0, "it ended: {said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(said.contains("text/event-stream") && !said.contains("id:"), "a heartbeat moves no cursor: {said}");
}

/// Rows of deleted entities are read, too: a page ends early, and the list goes on behind them.
#[test]
fn a_list_passes_many_large_deleted_rows_page_by_page() {
    let a = Node::new("a");
    let space = a.create_space("shop");
    let text = "x".repeat(2_000);
    let rows: String = (0..6_000).map(|n| format!("{{\"id\":\"k{n:05}\",\"text\":\"{text}\"}}\n")).collect();
    let path = format!("/v1/spaces/{space}/c/import?id=id");
    a.api.send("POST", &path, &[("content-type", "application/x-ndjson")], Some(rows)).expect(200);
    for from in (0..6_000).step_by(2_000) {
        let writes: Vec<_> = (from..from + 2_000)
            .map(|n| json!({"collection": "c", "id": format!("k{n:05}"), "delete": true}))
            .collect();
        a.api.post(&format!("/v1/spaces/{space}/transactions"), &json!({ "writes": writes })).expect(200);
    }
    a.api.put(&format!("/v1/spaces/{space}/c/z"), &json!({"v": 1})).expect(201);
    let (mut pages, mut items, mut cursor) = (0, Vec::new(), String::new());
    loop {
        let page = a.api.get(&format!("/v1/spaces/{space}/c?limit=10{cursor}")).expect(200).json();
        pages += 1;
        items.extend(page["items"].as_array().expect("items").iter().map(|item| item["id"].to_string()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(items, ["\"z\""]);
    assert!((3..20).contains(&pages), "12 MB of rows that nobody sees, 4 MiB to a page: {pages}");
    // An export passes them in one answer, in turns of its own.
    assert_eq!(a.export(&space).lines().count(), 1);
}

#[test]
fn an_entity_that_merging_made_large_goes_back_as_it_was_read() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    b.join(&a.invite(&space, "writer"));
    let path = format!("/v1/spaces/{space}/x/1");
    a.api.put(&path, &json!({})).expect(201);
    converge(&space, &[&a, &b]);
    // Each side writes 700 kB while the other is down.
    let (b, text) = (b.stop(), "t".repeat(700_000));
    a.api.merge(&path, &json!({"a": text})).expect(200);
    let a = a.stop();
    let b = b.start();
    b.api.merge(&path, &json!({"b": text})).expect(200);
    let a = a.start();
    a.api.post("/v1/peers", &json!({"addr": b.listen})).expect(201);
    converge(&space, &[&a, &b]);
    let read = a.api.get(&path).expect(200);
    assert!(read.body.len() > 1_400_000);
    let headers = [("content-type", "application/json")];
    let again = a.api.send("PUT", &path, &headers, Some(read.body.clone())).expect(200);
    assert_eq!(again.json()["changed"], false, "{again:?}");
    let less = read.body.replacen("tttttttttt", "", 1);
    a.api.send("PUT", &path, &headers, Some(less.clone())).expect(200);
    let more = a.api.send("PUT", &path, &headers, Some(read.body.clone())).expect(413);
    assert_eq!((more.problem().as_str(), &more.json()["limit"]), ("too-large", &json!(1 << 20)));
    // Its line of an export is taken where it came from.
    let ndjson = [("content-type", "application/x-ndjson")];
    let exported = a.export(&space);
    let done = a.api.send("POST", &format!("/v1/spaces/{space}/import"), &ndjson, Some(exported)).expect(200).lines();
    assert_eq!(done.last().expect("the end")["done"]["unchanged"], 1, "{done:?}");
    // Elsewhere it would be made larger than a write may make it: its line says so.
    let other = b.create_space("other");
    let path = format!("/v1/spaces/{other}/import?skip_bad=true");
    let told = b.api.send("POST", &path, &ndjson, Some(a.export(&space))).expect(200).lines();
    assert_eq!((&told[0]["line"], &told[0]["error"]["limit"]), (&json!(1), &json!(1 << 20)), "{told:?}");
    let put = a.api.send("PUT", "/v1/spaces/shop/x/2", &headers, Some("x".repeat(5 << 20))).expect(413);
    assert_eq!(put.json()["limit"], json!((4 << 20) + (256 << 10)));
}
