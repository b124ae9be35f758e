//! 1 structure: what the bytes of an entry tell by themselves.

use super::{Known, Past, Stop, Verdict, Wait};
use crate::FeedId;
use crate::entity::{Change, ChangeError, EntryBudget};
use crate::entry::{CHANGE_BYTES_MAX, ENTRY_CHANGES_MAX, ENTRY_DEPS_MAX, EntityChange, Entry, RawRecord};
use crate::names::{check_collection, check_id};
use crate::rules::{RECORDS_MAX, Record};

/// The records of a rules entry: there are some, not too many, and all decode.
pub(super) fn of_records<F>(entry: &Entry, records: &[RawRecord]) -> Result<(), Stop<F>> {
    let count = (1..=RECORDS_MAX).contains(&records.len());
    let fits = entry.hlc.is_valid() && count && records.iter().all(|raw| Record::from_raw(raw).is_ok());
    if fits { Ok(()) } else { Err(Stop::Refuse(Verdict::Structure)) }
}

/// The changes of a data entry, read. A change that was refused with an earlier entry of the feed stays refused: what
/// depends on it gets the same answer everywhere, whichever of the two entries has arrived.
pub(super) fn of_changes<P: Past>(
    entry: &Entry,
    changes: &[EntityChange],
    feed: FeedId,
    past: &mut P,
) -> Result<Vec<Change>, Stop<P::Fault>> {
    let refuse = || Stop::Refuse(Verdict::Structure);
    if !fits(entry, changes) {
        return Err(refuse());
    }
    let (mut read, mut waits) = (Vec::with_capacity(changes.len()), None);
    let mut budget = EntryBudget::new();
    for (number, change) in changes.iter().enumerate() {
        if let Some(wait) = past.turn(change) {
            waits = Some(wait);
            continue;
        }
        let parsed = match past.read(feed, number, change) {
            Ok(parsed) => parsed,
            Err(ChangeError::Unknown) => {
                waits = Some(Wait::Later);
                continue;
            }
            Err(_) => return Err(refuse()),
        };
        if !budget.take(&parsed) {
            return Err(refuse());
        }
        match past.refused(change, parsed.hash())? {
            Known::Is(false) => read.push(parsed),
            Known::Is(true) => return Err(refuse()),
            Known::Wait(wait) => waits = Some(wait),
        }
    }
    waits.map_or(Ok(read), |wait| Err(Stop::Wait(wait)))
}

/// Limits that are part of the verdict, and one change per entity.
fn fits(entry: &Entry, changes: &[EntityChange]) -> bool {
    let ascending =
        changes.windows(2).all(|pair| matches!(pair, [a, b] if (&a.collection, &a.id) < (&b.collection, &b.id)));
    let named = |change: &EntityChange| check_collection(&change.collection).is_ok() && check_id(&change.id).is_ok();
    entry.hlc.is_valid()
        && changes.len() <= ENTRY_CHANGES_MAX
        && entry.deps.len() <= ENTRY_DEPS_MAX
        && ascending
        && changes.iter().all(|c| c.origin == 0 && c.change.len() <= CHANGE_BYTES_MAX && named(c))
}
