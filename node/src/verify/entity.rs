//! One entity: found in the journal, folded again from its chain, compared with its row.

use std::ops::ControlFlow;
use std::path::Path;

use tombolo_crdt::entity::EntityState;
use tombolo_crdt::{Revision, SpaceId};

use super::{Finding, Progress, VerifyError};
use crate::chain::{EntityKey, Past, Until, newest};
use crate::store::{Snapshot, SpaceRow, Store, StoreOptions};

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
/// Reads the journal from its end back to the entity's last change, and the entity's changes twice.
///
/// # Errors
/// [`VerifyError`]: the store cannot be opened or read, or there is no such entity. Differences are no errors.
pub fn entity(path: &Path, name: EntityName<'_>, progress: Progress<'_>) -> Result<EntityReport, VerifyError> {
    let store = Store::open(StoreOptions { upgrade: false, ..StoreOptions::new(path) })?;
    entity_of(&store.reader().snapshot()?, name, progress)
}

/// The same for one state of a store that is open.
///
/// # Errors
/// As [`entity`].
pub fn entity_of(
    snapshot: &Snapshot,
    name: EntityName<'_>,
    progress: Progress<'_>,
) -> Result<EntityReport, VerifyError> {
    let space = space(snapshot, name.space)?;
    let key = EntityKey { space_no: space.no, collection: name.collection, id: name.id };
    let mut report = EntityReport::default();
    let place = format!("entity {}/{}/{}", space.name, name.collection, name.id);
    let mut finding = |detail: String| report.findings.push(Finding { place: place.clone(), detail });
    let row = snapshot.row(space.no, name.collection, name.id);
    let stored = match &row {
        Ok(Some(row)) => EntityState::decode(row).map(Some).map_err(|error| error.to_string()),
        Ok(None) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let last = match newest(snapshot, key, space.journal, &mut |done| progress("journal", done, space.journal)) {
        Ok(last) => last,
        Err(error) => {
            finding(format!("the journal cannot be read back to its last change: {error}"));
            return Ok(report);
        }
    };
    match (&stored, last) {
        (Ok(None), 0) => return Err(VerifyError::NoEntity(place)),
        (Ok(None), _) => finding("it has changes and no row".to_owned()),
        (Ok(Some(state)), last) if state.journal() != last => {
            finding(format!("its row ends at journal position {}, its last change is at {last}", state.journal()));
        }
        (Ok(Some(_)), _) => {}
        (Err(error), _) => finding(error.clone()),
    }
    let mut past = Past::new(key, last, Until::Present).unbounded();
    let again = loop {
        match past.step(snapshot) {
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

fn space(snapshot: &Snapshot, name: &str) -> Result<SpaceRow, VerifyError> {
    if let Ok(id) = name.parse::<SpaceId>()
        && let Some(row) = snapshot.space(id)?
    {
        return Ok(row);
    }
    let mut named: Vec<SpaceRow> = snapshot.spaces()?.into_iter().filter(|row| row.name == name).collect();
    match (named.pop(), named.is_empty()) {
        (Some(row), true) => Ok(row),
        (None, _) => Err(VerifyError::NoSpace(name.to_owned())),
        (Some(_), false) => Err(VerifyError::AmbiguousSpace(name.to_owned())),
    }
}
