//! Whether a scenario can be: names that exist, times within the duration, survivors that are connected, ….
//!
//! All problems at once. A scenario that passes can be planned with every seed.

mod faults;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::names::{check_collection, check_id};

use super::expand::{Graph, amount, pairs};
use super::expression::{OF_ENTITY, OF_NODE, check as check_expression};
use super::model::{Assert, Draft, Name, Who, Workload, Write};
use super::names::Names;
use super::nearest::did_you_mean;
use super::place::{Place, Problem};
use super::units::When;
use super::{NODES_MAX, WRITES_MAX};
use crate::Dice;
use crate::plan::{Action, NodeNo};

/// A check under way.
struct Check<'d> {
    draft: &'d Draft,
    names: Names,
    /// Links; of a random shape, those of some seed.
    pairs: Vec<(NodeNo, NodeNo)>,
    graph: Graph,
    problems: Vec<Problem>,
}

/// Everything that is wrong.
pub(super) fn check(draft: &Draft) -> Vec<Problem> {
    let names = Names::of(draft);
    let pairs: Vec<(NodeNo, NodeNo)> = if draft.nodes.len() <= NODES_MAX {
        pairs(draft, &names, &Dice::new(0)).into_iter().collect()
    } else {
        Vec::new()
    };
    let graph = Graph::of(pairs.iter().copied());
    let mut check = Check { draft, names, pairs, graph, problems: Vec::new() };
    check.head();
    check.nodes();
    check.links();
    check.spaces();
    check.survivors();
    check.initial();
    check.workloads();
    draft.writes.iter().for_each(|write| check.write(write));
    check.faults();
    check.assertions();
    check.problems
}

