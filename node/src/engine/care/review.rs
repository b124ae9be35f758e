//! Findings of a review, as tests that fail.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use redb::backends::InMemoryBackend;
use tombolo_crdt::entity::{Change, EntityState, Provenance, Write, Writer};
use tombolo_crdt::entry::{Body, ENTRY_VERSION, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Opening, Range, Signature, VerifiedRange, chain, seal_message};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{Hlc, SpaceId};

use super::*;
use crate::engine::rows::Rows;
use crate::engine::{
    Command, Engine, EngineConfig, EntityWrite, Expect, Input, Now, Output, Reply, ReplyTo, WriteCommand,
};
use crate::store::{Endless, Store, StoreOptions};

const WALL: u64 = 1_800_000_000_000;

struct Bed {
    engine: Engine,
    key: SigningKey,
    space: SpaceId,
    mono: Duration,
}

impl Bed {
    fn new() -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let options = StoreOptions { reserve_bytes: Some(0), create: true, ..StoreOptions::new("memory") };
        let store = Store::open_with_backend(|| Ok(InMemoryBackend::new()), Endless, options).unwrap();
        let contact = Contact { name: "n".to_owned(), addrs: Vec::new() };
        let mut engine = Engine::open(store, EngineConfig { key: key.clone(), contact, seed: [5; 32] }).unwrap();
        let founder = Box::new(SigningKey::from_bytes(&[4; 32]));
        let command = Command::CreateSpace { name: "s".to_owned(), founder };
        let out = engine.step(Now { mono: Duration::ZERO, wall_millis: WALL }, vec![Input::Command(ReplyTo(1), command)]);
        let space = out.list.into_iter().find_map(|out| match out {
            Output::Reply(_, Reply::Created(Ok(space))) => Some(space),
            _ => None,
        });
        Self { engine, key, space: space.unwrap(), mono: Duration::from_millis(1) }
    }

    fn step(&mut self, inputs: Vec<Input>) {
        self.mono += Duration::from_millis(1);
        self.engine.step(Now { mono: self.mono, wall_millis: WALL }, inputs);
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

    /// A feed of another epoch of this node: each item is (entity, its state there, value).
    fn range(&self, epoch: u64, items: &[(&str, &EntityState)], dep: Option<tombolo_crdt::ChangeHash>) -> VerifiedRange {
        let opening = Opening::new(self.engine.node, self.space, epoch, FeedKind::Data, Vec::new());
        let feed = opening.feed();
        let mut last = opening.chain();
        let mut entries = Vec::new();
        for (seq, (id, state)) in (1..).zip(items) {
            let mut state = (*state).clone();
            if let Some(_dep) = dep {
                // Depends on a change that nobody has: made on top of a change that is never sent.
                let mut writer = Writer::new(&state, tombolo_crdt::FeedId::from_bytes([99; 16]), Hlc::from_millis(WALL));
                writer.write(&Write::MergePatch(Json::parse(br#"{"never":1}"#).unwrap())).unwrap();
                state = writer.finish(&Provenance::default(), 1).unwrap().unwrap().1;
            }
            let mut writer = Writer::new(&state, feed, Hlc::from_millis(WALL));
            writer.write(&Write::MergePatch(Json::parse(br#"{"by":"b"}"#).unwrap())).unwrap();
            let (change, _): (Change, _) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
            let change = EntityChange {
                collection: "x".to_owned(),
                id: (*id).to_owned(),
                origin: 0,
                change: change.bytes().to_vec(),
            };
            let entry = Entry {
                version: ENTRY_VERSION,
                seq,
                hlc: Hlc::from_millis(WALL),
                rules: (seq == 1).then(|| self.engine.rules_heads(self.space).unwrap()),
                deps: Vec::new(),
                trace: None,
                idempotency: None,
                body: Body::Data(vec![change]),
                ext: Vec::new(),
            };
            let bytes = entry.encode();
            last = chain(feed, seq, last, &bytes);
            entries.push(bytes.into());
        }
        let end = entries.len() as u64;
        let seal = Signature::sign(&self.key, &seal_message(feed, end, last));
        Range { opening: opening.encode(), from: 1, previous: opening.chain(), entries, seal }.verify().unwrap()
    }

    /// Takes ranges in one step, as from a peer; or only tries what is held. How long it took.
    fn take(&mut self, ranges: Vec<VerifiedRange>, rot: Option<&str>) -> Duration {
        let begun = Instant::now();
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
        begun.elapsed()
    }
}

/// "Freezes that entity alone": entries about other entities must still be settled.
#[test]
fn a_frozen_entity_does_not_stop_the_feeds_that_write_to_it() {
    let mut bed = Bed::new();
    for id in ["e5", "e6"] {
        bed.write(id, &[r#"{"n":1}"#.to_owned()]);
    }
    let (e5, e6) = (bed.row("e5"), bed.row("e6"));
    let range = bed.range(77, &[("e5", &e5), ("e6", &e6)], None);
    bed.take(vec![range], Some("e5"));
    assert_eq!(bed.row("e6").view_bytes(), br#"{"by":"b","n":1}"#, "the change to e6 is held");
}

/// What is held for a change that never comes costs a walk over the whole chain of its entity with every batch that
/// arrives, per feed that has such an entry.
#[test]
fn what_is_held_for_a_change_costs_nothing_until_that_comes() {
    let cost = |changes: usize| {
        let mut bed = Bed::new();
        let values: Vec<String> = (0..changes).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
        values.chunks(500).for_each(|some| bed.write("e", some));
        let state = bed.row("e");
        assert_eq!(state.clock().iter().next().unwrap().1.seq, changes as u64);
        let never = tombolo_crdt::ChangeHash::from_bytes([1; 32]);
        let ranges = (100..120).map(|epoch| bed.range(epoch, &[("e", &state)], Some(never))).collect();
        bed.take(ranges, None);
        assert_eq!(bed.engine.held(bed.space).unwrap().0, 20);
        // Nothing new comes.
        bed.take(Vec::new(), None)
    };
    let (few, many) = (cost(50), cost(3_200));
    println!("20 held, of an entity of 50 changes: {few:?}; of 3,200: {many:?}");
    assert!(many < few * 8, "of an entity of 50 changes: {few:?}; of 3,200: {many:?}");
}

impl Bed {
    /// A feed of another epoch with one change to `e`, made on `state`.
    fn change_on(&self, epoch: u64, state: &EntityState) -> (VerifiedRange, Change) {
        let opening = Opening::new(self.engine.node, self.space, epoch, FeedKind::Data, Vec::new());
        let feed = opening.feed();
        let mut writer = Writer::new(state, feed, Hlc::from_millis(WALL));
        let value = Json::parse(format!(r#"{{"of":{epoch}}}"#).as_bytes()).unwrap();
        writer.write(&Write::Put { value, base: None }).unwrap();
        let (made, _) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
        let (collection, id) = ("x".to_owned(), "e".to_owned());
        let change = EntityChange { collection, id, origin: 0, change: made.bytes().to_vec() };
        let entry = Entry {
            version: ENTRY_VERSION,
            seq: 1,
            hlc: Hlc::from_millis(WALL),
            rules: Some(self.engine.rules_heads(self.space).unwrap()),
            deps: Vec::new(),
            trace: None,
            idempotency: None,
            body: Body::Data(vec![change]),
            ext: Vec::new(),
        };
        let bytes = entry.encode();
        let last = chain(feed, 1, opening.chain(), &bytes);
        let seal = Signature::sign(&self.key, &seal_message(feed, 1, last));
        let entries = vec![bytes.into()];
        let range = Range { opening: opening.encode(), from: 1, previous: opening.chain(), entries, seal };
        (range.verify().unwrap(), made)
    }
}

/// One damaged entry in the history of an entity, and a change from behind it: the step must not fail, or nothing that
/// peers send is ever taken again.
#[test]
fn a_damaged_entry_stops_nothing_but_its_entity() {
    let mut bed = Bed::new();
    bed.write("e", &[r#"{"n":0}"#.to_owned()]);
    let early = bed.row("e");
    for n in 1..6 {
        bed.write("e", &[format!(r#"{{"n":{n}}}"#)]);
    }
    let (feed, _) = bed.row("e").clock().iter().next().map(|(feed, mark)| (*feed, *mark)).unwrap();
    let (range, _) = bed.change_on(50, &early);
    let Engine { store, key, node, pasts, hlc_last, hlc_seen, counters, spaces, .. } = &mut bed.engine;
    let batch = store.begin().unwrap();
    let now = Now { mono: bed.mono, wall_millis: WALL };
    let (rows, unsealed) = (Rows::default(), BTreeSet::new());
    let mut work = Work { batch, rows, pasts, key, node: *node, now, hlc_last, hlc_seen, counters, unsealed };
    let mut row = work.batch.entry(feed, 4).unwrap().unwrap();
    row.bytes = vec![0];
    work.batch.put_entry(feed, 4, &row).unwrap();
    let taken = work.take_range(spaces.get_mut(&bed.space).unwrap(), range);
    assert!(taken.is_ok(), "the step fails: {:?}", taken.err());
}

/// As many heads as siblings, and one change on all of them but one: a hash of all heads per change walked over.
#[test]
fn a_change_with_many_dependencies_costs_what_it_is_long() {
    let cost = |siblings: u64| {
        let mut bed = Bed::new();
        let empty = EntityState::new();
        let made: Vec<_> = (100..100 + siblings).map(|epoch| bed.change_on(epoch, &empty)).collect();
        let mut state = EntityState::new();
        for (_, change) in made.iter().skip(1) {
            state.apply(change, &tombolo_crdt::entity::Clock::new(), &Provenance::default(), 1);
        }
        let (last, change) = bed.change_on(99, &state);
        assert_eq!(change.deps().len() as u64, siblings - 1);
        bed.take(made.into_iter().map(|(range, _)| range).collect(), None);
        // As after a restart, or with more siblings than clocks are remembered (8,192).
        bed.engine.pasts = crate::engine::rows::Pasts::default();
        let took = bed.take(vec![last], None);
        assert_eq!(bed.engine.held(bed.space).unwrap().0, 0);
        took
    };
    let (few, many) = (cost(150), cost(1_200));
    println!("150 siblings: {few:?}; 1,200: {many:?}");
    assert!(many < few * 8 * 3, "150 siblings: {few:?}; 1,200: {many:?}");
}
