//! Tests of how entries of others are judged and held, on an engine whose store is in memory.

mod bounded;
mod comparing;
mod damage;
mod full;
mod growth;
mod judging;
mod looks;
mod meeting;
mod planning;
mod poison;
mod rotten;
mod sending;
mod shared;
mod strangers;
mod talking;
mod verifying;
mod waiting;
mod walks;

use std::collections::BTreeSet;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use redb::backends::InMemoryBackend;
use tombolo_crdt::entity::{Change, EntityState, Provenance, Write, Writer};
use tombolo_crdt::entry::{Body, Dep, ENTRY_VERSION, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Opening, Range, Signature, VerifiedRange, chain, seal_message};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{FeedId, Hlc, SpaceId};

use super::peers::conn::Conn;
use super::peers::session::Session;
use super::space::Space;
use super::space::rows::Rows;
use super::space::settle::Taken;
use super::{
    Command, ConnId, Engine, EngineConfig, EntityWrite, Expect, HeldStatus, Input, Left, Now, Output, Outputs, Reply,
    ReplyTo, Work, WriteCommand,
};
use crate::chain::Entries;
use crate::store::{Endless, Store, StoreOptions};

const WALL: u64 = 1_800_000_000_000;

/// An engine with a space, whose node also writes elsewhere, in other epochs.
struct Bed {
    engine: Engine,
    key: SigningKey,
    space: SpaceId,
    mono: Duration,
}

/// A feed of another epoch of the node.
struct Pen {
    key: SigningKey,
    opening: Opening,
    entries: Vec<Entry>,
}

fn put(text: &str) -> Write {
    Write::Put { value: Json::parse(text.as_bytes()).unwrap(), base: None }
}

fn patch(text: &str) -> Write {
    Write::MergePatch(Json::parse(text.as_bytes()).unwrap())
}

