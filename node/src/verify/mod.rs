//! Offline verification: every chain, seal and hash of a store is computed again, every entry is judged again, and
//! every row is folded again from its signed entries.
//!
//! Nothing is written, and the file may be one that cannot be written. Memory is bounded by the rules of a space, and
//! one entity and eight bytes for each of its changes.
//!
//! What cannot be read is a finding, and the next is looked at. What could only be told with it is not: a sum over rows
//! of which one cannot be read says nothing.

mod entity;
mod feeds;
mod journal;
mod judged;
mod pages;

use std::ops::ControlFlow;
use std::path::Path;

use tombolo_crdt::SpaceId;
use tombolo_crdt::digest::{StateSums, Sum};
use tombolo_crdt::entity::EntityState;
use tombolo_crdt::feed::Position;
use tombolo_crdt::rules::RulesDag;

pub use entity::{EntityName, EntityReport, entity, entity_of};

use crate::chain::{EntityKey, Entries, Past, Until};
use crate::store::{OpenError, Reading, Resting, SpaceRow, StoreError, StoreOptions};

/// Entries or rows read at a time.
const PAGE: usize = 1024;
/// Bytes of entries read at a time.
const PAGE_BYTES: usize = 4 << 20;
/// Differences listed; beyond it they are only counted.
pub const FINDINGS_MAX: usize = 1_000;

/// Why a store could not be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be opened. Nothing was looked at.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read any further.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not hold the space of the entity that was asked for.
    #[error("it holds no space `{0}`")]
    NoSpace(String),
    /// Several of its spaces have that name.
    #[error("several spaces are called `{0}`: use the space's id")]
    AmbiguousSpace(String),
    /// Nothing was ever written to the entity that was asked for.
    #[error("nothing was ever written to {0}")]
    NoEntity(String),
}

/// A difference between what is stored and what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: a feed position, a journal position, an entity.
    pub place: String,
    /// What is wrong with it.
    pub detail: String,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Spaces looked at.
    pub spaces: u64,
    /// Feeds looked at.
    pub feeds: u64,
    /// Entries whose place in their chain was computed again.
    pub entries: u64,
    /// Seals checked.
    pub seals: u64,
    /// Journal rows whose running hash was computed again.
    pub journal: u64,
    /// Rows folded again from their entries.
    pub rows: u64,
    /// Differences, the first [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many differences there are.
    pub differences: u64,
}

/// Told every now and then: what is being looked at, how much of it is done, how much there is.
pub type Progress<'p> = &'p mut dyn FnMut(&str, u64, u64);

/// Verifies the store at `path`. Cost: reads everything, one signature check per seal, one fold per entity.
///
/// # Errors
/// [`VerifyError`]: the store cannot be opened or read. Differences are no errors: they are in the report.
pub fn run(path: &Path, progress: Progress<'_>) -> Result<VerifyReport, VerifyError> {
    let store = Resting::open(StoreOptions::new(path))?;
    Ok(reading(&store.reading()?, progress)?)
}

/// Verifies a store that is open, as it is in `reading`.
///
/// # Errors
/// [`StoreError`]: it cannot be read.
pub fn reading(reading: &Reading, progress: Progress<'_>) -> Result<VerifyReport, StoreError> {
    let entries = Entries::shared();
    let rules = RulesDag::new(SpaceId::from_bytes([0; 32]));
    let mut check = Check { reading, entries, rules, report: VerifyReport::default(), unread: false, progress };
    for space in reading.spaces()? {
        check.rules = RulesDag::new(space.space);
        check.space(&space)?;
    }
    Ok(check.report)
}

struct Check<'a, 'p> {
    reading: &'a Reading,
    entries: Entries,
    /// The rules of the space, judged again.
    rules: RulesDag,
    report: VerifyReport,
    /// Entries of the space cannot be read.
    unread: bool,
    progress: Progress<'p>,
}

