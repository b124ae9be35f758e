//! HTTP that nobody can stop: long reads, readers that do not read, requests that never end, and requests that mean two
//! things.
//!
//! The stories: one GET of changes in a collection without any took a thread of the server for a second, so two of them
//! stopped the node; five hundred streams that nobody read took half a megabyte each; ten thousand half requests stood
//! for ever.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tombolo_tests::{Api, Node, PATIENCE};

/// A node with so many small entities in `shop/things`.
fn node_with(entities: usize) -> (Node, String) {
    node_of(entities, 100)
}

/// A node with so many entities of so many bytes in `shop/things`.
fn node_of(entities: usize, bytes: usize) -> (Node, String) {
    let node = Node::new("a");
    let space = node.create_space("shop");
    let lines: String =
        (0..entities).map(|n| format!("{{\"id\":\"k{n:06}\",\"text\":\"{}\"}}\n", "x".repeat(bytes))).collect();
    let path = format!("/v1/spaces/{space}/things/import?id=id");
    let answer = node.api.send("POST", &path, &[("content-type", "application/x-ndjson")], Some(lines)).expect(200);
    let done = answer.lines().pop().expect("a last line");
    assert_eq!((&done["done"]["created"], &done["done"]["lines"]), (&json!(entities), &json!(entities)), "{done}");
    (node, space)
}

/// Sends the bytes of a request as they are.
fn raw(api: &Api, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(api.address()).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request.as_bytes()).expect("sent");
    stream
}

/// What comes until the other end closes. A connection that was cut off counts as closed.
fn to_end(mut stream: TcpStream) -> String {
    let mut out = Vec::new();
    let ended = stream.read_to_end(&mut out);
    let is_cut = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(ended.as_ref().err().is_none_or(is_cut), "still open: {ended:?}");
    String::from_utf8_lossy(&out).into_owned()
}

fn head(api: &Api, line: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{more}\r\n", api.address(), api.token())
}

/// Resident memory of a process, in KiB.
fn resident(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a figure");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn reads_that_find_nothing_hold_nobody_up() {
    let (a, space) = node_with(20_000);
    let path = format!("/v1/spaces/{space}/changes?collection=none");
    let over = AtomicBool::new(false);
    let (mut answered, mut written) = (0, 0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let (api, path) = (Api::new(a.api.address(), a.api.token()), path.clone());
                scope.spawn(move || api.get(&path).expect(200).body)
            })
            .collect();
        let join = scope.spawn(|| {
            let bodies: Vec<String> = readers.into_iter().map(|reader| reader.join().expect("read")).collect();
            over.store(true, Ordering::Relaxed);
            bodies
        });
        while !over.load(Ordering::Relaxed) {
            a.api.get("/healthz").expect(200);
            answered += 1;
            a.api.put(&format!("/v1/spaces/{space}/x/{written}"), &json!({"n": written})).expect(201);
            written += 1;
        }
        assert!(join.join().expect("all read").iter().all(String::is_empty), "nothing is in that collection");
    });
    // Where a read keeps its thread, eight of them on a few threads leave room for one or two.
    assert!(answered >= 20, "{answered} requests were answered beside eight long reads");
}

#[test]
fn streams_that_nobody_reads_hold_no_place_and_little_memory() {
    // More than the system keeps for a hundred of them.
    let (a, space) = node_of(1_500, 8_000);
    let get = |path: &str| raw(&a.api, &head(&a.api, &format!("GET {path}"), ""));
    let before = resident(&a);
    let mut unread = Vec::new();
    for _ in 0..50 {
        unread.push(get(&format!("/v1/spaces/{space}/changes?live=sse")));
        unread.push(get(&format!("/v1/spaces/{space}/export")));
    }
    for n in 0..20 {
        a.api.put(&format!("/v1/spaces/{space}/x/{n}"), &json!({"n": n})).expect(201);
    }
    let grown = resident(&a).saturating_sub(before);
    assert!(grown < 100 * 160, "{grown} KiB for 100 streams that nobody reads");
    // One that is read comes to its end meanwhile.
    assert_eq!(a.export(&space).lines().count(), 1_520);
    drop(unread);
}

