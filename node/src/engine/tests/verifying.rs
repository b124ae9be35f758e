//! What the offline check says of a store of which something cannot be read: that, by its place, and nothing else.

use super::*;
use crate::store::Reading;
use crate::verify::{self, EntityName, EntityReport, VerifyError, VerifyReport};

/// Entities by the positions of their changes in the own feed: `e` 1, 2, 3; `f` 4; `g` 5, 6; `h` 7.
fn bed() -> Bed {
    let mut bed = Bed::new();
    bed.write("e", 0..3);
    bed.write("f", [1]);
    bed.write("g", 0..2);
    bed.write("h", [1]);
    bed
}

fn reading(bed: &Bed) -> Reading {
    bed.engine.reader().reading().unwrap()
}

fn verified(bed: &Bed) -> VerifyReport {
    verify::reading(&reading(bed), &mut |_, _, _| {}).unwrap()
}

fn places(report: &VerifyReport) -> Vec<&str> {
    assert_eq!(report.differences, report.findings.len() as u64);
    report.findings.iter().map(|finding| finding.place.as_str()).collect()
}

fn entity(bed: &Bed, id: &str) -> Result<EntityReport, VerifyError> {
    let name = EntityName { space: "s", collection: "x", id };
    verify::entity_of(&reading(bed), name, &mut |_, _, _| {})
}

fn said(report: &EntityReport) -> String {
    report.findings.iter().map(|finding| finding.detail.as_str()).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_sound_store_has_no_findings() {
    let report = verified(&bed());
    assert_eq!((report.findings, report.rows), (Vec::new(), 4));
}

#[test]
fn every_rotten_entry_is_named_and_every_entity_that_needs_one() {
    let mut bed = bed();
    let own = bed.own_feed();
    let all = verified(&bed);
    bed.work(|work, _| {
        for seq in [2, 6] {
            work.batch.spoil_entry(own, seq);
        }
    });
    let report = verified(&bed);
    let entry = |seq: u64| format!("entry {own}-{seq}");
    assert_eq!(places(&report), [&entry(2), &entry(6), "entity s/x/e", "entity s/x/g"]);
    assert_eq!((report.entries, report.rows, report.journal), (all.entries - 2, 4, all.journal));
    // What says something else is not taken for it.
    let text = bed.replace(own, 4, vec![0]);
    assert!(places(&verified(&bed)).contains(&entry(4).as_str()));
    bed.replace(own, 4, text);
    assert_eq!(places(&verified(&bed)).len(), 4);
}

#[test]
fn rotten_rows_of_the_journal_are_named() {
    let mut bed = bed();
    let space_no = bed.engine.memory.spaces[&bed.space].row.space_no;
    let positions = ["f", "h"].map(|id| bed.row(id).journal());
    bed.work(|work, _| positions.into_iter().for_each(|position| work.batch.spoil_journal(space_no, position)));
    let report = verified(&bed);
    let position = |at: usize| format!("journal position {} of s", positions[at]);
    assert_eq!(places(&report), [&position(0), &position(1), "entity s/x/f", "entity s/x/h"]);
    assert_eq!(report.rows, 4);
}

#[test]
fn a_row_that_cannot_be_read_is_named_alone() {
    let mut bed = bed();
    bed.work(|work, space| work.batch.put_row(space.row.space_no, "x", "f", vec![7; 60]).unwrap());
    let report = verified(&bed);
    assert_eq!(places(&report), ["entity s/x/f"]);
    // One in the place of another still shows in what they add up to.
    let g = bed.row("g").encode();
    bed.work(|work, space| work.batch.put_row(space.row.space_no, "x", "f", g).unwrap());
    assert_eq!(places(&verified(&bed))[0], "entity s/x/f");
    assert!(places(&verified(&bed)).contains(&"space s"));
}

#[test]
fn a_seal_that_cannot_be_read_is_named_and_the_others_are_checked() {
    let mut bed = bed();
    let own = bed.own_feed();
    let seals = verified(&bed).seals;
    let seal = bed.engine.memory.spaces[&bed.space].feeds[&own].row.sealed.unwrap().1;
    bed.work(|work, _| {
        work.batch.put_seal(own, 2, seal).unwrap();
        work.batch.spoil_seal(own, 4);
        work.batch.put_seal(own, 6, seal).unwrap();
    });
    let report = verified(&bed);
    let place = |seq: u64| format!("entry {own}-{seq}");
    assert_eq!((places(&report), report.seals), (vec![place(4).as_str(), &place(2), &place(6)], seals + 2));
}

#[test]
fn an_entity_is_verified_by_its_own_entries_whatever_is_rotten_elsewhere() {
    let mut bed = bed();
    let own = bed.own_feed();
    bed.work(|work, _| work.batch.spoil_entry(own, 5));
    let space_no = bed.engine.memory.spaces[&bed.space].row.space_no;
    let h = bed.row("h").journal();
    bed.work(|work, _| work.batch.spoil_journal(space_no, h));
    for (id, changes) in [("e", 3), ("f", 1)] {
        let report = entity(&bed, id).unwrap();
        assert_eq!((said(&report).as_str(), report.changes, report.present), ("", changes, true), "{id}");
        assert_eq!(report.revision, Some(bed.row(id).revision()));
    }
    let report = entity(&bed, "g").unwrap();
    assert!(said(&report).contains("cannot be folded") && report.revision.is_none(), "{report:?}");
    // Without its row it is looked for, and what cannot be read may have changed it.
    bed.work(|work, space| work.batch.put_row(space.row.space_no, "x", "e", vec![7; 60]).unwrap());
    let report = entity(&bed, "e").unwrap();
    assert!(said(&report).contains("2 later positions of the journal cannot be read"), "{report:?}");
    assert_eq!(report.changes, 3);
    let report = entity(&bed, "never written").unwrap();
    assert!(said(&report).contains("2 positions of the journal cannot be read"), "{report:?}");
}

#[test]
fn an_entity_whose_row_lacks_its_newest_change_is_found_beyond_rotten_entries() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let older = bed.row("e").encode();
    bed.write("f", [0]);
    bed.write("e", [1]);
    bed.write("f", [1]);
    let own = bed.own_feed();
    bed.work(|work, space| {
        work.batch.spoil_entry(own, 4);
        work.batch.put_row(space.row.space_no, "x", "e", older).unwrap();
    });
    let report = entity(&bed, "e").unwrap();
    assert!(said(&report).contains("its last change is at 4"), "{report:?}");
    assert_eq!(report.changes, 2);
}

/// A member may not state the rules heads that are in force already. What its changes were written under is where they
/// were stated, in the row and in what its entries give.
#[test]
fn rules_heads_that_are_stated_again_are_refused_and_make_no_difference() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let mut pen = bed.pen(50);
    let mut state = bed.row("e");
    for n in 0..3 {
        let mut writer = Writer::new(&state, pen.feed(), Hlc::from_millis(WALL));
        writer.write(&patch(&format!(r#"{{"p":{n}}}"#))).unwrap();
        let (change, after) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
        let mut entry = bed.entry(&pen, "e", &change);
        entry.rules = bed.engine.rules_heads(bed.space);
        pen.entries.push(entry);
        state = after;
    }
    bed.take([pen.range()]);
    assert_eq!((bed.view("e").as_str(), bed.engine.memory.spaces[&bed.space].row.refused), (r#"{"n":0,"p":0}"#, 2));
    bed.work(|work, space| work.batch.put_feed(pen.feed(), &space.feeds[&pen.feed()].row).unwrap());
    let report = entity(&bed, "e").unwrap();
    assert_eq!((said(&report).as_str(), report.changes), ("", 2));
}