impl Check<'_, '_> {
    fn finding(&mut self, place: impl Into<String>, detail: impl Into<String>) {
        self.report.differences += 1;
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { place: place.into(), detail: detail.into() });
        }
        assert!(self.report.findings.len() as u64 <= self.report.differences, "what is listed is counted");
    }

    fn space(&mut self, space: &SpaceRow) -> Result<(), StoreError> {
        self.report.spaces += 1;
        self.unread = false;
        let mut sums = StateSums::default();
        let mut changes = 0;
        let mut frontier = Vec::new();
        let feeds = match self.reading.feeds(space.space_no) {
            Err(error @ StoreError::Corrupt { .. }) => {
                self.finding(format!("space {}", space.name), format!("its feeds cannot all be read: {error}"));
                self.unread = true;
                Vec::new()
            }
            feeds => feeds?,
        };
        self.judge_rules(&feeds)?;
        for (id, feed) in feeds {
            self.report.feeds += 1;
            changes += self.feed(space, id, &feed, &mut sums)?;
            if feed.seq > 0 {
                frontier.push(Position { feed: id, seq: feed.seq, chain: feed.chain });
            }
        }
        self.journal(space, &frontier.into_iter().collect())?;
        self.rows(space, sums, changes)
    }

    /// Every row, folded again from its chain, and the sums over all of them.
    fn rows(&mut self, space: &SpaceRow, mut sums: StateSums, changes: u64) -> Result<(), StoreError> {
        sums.rows = Sum::default();
        let mut seen = Seen::default();
        let mut after: Option<(String, String)> = None;
        loop {
            let mut page = Vec::new();
            let from = after.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
            let visited = self.reading.visit_rows(space.space_no, None, "", from, |collection, id, row| {
                page.push((collection.to_owned(), id.to_owned(), row.to_vec()));
                if page.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            after = page.last().map(|(collection, id, _)| (collection.clone(), id.clone()));
            for (collection, id, row) in page {
                self.report.rows += 1;
                seen.rows += 1;
                if seen.rows % PAGE as u64 == 0 {
                    (self.progress)("entities", seen.rows, space.entities);
                }
                let key = EntityKey { space_no: space.space_no, collection: &collection, id: &id };
                if let Err(detail) = self.row(key, &row, &mut sums.rows, &mut seen) {
                    self.finding(format!("entity {}/{collection}/{id}", space.name), detail);
                }
            }
            if let Err(error @ StoreError::Corrupt { .. }) = visited {
                // What lies beyond cannot be reached.
                self.finding(format!("space {}", space.name), format!("its rows cannot all be read: {error}"));
                (seen.unread, seen.unfolded) = (true, true);
                break;
            }
            visited?;
            if after.is_none() {
                break;
            }
        }
        if seen.folded != changes && !seen.unfolded && !self.unread {
            let folded = seen.folded;
            let detail = format!("{changes} changes were applied and {folded} are in the chains of the entities");
            self.finding(format!("space {}", space.name), detail);
        }
        if sums != space.sums && !seen.unread && !self.unread {
            self.finding(format!("space {}", space.name), "its state digest is not that of its rows and refusals");
        }
        if seen.present != space.entities && !seen.unread {
            let detail = format!("it counts {} present entities; there are {}", space.entities, seen.present);
            self.finding(format!("space {}", space.name), detail);
        }
        Ok(())
    }

    /// Counts a row and compares it with what its chain gives. `Err`: how they differ.
    fn row(&mut self, key: EntityKey<'_>, row: &[u8], sum: &mut Sum, seen: &mut Seen) -> Result<(), String> {
        let unfolded = std::mem::replace(&mut seen.unfolded, true);
        let stored = EntityState::decode(row).map_err(|error| {
            seen.unread = true;
            error.to_string()
        })?;
        sum.add(&stored.contribution(key.collection, key.id));
        seen.present += u64::from(stored.is_present());
        let mut past = Past::new(key, stored.journal(), Until::Present).unbounded();
        let again = loop {
            match past.step_among(self.reading, &mut self.entries).map_err(|error| error.to_string())? {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(state) => break state,
            }
        };
        if again.encode() != row {
            return Err("the row is not what its entries give".to_owned());
        }
        seen.folded += past.changes() as u64;
        seen.unfolded = unfolded;
        Ok(())
    }
}

/// What the rows of a space come to.
#[derive(Debug, Default)]
struct Seen {
    rows: u64,
    present: u64,
    /// Changes in the chains of the entities.
    folded: u64,
    /// Not all rows could be read.
    unread: bool,
    /// Not all chains led to their row.
    unfolded: bool,
}
