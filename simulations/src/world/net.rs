//! Connections and what goes over them: streams are in order within and independent of each other; lost packets stall a
//! stream. How connections end is in `ends.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_node::engine::{ConnId, Input};
use tombolo_transport::frame::Frame;

use super::World;
use super::host::{Item, Pid};
use super::pipe::{Message, Pipe};
use super::queue::{Event, Way};
use crate::outcome::Violation;
use crate::plan::NodeNo;
use crate::trace::What;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    /// Who dialled, who was dialled.
    pub(super) pids: [Pid; 2],
    pub(super) nodes: [NodeNo; 2],
    /// Which ends still know it.
    pub(super) open: [bool; 2],
    /// Since when nothing passes from that end to the other.
    pub(super) silent: [Option<Duration>; 2],
    /// By sending end, by stream.
    pub(super) pipes: [Vec<Option<Pipe>>; 2],
    /// That end has sent a page of rules which is not the last, and wants to hear of room for more.
    pub(super) pages: [bool; 2],
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Net {
    pub(super) conns: BTreeMap<ConnId, Conn>,
    last: u64,
    pub(super) messages: u64,
    /// Transfer frames carried last between two nodes, by (from, to): for faults that carry them again.
    pub(super) carried: BTreeMap<(NodeNo, NodeNo), Vec<Carried>>,
    /// Pairs whose next connection carries them again.
    pub(super) replays: std::collections::BTreeSet<(NodeNo, NodeNo)>,
}

/// A frame and its stream.
type Carried = (usize, Vec<u8>);

/// Transfer frames between two nodes that are remembered for a replay.
const CARRIED_MAX: usize = 16;

impl Net {
    /// Numbers of connections begin after those of the setup.
    pub(super) fn after(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    /// Whether nothing is on its way among some nodes.
    pub(super) fn is_silent(&self, among: &[NodeNo]) -> bool {
        let quiet = |conn: &Conn| conn.pipes.iter().flatten().flatten().all(Pipe::is_empty);
        let mut theirs = self.conns.values().filter(|conn| conn.nodes.iter().all(|node| among.contains(node)));
        theirs.all(|conn| conn.open == [true, true] && quiet(conn))
    }

    pub(super) fn are_connected(&self, a: NodeNo, b: NodeNo) -> bool {
        let joins = |conn: &Conn| conn.nodes == [a, b] || conn.nodes == [b, a];
        self.conns.values().any(|conn| joins(conn) && conn.open == [true, true])
    }

    /// The connections between nodes, by which a predicate goes.
    pub(super) fn between(&self, which: impl Fn(NodeNo, NodeNo) -> bool) -> Vec<ConnId> {
        let chosen = |conn: &&Conn| which(conn.nodes[0], conn.nodes[1]) || which(conn.nodes[1], conn.nodes[0]);
        self.conns.iter().filter(|(_, conn)| chosen(conn)).map(|(id, _)| *id).collect()
    }

    /// The connections of a machine that it knows.
    pub(super) fn of(&self, pid: Pid) -> Vec<(ConnId, usize)> {
        let ends = self.conns.iter().flat_map(|(id, conn)| [(*id, 0, conn), (*id, 1, conn)]);
        ends.filter(|(_, end, conn)| conn.pids[*end] == pid && conn.open[*end]).map(|(id, end, _)| (id, end)).collect()
    }

    /// The connections of a machine that the other end knows.
    pub(super) fn facing(&self, pid: Pid) -> Vec<(ConnId, usize)> {
        let ends = self.conns.iter().flat_map(|(id, conn)| [(*id, 0, conn), (*id, 1, conn)]);
        let known = ends.filter(|(_, end, conn)| conn.pids[*end] == pid && conn.open[1 - *end]);
        known.map(|(id, end, _)| (id, end)).collect()
    }

    pub(super) fn pipe(&mut self, way: Way) -> Option<&mut Pipe> {
        self.conns.get_mut(&way.conn)?.pipes[way.from].get_mut(way.stream)?.as_mut()
    }
}

impl World<'_> {
    /// A connection stands.
    pub(super) fn establish(&mut self, dialler: Pid, dialled: Pid) {
        self.net.last += 1;
        let id = ConnId(self.net.last);
        assert_ne!(dialler, dialled, "nobody dials itself");
        let pids = [dialler, dialled];
        let nodes = pids.map(|pid| self.hosts[pid].node);
        let control = || vec![Some(Pipe::new(true))];
        let conn = Conn {
            pids,
            nodes,
            open: [true, true],
            silent: [None, None],
            pipes: [control(), control()],
            pages: [false; 2],
        };
        let before = self.net.conns.insert(id, conn);
        assert!(before.is_none(), "the number of a connection is used once");
        self.traffic.connections += u64::from(self.counts(nodes));
        for end in [0, 1] {
            let (pid, peer) = (pids[end], pids[1 - end]);
            let (peer_key, peer_node) = (self.hosts[peer].key.verifying_key().to_bytes(), nodes[1 - end]);
            self.event(Some(nodes[end]), What::Connected { peer: peer_node });
            let peer = tombolo_crdt::NodeId::from_bytes(peer_key);
            let address = super::dialling::address(peer_node);
            self.give(pid, Input::Connected { conn: id, peer, dialled: end == 0, address });
            self.peer_up(pid, peer_node);
        }
        self.hear(id);
    }

