//! The run as a table of plain data, which the page's script draws. All that takes knowledge of the plan is done here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{DIAGRAM_EVENTS_MAX, is_idle, window};
use crate::outcome::{Outcome, Verdict};
use crate::plan::{Fault, NodeNo, Plan};
use crate::report::words::{clip, fault, fault_kind, fault_nodes, micros, write};
use crate::trace::{Event, What};

/// Version of the table; the script draws this one.
pub const VERSION: u32 = 1;

/// Most characters of what an oracle or an error said.
const DETAIL_CHARS_MAX: usize = 20_000;

/// Everything the page shows. Times are microseconds of virtual time.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    version: u32,
    scenario: String,
    /// As text: a script's numbers are exact to 2^53 only.
    seed: String,
    /// Names of the nodes; elsewhere they are indices.
    nodes: Vec<String>,
    verdict: Value,
    faults: Vec<FaultBand>,
    /// Node, from when to when its process was down; no end: until the end.
    down: Vec<(NodeNo, u64, Option<u64>)>,
    /// Kinds of frames; elsewhere they are indices.
    frames: Vec<String>,
    messages: Vec<Message>,
    /// What the writes say, by number.
    writes: BTreeMap<u32, String>,
    /// Each: time, node or -1, what, and what belongs to it (see [`row`]).
    events: Vec<Value>,
    left_out: LeftOut,
    /// Time of the last event of all.
    end: u64,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    before: usize,
    after: usize,
    /// Timers and steps without effect.
    idle: usize,
    limit: usize,
}

/// A fault over the whole run, as it went, not as it was planned.
#[derive(Debug, Serialize)]
struct FaultBand {
    no: u32,
    kind: &'static str,
    group: &'static str,
    words: String,
    from: u64,
    until: Option<u64>,
    nodes: Vec<NodeNo>,
    peers: Vec<NodeNo>,
}

/// Sender, receiver, frame kind, bytes, sent, received, lost: -1 where it is not known or did not happen.
type Message = (i64, i64, i64, u32, i64, i64, i64);

const NONE: i64 = -1;

pub(super) fn table(plan: &Plan, outcome: &Outcome, events: &[Event]) -> Table {
    let many = events.len() > DIAGRAM_EVENTS_MAX;
    let candidates: Vec<&Event> = events.iter().filter(|event| !(many && is_idle(&event.what))).collect();
    let kept = window(candidates.len(), focus(outcome, &candidates), DIAGRAM_EVENTS_MAX);
    let left_out = LeftOut {
        before: kept.start,
        after: candidates.len() - kept.end,
        idle: events.len() - candidates.len(),
        limit: DIAGRAM_EVENTS_MAX,
    };
    let shown = candidates.get(kept).unwrap_or_default();
    let mut letters = Letters::of(shown);
    // What was sent before the first event that is shown is looked up in the others.
    events.iter().for_each(|event| letters.learn(event));
    let faults = bands(plan, events);
    let rows = shown.iter().map(|event| row(event, &letters, &faults)).collect();
    Table {
        version: VERSION,
        scenario: plan.scenario.clone(),
        seed: plan.seed.to_string(),
        nodes: plan.nodes.iter().map(|node| node.name.clone()).collect(),
        verdict: verdict(outcome),
        faults,
        down: down(plan, events),
        frames: letters.frames,
        messages: letters.messages,
        writes: writes(plan, shown),
        events: rows,
        left_out,
        end: events.last().map_or(0, |event| micros(event.at)),
    }
}

/// The event where the oracle spoke, or the last one before its moment.
fn focus(outcome: &Outcome, events: &[&Event]) -> Option<usize> {
    let spoken = events.iter().rposition(|event| matches!(event.what, What::Violated { .. }));
    let Verdict::Violated(violation) = &outcome.verdict else { return spoken };
    spoken.or_else(|| events.iter().rposition(|event| event.at <= violation.at))
}

fn verdict(outcome: &Outcome) -> Value {
    match &outcome.verdict {
        Verdict::Held => json!({"kind": "held"}),
        Verdict::Inconclusive(why) => json!({"kind": "inconclusive", "detail": clip(why.clone(), DETAIL_CHARS_MAX)}),
        Verdict::Violated(violation) => json!({
            "kind": "violated",
            "oracle": violation.oracle.name(),
            "place": violation.place,
            "node": violation.node,
            "at": micros(violation.at),
            "detail": clip(violation.detail.clone(), DETAIL_CHARS_MAX),
        }),
    }
}

/// The messages of the events that are shown, and what is known of them from all events.
struct Letters {
    index: BTreeMap<u64, usize>,
    messages: Vec<Message>,
    frames: Vec<String>,
}

impl Letters {
    fn of(shown: &[&Event]) -> Self {
        let mut letters = Self { index: BTreeMap::new(), messages: Vec::new(), frames: Vec::new() };
        for event in shown {
            if let What::Sent { message, .. } | What::Received { message, .. } | What::Lost { message } = &event.what {
                letters.index.entry(*message).or_insert_with(|| {
                    letters.messages.push((NONE, NONE, NONE, 0, NONE, NONE, NONE));
                    letters.messages.len() - 1
                });
            }
        }
        letters
    }

