//! The writes of a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crdt::rules::Role;

use super::values::{Kind, Pen};
use crate::Dice;
use crate::plan::{Action, Edit, InitialEntity, NodeNo, PlannedWrite, SpacePlan};
use crate::scenario::model::{Amount, Draft, Pick, Who, Workload};
use crate::scenario::names::Names;
use crate::scenario::units::When;

/// Most edits of a made-up transaction.
const TRANSACTION_EDITS: u64 = 4;

/// Time between two writes of a burst.
const BURST_GAP: Duration = Duration::from_micros(200);

/// A write before it has its number: values carry it.
struct Unnumbered<'d> {
    at: Duration,
    node: NodeNo,
    space: usize,
    retried: bool,
    /// Index of the write of the scenario that it comes from; none: it is made up.
    spelled: Option<usize>,
    said: Said<'d>,
}

enum Said<'d> {
    /// As written.
    Edits(Vec<Edit>),
    /// Made up: what to do with which ids, and the choices of this write.
    Made { load: &'d Workload, edits: Vec<(usize, Kind)>, seed: u64 },
}

/// All writes, by time, numbered from 1.
pub(super) fn writes(
    draft: &Draft,
    names: &Names,
    spaces: &[SpacePlan],
    initial: &[InitialEntity],
    dice: &Dice,
) -> Vec<PlannedWrite> {
    let all = by_time(draft, names, spaces, dice);
    let mut there = initial.iter().map(|entity| (entity.space, entity.collection.clone(), entity.id.clone())).collect();
    (1..).zip(all).map(|(no, write)| write.number(no, &mut there)).collect()
}

/// The writes of the scenario by index, each with the numbers that it has in the plan: several, if several nodes ask
/// it.
pub(super) fn numbers(
    draft: &Draft,
    names: &Names,
    spaces: &[SpacePlan],
    dice: &Dice,
) -> BTreeMap<usize, BTreeSet<u32>> {
    let mut numbers: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
    for (no, write) in (1..).zip(by_time(draft, names, spaces, dice)) {
        if let Some(index) = write.spelled {
            numbers.entry(index).or_default().insert(no);
        }
    }
    numbers
}

fn by_time<'d>(draft: &'d Draft, names: &Names, spaces: &[SpacePlan], dice: &Dice) -> Vec<Unnumbered<'d>> {
    let mut all = Vec::new();
    for no in 0..draft.writes.len() {
        spelled(draft, names, spaces, no, dice.fork(&format!("write/{no}")), &mut all);
    }
    for (no, load) in draft.workloads.iter().enumerate() {
        made(draft, names, spaces, load, dice.fork(&format!("workload/{no}")), &mut all);
    }
    all.sort_by_key(|write| write.at);
    all
}

/// Entities that were written and not deleted since, as far as the order of time says: space, collection, id.
type There = BTreeSet<(usize, String, String)>;

impl Unnumbered<'_> {
    fn number(self, no: u32, there: &mut There) -> PlannedWrite {
        let Unnumbered { at, node, space, retried, spelled: _, said } = self;
        let edits = match said {
            Said::Edits(edits) => edits,
            Said::Made { load, edits, seed } => {
                let mut pen = Pen::new(load, no, seed);
                let edit = |(id, kind): (usize, Kind)| {
                    let (collection, id) = (load.collection.clone(), format!("{}{id}", load.prefix));
                    // Nobody can change what was never there; it is made instead.
                    let is_there = there.contains(&(space, collection.clone(), id.clone()));
                    let kind = if is_there { kind } else { Kind::Put };
                    Edit { action: pen.action(kind), collection, id }
                };
                edits.into_iter().map(edit).collect()
            }
        };
        for Edit { collection, id, action } in &edits {
            let key = (space, collection.clone(), id.clone());
            match action {
                Action::Put(_) => drop(there.insert(key)),
                Action::Delete => drop(there.remove(&key)),
                Action::Patch(_) | Action::Increment { .. } => {}
            }
        }
        assert!(!edits.is_empty(), "a write writes something");
        PlannedWrite { no, at, node, space, edits, retried }
    }
}

/// Who of a space is meant; `All`: those who may write.
fn writers(who: &Who, names: &Names, space: Option<&SpacePlan>, dice: &mut Dice) -> Vec<NodeNo> {
    let members: BTreeMap<NodeNo, Role> =
        space.map(|space| space.members.iter().copied().collect()).unwrap_or_default();
    let may = || members.iter().filter(|(_, role)| role.may_write()).map(|(no, _)| *no).collect::<Vec<_>>();
    match who {
        Who::All => may(),
        Who::Any => dice.pick(&may()).copied().into_iter().collect(),
        Who::These(these) => names.these(these),
    }
}

/// A moment of a seed, in whole microseconds: a plan knows nothing finer.
pub(super) fn moment(when: When, dice: &mut Dice) -> Duration {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(micros(when.base).saturating_add(dice.range(0, micros(when.spread))))
}

