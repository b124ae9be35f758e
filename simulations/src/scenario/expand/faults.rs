//! The faults of a plan: statements become single faults, patterns become several, random kinds become statements.

use std::collections::BTreeSet;
use std::time::Duration;

use super::writes::moment;
use crate::Dice;
use crate::plan::{Attack, Fault, NodeNo, PlannedFault, Unsynced};
use crate::scenario::language::{End, Statement, What};
use crate::scenario::model::{Draft, Survivors, Who};
use crate::scenario::names::Names;
use crate::scenario::random;

/// Most faults of a plan. A scenario that asks for more is refused; of random ones that come to more by chance some are
/// left out, whichever kind and time they are of. A thousand are more than any run can use.
pub(in crate::scenario) const FAULTS_MAX: usize = 5_000;
/// Most random faults of a kind that are drawn: a swarm may have four times those that are expected.
pub(in crate::scenario) const DRAWN_MAX: usize = 8 * FAULTS_MAX;

/// What statements are expanded against.
pub(in crate::scenario) struct Stage<'d> {
    draft: &'d Draft,
    names: &'d Names,
    /// The node whose file is damaged when anybody's may be: one per seed, never a survivor.
    victim: Option<NodeNo>,
}

/// A time span of a fault.
type Span = (Duration, Duration);

impl<'d> Stage<'d> {
    pub(super) fn of(draft: &'d Draft, names: &'d Names, dice: &Dice) -> Self {
        let mut dice = dice.fork("victim");
        let all = 0..names.count();
        let candidates: Vec<NodeNo> = match &draft.survivors {
            Survivors::All => Vec::new(),
            Survivors::Named(these) => {
                let these = names.these(these);
                all.filter(|no| !these.contains(no)).collect()
            }
            Survivors::Random if names.count() < 2 => Vec::new(),
            Survivors::Random => {
                let named: BTreeSet<NodeNo> = draft.faults.iter().flat_map(|s| named_flips(&s.what, names)).collect();
                if named.is_empty() { all.collect() } else { named.into_iter().collect() }
            }
        };
        Self { draft, names, victim: dice.pick(&candidates).copied() }
    }

    /// All faults, by the time they begin, numbered from 1, and how many were too many. Spelled out ones first have
    /// their way; what would do two things to one process at once is left out.
    pub(super) fn faults(&self, dice: &Dice) -> (Vec<PlannedFault>, u64) {
        let mut all = Vec::new();
        let begins: Vec<(Duration, Dice)> = (self.draft.faults.iter().enumerate())
            .map(|(no, statement)| {
                let mut dice = dice.fork(&format!("fault/{no}"));
                (moment(statement.begin, &mut dice), dice)
            })
            .collect();
        let heals = self.draft.faults.iter().zip(&begins).filter(|(s, _)| matches!(s.what, What::Heal));
        let heals: Vec<Duration> = heals.map(|(_, (at, _))| *at).collect();
        for (statement, (begin, mut dice)) in self.draft.faults.iter().zip(begins) {
            let until = self.end(statement, begin, &heals, &mut dice);
            self.expand(&statement.what, (begin, until), &mut dice, &mut all);
        }
        let spelled_out = all.len();
        if let Some(said) = &self.draft.random {
            random::draw(self.draft, said, dice, &mut |what, span, dice| self.expand(what, span, dice, &mut all));
        }
        let left_out = thin(&mut all, spelled_out, &mut dice.fork("too many faults"));
        let mut kept: Vec<PlannedFault> = Vec::new();
        for fault in all {
            if !kept.iter().any(|other| clash(other, &fault)) {
                kept.push(fault);
            }
        }
        kept.sort_by_key(|fault| (fault.at, fault.until));
        for (no, fault) in (1..).zip(&mut kept) {
            fault.no = no;
        }
        (kept, left_out)
    }

    fn end(&self, statement: &Statement, begin: Duration, heals: &[Duration], dice: &mut Dice) -> Duration {
        let end = match statement.end {
            End::Once => begin,
            End::Open => heals.iter().copied().filter(|heal| *heal > begin).min().unwrap_or(self.draft.duration),
            End::At(when) => moment(when, dice),
            End::For(when) => begin + moment(when, dice),
        };
        end.min(self.draft.duration)
    }

    /// Who is meant.
    fn nodes(&self, who: &Who, dice: &mut Dice) -> Vec<NodeNo> {
        let all: Vec<NodeNo> = (0..self.names.count()).collect();
        match who {
            Who::All => all,
            Who::Any => dice.pick(&all).copied().into_iter().collect(),
            Who::These(these) => self.names.these(these),
        }
    }

    /// Two sides: `*` on the second is all others, or with `*` on the first everybody.
    fn sides(&self, a: &Who, b: &Who, dice: &mut Dice) -> (Vec<NodeNo>, Vec<NodeNo>) {
        let from = self.nodes(a, dice);
        let others: Vec<NodeNo> = (0..self.names.count()).filter(|no| !from.contains(no)).collect();
        let to = match (a, b) {
            (Who::All, Who::All) => from.clone(),
            (_, Who::All) => others,
            (_, Who::Any) => dice.pick(&others).copied().into_iter().collect(),
            (Who::All, Who::These(_)) => {
                let to = self.nodes(b, dice);
                return (others_of(&to, self.names.count()), to);
            }
            (_, Who::These(_)) => self.nodes(b, dice).into_iter().filter(|no| !from.contains(no)).collect(),
        };
        (from, to)
    }

