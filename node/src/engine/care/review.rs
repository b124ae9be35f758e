//! Findings of a review, as tests that fail.

use std::collections::BTreeSet;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use redb::backends::InMemoryBackend;
use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::{EntityState, Write};
use tombolo_crdt::feed::VerifiedRange;
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::Contact;

use super::*;
use crate::engine::rows::Rows;
use crate::engine::{
    Command, Engine, EngineConfig, EntityWrite, Expect, Input, Now, Output, Reply, ReplyTo, WriteCommand,
};
use crate::store::{Endless, Store, StoreOptions};

const WALL: u64 = 1_800_000_000_000;

struct Bed {
    engine: Engine,
    space: SpaceId,
    mono: Duration,
}

impl Bed {
    fn new() -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let options = StoreOptions { reserve_bytes: Some(0), create: true, ..StoreOptions::new("memory") };
        let store = Store::open_with_backend(|| Ok(InMemoryBackend::new()), Endless, options).unwrap();
        let contact = Contact { name: "n".to_owned(), addrs: Vec::new() };
        let mut engine = Engine::open(store, EngineConfig { key, contact, seed: [5; 32] }).unwrap();
        let founder = Box::new(SigningKey::from_bytes(&[4; 32]));
        let command = Command::CreateSpace { name: "s".to_owned(), founder };
        let out =
            engine.step(Now { mono: Duration::ZERO, wall_millis: WALL }, vec![Input::Command(ReplyTo(1), command)]);
        let space = out.list.into_iter().find_map(|out| match out {
            Output::Reply(_, Reply::Created(Ok(space))) => Some(space),
            _ => None,
        });
        Self { engine, space: space.unwrap(), mono: Duration::from_millis(1) }
    }

    fn step(&mut self, inputs: Vec<Input>) {
        self.mono += Duration::from_millis(1);
        let _ = self.engine.step(Now { mono: self.mono, wall_millis: WALL }, inputs);
    }

    fn write(&mut self, id: &str, values: &[String]) {
        let write = |value: &String| EntityWrite {
            collection: "x".to_owned(),
            id: id.to_owned(),
            expect: Expect::Any,
            write: Write::Put { value: Json::parse(value.as_bytes()).unwrap(), base: None },
        };
        let writes = values.iter().map(write).collect();
        let command = WriteCommand { space: self.space, writes, atomic: false, idempotency: None, trace: None };
        self.step(vec![Input::Command(ReplyTo(2), Command::Write(command))]);
    }

    fn row(&self, id: &str) -> EntityState {
        let no = self.engine.spaces[&self.space].row.no;
        let snapshot = self.engine.reader().snapshot().unwrap();
        EntityState::decode(&snapshot.row(no, "x", id).unwrap().unwrap()).unwrap()
    }

    fn care(&mut self) -> &mut Care {
        &mut self.engine.spaces.get_mut(&self.space).unwrap().care
    }

    /// Takes ranges in one step, as from a peer; or only tries what is held.
    fn take(&mut self, ranges: Vec<VerifiedRange>, rot: Option<&str>) {
        let Engine { store, key, node, pasts, hlc_last, hlc_seen, counters, spaces, .. } = &mut self.engine;
        let batch = store.begin().unwrap();
        let now = Now { mono: self.mono, wall_millis: WALL };
        let rows = Rows::default();
        let unsealed = BTreeSet::new();
        let mut work = Work { batch, rows, pasts, key, node: *node, now, hlc_last, hlc_seen, counters, unsealed };
        let space = spaces.get_mut(&self.space).unwrap();
        if let Some(id) = rot {
            work.batch.put_row(space.row.no, "x", id, vec![1; 64]).unwrap();
            space.care.frozen.insert(("x".to_owned(), id.to_owned()), "its history is damaged".to_owned());
        }
        let mut taken = Taken::default();
        for range in ranges {
            work.take_range(space, range).unwrap();
        }
        work.drain_held(space, &mut taken).unwrap();
        let Work { mut batch, rows, .. } = work;
        rows.flush(&mut batch, spaces).unwrap();
        batch.commit().unwrap();
    }
}