impl Check<'_> {
    fn wrong(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(Problem::new(place, message));
    }

    /// Where a key was written that is a plain value in the draft.
    fn key(&self, key: &str) -> Place {
        self.draft.keys.get(key).cloned().unwrap_or_default()
    }

    fn head(&mut self) {
        let name = &self.draft.name;
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
            self.wrong(&self.key("name"), format!("the name `{name}` must be 1 to 64 of a-z, 0-9 and -"));
        }
        if self.draft.duration.is_zero() {
            self.wrong(&self.key("duration"), "`duration` must be longer than 0s");
        }
        if self.draft.patience.is_zero() {
            self.wrong(&self.key("patience"), "`patience` must be longer than 0s");
        }
        if !self.draft.world && !self.draft.quic {
            self.wrong(&self.key("lanes"), "`lanes` needs world, quic or both");
        }
    }

    /// Whether a time lies within the duration.
    fn within(&mut self, place: &Place, what: &str, when: When) {
        let (latest, duration) = (when.latest(), self.draft.duration);
        if latest > duration {
            let message = format!("{what} at {} is beyond the duration of {}", shown(latest), shown(duration));
            self.wrong(place, message);
        }
    }

    fn during(&mut self, place: &Place, during: Option<(When, When)>) {
        let Some((from, to)) = during else { return };
        if to.base <= from.latest() {
            let message = format!("the range {}..{} ends before it begins", shown(from.base), shown(to.base));
            self.wrong(place, message);
        }
        self.within(place, "the end of the range", to);
    }

    /// The index of a space, or a problem.
    fn space(&mut self, name: Option<&Name>) -> Option<usize> {
        let found = self.draft.space_no(name);
        if let (None, Some(name)) = (found, name) {
            let known: Vec<&str> = match self.draft.spaces.as_slice() {
                [] => vec![super::names::MAIN_SPACE],
                spaces => spaces.iter().map(|space| space.name.text.as_str()).collect(),
            };
            let meant = did_you_mean(&name.text, known.iter().copied());
            let message = format!("unknown space `{}`{meant}; there are: {}", name.text, known.join(", "));
            self.wrong(&name.place, message);
        }
        found
    }

    fn known(&mut self, who: &Who) -> bool {
        let Who::These(names) = who else { return true };
        let unknown: Vec<Name> = names.iter().filter(|name| self.names.some(name).is_none()).cloned().collect();
        for name in &unknown {
            let meant = did_you_mean(&name.text, self.names.all());
            let known: Vec<&str> = self.names.all().collect();
            let message = format!("unknown node or zone `{}`{meant}; there are: {}", name.text, known.join(", "));
            self.wrong(&name.place, message);
        }
        unknown.is_empty()
    }

    /// Writers that are named must be members.
    fn members(&mut self, who: &Who, space: Option<usize>, fallback: &Place) {
        let (true, Some(space)) = (self.known(who), space) else { return };
        let members = self.names.members(self.draft.spaces.get(space));
        let Who::These(names) = who else {
            if !members.values().any(|role| role.may_write()) {
                self.wrong(fallback, "nobody may write here");
            }
            return;
        };
        for name in names {
            let nodes = self.names.some(name).unwrap_or_default();
            if nodes.iter().any(|no| !members.contains_key(no)) {
                let space = self.draft.spaces.get(space).map_or("main", |space| space.name.text.as_str());
                let message = format!("`{}` is not a member of space `{space}`", name.text);
                self.problems.push(Problem::new(&name.place, message));
            }
        }
    }

    fn entity(&mut self, place: &Place, collection: &str, id: &str) {
        if let Err(error) = check_collection(collection) {
            self.wrong(place, error.to_string());
        }
        if let Err(error) = check_id(id) {
            self.wrong(place, error.to_string());
        }
    }

    fn initial(&mut self) {
        let mut seen = BTreeSet::new();
        for initial in &self.draft.initial {
            let space = self.space(initial.space.as_ref());
            self.entity(&initial.place, &initial.collection, &initial.id);
            if !initial.value.is_object() {
                self.wrong(&initial.place, "`value` must be an object");
            }
            if !seen.insert((space, &initial.collection, &initial.id)) {
                let message = format!("`{}/{}` is there twice", initial.collection, initial.id);
                self.wrong(&initial.place, message);
            }
        }
    }

    fn workloads(&mut self) {
        let mut total = self.draft.writes.len() as u64;
        for load in &self.draft.workloads {
            total = total.saturating_add(self.workload(load));
        }
        if total > WRITES_MAX {
            let place = self.draft.workloads.last().map(|load| load.place.clone()).unwrap_or_default();
            self.wrong(&place, format!("about {total} writes are too many; at most {WRITES_MAX}"));
        }
    }

    fn workload(&mut self, load: &Workload) -> u64 {
        self.during(&load.place, load.during);
        let space = self.space(load.space.as_ref());
        self.members(&load.nodes, space, &load.place);
        self.entity(&load.place, &load.collection, &format!("{}0", load.prefix));
        let weights = load.mix.put + load.mix.patch + load.mix.increment + load.mix.delete;
        if weights == 0 || load.ids == 0 || load.by.is_empty() {
            self.wrong(&load.place, "a workload needs ids, numbers to add, and weights");
        }
        if load.padding > PADDING_MAX {
            self.wrong(&load.place, format!("`padding` may be at most {PADDING_MAX} B"));
        }
        let span = load.during.map_or(self.draft.duration, |(from, to)| to.latest().saturating_sub(from.base));
        amount(load, span).saturating_mul(2)
    }

    fn write(&mut self, write: &Write) {
        self.within(&write.place, "a write", write.at);
        let space = self.space(write.space.as_ref());
        self.members(&write.node, space, &write.place);
        if write.edits.is_empty() {
            self.wrong(&write.place, "a write needs at least one edit");
        }
        for (collection, id, action) in &write.edits {
            self.entity(&write.place, collection, id);
            match action {
                Action::Put(value) | Action::Patch(value) if !value.is_object() => {
                    self.wrong(&write.place, "`put` and `patch` take an object");
                }
                Action::Increment { path, .. } if !path.starts_with('/') => {
                    let message = format!("`{path}` is not a JSON Pointer; write such as /stock");
                    self.wrong(&write.place, message);
                }
                _ => {}
            }
        }
    }

    fn assertions(&mut self) {
        let mut names = BTreeSet::new();
        for assert in &self.draft.assertions {
            if !names.insert(&assert.name) {
                let message = format!("there are two assertions `{}`; failures are told apart by it", assert.name);
                self.wrong(&assert.place, message);
            }
            self.assertion(assert);
        }
    }

    /// Collections of a space in which anything is ever written.
    fn collections(&self, space: usize) -> BTreeSet<&str> {
        let draft = self.draft;
        let here = |name: Option<&Name>| draft.space_no(name) == Some(space);
        let initial = draft.initial.iter().filter(|initial| here(initial.space.as_ref()));
        let loads = draft.workloads.iter().filter(|load| here(load.space.as_ref()));
        let writes = draft.writes.iter().filter(|write| here(write.space.as_ref()));
        let written = writes.flat_map(|write| &write.edits).map(|(collection, ..)| collection);
        let all = initial.map(|initial| &initial.collection).chain(loads.map(|load| &load.collection)).chain(written);
        all.map(String::as_str).collect()
    }

    fn assertion(&mut self, assert: &Assert) {
        let space = self.space(assert.space.as_ref());
        if let (Some(collection), Some(space)) = (&assert.collection, space) {
            let there: Vec<&str> = self.collections(space).into_iter().collect();
            if !there.contains(&collection.as_str()) {
                let meant = did_you_mean(collection, there.iter().copied());
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                let message = format!(
                    "nothing is ever written in collection `{collection}`{meant}: the assertion would be about nothing; there are: {there}"
                );
                self.wrong(assert.about.as_ref().unwrap_or(&assert.place), message);
            }
        }
        let variables = if assert.collection.is_some() { OF_ENTITY } else { OF_NODE };
        for wrong in check_expression(&assert.that, variables).err().unwrap_or_default() {
            let place = match &assert.verbatim {
                Some((source, at)) if wrong.line > 0 => source.place_within(*at, wrong.line, wrong.column),
                _ => assert.place.clone(),
            };
            self.problems.push(Problem { place, message: wrong.message });
        }
    }
}

/// Most text beside the content of a write, in bytes: an entity holds 1 MiB.
const PADDING_MAX: usize = 512 << 10;

/// A time as it is written.
fn shown(time: Duration) -> String {
    let mut left = time.as_micros();
    let mut text = String::new();
    for (unit, micros) in
        [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)]
    {
        if left / micros > 0 {
            text.push_str(&format!("{}{unit}", left / micros));
        }
        left %= micros;
    }
    if text.is_empty() { "0s".into() } else { text }
}