    /// Adds the single faults of a statement.
    pub(super) fn expand(&self, what: &What, span: Span, dice: &mut Dice, all: &mut Vec<PlannedFault>) {
        match what {
            What::Heal => {}
            What::Isolate(who) => {
                for node in self.nodes(who, dice) {
                    let to = others_of(&[node], self.names.count());
                    push(all, span, Fault::Cut { from: vec![node], to, one_way: false });
                }
            }
            What::Split(_) | What::Bridge(_) | What::Ring | What::Swizzle(_) | What::Flap { .. } => {
                self.pattern(what, span, dice, all);
            }
            What::Cut { a, b, .. }
            | What::Clog { a, b, .. }
            | What::Slow { a, b, .. }
            | What::Lossy { a, b, .. }
            | What::Reset { a, b }
            | What::Replay { a, b } => {
                let (from, to) = self.sides(a, b, dice);
                between(what, from, to, span, all);
            }
            What::MassReconnect => {
                let everybody = others_of(&[], self.names.count());
                push(all, span, Fault::Reset { from: everybody.clone(), to: everybody });
            }
            What::RollingRestart { who, every, down, unsynced } => {
                let mut at = span.0;
                for node in self.nodes(who, dice) {
                    let until = at + moment(*down, dice);
                    if until > self.draft.duration {
                        break;
                    }
                    push(all, (at, until), crash(node, *unsynced, (None, None), dice));
                    at += *every;
                }
            }
            _ => self.at_nodes(what, span, dice, all),
        }
    }

    fn at_nodes(&self, what: &What, span: Span, dice: &mut Dice, all: &mut Vec<PlannedFault>) {
        let (What::HalfOpen(who)
        | What::Readdress(who)
        | What::SlowReader { who, .. }
        | What::Crash { who, .. }
        | What::Pause(who)
        | What::Clock { who, .. }
        | What::DiskFull(who)
        | What::DiskError { who, .. }
        | What::DiskSlow { who, .. }
        | What::BitFlips { who, .. }
        | What::Restore { who, .. }
        | What::Clone(who)
        | What::GoneBad(who)) = what
        else {
            return;
        };
        let nodes = match (what, who) {
            (What::BitFlips { in_rows: false, .. }, Who::Any) => self.victim.into_iter().collect(),
            _ => self.nodes(who, dice),
        };
        for node in nodes {
            let fault = match what {
                What::HalfOpen(_) => Fault::HalfOpen { node },
                What::Readdress(_) => Fault::Readdress { node },
                What::SlowReader { bytes_per_second, .. } => {
                    Fault::SlowReader { node, bytes_per_second: *bytes_per_second }
                }
                What::Crash { unsynced, in_commit, in_repair, .. } => {
                    crash(node, *unsynced, (*in_commit, *in_repair), dice)
                }
                What::Pause(_) => Fault::Pause { node },
                What::Clock { by_ms, .. } => Fault::ClockJump { node, by_ms: *by_ms },
                What::DiskFull(_) => Fault::DiskFull { node },
                What::DiskError { after, .. } => Fault::DiskError { node, after: *after },
                What::DiskSlow { factor, .. } => Fault::DiskSlow { node, factor: *factor },
                What::BitFlips { count, in_rows: true, .. } => Fault::RowFlips { node, count: *count },
                What::BitFlips { count, .. } => Fault::BitFlips { node, count: *count },
                What::Restore { taken, .. } => match moment(*taken, dice) {
                    taken if taken < span.0 => Fault::Restore { node, taken },
                    _ => continue,
                },
                What::GoneBad(_) => Fault::GoneBad { node, attacks: Attack::ALL.to_vec() },
                _ => Fault::Clone { node },
            };
            push(all, span, fault);
        }
    }

