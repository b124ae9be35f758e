//! Faults that were spelled out, and the frame of random ones.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Check, shown};
use crate::plan::{NodeNo, ROW_FLIPS_MAX};
use crate::scenario::expand::FAULTS_MAX;
use crate::scenario::language::{End, Statement, What};
use crate::scenario::model::{Survivors, Who};
use crate::scenario::random::expected;

impl Check<'_> {
    pub(super) fn faults(&mut self) {
        let draft = self.draft;
        let mut flipped: BTreeSet<NodeNo> = BTreeSet::new();
        for statement in &draft.faults {
            self.statement(statement, &mut flipped);
        }
        self.amount();
        if let Some(random) = &draft.random {
            self.during(&random.place, random.during);
            if random.kinds.is_empty() {
                self.wrong(&random.place, "[random] has no kinds of faults");
            }
        }
        self.overlaps();
    }

    /// No plan has more faults than it holds, whatever is drawn; of random ones, as many as are to be expected.
    fn amount(&mut self) {
        let draft = self.draft;
        let nodes = self.names.count() as u64;
        let mut total: u64 = 0;
        for statement in &draft.faults {
            let most = self.most(statement);
            total = total.saturating_add(most);
            if total > FAULTS_MAX as u64 {
                let message = format!(
                    "this is up to {most} faults, with those before it {total}: too many; allowed: {FAULTS_MAX}"
                );
                return self.wrong(&statement.place, message);
            }
        }
        let Some(random) = &draft.random else { return };
        let span = random.during.map_or(draft.duration, |(from, to)| to.latest().saturating_sub(from.base));
        let expected = |kind| expected(kind, random.stability, span, nodes);
        let drawn = random.kinds.iter().map(expected).fold(total, u64::saturating_add);
        if drawn > FAULTS_MAX as u64 {
            let message = format!(
                "[random] comes to about {drawn} faults, with those spelled out: too many; allowed: {FAULTS_MAX}; lower `rate`, or shorten `during`"
            );
            self.wrong(&random.place, message);
        }
    }

    /// Most single faults of a statement, of all seeds.
    fn most(&self, statement: &Statement) -> u64 {
        let nodes = self.names.count() as u64;
        let begin = statement.begin.base;
        let end = match statement.end {
            End::At(when) => when.latest(),
            End::For(lasts) => statement.begin.latest() + lasts.latest(),
            End::Once | End::Open => self.draft.duration,
        };
        match &statement.what {
            What::Heal => 0,
            What::Flap { down, up, .. } => {
                let round = (down.base + up.base).as_micros().max(1);
                u64::try_from(end.saturating_sub(begin).as_micros().div_ceil(round)).unwrap_or(u64::MAX)
            }
            What::Split(parts) => (*parts as u64).min(nodes).pow(2),
            What::Swizzle(_) => 2 * nodes,
            What::Clog { .. } => 2,
            What::Cut { .. } | What::Bridge(_) | What::MassReconnect => 1,
            What::Slow { .. } | What::Lossy { .. } | What::Reset { .. } | What::Replay { .. } => 1,
            What::Ring => nodes,
            _ => self.meant(statement),
        }
    }

    /// How many nodes a statement is about at most.
    fn meant(&self, statement: &Statement) -> u64 {
        let one = |who: &Who| match who {
            Who::All => self.names.count(),
            Who::Any => 1,
            Who::These(names) => self.names.these(names).len(),
        };
        statement.what.everybody().into_iter().map(one).sum::<usize>() as u64
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
            What::BitFlips { count, in_rows: true, .. } if !(1..=ROW_FLIPS_MAX).contains(count) => {
                self.wrong(place, format!("{count} rows; allowed: from 1 to {ROW_FLIPS_MAX}"));
            }
            What::BitFlips { in_rows: true, .. } => {}
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
            | Self::Clone(who)
            | Self::GoneBad(who) => vec![who],
            Self::Heal | Self::Split(_) | Self::Ring | Self::MassReconnect => Vec::new(),
        }
    }
}
