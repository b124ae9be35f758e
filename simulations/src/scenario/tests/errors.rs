//! Bad input: file, line, column, what is wrong, what is allowed.

use super::*;

/// What is said of a piece of TOML that begins in line 5.
fn said(piece: &str) -> String {
    read(&with(piece)).expect_err("it is wrong").to_string()
}

fn is(piece: &str, expected: &str) {
    assert_eq!(said(piece), expected, "{piece}");
}

#[test]
fn the_piece_around_it_is_fine() {
    assert!(read(&with("")).is_ok());
}

#[test]
fn toml_that_is_none() {
    let error = said("survivors = [");
    assert!(error.starts_with("test.toml:"), "{error}");
    assert!(error.contains("not TOML: "), "{error}");
}

#[test]
fn keys_and_types() {
    is(
        "colour = \"red\"",
        "test.toml:5:1: unknown key `colour` in the scenario; allowed: name, title, about, duration, patience, lanes, survivors, nodes, node, topology, between, link, space, initial, workload, write, script, faults, random, assert",
    );
    is(
        "[[workload]]\ncount = 5\ncolection = \"x\"",
        "test.toml:7:1: unknown key `colection` in [[workload]] (did you mean `collection`?); allowed: count, rate, space, during, nodes, collection, prefix, ids, existing, pick, shape, mix, by, padding, burst, twins, retried",
    );
    is("patience = 5", "test.toml:5:12: `patience` must be a time such as \"1h30m\", not a number");
    is(
        "patience = \"5min\"",
        "test.toml:5:12: `patience`: `5min` is not a time; write whole numbers with us, ms, s, m, h or d, such as 250ms, 90s, 1h30m or 2d",
    );
    is("patience = 2020-01-01", "test.toml:5:12: `patience` must be a time such as \"1h30m\", not a date");
    is("lanes = [\"world\", \"moon\"]", "test.toml:5:19: `lanes` cannot have `moon`; allowed: world, quic");
    is(
        "[topology]\nshape = \"torus\"",
        "test.toml:6:9: `shape` cannot be `torus`; allowed: mesh, ring, line, star, random, links",
    );
    is(
        "[topology]\nlatency = { p50 = \"9ms\", max = \"5ms\" }",
        "test.toml:6:11: `latency` must have min ≤ p50 ≤ p99 ≤ max",
    );
    is("[topology]\nloss = 0.1", "test.toml:6:8: `loss` must be a share such as \"1%\", not a number");
    is("[[workload]]\ncount = 5\nrate = \"1/h\"", "test.toml:7:8: [[workload]] takes only one of count, rate");
    is("[[workload]]\nids = 5", "test.toml:5:1: [[workload]] needs one of count, rate");
    is(
        "[random]\nrate = \"1/h\"\nlasts = \"1m\"\nkinds = [\"crush\"]",
        "test.toml:8:10: unknown kind of fault `crush` (did you mean `crash`?); allowed: split, one-way, isolate, bridge, ring, flap, swizzle, clog, slow, lossy, reset, replay, mass-reconnect, half-open, readdress, slow-reader, crash, rolling-restart, pause, clock, disk-full, disk-error, disk-slow, bit-flips, restore, clone, gone-bad",
    );
    is("[random]\nlasts = \"1m\"", "test.toml:5:1: [random] needs `rate`");
    is(
        "[random]\nrate = \"1/h\"\nlasts = \"5s-3m\"",
        "test.toml:7:9: `lasts`: `5s-3m` is not a time; ranges are written 5s..3m",
    );
    is(
        "[[assert]]\nname = \"a\"\nthat = \"true\"\nwhat = 1",
        "test.toml:8:1: unknown key `what` in [[assert]] (did you mean `that`?); allowed: name, space, collection, that",
    );
}

#[test]
fn several_errors_are_told_at_once() {
    is(
        "patience = 5\nlanes = []",
        "test.toml:5:12: `patience` must be a time such as \"1h30m\", not a number\ntest.toml:6:9: `lanes` is empty; allowed: world, quic",
    );
}