    /// Patterns of several cuts or clogs.
    fn pattern(&self, what: &What, span: Span, dice: &mut Dice, all: &mut Vec<PlannedFault>) {
        let count = self.names.count();
        let cut = |from, to| Fault::Cut { from, to, one_way: false };
        match what {
            What::Split(parts) => {
                let parts = random_parts((0..count).collect(), *parts, dice);
                for (index, part) in parts.iter().enumerate() {
                    for other in parts.iter().skip(index + 1) {
                        push(all, span, cut(part.clone(), other.clone()));
                    }
                }
            }
            What::Bridge(who) => {
                let bridge = self.nodes(who, dice);
                if let [from, to] = random_parts(others_of(&bridge, count), 2, dice).as_slice() {
                    push(all, span, cut(from.clone(), to.clone()));
                }
            }
            What::Ring => {
                for node in 0..count {
                    let near = |other: NodeNo| other == node + 1 || (node == 0 && other == count - 1);
                    push(all, span, cut(vec![node], (node + 1..count).filter(|&other| !near(other)).collect()));
                }
            }
            What::Flap { a, b, down, up } => {
                let (from, to) = self.sides(a, b, dice);
                let mut at = span.0;
                for _ in 0..FAULTS_MAX {
                    if at >= span.1 {
                        break;
                    }
                    let healed = (at + moment(*down, dice).max(Duration::from_micros(1))).min(span.1);
                    push(all, (at, healed), cut(from.clone(), to.clone()));
                    at = healed + moment(*up, dice);
                }
            }
            What::Swizzle(who) => {
                let half = (span.1 - span.0) / 2;
                for node in self.nodes(who, dice) {
                    let begin = moment(crate::scenario::units::When { base: span.0, spread: half }, dice);
                    let end = moment(crate::scenario::units::When { base: span.0 + half, spread: half }, dice);
                    let others = others_of(&[node], count);
                    push(all, (begin, end), Fault::Clog { from: vec![node], to: others.clone() });
                    push(all, (begin, end), Fault::Clog { from: others, to: vec![node] });
                }
            }
            _ => {}
        }
    }
}

fn between(what: &What, from: Vec<NodeNo>, to: Vec<NodeNo>, span: Span, all: &mut Vec<PlannedFault>) {
    let fault = match what {
        What::Cut { one_way, .. } => Fault::Cut { from, to, one_way: *one_way },
        What::Clog { one_way, .. } => {
            if !one_way {
                push(all, span, Fault::Clog { from: to.clone(), to: from.clone() });
            }
            Fault::Clog { from, to }
        }
        What::Slow { factor, .. } => Fault::Slow { from, to, factor: *factor },
        What::Lossy { loss_ppm, .. } => Fault::Lossy { from, to, loss_ppm: *loss_ppm },
        What::Reset { .. } => Fault::Reset { from, to },
        _ => Fault::Replay { from, to },
    };
    push(all, span, fault);
}

/// Adds a fault, unless it concerns nobody or takes no time where it must.
fn push(all: &mut Vec<PlannedFault>, (at, until): Span, fault: Fault) {
    let nobody = match fault.sides() {
        Some((from, to)) => from.is_empty() || to.is_empty(),
        None => false,
    };
    if !nobody && (fault.is_at_once() || until > at) {
        let whole = |time: Duration| Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        let (at, until) = (whole(at), whole(if fault.is_at_once() { at } else { until }));
        all.push(PlannedFault { no: 0, at, until, fault });
    }
}

fn crash(
    node: NodeNo,
    unsynced: Option<Unsynced>,
    (in_commit, in_repair): (Option<u32>, Option<u32>),
    dice: &mut Dice,
) -> Fault {
    const ALL: [Unsynced; 4] = [Unsynced::Kept, Unsynced::Lost, Unsynced::Subset, Unsynced::Torn];
    let drawn = dice.pick(&ALL).copied().unwrap_or(Unsynced::Torn);
    Fault::Crash { node, unsynced: unsynced.unwrap_or(drawn), in_commit, in_repair }
}

fn others_of(these: &[NodeNo], count: usize) -> Vec<NodeNo> {
    (0..count).filter(|no| !these.contains(no)).collect()
}

/// Random parts, none empty; fewer if there are not enough.
fn random_parts(mut nodes: Vec<NodeNo>, parts: usize, dice: &mut Dice) -> Vec<Vec<NodeNo>> {
    dice.shuffle(&mut nodes);
    let mut of: Vec<Vec<NodeNo>> = vec![Vec::new(); parts.min(nodes.len())];
    for (index, node) in nodes.into_iter().enumerate() {
        let part = if index < of.len() { index } else { dice.below(of.len()) };
        if let Some(part) = of.get_mut(part) {
            part.push(node);
        }
    }
    of.iter_mut().for_each(|part| part.sort_unstable());
    of
}

fn named_flips(what: &What, names: &Names) -> Vec<NodeNo> {
    match what {
        What::BitFlips { who: Who::These(these), in_rows: false, .. } => names.these(these),
        _ => Vec::new(),
    }
}

/// Leaves out random faults, which come after the first `spelled_out`, until there are no more than a plan holds: any
/// of them with the same chance, so that no kind and no time is spared. Says how many.
fn thin(all: &mut Vec<PlannedFault>, spelled_out: usize, dice: &mut Dice) -> u64 {
    let too_many = all.len().saturating_sub(FAULTS_MAX);
    if too_many > 0 {
        let mut random: Vec<usize> = (spelled_out.min(FAULTS_MAX)..all.len()).collect();
        dice.shuffle(&mut random);
        let gone: BTreeSet<usize> = random.into_iter().take(too_many).collect();
        let mut at = 0;
        all.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }
    too_many as u64
}

/// Whether two faults do things to one process that exclude each other.
fn clash(a: &PlannedFault, b: &PlannedFault) -> bool {
    let same = a.fault.occupies().is_some() && a.fault.occupies() == b.fault.occupies();
    same && a.at <= b.until && b.at <= a.until
}
