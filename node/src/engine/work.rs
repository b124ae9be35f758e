//! What one step works on.

use std::collections::BTreeSet;

use tombolo_crdt::{FeedId, Hlc, SpaceId};

use crate::chain::Entries;
use crate::engine::Counters;
use crate::engine::budget::Budget;
use crate::engine::interface::Now;
use crate::engine::memory::Own;
use crate::engine::poison::Poison;
use crate::engine::space::looks::Looks;
use crate::engine::space::rows::{Pasts, Rows};
use crate::store::Batch;

/// What one step works on: the write transaction, the rows that it has touched, and what it may ask for.
pub(super) struct Work<'a> {
    pub(super) batch: Batch<'a>,
    pub(super) rows: Rows,
    pub(super) entries: Entries,
    pub(super) pasts: &'a mut Pasts,
    pub(super) looks: &'a mut Looks,
    pub(super) poison: &'a mut Poison,
    pub(super) own: &'a mut Own,
    /// Why no writes are taken.
    pub(super) full: Option<&'a str>,
    pub(super) now: Now,
    pub(super) hlc_last: &'a mut Hlc,
    pub(super) hlc_seen: &'a mut Hlc,
    pub(super) counters: &'a mut Counters,
    pub(super) unsealed: BTreeSet<(SpaceId, FeedId)>,
    pub(super) budget: Budget,
    /// Held entries that could be settled were left over because there was no work left for them just then.
    pub(super) undrained: bool,
}

impl Work<'_> {
    /// Charges what has been read since this was called last.
    pub(super) fn charge_reads(&mut self) {
        self.budget.has_read(self.rows.bytes(), self.entries.reads());
    }
}
