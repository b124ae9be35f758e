//! What a one-field change costs from row to row, by the size of the entity, beside what no design could leave out:
//! copying the row and hashing it when it is read and when it is written. And what hostile bytes cost:
//! `cargo bench -p tombolo-crdt --bench row`.

#![expect(clippy::print_stdout, reason = "figures are for people")]

mod timing;

use std::hint::black_box;

use timing::best;
use tombolo_crdt::entity::{Change, EntityState, Provenance, Write, Writer};
use tombolo_crdt::json::Json;
use tombolo_crdt::{FeedId, Hlc};

const FEED: FeedId = FeedId::from_bytes([7; 16]);

fn main() {
    for fields in [8, 100, 1_000, 10_000] {
        let all: Vec<String> = (0..fields).map(|no| format!(r#""field{no}":"text of field {no}""#)).collect();
        one_field(&format!("{fields} fields"), &format!("{{{}}}", all.join(",")));
    }
    for length in [1_000, 10_000] {
        let list = vec!["7"; length].join(",");
        one_field(&format!("a list of {length} numbers"), &format!(r#"{{"field0":"","list":[{list}]}}"#));
    }
    one_field("1 MB in one field", &format!(r#"{{"field0":"","text":"{}"}}"#, "x".repeat(1_000_000)));
    hostile("a list of 60,000 nulls", &format!("[{}]", vec!["null"; 60_000].join(",")));
}

fn clock() -> Hlc {
    Hlc::from_millis(1_800_000_000_000)
}

fn written(state: &EntityState, write: &Write, journal: u64) -> (Change, EntityState) {
    let mut writer = Writer::new(state, FEED, clock());
    writer.write(write).expect("a write");
    writer.finish(&Provenance::default(), journal).expect("a change").expect("something to write")
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).expect("JSON")
}

/// `field0` of an entity with this content is set.
fn one_field(what: &str, content: &str) {
    let (_, state) = written(&EntityState::new(), &Write::Put { value: json(content), base: None }, 1);
    let (change, _) = written(&state, &Write::MergePatch(json(r#"{"field0":"new"}"#)), 2);
    let (row, bytes) = (state.encode(), change.bytes().to_vec());
    let whole = best(|| {
        let mut state = EntityState::decode(&row).expect("a row");
        let before = state.contribution("collection", "id");
        apply(&mut state, &bytes);
        black_box((before, state.contribution("collection", "id"), state.encode()));
    });
    let digests = best(|| {
        for _ in 0..2 {
            black_box(state.contribution("collection", "id"));
        }
    });
    let read = best(|| drop(black_box(EntityState::decode(&row).expect("a row"))));
    let write = best(|| drop(black_box(state.encode())));
    let alone = best(|| drop(black_box(Change::parse(&bytes, FEED).expect("a change"))));
    let floor = best(|| {
        let copy = row.clone();
        black_box((blake3::hash(&row), blake3::hash(&copy)));
    });
    println!(
        "{what}, row of {} bytes: {whole:?}, of it the state digest {digests:?}, reading {read:?}, writing {write:?}, \
         the change alone {alone:?}; \
         copying and hashing the row {floor:?} (× {:.1})",
        row.len(),
        whole.as_secs_f64() / floor.as_secs_f64(),
    );
}

/// Reads the change, lets it through the gate and applies it.
fn apply(state: &mut EntityState, bytes: &[u8]) {
    let change = Change::parse(bytes, FEED).expect("a change");
    let past = state.clock().clone();
    state.gate(&change, &past).expect("passes the gate");
    state.apply(&change, &past, &Provenance::default(), state.journal() + 1);
}

/// A change whose operations are as cheap to send as can be.
fn hostile(what: &str, value: &str) {
    let empty = EntityState::new();
    let put = Write::MergePatch(json(&format!(r#"{{"l":{value}}}"#)));
    let (_, state) = written(&empty, &Write::Put { value: json("{}"), base: None }, 1);
    let (change, _) = written(&state, &put, 2);
    let bytes = change.bytes().to_vec();
    let read = best(|| drop(black_box(Change::parse(&bytes, FEED).expect("a change"))));
    let whole = best(|| {
        let mut state = state.clone();
        apply(&mut state, &bytes);
        black_box(state);
    });
    let per_byte = |time: std::time::Duration| time.as_nanos() as f64 / bytes.len() as f64;
    println!(
        "{what}, {} bytes: read in {read:?} ({:.0} ns per byte), read and applied in {whole:?} ({:.0} ns per byte)",
        bytes.len(),
        per_byte(read),
        per_byte(whole),
    );
}
