//! A world driven by hand: a test says who connects, what is delivered, who restarts. For counter-examples that need
//! one particular order of events; everything else is a scenario.
//!
//! Every frame is bytes between two engines; streams are delivered in an order the seed chooses (in order within a
//! stream, as QUIC promises).

#![expect(clippy::panic, reason = "a world that cannot go on fails its test by panicking")]

mod acts;
mod disks;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::feed::Range;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{Digest, NodeId, SpaceId};
use tombolo_node::engine::{
    Command, ConnId, Engine, EngineConfig, Input, Left, Now, Output, Reply, ReplyTo, STEP_WORK_MAX, SpaceStatus, Status,
};
use tombolo_node::store::{Store, StoreOptions};
use tombolo_transport::frame::{Frame, Hello, PROTOCOL_VERSION};

use crate::Dice;
use crate::disk::Disk;
pub use crate::pen::Pen;
pub use disks::Image;
use wire::{Stream, Wire};

/// Index of a node.
pub type NodeNo = usize;

/// Virtual time begins here: 2026-01-01T00:00:00Z in milliseconds since 1970.
const EPOCH_MILLIS: u64 = 1_767_225_600_000;
/// Room on every simulated transfer stream, in bytes.
const ROOM: usize = 1 << 20;
/// Deliveries after which a world that is still talking is said never to fall silent.
const DELIVERIES_MAX: usize = 1_000_000;
/// Steps that follow from one at once: looks, one after the other, and what is left over.
const FOLLOWING_MAX: usize = 1_000_000;

/// What is due later than this is not waited for: nothing but the next pass over all rows.
const QUIET: Duration = Duration::from_secs(12 * 3600);

/// A node in the world.
#[derive(Debug)]
struct SimNode {
    engine: Engine,
    disk: Disk,
    key: SigningKey,
    wake: Option<Duration>,
    replies: BTreeMap<ReplyTo, Reply>,
}

impl SimNode {
    fn start(no: NodeNo, key: SigningKey, disk: Disk, seed: [u8; 32]) -> Self {
        let options = StoreOptions { create: true, ..StoreOptions::new(format!("node-{no}")) };
        let backend = disk.clone();
        let store = Store::open_with_backend(move || Ok(backend.clone()), disk.clone(), options);
        let contact = Contact { name: format!("node-{no}"), addrs: Vec::new() };
        let config = EngineConfig { key: key.clone(), contact, seed, step_work: STEP_WORK_MAX };
        let engine = Engine::open(store.expect("memory opens"), config).expect("what was committed loads");
        Self { engine, disk, key, wake: None, replies: BTreeMap::new() }
    }
}

/// Several engines and what lies between them.
#[derive(Debug)]
pub struct World {
    nodes: Vec<SimNode>,
    wire: Wire,
    links: BTreeMap<(NodeNo, NodeNo), ConnId>,
    /// Nodes that read nothing.
    deaf: BTreeSet<NodeNo>,
    dice: Dice,
    mono: Duration,
    next: u64,
}

impl World {
    /// `count` nodes that do not know each other.
    ///
    /// # Panics
    /// If a store in memory cannot be opened.
    #[must_use]
    pub fn new(seed: u64, count: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut start = |no| SimNode::start(no, SigningKey::from_bytes(&dice.bytes()), Disk::new(), dice.bytes());
        let nodes = (0..count).map(&mut start).collect();
        let (wire, links, deaf) = (Wire::default(), BTreeMap::new(), BTreeSet::new());
        Self { nodes, wire, links, deaf, dice, mono: Duration::ZERO, next: 0 }
    }

    /// Lets a node read nothing from anybody, or read again.
    pub fn set_deaf(&mut self, node: NodeNo, deaf: bool) {
        if deaf {
            self.deaf.insert(node);
        } else {
            self.deaf.remove(&node);
        }
    }

    /// The key of a node: for members that misbehave.
    #[must_use]
    pub fn key(&self, node: NodeNo) -> &SigningKey {
        &self.nodes[node].key
    }