/// Longest time from the signal to the end of the process: a second, and half of one for a busy machine.
const STOP_MAX: Duration = Duration::from_millis(1_500);

/// A stop took five seconds: an import that rested looked at nothing but its body.
#[test]
fn a_node_stops_within_a_second_whoever_rests_or_does_not_read() {
    let (a, space) = node_of(1_500, 8_000);
    let send = |line: &str, more: &str| raw(&a.api, &head(&a.api, line, more));
    let chunked = "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n";
    let mut import = send(&format!("POST /v1/spaces/{space}/y/import?id=id"), chunked);
    let line = "{\"id\":\"a\"}\n";
    write!(import, "{:x}\r\n{line}\r\n", line.len()).expect("sent");
    let half = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    let put = send(&format!("PUT /v1/spaces/{space}/y/half"), half);
    let unread = ["changes?live=sse", "export"].map(|what| send(&format!("GET /v1/spaces/{space}/{what}"), ""));
    for stream in &unread {
        assert_eq!(stream.peek(&mut [0; 12]).expect("an answer begins"), 12);
    }
    tombolo_tests::eventually("the line that came", || a.entity(&format!("{space}/y/a")));
    let began = Instant::now();
    let _dir = a.stop();
    let took = began.elapsed();
    assert!(took <= STOP_MAX, "it stopped after {took:?}");
    // Those who read are told, to the end of the answer.
    let told = to_end(import);
    assert!(told.contains(r#""reason":"stopping""#) && told.contains(r#"{"done":{"#), "{told}");
    assert!(told.ends_with("0\r\n\r\n"), "{told}");
    let told = to_end(put);
    assert!(told.contains(" 503 ") && told.contains("/problems/stopping"), "{told}");
    drop(unread);
}

#[test]
fn streams_are_bounded_and_the_bound_is_told() {
    let (a, space) = node_with(1);
    let line = format!("GET /v1/spaces/{space}/changes?since=now&live=ndjson");
    let streams: Vec<TcpStream> = (0..1_024)
        .map(|_| {
            let mut stream = raw(&a.api, &head(&a.api, &line, ""));
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).expect("an answer begins");
            assert_eq!(&begin, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let refused = a.api.get(&format!("/v1/spaces/{space}/export")).expect(429);
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("too-many-streams", Some("1")));
    assert!(refused.json()["hint"].is_string() && refused.json()["limit"] == 1_024, "{refused:?}");
    a.api.get(&format!("/v1/spaces/{space}/things")).expect(200);
    drop(streams);
    tombolo_tests::eventually("a place", || {
        (a.api.get(&format!("/v1/spaces/{space}/export")).status == 200).then_some(())
    });
}

#[test]
fn half_requests_end_and_do_not_stand_in_the_way() {
    let (a, space) = node_with(1);
    // More than may stand without the token: the oldest go at once, the rest after ten seconds.
    let half: Vec<TcpStream> = (0..700).map(|_| raw(&a.api, "GET /v1/status HTTP/1.1\r\nHost: loc")).collect();
    for n in 0..20 {
        let api = Api::new(a.api.address(), a.api.token());
        api.put(&format!("/v1/spaces/{space}/x/{n}"), &json!({"n": n})).expect(201);
    }
    for stream in half {
        assert_eq!(to_end(stream), "", "a half request is not answered");
    }
    a.api.get("/healthz").expect(200);
}

#[test]
fn requests_that_mean_two_things_are_none() {
    let (a, _) = node_with(1);
    let (host, token) = (a.api.address().to_owned(), a.api.token().to_owned());
    let auth = format!("Authorization: Bearer {token}\r\nConnection: close\r\n");
    let status = |request: &str| to_end(raw(&a.api, request)).lines().next().unwrap_or_default().to_owned();
    let two = format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n{auth}\r\n");
    assert!(status(&two).contains("400"), "two hosts");
    let other = format!("GET http://evil.example/v1/status HTTP/1.1\r\nHost: {host}\r\n{auth}\r\n");
    assert!(status(&other).contains("400"), "another host in the address");
    let same = format!("GET http://{host}/v1/status HTTP/1.1\r\nHost: {host}\r\n{auth}\r\n");
    assert!(status(&same).contains("200"), "the same host in the address");
    // A length beside chunks is not looked at, and nothing behind it is taken for a request.
    let chunks = "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let both = format!(
        "POST /v1/spaces HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
        Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    );
    assert_eq!(to_end(raw(&a.api, &both)).matches("HTTP/1.1 ").count(), 1, "one answer, then the end");
}

#[test]
fn conditions_names_and_forms_are_as_clients_send_them() {
    let (a, space) = node_with(1);
    let path = |rest: &str| format!("/v1/spaces/{space}/{rest}");
    // Names that clients fold away.
    for name in ["x/%2E", "x/%2E%2E", "%2E/x", "%2E%2E/x"] {
        let answer = to_end(raw(&a.api, &head(&a.api, &format!("GET {}", path(name)), "Connection: close\r\n")));
        assert!(answer.contains(" 422 ") && answer.contains("remove it from the path"), "{name}: {answer}");
    }
    let dots = json!({"writes": [{"collection": "x", "id": "..", "put": {}}]});
    assert_eq!(a.api.post(&path("transactions"), &dots).expect(422).problem(), "invalid-name");
    // Conditions: a list holds if one of it does, a weak tag never.
    let made = a.api.put(&path("x/1"), &json!({"n": 1})).expect(201);
    let tag = made.header("etag").expect("a revision").to_owned();
    let put = |condition: &str, n: u64| {
        let headers = [("content-type", "application/json"), ("if-match", condition)];
        a.api.send("PUT", &path("x/1"), &headers, Some(json!({ "n": n }).to_string()))
    };
    assert_eq!(put(&format!("W/{tag}"), 2).expect(412).problem(), "revision-mismatch");
    assert_eq!(put(&format!("\"{}\", W/{tag}", "0".repeat(32)), 2).expect(412).problem(), "revision-mismatch");
    put(&format!("\"{}\", {tag}", "0".repeat(32)), 2).expect(200);
    // A plus that has become a blank is named.
    let moment = a.api.get(&path("x/1?at=2027-01-15T08:00:00+01:00")).expect(400).json();
    assert!(moment["hint"].as_str().is_some_and(|hint| hint.contains("%2B")), "{moment}");
    // Whom a receipt waits for, by name and by the begin of an id.
    let receipt = made.header("tombolo-receipt").expect("one").to_owned();
    for wait in [&a.id[..6], &a.id, "1", "all"] {
        a.api.get(&format!("/v1/receipts/{receipt}?wait={wait}&timeout=1s")).expect(200);
    }
    assert_eq!(a.api.get(&format!("/v1/receipts/{receipt}?wait=nobody")).expect(400).problem(), "invalid-argument");
    for answer in [a.api.get("/healthz"), a.api.get("/v1/status"), a.api.get(&path("x/1")), a.api.get("/v1/nothing")] {
        assert!(answer.body.ends_with('\n'), "{answer:?}");
    }
}

#[test]
fn imports_say_what_they_mean() {
    let (a, space) = node_with(3);
    let ndjson = [("content-type", "application/x-ndjson")];
    let import = |path: &str, body: &str| a.api.send("POST", path, &ndjson, Some(body.to_owned())).expect(200);
    // A byte order mark, as the CLI takes it.
    let marked = import(&format!("/v1/spaces/{space}/bom/import?id=id"), "\u{feff}{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
    assert_eq!(marked.lines().pop().expect("the end")["done"]["created"], 2, "{marked:?}");
    // A bad line ends it and says so; lines count what is settled.
    let bad = import(&format!("/v1/spaces/{space}/bad/import?id=id"), "{\"id\":\"a\"}\nx\n{\"id\":\"b\"}\n");
    let done = &bad.lines().pop().expect("the end")["done"];
    assert_eq!(
        (&done["lines"], &done["created"], &done["reason"]),
        (&json!(2), &json!(1), &json!("bad-line")),
        "{bad:?}"
    );
    // What was exported goes in again.
    let exported = a.export(&space);
    let b = Node::new("b");
    let twin = b.create_space("twin");
    let restored =
        b.api.send("POST", &format!("/v1/spaces/{twin}/import"), &ndjson, Some(exported.clone())).expect(200);
    let done = &restored.lines().pop().expect("the end")["done"];
    assert_eq!((&done["errors"], &done["lines"]), (&json!(0), &json!(exported.lines().count())), "{restored:?}");
    assert_eq!(b.export(&twin), exported);
    // Something that every line would meet is no matter of a line, skipped or not.
    b.join(&a.invite(&space, "reader"));
    let body = Some("{\"id\":\"a\"}\n".to_owned());
    let path = format!("/v1/spaces/{space}/x/import?id=id&skip_bad=true");
    let refused = b.api.send("POST", &path, &ndjson, body).expect(200).lines();
    assert_eq!((&refused[0]["status"], &refused[0]["reason"]), (&json!("stopped"), &json!("role")), "{refused:?}");
    assert!(refused[0].get("line").is_none(), "{refused:?}");
    let done = &refused.last().expect("the end")["done"];
    assert_eq!(
        (&done["stopped"], &done["lines"], &done["reason"]),
        (&json!(true), &json!(0), &json!("role")),
        "{refused:?}"
    );
}

#[test]
fn an_entry_of_many_changes_is_told_in_parts_and_each_change_once() {
    let (a, space) = node_with(1);
    let writes: Vec<_> = (0..300)
        .map(|n| json!({"collection": "many", "id": format!("m{n:03}"), "put": {"text": "y".repeat(400)}}))
        .collect();
    a.api.post(&format!("/v1/spaces/{space}/transactions"), &json!({ "writes": writes })).expect(200);
    let path = format!("/v1/spaces/{space}/changes?collection=many");
    let told = |since: &str| {
        let events = a.api.get(&format!("{path}{since}")).expect(200).lines();
        events.iter().map(|event| (event["subject"].to_string(), event["id"].clone())).collect::<Vec<_>>()
    };
    let all = told("");
    let subjects: std::collections::BTreeSet<_> = all.iter().map(|(subject, _)| subject).collect();
    assert_eq!((all.len(), subjects.len()), (300, 300), "every change once");
    for done in [1, 50, 150, 299, 300] {
        let cursor = all[done - 1].1.as_str().expect("a cursor");
        assert_eq!(told(&format!("&since={cursor}")), all[done..], "from {cursor} on");
    }
}

/// The value of a series of `/metrics`, by its name and labels.
fn figure(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    assert!(line.is_some(), "no {series} in {metrics}");
    line.and_then(|value| value.trim().parse().ok()).expect("a number")
}

#[test]
fn metrics_tell_steps_disk_memory_clock_and_traffic() {
    let (a, space) = node_with(2_000);
    let b = Node::new("b");
    b.join(&a.invite(&space, "writer"));
    tombolo_tests::converge(&space, &[&a, &b]);
    // Somebody who is no member of anything here.
    let c = Node::new("c");
    c.api.post("/v1/peers", &json!({"addr": a.listen})).expect(201);
    let connected = |status: &serde_json::Value| Some(status["connections"].as_array()?.len() == 2);
    tombolo_tests::eventually("c at a", || connected(&a.status())?.then_some(()));
    let metrics = a.api.get("/metrics").expect(200).body;
    for kind in ["inputs", "entries", "operations", "rows", "history", "care", "said"] {
        figure(&metrics, &format!("tombolo_step_longest_work_microseconds{{kind=\"{kind}\"}}"));
    }
    let longest = figure(&metrics, "tombolo_step_longest_seconds{kind=\"inputs\"}");
    assert!(longest > 0.0 && longest < 60.0, "{longest}");
    assert!(
        figure(&metrics, "tombolo_step_seconds_count") > 2.0
            && tombolo_tests::attack::meter::longest_step_ms(&a) >= longest
    );
    for series in ["process_resident_memory_bytes", "tombolo_store_bytes", "tombolo_disk_free_bytes"] {
        assert!(figure(&metrics, series) > 1e5, "{series}");
    }
    assert!(figure(&metrics, "process_start_time_seconds") > 1.7e9);
    assert!(figure(&metrics, "tombolo_clock_off_seconds").abs() < 60.0);
    let labels = format!("space=\"{space}\",name=\"shop\"");
    let of_space = |name: &str| figure(&metrics, &format!("tombolo_space_{name}{{{labels}}}"));
    assert_eq!((of_space("entities"), of_space("running_out_entities"), of_space("frozen_entities")), (2e3, 0.0, 0.0));
    of_space("largest_row_bytes");
    let b_labels = format!("space=\"{space}\",node=\"{}\",name=\"b\"", b.id);
    for name in ["clock_skew_milliseconds", "dial_failures", "last_contact_timestamp_seconds", "in_step"] {
        figure(&metrics, &format!("tombolo_member_{name}{{{b_labels}}}"));
    }
    // A member has a series of its own; all others have one.
    let sent = |node: &str| figure(&metrics, &format!("tombolo_sent_bytes_total{{node=\"{node}\",kind=\"hello\"}}"));
    assert!(sent(&b.id) > 0.0 && sent("others") > 0.0 && !metrics.contains(&c.id), "{metrics}");
}

#[test]
fn what_an_entity_takes_is_told_with_it() {
    let (a, space) = node_with(1);
    let path = format!("/v1/spaces/{space}/x/1");
    let keys: serde_json::Map<_, _> = (0..100).map(|n| (format!("k{n}"), json!({"n": n}))).collect();
    a.api.put(&path, &json!({"old": keys, "list": [1, 2, 3]})).expect(201);
    a.api.ops(&path, &json!([{"op": "delete", "path": "/list", "index": 0, "count": 2}])).expect(200);
    a.api.put(&path, &json!({"list": [3]})).expect(200);
    let told = a.api.get(&format!("{path}?meta=true")).expect(200);
    let number = |name: &str| told.header(name).and_then(|value| value.parse::<u64>().ok()).expect(name);
    assert_eq!(told.body.trim_end(), r#"{"list":[3]}"#);
    assert!(number("tombolo-row-bytes") > 1_000, "what was removed is in it: {told:?}");
    assert!(number("tombolo-removed-objects") > 100 && number("tombolo-removed-elements") == 2, "{told:?}");
    assert!((1 << 30..1 << 31).contains(&number("tombolo-numbers-left")), "{told:?}");
    assert_eq!(a.api.get(&path).expect(200).header("tombolo-row-bytes"), None, "only who asks pays for it");
    let wrong = a.api.get(&format!("{path}?meta=true&at=2027-01-15T08:00:00Z")).expect(400);
    assert_eq!(wrong.problem(), "invalid-argument");
    let output = a.cli(&["get", "shop/x/1", "--meta"]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&shown["view_bytes"], &shown["row_bytes"]), (&json!(12), &json!(number("tombolo-row-bytes"))));
    assert_eq!(shown["numbers_left"], json!(number("tombolo-numbers-left")));
    assert_eq!(shown["value"], json!({"list": [3]}));
    let receipt = told.header("etag").expect("a revision").trim_matches('"').to_owned();
    let past = a.cli(&["get", "shop/x/1", "--meta", "--at", &receipt]);
    let shown: serde_json::Value = serde_json::from_slice(&past.stdout).expect("JSON");
    assert_eq!((shown.get("row_bytes"), &shown["view_bytes"]), (None, &json!(12)), "nothing is stored of the past");
}
