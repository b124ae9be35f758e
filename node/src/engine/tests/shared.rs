//! Transactions of many entities: how often the entries are read that these share.

use std::ops::ControlFlow;

use super::*;
use crate::chain::{EntityKey, Past, PastError, Until};
use crate::engine::space::rows::Pasts;
use crate::store::StoreError;

const ENTITIES: usize = 100;
const TRANSACTIONS: usize = 20;

fn names() -> Vec<String> {
    (0..ENTITIES).map(|no| format!("e{no:04}")).collect()
}

/// One entry that changes all entities, each from a state of the pen's own.
fn together(bed: &Bed, pen: &mut Pen, states: &mut [EntityState], write: &Write) {
    let (mut whole, mut all) = (None, Vec::new());
    for (id, state) in names().iter().zip(states) {
        let mut writer = Writer::new(state, pen.feed(), Hlc::from_millis(WALL));
        writer.write(write).unwrap();
        let (change, after) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
        *state = after;
        let one = bed.entry(pen, id, &change);
        let Body::Data(changes) = &one.body else { panic!("{one:?}") };
        all.extend(changes.clone());
        whole = Some(one);
    }
    pen.entries.push(Entry { body: Body::Data(all), ..whole.unwrap() });
}

/// A node has many transactions that another one knows nothing of.
fn parted() -> (Bed, Pen, Vec<EntityState>) {
    let mut bed = Bed::new();
    names().iter().for_each(|id| bed.write(id, [0]));
    let base: Vec<EntityState> = names().iter().map(|id| bed.row(id)).collect();
    let (mut here, mut states) = (bed.pen(50), base.clone());
    for no in 0..TRANSACTIONS {
        together(&bed, &mut here, &mut states, &patch(&format!(r#"{{"here":{no}}}"#)));
    }
    bed.take([here.range()]);
    let (mut there, mut states) = (bed.pen(51), base);
    together(&bed, &mut there, &mut states, &patch(r#"{"there":1}"#));
    (bed, there, states)
}

#[test]
fn a_transaction_from_before_a_partition_reads_each_entry_behind_it_once() {
    let (mut bed, there, _) = parted();
    // As after a restart.
    bed.engine.pasts = Pasts::default();
    let mut range = there.range();
    let reads = bed.work(|work, space| {
        let mut taken = Taken::default();
        work.take_range(space, &mut range, &mut taken).unwrap();
        work.drain_held(space, &mut taken).unwrap();
        work.entries.reads()
    });
    let view = format!(r#"{{"here":{},"n":0,"there":1}}"#, TRANSACTIONS - 1);
    assert!(names().iter().all(|id| bed.view(id) == view), "{view}");
    // And the change of each entity that both know, which is in an entry of its own.
    assert_eq!(reads, (TRANSACTIONS + ENTITIES) as u64);
}

/// Folds every entity, one after the other.
fn fold_all(bed: &Bed, entries: &mut Entries, each: &mut dyn FnMut(&Entries)) -> Result<(), PastError> {
    let (reading, space_no) =
        (bed.engine.reader().reading().unwrap(), bed.engine.memory.spaces[&bed.space].row.space_no);
    for id in names() {
        let row = bed.row(&id);
        let mut past = Past::new(EntityKey { space_no, collection: "x", id: &id }, row.journal(), Until::Present);
        let again = loop {
            if let ControlFlow::Break(state) = past.step_among(&reading, entries)? {
                break state;
            }
        };
        assert_eq!(again.contribution("x", &id), row.contribution("x", &id));
        each(entries);
    }
    Ok(())
}

/// Entries that the chains share, and reads of those they do not: the first change of each entity is in an entry of its
/// own, and is read by the walk and by the fold.
const TOGETHER: usize = TRANSACTIONS + 1;
const ALONE: usize = 2 * ENTITIES;

#[test]
fn folds_of_entities_that_were_changed_together_read_each_entry_once() {
    let (mut bed, there, _) = parted();
    bed.take([there.range()]);
    let mut most = 0;
    let mut entries = Entries::shared();
    fold_all(&bed, &mut entries, &mut |entries| most = most.max(entries.bytes())).unwrap();
    assert_eq!(entries.reads(), (TOGETHER + ALONE) as u64);
    assert_eq!(entries.bytes(), 0, "what everybody has read is let go");
    // With room for a third of them a third is read once.
    let room = most / 3;
    let mut entries = Entries::with_room(room);
    fold_all(&bed, &mut entries, &mut |entries| assert!(entries.bytes() <= room)).unwrap();
    let kept = TOGETHER / 3;
    assert_eq!(entries.reads(), (kept + 2 * ENTITIES * (TOGETHER - kept) + ALONE) as u64);
    let mut entries = Entries::passing();
    fold_all(&bed, &mut entries, &mut |_| {}).unwrap();
    assert_eq!(entries.reads(), (2 * ENTITIES * TOGETHER + ALONE) as u64);
}

#[test]
fn a_damaged_entry_is_told_to_every_entity_that_needs_it() {
    let (mut bed, there, _) = parted();
    bed.take([there.range()]);
    let here = bed.pen(50).feed();
    bed.spoil(here, 3);
    let mut entries = Entries::shared();
    for _ in 0..2 {
        let error = fold_all(&bed, &mut entries, &mut |_| {}).unwrap_err();
        assert!(matches!(error, PastError::Store(StoreError::Corrupt { .. })), "{error}");
    }
}