    /// Hands an offer of rules to a node as if somebody with this key had connected, named the space and sent it.
    ///
    /// # Panics
    /// If a range does not verify.
    pub fn offer_as_stranger(&mut self, to: NodeNo, key: &SigningKey, space: SpaceId, ranges: Vec<Range>) {
        self.next += 1;
        let (conn, address) = (ConnId(self.next), String::from("stranger"));
        let peer = NodeId::from_bytes(key.verifying_key().to_bytes());
        let ranges = ranges.into_iter().map(|range| range.verify().expect("verifies")).collect();
        self.step(to, vec![Input::Connected { conn, peer, dialled: false, address }]);
        let contact = Contact { name: String::from("stranger"), addrs: Vec::new() };
        let (process, ext) = ([0; 16], Vec::new());
        let hello = Hello { version: PROTOCOL_VERSION, contact, process, counter: 1, wall_millis: EPOCH_MILLIS, ext };
        let named = Frame::Rules(space, Digest::from_bytes([0; 32]));
        self.step(to, vec![Input::Frame(conn, Frame::Hello(hello)), Input::Frame(conn, named)]);
        self.step(to, vec![Input::RulesRanges { conn, space, ranges, last: true }]);
        self.step(to, vec![Input::Closed(conn, String::from("gone"))]);
    }

    /// Hands ranges to a node as if the peer at the other end of their connection had sent them.
    ///
    /// # Panics
    /// If the two are not connected, or a range does not verify.
    pub fn inject(&mut self, from: NodeNo, to: NodeNo, space: SpaceId, ranges: Vec<Range>) {
        let link = self.links.get(&(from, to)).or_else(|| self.links.get(&(to, from)));
        let conn = *link.expect("connected");
        let ranges = ranges.into_iter().map(|range| range.verify().expect("verifies")).collect();
        self.step(to, vec![Input::Ranges { conn, space, number: 0, ranges }]);
    }

    fn now(&self) -> Now {
        let millis = u64::try_from(self.mono.as_millis()).unwrap_or(u64::MAX);
        Now { mono: self.mono, wall_millis: EPOCH_MILLIS + millis }
    }

    /// The choices of this world's seed.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// The engine of a node.
    #[must_use]
    pub fn engine(&self, node: NodeNo) -> &Engine {
        &self.nodes[node].engine
    }

