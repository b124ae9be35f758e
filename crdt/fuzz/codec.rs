//! Any bytes as a change: never a panic; and what the codec accepts, Automerge reads and writes again to the same
//! bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use tombolo_crdt::FeedId;
use tombolo_crdt::entity::{Applied, Change, Clock, EntityState, Provenance};

const ACTOR: [u8; 16] = [1; 16];

/// Puts contents into a frame with the right length and checksum: no fuzzer guesses a hash.
fn frame(contents: &[u8]) -> Vec<u8> {
    let mut hashed = vec![1];
    let mut len = contents.len();
    while len >= 0x80 {
        hashed.push(len as u8 | 0x80);
        len >>= 7;
    }
    hashed.push(len as u8);
    hashed.extend_from_slice(contents);
    [&[0x85, 0x6f, 0x4a, 0x83], &Sha256::digest(&hashed)[..4], &hashed].concat()
}

fuzz_target!(|data: &[u8]| {
    let actor = FeedId::from_bytes(ACTOR);
    let Some((how, rest)) = data.split_first() else { return };
    let bytes = match how % 4 {
        0 => rest.to_vec(),
        1 => frame(rest),
        // No dependencies, the right actor; what follows is numbers, actors and columns.
        _ => frame(&[&[0, 16], &ACTOR[..], rest].concat()),
    };
    let Ok(change) = Change::parse(&bytes, actor) else { return };
    assert_eq!(change.bytes(), bytes);
    let theirs = automerge::Change::try_from(bytes.as_slice()).expect("Automerge reads what the codec accepts");
    assert_eq!(&theirs.hash().0, change.hash().as_bytes());
    assert_eq!(automerge::Change::from(theirs.decode()).raw_bytes(), bytes, "one change, one encoding");
    let mut state = EntityState::new();
    if state.gate(&change, &Clock::new()).is_ok() {
        assert_eq!(state.apply(&change, &Clock::new(), &Provenance::default(), 1), Applied::Applied);
        let row = state.encode();
        assert_eq!(EntityState::decode(&row).expect("a row is read back").encode(), row);
        let _ = (state.view_bytes(), state.conflicts(), state.contribution("c", "e"), state.flags());
    }
});
