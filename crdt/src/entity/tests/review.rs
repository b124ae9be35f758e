//! Findings of a review, as tests that fail.

use super::*;
use crate::entity::change::Own;
use crate::entity::doc::{Action, Key, Operation, Value};

fn op(key: &str, pred: Vec<OpId>) -> Operation {
    let (key, action) = (Key::Map(key.to_owned()), Action::Put(Value::Null));
    Operation { obj: OpId::ROOT, key, insert: false, action, pred }
}

/// What a frame's ranges take in memory once they are verified, per byte of the frame: the queue before the engine counts
/// only the bytes ("some eight times").
#[test]
fn ranges_read_ahead_take_memory_in_proportion_to_their_bytes() {
    use crate::entry::{Body, ENTRY_VERSION, EntityChange, Entry};
    use crate::feed::{FeedKind, Opening, Range, Signature, chain, seal_message};
    let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let node = crate::NodeId::from_bytes(key.verifying_key().to_bytes());
    let opening = Opening::new(node, crate::SpaceId::from_bytes([9; 32]), 1, FeedKind::Data, Vec::new());
    let feed = opening.feed();
    let (mut last, mut entries) = (opening.chain(), Vec::new());
    for seq in 1..=32 {
        let ops = (0..1024).map(|_| op("k", Vec::new())).collect();
        let own = Own { actor: feed, seq, start_op: seq * 2000, time: 0, deps: Vec::new(), ops };
        let change = Change::build(own).unwrap().bytes().to_vec();
        let change = EntityChange { collection: "c".into(), id: "e".into(), origin: 0, change };
        let body = Body::Data(vec![change]);
        let hlc = Hlc::from_millis(1);
        let (deps, ext) = (Vec::new(), Vec::new());
        let entry =
            Entry { version: ENTRY_VERSION, seq, hlc, rules: None, deps, trace: None, idempotency: None, body, ext };
        let bytes = entry.encode();
        last = chain(feed, seq, last, &bytes);
        entries.push(bytes.into());
    }
    let seal = Signature::sign(&key, &seal_message(feed, 32, last));
    let range = Range { opening: opening.encode(), from: 1, previous: opening.chain(), entries, seal };
    let wire = range.entry_bytes() + range.opening.len() + 100;
    let verified = range.verify().unwrap();
    let changes = verified.entries().iter().flat_map(|entry| &entry.changes);
    let ops: usize = changes.map(|change| change.as_ref().unwrap().operations()).sum();
    // Without the allocation of each key, some 24 bytes more.
    let memory = ops * size_of::<Operation>();
    println!("{wire} bytes on the wire: {ops} operations, {memory} bytes in memory: {} times", memory / wire);
    assert!(memory <= wire * 16, "{wire} bytes on the wire take {memory}: {} times", memory / wire);
}