    /// Bytes of frames carried so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.wire.bytes
    }

    /// Connects two nodes; the first dials.
    pub fn connect(&mut self, a: NodeNo, b: NodeNo) {
        assert_ne!(a, b, "nobody connects to itself");
        self.disconnect(a, b);
        self.next += 1;
        let conn = ConnId(self.next);
        self.links.insert((a, b), conn);
        let (key_a, key_b) = (self.engine(a).node(), self.engine(b).node());
        let address = String::from("sim");
        self.step(a, vec![Input::Connected { conn, peer: key_b, dialled: true, address: address.clone() }]);
        self.step(b, vec![Input::Connected { conn, peer: key_a, dialled: false, address }]);
    }

    /// Breaks the connection of two nodes; what was on its way is lost.
    pub fn disconnect(&mut self, a: NodeNo, b: NodeNo) {
        for pair in [(a, b), (b, a)] {
            if let Some(conn) = self.links.remove(&pair) {
                self.wire.cut(conn);
                self.step(a, vec![Input::Closed(conn, "cut".to_owned())]);
                self.step(b, vec![Input::Closed(conn, "cut".to_owned())]);
            }
        }
    }

    /// Lets a node carry out a command.
    ///
    /// # Panics
    /// If the step gives no reply.
    pub fn command(&mut self, node: NodeNo, command: Command) -> Reply {
        self.next += 1;
        let to = ReplyTo(self.next);
        self.mono += Duration::from_millis(1);
        self.step(node, vec![Input::Command(to, command)]);
        self.nodes[node].replies.remove(&to).expect("a command is answered in its step")
    }

    /// Everything a node says of itself.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn status(&mut self, node: NodeNo) -> Status {
        match self.command(node, Command::Status) {
            Reply::Status(status) => Arc::unwrap_or_clone(status),
            other => panic!("a status was asked for: {other:?}"),
        }
    }

    /// What a node says of a space.
    ///
    /// # Panics
    /// If it does not hold it.
    pub fn space(&mut self, node: NodeNo, space: SpaceId) -> SpaceStatus {
        let status = self.status(node);
        status.spaces.into_iter().find(|known| known.space == space).expect("the node holds the space")
    }

    /// Delivers up to `count` frames, each from a stream that the seed chooses. Returns how many there were.
    pub fn deliver(&mut self, count: usize) -> usize {
        for done in 0..count {
            let mut busy = self.wire.busy();
            busy.retain(|stream| !self.deaf.contains(&stream.to));
            let chosen = self.dice.below(busy.len());
            let Some(stream) = busy.get(chosen).copied() else { return done };
            self.mono += Duration::from_micros(100);
            if let Some(input) = self.wire.deliver(stream) {
                let mut inputs = vec![input];
                if let Some(space) = stream.transfer {
                    // What has arrived makes room at the sender.
                    self.room(stream.conn, stream.to, space);
                }
                // Sometimes several frames share a step.
                if self.dice.once_in(3)
                    && let Some(more) = self.wire.deliver(stream)
                {
                    inputs.push(more);
                }
                self.step(stream.to, inputs);
            }
        }
        count
    }

    fn room(&mut self, conn: ConnId, to: NodeNo, space: SpaceId) {
        let link = self.links.iter().find(|(_, known)| **known == conn).map(|(pair, _)| *pair);
        if let Some((a, b)) = link {
            let sender = if a == to { b } else { a };
            self.step(sender, vec![Input::Writable(conn, space, ROOM)]);
        }
    }

    /// Delivers everything and lets timers fire until nothing more is said.
    ///
    /// # Panics
    /// If the nodes never fall silent.
    pub fn settle(&mut self) {
        self.go_on(|now| now + QUIET);
    }

    /// Runs for so long and no longer: for nodes that look again and again.
    ///
    /// # Panics
    /// If there is no end of what they say.
    pub fn pass(&mut self, time: Duration) {
        let end = self.mono + time;
        self.go_on(|_| end);
    }

    /// Lets timers fire that are due before what `until` makes of the time.
    fn go_on(&mut self, until: impl Fn(Duration) -> Duration) {
        let mut delivered = 0;
        loop {
            delivered += self.deliver(DELIVERIES_MAX);
            assert!(delivered < DELIVERIES_MAX, "the nodes never fall silent");
            let due = self.nodes.iter().enumerate().filter_map(|(no, node)| Some((node.wake?, no))).min();
            let Some((at, node)) = due.filter(|(at, _)| *at < until(self.mono)) else { return };
            self.mono = self.mono.max(at);
            self.nodes[node].wake = None;
            self.step(node, vec![Input::Timer]);
            delivered += 1;
        }
    }

    /// A step, and those that follow from it at once.
    fn step(&mut self, node: NodeNo, inputs: Vec<Input>) {
        let mut follow = VecDeque::from([inputs]);
        for _ in 0..FOLLOWING_MAX {
            let Some(inputs) = follow.pop_front() else { return };
            let (answers, left) = self.one_step(node, inputs);
            follow.extend(answers.into_iter().map(|answer| vec![answer]));
            if left != Left::Nothing && follow.is_empty() {
                // Nothing more is handed in before what is left over is done.
                follow.push_back(vec![Input::Timer]);
            }
        }
        panic!("node {node} never comes to an end of what it has left over");
    }

    /// One step. The answers to what it asked to be read, and what is left over.
    fn one_step(&mut self, node: NodeNo, inputs: Vec<Input>) -> (Vec<Input>, Left) {
        let now = self.now();
        let outputs = self.nodes[node].engine.step(now, inputs);
        self.nodes[node].engine.check_invariants();
        self.nodes[node].wake = outputs.wake.map(|(at, _)| at.max(self.mono));
        let mut answers = Vec::new();
        let left = outputs.left;
        for output in outputs.list {
            match output {
                Output::Reply(to, reply) => drop(self.nodes[node].replies.insert(to, reply)),
                Output::Control(conn, frame) => self.send(node, conn, None, &frame),
                Output::Transfer(conn, space, frame) => self.send(node, conn, Some(space), &frame),
                Output::Close(conn, ..) => {
                    let link = self.links.iter().find(|(_, known)| **known == conn).map(|(pair, _)| *pair);
                    if let Some((a, b)) = link {
                        self.disconnect(a, b);
                    }
                }
                Output::Look(look) => answers.push(Input::Looked(Box::new(look.answer(&|| true)))),
                Output::Load(load) => answers.push(Input::Loaded(Box::new(load.answer()))),
                Output::Journal(..) | Output::Acknowledged(_) | Output::Targets(_) => {}
                Output::Standing(..) | Output::Known(_) => {}
            }
        }
        (answers, left)
    }

    fn send(&mut self, from: NodeNo, conn: ConnId, transfer: Option<SpaceId>, frame: &Frame) {
        let link = self.links.iter().find(|(_, known)| **known == conn).map(|(pair, _)| *pair);
        let Some((a, b)) = link else { return };
        let to = if a == from { b } else { a };
        self.wire.send(Stream { to, conn, transfer }, frame);
        if let Frame::Summary(summary) = frame {
            self.step(from, vec![Input::Writable(conn, summary.space, ROOM)]);
        }
    }
}
