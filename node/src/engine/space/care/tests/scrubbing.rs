//! What a pass over all rows finds beside rows whose hash does not fit.

use std::time::Duration;

use tombolo_crdt::entity::NUMBERS_WARN;

use super::world::Bed;

/// More than a slice of a pass holds.
const ENTITIES: usize = 600;

fn bed() -> Bed {
    let mut bed = Bed::new();
    for space_no in 0..ENTITIES {
        bed.put(&format!("e{space_no:03}"), 1).unwrap();
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

/// The row of an entity of one change of one operation, as if that had been the operation of this number.
fn numbered(mut row: Vec<u8>, mut number: u64) -> Vec<u8> {
    row.truncate(row.len() - 16);
    // Version, kind, one head, one actor and its only change.
    let at = 2 + 1 + 32 + 1 + 16 + 1;
    assert_eq!(row[at], 1, "the number of the only operation");
    let mut varint = Vec::new();
    while number > 0 {
        varint.push((number & 0x7f) as u8 | if number > 0x7f { 0x80 } else { 0 });
        number >>= 7;
    }
    row.splice(at..=at, varint);
    let check = blake3::hash(&row);
    row.extend_from_slice(&check.as_bytes()[..16]);
    row
}

/// Review: an entity could use up all its numbers between two passes, and nobody was told.
#[test]
fn whose_numbers_run_out_is_told_when_it_is_written() {
    let mut bed = bed();
    for id in ["e007", "e008"] {
        let row = bed.stored(id).unwrap();
        bed.put_row(id, numbered(row, NUMBERS_WARN + 7));
    }
    bed.put("e007", 1).unwrap();
    bed.put("e007", 2).unwrap();
    let named = |bed: &mut Bed| bed.status().sizes.running_out.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    assert_eq!((named(&mut bed), bed.status().sizes.running_out_entities), (vec!["e007".to_owned()], 1));
    // A pass meets it again and counts it once.
    for _ in 0..4 {
        slice(&mut bed);
    }
    assert_eq!(
        (named(&mut bed), bed.status().sizes.running_out_entities),
        (vec!["e007".to_owned(), "e008".to_owned()], 2)
    );
}

#[test]
fn a_pass_tells_the_largest_rows_and_whose_numbers_run_out() {
    let mut bed = bed();
    for (id, bytes) in [("e003", 70_000), ("e101", 200_000), ("e599", 90_000)] {
        bed.put_long(id, bytes).unwrap();
    }
    for (id, number) in [("e007", NUMBERS_WARN + 7), ("e550", (1 << 31) - 1), ("e551", NUMBERS_WARN - 1)] {
        let row = bed.stored(id).unwrap();
        bed.put_row(id, numbered(row, number));
    }
    assert!(bed.status().sizes.largest.is_empty(), "no pass has begun");
    // The slices end by bytes, too.
    for _ in 0..4 {
        slice(&mut bed);
    }
    let sizes = bed.status().sizes;
    let largest: Vec<&str> = sizes.largest.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(largest, ["e101", "e599", "e003"], "{sizes:?}");
    assert!(sizes.largest[0].row_bytes > 200_000 && sizes.largest[0].removed.objects == 0, "{sizes:?}");
    let ending: Vec<(&str, u64)> = sizes.running_out.iter().map(|e| (e.id.as_str(), e.numbers_left)).collect();
    assert_eq!(ending, [("e550", 0), ("e007", (1 << 30) - 8)], "the nearest to its end first");
    assert_eq!(sizes.running_out_entities, 2);
    // What has become small is not told any more once a pass has seen it.
    bed.put("e101", 3).unwrap();
    for _ in 0..4 {
        slice(&mut bed);
    }
    assert!(bed.status().sizes.largest.iter().all(|row| row.id != "e101"));
}
