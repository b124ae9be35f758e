//! A disk that rots under the rows of a store that nobody has open.

use std::ops::ControlFlow;

use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::EntityState;
use tombolo_node::store::{Store, StoreError, StoreOptions};

use crate::Dice;
use crate::disk::Disk;

/// A row: its space, collection and id.
pub(crate) type Row = (SpaceId, String, String);

/// Flips one bit in each of `count` sound rows of the store on a disk, or of all it has; which rows and which bits is
/// drawn from `seed`. Returns the rows. None if the store cannot be read. O(size × rows). Nobody may have the disk
/// open.
pub(crate) fn flip_rows(disk: &Disk, count: u32, seed: u64) -> Vec<Row> {
    let mut dice = Dice::new(seed);
    let mut rows = sound_rows(disk).unwrap_or_default();
    dice.shuffle(&mut rows);
    rows.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    rows.retain(|(_, stored)| disk.flip_bit_in(stored, dice.number()) > 0);
    rows.into_iter().map(|(row, _)| row).collect()
}

/// All rows whose hash fits, as they are stored. They are read from a copy: opening a store may write to it.
fn sound_rows(disk: &Disk) -> Result<Vec<(Row, Vec<u8>)>, StoreError> {
    let copy = disk.image();
    let file = copy.clone();
    let store = Store::open_with_backend(move || Ok(file.clone()), copy, StoreOptions::new("a cold store"))?;
    let reading = store.reader().reading()?;
    let mut rows = Vec::new();
    for space in reading.spaces()? {
        reading.visit_rows(space.space_no, None, "", None, |collection, id, stored| {
            if EntityState::check(stored).is_ok() {
                rows.push(((space.space, collection.to_owned(), id.to_owned()), stored.to_vec()));
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(rows)
}
