//! Whether a failure that is to be kept is there when its plan is carried out again.

use super::LaneName;
use crate::campaign::{Lane, guarded};
use crate::outcome::{Outcome, RunOptions, Verdict, Violation};
use crate::plan::Plan;

/// What a second look at a failure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The second run fails alike.
    Alike,
    /// The second run does not fail, where equal plans give equal runs: the harness itself is at fault.
    Unequal,
    /// The second run does not fail, and on this lane only the final states need to be equal, and are: nothing can be
    /// said.
    Unsure,
}

/// Holds the second run of a plan against the violation of the first. Cost: a third run, if they differ on the QUIC
/// lane.
#[must_use]
pub fn again(name: LaneName, lane: Lane<'_>, plan: &Plan, first: &Violation, second: &Outcome) -> Again {
    let alike = matches!(&second.verdict, Verdict::Violated(violation) if violation.is_like(first));
    match name {
        _ if alike => Again::Alike,
        LaneName::World => Again::Unequal,
        LaneName::Quic => {
            let third = guarded(lane, plan, RunOptions::default());
            if third.hash == second.hash { Again::Unsure } else { Again::Unequal }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::capsule::minimise::tests::large;
    use crate::outcome::{Oracle, Stats};

    fn violation(place: &str) -> Violation {
        let (oracle, at, detail) = (Oracle::Values, Duration::ZERO, String::new());
        Violation { oracle, place: place.to_owned(), node: None, at, detail }
    }

    fn outcome(verdict: Verdict, hash: u8) -> Outcome {
        Outcome { verdict, hash: [hash; 32], stats: Stats::default(), trace: None }
    }

    #[test]
    fn a_failure_that_is_gone_is_the_harness_or_the_lane() {
        let (plan, first) = (large(), violation("a value"));
        let (runs, moody) = (AtomicU8::new(0), AtomicU8::new(0));
        let lane = |_: &Plan, _: RunOptions| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            outcome(Verdict::Held, if moody.load(Ordering::SeqCst) > 0 { run + 1 } else { 0 })
        };
        let look = |name, verdict| again(name, &lane, &plan, &first, &outcome(verdict, 0));
        let other = || Verdict::Violated(violation("elsewhere"));
        for name in [LaneName::World, LaneName::Quic] {
            assert_eq!(look(name, Verdict::Violated(first.clone())), Again::Alike);
        }
        assert_eq!(look(LaneName::World, Verdict::Held), Again::Unequal);
        assert_eq!(look(LaneName::World, other()), Again::Unequal);
        assert_eq!(look(LaneName::Quic, Verdict::Held), Again::Unsure);
        assert_eq!(look(LaneName::Quic, other()), Again::Unsure);
        moody.store(1, Ordering::SeqCst);
        assert_eq!(look(LaneName::Quic, Verdict::Held), Again::Unequal);
    }
}
