//! What happens when: writes, faults and backups of the plan in the order of their times.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::air::Air;
use super::clients;
use super::flight;
use super::process::Process;
use super::sites::{Shared, Sites};
use crate::oracle::Start;
use crate::outcome::{Outcome, RunOptions, Verdict, Violation};
use crate::panics;
use crate::plan::{Fault, Plan, Unsynced};
use crate::trace::What;
use crate::world;

/// What is due at a time. At equal times faults end before others begin, and writes come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    End(usize),
    Backup(usize),
    Begin(usize),
    Ask(usize),
}

/// A run.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) plan: Plan,
    pub(super) shared: Shared,
    pub(super) air: Air,
    pub(super) processes: Vec<Option<Process>>,
    /// Tasks that keep slow readers from reading.
    pub(super) deaf: Vec<Option<JoinSet<()>>>,
    tasks: JoinSet<()>,
}

impl Play {
    /// Prepares everything; time begins now.
    pub(super) fn new(plan: &Plan, options: RunOptions) -> Self {
        let prepared = world::prepare(plan, |node| flight::address(node, 0).to_string());
        let sites = Sites::new(plan, options, prepared.spaces, prepared.nodes);
        let start = Instant::now();
        let air = Air::new(plan, start);
        let mut tasks = JoinSet::new();
        tasks.spawn(air.clone().carry());
        let count = plan.nodes.len();
        Self {
            plan: plan.clone(),
            shared: Shared::new(sites, start),
            air,
            processes: (0..count).map(|_| None).collect(),
            deaf: (0..count).map(|_| None).collect(),
            tasks,
        }
    }

    /// Carries the plan out and says what came of it.
    pub(super) async fn finish(mut self) -> Outcome {
        let verdict = match self.play().await {
            Ok(()) => Verdict::Held,
            Err(violation) => Verdict::Violated(violation),
        };
        let at = self.shared.now();
        let mut sites = self.shared.lock();
        if let Verdict::Violated(violation) = &verdict {
            let (oracle, detail) = (violation.oracle.name().to_owned(), violation.detail.clone());
            sites.event(at, violation.node, What::Violated { oracle, detail });
        }
        let (traffic, hash) = (sites.traffic(), sites.hash());
        let mut stats = std::mem::take(&mut sites.stats);
        stats.virtual_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        (stats.bytes_sent, stats.bytes_transferred) = (traffic.bytes, traffic.transferred);
        for (what, count) in self.air.hits() {
            stats.hits.insert(what.to_owned(), count);
        }
        let recorder = std::mem::replace(&mut sites.recorder, crate::trace::Recorder::new(false));
        let (_, trace) = recorder.finish();
        Outcome { verdict, hash, stats, trace }
    }

    async fn play(&mut self) -> Result<(), Violation> {
        for node in 0..self.plan.nodes.len() {
            self.start(node, Start::Fresh)?;
        }
        for (at, due) in self.schedule() {
            self.until(at).await?;
            match due {
                Due::End(index) => self.end(index)?,
                Due::Backup(index) => self.backup(index),
                Due::Begin(index) => self.begin(index).await?,
                Due::Ask(index) => drop(self.tasks.spawn(clients::ask(self.shared.clone(), index))),
            }
        }
        self.until(self.plan.duration).await?;
        self.heal().await?;
        self.settle().await
    }

    fn schedule(&self) -> Vec<(Duration, Due)> {
        let mut due = Vec::new();
        for (index, fault) in self.plan.faults.iter().enumerate() {
            due.push((fault.at, Due::Begin(index)));
            if fault.until > fault.at {
                due.push((fault.until, Due::End(index)));
            }
            if let Fault::Restore { taken, .. } = fault.fault {
                due.push((taken, Due::Backup(index)));
            }
        }
        due.extend(self.plan.writes.iter().enumerate().map(|(index, write)| (write.at, Due::Ask(index))));
        due.sort_unstable();
        due
    }

    /// Lets time pass until then, seeing to what comes up meanwhile.
    pub(super) async fn until(&mut self, at: Duration) -> Result<(), Violation> {
        loop {
            self.check().await?;
            let end = self.shared.start + at;
            if Instant::now() >= end {
                return Ok(());
            }
            let alarm = self.shared.alarm.clone();
            tokio::select! {
                biased;
                () = alarm.notified() => {}
                () = tokio::time::sleep_until(end) => {}
            }
        }
    }

    async fn check(&mut self) -> Result<(), Violation> {
        if let Some(caught) = panics::caught() {
            return Err(Violation { at: self.shared.now(), ..caught.into() });
        }
        let (violation, tripped) = {
            let mut sites = self.shared.lock();
            (sites.violation.take(), std::mem::take(&mut sites.tripped))
        };
        if let Some(violation) = violation {
            return Err(violation);
        }
        for node in tripped {
            self.hit("a crash in the middle of a commit");
            let unsynced = self.shared.lock().list[node].trips.take().unwrap_or(Unsynced::Torn);
            self.crash(node, unsynced).await;
        }
        Ok(())
    }
}
