//! The diagram's page and the table in it.

use serde_json::Value;

use super::made::{at, fault, long_run, outcome, plan, sent, violation, world, write};
use crate::outcome::{Outcome, Verdict};
use crate::plan::{Action, Fault, Plan};
use crate::report::diagram::{DIAGRAM_EVENTS_MAX, diagram, window};
use crate::trace::What;

const OPENING: &str = "<script type=\"application/json\" id=\"data\">";

fn page(plan: &Plan, outcome: &Outcome) -> (String, Value) {
    let html = diagram(plan, outcome).expect("events");
    let data = html.split_once(OPENING).expect("data").1.split_once("</script>").expect("an end").0;
    let table = serde_json::from_str(data).expect("JSON");
    (html, table)
}

#[test]
fn without_events_there_is_no_diagram() {
    let nothing = Outcome { trace: None, ..outcome(Verdict::Held, Vec::new()) };
    assert_eq!(diagram(&plan(&["a"]), &nothing), None);
}

#[test]
fn nothing_in_a_run_breaks_out_of_the_page() {
    let evil = "</script><script>alert(1)</script><!--";
    let mut plan = plan(&[evil, "b"]);
    plan.scenario = evil.to_owned();
    plan.spaces[0].name = evil.to_owned();
    plan.writes = vec![write(1, 0, Action::Put(evil.into()))];
    let events = vec![
        at(1, 0, What::Asked { write: 1 }),
        at(2, 0, What::Answered { write: 1, refused: Some(evil.to_owned()) }),
        at(3, 0, What::Closed { peer: 1, reason: evil.to_owned() }),
        at(4, 0, What::Violated { oracle: evil.to_owned(), detail: evil.to_owned() }),
    ];
    let mut violated = violation(4, evil);
    violated.place = evil.to_owned();
    let (html, table) = page(&plan, &outcome(Verdict::Violated(violated), events));
    assert!(!html.contains("alert(1)</script>"), "the script is closed by data");
    assert!(!html.contains(evil));
    assert_eq!(html.matches("<script").count(), 2, "the data and the program");
    assert_eq!(html.matches("</script>").count(), 2);
    assert_eq!(table["nodes"][0], evil);
    assert_eq!(table["events"][1][4], evil);
    assert!(table["writes"]["1"].as_str().expect("text").contains(evil));
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let (plan, outcome) = long_run();
    let html = diagram(&plan, &outcome).expect("events");
    for foreign in ["http://", "https://", "src=\"", "@import", "url(", "fetch(", "XMLHttpRequest"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert!(html.contains("default-src 'none'"));
    assert!(html.contains("id=\"to-violation\""), "the violation is linked from the top");
    assert!(!html.contains("{{"), "no gap of the template is left");
}

#[test]
fn messages_know_their_two_ends() {
    let events = vec![
        at(10, 0, sent(1, 1, "summary")),
        at(20, 1, sent(2, 0, "have")),
        at(25, 1, sent(3, 0, "have")),
        at(30, 1, What::Received { message: 1, from: 0 }),
        world(40, What::Lost { message: 2 }),
    ];
    let (_, table) = page(&plan(&["a", "b"]), &outcome(Verdict::Held, events));
    assert_eq!(table["frames"], serde_json::json!(["summary", "have"]));
    let expected =
        serde_json::json!([[0, 1, 0, 100, 10, 30, -1], [1, 0, 1, 100, 20, -1, 40], [1, 0, 1, 100, 25, -1, -1]]);
    assert_eq!(table["messages"], expected);
    assert_eq!(table["events"][3], serde_json::json!([30, 1, "received", 0]));
}

#[test]
fn faults_and_dead_processes_span_what_they_span() {
    let mut plan = plan(&["a", "b"]);
    plan.faults = vec![
        fault(1, 0, 1, Fault::Cut { from: vec![0], to: vec![1], one_way: false }),
        fault(2, 0, 9, Fault::Pause { node: 1 }),
        fault(3, 0, 0, Fault::Readdress { node: 1 }),
        fault(4, 0, 1, Fault::Clone { node: 0 }),
    ];
    let began = |no| What::FaultBegan { fault: no };
    let events = vec![
        world(5, began(1)),
        world(6, began(2)),
        world(7, began(3)),
        world(7, began(4)),
        at(8, 0, What::Died),
        at(9, 0, What::Started { state: String::new() }),
        world(10, What::FaultEnded { fault: 1 }),
        world(11, What::FaultEnded { fault: 4 }),
        at(11, 0, What::Died),
        at(12, 1, What::Died),
        world(20, What::Healed),
    ];
    let (_, table) = page(&plan, &outcome(Verdict::Held, events));
    let spans: Vec<_> = table["faults"].as_array().expect("faults").iter().map(|f| (&f["from"], &f["until"])).collect();
    assert_eq!(
        format!("{spans:?}"),
        "[(Number(5), Number(10)), (Number(6), Number(20)), (Number(7), Number(7)), (Number(7), Number(11))]"
    );
    assert_eq!(table["faults"][0]["peers"], serde_json::json!([1]));
    assert_eq!(table["down"], serde_json::json!([[0, 8, 9], [1, 12, null]]), "the end of a clone is no death");
}

#[test]
fn what_is_kept_lies_around_the_violation_and_is_bounded() {
    assert_eq!(window(10, None, 20), 0..10);
    assert_eq!(window(100, None, 20), 80..100);
    assert_eq!(window(100, Some(99), 20), 80..100);
    assert_eq!(window(100, Some(50), 20), 40..60);
    assert_eq!(window(100, Some(3), 20), 0..20);

    let count = DIAGRAM_EVENTS_MAX + 500;
    let mut events: Vec<_> = (0..count as u64).map(|us| at(us, 0, What::Connected { peer: 1 })).collect();
    events[0] = at(0, 1, sent(1, 0, "ranges"));
    let last = count - 1;
    events[last - 1] = at(count as u64, 0, What::Received { message: 1, from: 1 });
    events[last] = at(count as u64, 0, What::Violated { oracle: "values".into(), detail: String::new() });
    let (_, table) = page(&plan(&["a", "b"]), &outcome(Verdict::Violated(violation(0, "")), events));
    assert_eq!(table["events"].as_array().expect("events").len(), DIAGRAM_EVENTS_MAX);
    assert_eq!(
        table["left_out"],
        serde_json::json!({"before": 500, "after": 0, "idle": 0, "limit": DIAGRAM_EVENTS_MAX})
    );
    assert_eq!(table["messages"][0][4], 0, "when it was sent is known although that event is left out");
    assert_eq!(table["frames"][0], "ranges");
}

#[test]
fn of_too_many_events_the_idle_ones_go_first() {
    let idle = |us: usize| at(us as u64, 0, What::Woke);
    let mut events: Vec<_> = (0..DIAGRAM_EVENTS_MAX).map(idle).collect();
    let (_, table) = page(&plan(&["a"]), &outcome(Verdict::Held, events.clone()));
    assert_eq!(table["events"].as_array().expect("events").len(), DIAGRAM_EVENTS_MAX);
    events.insert(0, at(0, 0, What::Died));
    let (_, table) = page(&plan(&["a"]), &outcome(Verdict::Held, events));
    assert_eq!(table["events"], serde_json::json!([[0, 0, "died"]]));
    assert_eq!(table["left_out"]["idle"], DIAGRAM_EVENTS_MAX);
}

#[test]
fn a_long_run_stays_small() {
    let (plan, outcome) = long_run();
    let (html, table) = page(&plan, &outcome);
    assert!(table["messages"].as_array().expect("messages").len() > 2_000);
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
    assert_eq!(table["down"], serde_json::json!([[2, 500_000_020, 560_000_020]]));
}
