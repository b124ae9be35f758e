//! How connections end, as QUIC ends them.
//!
//! An end that hears nothing for the idle timeout gives up, and tells nobody. An end that was given up answers the next
//! packet with a reset, if packets pass both ways.

use std::time::Duration;

use tombolo_node::engine::{ConnId, Input};
use tombolo_transport::limits::{IDLE_TIMEOUT, KEEP_ALIVE};

use super::World;
use super::host::Pid;
use super::paths::about;
use super::pipe::{Message, Pipe};
use super::queue::{Event, Way};
use crate::trace::What;

impl World<'_> {
    /// An end gives the connection up by itself: its engine is told, the peer is not.
    pub(super) fn close_end(&mut self, id: ConnId, end: usize, reason: &str) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        if !std::mem::replace(&mut conn.open[end], false) {
            return;
        }
        let (pid, node, peer) = (conn.pids[end], conn.nodes[end], conn.nodes[1 - end]);
        self.event(Some(node), What::Closed { peer, reason: reason.to_owned() });
        self.give(pid, Input::Closed(id, reason.to_owned()));
        self.peer_down(pid, peer);
        self.hear(id);
        self.bury(id);
    }

    /// An engine closes a connection: the peer hears it after everything that was said before.
    pub(super) fn close(&mut self, pid: Pid, id: ConnId, reason: &str) {
        let Some(from) = self.end_of(pid, id) else { return };
        self.net.messages += 1;
        let farewell = Message { no: self.net.messages, bytes: Vec::new() };
        if let Some(pipe) = self.net.pipe(Way { conn: id, from, stream: 0 }) {
            let _ = pipe.push(farewell, false);
        }
        self.flush(Way { conn: id, from, stream: 0 });
        self.close_end(id, from, reason);
    }

    /// Both ends notice that it broke.
    pub(super) fn cut(&mut self, id: ConnId, reason: &str) {
        if let Some(conn) = self.net.conns.get(&id)
            && conn.pipes.iter().flatten().flatten().any(Pipe::in_flight)
        {
            self.stats.hit("a connection broke with frames on their way");
        }
        for end in [0, 1] {
            self.close_end(id, end, reason);
        }
    }

    /// The machine is gone, with all it knew.
    pub(super) fn forget_all(&mut self, pid: Pid) {
        for (id, end) in self.net.of(pid) {
            if let Some(conn) = self.net.conns.get_mut(&id) {
                conn.open[end] = false;
            }
            self.hear(id);
            self.bury(id);
        }
    }

    /// Removes a connection that nobody knows.
    fn bury(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        if conn.open != [false, false] {
            return;
        }
        if let Some(mut conn) = self.net.conns.remove(&id) {
            let lost: Vec<Message> = conn.pipes.iter_mut().flatten().flatten().flat_map(Pipe::lose).collect();
            self.lose(lost);
        }
    }

    pub(super) fn lose(&mut self, messages: Vec<Message>) {
        for message in messages.into_iter().filter(|message| !message.bytes.is_empty()) {
            self.traffic.wasted += message.bytes.len() as u64;
            self.event(None, What::Lost { message: message.no });
        }
    }

    /// Looks again at who hears whom on a connection.
    pub(super) fn hear(&mut self, id: ConnId) {
        for from in [0, 1] {
            let Some(conn) = self.net.conns.get(&id) else { return };
            let (sender, receiver) = (conn.nodes[from], conn.nodes[1 - from]);
            let host = &self.hosts[conn.pids[from]];
            let passes = self.paths.is_open(sender, receiver);
            // A close already said still arrives.
            let speaks = host.is_up()
                && (conn.open[from]
                    || conn.pipes[from].first().is_some_and(|pipe| pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())));
            let was = conn.silent[from];
            match (passes && speaks, was) {
                (false, None) => self.fall_silent(id, from),
                (true, Some(_)) => self.speak_again(id, from),
                _ => {}
            }
        }
        let Some(conn) = self.net.conns.get(&id) else { return };
        let [a, b] = conn.nodes;
        let both = self.paths.is_open(a, b) && self.paths.is_open(b, a);
        let up = conn.pids.iter().all(|pid| self.hosts[*pid].is_up());
        if let Some(end) = conn.open.iter().position(|open| *open)
            && conn.open != [true, true]
            && both
            && up
        {
            let until = self.luck.draw([about::KEEP_ALIVE, id.0, end as u64, self.now.as_secs()]);
            let wait = Duration::from_micros(until % u64::try_from(KEEP_ALIVE.as_micros()).unwrap_or(1));
            let latency = self.paths.latency(a, b, 0) * 2;
            self.queue.schedule(self.now + wait + latency, Event::Forgotten { conn: id, end });
        }
    }

    fn fall_silent(&mut self, id: ConnId, from: usize) {
        let now = self.now;
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        assert!(conn.silent[from].is_none(), "who falls silent has spoken before");
        conn.silent[from] = Some(now);
        if conn.pipes[from].iter().flatten().any(Pipe::in_flight) {
            self.stats.hit("frames on their way met a closed way");
        }
        self.queue.schedule(now + IDLE_TIMEOUT, Event::Silent { conn: id, from, since: now });
    }

    /// What was lost meanwhile is sent again.
    fn speak_again(&mut self, id: ConnId, from: usize) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        let since = conn.silent[from].take();
        assert!(since.is_some(), "who speaks again has been silent");
        let nodes = conn.nodes;
        // Probes double while nothing is heard: up to as long as it was silent.
        let silent = self.now.saturating_sub(since.unwrap_or(self.now));
        let luck = self.luck.draw([about::RESEND, id.0, from as u64, self.now.as_secs()]);
        let wait = Duration::from_micros(luck % (super::micros(silent) + 1)).min(KEEP_ALIVE);
        let arrives = self.now + wait + self.paths.latency(nodes[from], nodes[1 - from], 0);
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        let streams = conn.pipes[from].len();
        for stream in 0..streams {
            let way = Way { conn: id, from, stream };
            if self.net.pipe(way).is_some_and(|pipe| pipe.resend(arrives)) {
                self.queue.schedule(arrives, Event::Arrive(way));
            }
            self.flush(way);
        }
    }

    /// The idle timeout of whoever listens to end `from`.
    pub(super) fn silent(&mut self, id: ConnId, from: usize, since: Duration) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        if conn.silent[from] == Some(since) && conn.open[1 - from] {
            self.stats.hit("a connection timed out");
            self.close_end(id, 1 - from, "timed out");
        }
    }

    /// An end learns that the other one does not know the connection, if packets still pass.
    pub(super) fn forgotten(&mut self, id: ConnId, end: usize) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        let [a, b] = conn.nodes;
        let up = conn.pids.iter().all(|pid| self.hosts[*pid].is_up());
        if conn.open[end] && !conn.open[1 - end] && up && self.paths.is_open(a, b) && self.paths.is_open(b, a) {
            self.close_end(id, end, "the peer does not know it");
        }
    }
}
