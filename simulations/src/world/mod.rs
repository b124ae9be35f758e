//! The first lane: engines over a model network, a model disk and model clocks, in virtual time.
//!
//! A single-threaded loop over a queue of events. Every frame is bytes, encoded by its sender and decoded and verified
//! by its receiver; streams have the buffers and windows of the real transport; a step takes as long as its commit
//! takes on the node's disk, and what arrives meanwhile is taken by the next one, as in the runtime; dialling is
//! `transport`'s own.
//!
//! Start with [`run`], then `step.rs` (processes), `net.rs` (connections), `faults.rs`.

mod bad;
mod clients;
mod decode;
mod dialling;
mod ends;
mod faults;
mod host;
mod net;
mod paths;
mod pipe;
mod queue;
mod setup;
mod step;

use std::time::Duration;

use tombolo_crdt::{Digest, SpaceId};

use crate::luck::Luck;
use crate::oracle::{Oracles, Traffic, difference};
use crate::outcome::{Oracle, Outcome, RunOptions, Stats, Verdict, Violation};
use crate::panics;
use crate::plan::{NodeNo, Plan, Unsynced};
use crate::trace::{Recorder, What};
use clients::Clients;
use host::Host;
use net::Net;
use paths::Paths;
use queue::{Event, Queue};

// The other lane begins with the same machines, clocks and requests.
pub(crate) use clients::command_of;
pub(crate) use host::{EPOCH_MILLIS, WallClock, open};
pub(crate) use setup::prepare;

/// Events after which a run is given up as inconclusive: some ten minutes of computing.
const EVENTS_MAX: u64 = 50_000_000;
/// Reconnects of the survivors until one brings nothing new.
const SILENCE_TRIES: u32 = 8;
/// How often quiet is looked for.
const QUIET_STEP: Duration = Duration::from_millis(100);

/// Carries a plan out. Deterministic: equal plans give equal outcomes, event by event.
#[must_use]
pub fn run(plan: &Plan, options: RunOptions) -> Outcome {
    let mut world = match panics::catch(|| World::new(plan, options)) {
        Ok(world) => world,
        Err(caught) => return failed(Violation::from(caught)),
    };
    let verdict = match panics::catch(|| world.play()) {
        Ok(Ok(None)) => Verdict::Held,
        Ok(Ok(Some(why))) => Verdict::Inconclusive(why),
        Ok(Err(violation)) => Verdict::Violated(violation),
        Err(caught) => Verdict::Violated(Violation { at: world.now, ..caught.into() }),
    };
    world.finish(verdict)
}

fn failed(violation: Violation) -> Outcome {
    let (hash, trace) = Recorder::new(false).finish();
    Outcome { verdict: Verdict::Violated(violation), hash, stats: Stats::default(), trace }
}

/// Everything there is in a run.
#[derive(Debug)]
struct World<'a> {
    plan: &'a Plan,
    luck: Luck,
    now: Duration,
    queue: Queue,
    hosts: Vec<Host>,
    net: Net,
    decoder: decode::Decoder,
    paths: Paths,
    clients: Clients,
    spaces: Vec<SpaceId>,
    oracles: Oracles,
    recorder: Recorder,
    stats: Stats,
    traffic: Traffic,
    seen: step::Seen,
    /// Planned time is over.
    healed: bool,
}

