//! Two nodes and one connection between them, driven in one order only, so that a run can be repeated up to any
//! operation of the first one's disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::entity::{EntityState, Write};
use tombolo_crdt::feed::Signature;
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::{Contact, Role, admit_message};
use tombolo_crdt::{Digest, FeedId, SpaceId};
use tombolo_node::engine::{
    Command, ConnId, Engine, EngineConfig, EntityWrite, Expect, Idempotency, Input, JoinRequest, Left, Now, Output,
    Reply, ReplyTo, STEP_WORK_MAX, WriteCommand,
};
use tombolo_node::store::{Store, StoreOptions};
use tombolo_transport::CloseCode;
use tombolo_transport::frame::Frame;

use super::{Side, Step, Wrong, wrong};
use crate::Dice;
use crate::disk::Disk;
use crate::hand::wire::{Stream, Wire};

/// Virtual time begins here: 2026-01-01T00:00:00Z in milliseconds since 1970.
const EPOCH_MILLIS: u64 = 1_767_225_600_000;
/// Room on every simulated transfer stream, in bytes.
const ROOM: usize = 1 << 20;
/// Deliveries and timers after which two nodes that still talk are said never to fall silent.
const TALK_MAX: usize = 1_000;
/// What is due later than this is not waited for: nothing but the next pass over all rows.
const QUIET: Duration = Duration::from_secs(12 * 3600);
/// How often a client asks again before it gives up.
const TRIES_MAX: usize = 8;
/// A quota is raised once it has made so many operations fail.
const QUOTA_REFUSALS: u64 = 3;
/// How long it waits before it does.
const RETRY: Duration = Duration::from_secs(2);

/// Why a run stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The power of the node under test was cut, in the middle of something.
    Cut,
    /// Something is not as it must be.
    Wrong(Wrong),
}

impl From<Wrong> for Stop {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// What a node holds of its one space, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    frontier: Digest,
    state: Digest,
    held: usize,
}

/// The mark of an engine; `None`: it holds no space.
pub(super) fn mark(engine: &Engine) -> Option<Mark> {
    let (space, _) = engine.spaces().next()?;
    Some(Mark {
        frontier: engine.frontier(space)?.digest(),
        state: engine.state_digest(space)?,
        held: engine.held(space)?.0,
    })
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) disk: Disk,
    wake: Option<Duration>,
}

impl Node {
    /// Starts the node of a side on its disk.
    pub(super) fn start(side: Side, seed: u64, disk: Disk, process: u64) -> Result<Self, Wrong> {
        let name = format!("{side:?}").to_lowercase();
        let key = SigningKey::from_bytes(&Dice::new(seed ^ (1 + side as u64)).bytes());
        let options = StoreOptions { create: true, ..StoreOptions::new(name.clone()) };
        let backend = disk.clone();
        let store = Store::open_with_backend(move || Ok(backend.clone()), disk.clone(), options);
        let store = store.map_err(|error| wrong("the store does not open", error))?;
        let seed = Dice::new(seed ^ process.rotate_left(32) ^ (4 + side as u64)).bytes();
        let config = EngineConfig { key, contact: Contact { name, addrs: Vec::new() }, seed, step_work: STEP_WORK_MAX };
        let engine = Engine::open(store, config).map_err(|error| wrong("the engine does not open", error))?;
        Ok(Self { engine, disk, wake: None })
    }

    /// Views of all present entities, by id.
    pub(super) fn views(&self) -> Result<BTreeMap<String, String>, Wrong> {
        let Some((space, _)) = self.engine.spaces().next() else { return Ok(BTreeMap::new()) };
        let unreadable = |error| wrong("the store cannot be read", error);
        let reading = self.engine.reader().reading().map_err(unreadable)?;
        let Some(row) = reading.space(space).map_err(unreadable)? else { return Ok(BTreeMap::new()) };
        let mut views = BTreeMap::new();
        for (_, id, row) in reading.rows(row.space_no, None, "", None, usize::MAX).map_err(unreadable)? {
            let state = EntityState::decode(&row).map_err(|error| wrong("a row does not decode", error))?;
            if state.is_present() {
                views.insert(id, String::from_utf8_lossy(&state.view_bytes()).into_owned());
            }
        }
        Ok(views)
    }
}

/// Two nodes, of which the first is under test.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) nodes: [Node; 2],
    wire: Wire,
    conn: Option<ConnId>,
    /// One has let go of the other since they began to talk: they have nothing in common.
    parted: bool,
    dice: Dice,
    mono: Duration,
    next: u64,
    replies: BTreeMap<ReplyTo, Reply>,
    /// Marks of the node under test: at the beginning, and after each of its steps.
    pub(super) marks: Vec<Option<Mark>>,
    /// Numbers of the writes that the node under test has acknowledged.
    pub(super) acknowledged: BTreeSet<u32>,
    /// Feeds into which it wrote them.
    pub(super) feeds: BTreeSet<FeedId>,
}