/// A suspect that waits its turn is built anew from where its chain ended when it was looked for, although a newer
/// suspect has moved the mark that should tell that it was written meanwhile.
#[test]
fn a_row_that_is_written_while_it_waits_for_its_turn_keeps_the_write() {
    let mut bed = Bed::new();
    for id in ["a", "b", "c"] {
        bed.write(id, &[r#"{"n":1}"#.to_owned()]);
    }
    let peer = NodeId::from_bytes([8; 32]);
    for id in ["a", "b"] {
        bed.care().suspect(("x".to_owned(), id.to_owned()), Doubt::Differs(peer));
    }
    // The newest changes of both are found, and a is dealt with.
    bed.step(vec![Input::Timer]);
    assert_eq!(bed.care().suspects.keys().map(|name| name.1.as_str()).collect::<Vec<_>>(), ["b"]);
    // b is written (care is not due in this very step), and c comes under suspicion.
    bed.care().next = Some(Duration::from_secs(3600));
    bed.write("b", &[r#"{"n":2}"#.to_owned()]);
    assert_eq!(bed.row("b").view_bytes(), br#"{"n":2}"#);
    bed.care().suspect(("x".to_owned(), "c".to_owned()), Doubt::Differs(peer));
    for _ in 0..5 {
        bed.step(vec![Input::Timer]);
    }
    let view = String::from_utf8(bed.row("b").view_bytes()).unwrap();
    assert_eq!(view, r#"{"n":2}"#, "an acknowledged write is gone");
}

/// A member may say of any name that it has a row of it.
#[test]
fn what_a_peer_invents_is_not_told_in_the_status() {
    let mut bed = Bed::new();
    bed.write("a", &[r#"{"n":1}"#.to_owned()]);
    let ghost = ("\u{1b}[2Jx".to_owned(), "never\nwritten".to_owned());
    bed.care().suspect(ghost, Doubt::Differs(NodeId::from_bytes([8; 32])));
    for _ in 0..3 {
        bed.step(vec![Input::Timer]);
    }
    assert_eq!(bed.care().disputed.keys().collect::<Vec<_>>(), Vec::<&Name>::new());
}

/// An audit meets a damaged row: the sums are right all the time, and right after it is built anew.
#[test]
fn an_audit_over_a_damaged_row_leaves_the_sums_right() {
    let mut bed = Bed::new();
    for id in ["a", "b", "c"] {
        bed.write(id, &[r#"{"n":1}"#.to_owned()]);
    }
    let before = bed.engine.spaces[&bed.space].row.sums.rows;
    bed.take(Vec::new(), Some("b"));
    bed.care().frozen.clear();
    let frontier = bed.engine.spaces[&bed.space].frontier_digest();
    let mono = bed.mono;
    bed.care().audit.ask(NodeId::from_bytes([8; 32]), frontier, mono);
    bed.care().next = Some(Duration::ZERO);
    for _ in 0..4 {
        bed.step(vec![Input::Timer]);
    }
    let corrected = bed.care().counters.sums_corrected;
    // Now somebody reads it.
    bed.care().damaged("x", "b");
    for _ in 0..4 {
        bed.step(vec![Input::Timer]);
    }
    assert_eq!(bed.row("b").view_bytes(), br#"{"n":1}"#);
    let after = bed.engine.spaces[&bed.space].row.sums.rows;
    assert!(after == before && corrected == 0, "corrected {corrected} times; right afterwards: {}", after == before);
}

/// "Frozen: never served, never written."
#[test]
fn a_frozen_entity_is_not_written() {
    let mut bed = Bed::new();
    bed.write("a", &[r#"{"n":1}"#.to_owned()]);
    bed.write("a", &[r#"{"n":2}"#.to_owned()]);
    let (feed, _) = bed.row("a").clock().iter().next().map(|(feed, mark)| (*feed, *mark)).unwrap();
    let batch = bed.engine.store.begin().unwrap();
    let mut batch = batch;
    let mut row = batch.entry(feed, 1).unwrap().unwrap();
    row.bytes = vec![0];
    batch.put_entry(feed, 1, &row).unwrap();
    batch.commit().unwrap();
    bed.care().suspect(("x".to_owned(), "a".to_owned()), Doubt::Differs(NodeId::from_bytes([8; 32])));
    for _ in 0..3 {
        bed.step(vec![Input::Timer]);
    }
    assert_eq!(bed.care().frozen.len(), 1);
    bed.write("a", &[r#"{"n":3}"#.to_owned()]);
    assert_eq!(bed.row("a").view_bytes(), br#"{"n":2}"#, "a frozen entity was written");
}