#[test]
fn topologies_that_cannot_be() {
    is("[[link]]\na = \"berlin\"\nb = \"berlin\"", "test.toml:7:5: a link from `berlin` to itself");
    is("[[link]]\na = \"berlin\"\nb = \"paris\"", "test.toml:7:5: unknown node `paris`; there are: berlin, rome, oslo");
    is(
        "[topology]\nshape = \"links\"\n[[link]]\na = \"berlin\"\nb = \"rome\"",
        "test.toml:6:9: the nodes are not connected: add links, or another shape",
    );
    is(
        "survivors = [\"berlin\", \"oslo\"]\n[topology]\nshape = \"line\"",
        "test.toml:5:14: the survivors berlin, oslo are not connected by links among themselves",
    );
    is("survivors = [\"paris\"]", "test.toml:5:14: unknown node or zone `paris`; there are: berlin, oslo, rome");
    is(
        "[[between]]\na = \"berlin\"\nb = \"oslo\"\nloss = \"1%\"\n[topology]\nshape = \"line\"",
        "test.toml:7:5: there is no link between `berlin` and `oslo`",
    );
    is(
        "[[space]]\nname = \"s\"\nwriters = [\"paris\"]",
        "test.toml:7:12: unknown node or zone `paris`; there are: berlin, oslo, rome",
    );
    is("[[space]]\nname = \"s\"\nreaders = \"*\"", "test.toml:6:8: nobody may write in space `s`");
    is(
        "[topology]\nshape = \"line\"\n[[space]]\nname = \"s\"\nwriters = [\"berlin\", \"oslo\"]",
        "test.toml:8:8: the members of space `s` are not connected by links among themselves",
    );
    is("[[node]]\nname = \"any\"", "test.toml:6:8: no node can be called `any`: that word means something");
    is("[topology]\nshape = \"random\"\ndegree = 3", "test.toml:7:10: 3 nodes have at most 2 links each, not 3");
}

#[test]
fn writes_that_cannot_be() {
    is(
        "[[write]]\nat = \"2h\"\nnode = \"rome\"\ncollection = \"x\"\nid = \"a\"\nput = { v = 1 }",
        "test.toml:5:1: a write at 2h is beyond the duration of 1h",
    );
    is(
        "[[write]]\nat = \"2m\"\nnode = \"paris\"\ncollection = \"x\"\nid = \"a\"\nput = { v = 1 }",
        "test.toml:7:8: unknown node or zone `paris`; there are: berlin, oslo, rome",
    );
    is(
        "[[write]]\nat = \"2m\"\nnode = \"rome\"\ncollection = \"x\"\nid = \"a\"\nput = { v = 1 }\ndelete = true",
        "test.toml:11:10: [[write]] takes only one of put, patch, increment, delete",
    );
    is(
        "[[write]]\nat = \"2m\"\nnode = \"rome\"\ncollection = \"x y\"\nid = \"a\"\npatch = '{\"v\": null}'",
        "test.toml:5:1: collection `x y` has a character other than A-Z a-z 0-9 . _ - at byte 1",
    );
    is(
        "[[write]]\nat = \"2m\"\nnode = \"rome\"\ncollection = \"x\"\nid = \"a\"\npatch = '{\"v\": nul}'",
        "test.toml:10:9: `patch` is not JSON: expected ident at line 1 column 10",
    );
    is(
        "[[write]]\nat = \"2m\"\nnode = \"rome\"\nspace = \"other\"\ncollection = \"x\"\nid = \"a\"\ndelete = true",
        "test.toml:8:9: unknown space `other`; there are: main",
    );
    is(
        "[[workload]]\ncount = 5\nduring = \"30m..10m\"",
        "test.toml:7:10: `during`: the range `30m..10m` ends before it begins",
    );
    is(
        "[[workload]]\ncount = 5\nduring = \"30m..3h\"",
        "test.toml:5:1: the end of the range at 3h is beyond the duration of 1h",
    );
}

