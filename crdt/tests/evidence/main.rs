//! Why no byte from outside may reach Automerge: changes that bring Automerge 0.12 down, each in a process of its own
//! with limits, and what this crate says to the same bytes. By hand: `cargo test --test evidence -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod chunks;

use std::collections::BTreeMap;
use std::process::Command;

use automerge::transaction::Transactable;
use automerge::{AutoCommit, Automerge, ObjType, ROOT, ReadDoc, ScalarValue};
use cases::{Answer, Case};
use tombolo_crdt::entity::{Applied, Change, Clock, EntityState, GateError, Provenance};
use tombolo_crdt::{ChangeHash, FeedId};

/// Tells the child which case is its own.
const NAME: &str = "TOMBOLO_EVIDENCE_CASE";
/// Half a megabyte that becomes half a gigabyte, and is copied once: all a child has. More than it has is an error.
const PIECES: usize = 30;
/// Changes without a past that are given to Automerge.
const ORPHANS: u32 = 10_000;

/// Runs [`bare_automerge_takes_it`] with 5 s of processor time and 1 GB of memory. Whether it came through.
fn automerge_survives(name: &str) -> bool {
    let program = std::env::current_exe().unwrap();
    let limited = format!(
        "ulimit -t 5; ulimit -v 1000000; exec '{}' --ignored --exact bare_automerge_takes_it",
        program.display()
    );
    let output = Command::new("sh").args(["-c", &limited]).env(NAME, name).output().unwrap();
    output.status.success()
}

/// An error is a good answer; a panic, a loop, too much memory, or a document that cannot be loaded again is none.
#[test]
#[ignore = "the child of the tests below"]
fn bare_automerge_takes_it() {
    let Ok(name) = std::env::var(NAME) else { return };
    if name == "good" {
        return takes(&[cases::good()], None);
    }
    let all = every_case();
    let case = all.iter().find(|case| case.name == name).unwrap();
    takes(&case.chunks, case.h);
}

fn takes(chunks: &[Vec<u8>], h: Option<i64>) {
    let mut doc = Automerge::new();
    for chunk in chunks {
        let Ok(change) = automerge::Change::try_from(chunk.as_slice()) else { continue };
        assert_eq!(change.decode().operations.len(), change.len());
        let _ = doc.apply_changes([change]);
    }
    let written = doc.transact::<_, _, automerge::AutomergeError>(|tx| tx.put(ROOT, "local", 1)).is_ok();
    assert!(written, "a local write");
    let loaded = Automerge::load(&doc.save()).unwrap();
    assert_eq!(loaded.get_heads(), doc.get_heads());
    if let Some(h) = h {
        let all = loaded.get_all(ROOT, "h").unwrap();
        assert!(all.iter().any(|(value, _)| value.as_scalar() == Some(&ScalarValue::Int(h))), "{all:?}");
    }
}

/// What this crate says to the forged change of a case, and how the entity ends.
fn answers(chunks: &[Vec<u8>]) -> (Vec<Answer>, EntityState) {
    let mut state = EntityState::new();
    let mut pasts: BTreeMap<ChangeHash, Clock> = BTreeMap::new();
    let mut answer = |chunk: &Vec<u8>| {
        let by = chunk_actor(chunk);
        let change = match Change::parse(chunk, by) {
            Ok(change) => change,
            Err(error) => return Answer::Codec(error),
        };
        let mut past = Clock::new();
        for dep in change.deps() {
            let Some(before) = pasts.get(dep) else { return Answer::Held };
            past.join(before);
        }
        match state.gate(&change, &past) {
            Ok(()) => {
                assert_eq!(state.apply(&change, &past, &Provenance::default(), 1), Applied::Applied);
                pasts.insert(change.hash(), past.with(&change));
                Answer::Applied
            }
            Err(GateError::NotInPast { .. }) => Answer::NotInPast,
            Err(_) => Answer::Sequence,
        }
    };
    (chunks.iter().map(&mut answer).collect(), state)
}

/// The feed that a chunk says it is of: all bytes of an actor here are alike.
fn chunk_actor(chunk: &[u8]) -> FeedId {
    let at =
        chunk.windows(16).position(|bytes| bytes.iter().all(|byte| *byte == bytes[0]) && (1..5).contains(&bytes[0]));
    FeedId::from_bytes([at.map_or(1, |at| chunk[at]); 16])
}