impl Bed {
    fn new() -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let options = StoreOptions { reserve_bytes: Some(0), create: true, ..StoreOptions::new("memory") };
        let store = Store::open_with_backend(|| Ok(InMemoryBackend::new()), Endless, options).unwrap();
        let contact = Contact { name: "n".to_owned(), addrs: Vec::new() };
        let mut engine = Engine::open(
            store,
            EngineConfig { key: key.clone(), contact, seed: [5; 32], step_work: crate::engine::STEP_WORK_MAX },
        )
        .unwrap();
        let founder = Box::new(SigningKey::from_bytes(&[4; 32]));
        let command = Command::CreateSpace { name: "s".to_owned(), founder };
        let now = Now { mono: Duration::ZERO, wall_millis: WALL };
        let out = engine.step(now, vec![Input::Command(ReplyTo(1), command)]);
        let space = out.list.into_iter().find_map(|out| match out {
            Output::Reply(_, Reply::Created(Ok(space))) => Some(space),
            _ => None,
        });
        Self { engine, key, space: space.unwrap(), mono: Duration::from_millis(1) }
    }

    /// Puts values to an entity of collection `x`, one entry each.
    fn write(&mut self, id: &str, values: impl IntoIterator<Item = usize>) {
        let reply = self.command(id, values);
        assert!(matches!(&reply, Reply::Written(Ok(outcome)) if outcome.writes.iter().all(Result::is_ok)), "{reply:?}");
    }

    /// What is answered.
    fn command(&mut self, id: &str, values: impl IntoIterator<Item = usize>) -> Reply {
        let write = |value: usize| EntityWrite {
            collection: "x".to_owned(),
            id: id.to_owned(),
            expect: Expect::Any,
            write: put(&format!(r#"{{"n":{value}}}"#)),
        };
        let writes = values.into_iter().map(write).collect();
        let command = WriteCommand { space: self.space, writes, atomic: false, idempotency: None, trace: None };
        self.mono += Duration::from_millis(1);
        let out = self.carry_out(Input::Command(ReplyTo(2), Command::Write(command)));
        let reply = |out| if let Output::Reply(_, reply) = out { Some(reply) } else { None };
        out.into_iter().find_map(reply).unwrap()
    }

    fn row(&self, id: &str) -> EntityState {
        let space_no = self.engine.memory.spaces[&self.space].row.space_no;
        let reading = self.engine.reader().reading().unwrap();
        EntityState::decode(&reading.row(space_no, "x", id).unwrap().unwrap()).unwrap()
    }

    fn view(&self, id: &str) -> String {
        String::from_utf8(self.row(id).view_bytes()).unwrap()
    }

    fn held(&self) -> Vec<HeldStatus> {
        self.engine.held_by_feed(self.space)
    }

    /// The feed that the node writes now.
    fn own_feed(&self) -> FeedId {
        self.engine.memory.spaces[&self.space].own_data_feed
    }

    fn pen(&self, epoch: u64) -> Pen {
        let opening = Opening::new(self.engine.own.node, self.space, epoch, FeedKind::Data, Vec::new());
        Pen { key: self.key.clone(), opening, entries: Vec::new() }
    }

    /// An entry of a pen with one change to an entity.
    fn entry(&self, pen: &Pen, id: &str, change: &Change) -> Entry {
        let (collection, id) = ("x".to_owned(), id.to_owned());
        let change = EntityChange { collection, id, origin: 0, change: change.bytes().to_vec() };
        let seq = pen.entries.len() as u64 + 1;
        Entry {
            version: ENTRY_VERSION,
            seq,
            hlc: Hlc::from_millis(WALL),
            rules: (seq == 1).then(|| self.engine.rules_heads(self.space).unwrap()),
            deps: Vec::new(),
            trace: None,
            idempotency: None,
            body: Body::Data(vec![change]),
            ext: Vec::new(),
        }
    }

    /// Works on the store in one transaction, as a step does.
    fn work<T>(&mut self, what: impl FnOnce(&mut Work<'_>, &mut Space) -> T) -> T {
        let Engine { store, own, memory, health, pasts, looks, hlc_last, hlc_seen, counters, .. } = &mut self.engine;
        let spaces = &mut memory.spaces;
        let batch = store.begin().unwrap();
        looks.begin_step();
        let now = Now { mono: self.mono, wall_millis: WALL };
        let (rows, entries, unsealed) = (Rows::default(), Entries::shared(), BTreeSet::new());
        let budget = super::budget::Budget::new(super::STEP_WORK_MAX);
        let poison = &mut health.poison;
        let mut work = Work {
            batch,
            rows,
            entries,
            pasts,
            looks,
            poison,
            own,
            full: None,
            now,
            hlc_last,
            hlc_seen,
            counters,
            unsealed,
            budget,
            undrained: false,
        };
        let done = what(&mut work, spaces.get_mut(&self.space).unwrap());
        let Work { mut batch, rows, poison, .. } = work;
        rows.flush(&mut batch, spaces, poison).unwrap();
        batch.commit().unwrap();
        // Nobody is connected who would have to be told.
        spaces.get_mut(&self.space).unwrap().moves.clear();
        done
    }

    /// Takes ranges in one step, as from a peer; or only tries what is held.
    fn take(&mut self, ranges: impl IntoIterator<Item = VerifiedRange>) {
        self.work(|work, space| {
            let mut taken = Taken::default();
            // However much there is: what is left over is for a test of its own.
            for mut range in ranges {
                while !range.entries().is_empty() {
                    work.take_range(space, &mut range, &mut taken).unwrap();
                    work.budget = super::budget::Budget::new(super::STEP_WORK_MAX);
                }
            }
            while !space.held.is_idle() {
                work.drain_held(space, &mut taken).unwrap();
                work.budget = super::budget::Budget::new(super::STEP_WORK_MAX);
            }
        });
        self.engine.check_invariants();
    }

    /// A connection to another process of this node, with a session.
    fn connected(&mut self) -> ConnId {
        let mut conn = Conn::new(self.engine.own.node, false, "here".to_owned(), WALL, 0);
        conn.sessions.insert(self.space, Session::default());
        self.engine.memory.conns.insert(ConnId(1), conn);
        ConnId(1)
    }

    /// One step, a millisecond after the last.
    fn given(&mut self, inputs: Vec<Input>) -> Outputs {
        self.mono += Duration::from_millis(1);
        self.engine.step(Now { mono: self.mono, wall_millis: WALL }, inputs)
    }

    /// A step, and those that its looks and what it leaves over lead to.
    fn carry_out(&mut self, input: Input) -> Vec<Output> {
        let (mut done, mut next) = (Vec::new(), Some(input));
        while let Some(input) = next.take() {
            let out = self.engine.step(Now { mono: self.mono, wall_millis: WALL }, vec![input]);
            next = (out.left != Left::Nothing).then_some(Input::Timer);
            for out in out.list {
                match out {
                    Output::Look(look) => next = Some(Input::Looked(Box::new(look.answer(&|| true)))),
                    out => done.push(out),
                }
            }
        }
        done
    }

    /// So many days, with steps now and then. How many passes over all rows were completed.
    fn pass_by(&mut self, days: u64) -> u64 {
        let before = self.engine.memory.spaces[&self.space].care.counters.scrubs;
        for _ in 0..days * 24 {
            self.mono += Duration::from_secs(3600);
            for _ in 0..4 {
                self.mono += Duration::from_secs(1);
                self.carry_out(Input::Timer);
            }
        }
        self.engine.memory.spaces[&self.space].care.counters.scrubs - before
    }

    /// Spoils what a settled entry says. Returns what it said.
    fn spoil(&mut self, feed: FeedId, seq: u64) -> Vec<u8> {
        self.replace(feed, seq, vec![0])
    }

    fn replace(&mut self, feed: FeedId, seq: u64, bytes: Vec<u8>) -> Vec<u8> {
        self.work(|work, _| {
            let mut row = work.batch.entry(feed, seq).unwrap().unwrap();
            let was = std::mem::replace(&mut row.bytes, bytes);
            work.batch.put_entry(feed, seq, &row).unwrap();
            was
        })
    }
}

impl Pen {
    fn feed(&self) -> FeedId {
        self.opening.feed()
    }

    /// The next change of this feed to an entity in a state.
    fn change(&self, state: &EntityState, write: &Write) -> Change {
        let mut writer = Writer::new(state, self.feed(), Hlc::from_millis(WALL));
        writer.write(write).unwrap();
        writer.finish(&Provenance::default(), 1).unwrap().unwrap().0
    }

    /// The chain hash after the first entries.
    fn chain(&self, entries: usize) -> tombolo_crdt::ChainHash {
        let encoded = self.entries[..entries].iter().map(Entry::encode);
        (1..).zip(encoded).fold(self.opening.chain(), |last, (seq, bytes)| chain(self.feed(), seq, last, &bytes))
    }

    /// An entry that nobody has.
    fn dep_at(&self, seq: u64) -> Dep {
        Dep { feed: self.feed(), seq, chain: self.opening.chain() }
    }

    /// Some of its entries.
    fn part(&self, skip: usize, count: usize) -> VerifiedRange {
        let (feed, last) = (self.feed(), self.chain(skip + count));
        let seal = Signature::sign(&self.key, &seal_message(feed, (skip + count) as u64, last));
        let entries = self.entries[skip..skip + count].iter().map(|entry| entry.encode().into()).collect();
        let (opening, previous) = (self.opening.encode(), self.chain(skip));
        Range { opening, from: skip as u64 + 1, previous, entries, seal }.verify().unwrap()
    }

    /// Its last entry, for others to depend on.
    fn dep(&self) -> Dep {
        Dep { feed: self.feed(), seq: self.entries.len() as u64, chain: self.chain(self.entries.len()) }
    }

    /// All of it.
    fn range(&self) -> VerifiedRange {
        let (feed, last) = (self.feed(), self.chain(self.entries.len()));
        let seal = Signature::sign(&self.key, &seal_message(feed, self.entries.len() as u64, last));
        let entries = self.entries.iter().map(|entry| entry.encode().into()).collect();
        let (opening, previous) = (self.opening.encode(), self.opening.chain());
        Range { opening, from: 1, previous, entries, seal }.verify().unwrap()
    }
}