    /// An engine says something.
    pub(super) fn send(&mut self, pid: Pid, id: ConnId, stream: usize, frame: &Frame) {
        let Some(from) = self.end_of(pid, id) else { return };
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        conn.pages[from] |= matches!(frame, Frame::RulesRanges(page) if !page.last);
        let (nodes, bytes) = (conn.nodes, frame.encode());
        let length = bytes.len() as u64;
        self.net.messages += 1;
        let no = self.net.messages;
        let counted = if self.counts(nodes) { length } else { 0 };
        self.traffic.bytes += counted;
        if stream > 0 {
            self.traffic.transferred += counted;
            let carried = self.net.carried.entry((nodes[from], nodes[1 - from])).or_default();
            if carried.len() == CARRIED_MAX {
                carried.remove(0);
            }
            carried.push((stream, bytes.clone()));
            assert!(carried.len() <= CARRIED_MAX, "frames that are remembered for a replay are bounded");
        }
        let kind = frame.kind_name().into();
        let size = u32::try_from(length).unwrap_or(u32::MAX);
        self.event(Some(nodes[from]), What::Sent { message: no, to: nodes[1 - from], frame: kind, bytes: size });
        self.push(Way { conn: id, from, stream }, Message { no, bytes });
        if let Frame::Summary(summary) = frame
            && let Some(space) = self.spaces.iter().position(|space| *space == summary.space)
        {
            self.open_stream(Way { conn: id, from, stream: space + 1 });
        }
    }

    fn push(&mut self, way: Way, message: Message) {
        let Some(conn) = self.net.conns.get_mut(&way.conn) else { return };
        let Some(pipe) = conn.pipes[way.from].get_mut(way.stream).and_then(Option::as_mut) else { return };
        let fits = pipe.push(message, way.stream == 0);
        let waiting = conn.pipes.iter().flatten().flatten().map(Pipe::bytes).sum::<usize>() as u64;
        self.stats.queue_peak = self.stats.queue_peak.max(waiting);
        if !fits {
            self.stats.hit("a peer did not take its control frames");
            return self.cut(way.conn, "the peer does not take its control frames");
        }
        self.flush(way);
    }

    /// The first summary of a space opens its stream; its sender hears of the room.
    fn open_stream(&mut self, way: Way) {
        let Some(conn) = self.net.conns.get_mut(&way.conn) else { return };
        let nodes = conn.nodes;
        let pipes = &mut conn.pipes[way.from];
        if pipes.len() <= way.stream {
            pipes.resize_with(way.stream + 1, || None);
        }
        let Some(slot) = pipes.get_mut(way.stream) else { return };
        if slot.is_none() {
            *slot = Some(Pipe::new(false));
            let pair = (nodes[way.from], nodes[1 - way.from]);
            if self.net.replays.remove(&pair) {
                self.replay(way, pair);
            }
            self.flush(way);
        }
    }

