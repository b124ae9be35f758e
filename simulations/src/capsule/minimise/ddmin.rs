//! Delta debugging (Zeller, Hildebrandt 2002), complements only: leave out halves, quarters, …, single things.

use super::Search;
use crate::plan::Plan;

impl Search<'_> {
    /// Leaves out as many of `count` things as possible; `build` makes the plan with only those that are marked. In the
    /// end no single one can be left out, unless the effort was exhausted. O(count²) candidates at worst, O(log count)
    /// for each that goes together with its neighbours.
    pub(super) fn ddmin(&mut self, count: usize, build: impl Fn(&Plan, &[bool]) -> Plan) {
        if count == 0 {
            return;
        }
        let whole = self.plan.clone();
        let mut keep = vec![true; count];
        let mut chunk = count;
        loop {
            let mut progress = false;
            let mut left: Vec<usize> = marked(&keep);
            // From the end: later things are built on earlier ones.
            let mut end = left.len();
            while end > 0 && !self.exhausted {
                assert!(chunk > 0, "every candidate leaves something out");
                let begin = end.saturating_sub(chunk);
                let mut without = keep.clone();
                for at in left.get(begin..end).unwrap_or_default() {
                    if let Some(mark) = without.get_mut(*at) {
                        *mark = false;
                    }
                }
                if self.attempt(build(&whole, &without)) {
                    keep = without;
                    left.drain(begin..end);
                    debug_assert_eq!(left, marked(&keep), "what is left is what is kept");
                    progress = true;
                }
                end = begin;
            }
            chunk = match chunk {
                _ if self.exhausted || left.is_empty() => return,
                1 if !progress => return,
                // Something went: what stayed before may go now.
                1 => 1,
                _ => (chunk / 2).min(left.len()).max(1),
            };
        }
    }
}

fn marked(keep: &[bool]) -> Vec<usize> {
    keep.iter().enumerate().filter(|(_, kept)| **kept).map(|(at, _)| at).collect()
}

/// Those that are marked.
pub(super) fn only<T: Clone>(all: &[T], keep: &[bool]) -> Vec<T> {
    all.iter().zip(keep).filter(|(_, kept)| **kept).map(|(one, _)| one.clone()).collect()
}