    fn learn(&mut self, event: &Event) {
        let (at, node) = (number(micros(event.at)), event.node.map_or(NONE, index));
        match &event.what {
            What::Sent { message, to, frame, bytes } => {
                let Some(letter) = self.index.get(message).and_then(|index| self.messages.get_mut(*index)) else {
                    return;
                };
                let kind = self.frames.iter().position(|known| known == frame).unwrap_or_else(|| {
                    self.frames.push(frame.to_string());
                    self.frames.len() - 1
                });
                (letter.0, letter.1, letter.2, letter.3, letter.4) = (node, index(*to), index(kind), *bytes, at);
            }
            // A doubled packet may arrive twice: the first counts.
            What::Received { message, from } => {
                if let Some(letter) = self.index.get(message).and_then(|index| self.messages.get_mut(*index))
                    && letter.5 == NONE
                {
                    (letter.0, letter.1, letter.5) = (index(*from), node, at);
                }
            }
            What::Lost { message } => {
                if let Some(letter) = self.index.get(message).and_then(|index| self.messages.get_mut(*index)) {
                    letter.6 = at;
                }
            }
            _ => {}
        }
    }

    fn position(&self, message: u64) -> usize {
        self.index.get(&message).copied().unwrap_or_default()
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn index(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Faults that began, in that order.
fn bands(plan: &Plan, events: &[Event]) -> Vec<FaultBand> {
    let mut bands: Vec<FaultBand> = Vec::new();
    for event in events {
        let at = micros(event.at);
        match &event.what {
            What::FaultBegan { fault: no } => {
                let Some(planned) = plan.faults.iter().find(|planned| planned.no == *no) else { continue };
                let ((kind, group), (near, far)) = (fault_kind(&planned.fault), fault_nodes(&planned.fault));
                let at_once = planned.until <= planned.at;
                bands.push(FaultBand {
                    no: *no,
                    kind,
                    group: group.name(),
                    words: fault(plan, planned),
                    from: at,
                    until: at_once.then_some(at),
                    nodes: near.to_vec(),
                    peers: far.to_vec(),
                });
            }
            What::FaultEnded { fault: no } => {
                let open = bands.iter_mut().rev().find(|band| band.no == *no && band.until.is_none());
                if let Some(band) = open {
                    band.until = Some(at);
                }
            }
            // Whatever still goes on ends with the healing.
            What::Healed => bands.iter_mut().filter(|band| band.until.is_none()).for_each(|band| band.until = Some(at)),
            _ => {}
        }
    }
    bands
}

/// When processes were down. The end of a clone is no death of the process beside it.
fn down(plan: &Plan, events: &[Event]) -> Vec<(NodeNo, u64, Option<u64>)> {
    let mut down: Vec<(NodeNo, u64, Option<u64>)> = Vec::new();
    let mut open: BTreeMap<NodeNo, usize> = BTreeMap::new();
    let mut clone_ended = None;
    for event in events {
        let at = micros(event.at);
        if let What::FaultEnded { fault } = event.what {
            let planned = plan.faults.iter().find(|planned| planned.no == fault).map(|planned| &planned.fault);
            clone_ended = if let Some(Fault::Clone { node }) = planned { Some((*node, at)) } else { clone_ended };
        }
        let Some(node) = event.node else { continue };
        match event.what {
            What::Died if clone_ended == Some((node, at)) => clone_ended = None,
            What::Died if !open.contains_key(&node) => {
                open.insert(node, down.len());
                down.push((node, at, None));
            }
            What::Started { .. } => {
                if let Some(gap) = open.remove(&node).and_then(|index| down.get_mut(index)) {
                    gap.2 = Some(at);
                }
            }
            _ => {}
        }
    }
    down
}

fn writes(plan: &Plan, shown: &[&Event]) -> BTreeMap<u32, String> {
    let named: BTreeSet<u32> = shown
        .iter()
        .filter_map(|event| match event.what {
            What::Asked { write } | What::Answered { write, .. } => Some(write),
            _ => None,
        })
        .collect();
    plan.writes.iter().filter(|write| named.contains(&write.no)).map(|asked| (asked.no, write(plan, asked))).collect()
}

/// One event for the script.
fn row(event: &Event, letters: &Letters, faults: &[FaultBand]) -> Value {
    let (at, node) = (micros(event.at), event.node.map_or(NONE, index));
    let band = |no: u32| faults.iter().rposition(|band| band.no == no && band.from <= at);
    match &event.what {
        What::Asked { write } => json!([at, node, "asked", write]),
        What::Answered { write, refused } => json!([at, node, "answered", write, refused]),
        What::Stepped { inputs, entries, committed, took } => {
            let what = if *committed { "commit" } else { "step" };
            json!([at, node, what, inputs, entries, micros(*took)])
        }
        What::Sent { message, .. } => json!([at, node, "sent", letters.position(*message)]),
        What::Received { message, .. } => json!([at, node, "received", letters.position(*message)]),
        What::Lost { message } => json!([at, node, "lost", letters.position(*message)]),
        What::Connected { peer } => json!([at, node, "connected", peer]),
        What::Closed { peer, reason } => json!([at, node, "closed", peer, reason]),
        What::Woke => json!([at, node, "timer"]),
        What::FaultBegan { fault } => json!([at, node, "fault", band(*fault), fault]),
        What::FaultEnded { fault } => json!([at, node, "fault_end", band(*fault), fault]),
        What::Died => json!([at, node, "died"]),
        What::Started { state } => json!([at, node, "started", state]),
        What::NotStarted { reason } => json!([at, node, "not_started", reason]),
        What::Healed => json!([at, node, "healed"]),
        What::Quiet => json!([at, node, "quiet"]),
        What::Violated { oracle, detail } => {
            json!([at, node, "violated", oracle, clip(detail.clone(), DETAIL_CHARS_MAX)])
        }
    }
}
