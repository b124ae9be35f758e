//! Entities that cannot be built anew, and those that can although something is lost.

use std::time::Duration;

use tombolo_crdt::entity::{EntityState, RowError};

use super::world::Bed;
use crate::engine::Refusal;

/// An entity whose row decodes and whose history does not.
fn frozen() -> (Bed, Vec<u8>, Vec<u8>) {
    let mut bed = Bed::with(&["a", "b"]);
    let (feed, seq, _) = bed.newest("a");
    bed.put("a", 2).unwrap();
    let row = bed.stored("a").unwrap();
    let entry = bed.spoil(feed, seq);
    bed.differs("a");
    bed.tend(3);
    assert_eq!(bed.status().frozen_entities, 1);
    (bed, row, entry)
}

#[test]
fn a_frozen_entity_is_not_written() {
    let (mut bed, row, _) = frozen();
    assert!(matches!(bed.put("a", 3), Err(Refusal::Damaged { .. })));
    bed.tend(3);
    assert_eq!(EntityState::thaw(&bed.stored("a").unwrap()), Some(&row[..]));
    bed.put("b", 3).unwrap();
    assert_eq!(bed.status().frozen_entities, 1);
}

#[test]
fn a_frozen_entity_is_not_served_after_a_restart_either() {
    let (mut bed, _, _) = frozen();
    *bed.care() = super::super::Care::default();
    // What readers beside the engine find.
    assert_eq!(EntityState::decode(&bed.stored("a").unwrap()), Err(RowError::Frozen));
    assert!(matches!(bed.put("a", 3), Err(Refusal::Damaged { .. })));
    bed.tend(3);
    assert_eq!(bed.status().frozen.len(), 1, "and why is said again");
}

#[test]
fn an_entity_thaws_once_its_entries_are_there_again() {
    let (mut bed, row, entry) = frozen();
    let (feed, _, _) = bed.newest("b");
    bed.replace(feed, 1, entry);
    bed.mono += Duration::from_secs(3600);
    // The scrub makes it a suspect again, and it is built.
    bed.tend(1);
    bed.mono += Duration::from_secs(3600);
    bed.tend(4);
    assert_eq!(bed.stored("a"), Some(row));
    let status = bed.status();
    assert_eq!((status.frozen_entities, status.care.repaired), (0, 1));
    assert_eq!(bed.sums()[0], bed.sums()[1]);
    bed.put("a", 3).unwrap();
}

/// One entry that cannot be read may have changed any entity. Those whose rows name the heads that their chains give
/// are known not to be concerned.
#[test]
fn an_unreadable_entry_freezes_those_alone_that_nothing_else_tells_of() {
    let mut bed = Bed::with(&["a", "b", "c"]);
    let row = bed.stored("a");
    bed.put("b", 2).unwrap();
    bed.put("c", 2).unwrap();
    let (feed, seq, position) = bed.newest("b");
    bed.spoil(feed, seq);
    for id in ["a", "b", "c"] {
        bed.rot(id);
        bed.care().damaged("x", id);
    }
    bed.tend(8);
    assert_eq!((bed.stored("a"), bed.view("c").as_str()), (row, r#"{"n":2}"#));
    let status = bed.status();
    assert_eq!((status.frozen_entities, status.care.repaired), (1, 2));
    let (_, id, reason) = &status.frozen[0];
    assert!(id == "b" && reason.contains(&format!("position {position} cannot be read")), "{reason}");
    // A row of which the heads are not known: what is found may be too old.
    bed.put_row("a", vec![1; 64]);
    bed.care().damaged("x", "a");
    bed.tend(3);
    assert_eq!((bed.status().frozen_entities, bed.stored("a")), (2, Some(vec![1; 64])));
}
