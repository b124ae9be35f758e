//! The ShiViz log.

use std::collections::BTreeMap;

use super::made::{at, long_run, outcome, plan, sent, world};
use crate::outcome::Verdict;
use crate::report::shiviz::{PARSER, SHIVIZ_EVENTS_MAX, shiviz};
use crate::trace::What;

type Clock = BTreeMap<String, u64>;

/// Host, clock and words of each line, taken apart as the expression in the first line says.
fn parse(log: &str) -> Vec<(String, Clock, String)> {
    let mut lines = log.lines();
    assert_eq!(lines.next(), Some(PARSER));
    assert_eq!(lines.next(), Some(""), "one execution");
    lines
        .map(|line| {
            let (host, rest) = line.split_once(' ').expect("a host");
            let (clock, rest) = rest.split_once("} [").expect("a clock");
            let (_, words) = rest.split_once("] ").expect("a date");
            let clock = serde_json::from_str(&format!("{clock}}}")).expect("JSON");
            (host.to_owned(), clock, words.to_owned())
        })
        .collect()
}

#[test]
fn clocks_count_events_and_carry_what_was_seen() {
    let events = vec![
        at(1, 0, sent(1, 1, "summary")),
        at(2, 0, What::Woke),
        at(3, 1, What::Connected { peer: 0 }),
        at(4, 1, What::Received { message: 1, from: 0 }),
        world(5, What::Healed),
    ];
    let log = shiviz(&plan(&["north shore", "b"]), &outcome(Verdict::Held, events)).expect("events");
    let expected = format!(
        "{PARSER}\n\n\
         north_shore {{\"north_shore\":1}} [00:00:00.000001] summary to b (100 B, #1)\n\
         b {{\"b\":1}} [00:00:00.000003] connected with north shore\n\
         b {{\"b\":2,\"north_shore\":1}} [00:00:00.000004] summary from north shore (#1)\n\
         world {{\"world\":1}} [00:00:00.000005] faults are over\n"
    );
    assert_eq!(log, expected);
}

#[test]
fn in_a_long_run_every_clock_is_consistent() {
    let (plan, outcome) = long_run();
    let events = parse(&shiviz(&plan, &outcome).expect("events"));
    assert_eq!(events.len(), SHIVIZ_EVENTS_MAX);
    let (mut own, mut sends): (BTreeMap<String, Clock>, BTreeMap<String, Clock>) = Default::default();
    let mut received = 0;
    for (host, clock, words) in events {
        let before = own.entry(host.clone()).or_default();
        assert_eq!(clock[&host], before.get(&host).copied().unwrap_or_default() + 1, "grows by one: {host} {words}");
        assert!(before.iter().all(|(name, seen)| clock[name] >= *seen), "nothing is forgotten");
        *before = clock.clone();
        let Some((_, number)) = words.rsplit_once('#') else { continue };
        let number = number.trim_end_matches(')').to_owned();
        if words.contains(" from ") {
            let Some(sent) = sends.get(&number) else { continue };
            received += 1;
            assert!(sent.iter().all(|(name, seen)| clock[name] >= *seen), "who receives has seen what the sender had");
        } else {
            sends.insert(number, clock);
        }
    }
    assert!(received > 1_000, "{received}");
}

#[test]
fn names_that_the_parser_cannot_read_are_replaced_and_stay_different() {
    let events = (0..4).map(|node| at(node as u64, node, What::Died)).collect();
    let log = shiviz(&plan(&["a b", "a}b", "world", ""]), &outcome(Verdict::Held, events)).expect("events");
    let hosts: Vec<String> = parse(&log).into_iter().map(|(host, ..)| host).collect();
    assert_eq!(hosts, ["a_b", "a_b#1", "world#2", "#3"]);
    let text = at(1, 0, What::Violated { oracle: "values".into(), detail: "two\nlines".into() });
    let log = shiviz(&plan(&["a"]), &outcome(Verdict::Held, vec![text])).expect("events");
    assert_eq!(parse(&log)[0].2, "VIOLATED values: two lines");
}
