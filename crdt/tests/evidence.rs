//! Why no byte from outside may reach Automerge: chunks of under a hundred bytes that bring Automerge 0.12 down, each in a
//! process of its own with limits, and what this crate says to them. By hand: `cargo test --test evidence -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tombolo_crdt::FeedId;
use tombolo_crdt::entity::{Change, ChangeError};

const CHUNK: &str = "TOMBOLO_EVIDENCE_CHUNK";

/// A change of actor 01…01: `columns` as specification and content.
fn chunk(columns: &[(u8, &[u8])]) -> Vec<u8> {
    let mut contents = [[0, 16].as_slice(), &[1; 16], &[1, 1, 0, 0, 0]].concat();
    contents.push(u8::try_from(columns.len()).unwrap());
    for (spec, content) in columns {
        // Specifications from 128 on take two bytes; none is used here.
        contents.extend([*spec, u8::try_from(content.len()).unwrap()]);
    }
    columns.iter().for_each(|(_, content)| contents.extend_from_slice(content));
    let hashed = [[1, u8::try_from(contents.len()).unwrap()].as_slice(), &contents].concat();
    [[0x85, 0x6f, 0x4a, 0x83].as_slice(), &Sha256::digest(&hashed)[..4], &hashed].concat()
}

/// "Put null under k", `count` (signed LEB128) times.
fn puts(count: &[u8], insert: &[u8]) -> Vec<u8> {
    let run = |entry: &[u8]| [count, entry].concat();
    chunk(&[(0x15, &run(b"\x01k")), (0x34, insert), (0x42, &run(&[1])), (0x56, &run(&[0])), (0x70, &run(&[0]))])
}

/// Runs [`bare_automerge_takes_it`] with 5 s of processor time and 2 GB of memory. Whether it came through.
fn automerge_survives(chunk: &[u8]) -> bool {
    let program = std::env::current_exe().unwrap();
    let limited = format!(
        "ulimit -t 5; ulimit -v 2000000; exec '{}' --ignored --exact bare_automerge_takes_it",
        program.display()
    );
    let output = Command::new("sh").args(["-c", &limited]).env(CHUNK, HEXLOWER.encode(chunk)).output().unwrap();
    output.status.success()
}

#[test]
#[ignore = "the child of the test below"]
fn bare_automerge_takes_it() {
    let Ok(hex) = std::env::var(CHUNK) else { return };
    let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
    // An error is a good answer; a panic, a loop or too much memory is none.
    if let Ok(change) = automerge::Change::try_from(bytes.as_slice()) {
        let operations = change.decode().operations.len();
        assert_eq!(operations, change.len());
    }
}

#[test]
#[ignore = "spends seconds and gigabytes in children"]
fn what_brings_automerge_down_is_refused_here() {
    let actor = FeedId::from_bytes([1; 16]);
    let good = puts(&[0x7f], &[1]);
    assert!(automerge_survives(&good));
    assert!(Change::parse(&good, actor).is_ok());
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0];
    let many = [0x80, 0xc2, 0xd7, 0x2f];
    let rest: [(u8, &[u8]); 4] = [(0x34, &[1]), (0x42, &[0x7f, 1]), (0x56, &[0x7f, 0]), (0x70, &[0x7f, 0])];
    let object = |actor: &[u8], counter: &[u8]| {
        let columns: [(u8, &[u8]); 3] = [(0x01, actor), (0x02, counter), (0x15, b"\x7f\x01k")];
        chunk(&[columns.as_slice(), &rest].concat())
    };
    for (what, bytes, error) in [
        ("A4: actor 5 of 1", object(&[0x7f, 5], &[0x7f, 1]), ChangeError::Undecodable),
        ("A5: counter 2³²", object(&[0x7f, 0], &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x10]), ChangeError::Range),
        ("A6: 2⁶² operations", puts(&huge, &huge_unsigned()), ChangeError::TooLarge),
        ("A7: 10⁸ operations", puts(&many, &many), ChangeError::TooLarge),
    ] {
        assert_eq!(Change::parse(&bytes, actor), Err(error), "{what}");
        assert!(!automerge_survives(&bytes), "{what}: Automerge takes it");
    }
}

/// 2⁶², unsigned.
fn huge_unsigned() -> [u8; 9] {
    [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]
}