#[test]
fn faults_that_cannot_be() {
    is(
        "faults = \"at 2m cut paris from *; at 5m heal\"",
        "test.toml:5:21: unknown node or zone `paris`; there are: berlin, oslo, rome",
    );
    is(
        "faults = \"\"\"\nat 2m cut berlin from *\nat 3m cuddle rome\n\"\"\"",
        "test.toml:7:7: unknown fault `cuddle`; allowed: heal, cut, isolate, split, bridge, ring, flap, swizzle, clog, slow, lossy, reset, replay, mass-reconnect, half-open, readdress, slow-reader, crash, rolling-restart, pause, clock, disk-full, disk-error, disk-slow, bit-flips, restore, clone, gone-bad",
    );
    is(
        "faults = \"at 5m cut rome, oslo berlin\"",
        "test.toml:5:32: `from` or `to` is missing; write: at T cut A from B, or one way: at T cut A to B",
    );
    is("faults = \"at 5m reset rome\"", "test.toml:5:27: `from` is missing; write: at T reset A from B");
    is("faults = \"at 5m-9m isolate rome\"", "test.toml:5:14: `5m-9m` is not a time; ranges are written 5m..9m");
    let near = said("faults = \"at 5m isolat rome\"");
    assert!(
        near.starts_with("test.toml:5:17: unknown fault `isolat` (did you mean `isolate`?); allowed: heal, "),
        "{near}"
    );
    is("faults = \"at 10m..5m isolate rome\"", "test.toml:5:14: the range `10m..5m` ends before it begins");
    is(
        "faults = \"at 10m..90m isolate rome\"",
        "test.toml:5:11: the end of a fault at 1h30m is beyond the duration of 1h",
    );
    is("faults = \"at 90m isolate rome\"", "test.toml:5:11: a fault at 1h30m is beyond the duration of 1h");
    is(
        "faults = \"at 5m crash rome\"",
        "test.toml:5:17: `crash` needs an end: `for` and a time, or `at T..T2`; write: at T crash A for 30s torn",
    );
    is(
        "faults = \"at 5m crash rome for 30s tron\"",
        "test.toml:5:36: `crash` does not take `tron` here (did you mean `torn`?); allowed: for, kept, lost, subset, torn, in-commit, in-repair; write: at T crash A for 30s torn",
    );
    is(
        "faults = \"at 5m heal\"",
        "test.toml:5:11: nothing is open to be healed: no earlier fault without an end of its own",
    );
    is(
        "faults = \"at 5m cut rome from rome\"",
        "test.toml:5:11: the two sides are the same nodes: nothing is between them",
    );
    is(
        "faults = \"at 5m cut rome\"",
        "test.toml:5:25: `from` or `to` is missing; write: at T cut A from B, or one way: at T cut A to B",
    );
    is(
        "faults = \"at 5m restore rome taken 6m for 1m\"",
        "test.toml:5:11: the backup of 6m must be made before it is restored at 5m",
    );
    is(
        "survivors = \"all\"\nfaults = \"at 5m bit-flips rome 2 for 1m\"",
        "test.toml:6:11: a damaged file may have lost writes, so its node cannot be a survivor; all are",
    );
    is(
        "survivors = \"all\"\nfaults = \"at 5m bit-flips rome 65 for 1m in-rows\"",
        "test.toml:6:11: 65 rows; allowed: from 1 to 64",
    );
    is(
        "faults = [\"at 5m~5m crash rome for 30s\", \"at 9m clone rome for 2m\"]",
        "test.toml:5:43: may overlap with the fault of line 5: `rome` takes one such fault at a time",
    );
}

#[test]
fn faults_that_are_not_written_so() {
    is("faults = \"crash rome\"", "test.toml:5:11: a fault begins with `at` and a time; write: at T cut A from B");
    is("faults = \"at 5m slow rome from * 1x\"", "test.toml:5:34: `1x` is not a factor from 2x to 1000000x");
    is(
        "faults = \"at 5m reset rome from * for 3m\"",
        "test.toml:5:35: `reset` does not take `for` here; allowed: nothing; write: at T reset A from B",
    );
    is(
        "faults = \"at 5m..6m reset rome from *\"",
        "test.toml:5:14: `reset` happens at once and has no end; write: at T reset A from B",
    );
}

#[test]
fn assertions_that_cannot_be() {
    let load = "[[workload]]\ncollection = \"x\"\ncount = 5";
    let assert = |that: &str| format!("[[assert]]\nname = \"a\"\ncollection = \"x\"\nthat = {that}\n{load}");
    let syntax = said(&assert("\"entity.stock >\""));
    let expected = "test.toml:8:23: the assertion is not CEL: Syntax error: mismatched input '<EOF>' expecting ";
    assert!(syntax.starts_with(expected), "{syntax}");
    let later = said(&assert("'''entity.stock\n  == ) 1'''"));
    assert!(later.starts_with("test.toml:9:6: the assertion is not CEL: Syntax error: "), "{later}");
    is(
        &assert("\"stock == 1\""),
        "test.toml:8:8: the assertion names `stock`; it may name id, entity, conflicts, present, node",
    );
    is(&assert("\"sizes(entity) == 1\""), "test.toml:8:8: the assertion calls `sizes`, which CEL does not have");
    assert!(read(&with(&assert("\"entity.all(key, size(key) > 0) && has(entity.x) && type(id) == string\""))).is_ok());
    is(
        "[[assert]]\nname = \"a\"\nthat = \"present\"",
        "test.toml:7:8: the assertion names `present`; it may name node, views, conflicts, writes, spaces",
    );
}