    /// What earlier connections carried comes again, before anything new.
    fn replay(&mut self, way: Way, pair: (NodeNo, NodeNo)) {
        let frames = self.net.carried.get(&pair).cloned().unwrap_or_default();
        for (_, bytes) in frames.into_iter().filter(|(stream, _)| *stream == way.stream) {
            self.stats.hit("frames of an earlier connection came again");
            self.traffic.wasted += bytes.len() as u64;
            self.net.messages += 1;
            let no = self.net.messages;
            self.push(way, Message { no, bytes });
        }
    }

    /// What can leave leaves; the sender hears of the room.
    pub(super) fn flush(&mut self, way: Way) {
        let Some(conn) = self.net.conns.get(&way.conn) else { return };
        let (sender, receiver) = (conn.nodes[way.from], conn.nodes[1 - way.from]);
        let pid = conn.pids[way.from];
        // A farewell still leaves when its sender has forgotten the connection.
        if conn.silent[way.from].is_some() || (!conn.open[way.from] && way.stream > 0) {
            return;
        }
        if self.paths.is_clogged(sender, receiver) {
            if self.net.pipe(way).is_some_and(|pipe| pipe.departs().is_some()) {
                self.stats.hit("a frame waited behind a clog");
            }
            return;
        }
        let mut room = None;
        while let Some(pipe) = self.net.pipe(way)
            && let Some(bytes) = pipe.departs()
        {
            assert!(way.stream < 1 << 7, "each stream of a connection has luck of its own");
            let name = [way.conn.0 << 8 | (way.from as u64) << 7 | way.stream as u64, pipe.departed];
            let pair = (sender, receiver);
            let (arrives, lost) = self.paths.arrival(pair, bytes, self.now, self.luck, name);
            if lost {
                self.stats.hit("a lost packet stalled a stream");
            }
            let Some(pipe) = self.net.pipe(way) else { return };
            if let Some(at) = pipe.depart(arrives) {
                self.queue.schedule(at, Event::Arrive(way));
            }
        }
        if way.stream > 0
            && let Some(pipe) = self.net.pipe(way)
        {
            room = pipe.tell();
        }
        if way.stream == 0
            && let Some(conn) = self.net.conns.get_mut(&way.conn)
            && conn.pages[way.from]
            && let Some(bytes) = conn.pipes[way.from].first_mut().and_then(Option::as_mut).and_then(Pipe::tell)
        {
            conn.pages[way.from] = false;
            self.give(pid, Input::Room(way.conn, bytes));
        }
        if let Some(bytes) = room
            && let Some(space) = self.spaces.get(way.stream - 1)
        {
            self.give(pid, Input::Writable(way.conn, *space, bytes));
        }
    }

    /// What can leave on any stream of a connection leaves.
    pub(super) fn flush_conn(&mut self, id: ConnId) {
        for from in [0, 1] {
            let streams = self.net.conns.get(&id).map_or(0, |conn| conn.pipes[from].len());
            (0..streams).for_each(|stream| self.flush(Way { conn: id, from, stream }));
        }
    }

    /// Frames arrive, unless the way is closed: then they are lost and sent again when it opens.
    pub(super) fn arrive(&mut self, way: Way) -> Result<(), Violation> {
        let now = self.now;
        let Some(conn) = self.net.conns.get_mut(&way.conn) else { return Ok(()) };
        let (pid, heard) = (conn.pids[1 - way.from], conn.open[1 - way.from]);
        if conn.silent[way.from].is_some() {
            return Ok(());
        }
        let Some(pipe) = conn.pipes[way.from].get_mut(way.stream).and_then(Option::as_mut) else { return Ok(()) };
        if !pipe.arrive(now) {
            return Ok(());
        }
        if !heard {
            // Nobody is there any more.
            let lost: Vec<Message> = std::iter::from_fn(|| pipe.read()).collect();
            return {
                self.lose(lost);
                Ok(())
            };
        }
        if let Some(process) = self.hosts[pid].process.as_mut() {
            process.unread.push_back(way);
        }
        self.read_on(pid)
    }

