//! The scrub: all rows are read now and then, because nothing else would read a row that nobody asks for.
//!
//! A row whose hash does not fit is a suspect. What all rows add up to is compared with the sums that are kept as rows
//! are written: a write that the disk lost, or a row in the place of another, has a hash that fits. Which row that is
//! the sums do not tell; but once they are those of the rows, every member that has received the same finds it (see the
//! audit).

use std::ops::ControlFlow;
use std::time::Duration;

use tombolo_crdt::digest::Sum;
use tombolo_crdt::entity::EntityState;

use crate::engine::Work;
use crate::engine::space::Space;
use crate::engine::space::care::suspects::Doubt;
use crate::engine::space::care::{Care, Name, SLICE_PAUSE, audit};
use crate::engine::status::Sizes;
use crate::store::{Counted, StoreError};

/// From opening the store to the first pass: whatever is urgent at a start comes first.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Rows per slice: half of an audit's, some one and a half milliseconds.
const SLICE_ROWS: usize = 512;
/// Time between two slices: a pass over a million rows takes seven minutes and a percent of a core.
const SLICE_EVERY: Duration = Duration::from_millis(200);
/// Time between two passes.
const PASS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Where the pass is.
#[derive(Debug, Default)]
pub(in crate::engine) struct Scrub {
    /// The last row that was read; none: it begins.
    after: Option<Name>,
    /// When it goes on; none: it has not been said yet.
    next: Option<Duration>,
    /// Frozen entities have had another chance in this pass.
    retried: bool,
    count: Count,
    /// What the pass has met of large rows, and what the last complete one had met.
    met: Sizes,
    told: Option<Sizes>,
}

/// What the rows up to the last one read add up to now.
#[derive(Debug, Default)]
struct Count {
    total: Sum,
    present: u64,
    /// Some of them cannot be read.
    incomplete: bool,
}

impl Scrub {
    /// Large rows and numbers that run out, as the last complete pass met them; before its end the first tells what it
    /// has.
    pub(in crate::engine) fn sizes(&self) -> &Sizes {
        self.told.as_ref().unwrap_or(&self.met)
    }

    /// A damaged row was built anew: whether this pass has counted it while it was whole is not known.
    pub(super) fn unsure(&mut self) {
        self.count.incomplete = true;
    }

    /// A row is written, from `old` to `new`: where the pass has been already, it counts so.
    pub(in crate::engine) fn moved(
        &mut self,
        (collection, id): (&str, &str),
        old: Option<&Counted>,
        new: Option<&Counted>,
    ) {
        let behind = |(c, i): &Name| (c.as_str(), i.as_str()) < (collection, id);
        if self.after.as_ref().is_none_or(behind) {
            return;
        }
        if let Some((contribution, present)) = old {
            self.count.total.remove(contribution);
            self.count.present = self.count.present.wrapping_sub(u64::from(*present));
        }
        if let Some((contribution, present)) = new {
            self.count.total.add(contribution);
            self.count.present = self.count.present.wrapping_add(u64::from(*present));
        }
    }
}

impl Scrub {
    /// A row is written. One whose numbers run out is told at once: a pass takes a day.
    pub(in crate::engine) fn written(&mut self, name: (&str, &str), state: &EntityState) {
        self.told.as_mut().unwrap_or(&mut self.met).written(name, state);
    }
}

impl Care {
    /// Reads the next rows, if it is time. Returns how long the next may wait, and whether the sums were corrected.
    pub(super) fn scrub(&mut self, work: &Work<'_>, space: &mut Space) -> Result<(Duration, bool), StoreError> {
        let now = work.now.mono;
        let next = *self.scrub.next.get_or_insert(now + FIRST_PAUSE);
        if next > now {
            return Ok((next - now, false));
        }
        if !std::mem::replace(&mut self.scrub.retried, true) && self.frozen.len() > 0 {
            // A frozen entity gets another chance with every pass: its entries may have come again.
            let frozen: Vec<Name> = self.frozen.iter().map(|(name, _)| name.clone()).collect();
            for name in frozen {
                self.look_at(name, Doubt::Damaged);
            }
            return Ok((SLICE_PAUSE, false));
        }
        let (last, unread) = self.scrub.read(work, space)?;
        for name in unread {
            if self.frozen.unnamed(&name) {
                self.look_at(name, Doubt::Damaged);
            } else {
                self.suspect(name, Doubt::Damaged);
            }
        }
        let mut corrected = false;
        if last.is_none() {
            self.counters.scrubs += 1;
            let count = std::mem::take(&mut self.scrub.count);
            self.scrub.told = Some(std::mem::take(&mut self.scrub.met));
            corrected = !count.incomplete && audit::correct(space, count.total, count.present);
            self.counters.sums_corrected += u64::from(corrected);
        }
        let pause = if last.is_some() { SLICE_EVERY } else { PASS_EVERY };
        self.scrub.retried = last.is_some();
        self.scrub.after = last;
        self.scrub.next = Some(now + pause);
        // What it has found is more urgent.
        Ok((if self.suspects.is_empty() { pause } else { SLICE_PAUSE }, corrected))
    }
}

impl Scrub {
    /// Reads the next rows. Returns the last, unless it was the last of all, and those that cannot be read.
    fn read(&mut self, work: &Work<'_>, space: &Space) -> Result<(Option<Name>, Vec<Name>), StoreError> {
        let (mut read, mut bytes, mut last, mut unread) = (0, 0, None, Vec::new());
        let Self { after, count, met, .. } = self;
        let from = after.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
        let visited = work.batch.visit_rows(space.row.space_no, None, "", from, |collection, id, row| {
            read += 1;
            bytes += row.len();
            // A frozen one counts as what it was.
            let inner = EntityState::thaw(row);
            let decoded = EntityState::decode(inner.unwrap_or(row));
            if inner.is_some() || decoded.is_err() {
                unread.push((collection.to_owned(), id.to_owned()));
            }
            match decoded {
                Ok(state) => {
                    count.total.add(&state.contribution(collection, id));
                    count.present += u64::from(state.is_present());
                    met.note((collection, id), row.len(), &state);
                }
                Err(_) => count.incomplete |= inner.is_none_or(|row| !row.is_empty()),
            }
            if read < SLICE_ROWS && bytes < audit::SLICE_BYTES {
                return ControlFlow::Continue(());
            }
            last = Some((collection.to_owned(), id.to_owned()));
            ControlFlow::Break(())
        });
        match visited {
            // The table itself is damaged here: what lies beyond cannot be reached, and no step may fail for it.
            Err(StoreError::Corrupt { detail, .. }) => {
                tracing::error!(space = %space.row.name, %detail, "the rows cannot all be read");
                (last, count.incomplete) = (None, true);
            }
            visited => visited?,
        }
        Ok((last, unread))
    }
}