#[test]
fn too_many_faults() {
    is(
        "faults = \"at 1m crash rome for 1s; at 2m..50m flap rome from * down 100ms up 100ms\"",
        "test.toml:5:36: this is up to 14400 faults, with those before it 14401: too many; allowed: 5000",
    );
    assert!(read(&with("faults = \"at 2m..50m flap rome from * down 1s up 1s\"")).is_ok());
    is(
        "[random]\nrate = \"10/s\"\nlasts = \"1ms\"\nstability = \"1ms\"\nkinds = [\"reset\"]",
        "test.toml:5:1: [random] comes to about 35294 faults, with those spelled out: too many; allowed: 5000; lower `rate`, or shorten `during`",
    );
}

#[test]
fn assertions_about_nothing() {
    let assert = |that: &str| format!("[[assert]]\nname = \"a\"\nthat = \"{that}\"");
    for (that, gives) in [
        ("1 + 1", "the result of a calculation"),
        ("size(views)", "a number"),
        ("[true]", "a list"),
        ("true ? size(views) : 2", "a number"),
        ("'yes'", "string"),
    ] {
        is(&assert(that), &format!("test.toml:7:8: the assertion gives {gives}; it must give true or false"));
    }
    is(&assert("is_ok(views)"), "test.toml:7:8: the assertion calls `is_ok`, which CEL does not have");
    let never = said(&assert("1 < 'a'"));
    assert!(never.starts_with("test.toml:7:8: the assertion can never be evaluated: "), "{never}");
    for fine in ["size(views) > 2", "1 < 2", "size(views) == 1 ? true : node == 'rome'", "!(node in spaces)"] {
        assert!(read(&with(&assert(fine))).is_ok(), "{fine}");
    }
    let load = "[[workload]]\ncollection = \"stock\"\ncount = 5\n[[write]]\nat = \"1m\"\nnode = \"rome\"\n\
                collection = \"old\"\nid = \"a\"\ndelete = true\n";
    let of =
        |collection: &str| format!("{load}[[assert]]\nname = \"a\"\ncollection = \"{collection}\"\nthat = \"present\"");
    is(
        &of("stokc"),
        "test.toml:16:14: nothing is ever written in collection `stokc` (did you mean `stock`?): the assertion would be about nothing; there are: old, stock",
    );
    assert!(read(&with(&of("stock"))).is_ok() && read(&with(&of("old"))).is_ok());
    is(
        &format!("{0}\n{0}", assert("true")),
        "test.toml:10:8: there are two assertions `a`; failures are told apart by it",
    );
}

#[test]
fn problems_stand_where_their_key_does() {
    is("[topology]\nshape = \"random\"\ndegree = 900", "test.toml:7:10: `degree` must be 1 to 512, not 900");
    let whole = |text: &str| read(text).expect_err("it is wrong").to_string();
    let head = "title = \"T\"\nabout = \"A\"\n";
    let nodes = "[nodes]\ncount = 900\nnaems = 3\n";
    assert_eq!(
        whole(&format!("name = \"t\"\n{head}duration = \"1h\"\n{nodes}")),
        "test.toml:6:9: `count` must be 1 to 512, not 900\n\
         test.toml:7:1: unknown key `naems` in [nodes] (did you mean `names`?); allowed: clock_offset, clock_drift_ppm, commit, count, names"
    );
    assert_eq!(
        whole(&format!("name = \"T\"\n{head}duration = \"0s\"\n[nodes]\ncount = 2\n")),
        "test.toml:1:8: the name `T` must be 1 to 64 of a-z, 0-9 and -\ntest.toml:4:12: `duration` must be longer than 0s"
    );
    let many = "[nodes]\ncount = 512\n[[node]]\nname = \"more\"\n";
    assert_eq!(
        whole(&format!("name = \"t\"\n{head}duration = \"1h\"\n{many}")),
        "test.toml:8:8: 513 nodes are too many; at most 512"
    );
}

