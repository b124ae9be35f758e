//! The scrub: all rows are read now and then, because nothing else would read a row that nobody asks for.

use std::ops::ControlFlow;
use std::time::Duration;

use tombolo_crdt::entity::EntityState;

use super::suspects::Doubt;
use super::{Care, Name, SLICE_PAUSE};
use crate::engine::Work;
use crate::engine::space::Space;
use crate::store::StoreError;

/// From opening the store to the first pass: whatever is urgent at a start comes first.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Rows per slice: half a millisecond.
const SLICE_ROWS: usize = 512;
/// Time between two slices: a pass over a million rows takes seven minutes and half a percent of a core.
const SLICE_EVERY: Duration = Duration::from_millis(200);
/// Time between two passes.
const PASS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Where the pass is.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    /// The last row that was read; none: it begins.
    after: Option<Name>,
    /// When it goes on; none: it has not been said yet.
    next: Option<Duration>,
    /// Frozen entities have had another chance in this pass.
    retried: bool,
}

impl Care {
    /// Reads the next rows, if it is time. Returns how long the next may wait.
    pub(super) fn scrub(&mut self, work: &Work<'_>, space: &Space) -> Result<Duration, StoreError> {
        let now = work.now.mono;
        let next = *self.scrub.next.get_or_insert(now + FIRST_PAUSE);
        if next > now {
            return Ok(next - now);
        }
        if !std::mem::replace(&mut self.scrub.retried, true) && self.frozen.len() > 0 {
            // A frozen entity gets another chance with every pass: its entries may have come again.
            let frozen: Vec<Name> = self.frozen.iter().map(|(name, _)| name.clone()).collect();
            for name in frozen {
                self.look_at(name, Doubt::Damaged);
            }
            return Ok(SLICE_PAUSE);
        }
        let (mut read, mut last, mut damaged) = (0, None, Vec::new());
        let from = self.scrub.after.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
        let visited = work.batch.visit_rows(space.row.no, None, "", from, |collection, id, row| {
            read += 1;
            if EntityState::check(row).is_err() {
                damaged.push((collection.to_owned(), id.to_owned()));
            }
            if read < SLICE_ROWS {
                return ControlFlow::Continue(());
            }
            last = Some((collection.to_owned(), id.to_owned()));
            ControlFlow::Break(())
        });
        for name in damaged {
            if self.frozen.unnamed(&name) {
                self.look_at(name, Doubt::Damaged);
            } else {
                self.suspect(name, Doubt::Damaged);
            }
        }
        match visited {
            // The table itself is damaged here: what lies beyond cannot be reached, and no step may fail for it.
            Err(StoreError::Corrupt { detail, .. }) => {
                tracing::error!(space = %space.row.name, %detail, "the rows cannot all be read");
                last = None;
            }
            visited => visited?,
        }
        let pause = if last.is_some() { SLICE_EVERY } else { PASS_EVERY };
        self.counters.scrubs += u64::from(last.is_none());
        self.scrub = Scrub { retried: last.is_some(), after: last, next: Some(now + pause) };
        // What it has found is more urgent.
        Ok(if self.suspects.is_empty() { pause } else { SLICE_PAUSE })
    }
}
