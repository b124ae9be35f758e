//! Offline verification: every chain, seal and hash of a store is computed again, and every row is folded again from
//! its signed entries.
//!
//! Nothing is written. Memory is bounded by one entity and eight bytes for each of its changes.

mod entity;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use tombolo_crdt::digest::{StateSums, Sum};
use tombolo_crdt::entity::EntityState;
use tombolo_crdt::entry::{Body, Content};
use tombolo_crdt::feed::{Opening, Position, chain as chain_hash, seal_message};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, FeedId};

pub use entity::{EntityName, EntityReport, entity, entity_of};

use crate::chain::{EntityKey, Entries, Past, Until};
use crate::store::{FeedRow, JournalRow, OpenError, Snapshot, SpaceRow, Store, StoreError, StoreOptions};

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
    let store = Store::open(StoreOptions { upgrade: false, ..StoreOptions::new(path) })?;
    Ok(snapshot(&store.reader().snapshot()?, progress)?)
}

/// The same for one state of a store that is open.
///
/// # Errors
/// [`StoreError`]: it cannot be read.
pub fn snapshot(snapshot: &Snapshot, progress: Progress<'_>) -> Result<VerifyReport, StoreError> {
    let mut check = Check { snapshot, entries: Entries::shared(), report: VerifyReport::default(), progress };
    for space in snapshot.spaces()? {
        check.space(&space)?;
    }
    Ok(check.report)
}

struct Check<'a, 'p> {
    snapshot: &'a Snapshot,
    entries: Entries,
    report: VerifyReport,
    progress: Progress<'p>,
}

