//! A log for ShiViz, which draws who could have known what.
//!
//! The form is that of its "upload a log" page: the first line is the regular expression that reads an event, the
//! second what separates executions (empty: there is one), the rest is the log. An event has the named groups `host`,
//! `clock` (JSON, host to number) and `event`; further groups are shown beside it. Each host's own entry begins at 1
//! and grows by one per event. Messages are not said: an arrow goes from an event to another whose clock has seen it.

use std::collections::BTreeMap;

use super::diagram::{is_idle, window};
use super::words::{clip, fault, micros, moment, node_name, write};
use crate::outcome::Outcome;
use crate::plan::{NodeNo, Plan};
use crate::trace::{Event, What};

/// Most events: ShiViz draws every one at once, in one page of SVG. The nearest to the violation are kept.
pub const SHIVIZ_EVENTS_MAX: usize = 5_000;

/// Most characters of one event's text.
const TEXT_CHARS_MAX: usize = 300;

/// Reads one line of the log.
pub const PARSER: &str = r"(?<host>\S+) (?<clock>\{[^}]*\}) (?<date>\[[^\]]*\]) (?<event>.*)";

/// The host of what concerns no single node: faults, healing, the end.
const WORLD: &str = "world";

/// The log of a run with its events; `None` if they were not recorded. O(events × nodes).
///
/// Idle steps and timers are left out; clocks count only what is shown.
#[must_use]
pub fn shiviz(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let trace = outcome.trace.as_ref()?;
    let shown: Vec<&Event> = trace.events.iter().filter(|event| !is_idle(&event.what)).collect();
    let focus = shown.iter().rposition(|event| matches!(event.what, What::Violated { .. }));
    let kept = window(shown.len(), focus, SHIVIZ_EVENTS_MAX);
    let mut log = Log { plan, hosts: hosts(plan), clocks: BTreeMap::new(), sent: BTreeMap::new(), text: String::new() };
    for event in shown.get(kept).unwrap_or_default() {
        log.event(event);
    }
    Some(format!("{PARSER}\n\n{}", log.text))
}

/// Host names as the expression takes them, all different.
fn hosts(plan: &Plan) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for (no, node) in plan.nodes.iter().enumerate() {
        let plain: String = node.name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        let taken = plain.is_empty() || plain == WORLD || hosts.contains(&plain);
        hosts.push(if taken { format!("{plain}#{no}") } else { plain });
    }
    hosts
}

/// No white space for the parser, and nothing that JSON would escape.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "-_.:".contains(c)
}

type Clock = BTreeMap<String, u64>;

struct Message {
    clock: Clock,
    from: NodeNo,
    frame: String,
}

struct Log<'a> {
    plan: &'a Plan,
    hosts: Vec<String>,
    clocks: BTreeMap<String, Clock>,
    sent: BTreeMap<u64, Message>,
    text: String,
}

impl Log<'_> {
    fn event(&mut self, event: &Event) {
        let words = self.words(&event.what);
        let host = event.node.and_then(|node| self.hosts.get(node)).map_or(WORLD, String::as_str).to_owned();
        let clock = self.clocks.entry(host.clone()).or_default();
        if let What::Received { message, .. } = &event.what
            && let Some(sent) = self.sent.get(message)
        {
            for (name, seen) in &sent.clock {
                let known = clock.entry(name.clone()).or_default();
                *known = (*known).max(*seen);
            }
        }
        *clock.entry(host.clone()).or_default() += 1;
        let clock = clock.clone();
        // Host names hold nothing that JSON escapes, and numbers cannot fail.
        let json = serde_json::to_string(&clock).unwrap_or_default();
        self.text.push_str(&format!("{host} {json} [{}] {words}\n", moment(event.at)));
        if let (What::Sent { message, frame, .. }, Some(from)) = (&event.what, event.node) {
            self.sent.insert(*message, Message { clock, from, frame: frame.to_string() });
        }
    }

    fn words(&self, what: &What) -> String {
        let name = |node: &NodeNo| node_name(self.plan, *node);
        let planned = |no: &u32| self.plan.faults.iter().find(|fault| fault.no == *no);
        let fault_words = |no: &u32| planned(no).map_or(String::new(), |planned| fault(self.plan, planned));
        let text = match what {
            What::Asked { write: no } => {
                let asked = self.plan.writes.iter().find(|write| write.no == *no);
                format!("asked for write {no}: {}", asked.map_or(String::new(), |asked| write(self.plan, asked)))
            }
            What::Answered { write, refused: None } => format!("acknowledged write {write}"),
            What::Answered { write, refused: Some(why) } => format!("refused write {write}: {why}"),
            What::Stepped { inputs, entries, took, .. } => {
                format!("committed {entries} entries of {inputs} inputs in {} µs", micros(*took))
            }
            What::Sent { message, to, frame, bytes } => format!("{frame} to {} ({bytes} B, #{message})", name(to)),
            What::Received { message, from } => {
                let frame = self.sent.get(message).map_or("a frame", |sent| &sent.frame);
                format!("{frame} from {} (#{message})", name(from))
            }
            What::Lost { message } => match self.sent.get(message) {
                Some(sent) => format!("lost: {} of {} (#{message})", sent.frame, name(&sent.from)),
                None => format!("lost: #{message}"),
            },
            What::Connected { peer } => format!("connected with {}", name(peer)),
            What::Closed { peer, reason } => format!("connection with {} closed: {reason}", name(peer)),
            What::Woke => "woke".to_owned(),
            What::FaultBegan { fault } => format!("fault {fault} begins: {}", fault_words(fault)),
            What::FaultEnded { fault } => format!("fault {fault} ends: {}", fault_words(fault)),
            What::Died => "died".to_owned(),
            What::Started { state } => format!("started on state {state}"),
            What::NotStarted { reason } => format!("could not start: {reason}"),
            What::Healed => "faults are over".to_owned(),
            What::Quiet => "equal and silent".to_owned(),
            What::Violated { oracle, detail } => format!("VIOLATED {oracle}: {detail}"),
        };
        clip(text.replace(['\n', '\r'], " "), TEXT_CHARS_MAX)
    }
}
