//! Rot: a row that its disk has damaged is unreadable until it is built anew, and then it is what its history gives.
//!
//! These rows and no others are excused from being readable, and only as long as they are not. Everything else that the
//! oracles ask of a node they ask of one whose rows are damaged too.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::EntityState;
use tombolo_node::chain::EntityKey;
use tombolo_node::engine::Engine;
use tombolo_node::store::{Reading, StoreError};

use super::Start;
use super::atomicity;
use super::fault::Fault;
use crate::outcome::Oracle;
use crate::plan::NodeNo;
use crate::rot::Row;

/// Damaged rows by process.
#[derive(Debug, Default)]
pub(super) struct Rot {
    /// Whatever was ever damaged: an older image of the disk may have it still.
    ever: BTreeMap<NodeNo, BTreeSet<Row>>,
    /// What has not been built anew.
    damaged: BTreeMap<NodeNo, BTreeSet<Row>>,
}

/// What a row is found to be.
enum Found {
    /// The hash of the row does not fit.
    Damaged,
    /// The row is not there, or is what its history gives.
    Sound,
    /// The row can be read and is something else.
    Wrong,
}

impl Rot {
    /// Bits of these rows of a cold store have flipped.
    pub(super) fn hit(&mut self, node: NodeNo, rows: &[Row]) {
        for of in [&mut self.ever, &mut self.damaged] {
            of.entry(node).or_default().extend(rows.iter().cloned());
        }
    }

    /// A process of the machine `owner` was started.
    pub(super) fn started(
        &mut self,
        process: NodeNo,
        owner: NodeNo,
        start: Start,
        engine: &Engine,
    ) -> Result<(), Fault> {
        if matches!(start, Start::Restored | Start::Clone) {
            self.damaged.insert(process, self.ever.get(&owner).cloned().unwrap_or_default());
        }
        self.look(process, engine, (Oracle::Damage, "a damaged row is served"))
    }

    /// A process has made a step. Cheap where nothing is damaged.
    pub(super) fn stepped(&mut self, process: NodeNo, engine: &Engine) -> Result<(), Fault> {
        self.look(process, engine, (Oracle::Replay, "a row built anew is not its history"))
    }

    /// Whether a row may be unreadable.
    pub(super) fn excuses(&self, process: NodeNo, space: SpaceId, collection: &str, id: &str) -> bool {
        let damaged = self.damaged.get(&process).filter(|damaged| !damaged.is_empty());
        damaged.is_some_and(|damaged| damaged.contains(&(space, collection.to_owned(), id.to_owned())))
    }

    /// A row of one of these nodes that has not been built anew.
    pub(super) fn left(&self, nodes: &[NodeNo]) -> Option<(NodeNo, &Row)> {
        let mut damaged = self.damaged.iter().filter(|(node, _)| nodes.contains(node));
        damaged.find_map(|(node, rows)| Some((*node, rows.first()?)))
    }

    /// Forgets what has been built anew, and says if something else than its history is in its place.
    fn look(&mut self, process: NodeNo, engine: &Engine, wrong: (Oracle, &'static str)) -> Result<(), Fault> {
        let Some(damaged) = self.damaged.get_mut(&process).filter(|damaged| !damaged.is_empty()) else {
            return Ok(());
        };
        // A store that cannot be read now is asked again after the next step.
        let Ok(reading) = engine.reader().reading() else { return Ok(()) };
        let mut left = BTreeSet::new();
        for row in std::mem::take(damaged) {
            let found = found(&reading, &row).map_err(|error| Fault::unreadable(&error).at(process))?;
            match found {
                Found::Sound => {}
                Found::Damaged => drop(left.insert(row)),
                Found::Wrong => {
                    let (oracle, place) = wrong;
                    let fault = Fault::new(oracle, place, "its chain gives another row");
                    return Err(fault.of(&row.1, &row.2).at(process));
                }
            }
        }
        *damaged = left;
        Ok(())
    }
}

fn found(reading: &Reading, (space, collection, id): &Row) -> Result<Found, StoreError> {
    let Some(space) = reading.space(*space)? else { return Ok(Found::Sound) };
    let Some(stored) = reading.row(space.space_no, collection, id)? else { return Ok(Found::Sound) };
    let Ok(state) = EntityState::decode(&stored) else { return Ok(Found::Damaged) };
    let key = EntityKey { space_no: space.space_no, collection, id };
    match atomicity::is_history(reading, key, &state) {
        Ok(true) => Ok(Found::Sound),
        // What it says of its own history leads nowhere.
        Ok(false) | Err(StoreError::Corrupt { .. }) => Ok(Found::Wrong),
        Err(error) => Err(error),
    }
}
