//! What a pass over all rows finds beside rows whose hash does not fit.

use std::time::Duration;

use super::world::Bed;

/// More than a slice of a pass holds.
const ENTITIES: usize = 600;

fn bed() -> Bed {
    let mut bed = Bed::new();
    for no in 0..ENTITIES {
        bed.put(&format!("e{no:03}"), 1).unwrap();
    }
    bed
}

/// One slice of a pass, or the first of the next.
fn slice(bed: &mut Bed) {
    bed.mono += Duration::from_secs(2 * 24 * 3600);
    bed.tend(1);
}

#[test]
fn a_write_that_the_disk_lost_is_noticed_by_the_sums() {
    let mut bed = bed();
    let old = bed.stored("e007").unwrap();
    bed.put("e007", 2).unwrap();
    slice(&mut bed);
    slice(&mut bed);
    slice(&mut bed);
    assert_eq!((bed.care().counters.scrubs, bed.care().counters.sums_corrected), (1, 0));
    bed.put_row("e007", old);
    slice(&mut bed);
    slice(&mut bed);
    assert_eq!((bed.care().counters.scrubs, bed.care().counters.sums_corrected), (2, 1));
    // A member that has all entries differs now, and the row is found.
    assert_eq!(bed.sums()[0], bed.sums()[1]);
    bed.differs("e007");
    bed.tend(4);
    assert_eq!(bed.view("e007"), r#"{"n":2}"#);
    slice(&mut bed);
    slice(&mut bed);
    assert_eq!((bed.care().counters.scrubs, bed.care().counters.sums_corrected), (3, 1));
}

#[test]
fn what_is_written_during_a_pass_counts_once() {
    let mut bed = bed();
    slice(&mut bed);
    slice(&mut bed);
    assert_eq!(bed.care().counters.scrubs, 0, "it is under way");
    for id in ["e000", "e511", "e512", "e599", "a", "z"] {
        bed.put(id, 5).unwrap();
    }
    slice(&mut bed);
    assert_eq!((bed.care().counters.scrubs, bed.care().counters.sums_corrected), (1, 0));
}

#[test]
fn a_row_that_is_built_anew_during_a_pass_leaves_the_sums_right() {
    let mut bed = bed();
    for id in ["e001", "e599"] {
        slice(&mut bed);
        slice(&mut bed);
        bed.rot(id);
        bed.care().damaged("x", id);
        bed.tend(3);
        slice(&mut bed);
        slice(&mut bed);
        assert_eq!(bed.sums()[0], bed.sums()[1]);
    }
    assert_eq!((bed.care().counters.repaired, bed.care().counters.sums_corrected), (2, 0));
}
