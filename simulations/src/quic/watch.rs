//! Steps under the eyes of the oracles: what stands between the runtime's driver and the engine.

use std::time::Duration;

use tokio::sync::watch;
use tombolo_crdt::SpaceId;
use tombolo_node::engine::{Command, ConnId, Input, Now, Output, Outputs, Refusal, Reply};
use tombolo_node::runtime::Stepper;
use tombolo_transport::frame::Frame;

use super::about;
use super::machine::has_tripped;
use super::sites::{Shared, Sites};
use crate::outcome::Violation;
use crate::plan::NodeNo;
use crate::trace::What;

/// Computing time of an entry.
const ENTRY_TIME: Duration = Duration::from_micros(10);

/// Makes the steps of one process.
#[derive(Debug)]
pub(super) struct Watched {
    shared: Shared,
    node: NodeNo,
    life: u64,
    paused: watch::Receiver<bool>,
}

impl Watched {
    /// Of the process that has just been started on a node.
    pub(super) fn new(shared: &Shared, node: NodeNo, life: u64, paused: watch::Receiver<bool>) -> Self {
        Self { shared: shared.clone(), node, life, paused }
    }

    /// Waits while the process stands still.
    async fn goes_on(&mut self) {
        if self.paused.wait_for(|paused| !*paused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Stepper for Watched {
    async fn step(&mut self, now: Now, inputs: Vec<Input>) -> Outputs {
        self.goes_on().await;
        let at = self.shared.now();
        let made = self.shared.lock().step(at, self.node, self.life, now, inputs);
        let (outputs, took) = match made {
            Ok(Some(made)) => made,
            Ok(None) => {
                // The process died in this step: its task is ended from outside.
                self.shared.alarm.notify_one();
                return std::future::pending().await;
            }
            Err(violation) => {
                self.shared.report(violation);
                return std::future::pending().await;
            }
        };
        // Timers of the runtime go by the millisecond.
        let took = Duration::from_millis(u64::try_from((took.as_micros() + 500) / 1_000).unwrap_or(0));
        if !took.is_zero() {
            tokio::time::sleep(took).await;
        }
        self.goes_on().await;
        let at = self.shared.now();
        let released = self.shared.lock().released(at, self.node, self.life, &outputs);
        if let Err(violation) = released {
            self.shared.report(violation);
        }
        outputs
    }
}

impl Sites {
    /// One step of a process: what it gives, and how long it takes. `None`: the process is dead.
    fn step(
        &mut self,
        at: Duration,
        node: NodeNo,
        life: u64,
        now: Now,
        inputs: Vec<Input>,
    ) -> Result<Option<(Outputs, Duration)>, Violation> {
        for input in &inputs {
            self.before(at, node, input);
        }
        let count = inputs.len();
        let site = &mut self.list[node];
        let wall_millis = site.clock.read(at);
        let Some(engine) = site.engine.as_mut().filter(|_| site.life == life) else { return Ok(None) };
        let (commits, entries) = (engine.counters().commits, engine.counters().entries);
        let repaired = engine.repaired();
        let errors = site.disk.usage().errors;
        let outputs = engine.step(Now { wall_millis, ..now }, inputs);
        engine.check_invariants();
        if site.disk.usage().errors > errors {
            self.stats.hit(if site.full { "a write met a volume without room" } else { "a disk error hit" });
        }
        let committed = engine.counters().commits > commits;
        let settled = engine.counters().entries - entries;
        self.stats.count("rows built anew", engine.repaired().saturating_sub(repaired));
        if has_tripped(&site.disk) {
            self.tripped.push(node);
            return Ok(None);
        }
        self.oracles.stepped(at, node, engine, &outputs)?;
        let (commit, slow) = (site.commit, site.slow.max(1));
        self.stats.inputs += count as u64;
        self.stats.steps += 1;
        self.stats.commits += u64::from(committed);
        self.stats.entries += settled;
        let mut took = ENTRY_TIME * u32::try_from(settled).unwrap_or(u32::MAX);
        if committed {
            let nth = self.list[node].engine.as_ref().map_or(0, |engine| engine.counters().commits);
            took += commit.at(self.luck.draw32([about::COMMIT, node as u64, life, nth])) * slow;
        }
        if outputs.list.iter().any(|output| matches!(output, Output::Control(..) | Output::Transfer(..))) {
            self.last_frame = at;
        }
        let (inputs, entries) = (u32::try_from(count).unwrap_or(u32::MAX), u32::try_from(settled).unwrap_or(u32::MAX));
        self.event(at, Some(node), What::Stepped { inputs, entries, committed, took });
        Ok(Some((outputs, took)))
    }

    /// Looks at an input before its step.
    fn before(&mut self, at: Duration, node: NodeNo, input: &Input) {
        match input {
            Input::Command(to, Command::Write(write)) => {
                let Some(trace) = write.trace else { return };
                let [a, b, c, d, ..] = trace.trace;
                let no = u32::from_le_bytes([a, b, c, d]);
                let site = &mut self.list[node];
                site.waiting.insert(*to, no);
                if let Some(frontier) = site.engine.as_ref().and_then(|engine| engine.frontier(write.space)) {
                    self.oracles.asked(no, node, frontier);
                }
            }
            Input::Ranges { conn, space, ranges, .. } => {
                self.frame_came(at, node, *conn, Some(*space));
                let site = &mut self.list[node];
                let Some(frontier) = site.engine.as_ref().and_then(|engine| engine.frontier(*space)) else { return };
                for range in ranges {
                    let last = site.seen.entry(range.feed()).or_default();
                    *last = frontier.seq(range.feed()).max(*last);
                    for entry in range.entries().iter().filter(|entry| entry.seq > *last).collect::<Vec<_>>() {
                        *last = entry.seq;
                        self.stats.bytes_missing += entry.bytes.len() as u64;
                    }
                }
            }
            Input::Frame(conn, _) | Input::RulesRanges { conn, .. } => self.frame_came(at, node, *conn, None),
            Input::Timer => {
                self.stats.timers += 1;
                self.event(at, Some(node), What::Woke);
            }
            Input::Connected { conn, peer, dialled, .. } => {
                self.last_frame = at;
                self.stats.connections += u64::from(*dialled);
                if let Some(peer) = self.node_of(*peer) {
                    self.letters.connected(node, *conn, peer);
                    self.event(at, Some(node), What::Connected { peer });
                }
            }
            Input::Closed(conn, reason) => {
                self.last_frame = at;
                if let Some((peer, lost)) = self.letters.closed(node, *conn) {
                    self.event(at, Some(node), What::Closed { peer, reason: reason.clone() });
                    lost.into_iter().for_each(|message| self.event(at, Some(node), What::Lost { message }));
                }
            }
            _ => {}
        }
    }

    fn frame_came(&mut self, at: Duration, node: NodeNo, conn: ConnId, transfer: Option<SpaceId>) {
        self.last_frame = at;
        self.stats.frames += 1;
        if let Some((message, from)) = self.letters.received(node, conn, transfer) {
            self.event(at, Some(node), What::Received { message, from });
        }
    }

    fn frame_leaves(&mut self, at: Duration, node: NodeNo, conn: ConnId, transfer: Option<SpaceId>, frame: &Frame) {
        self.last_frame = at;
        if let Some((message, to)) = self.letters.sent(node, conn, transfer) {
            let bytes = u32::try_from(frame.encode().len()).unwrap_or(u32::MAX);
            self.event(at, Some(node), What::Sent { message, to, frame: frame.kind_name().into(), bytes });
        }
    }

    /// A step's outputs leave.
    fn released(&mut self, at: Duration, node: NodeNo, life: u64, outputs: &Outputs) -> Result<(), Violation> {
        if self.list[node].life != life {
            return Ok(());
        }
        for output in &outputs.list {
            let (to, reply) = match output {
                Output::Reply(to, reply) => (to, reply),
                Output::Control(conn, frame) => {
                    self.frame_leaves(at, node, *conn, None, frame);
                    continue;
                }
                Output::Transfer(conn, space, frame) => {
                    self.frame_leaves(at, node, *conn, Some(*space), frame);
                    continue;
                }
                _ => continue,
            };
            let Some(write) = self.list[node].waiting.remove(to) else { continue };
            let refusal = refusal_of(reply);
            self.event(at, Some(node), What::Answered { write, refused: refusal.map(ToString::to_string) });
            self.oracles.answered(at, write, node, reply)?;
        }
        Ok(())
    }
}

/// Why a write was refused; `None`: it was not.
pub(super) const fn refusal_of(reply: &Reply) -> Option<&Refusal> {
    match reply {
        Reply::Written(Err(refusal)) | Reply::Failed(refusal) => Some(refusal),
        _ => None,
    }
}
