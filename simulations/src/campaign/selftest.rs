//! Whether a plan gives the same run twice.

use std::fmt;

use super::{Lane, guarded};
use crate::outcome::{Outcome, RunOptions, Verdict};
use crate::plan::Plan;
use crate::trace::Event;

/// A plan that gave two different runs: the harness is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unequal {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Where two more runs, with their events kept, part: how many events are equal, and what comes then in each. None
    /// if these two were equal.
    pub parting: Option<(usize, Option<Event>, Option<Event>)>,
}

impl fmt::Display for Unequal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {}, seed {}: the same plan gave two different runs", self.scenario, self.seed)?;
        let show =
            |event: &Option<Event>| event.as_ref().map_or_else(|| "nothing more".to_owned(), |e| format!("{e:?}"));
        match &self.parting {
            Some((equal, one, other)) => {
                write!(f, "; after {equal} equal events, one run has {} and the other {}", show(one), show(other))
            }
            None => f.write_str("; two more runs, with their events kept, were equal"),
        }
    }
}

/// Runs a plan once more and compares.
pub(super) fn again(lane: Lane<'_>, plan: &Plan, first: &Outcome, name: &str, seed: u64) -> Option<Unequal> {
    let second = guarded(lane, plan, RunOptions::default());
    if first.hash == second.hash && same(&first.verdict, &second.verdict) {
        return None;
    }
    let record = || guarded(lane, plan, RunOptions { record: true }).trace.unwrap_or_default().events;
    let (one, other) = (record(), record());
    let parting = Event::first_difference(&one, &other).map(|at| (at, one.get(at).cloned(), other.get(at).cloned()));
    Some(Unequal { scenario: name.to_owned(), seed, parting })
}

fn same(a: &Verdict, b: &Verdict) -> bool {
    match (a, b) {
        (Verdict::Held, Verdict::Held) | (Verdict::Inconclusive(_), Verdict::Inconclusive(_)) => true,
        (Verdict::Violated(a), Verdict::Violated(b)) => a.is_like(b),
        _ => false,
    }
}
