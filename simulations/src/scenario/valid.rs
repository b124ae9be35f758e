//! Whether a plan can be carried out: for plans that come from files.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::names::{check_collection, check_id};

use super::expand::Graph;
use super::expression::{OF_ENTITY, OF_NODE, check as check_expression};
use crate::plan::{Action, Fault, NodeNo, Over, Plan, PlannedFault, ROW_FLIPS_MAX, Spread};

/// What is wrong with a plan; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan cannot be carried out: {}", problems.join("; "))]
pub struct InvalidPlan {
    /// The problems.
    pub problems: Vec<String>,
}

impl Plan {
    /// Whether everything in it is in range, in order and possible. Every scenario's plans are; a plan from a file may
    /// not be. O(plan²) in the number of faults, else O(plan log plan).
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self) -> Result<(), InvalidPlan> {
        let mut check = Check { plan: self, problems: Vec::new() };
        check.nodes();
        check.links();
        check.spaces();
        check.writes();
        check.faults();
        check.survivors();
        check.assertions();
        if check.problems.is_empty() { Ok(()) } else { Err(InvalidPlan { problems: check.problems }) }
    }
}

struct Check<'p> {
    plan: &'p Plan,
    problems: Vec<String>,
}

impl Check<'_> {
    fn must(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(message());
        }
    }

    fn spread(&mut self, what: &str, spread: &Spread) {
        let rising = spread.min_us <= spread.p50_us && spread.p50_us <= spread.p99_us && spread.p99_us <= spread.max_us;
        self.must(rising, || format!("{what}: quantiles fall"));
    }

    fn node(&mut self, what: &str, node: NodeNo) {
        let count = self.plan.nodes.len();
        self.must(node < count, || format!("{what}: there is no node {node}; there are {count}"));
    }

    fn nodes(&mut self) {
        let count = self.plan.nodes.len();
        self.must((1..=super::NODES_MAX).contains(&count), || {
            format!("{count} nodes; there must be 1 to {}", super::NODES_MAX)
        });
        let mut names = BTreeSet::new();
        for node in &self.plan.nodes {
            self.must(names.insert(&node.name), || format!("two nodes `{}`", node.name));
            self.spread(&format!("commits of `{}`", node.name), &node.commit);
            let drift = node.clock_drift_ppm;
            self.must(drift.unsigned_abs() < 1_000_000, || format!("`{}` has a clock drift of {drift} ppm", node.name));
        }
    }

    fn links(&mut self) {
        let mut pairs = BTreeSet::new();
        for link in &self.plan.links {
            let what = format!("link {}–{}", link.from, link.to);
            self.node(&what, link.from);
            self.node(&what, link.to);
            self.must(link.from != link.to, || format!("{what}: a node with itself"));
            let pair = (link.from.min(link.to), link.from.max(link.to));
            self.must(pairs.insert(pair), || format!("{what}: there twice"));
            self.spread(&what, &link.latency);
            for ppm in [link.loss_ppm, link.duplicate_ppm, link.corrupt_ppm] {
                self.must(ppm <= 1_000_000, || format!("{what}: {ppm} of a million"));
            }
        }
    }

    fn spaces(&mut self) {
        let mut names = BTreeSet::new();
        self.must(!self.plan.spaces.is_empty(), || "there is no space".into());
        for space in &self.plan.spaces {
            self.must(names.insert(&space.name), || format!("two spaces `{}`", space.name));
            self.must(!space.members.is_empty(), || format!("space `{}` has no members", space.name));
            let mut members = BTreeSet::new();
            for (node, _) in &space.members {
                self.node(&format!("space `{}`", space.name), *node);
                self.must(members.insert(node), || format!("space `{}` has member {node} twice", space.name));
            }
        }
        let mut seen = BTreeSet::new();
        for entity in &self.plan.initial {
            let what = format!("initial `{}/{}`", entity.collection, entity.id);
            self.space(&what, entity.space);
            self.entity(&what, &entity.collection, &entity.id);
            self.must(entity.value.is_object(), || format!("{what}: not an object"));
            let unique = seen.insert((entity.space, &entity.collection, &entity.id));
            self.must(unique, || format!("{what}: there twice"));
        }
    }

    fn space(&mut self, what: &str, space: usize) {
        let count = self.plan.spaces.len();
        self.must(space < count, || format!("{what}: there is no space {space}; there are {count}"));
    }

    fn entity(&mut self, what: &str, collection: &str, id: &str) {
        for error in [check_collection(collection), check_id(id)].into_iter().filter_map(Result::err) {
            self.problems.push(format!("{what}: {error}"));
        }
    }

    fn writes(&mut self) {
        let (mut numbers, mut last) = (BTreeSet::new(), Duration::ZERO);
        for write in &self.plan.writes {
            let what = format!("write {}", write.no);
            self.must(write.no > 0 && numbers.insert(write.no), || format!("{what}: its number is 0 or not its own"));
            self.must(write.at >= last && write.at <= self.plan.duration, || {
                format!("{what}: out of order or too late")
            });
            last = write.at;
            self.node(&what, write.node);
            self.space(&what, write.space);
            let members = self.plan.spaces.get(write.space).map(|space| space.members.as_slice()).unwrap_or_default();
            let member = members.iter().any(|(node, _)| *node == write.node);
            self.must(member, || format!("{what}: node {} is no member of its space", write.node));
            self.must(!write.edits.is_empty(), || format!("{what}: no edits"));
            for edit in &write.edits {
                self.entity(&what, &edit.collection, &edit.id);
                let fine = match &edit.action {
                    Action::Put(value) | Action::Patch(value) => value.is_object(),
                    Action::Increment { path, .. } => path.starts_with('/'),
                    Action::Delete => true,
                };
                self.must(fine, || format!("{what}: content that is no object, or a path that is no pointer"));
            }
        }
    }

    fn faults(&mut self) {
        let (mut numbers, mut last) = (BTreeSet::new(), Duration::ZERO);
        for (index, planned) in self.plan.faults.iter().enumerate() {
            let what = format!("fault {}", planned.no);
            let unique = planned.no > 0 && numbers.insert(planned.no);
            self.must(unique, || format!("{what}: its number is 0 or not its own"));
            let ordered = planned.at >= last && planned.until >= planned.at && planned.until <= self.plan.duration;
            self.must(ordered, || format!("{what}: out of order, or it ends before it begins or too late"));
            last = planned.at;
            if let Some((from, to)) = planned.fault.sides() {
                self.must(!from.is_empty() && !to.is_empty(), || format!("{what}: a side is empty"));
                from.iter().chain(to).for_each(|node| self.node(&what, *node));
            }
            if let Some(node) = planned.fault.node() {
                self.node(&what, node);
            }
            match &planned.fault {
                Fault::Restore { taken, .. } => {
                    self.must(*taken < planned.at, || format!("{what}: its backup is made too late"));
                }
                Fault::Lossy { loss_ppm, .. } => {
                    self.must(*loss_ppm <= 1_000_000, || format!("{what}: {loss_ppm} of a million"));
                }
                Fault::RowFlips { count, .. } => {
                    self.must((1..=ROW_FLIPS_MAX).contains(count), || format!("{what}: {count} rows"));
                }
                Fault::GoneBad { attacks, .. } => {
                    let each: BTreeSet<_> = attacks.iter().collect();
                    let fine = !attacks.is_empty() && each.len() == attacks.len();
                    self.must(fine, || format!("{what}: no attacks, or one is named twice"));
                }
                Fault::Slow { factor, .. } | Fault::DiskSlow { factor, .. } => {
                    self.must(*factor > 0, || format!("{what}: a factor of 0"));
                }
                _ => {}
            }
            let clash = |other: &&PlannedFault| {
                let same = other.fault.occupies().is_some() && other.fault.occupies() == planned.fault.occupies();
                same && other.until >= planned.at
            };
            let other = self.plan.faults.iter().take(index).find(clash).map(|other| other.no);
            self.must(other.is_none(), || format!("{what}: at the same node and time as {}", other.unwrap_or(0)));
        }
    }

    fn survivors(&mut self) {
        let plan = self.plan;
        let set: BTreeSet<NodeNo> = plan.survivors.iter().copied().collect();
        self.must(!set.is_empty() && set.len() == plan.survivors.len(), || {
            "no survivors, or one is named twice".into()
        });
        set.iter().for_each(|node| self.node("survivors", *node));
        let graph = Graph::of(plan.links.iter().map(|link| (link.from, link.to)));
        self.must(graph.joins(&set), || "the survivors are not connected by links among themselves".into());
        for space in &plan.spaces {
            let members: BTreeSet<NodeNo> =
                space.members.iter().map(|(no, _)| *no).filter(|no| set.contains(no)).collect();
            let joined = graph.joins(&members);
            self.must(joined, || format!("the survivors in space `{}` are not connected among themselves", space.name));
        }
        for fault in &plan.faults {
            if let Fault::BitFlips { node, .. } = &fault.fault {
                self.must(!set.contains(node), || format!("node {node} has a damaged file and is a survivor"));
            }
        }
    }

    fn assertions(&mut self) {
        for assertion in &self.plan.assertions {
            let what = format!("assertion `{}`", assertion.name);
            let (space, variables) = match &assertion.over {
                Over::Entity { space, .. } => (*space, OF_ENTITY),
                Over::Node { space } => (*space, OF_NODE),
            };
            self.space(&what, space);
            for wrong in check_expression(&assertion.expression, variables).err().unwrap_or_default() {
                self.problems.push(format!("{what}: {}", wrong.message));
            }
        }
    }
}
