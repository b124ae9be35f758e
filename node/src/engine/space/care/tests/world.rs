//! A node with a space, in memory, whose disk can be reached into.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use redb::backends::InMemoryBackend;
use tombolo_crdt::digest::Sum;
use tombolo_crdt::entity::{EntityState, Write};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{FeedId, NodeId, SpaceId};

use crate::chain::Look;
use crate::engine::space::care::{Care, Doubt};
use crate::engine::{
    Command, Engine, EngineConfig, EntityWrite, Expect, Input, Left, Now, Output, Refusal, Reply, ReplyTo, SpaceStatus,
    WriteCommand,
};
use crate::store::{Batch, Endless, Store, StoreOptions};

const WALL: u64 = 1_800_000_000_000;

/// The node.
pub(super) struct Bed {
    pub(super) engine: Engine,
    pub(super) space: SpaceId,
    pub(super) mono: Duration,
    /// A look that is being made.
    pub(super) look: Option<Box<Look>>,
    /// How many were made.
    pub(super) looks: usize,
}

impl Bed {
    pub(super) fn new() -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let options = StoreOptions { reserve_bytes: Some(0), create: true, ..StoreOptions::new("memory") };
        let store = Store::open_with_backend(|| Ok(InMemoryBackend::new()), Endless, options).unwrap();
        let contact = Contact { name: "n".to_owned(), addrs: Vec::new() };
        let mut engine =
            Engine::open(store, EngineConfig { key, contact, seed: [5; 32], step_work: crate::engine::STEP_WORK_MAX })
                .unwrap();
        let founder = Box::new(SigningKey::from_bytes(&[4; 32]));
        let command = Command::CreateSpace { name: "s".to_owned(), founder };
        let out =
            engine.step(Now { mono: Duration::ZERO, wall_millis: WALL }, vec![Input::Command(ReplyTo(1), command)]);
        let space = out.list.into_iter().find_map(|out| match out {
            Output::Reply(_, Reply::Created(Ok(space))) => Some(space),
            _ => None,
        });
        Self { engine, space: space.unwrap(), mono: Duration::from_millis(1), look: None, looks: 0 }
    }

    /// A node with some entities, each written once.
    pub(super) fn with(ids: &[&str]) -> Self {
        let mut bed = Self::new();
        for id in ids {
            bed.put(id, 1).unwrap();
        }
        bed
    }

    /// A step, and those that go on with what it left over.
    fn reply(&mut self, input: Input) -> Option<Reply> {
        self.mono += Duration::from_millis(1);
        let (mut replies, mut inputs) = (Vec::new(), vec![input]);
        loop {
            let out = self.engine.step(Now { mono: self.mono, wall_millis: WALL }, std::mem::take(&mut inputs));
            for out in out.list {
                match out {
                    Output::Reply(_, reply) => replies.push(reply),
                    Output::Look(look) => self.look = Some(look),
                    _ => {}
                }
            }
            if out.left == Left::Nothing {
                return replies.pop();
            }
        }
    }

    /// Steps in which care is due: a look that is being made is answered in the next.
    pub(super) fn tend(&mut self, steps: usize) {
        for _ in 0..steps {
            let input = match self.look.take() {
                Some(look) => {
                    self.looks += 1;
                    Input::Looked(Box::new(look.answer(&|| true)))
                }
                None => Input::Timer,
            };
            self.care().hurry();
            self.reply(input);
        }
    }

    /// Writes `{"n":n}`, without care.
    pub(super) fn put(&mut self, id: &str, n: usize) -> Result<(), Refusal> {
        self.put_all(id, n..n + 1)
    }

    /// Writes `{"n":n}` for each number, in one step. The first refusal.
    pub(super) fn put_all(&mut self, id: &str, numbers: std::ops::Range<usize>) -> Result<(), Refusal> {
        self.write(id, numbers.map(|n| format!(r#"{{"n":{n}}}"#)))
    }

    /// Writes a text of so many bytes.
    pub(super) fn put_long(&mut self, id: &str, bytes: usize) -> Result<(), Refusal> {
        self.write(id, std::iter::once(format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes))))
    }

    fn write(&mut self, id: &str, contents: impl Iterator<Item = String>) -> Result<(), Refusal> {
        let write = |content: String| EntityWrite {
            collection: "x".to_owned(),
            id: id.to_owned(),
            expect: Expect::Any,
            write: Write::Put { value: Json::parse(content.as_bytes()).unwrap(), base: None },
        };
        let writes: Vec<_> = contents.map(write).collect();
        // A batch makes no write to a large entity: one write alone is no batch.
        let atomic = writes.len() == 1;
        let command = WriteCommand { space: self.space, writes, atomic, idempotency: None, trace: None };
        self.care().next = Some(Duration::from_secs(3600));
        match self.reply(Input::Command(ReplyTo(2), Command::Write(command))) {
            Some(Reply::Written(Ok(outcome))) => outcome.writes.into_iter().try_for_each(|write| write.map(drop)),
            Some(Reply::Written(Err(refusal))) if atomic => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn space_no(&self) -> u32 {
        self.engine.memory.spaces[&self.space].row.space_no
    }

    /// An entity's row as it is stored.
    pub(super) fn stored(&self, id: &str) -> Option<Vec<u8>> {
        self.engine.reader().reading().unwrap().row(self.space_no(), "x", id).unwrap()
    }

    pub(super) fn row(&self, id: &str) -> EntityState {
        EntityState::decode(&self.stored(id).unwrap()).unwrap()
    }

    /// What the entity says.
    pub(super) fn view(&self, id: &str) -> String {
        String::from_utf8(self.row(id).view_bytes()).unwrap()
    }

    pub(super) fn care(&mut self) -> &mut Care {
        &mut self.engine.memory.spaces.get_mut(&self.space).unwrap().care
    }

    pub(super) fn differs(&mut self, id: &str) {
        self.care().suspect(name(id), Doubt::Differs(peer()));
    }

    /// Whether an audit has something to do.
    pub(super) fn audits(&mut self) -> bool {
        let space = self.engine.memory.spaces.get_mut(&self.space).unwrap();
        let mut audit = std::mem::take(&mut space.care.audit);
        let wants = audit.wants(space);
        space.care.audit = audit;
        wants
    }

    /// Whether there are suspects left, by id.
    pub(super) fn suspects(&mut self) -> Vec<String> {
        self.care().suspects.keys().map(|name| name.1.clone()).collect()
    }

    pub(super) fn status(&mut self) -> SpaceStatus {
        match self.reply(Input::Command(ReplyTo(3), Command::Status)) {
            Some(Reply::Status(status)) => status.spaces[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    /// What the space counts, and what that should be.
    pub(super) fn sums(&self) -> [(Sum, u64); 2] {
        let row = &self.engine.memory.spaces[&self.space].row;
        let (mut sum, mut present) = (Sum::default(), 0);
        let reading = self.engine.reader().reading().unwrap();
        for (collection, id, row) in reading.rows(self.space_no(), None, "", None, 10_000).unwrap() {
            let state = EntityState::decode(&row).unwrap();
            sum.add(&state.contribution(&collection, &id));
            present += u64::from(state.is_present());
        }
        [(row.sums.rows, row.entities), (sum, present)]
    }

    /// Reaches into the disk.
    pub(super) fn tamper<T>(&mut self, with: impl FnOnce(&mut Batch<'_>, u32) -> T) -> T {
        let space_no = self.space_no();
        let mut batch = self.engine.store.begin().unwrap();
        let out = with(&mut batch, space_no);
        batch.commit().unwrap();
        out
    }

    pub(super) fn put_row(&mut self, id: &str, row: Vec<u8>) {
        self.tamper(|batch, space_no| batch.put_row(space_no, "x", id, row).unwrap());
    }

    /// Flips a bit of a row, before its hash.
    pub(super) fn rot(&mut self, id: &str) {
        let mut row = self.stored(id).unwrap();
        let at = row.len() - 17;
        row[at] ^= 1;
        self.put_row(id, row);
    }

    /// The feed and the position of an entity's newest change, and that of its entry in the journal.
    pub(super) fn newest(&self, id: &str) -> (FeedId, u64, u64) {
        let state = self.row(id);
        let at = self.engine.reader().reading().unwrap().journal(self.space_no(), state.journal()).unwrap().unwrap();
        (at.feed, at.seq, state.journal())
    }

    /// Makes an entry unreadable. Returns what it was.
    pub(super) fn spoil(&mut self, feed: FeedId, seq: u64) -> Vec<u8> {
        self.replace(feed, seq, vec![0])
    }

    pub(super) fn replace(&mut self, feed: FeedId, seq: u64, bytes: Vec<u8>) -> Vec<u8> {
        self.tamper(|batch, _| {
            let mut row = batch.entry(feed, seq).unwrap().unwrap();
            let was = std::mem::replace(&mut row.bytes, bytes);
            batch.put_entry(feed, seq, &row).unwrap();
            was
        })
    }
}

pub(super) fn name(id: &str) -> (String, String) {
    ("x".to_owned(), id.to_owned())
}

pub(super) fn peer() -> NodeId {
    NodeId::from_bytes([8; 32])
}
