//! What care does to rows, on a node whose disk is reached into by hand.

mod freezing;
mod scrubbing;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::entity::{EntityState, RowError};
use tombolo_transport::frame::{self, RowSum, Sums};

use self::world::{Bed, name, peer};
use crate::chain::{FOLD_CHANGES_MAX, Search};
use crate::engine::Refusal;

/// A suspect whose newest change is known waits for its turn, while it is written and the next one comes under
/// suspicion.
#[test]
fn a_row_that_is_written_while_it_waits_for_its_turn_keeps_the_write() {
    let mut bed = Bed::with(&["a", "b", "c"]);
    bed.differs("a");
    bed.differs("b");
    // One search for both, then one after the other is folded.
    bed.tend(3);
    assert_eq!(bed.suspects(), ["b"]);
    bed.put("b", 2).unwrap();
    assert_eq!(bed.view("b"), r#"{"n":2}"#);
    bed.differs("c");
    bed.tend(5);
    assert_eq!(bed.suspects(), Vec::<String>::new());
    assert_eq!(bed.view("b"), r#"{"n":2}"#, "an acknowledged write is gone");
    // The clock has not fallen back either: what is written next is a change of its own.
    bed.put("b", 3).unwrap();
    assert_eq!((bed.view("b").as_str(), bed.newest("b").1), (r#"{"n":3}"#, 5));
    assert_eq!(bed.care().counters.repaired, 0);
}

#[test]
fn an_entity_that_is_created_while_it_is_looked_for_stays() {
    let mut bed = Bed::with(&["a"]);
    bed.put_all("a", 0..1_500).unwrap();
    bed.differs("new");
    // The search is not at its end.
    bed.tend(1);
    assert_eq!(bed.suspects(), ["new"]);
    bed.put("new", 7).unwrap();
    bed.tend(5);
    assert_eq!((bed.view("new").as_str(), bed.suspects().len()), (r#"{"n":7}"#, 0));
    assert_eq!(bed.sums()[0], bed.sums()[1]);
}

#[test]
fn a_piece_of_the_search_ends_after_a_few_large_entries_too() {
    let mut bed = Bed::with(&["a"]);
    for more in 0..8 {
        bed.put_long("a", 200_000 + more).unwrap();
    }
    let space = &bed.engine.memory.spaces[&bed.space].row;
    let mut search = Search::new(space.space_no, BTreeSet::from([name("new")]), space.journal, 0);
    let (reading, mut pieces) = (bed.engine.reader().reading().unwrap(), 1);
    while !search.step(&reading).unwrap() {
        pieces += 1;
    }
    assert!(pieces >= 3 && search.found().is_empty(), "{pieces}");
}

#[test]
fn a_long_history_is_folded_beside_the_steps_and_again_if_it_grows() {
    let mut bed = Bed::with(&["other"]);
    for at in 0..6 {
        bed.put_all("a", at * 600..(at + 1) * 600).unwrap();
    }
    let row = bed.stored("a").unwrap();
    bed.rot("a");
    assert!(matches!(bed.put("a", 0), Err(Refusal::Damaged { .. })));
    // Its newest change is searched for, its changes are folded, and what they give is put in its place.
    bed.tend(2);
    assert!(EntityState::decode(&bed.stored("a").unwrap()).is_err());
    bed.tend(1);
    assert_eq!(bed.stored("a").unwrap(), row);
    bed.differs("a");
    bed.tend(2);
    bed.put("a", 4_000).unwrap();
    bed.tend(12);
    assert_eq!((bed.view("a").as_str(), bed.suspects().len()), (r#"{"n":4000}"#, 0));
    assert_eq!((bed.sums()[0], bed.care().counters.repaired), (bed.sums()[1], 1));
}

/// Readers are refused what takes too long; care has all the time there is.
#[test]
fn no_history_is_too_long_to_be_folded() {
    let mut bed = Bed::with(&["b"]);
    let changes = FOLD_CHANGES_MAX + 100;
    for from in (0..changes).step_by(600) {
        bed.put_all("a", from..changes.min(from + 600)).unwrap();
    }
    let row = bed.stored("a").unwrap();
    bed.differs("a");
    bed.tend(10);
    assert_eq!((bed.suspects().len(), bed.status().frozen_entities), (0, 0));
    assert_eq!(
        (bed.stored("a").unwrap(), bed.status().disputed.len()),
        (row.clone(), 1),
        "it is right, whatever they say"
    );
    bed.rot("a");
    bed.care().damaged("x", "a");
    bed.tend(10);
    assert_eq!((bed.stored("a").unwrap(), bed.status().care.repaired), (row, 1));
}

/// Whoever says that an entity differs cannot keep the others from being built anew by writing to it.
#[test]
fn a_long_history_that_grows_all_the_time_is_given_up_if_it_is_not_damaged() {
    let mut bed = Bed::with(&["z"]);
    for from in (0..1_800).step_by(600) {
        bed.put_all("a", from..from + 600).unwrap();
    }
    bed.differs("a");
    bed.rot("z");
    bed.care().damaged("x", "z");
    let mut rounds = 0;
    while !bed.suspects().is_empty() {
        rounds += 1;
        assert!(rounds < 50, "{:?}", bed.suspects());
        bed.put("a", rounds).unwrap();
        bed.tend(1);
    }
    assert_eq!((bed.care().counters.repaired, bed.status().frozen_entities), (1, 0));
    assert_eq!((bed.view("z").as_str(), bed.view("a")), (r#"{"n":1}"#, format!(r#"{{"n":{rounds}}}"#)));
}

/// A member may say of any name that it has a row of it.
#[test]
fn what_a_peer_invents_is_not_told_in_the_status() {
    let mut bed = Bed::with(&["a"]);
    bed.differs("never written");
    bed.tend(3);
    assert_eq!((bed.suspects().len(), bed.care().disputed.len()), (0, 0));
    // Nor is it looked for, if nothing can have that name.
    let frontier = bed.engine.memory.spaces[&bed.space].frontier_digest();
    let (space, mono) = (bed.space, bed.mono);
    let row =
        |collection: &str, id: &str| RowSum { collection: collection.to_owned(), id: id.to_owned(), sum: [1; 16] };
    let rows = vec![row("x", "a"), row("\u{1b}[2Jx", "b"), row("x", "never\nwritten")];
    let buckets = rows.iter().map(|row| tombolo_crdt::digest::bucket(&row.collection, &row.id)).collect();
    let audit = frame::Audit { space, frontier, sums: Sums::Rows(buckets, rows) };
    bed.care().audit.tell(peer(), frontier, mono);
    bed.care().audit.hear(peer(), audit, frontier, mono);
    for _ in 0..4 {
        bed.tend(1);
        assert!(bed.suspects().iter().all(|id| id == "a"), "{:?}", bed.suspects());
    }
    bed.tend(3);
    assert_eq!(bed.care().disputed.keys().collect::<Vec<_>>(), [&name("a")]);
}

/// A member that tells of many entities that were never written has the journal searched for all of them once, and not
/// in the next audit again.
#[test]
fn what_a_peer_invents_is_searched_for_once() {
    let mut bed = Bed::with(&["a"]);
    let (space, mono) = (bed.space, bed.mono);
    let tell = |bed: &mut Bed, from: usize| {
        let frontier = bed.engine.memory.spaces[&bed.space].frontier_digest();
        let row = |space_no: usize| RowSum { collection: "x".to_owned(), id: format!("e{space_no}"), sum: [1; 16] };
        let rows: Vec<RowSum> = (from..from + 500).map(row).collect();
        let all = rows.iter().map(|row| tombolo_crdt::digest::bucket(&row.collection, &row.id));
        let buckets: Vec<u16> = all.collect::<BTreeSet<u16>>().into_iter().take(64).collect();
        let audit = frame::Audit { space, frontier, sums: Sums::Rows(buckets, rows) };
        let mono = bed.mono;
        bed.care().audit.tell(peer(), frontier, mono);
        bed.care().audit.hear(peer(), audit, frontier, mono);
        bed.tend(4);
        let suspects = bed.suspects();
        while !bed.suspects().is_empty() {
            bed.tend(1);
        }
        suspects
    };
    let first = tell(&mut bed, 0);
    let all = first.iter().map(|id| tombolo_crdt::digest::bucket("x", id)).collect::<BTreeSet<u16>>();
    assert!(!first.is_empty() && first.len() < 500 && all.len() <= 64, "those of the named buckets: {}", first.len());
    assert_eq!(bed.looks, 1, "one search for all");
    bed.mono += Duration::from_secs(7_200);
    bed.tend(2);
    assert_eq!((tell(&mut bed, 1_000), bed.looks), (Vec::new(), 1));
    // A day later it is believed again.
    bed.mono = mono + Duration::from_secs(2 * 24 * 3_600);
    bed.tend(4);
    assert!(!tell(&mut bed, 2_000).is_empty());
    assert_eq!((bed.looks, bed.care().disputed.len()), (2, 0));
}

/// Reading all rows for what a peer says is work: it is done only where the peer answers what it was told.
#[test]
fn rows_that_were_not_asked_for_are_not_compared() {
    let mut bed = Bed::with(&["a", "b"]);
    let frontier = bed.engine.memory.spaces[&bed.space].frontier_digest();
    let (space, mono) = (bed.space, bed.mono);
    let bucket = |id: &str| tombolo_crdt::digest::bucket("x", id);
    assert_ne!(bucket("a"), bucket("b"));
    let rows = |id: &str| {
        let row = RowSum { collection: "x".to_owned(), id: id.to_owned(), sum: [1; 16] };
        frame::Audit { space, frontier, sums: Sums::Rows(vec![bucket(id)], vec![row]) }
    };
    // A peer that was told nothing.
    bed.care().audit.hear(peer(), rows("a"), frontier, mono);
    assert!(!bed.audits());
    bed.tend(6);
    assert_eq!(bed.care().disputed.len(), 0);
    // One that has the bucket of "b" as it is here.
    bed.care().audit.ask(peer(), frontier, mono);
    bed.tend(3);
    let said = bed.care().audit.outgoing(peer());
    let [frame::Frame::Audit(frame::Audit { sums: Sums::Buckets(ours), .. })] = said.as_slice() else {
        panic!("{said:?}")
    };
    let mut theirs = ours.clone();
    theirs[usize::from(bucket("a"))] = [7; 16];
    bed.care().audit.hear(peer(), frame::Audit { space, frontier, sums: Sums::Buckets(theirs) }, frontier, mono);
    bed.tend(3);
    bed.care().audit.hear(peer(), rows("b"), frontier, mono);
    assert!(!bed.audits(), "that bucket is the same at both");
    bed.care().audit.hear(peer(), rows("a"), frontier, mono);
    bed.tend(6);
    assert_eq!(bed.care().disputed.keys().collect::<Vec<_>>(), [&name("a")]);
}

/// An audit meets a damaged row: the sums are right all the time, and right after it is built anew.
#[test]
fn an_audit_over_a_damaged_row_leaves_the_sums_right() {
    let mut bed = Bed::with(&["a", "b", "c"]);
    let before = bed.sums()[0];
    bed.rot("b");
    let frontier = bed.engine.memory.spaces[&bed.space].frontier_digest();
    let mono = bed.mono;
    bed.care().audit.ask(peer(), frontier, mono);
    bed.tend(6);
    assert_eq!(bed.view("b"), r#"{"n":1}"#, "nobody had to read it");
    assert_eq!((bed.sums(), bed.care().counters.sums_corrected), ([before, before], 0));
    assert!(bed.care().audit.speaks(), "and the audit goes on");
}

#[test]
fn an_audit_over_a_row_that_cannot_be_read_leaves_the_sums_alone() {
    let mut bed = Bed::with(&["a", "b", "c"]);
    let before = bed.sums()[0];
    let (feed, seq, _) = bed.newest("b");
    bed.spoil(feed, seq);
    bed.rot("b");
    let frontier = bed.engine.memory.spaces[&bed.space].frontier_digest();
    let mono = bed.mono;
    bed.care().audit.ask(peer(), frontier, mono);
    bed.tend(6);
    let status = bed.status();
    assert_eq!((status.frozen_entities, status.care.sums_corrected), (1, 0));
    let row = &bed.engine.memory.spaces[&bed.space].row;
    assert_eq!((row.sums.rows, row.entities), before);
    assert!(bed.care().audit.speaks(), "and the audit goes on");
}

/// A key of which nobody knows what it names: what lies beyond cannot be reached. Nothing is said of what is not known,
/// and no step fails.
#[test]
fn an_audit_over_a_key_that_cannot_be_read_compares_what_it_can() {
    let mut bed = Bed::with(&["a", "b", "c"]);
    bed.tamper(|batch, space_no| batch.put_row_of_nothing(space_no, "x", "b"));
    let before = bed.engine.memory.spaces[&bed.space].row.sums.rows;
    let frontier = bed.engine.memory.spaces[&bed.space].frontier_digest();
    let (space, mono) = (bed.space, bed.mono);
    bed.care().audit.ask(peer(), frontier, mono);
    bed.tend(6);
    assert_eq!(bed.engine.counters().failures, 0);
    assert!(!bed.care().audit.speaks() && !bed.audits(), "it has come to its end");
    assert_eq!((bed.engine.memory.spaces[&bed.space].row.sums.rows, bed.care().counters.sums_corrected), (before, 0));
    let told = |id: &str, sum| RowSum { collection: "x".to_owned(), id: id.to_owned(), sum };
    let buckets = ["a", "c"].map(|id| tombolo_crdt::digest::bucket("x", id)).to_vec();
    let sums = Sums::Rows(buckets, vec![told("a", [1; 16]), told("c", [1; 16])]);
    bed.care().audit.tell(peer(), frontier, mono);
    bed.care().audit.hear(peer(), frame::Audit { space, frontier, sums }, frontier, mono);
    bed.tend(6);
    assert_eq!(bed.care().disputed.keys().collect::<Vec<_>>(), [&name("a")]);
    assert_eq!((bed.engine.counters().failures, bed.audits()), (0, false));
}

#[test]
fn a_row_that_is_built_anew_during_an_audit_leaves_the_sums_right() {
    let mut bed = Bed::with(&["e"]);
    let older = bed.row("e");
    bed.put("e", 2).unwrap();
    // More than a slice of an audit holds, behind it.
    for space_no in 0..1_100 {
        bed.put(&format!("f{space_no}"), 1).unwrap();
    }
    let newer = bed.row("e");
    bed.put_row("e", older.encode());
    let row = &mut bed.engine.memory.spaces.get_mut(&bed.space).unwrap().row;
    row.sums.rows.remove(&newer.contribution("x", "e"));
    row.sums.rows.add(&older.contribution("x", "e"));
    let frontier = bed.engine.memory.spaces[&bed.space].frontier_digest();
    let mono = bed.mono;
    bed.care().audit.ask(peer(), frontier, mono);
    bed.tend(2);
    assert!(!bed.care().audit.speaks(), "it is under way");
    bed.differs("e");
    bed.tend(6);
    assert_eq!((bed.view("e").as_str(), bed.care().counters.repaired), (r#"{"n":2}"#, 1));
    assert!(bed.care().audit.speaks());
    assert_eq!((bed.sums()[0], bed.care().counters.sums_corrected), (bed.sums()[1], 0));
}

/// The bytes with a hash that fits.
fn with_hash(body: &[u8]) -> Vec<u8> {
    [body, &blake3::hash(body).as_bytes()[..16]].concat()
}

#[test]
fn a_row_of_a_newer_version_is_left_alone_and_told() {
    let mut bed = Bed::with(&["a", "b"]);
    let row = bed.stored("a").unwrap();
    let mut newer = row[..row.len() - 16].to_vec();
    newer[0] = 2;
    let newer = with_hash(&newer);
    bed.put_row("a", newer.clone());
    assert_eq!(EntityState::decode(&newer), Err(RowError::Version { version: 2, kind: 0 }));
    for _ in 0..2 {
        assert!(matches!(bed.put("a", 2), Err(Refusal::Damaged { .. })));
        bed.tend(4);
        assert_eq!(bed.stored("a"), Some(newer.clone()));
    }
    let status = bed.status();
    assert_eq!((status.frozen_entities, status.care.repaired), (1, 0));
    assert!(status.frozen[0].2.contains("row version 2"), "{:?}", status.frozen);
    bed.put("b", 2).unwrap();
}