fn every_case() -> Vec<Case> {
    cases::crafted(PIECES).into_iter().chain(cases::forged()).collect()
}

fn check(case: &Case) {
    let (answers, state) = answers(&case.chunks);
    let honest = answers.iter().filter(|answer| **answer == Answer::Applied).count();
    assert!(answers.contains(&case.answer), "{}: {answers:?}", case.name);
    assert!(honest + 1 >= answers.len(), "{}: {answers:?}", case.name);
    if let Some(h) = case.h {
        assert_eq!(state.view().as_object().unwrap()["h"].as_i64(), Some(h), "{}", case.name);
    }
    assert_eq!(EntityState::decode(&state.encode()).unwrap(), state, "{}", case.name);
}

#[test]
fn what_brings_automerge_down_does_no_harm_here() {
    let all = every_case();
    assert_eq!(all.len(), 21);
    all.iter().for_each(check);
}

#[test]
fn changes_without_a_past_are_held_and_equivocation_is_refused() {
    let (answers_to_orphans, state) = answers(&cases::orphans(100));
    assert!(answers_to_orphans.iter().all(|answer| *answer == Answer::Held));
    assert_eq!(state, EntityState::new());
    let (answers, state) = answers(&cases::equivocation());
    assert_eq!(answers, [Answer::Applied, Answer::Sequence, Answer::Applied]);
    assert_eq!(state.view().as_object().unwrap()["h"].as_i64(), Some(3));
}

#[test]
#[ignore = "spends seconds and gigabytes in children"]
fn automerge_does_not_survive_them() {
    assert!(automerge_survives("good"));
    let survived: Vec<_> =
        every_case().into_iter().filter(|case| automerge_survives(case.name)).map(|case| case.name).collect();
    assert_eq!(survived, [""; 0]);
}

/// A14: what depends on nothing that exists is kept for ever, and saved.
#[test]
#[ignore = "spends seconds"]
fn automerge_keeps_changes_without_a_past() {
    let mut doc = Automerge::new();
    let orphans = cases::orphans(ORPHANS);
    let changes = orphans.iter().map(|chunk| automerge::Change::try_from(chunk.as_slice()).unwrap());
    doc.apply_changes(changes.collect::<Vec<_>>()).unwrap();
    assert!(doc.get_heads().is_empty());
    assert!(doc.save().len() > 30 * ORPHANS as usize, "{}", doc.save().len());
}

/// A15: one change too many, and none of the batch is applied.
#[test]
#[ignore = "is about Automerge alone"]
fn automerge_drops_honest_changes_beside_equivocation() {
    let chunks = cases::equivocation();
    let changes: Vec<_> = chunks.iter().map(|chunk| automerge::Change::try_from(chunk.as_slice()).unwrap()).collect();
    let mut doc = Automerge::new();
    assert!(doc.apply_changes(changes).is_err());
    assert_eq!(doc.get(ROOT, "h").unwrap(), None);
}

/// Three authors, all honest, all Automerge: two put another letter in the place of one, and one who has seen only the
/// lesser of them deletes it. Whoever has both and hears of that is down.
#[test]
fn automerge_panics_over_honest_changes_to_a_text() {
    let mut first = AutoCommit::new().with_actor(chunks::actor(1));
    let text = first.put_object(ROOT, "t", ObjType::Text).unwrap();
    first.splice_text(&text, 0, 0, "a").unwrap();
    let mut second = first.fork().with_actor(chunks::actor(2));
    first.put(&text, 0, "x").unwrap();
    second.put(&text, 0, "y").unwrap();
    let mut third = first.fork().with_actor(chunks::actor(3));
    third.delete(&text, 0).unwrap();
    third.commit();
    first.merge(&mut second).unwrap();
    let mut all: Vec<Vec<u8>> = first.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect();
    all.extend(third.get_last_local_change().map(|change| change.raw_bytes().to_vec()));
    let merged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first.merge(&mut third)));
    assert!(merged.is_err(), "a newer Automerge takes it: the oracle needs no exception any more");
    let (answers, state) = answers(&all);
    assert_eq!(answers, [Answer::Applied; 4]);
    assert_eq!(state.view_bytes(), br#"{"t":"y"}"#);
}
