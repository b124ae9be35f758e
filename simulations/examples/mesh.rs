//! What engines cost when they have many peers: a full mesh, without a network model, on one core.
//!
//! `cargo run --release -p tombolo-sim --example mesh -- NODES WRITES SECONDS`: writes at random nodes, spread over so
//! many virtual seconds; every frame takes 20 ms, every step 2 ms.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures, and says what it measured")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use redb::backends::InMemoryBackend;
use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::Write;
use tombolo_crdt::feed::{Range, Signature, VerifiedRange};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::{Contact, Role, admit_message};
use tombolo_node::engine::{
    Command, ConnId, Engine, EngineConfig, EntityWrite, Expect, Input, JoinRequest, Left, Now, Output, Outputs, Reply,
    ReplyTo, STEP_WORK_MAX, WriteCommand,
};
use tombolo_node::store::{Endless, Store, StoreOptions};
use tombolo_sim::Dice;
use tombolo_transport::frame::Frame;

const LATENCY: Duration = Duration::from_millis(20);
const STEP: Duration = Duration::from_millis(2);
const ROOM: usize = 1 << 20;

/// What waits for its time.
enum Event {
    Arrives(usize, ConnId, Vec<u8>),
    Asks(usize, Input),
    Runs(usize),
    Wakes(usize),
}

struct Node {
    engine: Engine,
    inbox: Vec<Input>,
    busy: Duration,
    due: bool,
    wake: Option<Duration>,
}

#[derive(Default)]
struct Totals {
    frames: u64,
    transfers: u64,
    bytes: u64,
    steps: u64,
    inputs: u64,
    events: u64,
    in_engine: Duration,
    in_verify: Duration,
    in_codec: Duration,
}

struct Mesh {
    nodes: Vec<Node>,
    links: BTreeMap<ConnId, (usize, usize)>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    room: BTreeMap<(ConnId, usize), usize>,
    verified: BTreeMap<[u8; 32], VerifiedRange>,
    replies: BTreeMap<ReplyTo, Reply>,
    next: u64,
    now: Duration,
    totals: Totals,
}

impl Mesh {
    fn at(&mut self, at: Duration, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
    }

    fn input(&mut self, node: usize, input: Input) {
        self.nodes[node].inbox.push(input);
        if !std::mem::replace(&mut self.nodes[node].due, true) {
            let at = self.now.max(self.nodes[node].busy);
            self.at(at, Event::Runs(node));
        }
    }

    fn run(&mut self, until: Duration) {
        while let Some(Reverse((at, no))) = self.queue.peek().copied() {
            if at > until {
                return;
            }
            self.queue.pop();
            self.now = at;
            self.totals.events += 1;
            match self.events.remove(&no).expect("queued") {
                Event::Asks(node, input) => self.input(node, input),
                Event::Arrives(node, conn, bytes) => {
                    if self.links.contains_key(&conn) {
                        self.arrives(node, conn, &bytes);
                    }
                }
                Event::Wakes(node) => {
                    if self.nodes[node].wake.is_some_and(|wake| wake <= at) {
                        self.nodes[node].wake = None;
                        self.input(node, Input::Timer);
                    }
                }
                Event::Runs(node) => {
                    let state = &mut self.nodes[node];
                    state.due = false;
                    let inputs = std::mem::take(&mut state.inbox);
                    self.totals.inputs += inputs.len() as u64;
                    self.totals.steps += 1;
                    let now = Now { mono: at, wall_millis: 1_767_225_600_000 + at.as_millis() as u64 };
                    let began = Instant::now();
                    let outputs = state.engine.step(now, inputs);
                    self.totals.in_engine += began.elapsed();
                    state.busy = at + STEP;
                    self.outputs(node, outputs);
                }
            }
        }
    }

