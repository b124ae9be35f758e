//! A text that somebody really wrote: the LaTeX source of Kleppmann and Beresford's "A conflict-free replicated JSON
//! datatype" in 259,778 edits, as the crate `loro-internal` 1.8.1 (MIT licence) carries it in
//! `benches/automerge-paper.json.gz`.
//!
//! `trace.bin.gz` has the same edits: per edit LEB128 numbers for the way from where the one before ended (zigzag), the
//! characters that are deleted, the bytes that are inserted, and these.

use std::io::Read as _;

use automerge::transaction::Transactable;
use automerge::{ObjType, ROOT, ReadDoc};
use flate2::read::GzDecoder;
use tombolo_crdt::json::Json;

use crate::choices::Choices;
use crate::compare;
use crate::history::History;

/// Edits that go into one change: what somebody types in a few seconds.
const EDITS_PER_CHANGE: usize = 20;

/// One edit: where, how many characters are deleted there, and what comes in their place.
struct Edit {
    at: usize,
    deleted: usize,
    inserted: String,
}

/// The first edits.
fn edits(count: usize) -> Vec<Edit> {
    let packed = include_bytes!("trace.bin.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    let (mut rest, mut cursor, mut edits) = (bytes.as_slice(), 0_i64, Vec::new());
    while !rest.is_empty() && edits.len() < count {
        let [way, deleted, length] = [0; 3].map(|_| number(&mut rest));
        let (inserted, behind) = rest.split_at(usize::try_from(length).unwrap());
        rest = behind;
        let at = cursor + ((way >> 1) as i64 ^ -((way & 1) as i64));
        let inserted = String::from_utf8(inserted.to_vec()).unwrap();
        cursor = at + inserted.chars().count() as i64;
        edits.push(Edit { at: usize::try_from(at).unwrap(), deleted: usize::try_from(deleted).unwrap(), inserted });
    }
    edits
}

fn number(rest: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, behind) = rest.split_first().unwrap();
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return number;
        }
    }
}

/// Types them and compares the text with Automerge's and with one that is cut and pasted without any of it. Returns it.
fn typed(count: usize) -> String {
    let edits = edits(count);
    let choices = &mut Choices::Seed(1);
    let mut history = History::new(2, choices);
    let text = history.nodes[0].doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    history.commit(0);
    let mut plain = Vec::new();
    for some in edits.chunks(EDITS_PER_CHANGE) {
        for Edit { at, deleted, inserted } in some {
            let doc = &mut history.nodes[0].doc;
            doc.splice_text(&text, *at, deleted.cast_signed(), inserted).unwrap();
            plain.splice(*at..at + deleted, inserted.chars());
        }
        history.commit(0);
    }
    let plain: String = plain.into_iter().collect();
    assert_eq!(history.nodes[0].doc.text(&text).unwrap(), plain);
    compare::check(&mut history, 0);
    let shown = [("text".to_owned(), Json::String(plain.clone()))].into();
    assert_eq!(history.nodes[0].state.view(), Json::Object(shown));
    // Whoever gets the changes has the same row, from whatever order they allow.
    let news = history.news(1, 0);
    history.deliver(1, &news);
    assert!(history.nodes[0].state == history.nodes[1].state);
    plain
}

#[test]
fn a_paper_is_typed_as_it_was() {
    assert_eq!(typed(10_000).len(), 6_980);
}

/// In release mode: a minute.
#[test]
#[ignore = "long: cargo test --release -p tombolo-crdt --test oracle -- --ignored a_whole_paper"]
fn a_whole_paper_is_typed_as_it_was() {
    assert_eq!(typed(usize::MAX).len(), 104_852);
}
