//! Atomicity: at any moment a transaction is in all of its entities, or in none.

use tombolo_crdt::entity::{Change, EntityState};
use tombolo_crdt::entry::{Body, Entry};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{FeedId, SpaceId};
use tombolo_node::chain::{Budget, EntityKey, Entries, Past, PastError, Until, walk};
use tombolo_node::store::{JournalKind, Reading, StoreError};

use super::fault::Fault;
use crate::outcome::Oracle;

/// Journal rows that are looked at from the end, and changes of one entity that are folded for it.
const ROWS: u64 = 4;
const LINKS_MAX: usize = 64;

/// Looks at the newest entries of a space in a store. O([`ROWS`] entries, and the histories of their entities). Rows
/// that are `damaged` need not be readable.
pub(super) fn check(reading: &Reading, space: SpaceId, damaged: &dyn Fn(&str, &str) -> bool) -> Result<(), Fault> {
    let unreadable = |error: StoreError| Fault::unreadable(&error);
    let Some(row) = reading.space(space).map_err(unreadable)? else { return Ok(()) };
    let read = |collection: &str, id: &str| {
        let stored = reading.row(row.space_no, collection, id).ok()??;
        EntityState::decode(&stored).ok()
    };
    let from = row.journal.saturating_sub(ROWS - 1).max(1);
    let rows = reading.journal_range(row.space_no, from, usize::try_from(ROWS).unwrap_or(1)).map_err(unreadable)?;
    for (_, journal) in rows.into_iter().filter(|(_, journal)| journal.kind == JournalKind::Applied) {
        whole(reading, row.space_no, (journal.feed, journal.seq), &read, damaged)?;
    }
    Ok(())
}

/// All changes of an applied entry are in the rows that `read` gives, and these hold nothing but applied entries.
pub(super) fn whole(
    reading: &Reading,
    space_no: u32,
    (feed, seq): (FeedId, u64),
    read: &dyn Fn(&str, &str) -> Option<EntityState>,
    damaged: &dyn Fn(&str, &str) -> bool,
) -> Result<(), Fault> {
    let entry = reading.entry(feed, seq).map_err(|error| Fault::unreadable(&error))?;
    let applied = entry.filter(|entry| Verdict::from_code(entry.verdict) == Some(Verdict::Applied));
    let entry = applied.and_then(|entry| Entry::decode(&entry.bytes).ok());
    let Some(Entry { body: Body::Data(changes), .. }) = entry else {
        let detail = format!("the journal leads to {feed}-{seq}, which is not there");
        return Err(Fault::new(Oracle::Frontier, "a journal row without its entry", detail));
    };
    for change in &changes {
        let (collection, id) = (change.collection.as_str(), change.id.as_str());
        let partly = |what: &str| {
            let detail = format!("entry {feed}-{seq}: {what}");
            Fault::new(Oracle::Atomicity, "a transaction is in only partly", detail).of(collection, id)
        };
        let state = match read(collection, id) {
            None if damaged(collection, id) => continue,
            state => state.ok_or_else(|| partly("no row that can be read"))?,
        };
        let parsed = Change::parse(&change.change, feed).map_err(|_| partly("its change does not decode"))?;
        if state.clock().get(&feed).seq < parsed.seq() {
            return Err(partly("its change is not in the row"));
        }
        only_applied(reading, EntityKey { space_no, collection, id }, &state)?;
    }
    Ok(())
}

/// A row holds the changes of entries that are in, and no others.
fn only_applied(reading: &Reading, key: EntityKey<'_>, state: &EntityState) -> Result<(), Fault> {
    if is_history(reading, key, state).map_err(|error| Fault::unreadable(&error))? {
        return Ok(());
    }
    let fault = Fault::new(Oracle::Atomicity, "a row holds what no entry brought", "");
    Err(fault.of(key.collection, key.id))
}

/// Whether a row is what its own chain gives; a chain of more than [`LINKS_MAX`] changes is not looked at.
pub(super) fn is_history(reading: &Reading, key: EntityKey<'_>, state: &EntityState) -> Result<bool, StoreError> {
    let budget = Budget { changes: LINKS_MAX + 1, ..Budget::UNBOUNDED };
    let mut entries = Entries::passing();
    let mut links = walk(reading, &mut entries, key, state.journal(), budget);
    let count = links.by_ref().try_fold(0, |count, link| link.map(|_| count + 1))?;
    if count > LINKS_MAX {
        return Ok(true);
    }
    if count == 0 {
        return Ok(*state == EntityState::new());
    }
    match Past::new(key, state.journal(), Until::Present).unbounded().whole(reading) {
        Ok(folded) => Ok(folded == *state),
        Err(PastError::Store(error)) => Err(error),
        Err(error) => Err(StoreError::Corrupt { table: "entries", key: Vec::new(), detail: error.to_string() }),
    }
}