    fn outputs(&mut self, node: usize, outputs: Outputs) {
        if let Some((wake, _)) = outputs.wake {
            let wake = wake.max(self.now);
            if self.nodes[node].wake.is_none_or(|known| wake < known || known <= self.now) {
                self.nodes[node].wake = Some(wake);
                self.at(wake, Event::Wakes(node));
            }
        }
        if outputs.left != Left::Nothing {
            self.input(node, Input::Timer);
        }
        let at = self.now + STEP + LATENCY;
        for output in outputs.list {
            match output {
                Output::Reply(to, reply) => drop(self.replies.insert(to, reply)),
                Output::Control(conn, frame) => {
                    if let Frame::Summary(summary) = &frame {
                        self.room.insert((conn, node), ROOM);
                        self.input(node, Input::Writable(conn, summary.space, ROOM));
                    }
                    self.send(at, node, conn, &frame);
                }
                Output::Transfer(conn, _, frame) => {
                    self.totals.transfers += 1;
                    self.send(at, node, conn, &frame);
                }
                Output::Close(conn, ..) => self.cut(conn),
                Output::Load(load) => self.input(node, Input::Loaded(Box::new(load.answer()))),
                Output::Look(look) => self.input(node, Input::Looked(Box::new(look.answer(&|| true)))),
                Output::Journal(..) | Output::Acknowledged(_) | Output::Targets(_) => {}
                Output::Standing(..) | Output::Known(_) => {}
            }
        }
    }

    fn send(&mut self, at: Duration, from: usize, conn: ConnId, frame: &Frame) {
        let Some((a, b)) = self.links.get(&conn).copied() else { return };
        let to = if a == from { b } else { a };
        let began = Instant::now();
        let bytes = frame.encode();
        self.totals.in_codec += began.elapsed();
        self.totals.frames += 1;
        self.totals.bytes += bytes.len() as u64;
        self.at(at, Event::Arrives(to, conn, bytes));
    }

    fn verify(&mut self, ranges: Vec<Range>) -> Vec<VerifiedRange> {
        let began = Instant::now();
        let mut verified = Vec::new();
        for range in ranges {
            let mut hash = blake3::Hasher::new();
            hash.update(&range.seal.to_bytes()).update(range.previous.as_bytes()).update(&range.from.to_le_bytes());
            range.entries.iter().for_each(|entry| {
                hash.update(entry);
            });
            let key = *hash.finalize().as_bytes();
            let known = self.verified.entry(key).or_insert_with(|| range.verify().expect("honest"));
            verified.push(known.clone());
        }
        self.totals.in_verify += began.elapsed();
        verified
    }

    fn arrives(&mut self, node: usize, conn: ConnId, bytes: &[u8]) {
        let began = Instant::now();
        let frame = Frame::decode(bytes).expect("honest frames decode").expect("known");
        self.totals.in_codec += began.elapsed();
        let input = match frame {
            Frame::Ranges(frame) => {
                let (a, b) = self.links[&conn];
                let sender = if a == node { b } else { a };
                let room = self.room.entry((conn, sender)).or_insert(ROOM);
                *room = room.saturating_sub(bytes.len());
                if *room < ROOM / 2 {
                    *room = ROOM;
                    self.input(sender, Input::Writable(conn, frame.space, ROOM));
                }
                Input::Ranges { conn, space: frame.space, number: frame.number, ranges: self.verify(frame.ranges) }
            }
            Frame::RulesRanges(frame) => {
                let ranges = self.verify(frame.ranges);
                Input::RulesRanges { conn, space: frame.space, ranges, last: frame.last }
            }
            frame => Input::Frame(conn, frame),
        };
        self.input(node, input);
    }

    fn connect(&mut self, a: usize, b: usize) -> ConnId {
        self.next += 1;
        let conn = ConnId(self.next);
        self.links.insert(conn, (a, b));
        for (node, peer, dialled) in [(a, b, true), (b, a, false)] {
            let peer = self.nodes[peer].engine.node();
            self.input(node, Input::Connected { conn, peer, dialled, address: "sim".to_owned() });
        }
        conn
    }

    fn cut(&mut self, conn: ConnId) {
        if let Some((a, b)) = self.links.remove(&conn) {
            self.input(a, Input::Closed(conn, "cut".to_owned()));
            self.input(b, Input::Closed(conn, "cut".to_owned()));
        }
    }

    fn command(&mut self, node: usize, command: Command) -> Reply {
        self.next += 1;
        let to = ReplyTo(self.next);
        self.input(node, Input::Command(to, command));
        self.run(self.now + Duration::from_millis(10));
        self.replies.remove(&to).expect("answered")
    }

