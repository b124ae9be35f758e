//! What it costs to read a change and to write one, beside Automerge reading the same bytes:
//! `cargo bench -p tombolo-crdt`.

#![expect(clippy::print_stdout, reason = "figures are for people")]

mod timing;

use timing::best;
use tombolo_crdt::entity::{Change, EntityState, Provenance, Write, Writer};
use tombolo_crdt::json::Json;
use tombolo_crdt::{FeedId, Hlc};

fn main() {
    let ten: Vec<String> = (0..10).map(|no| format!(r#""field{no}":"text {no}""#)).collect();
    compare("one field", r#"{"n":7}"#);
    compare("ten fields", &format!("{{{}}}", ten.join(",")));
    compare("a list of 10,000 numbers", &format!(r#"{{"list":[{}]}}"#, vec!["7"; 10_000].join(",")));
    compare("1 MB of text", &format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000_000)));
}

/// Writes `json` to a new entity and reads the change that this makes.
fn compare(what: &str, json: &str) {
    let feed = FeedId::from_bytes([7; 16]);
    let value = Json::parse(json.as_bytes()).expect("JSON");
    let write = || {
        let empty = EntityState::new();
        let mut writer = Writer::new(&empty, feed, Hlc::from_millis(1_800_000_000_000));
        writer.write(&Write::Put { value: value.clone(), base: None }).expect("a write");
        writer.finish(&Provenance::default(), 1).expect("a change").expect("something to write").0
    };
    let change = write();
    let bytes = change.bytes();
    let written = best(|| assert_eq!(write().hash(), change.hash()));
    let ours = best(|| assert_eq!(Change::parse(bytes, feed).expect("a change").hash(), change.hash()));
    let theirs = best(|| {
        let decoded = automerge::Change::try_from(bytes).expect("a change").decode();
        assert_eq!(decoded.seq, change.seq());
    });
    let times = theirs.as_secs_f64() / ours.as_secs_f64();
    println!(
        "{what}, {} bytes: read in {ours:?}, by Automerge in {theirs:?} (× {times:.1}); planned and written in {written:?}",
        bytes.len()
    );
}
