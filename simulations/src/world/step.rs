//! Processes: inputs gather, a step takes them, its outputs leave when its commit stands.

use std::time::Duration;

use tombolo_crdt::FeedId;
use tombolo_node::chain::Look;
use tombolo_node::engine::{Input, Output};
use tombolo_node::outgoing::Load;

use super::World;
use super::host::{Item, Pid, Process, Read};
use super::paths::about;
use super::queue::Event;
use crate::oracle::{Oracles, Start};
use crate::outcome::{Oracle, Violation};
use crate::plan::{NodeNo, Unsynced};
use crate::trace::What;

/// Computing time of a step.
const STEP_TIME: Duration = Duration::from_micros(20);
/// Computing time of an entry.
const ENTRY_TIME: Duration = Duration::from_micros(10);
/// A look at an entity's past takes less than so many microseconds.
const LOOK_MICROS: u64 = 200_000;
/// A load takes less than this: it is a few megabytes at most.
const LOAD_MICROS: u64 = 10_000;

impl World<'_> {
    /// Something for an engine, if it runs.
    pub(super) fn give(&mut self, pid: Pid, input: Input) {
        self.put(pid, Item { input, bytes: 0, entries: 1, write: None });
    }

    pub(super) fn put(&mut self, pid: Pid, item: Item) {
        if let Some(process) = self.hosts[pid].process.as_mut() {
            process.take(item);
            self.step_soon(pid);
        }
    }

    /// A step, as soon as the process has time.
    pub(super) fn step_soon(&mut self, pid: Pid) {
        let now = self.now;
        let host = &mut self.hosts[pid];
        let (life, up) = (host.life, host.is_up());
        if let Some(process) = host.process.as_mut()
            && up
            && process.done.is_none()
            && !process.step_scheduled
        {
            process.step_scheduled = true;
            self.queue.schedule(now, Event::Step(pid, life));
        }
    }

    /// One step over everything that has come.
    pub(super) fn step(&mut self, pid: Pid) -> Result<(), Violation> {
        let host = &mut self.hosts[pid];
        let (node, up, clocks) = (host.node, host.is_up(), host.now(self.now));
        let Some(process) = host.process.as_mut() else { return Ok(()) };
        process.step_scheduled = false;
        if !up || process.done.is_some() || !process.has_work() {
            return Ok(());
        }
        let items = process.gather();
        let count = items.len();
        for write in items.iter().filter_map(|item| item.write) {
            if let Some(space) = self.clients.space_of(write, self.plan, &self.spaces)
                && let Some(frontier) = process.engine.frontier(space)
            {
                self.oracles.asked(write, node, frontier);
            }
        }
        self.stats.inputs += count as u64;
        self.stats.steps += 1;
        let (commits, entries) = (process.engine.counters().commits, process.engine.counters().entries);
        let repaired = process.engine.repaired();
        let errors = host.disk.usage().errors;
        let outputs = process.engine.step(clocks, items.into_iter().map(|item| item.input).collect());
        let is_clone = pid >= self.plan.nodes.len();
        let committed = process.engine.counters().commits > commits;
        let settled = process.engine.counters().entries - entries;
        self.stats.count("rows built anew", process.engine.repaired().saturating_sub(repaired));
        if host.disk.usage().errors > errors {
            self.stats.hit(if host.full { "a write met a volume without room" } else { "a disk error hit" });
        }
        if host.disk.has_tripped() {
            self.stats.hit("a crash in the middle of a commit");
            return self.trip(pid);
        }
        let Some(process) = self.hosts[pid].process.as_mut() else { return Ok(()) };
        let watched = if is_clone { Oracles::clone_of(self.plan, node) } else { node };
        self.oracles.stepped(self.now, watched, &process.engine, &outputs)?;
        assert!(process.done.is_none(), "a step begins when what the last one said has left");
        process.left = outputs.left;
        process.done = Some(outputs);
        self.stats.commits += u64::from(committed);
        self.stats.entries += settled;
        let took = self.time_of(pid, committed, settled);
        let (inputs, entries) = (u32::try_from(count).unwrap_or(u32::MAX), u32::try_from(settled).unwrap_or(u32::MAX));
        self.event(Some(node), What::Stepped { inputs, entries, committed, took });
        let life = self.hosts[pid].life;
        self.queue.schedule(self.now + took, Event::Done(pid, life));
        // There is room for what waits.
        self.read_on(pid)
    }

    fn time_of(&mut self, pid: Pid, committed: bool, entries: u64) -> Duration {
        let host = &self.hosts[pid];
        let computing = STEP_TIME + ENTRY_TIME * u32::try_from(entries).unwrap_or(u32::MAX);
        if !committed {
            return computing;
        }
        let random = self.luck.draw32([about::COMMIT, pid as u64, host.life, self.stats.steps]);
        computing + host.commit.at(random) * host.slow.max(1)
    }

    /// The step's outputs leave, in order.
    pub(super) fn release(&mut self, pid: Pid) -> Result<(), Violation> {
        if self.hosts[pid].paused_since.is_some() {
            // Released when the process goes on.
            return Ok(());
        }
        let Some(outputs) = self.hosts[pid].process.as_mut().and_then(|process| process.done.take()) else {
            return Ok(());
        };
        let wake = outputs.wake.map(|(at, _)| self.hosts[pid].moment(at));
        for output in outputs.list {
            match output {
                Output::Reply(to, reply) => self.answered(pid, to, &reply)?,
                Output::Control(conn, frame) => self.send(pid, conn, 0, &frame),
                Output::Transfer(conn, space, frame) => {
                    if let Some(at) = self.spaces.iter().position(|known| *known == space) {
                        self.send(pid, conn, at + 1, &frame);
                    }
                }
                Output::Close(conn, _, reason) => self.close(pid, conn, &reason),
                Output::Targets(targets) => self.aim(pid, &targets),
                Output::Look(look) => self.look(pid, *look),
                Output::Load(load) => self.load(pid, load),
                Output::Journal(..) | Output::Acknowledged(_) | Output::Standing(..) | Output::Known(_) => {}
            }
        }
        self.set_wake(pid, wake);
        if self.hosts[pid].process.as_ref().is_some_and(Process::has_work) {
            self.step_soon(pid);
        }
        Ok(())
    }

    /// A look is made at once. Its answer comes as late as on a busy machine.
    fn look(&mut self, pid: Pid, look: Look) {
        let random = self.luck.draw([about::LOOK, pid as u64, self.hosts[pid].life, look.number]);
        let read = Read::Done(Box::new(Input::Looked(Box::new(look.answer(&|| true)))));
        self.reads(pid, read, Duration::from_micros(random % LOOK_MICROS));
    }

    /// A load is made at once, or when its time is over.
    fn load(&mut self, pid: Pid, load: Box<Load>) {
        let random = self.luck.draw([about::LOAD, pid as u64, self.hosts[pid].life, load.number]);
        let read = match random & 1 {
            0 => Read::Done(Box::new(Input::Loaded(Box::new(load.answer())))),
            _ => Read::Late(load),
        };
        self.reads(pid, read, Duration::from_micros((random >> 1) % LOAD_MICROS));
    }

    fn reads(&mut self, pid: Pid, read: Read, took: Duration) {
        let life = self.hosts[pid].life;
        let Some(process) = self.hosts[pid].process.as_mut() else { return };
        process.asked += 1;
        process.reads.insert(process.asked, read);
        self.queue.schedule(self.now + took, Event::Read(pid, life, process.asked));
    }

    pub(super) fn has_read(&mut self, pid: Pid, no: u64) {
        let read = self.hosts[pid].process.as_mut().and_then(|process| process.reads.remove(&no));
        match read {
            Some(Read::Done(input)) => self.give(pid, *input),
            Some(Read::Late(load)) => self.give(pid, Input::Loaded(Box::new(load.answer()))),
            None => {}
        }
    }

    fn set_wake(&mut self, pid: Pid, wake: Option<Duration>) {
        let (now, host) = (self.now, &mut self.hosts[pid]);
        let life = host.life;
        let Some(process) = host.process.as_mut() else { return };
        process.wake = wake.map(|at| at.max(now));
        if let Some(at) = process.wake
            && process.wake_scheduled.is_none_or(|scheduled| at < scheduled)
        {
            process.wake_scheduled = Some(at);
            self.queue.schedule(at, Event::Wake(pid, life));
        }
    }

    /// A timer fires, unless it was put off.
    pub(super) fn wake(&mut self, pid: Pid) {
        let (now, host) = (self.now, &mut self.hosts[pid]);
        let (node, life, up) = (host.node, host.life, host.is_up());
        let Some(process) = host.process.as_mut() else { return };
        if process.wake_scheduled != Some(now) {
            return;
        }
        process.wake_scheduled = None;
        match process.wake {
            Some(at) if at > now => {
                process.wake_scheduled = Some(at);
                self.queue.schedule(at, Event::Wake(pid, life));
            }
            Some(_) if up => {
                process.wake = None;
                self.stats.timers += 1;
                self.event(Some(node), What::Woke);
                self.give(pid, Input::Timer);
            }
            _ => {}
        }
    }

    /// Bytes of entries that are new to a process.
    pub(super) fn count_missing(&mut self, pid: Pid, input: &Input) {
        let Input::Ranges { space, ranges, .. } = input else { return };
        let Some(process) = self.hosts[pid].process.as_ref() else { return };
        let Some(frontier) = process.engine.frontier(*space) else { return };
        let seen = self.seen.entry(pid).or_default();
        for range in ranges {
            let last: &mut u64 = seen.entry(range.feed()).or_default();
            *last = frontier.seq(range.feed()).max(*last);
            for entry in range.entries() {
                if entry.seq > *last {
                    *last = entry.seq;
                    self.stats.bytes_missing += entry.bytes.len() as u64;
                }
            }
        }
    }

    /// Starts a process on what its disk holds.
    pub(super) fn start(&mut self, pid: Pid, start: Start) -> Result<(), Violation> {
        let host = &mut self.hosts[pid];
        assert!(host.process.is_none(), "a machine has one process at a time");
        host.life += 1;
        let (node, life, damaged) = (host.node, host.life, host.damaged);
        let seed = self.luck.bytes([about::SEED, pid as u64, life, 0]);
        let errors = host.disk.usage().errors;
        let opened = host.open(seed);
        if host.disk.has_tripped() {
            self.stats.hit("a crash in the middle of a repair");
            host.disk = host.disk.crash(Unsynced::Torn, self.luck.draw([about::CRASH, pid as u64, life, 1]));
            return self.start(pid, start);
        }
        if opened.is_err() && host.disk.usage().errors > errors {
            // Whatever watches over the process starts it again; a disk fails once.
            self.stats.hit("the disk failed while a store was opened");
            return self.start(pid, start);
        }
        self.seen.remove(&pid);
        let start = if damaged { Start::Damaged } else { start };
        match opened {
            Ok(engine) => {
                let digests = self.spaces.iter().filter_map(|space| engine.state_digest(*space));
                let state = digests.map(|digest| digest.to_string()).collect::<Vec<_>>().join(" ");
                self.event(Some(node), What::Started { state });
                self.oracles.started(self.now, self.watched(pid), start, &engine)?;
                self.hosts[pid].process = Some(Process::new(engine));
                // The first step says whom to dial and when to wake.
                self.give(pid, Input::Timer);
                self.clients_return(pid);
                for (id, _) in self.net.facing(pid) {
                    self.hear(id);
                }
                Ok(())
            }
            Err(reason) if damaged => {
                self.stats.hit("a damaged store was refused");
                self.event(Some(node), What::NotStarted { reason });
                Ok(())
            }
            Err(reason) => {
                let detail = format!("{} does not start: {reason}", self.name(node));
                Err(self.violation(Oracle::Durability, "a store does not open", detail))
            }
        }
    }

    /// The number of a process for the oracles: clones have their own.
    fn watched(&self, pid: Pid) -> NodeNo {
        if pid < self.plan.nodes.len() { pid } else { Oracles::clone_of(self.plan, self.hosts[pid].node) }
    }

    /// The process is gone, and what it had not said; what its disk had not been asked to keep has its fate.
    pub(super) fn kill(&mut self, pid: Pid, unsynced: Unsynced) {
        let host = &mut self.hosts[pid];
        let node = host.node;
        if host.process.is_none() {
            return;
        }
        // First the power, then the process: an orderly end would write.
        host.disk = host.disk.crash(unsynced, self.luck.draw([about::CRASH, pid as u64, host.life, 0]));
        host.process = None;
        host.life += 1;
        host.paused_since = None;
        self.event(Some(node), What::Died);
        self.clients_wait(pid);
        self.forget_all(pid);
        debug_assert!(self.net.of(pid).is_empty(), "who is dead knows no connection");
    }
}

/// Last position of each feed that was ever carried to a process.
pub(super) type Seen = std::collections::BTreeMap<Pid, std::collections::BTreeMap<FeedId, u64>>;