    fn found(&mut self, dice: &mut Dice) -> SpaceId {
        let founder = Box::new(SigningKey::from_bytes(&dice.bytes()));
        let reply = self.command(0, Command::CreateSpace { name: "mesh".to_owned(), founder });
        let Reply::Created(Ok(space)) = reply else { unreachable!("{reply:?}") };
        for node in 1..self.nodes.len() {
            let one_time = SigningKey::from_bytes(&dice.bytes());
            let key = one_time.verifying_key().to_bytes();
            self.command(0, Command::Invite { space, role: Role::Writer, key, expires: u64::MAX >> 16 });
            let signature = Signature::sign(&one_time, &admit_message(space, self.nodes[node].engine.node()));
            let inviter = self.nodes[0].engine.node();
            let request = JoinRequest { space, name: "mesh".to_owned(), key, signature, inviter, addrs: Vec::new() };
            self.command(node, Command::Join(request));
            let conn = self.connect(node, 0);
            self.run(self.now + Duration::from_millis(500));
            self.cut(conn);
        }
        space
    }
}

fn node(no: usize, dice: &mut Dice) -> Node {
    let options = StoreOptions { create: true, ..StoreOptions::new(format!("node-{no}")) };
    let store = Store::open_with_backend(|| Ok(InMemoryBackend::new()), Endless, options).expect("memory opens");
    let contact = Contact { name: format!("node-{no}"), addrs: Vec::new() };
    let config = EngineConfig {
        key: SigningKey::from_bytes(&dice.bytes()),
        contact,
        seed: dice.bytes(),
        step_work: STEP_WORK_MAX,
    };
    let engine = Engine::open(store, config).expect("opens");
    Node { engine, inbox: Vec::new(), busy: Duration::ZERO, due: false, wake: None }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let (nodes, writes, seconds) =
        (args.next().unwrap_or(5), args.next().unwrap_or(1_000), args.next().unwrap_or(1_800));
    let mut dice = Dice::new(1);
    let began = Instant::now();
    let mut mesh = Mesh {
        nodes: (0..nodes as usize).map(|no| node(no, &mut dice)).collect(),
        links: BTreeMap::new(),
        queue: BinaryHeap::new(),
        events: BTreeMap::new(),
        room: BTreeMap::new(),
        verified: BTreeMap::new(),
        replies: BTreeMap::new(),
        next: 0,
        now: Duration::ZERO,
        totals: Totals::default(),
    };
    let space = mesh.found(&mut dice);
    for a in 0..mesh.nodes.len() {
        for b in a + 1..mesh.nodes.len() {
            mesh.connect(a, b);
        }
    }
    mesh.run(mesh.now + Duration::from_secs(60));
    println!("founded and connected in {:.2?}: {} frames", began.elapsed(), mesh.totals.frames);
    mesh.totals = Totals::default();
    let began = Instant::now();
    let start = mesh.now;
    for write in 0..writes {
        let at = start + Duration::from_secs(seconds) * write as u32 / writes as u32;
        let value = Json::parse(format!(r#"{{"n":{write},"name":"article","stock":5}}"#).as_bytes()).expect("JSON");
        let id = format!("e{}", dice.below(200));
        let write = Write::Put { value, base: None };
        let write = EntityWrite { collection: "x".to_owned(), id, expect: Expect::Any, write };
        let command = WriteCommand { space, writes: vec![write], atomic: true, idempotency: None, trace: None };
        mesh.next += 1;
        let to = ReplyTo(mesh.next);
        mesh.at(at, Event::Asks(dice.below(nodes as usize), Input::Command(to, Command::Write(command))));
    }
    mesh.run(start + Duration::from_secs(seconds + 120));
    let took = began.elapsed();
    let first = mesh.nodes[0].engine.state_digest(space);
    let equal = mesh.nodes.iter().filter(|node| node.engine.state_digest(space) == first).count();
    let commits: u64 = mesh.nodes.iter().map(|node| node.engine.counters().commits).sum();
    let Totals { frames, transfers, bytes, steps, inputs, events, in_engine, in_verify, in_codec } = mesh.totals;
    println!("{nodes} nodes, {writes} writes, {seconds} s: {took:.2?}; {equal} of {nodes} equal");
    println!("engine {in_engine:.2?}, verify {in_verify:.2?}, codec {in_codec:.2?}");
    println!(
        "{frames} frames ({transfers} transfers), {bytes} bytes, {steps} steps, {inputs} inputs, {events} events, {commits} commits"
    );
}
