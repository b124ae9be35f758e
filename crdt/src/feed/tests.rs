//! What ranges take in memory once they are verified.

use ed25519_dalek::SigningKey;

use super::{FeedKind, Opening, Range, ReadAhead, Signature, VerifiedRange, chain, seal_message};
use crate::entity::tests::run_of_puts;
use crate::entity::{EntityState, Provenance, Write, Writer};
use crate::entry::{Body, ENTRY_VERSION, EntityChange, Entry};
use crate::json::Json;
use crate::{FeedId, Hlc, NodeId, SpaceId};

/// What a range may take per byte: the queue before the engine has room for two frames of 512 KiB at that.
const MEMORY_PER_BYTE: usize = 20;

/// A range of so many entries with one change each.
fn range(entries: u64, change: impl Fn(FeedId, u64) -> Vec<u8>) -> Range {
    let key = SigningKey::from_bytes(&[3; 32]);
    let node = NodeId::from_bytes(key.verifying_key().to_bytes());
    let opening = Opening::new(node, SpaceId::from_bytes([9; 32]), 1, FeedKind::Data, Vec::new());
    let feed = opening.feed();
    let (mut last, mut encoded) = (opening.chain(), Vec::new());
    for seq in 1..=entries {
        let (collection, id) = ("cities".to_owned(), format!("city-{seq}"));
        let change = EntityChange { collection, id, origin: 0, change: change(feed, seq) };
        let (hlc, body) = (Hlc::from_millis(1), Body::Data(vec![change]));
        let (deps, ext) = (Vec::new(), Vec::new());
        let entry =
            Entry { version: ENTRY_VERSION, seq, hlc, rules: None, deps, trace: None, idempotency: None, body, ext };
        let bytes = entry.encode();
        last = chain(feed, seq, last, &bytes);
        encoded.push(bytes.into());
    }
    let seal = Signature::sign(&key, &seal_message(feed, entries, last));
    Range { opening: opening.encode(), from: 1, previous: opening.chain(), entries: encoded, seal }
}

/// Changes read ahead, and their operations.
fn read(range: &VerifiedRange) -> (usize, usize) {
    let changes = range.entries().iter().flat_map(|entry| &entry.changes).flatten();
    changes.fold((0, 0), |(changes, ops), change| (changes + 1, ops + change.operations()))
}

#[test]
fn small_changes_are_all_read_ahead() {
    let city = |feed, seq| {
        let text = format!(
            r#"{{"name":"City {seq}","country":"DE","lat":{}.25,"lon":13.{seq},"population":{},"elevation":{seq},"timezone":"Europe/Berlin","admin":"07"}}"#,
            seq % 90,
            seq * 137
        );
        let state = EntityState::new();
        let mut writer = Writer::new(&state, feed, Hlc::from_millis(1_800_000_000_000));
        writer.write(&Write::Put { value: Json::parse(text.as_bytes()).unwrap(), base: None }).unwrap();
        let (change, _) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
        change.bytes().to_vec()
    };
    let field = |feed, seq: u64| {
        let state = EntityState::new();
        let mut writer = Writer::new(&state, feed, Hlc::from_millis(1_800_000_000_000));
        writer
            .write(&Write::Put { value: Json::parse(format!(r#"{{"n":{seq}}}"#).as_bytes()).unwrap(), base: None })
            .unwrap();
        let (change, _) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
        change.bytes().to_vec()
    };
    let (cities, fields) = (range(900, city), range(1_000, field));
    let bytes = cities.entry_bytes();
    // The ranges of a frame share: the second uses what the first leaves.
    let mut ahead = ReadAhead::of(bytes + fields.entry_bytes());
    let few = fields.clone().verify_ahead(&mut ahead).unwrap();
    let many = cities.clone().verify_ahead(&mut ahead).unwrap();
    assert_eq!((read(&few), read(&many)), ((1_000, 1_000), (900, 7_200)));
    assert_eq!(read(&cities.verify().unwrap()), (900, 7_200));
    let memory = many.memory();
    assert!(memory > bytes * 2 && memory <= bytes * MEMORY_PER_BYTE, "{bytes} bytes take {memory}");
}

/// Runs: a change stands for as many operations as it has bytes, or names a long key again and again.
#[test]
fn what_is_read_ahead_takes_memory_in_proportion_to_its_bytes() {
    for (key, times) in [("k".to_owned(), 1_000), ("k".repeat(4_000), 30)] {
        let range = range(32, |feed, seq| run_of_puts(feed, (seq, seq * 2_000), &key, times).bytes().to_vec());
        let wire = range.entry_bytes() + range.opening.len() + 100;
        let verified = range.clone().verify().unwrap();
        let memory = verified.memory();
        assert!(memory <= wire * MEMORY_PER_BYTE, "{wire} bytes on the wire take {memory}: {} times", memory / wire);
        // Whoever may read more reads it.
        let mut ahead = ReadAhead::of(wire * 1_000);
        let verified = range.verify_ahead(&mut ahead).unwrap();
        assert_eq!(read(&verified), (32, 32 * times));
        assert!(verified.memory() > 32 * times * (100 + key.len()), "{}", verified.memory());
    }
}

/// Whoever needs the changes reads them where a panic is contained.
#[test]
fn a_panic_over_a_change_that_is_read_ahead_leaves_it_unread() {
    let field = |feed, seq| run_of_puts(feed, (seq, 1), "k", 2).bytes().to_vec();
    let sound = range(3, field).verify().unwrap();
    assert_eq!(read(&sound).0, 3);
    super::range::TRAP.set(Some(2));
    let verified = range(3, field).verify();
    super::range::TRAP.set(None);
    let verified = verified.unwrap();
    let read: Vec<usize> = verified.entries().iter().map(|entry| entry.changes.len()).collect();
    assert_eq!(read, [1, 0, 0], "nothing more of the frame is read ahead");
    for (entry, expected) in verified.entries().iter().zip(sound.entries()) {
        assert_eq!((entry.chain, &entry.content), (expected.chain, &expected.content));
    }
}