impl World<'_> {
    /// Everything, from the beginning to quiet. `Some`: why nothing can be said.
    fn play(&mut self) -> Result<Option<String>, Violation> {
        self.schedule();
        if let Some(why) = self.until(self.plan.duration)? {
            return Ok(Some(why));
        }
        self.heal()?;
        let healed = self.now;
        if let Some(why) = self.quiet("converge")? {
            return Ok(Some(why));
        }
        self.stats.convergence_us = micros(self.now.saturating_sub(healed));
        self.event(None, What::Quiet);
        let survivors = &self.plan.survivors;
        let engines: Vec<_> = survivors
            .iter()
            .filter_map(|node| Some((*node, &self.hosts.get(*node)?.process.as_ref()?.engine)))
            .collect();
        self.oracles.quiet(self.now, &engines, self.traffic, &mut self.stats)?;
        self.silence()
    }

    /// What the plan says will happen.
    fn schedule(&mut self) {
        for (index, write) in self.plan.writes.iter().enumerate() {
            self.queue.schedule(write.at, Event::Ask(index));
        }
        for (index, fault) in self.plan.faults.iter().enumerate() {
            self.queue.schedule(fault.at, Event::Begin(index));
            if let crate::plan::Fault::Restore { taken, .. } = fault.fault {
                self.queue.schedule(taken, Event::Backup(index));
            }
        }
    }

    /// Lets everything happen that is due by then.
    fn until(&mut self, end: Duration) -> Result<Option<String>, Violation> {
        while let Some((at, event)) = self.queue.next(end) {
            assert!(at >= self.now, "time does not run backwards");
            self.now = at;
            self.happen(event)?;
            if self.stats.events() > EVENTS_MAX {
                return Ok(Some(format!("over {EVENTS_MAX} events")));
            }
        }
        self.now = self.now.max(end);
        Ok(None)
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Step(pid, life) if self.lives(pid, life) => self.step(pid),
            Event::Done(pid, life) if self.lives(pid, life) => self.release(pid),
            Event::Wake(pid, life) if self.lives(pid, life) => {
                self.wake(pid);
                Ok(())
            }
            Event::Read(pid, life, no) if self.lives(pid, life) => {
                self.has_read(pid, no);
                Ok(())
            }
            Event::Dial(pid, life) if self.lives(pid, life) => {
                self.dial(pid);
                Ok(())
            }
            Event::Dialled(pid, life, target, peer) if self.lives(pid, life) => self.dialled(pid, target, peer),
            Event::Take(pid, life) if self.lives(pid, life) => self.read_on(pid),
            Event::Step(..)
            | Event::Done(..)
            | Event::Wake(..)
            | Event::Dial(..)
            | Event::Dialled(..)
            | Event::Read(..)
            | Event::Take(..) => Ok(()),
            Event::Arrive(way) => self.arrive(way),
            Event::Flush(way) => {
                self.flush(way);
                Ok(())
            }
            Event::Silent { conn, from, since } => {
                self.silent(conn, from, since);
                Ok(())
            }
            Event::Forgotten { conn, end } => {
                self.forgotten(conn, end);
                Ok(())
            }
            Event::Ask(index) => {
                self.ask(index);
                Ok(())
            }
            Event::Backup(index) => {
                self.backup(index);
                Ok(())
            }
            Event::Begin(index) => self.begin(index),
            Event::End(index) => self.end(index),
            Event::Attack(this) => {
                self.attack(this);
                Ok(())
            }
        }
    }

    fn lives(&self, pid: host::Pid, life: queue::Life) -> bool {
        self.hosts.get(pid).is_some_and(|host| host.life == life && host.process.is_some())
    }

    /// Ends all faults among the survivors. The others are never well again, each in a way of its own.
    fn heal(&mut self) -> Result<(), Violation> {
        assert!(!self.healed, "a run is healed once");
        self.healed = true;
        self.event(None, What::Healed);
        for pid in 0..self.hosts.len() {
            if pid >= self.plan.nodes.len() {
                self.kill(pid, Unsynced::Kept);
            } else if self.survives(pid) {
                self.cure(pid)?;
            } else {
                self.abandon(pid);
            }
        }
        self.open_paths();
        Ok(())
    }

    /// Whether a node is among those that are healed in the end.
    fn survives(&self, node: NodeNo) -> bool {
        self.plan.survivors.contains(&node)
    }

    /// Whether what passes between two nodes is looked at: never with a member gone bad, in the end only among the
    /// survivors.
    fn counts(&self, nodes: [NodeNo; 2]) -> bool {
        !self.is_bad(nodes) && (!self.healed || nodes.iter().all(|node| self.survives(*node)))
    }

    /// Waits until the survivors are connected, equal and silent.
    fn quiet(&mut self, what: &str) -> Result<Option<String>, Violation> {
        let end = self.now + self.plan.patience;
        while self.now < end {
            if let Some(why) = self.until(self.now + QUIET_STEP)? {
                return Ok(Some(why));
            }
            if self.is_silent() && self.is_connected() {
                let differ = self.difference();
                if differ.is_none() {
                    return Ok(None);
                }
                if self.wakes_at().is_none() {
                    let detail = format!("all is quiet and yet {}", differ.unwrap_or_default());
                    return Err(self.violation(Oracle::Liveness, "silent but unequal", detail));
                }
            }
        }
        let why = self.difference().unwrap_or_else(|| match self.is_connected() {
            true => "they still talk".to_owned(),
            false => "they are not all connected".to_owned(),
        });
        let detail = format!("the survivors did not {what} within {:?}: {why}", self.plan.patience);
        Err(self.violation(Oracle::Liveness, &format!("did not {what}"), detail))
    }

    /// Reconnects the survivors: with nothing new that must cost a constant and then end. A neighbour that is left
    /// unwell may still bring something new; then it is tried again.
    fn silence(&mut self) -> Result<Option<String>, Violation> {
        for _ in 0..SILENCE_TRIES {
            let (before, had) = (self.traffic, self.frontiers());
            self.reset_survivors();
            if let Some(why) = self.quiet("fall silent after reconnecting")? {
                return Ok(Some(why));
            }
            if self.frontiers() != had {
                self.stats.hit("something new came while survivors reconnected");
                continue;
            }
            let took = Traffic {
                bytes: self.traffic.bytes - before.bytes,
                transferred: self.traffic.transferred - before.transferred,
                connections: self.traffic.connections - before.connections,
                wasted: self.traffic.wasted - before.wasted,
            };
            assert!(took.transferred <= took.bytes, "what was transferred is part of what was sent");
            self.oracles.reconnected(self.now, took)?;
            return Ok(None);
        }
        Ok(Some(format!("something new came in each of {SILENCE_TRIES} reconnects")))
    }

    /// What the survivors have, by space.
    fn frontiers(&self) -> Vec<Option<Digest>> {
        let engines = self.plan.survivors.iter().filter_map(|node| self.hosts.get(*node)?.process.as_ref());
        let of = |space| engines.clone().find_map(|process| Some(process.engine.frontier(space)?.digest()));
        self.spaces.iter().map(|space| of(*space)).collect()
    }

    /// Whether nothing is on its way among the survivors, and nobody works.
    fn is_silent(&self) -> bool {
        let idle = |host: &Host| {
            let process = host.process.as_ref();
            process.is_none_or(|process| !process.has_work() && process.done.is_none() && !process.step_scheduled)
        };
        let mut theirs = self.hosts.iter().filter(|host| self.survives(host.node));
        theirs.all(idle) && self.net.is_silent(&self.plan.survivors) && self.clients.is_idle()
    }

    /// Whether every link among the survivors stands.
    fn is_connected(&self) -> bool {
        let mut links = self.plan.links.iter().filter(|link| self.survives(link.from) && self.survives(link.to));
        links.all(|link| self.net.are_connected(link.from, link.to))
    }

    /// The next time a survivor's engine wants to wake.
    fn wakes_at(&self) -> Option<Duration> {
        let theirs = self.hosts.iter().filter(|host| self.survives(host.node));
        theirs.filter_map(|host| host.process.as_ref()?.wake).min()
    }

    fn difference(&self) -> Option<String> {
        let engine = |node: NodeNo| Some(&self.hosts.get(node)?.process.as_ref()?.engine);
        difference(self.plan, &self.spaces, engine).or_else(|| self.oracles.damaged(&self.plan.survivors))
    }

    fn name(&self, node: NodeNo) -> &str {
        self.plan.nodes.get(node).map_or("a clone", |node| node.name.as_str())
    }

    fn violation(&self, oracle: Oracle, place: &str, detail: String) -> Violation {
        Violation { oracle, place: place.to_owned(), node: None, at: self.now, detail }
    }

    fn event(&mut self, node: Option<NodeNo>, what: What) {
        self.recorder.event(self.now, node, what);
    }

    fn finish(mut self, verdict: Verdict) -> Outcome {
        if let Verdict::Violated(violation) = &verdict {
            let (oracle, detail) = (violation.oracle.name().to_owned(), violation.detail.clone());
            self.recorder.event(self.now, violation.node, What::Violated { oracle, detail });
        }
        assert!(verdict != Verdict::Held || self.healed, "a run that held has come to its end");
        // Damaged stores may not close in order.
        let hosts = std::mem::take(&mut self.hosts);
        let _ = panics::catch(|| drop(hosts));
        self.stats.virtual_us = micros(self.now);
        self.stats.bytes_sent = self.traffic.bytes;
        self.stats.bytes_transferred = self.traffic.transferred;
        self.stats.connections = self.traffic.connections;
        let (hash, trace) = self.recorder.finish();
        Outcome { verdict, hash, stats: self.stats, trace }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
