//! One entity: found in the journal, folded again from its chain, compared with its row.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use tombolo_crdt::entity::EntityState;
use tombolo_crdt::{Revision, SpaceId};

use super::{Finding, Progress, VerifyError};
use crate::chain::{EntityKey, Past, Search, Unread, Until};
use crate::store::{Reading, Resting, SpaceRow, StoreOptions};

/// Names an entity of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityName<'a> {
    /// Id or name of its space.
    pub space: &'a str,
    /// Its collection.
    pub collection: &'a str,
    /// Its id.
    pub id: &'a str,
}

/// What the verification of an entity found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityReport {
    /// Changes that were folded.
    pub changes: u64,
    /// The revision they lead to; `None`: they cannot be folded.
    pub revision: Option<Revision>,
    /// Whether the entity is there for readers, as they have it.
    pub present: bool,
    /// Differences.
    pub findings: Vec<Finding>,
}

/// Verifies one entity of the store at `path`: its row is what the changes of its chain give. Chains and seals of feeds
/// are the matter of [`super::run`].
///
/// Reads the journal from its end back to the entity's last change, and the entity's changes twice. What of the journal
/// cannot be read is no matter of an entity whose row says where its last change is.
///
/// # Errors
/// [`VerifyError`]: the store cannot be opened or read, or there is no such entity. Differences are no errors.
pub fn entity(path: &Path, name: EntityName<'_>, progress: Progress<'_>) -> Result<EntityReport, VerifyError> {
    let store = Resting::open(StoreOptions::new(path))?;
    entity_of(&store.reading()?, name, progress)
}

/// Verifies one entity of a store that is open, as it is in `reading`.
///
/// # Errors
/// As [`entity`].
pub fn entity_of(reading: &Reading, name: EntityName<'_>, progress: Progress<'_>) -> Result<EntityReport, VerifyError> {
    let space = space(reading, name.space)?;
    let key = EntityKey { space_no: space.space_no, collection: name.collection, id: name.id };
    let mut report = EntityReport::default();
    let place = format!("entity {}/{}/{}", space.name, name.collection, name.id);
    let mut finding = |detail: String| report.findings.push(Finding { place: place.clone(), detail });
    let row = reading.row(space.space_no, name.collection, name.id);
    let stored = match &row {
        Ok(Some(row)) => EntityState::decode(row).map(Some).map_err(|error| error.to_string()),
        Ok(None) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let end = match &stored {
        Ok(Some(state)) => state.journal(),
        _ => 0,
    };
    let wanted = (name.collection.to_owned(), name.id.to_owned());
    let mut search = Search::new(space.space_no, BTreeSet::from([wanted.clone()]), space.journal, end);
    while !search.step(reading)? {
        progress("journal", space.journal - search.below(), space.journal);
    }
    let (position, unread) = (search.found().get(&wanted).copied(), search.unread());
    // A row whose hash fits says where its last change is: that nothing was lost behind it the state digest tells.
    let last = position.unwrap_or(end);
    match (&stored, position) {
        (Ok(None), None) if unread.is_none() => return Err(VerifyError::NoEntity(place)),
        (Ok(None), None) => {}
        (Ok(None), Some(_)) => finding("it has changes and no row".to_owned()),
        (Ok(Some(state)), Some(last)) => {
            finding(format!("its row ends at journal position {}, its last change is at {last}", state.journal()));
        }
        (Ok(Some(_)), None) if last == 0 => finding("it has a row and no changes".to_owned()),
        (Ok(Some(_)), None) => {}
        (Err(error), _) => finding(error.clone()),
    }
    if let (Some(Unread { count, error, .. }), false) = (unread, matches!(stored, Ok(Some(_)))) {
        let later = if last > 0 { "later " } else { "" };
        finding(format!("{count} {later}positions of the journal cannot be read and may have changed it: {error}"));
    }
    if last == 0 {
        return Ok(report);
    }
    let mut past = Past::new(key, last, Until::Present).unbounded();
    let again = loop {
        match past.step(reading) {
            Ok(ControlFlow::Continue(())) => progress("changes", past.changes() as u64, 0),
            Ok(ControlFlow::Break(state)) => break state,
            Err(error) => {
                finding(format!("its changes cannot be folded: {error}"));
                return Ok(report);
            }
        }
    };
    if let (Ok(Some(row)), Ok(Some(_))) = (&row, &stored)
        && again.encode() != *row
    {
        finding("the row is not what its entries give".to_owned());
    }
    report.changes = past.changes() as u64;
    report.revision = Some(again.revision());
    report.present = again.is_present();
    Ok(report)
}

fn space(reading: &Reading, name: &str) -> Result<SpaceRow, VerifyError> {
    if let Ok(id) = name.parse::<SpaceId>()
        && let Some(row) = reading.space(id)?
    {
        return Ok(row);
    }
    let mut named: Vec<SpaceRow> = reading.spaces()?.into_iter().filter(|row| row.name == name).collect();
    match (named.pop(), named.is_empty()) {
        (Some(row), true) => Ok(row),
        (None, _) => Err(VerifyError::NoSpace(name.to_owned())),
        (Some(_), false) => Err(VerifyError::AmbiguousSpace(name.to_owned())),
    }
}