impl Check<'_, '_> {
    fn finding(&mut self, place: impl Into<String>, detail: impl Into<String>) {
        self.report.differences += 1;
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { place: place.into(), detail: detail.into() });
        }
    }

    fn space(&mut self, space: &SpaceRow) -> Result<(), StoreError> {
        self.report.spaces += 1;
        let mut sums = StateSums::default();
        let mut changes = 0;
        let mut frontier = Vec::new();
        for (id, feed) in self.snapshot.feeds(space.no)? {
            self.report.feeds += 1;
            changes += self.feed(space, id, &feed, &mut sums)?;
            if feed.seq > 0 {
                frontier.push(Position { feed: id, seq: feed.seq, chain: feed.chain });
            }
        }
        self.journal(space, &frontier.into_iter().collect())?;
        self.rows(space, sums, changes)
    }

    /// Chains and seals of a feed. Returns how many changes its entries applied.
    fn feed(&mut self, space: &SpaceRow, id: FeedId, row: &FeedRow, sums: &mut StateSums) -> Result<u64, StoreError> {
        let place = |seq: u64| format!("entry {id}-{seq}");
        let opening = match Opening::decode(&row.opening) {
            Ok(opening) if opening.feed() == id && opening.space == space.space => opening,
            _ => {
                self.finding(format!("feed {id}"), "its opening is not the one its id was made from");
                return Ok(0);
            }
        };
        let (mut last, mut next, mut changes) = (opening.chain(), 1, 0);
        while next <= row.seq {
            (self.progress)("entries", self.report.entries, 0);
            let page = self.snapshot.entries(id, next..=row.seq.min(next + PAGE as u64), PAGE_BYTES)?;
            if page.first().is_none_or(|(seq, _)| *seq != next) {
                self.finding(place(next), "is missing");
                return Ok(changes);
            }
            for (seq, entry) in page {
                self.report.entries += 1;
                last = chain_hash(id, seq, last, &entry.bytes);
                if last != entry.chain {
                    self.finding(place(seq), "its bytes do not give the chain hash that is stored with it");
                    last = entry.chain;
                }
                match (Content::decode(&entry.bytes, opening.kind, seq), Verdict::from_code(entry.verdict)) {
                    (Ok(Content::Known(content)), Some(verdict)) => {
                        if let (Body::Data(of_entry), Verdict::Applied) = (&content.body, verdict) {
                            changes += of_entry.len() as u64;
                        }
                        if verdict != Verdict::Applied {
                            sums.refuse(id, seq, verdict);
                        }
                    }
                    _ => self.finding(place(seq), "it does not decode"),
                }
                match self.snapshot.journal(space.no, entry.journal)? {
                    Some(at) if at.feed == id && at.seq == seq => {}
                    _ => self.finding(place(seq), format!("journal position {} is not its own", entry.journal)),
                }
                next = seq + 1;
            }
        }
        if last != row.chain {
            self.finding(format!("feed {id}"), "its chain does not end where the feed does");
        }
        self.seals(&opening, row)?;
        Ok(changes)
    }

    fn seals(&mut self, opening: &Opening, row: &FeedRow) -> Result<(), StoreError> {
        let id = opening.feed();
        let mut next = 1;
        let mut all = Vec::new();
        while let Some((seq, seal)) = self.snapshot.seal_at_or_after(id, next)? {
            all.push((seq, seal));
            next = seq + 1;
        }
        all.extend(row.sealed);
        for (seq, seal) in all {
            self.report.seals += 1;
            let chain = self.snapshot.entry_chain(id, seq)?.unwrap_or(ChainHash::from_bytes([0; 32]));
            if !seal.verify(opening.node.as_bytes(), &seal_message(id, seq, chain)) {
                self.finding(format!("entry {id}-{seq}"), "its seal is not its author's signature");
            }
        }
        Ok(())
    }

    /// The running hash of the journal, and that it leads to every settled entry.
    fn journal(&mut self, space: &SpaceRow, frontier: &Frontier) -> Result<(), StoreError> {
        let mut running = [0; 16];
        let mut reached: BTreeMap<FeedId, u64> = BTreeMap::new();
        let mut next = 1;
        while next <= space.journal {
            (self.progress)("journal", next, space.journal);
            let page = self.snapshot.journal_range(space.no, next, PAGE)?;
            if page.first().is_none_or(|(position, _)| *position != next) {
                self.finding(format!("journal position {next} of {}", space.name), "is missing");
                return Ok(());
            }
            for (position, row) in page {
                self.report.journal += 1;
                let names = row.entities.clone();
                let expected = JournalRow::next(&running, position, row.kind, row.feed, row.seq, names);
                if expected.running != row.running {
                    self.finding(format!("journal position {position} of {}", space.name), "its running hash differs");
                }
                running = row.running;
                *reached.entry(row.feed).or_default() += 1;
                next = position + 1;
            }
        }
        if running != space.running {
            self.finding(format!("journal of {}", space.name), "it does not end where the space says");
        }
        for position in frontier.positions() {
            if reached.get(&position.feed) != Some(&position.seq) {
                self.finding(
                    format!("feed {}", position.feed),
                    "the journal does not lead to each of its entries once",
                );
            }
        }
        Ok(())
    }

    /// Every row, folded again from its chain, and the sums over all of them.
    fn rows(&mut self, space: &SpaceRow, mut sums: StateSums, changes: u64) -> Result<(), StoreError> {
        sums.rows = Sum::default();
        let (mut present, mut folded, mut rows) = (0, 0, 0);
        let mut after: Option<(String, String)> = None;
        loop {
            let mut page = Vec::new();
            let from = after.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
            self.snapshot.visit_rows(space.no, None, "", from, |collection, id, row| {
                page.push((collection.to_owned(), id.to_owned(), row.to_vec()));
                if page.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            let Some((collection, id, _)) = page.last() else { break };
            after = Some((collection.clone(), id.clone()));
            for (collection, id, row) in page {
                rows += 1;
                self.report.rows += 1;
                if rows % PAGE as u64 == 0 {
                    (self.progress)("entities", rows, space.entities);
                }
                let key = EntityKey { space_no: space.no, collection: &collection, id: &id };
                match self.row(key, &row) {
                    Ok((state, links)) => {
                        sums.rows.add(&state.contribution(&collection, &id));
                        present += u64::from(state.is_present());
                        folded += links;
                    }
                    Err(detail) => self.finding(format!("entity {}/{collection}/{id}", space.name), detail),
                }
            }
        }
        if folded != changes {
            let detail = format!("{changes} changes were applied and {folded} are in the chains of the entities");
            self.finding(format!("space {}", space.name), detail);
        }
        if sums != space.sums {
            self.finding(format!("space {}", space.name), "its state digest is not that of its rows and refusals");
        }
        if present != space.entities {
            let detail = format!("it counts {} present entities; there are {present}", space.entities);
            self.finding(format!("space {}", space.name), detail);
        }
        Ok(())
    }

    /// The row as its chain gives it, and how many changes that took. `Err`: how they differ.
    fn row(&mut self, key: EntityKey<'_>, row: &[u8]) -> Result<(EntityState, u64), String> {
        let stored = EntityState::decode(row).map_err(|error| error.to_string())?;
        let mut past = Past::new(key, stored.journal(), Until::Present).unbounded();
        let again = loop {
            match past.step_among(self.snapshot, &mut self.entries).map_err(|error| error.to_string())? {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(state) => break state,
            }
        };
        if again.encode() != row {
            return Err("the row is not what its entries give".to_owned());
        }
        Ok((again, past.changes() as u64))
    }
}