    /// A process takes what has arrived for it, as far as it can.
    pub(super) fn read_on(&mut self, pid: Pid) -> Result<(), Violation> {
        if let Some(process) = self.hosts[pid].process.as_mut() {
            process.read_scheduled = false;
        }
        loop {
            let host = &mut self.hosts[pid];
            let (reads, until, life, paused) = (host.reads, host.read_until, host.life, host.paused_since.is_some());
            let Some(process) = host.process.as_mut() else { return Ok(()) };
            let Some(way) = process.unread.front().copied() else { return Ok(()) };
            if paused || !process.has_room() || reads == Some(0) {
                return Ok(());
            }
            let Some(bytes) = self.net.pipe(way).and_then(|pipe| pipe.peek()) else {
                if let Some(process) = self.hosts[pid].process.as_mut() {
                    process.unread.pop_front();
                }
                continue;
            };
            if let Some(rate) = reads {
                if until > self.now {
                    if !process.read_scheduled {
                        process.read_scheduled = true;
                        self.queue.schedule(until, Event::Take(pid, life));
                    }
                    return Ok(());
                }
                host.read_until = self.now + Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate.max(1));
            }
            let message = self.net.pipe(way).and_then(Pipe::read);
            if let Some(message) = message {
                self.receive(pid, way, message)?;
            }
            // Its window is free again, which the sender learns a little later.
            let waits = self.net.pipe(way).is_some_and(|pipe| pipe.departs().is_some());
            if waits {
                let pair = self.net.conns.get(&way.conn).map(|conn| (conn.nodes[1 - way.from], conn.nodes[way.from]));
                let latency = pair.map_or(Duration::ZERO, |(a, b)| self.paths.latency(a, b, 0));
                self.queue.schedule(self.now + latency, Event::Flush(way));
            }
        }
    }

    /// One frame, decoded and verified as the runtime does it.
    fn receive(&mut self, pid: Pid, way: Way, message: Message) -> Result<(), Violation> {
        let Some(conn) = self.net.conns.get(&way.conn) else { return Ok(()) };
        let nodes = conn.nodes;
        let (node, sender, origin) = (nodes[1 - way.from], nodes[way.from], conn.pids[way.from]);
        if message.bytes.is_empty() {
            self.close_end(way.conn, 1 - way.from, "the peer closed it");
            return Ok(());
        }
        self.event(Some(node), What::Received { message: message.no, from: sender });
        self.stats.frames += u64::from(!self.is_bad(nodes));
        let bytes = message.bytes.len();
        if way.stream > 0 && self.hosts[pid].full {
            // It has no room: what it turns away comes again.
            self.traffic.wasted += bytes as u64;
            self.stats.hit("entries reached a node without room");
        }
        let decoded = self.decoder.decode(way.conn, way.stream, &message.bytes);
        match decoded {
            Ok(None) => {}
            Ok(Some((input, entries))) => {
                if !self.is_bad(nodes) {
                    self.count_missing(pid, &input);
                }
                self.put(pid, Item { input, bytes, entries, write: None });
            }
            Err(why) if self.hosts[origin].damaged => {
                self.stats.hit("a damaged node said something that does not decode");
                self.cut(way.conn, &why);
            }
            Err(why) => {
                let detail = format!("{} said something that does not decode or verify: {why}", self.name(sender));
                return Err(self.violation(crate::outcome::Oracle::Panic, "a frame of an honest node", detail));
            }
        }
        Ok(())
    }

    /// Which end of a connection a machine is, if it knows it.
    pub(super) fn end_of(&self, pid: Pid, id: ConnId) -> Option<usize> {
        let conn = self.net.conns.get(&id)?;
        (0..2).find(|end| conn.pids[*end] == pid && conn.open[*end])
    }
}