fn spelled<'d>(
    draft: &'d Draft,
    names: &Names,
    spaces: &[SpacePlan],
    index: usize,
    mut dice: Dice,
    all: &mut Vec<Unnumbered<'d>>,
) {
    let Some(write) = draft.writes.get(index) else { return };
    let space = draft.space_no(write.space.as_ref()).unwrap_or(0);
    let edit = |(collection, id, action): &(String, String, _)| {
        let action: &Action = action;
        Edit { collection: collection.clone(), id: id.clone(), action: action.clone() }
    };
    for node in writers(&write.node, names, spaces.get(space), &mut dice) {
        let at = moment(write.at, &mut dice);
        let said = Said::Edits(write.edits.iter().map(edit).collect());
        all.push(Unnumbered { at, node, space, retried: write.retried, spelled: Some(index), said });
    }
}

fn made<'d>(
    draft: &'d Draft,
    names: &Names,
    spaces: &[SpacePlan],
    load: &'d Workload,
    mut dice: Dice,
    all: &mut Vec<Unnumbered<'d>>,
) {
    let space = draft.space_no(load.space.as_ref()).unwrap_or(0);
    let nodes = writers(&load.nodes, names, spaces.get(space), &mut dice);
    let (from, to) = load.during.unwrap_or((When::default(), draft.duration.into()));
    let (from, to) = (moment(from, &mut dice), moment(to, &mut dice).min(draft.duration));
    let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
    let ids = Ids::of(load);
    let burst = u64::from(load.burst.max(1));
    for no in 0..amount(load, to.saturating_sub(from)) {
        // The writes of a burst share their place, and nearly their time.
        let mut together = dice.fork(&format!("burst/{}", no / burst));
        let begins = from + Duration::from_micros(together.range(0, span.saturating_sub(1)));
        let at = (begins + BURST_GAP * u32::try_from(no % burst).unwrap_or(0)).min(to);
        let Some(&node) = together.pick(&nodes) else { return };
        let mut dice = dice.fork(&format!("{no}"));
        let retried = dice.chance_ppm(load.retried_ppm);
        let edits = edits(load, &ids, &mut dice);
        let others: Vec<NodeNo> = nodes.iter().copied().filter(|&other| other != node).collect();
        let twin = dice.pick(&others).copied().filter(|_| dice.chance_ppm(load.twins_ppm));
        for node in std::iter::once(node).chain(twin) {
            let said = Said::Made { load, edits: edits.clone(), seed: dice.number() };
            all.push(Unnumbered { at, node, space, retried, spelled: None, said });
        }
    }
}

/// How many writes a workload makes, twins not counted.
pub(in crate::scenario) fn amount(load: &Workload, span: Duration) -> u64 {
    match load.amount {
        Amount::Count(count) => count.into(),
        Amount::Rate(rate) => {
            let gap = rate.gap().map_or(u128::MAX, |gap| gap.as_micros().max(1));
            u64::try_from(span.as_micros() / gap).unwrap_or(u64::MAX)
        }
    }
}

fn edits(load: &Workload, ids: &Ids, dice: &mut Dice) -> Vec<(usize, Kind)> {
    let mix = &load.mix;
    let simple =
        [(Kind::Put, mix.put), (Kind::Patch, mix.patch), (Kind::Increment, mix.increment), (Kind::Delete, mix.delete)];
    let total: u64 = simple.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let one = |dice: &mut Dice| {
        let mut left = dice.range(0, total.saturating_sub(1));
        for (kind, weight) in simple {
            match left.checked_sub(weight.into()) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        Kind::Patch
    };
    let whole = total + u64::from(mix.transaction);
    if dice.range(1, whole.max(1)) > u64::from(mix.transaction) {
        return vec![(ids.draw(dice), one(dice))];
    }
    let mut edits: BTreeMap<usize, Kind> = BTreeMap::new();
    for _ in 0..dice.range(2, TRANSACTION_EDITS) {
        edits.insert(ids.draw(dice), one(dice));
    }
    edits.into_iter().collect()
}

/// Which ids more often.
struct Ids {
    pick: Pick,
    count: usize,
    /// Of Zipf: sums of the weights so far.
    sums: Vec<u64>,
}

impl Ids {
    fn of(load: &Workload) -> Self {
        let mut sum = 0;
        let weights = (1..=load.ids as u64).map(|rank| {
            sum += 1_000_000_000 / rank;
            sum
        });
        let sums = if load.pick == Pick::Zipf { weights.collect() } else { Vec::new() };
        Self { pick: load.pick, count: load.ids, sums }
    }

    fn draw(&self, dice: &mut Dice) -> usize {
        let drawn = self.drawn(dice);
        assert!(drawn < self.count.max(1), "an id is one of those there are");
        drawn
    }

    fn drawn(&self, dice: &mut Dice) -> usize {
        match self.pick {
            Pick::Uniform => dice.below(self.count),
            Pick::Hot if dice.chance_ppm(900_000) => dice.below(self.count.div_ceil(10)),
            Pick::Hot => dice.below(self.count),
            Pick::Zipf => {
                let drawn = dice.range(1, self.sums.last().copied().unwrap_or(1));
                self.sums.partition_point(|&sum| sum < drawn)
            }
        }
    }
}