#[test]
fn a_fault_that_cannot_be_read_hides_nothing() {
    let piece =
        "faults = \"at 5m cuddle rome; at 6m heal; at 2h isolate rome\"\n[[assert]]\nname = \"a\"\nthat = \"what\"";
    let said = said(piece);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].starts_with("test.toml:5:17: unknown fault `cuddle`"), "{said}");
    assert_eq!(lines[1], "test.toml:5:42: a fault at 2h is beyond the duration of 1h");
    assert!(lines[2].starts_with("test.toml:8:8: the assertion names `what`"), "{said}");
}

#[test]
fn files_that_scenarios_name() {
    let of = |text: &'static str, piece: &str| {
        let files = move |name: &str| if name == "w.ndjson" { Ok(text.to_owned()) } else { Err("not there".into()) };
        Scenario::parse("test.toml", &with(piece), &files)
            .map(|scenario| scenario.plan(0))
            .map_err(|error| error.to_string())
    };
    let script = "[[script]]\nfile = \"w.ndjson\"";
    let plan = of(
        "{\"at\":\"2m\",\"node\":\"rome\",\"collection\":\"x\",\"id\":\"a\",\"put\":{\"v\":1}}\n\n{\"at\":\"1m\",\"node\":\"*\",\"collection\":\"x\",\"id\":\"a\",\"patch\":{\"v\":null}}\n",
        script,
    );
    assert_eq!(plan.expect("fine").writes.len(), 4);
    assert_eq!(
        of("", "[[script]]\nfile = \"v.ndjson\"").expect_err("missing"),
        "test.toml:6:8: file `v.ndjson`: not there"
    );
    assert_eq!(of("{\"at\":\"2m\"", script).expect_err("cut"), "w.ndjson:1:10: not JSON: EOF while parsing an object");
    assert_eq!(
        of("\n{\"at\":\"2m\",\"node\":\"paris\",\"collection\":\"x\",\"id\":\"a\",\"delete\":true}", script)
            .expect_err("unknown"),
        "w.ndjson:2:19: unknown node or zone `paris`; there are: berlin, oslo, rome"
    );
    assert_eq!(
        of("{\"collection\":\"x\",\"id\":\"a\",\"valeu\":{}}", "[[initial]]\nfile = \"w.ndjson\"")
            .expect_err("unknown"),
        "w.ndjson:1:1: a line of initial data needs `value`\nw.ndjson:1:36: unknown key `valeu` in a line of initial data (did you mean `value`?); allowed: collection, id, value"
    );
    assert_eq!(
        of("{\"at\":\"2m\",\"node\":\"rome\",\"collection\":\"x\",\"id\":\"a\",\"increment\":{\"path\":\"/n\",\"by\":1.5}}", script)
            .expect_err("a fraction"),
        "w.ndjson:1:82: `by` must be a whole number of 64 bits, not 1.5"
    );
    let missing = Scenario::load(Path::new("no-such.toml")).expect_err("it is not there").to_string();
    assert!(missing.starts_with("no-such.toml: ") && !missing.contains(":1"), "{missing}");
    assert_eq!(
        of(" \n", script).expect_err("empty"),
        "test.toml:6:8: file `w.ndjson` is empty: there must be a line of a script in it"
    );
}

#[test]
fn files_are_named_from_where_the_user_is() {
    let files = |_: &str| Ok("{\"collection\":\"x\"}".to_owned());
    let text = with("[[initial]]\nfile = \"w.ndjson\"");
    let said = Scenario::parse("of/mine/test.toml", &text, &files).expect_err("wrong").to_string();
    assert!(said.starts_with("of/mine/w.ndjson:1:1: "), "{said}");
}

#[test]
fn lines_that_were_refused_are_told_by_file_and_line() {
    let write = |at: &str, node: &str| {
        format!("{{\"at\":\"{at}\",\"node\":\"{node}\",\"collection\":\"x\",\"id\":\"a\",\"put\":{{}}}}\n")
    };
    let text = write("2m", "rome") + &write("1m", "*");
    let files = |_: &str| Ok(text.clone());
    let scenario = Scenario::parse("test.toml", &with("[[script]]\nfile = \"w.ndjson\""), &files).expect("fine");
    let lines = |refused: &[u32]| scenario.refused_lines(7, refused).into_iter().collect::<Vec<_>>();
    assert_eq!(lines(&[]), Vec::<String>::new());
    assert_eq!(lines(&[1, 2]), Vec::<String>::new(), "one of three was taken");
    assert_eq!(lines(&[1, 2, 3]), ["w.ndjson:2"]);
    assert_eq!(lines(&[4]), ["w.ndjson:1"]);
}
