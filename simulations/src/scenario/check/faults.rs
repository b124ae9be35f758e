//! Faults that were spelled out, and the frame of random ones.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Check, shown};
use crate::plan::NodeNo;
use crate::scenario::language::{End, Statement, What};
use crate::scenario::model::{Survivors, Who};

impl Check<'_> {
    pub(super) fn faults(&mut self) {
        let draft = self.draft;
        let mut flipped: BTreeSet<NodeNo> = BTreeSet::new();
        for statement in &draft.faults {
            self.statement(statement, &mut flipped);
        }
        if let Some(random) = &draft.random {
            self.during(&random.place, random.during);
            if random.kinds.is_empty() {
                self.wrong(&random.place, "[random] has no kinds of faults");
            }
        }
        self.overlaps();
    }

    fn statement(&mut self, statement: &Statement, flipped: &mut BTreeSet<NodeNo>) {
        let place = &statement.place;
        self.within(place, "a fault", statement.begin);
        match statement.end {
            End::Once | End::Open => {}
            End::At(when) => self.within(place, "the end of a fault", when),
            End::For(lasts) => {
                let latest = (statement.begin.latest() + lasts.latest()).into();
                self.within(place, "the end of a fault", latest);
            }
        }
        for who in statement.what.everybody() {
            self.known(who);
        }
        self.sides(statement);
        match &statement.what {
            What::Heal => self.heal(statement),
            What::Restore { taken, .. } if taken.latest() >= statement.begin.base => {
                let message = format!(
                    "the backup of {} must be made before it is restored at {}",
                    shown(taken.latest()),
                    shown(statement.begin.base)
                );
                self.wrong(place, message);
            }
            What::BitFlips { who, .. } => self.flips(statement, who, flipped),
            What::RollingRestart { who, every, down, .. } => {
                let nodes = match who {
                    Who::All => self.names.count(),
                    Who::Any => 1,
                    Who::These(names) => self.names.these(names).len(),
                };
                let rounds = u32::try_from(nodes.saturating_sub(1)).unwrap_or(u32::MAX);
                let last = every.checked_mul(rounds).and_then(|all| all.checked_add(down.latest()));
                let end = statement.begin.latest().saturating_add(last.unwrap_or(Duration::MAX));
                self.within(place, "the end of the rolling restart", end.into());
            }
            _ => {}
        }
    }

    /// Two sides that are the same leave nothing to do.
    fn sides(&mut self, statement: &Statement) {
        let (What::Cut { a, b, .. }
        | What::Clog { a, b, .. }
        | What::Slow { a, b, .. }
        | What::Lossy { a, b, .. }
        | What::Flap { a, b, .. }
        | What::Reset { a, b }
        | What::Replay { a, b }) = &statement.what
        else {
            return;
        };
        let empty = match (a, b) {
            (Who::These(a), Who::These(b)) => {
                let (a, b) = (self.names.these(a), self.names.these(b));
                !b.is_empty() && b.iter().all(|no| a.contains(no))
            }
            (Who::These(one), Who::All | Who::Any) | (Who::All, Who::These(one)) => {
                self.names.these(one).len() == self.names.count()
            }
            (Who::All, Who::Any) => true,
            _ => self.names.count() < 2,
        };
        if empty {
            self.wrong(&statement.place, "the two sides are the same nodes: nothing is between them");
        }
    }

    /// A heal must have something to heal.
    fn heal(&mut self, heal: &Statement) {
        let open = |other: &&Statement| other.end == End::Open && other.begin.latest() < heal.begin.base;
        if !self.draft.faults.iter().any(|other| open(&other)) {
            self.wrong(&heal.place, "nothing is open to be healed: no earlier fault without an end of its own");
        }
    }

    fn flips(&mut self, statement: &Statement, who: &Who, flipped: &mut BTreeSet<NodeNo>) {
        let place = &statement.place;
        let nodes = match (who, &self.draft.survivors) {
            (_, Survivors::All) => {
                self.wrong(place, "a damaged file may have lost writes, so its node cannot be a survivor; all are");
                return;
            }
            (Who::All, _) => (0..self.names.count()).collect(),
            (Who::Any, _) => Vec::new(),
            (Who::These(names), _) => self.names.these(names),
        };
        if let Survivors::Named(survivors) = &self.draft.survivors {
            let survivors = self.names.these(survivors);
            if nodes.iter().any(|no| survivors.contains(no)) {
                self.wrong(place, "a damaged file may have lost writes, so its node cannot be a survivor");
            }
        }
        flipped.extend(nodes);
        if flipped.len() == self.names.count() {
            self.wrong(place, "the files of all nodes are damaged: nobody is left to survive");
        }
    }

    /// Two faults of one process at one time cannot be carried out. What may or may not overlap is an error too.
    fn overlaps(&mut self) {
        let mut spans: Vec<(NodeNo, Duration, Duration, &Statement)> = Vec::new();
        for statement in &self.draft.faults {
            let (What::Crash { who, .. }
            | What::Pause(who)
            | What::Restore { who, .. }
            | What::BitFlips { who, .. }
            | What::Clone(who)) = &statement.what
            else {
                continue;
            };
            let end = match statement.end {
                End::At(when) => when.latest(),
                End::For(lasts) => statement.begin.latest() + lasts.latest(),
                End::Once | End::Open => statement.begin.latest(),
            };
            let nodes = match who {
                Who::Any => Vec::new(),
                Who::All => (0..self.names.count()).collect(),
                Who::These(names) => self.names.these(names),
            };
            spans.extend(nodes.into_iter().map(|no| (no, statement.begin.base, end, statement)));
        }
        let mut said = BTreeSet::new();
        for (index, (node, begin, end, statement)) in spans.iter().enumerate() {
            let earlier = spans.iter().take(index).find(|(no, b, e, _)| no == node && b <= end && begin <= e);
            if let Some((.., other)) = earlier
                && said.insert(statement.place.to_string())
            {
                let name = self.draft.nodes.get(*node).map_or("", |node| node.name.text.as_str());
                let line = other.place.line();
                let message =
                    format!("may overlap with the fault of line {line}: `{name}` takes one such fault at a time");
                self.wrong(&statement.place, message);
            }
        }
    }
}

impl What {
    /// Everybody that is named.
    fn everybody(&self) -> Vec<&Who> {
        match self {
            Self::Cut { a, b, .. }
            | Self::Clog { a, b, .. }
            | Self::Slow { a, b, .. }
            | Self::Lossy { a, b, .. }
            | Self::Flap { a, b, .. }
            | Self::Reset { a, b }
            | Self::Replay { a, b } => vec![a, b],
            Self::Isolate(who)
            | Self::Bridge(who)
            | Self::Swizzle(who)
            | Self::HalfOpen(who)
            | Self::Readdress(who)
            | Self::SlowReader { who, .. }
            | Self::Crash { who, .. }
            | Self::RollingRestart { who, .. }
            | Self::Pause(who)
            | Self::Clock { who, .. }
            | Self::DiskFull(who)
            | Self::DiskError { who, .. }
            | Self::DiskSlow { who, .. }
            | Self::BitFlips { who, .. }
            | Self::Restore { who, .. }
            | Self::Clone(who) => vec![who],
            Self::Heal | Self::Split(_) | Self::Ring | Self::MassReconnect => Vec::new(),
        }
    }
}
