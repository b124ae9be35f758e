//! The backlog: ranges of peers that a step had no work left for. The next step goes on where the last one stopped.
//!
//! A frame is acknowledged once all its ranges are taken. What is lost with the memory was not acknowledged, and comes
//! again.

use std::collections::VecDeque;

use tombolo_crdt::SpaceId;
use tombolo_crdt::feed::VerifiedRange;

use crate::engine::Work;
use crate::engine::after::After;
use crate::engine::interface::ConnId;
use crate::engine::memory::Memory;
use crate::engine::space::settle::Taken;
use crate::store::StoreError;

/// Ranges that wait for their turn, in the order in which they came. Bounded by what one step is given: nobody hands in
/// more while there are any.
#[derive(Debug, Default)]
pub(super) struct Backlog(VecDeque<Pending>);

/// What is left of a frame.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) conn: ConnId,
    pub(super) space: SpaceId,
    /// The frame's number, to be acknowledged; none: it is an offer of rules.
    pub(super) number: Option<u64>,
    pub(super) ranges: VecDeque<VerifiedRange>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, pending: Pending) {
        self.0.push_back(pending);
    }
}

impl Memory {
    /// Takes ranges as long as the step has work left.
    pub(super) fn work_off(&mut self, work: &mut Work<'_>, after: &mut After) -> Result<(), StoreError> {
        while let Some(mut pending) = self.backlog.0.pop_front() {
            self.take(work, &mut pending, after)?;
            if !pending.ranges.is_empty() {
                assert!(work.budget.is_spent(), "nothing is left over while there is work left");
                self.backlog.0.push_front(pending);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes the ranges of a frame, or as many as there is work left for, and what was held for them.
    fn take(&mut self, work: &mut Work<'_>, pending: &mut Pending, after: &mut After) -> Result<(), StoreError> {
        let Pending { conn, space: id, number, ranges } = pending;
        let Some(space) = self.spaces.get_mut(id) else {
            ranges.clear();
            return Ok(());
        };
        let mut session = self.conns.get_mut(conn).and_then(|conn| conn.sessions.get_mut(id));
        let mut taken = Taken::default();
        while let Some(range) = ranges.front_mut() {
            let feed = range.feed();
            if work.full.is_none() {
                work.take_range(space, range, &mut taken)?;
                if !range.entries().is_empty() {
                    break;
                }
            }
            let end = range.end();
            ranges.pop_front();
            if let (Some(session), Some(_)) = (&mut session, *number) {
                // Now that the feed is known here, if it was not.
                session.learn(space, feed, end);
                session.answering.carried(feed);
            }
        }
        let refused =
            std::mem::take(&mut taken.refused).into_iter().map(|(feed, seq, verdict)| (feed, seq, verdict.code()));
        if let (Some(session), Some(number)) = (session, *number) {
            session.answering.refused(refused);
            if ranges.is_empty() {
                session.answering.take(number);
            }
            after.touched.insert((*conn, *id));
        }
        self.drained(work, *id, taken, after)
    }
}