/// What an entity holds after a write, as its view shows it.
pub(super) fn content(no: u32, bytes: usize) -> String {
    format!(r#"{{"n":{no},"pad":"{}"}}"#, "x".repeat(bytes))
}

impl Pair {
    /// Two nodes that have just been started.
    pub(super) fn new(nodes: [Node; 2], dice: Dice, mono: Duration) -> Self {
        let marks = vec![mark(&nodes[0].engine)];
        Self {
            nodes,
            wire: Wire::default(),
            conn: None,
            parted: false,
            dice,
            mono,
            next: 0,
            replies: BTreeMap::new(),
            marks,
            acknowledged: BTreeSet::new(),
            feeds: BTreeSet::new(),
        }
    }

    /// Virtual time.
    pub(super) fn mono(&self) -> Duration {
        self.mono
    }

    /// Carries out one step of a workload. Steps that were carried out before are not done twice, or do no harm.
    pub(super) fn carry_out(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Found(side) => self.found(*side),
            Step::Admit(side) => self.admit(*side),
            Step::Write { side, no, entities, bytes } => self.write(*side, *no, entities, *bytes),
            Step::Connect => self.connect(),
            Step::Disconnect => self.disconnect(),
            Step::Exchange => self.exchange(),
        }
    }

    fn space(&self, side: Side) -> Option<SpaceId> {
        self.nodes[side as usize].engine.spaces().next().map(|(space, _)| space)
    }

    fn found(&mut self, side: Side) -> Result<(), Stop> {
        let founder = SigningKey::from_bytes(&self.dice.bytes());
        for _ in 0..TRIES_MAX {
            if self.space(side).is_some() {
                return Ok(());
            }
            let command = Command::CreateSpace { name: "space".to_owned(), founder: Box::new(founder.clone()) };
            self.command(side, command)?;
        }
        Err(wrong("no space can be founded", format!("by {side:?}")).into())
    }

    /// Makes the other side a member.
    fn admit(&mut self, admin: Side) -> Result<(), Stop> {
        let joining = admin.other();
        for _ in 0..TRIES_MAX {
            if self.space(joining).is_some() {
                return Ok(());
            }
            let Some(space) = self.space(admin) else { break };
            let one_time = SigningKey::from_bytes(&self.dice.bytes());
            let key = one_time.verifying_key().to_bytes();
            self.command(admin, Command::Invite { space, role: Role::Writer, key, expires: u64::MAX >> 16 })?;
            let joiner = self.nodes[joining as usize].engine.node();
            let signature = Signature::sign(&one_time, &admit_message(space, joiner));
            let inviter = self.nodes[admin as usize].engine.node();
            let name = "space".to_owned();
            let request = JoinRequest { space, name, key, signature, inviter, addrs: Vec::new() };
            self.command(joining, Command::Join(request))?;
            self.exchange()?;
        }
        Err(wrong("the other node cannot be admitted", format!("by {admin:?}")).into())
    }

    fn write(&mut self, side: Side, no: u32, entities: &[&'static str], bytes: usize) -> Result<(), Stop> {
        let Some(space) = self.space(side) else { return Err(wrong("there is no space", side).into()) };
        let text = content(no, bytes);
        let value = Json::parse(text.as_bytes()).map_err(|error| wrong("not JSON", error))?;
        let body = *blake3::hash(text.as_bytes()).as_bytes();
        let key = *blake3::hash(&no.to_le_bytes()).as_bytes();
        let mut last = String::new();
        for _ in 0..TRIES_MAX {
            let one = |id: &&str| EntityWrite {
                collection: "c".to_owned(),
                id: (*id).to_owned(),
                expect: Expect::Any,
                write: Write::Put { value: value.clone(), base: None },
            };
            let writes = entities.iter().map(one).collect();
            let idempotency = Some(Idempotency { key, body });
            let command = WriteCommand { space, writes, atomic: true, idempotency, trace: None };
            match self.command(side, Command::Write(command))? {
                Some(Reply::Written(Ok(outcome))) => {
                    if side == Side::Tested {
                        self.acknowledged.insert(no);
                    }
                    if side == Side::Tested && !outcome.replayed {
                        let receipts = outcome.writes.iter().flatten().filter_map(|written| written.receipt);
                        self.feeds.extend(receipts.map(|receipt| receipt.feed));
                    }
                    return Ok(());
                }
                other => last = format!("write {no}: {other:?}"),
            }
            self.mono += RETRY;
        }
        Err(wrong("a write is refused for good", last).into())
    }

    fn command(&mut self, side: Side, command: Command) -> Result<Option<Reply>, Stop> {
        self.next += 1;
        self.mono += Duration::from_millis(1);
        let to = ReplyTo(self.next);
        self.step(side, vec![Input::Command(to, command)])?;
        Ok(self.replies.remove(&to))
    }

    fn connect(&mut self) -> Result<(), Stop> {
        if self.conn.is_some() {
            return Ok(());
        }
        self.next += 1;
        let conn = ConnId(self.next);
        self.conn = Some(conn);
        for side in [Side::Tested, Side::Peer] {
            let peer = self.nodes[side.other() as usize].engine.node();
            let (dialled, address) = (side == Side::Tested, String::from("sim"));
            self.step(side, vec![Input::Connected { conn, peer, dialled, address }])?;
        }
        Ok(())
    }

    fn disconnect(&mut self) -> Result<(), Stop> {
        if let Some(conn) = self.conn.take() {
            self.wire.cut(conn);
            for side in [Side::Tested, Side::Peer] {
                self.step(side, vec![Input::Closed(conn, "cut".to_owned())])?;
            }
        }
        Ok(())
    }

    /// Connects the two, if they are not, and lets them talk, and timers fire, until nothing more is said or looked
    /// after soon. Two that have nothing in common let go of each other, and are left alone then.
    pub(super) fn exchange(&mut self) -> Result<(), Stop> {
        self.parted = false;
        for _ in 0..TALK_MAX {
            if self.parted {
                return Ok(());
            }
            self.connect()?;
            if let Some(stream) = self.wire.busy().first().copied() {
                self.mono += Duration::from_micros(100);
                let Some(input) = self.wire.deliver(stream) else { continue };
                let to = if stream.to == 0 { Side::Tested } else { Side::Peer };
                self.step(to, vec![input])?;
                if let Some(space) = stream.transfer.filter(|_| self.conn == Some(stream.conn)) {
                    self.step(to.other(), vec![Input::Writable(stream.conn, space, ROOM)])?;
                }
                continue;
            }
            let due = [Side::Tested, Side::Peer].into_iter().filter_map(|side| {
                let wake = self.nodes[side as usize].wake?;
                (wake < self.mono + QUIET).then_some((wake, side))
            });
            let Some((at, side)) = due.min_by_key(|(at, _)| *at) else { return Ok(()) };
            self.mono = self.mono.max(at);
            self.step(side, vec![Input::Timer])?;
        }
        Err(wrong("the two never fall silent", format!("{TALK_MAX} deliveries")).into())
    }

    fn step(&mut self, side: Side, inputs: Vec<Input>) -> Result<(), Stop> {
        let millis = u64::try_from(self.mono.as_millis()).unwrap_or(u64::MAX);
        let now = Now { mono: self.mono, wall_millis: EPOCH_MILLIS + millis };
        let node = &mut self.nodes[side as usize];
        let outputs = node.engine.step(now, inputs);
        if node.disk.has_tripped() {
            // What it was about to say was never said.
            return Err(Stop::Cut);
        }
        if node.disk.usage().errors >= QUOTA_REFUSALS {
            node.disk.set_room(None);
        }
        node.engine.check_invariants();
        node.wake = outputs.wake.map(|(at, _)| at.max(self.mono));
        if side == Side::Tested {
            self.marks.push(mark(&node.engine));
        }
        let left = outputs.left;
        let (mut closed, mut answers) = (false, Vec::new());
        for output in outputs.list {
            match output {
                Output::Reply(to, reply) => drop(self.replies.insert(to, reply)),
                Output::Control(conn, frame) => self.send(side, conn, None, &frame)?,
                Output::Transfer(conn, space, frame) => self.send(side, conn, Some(space), &frame)?,
                Output::Close(conn, code, _) => {
                    closed |= self.conn == Some(conn);
                    self.parted |= code == CloseCode::Refused;
                }
                Output::Look(look) => answers.push(Input::Looked(Box::new(look.answer(&|| true)))),
                Output::Load(load) => answers.push(Input::Loaded(Box::new(load.answer()))),
                Output::Journal(..) | Output::Acknowledged(_) | Output::Targets(_) => {}
                Output::Standing(..) | Output::Known(_) => {}
            }
        }
        if closed {
            self.disconnect()?;
        }
        if !answers.is_empty() {
            return self.step(side, answers);
        }
        if left == Left::Nothing { Ok(()) } else { self.step(side, vec![Input::Timer]) }
    }

    fn send(&mut self, from: Side, conn: ConnId, transfer: Option<SpaceId>, frame: &Frame) -> Result<(), Stop> {
        if self.conn != Some(conn) {
            return Ok(());
        }
        self.wire.send(Stream { to: from.other() as usize, conn, transfer }, frame);
        match frame {
            Frame::Summary(summary) => self.step(from, vec![Input::Writable(conn, summary.space, ROOM)]),
            _ => Ok(()),
        }
    }
}
