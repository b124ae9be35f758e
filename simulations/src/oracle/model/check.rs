//! The model against what a node shows.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entity::{Conflict, EntityState, Step};
use tombolo_crdt::json::{Fields, Json};

use super::{Content, Entity, Path, Sure, Val};
use crate::oracle::fault::Fault;
use crate::outcome::Oracle;

/// How much was checked, and how much the model could not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Values that had to be there and were.
    pub(crate) sure: u64,
    /// Values that may be there or not.
    pub(crate) unsure: u64,
    /// Paths or entities that were not looked at.
    pub(crate) skipped: u64,
}

/// The values that an entity shows, per path: in its view and in its lists of conflicts.
struct Shown {
    values: BTreeMap<Path, Vec<Json>>,
    conflicts: BTreeSet<Path>,
    /// Paths whose lists are cut short.
    cut_short: BTreeSet<Path>,
}

impl Shown {
    fn of(view: &Json, conflicts: &[Conflict]) -> Self {
        let mut shown = Self { values: BTreeMap::new(), conflicts: BTreeSet::new(), cut_short: BTreeSet::new() };
        let path = |conflict: &Conflict| {
            let key = |step: &Step| match step {
                Step::Key(key) => Some(key.clone()),
                Step::Index(_) => None,
            };
            conflict.path.iter().map(key).collect::<Option<Path>>()
        };
        // Arrays are single values here: what differs within one is not a path of its own.
        let lists: Vec<(Path, &Conflict)> = conflicts.iter().filter_map(|c| Some((path(c)?, c))).collect();
        shown.conflicts = lists.iter().map(|(path, _)| path.clone()).collect();
        if let Json::Object(fields) = view {
            shown.fields(&mut Vec::new(), fields);
        }
        for (mut path, conflict) in lists {
            if conflict.unlisted > 0 {
                shown.cut_short.insert(path.clone());
            }
            for value in &conflict.values {
                shown.content(&mut path, &value.value);
            }
        }
        shown
    }

    fn fields(&mut self, path: &mut Path, fields: &Fields) {
        for (key, value) in fields {
            path.push(key.clone());
            // What is in conflict is listed as such, with its winner.
            if !self.conflicts.contains(path) {
                self.content(path, value);
            }
            path.pop();
        }
    }

    fn content(&mut self, path: &mut Path, value: &Json) {
        match value {
            Json::Object(fields) if !fields.is_empty() => self.fields(path, fields),
            _ => self.values.entry(path.clone()).or_default().push(value.clone()),
        }
    }
}

impl Entity {
    /// Compares what an entity shows with what the model says of it at `cut`. O(values).
    pub(crate) fn check(&self, cut: &[u64], state: Option<&EntityState>, tally: &mut Tally) -> Result<(), Fault> {
        let present = self.present(cut);
        let shown = state.is_some_and(EntityState::is_present);
        if present != shown {
            let (oracle, place) = match shown {
                true => (Oracle::Resurrection, "an entity is back"),
                false => (Oracle::Values, "an entity is gone"),
            };
            let detail = format!("it is shown: {shown}, and should be: {present}");
            return Err(Fault::new(oracle, place, detail));
        }
        let Some(state) = state else {
            // A row that is not there shows nothing; whatever lives would be lost.
            return self.compare(cut, &Shown::of(&Json::Object(Fields::new()), &[]), tally);
        };
        if state.flags().over_depth {
            tally.skipped += 1;
            return Ok(());
        }
        self.compare(cut, &Shown::of(&state.view(), &state.conflicts()), tally)
    }

    fn compare(&self, cut: &[u64], shown: &Shown, tally: &mut Tally) -> Result<(), Fault> {
        let paths: BTreeSet<&Path> = self.values.keys().chain(shown.values.keys()).collect();
        for path in paths {
            if shown.cut_short.contains(path) {
                tally.skipped += 1;
                continue;
            }
            let there = shown.values.get(path).map_or(&[][..], Vec::as_slice);
            self.path(path, cut, there, tally)?;
        }
        Ok(())
    }

    /// One path: everything that lives is shown, everything shown may live.
    fn path(&self, path: &Path, cut: &[u64], shown: &[Json], tally: &mut Tally) -> Result<(), Fault> {
        let vals = self.values.get(path).map_or(&[][..], Vec::as_slice);
        let mut left: Vec<&Json> = shown.iter().collect();
        let (empties, vals): (Vec<&Val>, Vec<&Val>) = vals.iter().partition(|val| val.is_empty_object());
        self.empty_object(path, cut, &empties, &mut left)?;
        let mut open: Vec<Option<Json>> = Vec::new();
        for val in vals {
            let live = self.live(val, cut);
            if live == Sure::No {
                continue;
            }
            let value = match &val.content {
                Content::Plain(value) => Some(value.clone()),
                counter @ Content::Counter { .. } => self.sum(counter, cut).map(Json::Int),
            };
            match (live, value) {
                (Sure::Yes, Some(value)) => {
                    let Some(found) = left.iter().position(|json| **json == value) else {
                        return Err(lost(path, val, &value, shown));
                    };
                    left.swap_remove(found);
                    tally.sure += 1;
                }
                (_, value) => {
                    open.push(value);
                    tally.unsure += 1;
                }
            }
        }
        for json in left {
            let known = open.iter().position(|open| open.as_ref() == Some(json));
            // A counter whose sum is not known may show any number.
            let found = known.or_else(|| open.iter().position(|open| open.is_none() && json.as_i64().is_some()));
            let Some(found) = found else { return Err(self.extra(path, json, cut)) };
            open.swap_remove(found);
        }
        Ok(())
    }

    /// `{}`: however often it was put, it shows once, and not at all while there are fields.
    fn empty_object(&self, path: &Path, cut: &[u64], puts: &[&Val], left: &mut Vec<&Json>) -> Result<(), Fault> {
        let empty = puts.iter().map(|val| self.live(val, cut)).max().unwrap_or(Sure::No);
        let inside = self.inside(path, cut);
        let is_empty = |json: &Json| matches!(json, Json::Object(fields) if fields.is_empty());
        let shown = left.iter().position(|json| is_empty(json));
        let Some(found) = shown else {
            let must = puts.iter().find(|_| empty == Sure::Yes && inside == Sure::No);
            let none = Json::Object(Fields::new());
            let there: Vec<Json> = left.iter().map(|json| (*json).clone()).collect();
            return must.map_or(Ok(()), |val| Err(lost(path, val, &none, &there)));
        };
        let json = left.swap_remove(found);
        if empty == Sure::No || inside == Sure::Yes {
            return Err(self.extra(path, json, cut));
        }
        Ok(())
    }

    /// A value that nobody put, or that was overwritten.
    fn extra(&self, path: &Path, json: &Json, cut: &[u64]) -> Fault {
        let vals = self.values.get(path).map_or(&[][..], Vec::as_slice);
        let counter = json.as_i64().is_some()
            && vals.iter().any(|val| matches!(val.content, Content::Counter { .. }) && self.live(val, cut) != Sure::No);
        let put = vals.iter().any(|val| matches!(&val.content, Content::Plain(plain) if plain == json));
        let (oracle, place) = match (counter, put) {
            (true, _) => (Oracle::Counters, "a counter shows another sum"),
            (_, true) => (Oracle::Resurrection, "an overwritten value is back"),
            (_, false) => (Oracle::Resurrection, "a value nobody wrote"),
        };
        Fault::new(oracle, place, format!("{} shows {}", pointer(path), text(json)))
    }
}

fn lost(path: &Path, val: &Val, value: &Json, shown: &[Json]) -> Fault {
    let (oracle, place) = match val.content {
        Content::Plain(_) => (Oracle::Values, "a value is lost"),
        Content::Counter { .. } => (Oracle::Counters, "a counter is not its sum"),
    };
    let shown: Vec<String> = shown.iter().map(text).collect();
    let detail = format!("{} should show {} and shows [{}]", pointer(path), text(value), shown.join(", "));
    Fault::new(oracle, place, detail)
}

fn pointer(path: &Path) -> String {
    path.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

/// As much of a value as a message needs.
fn text(json: &Json) -> String {
    const TEXT_MAX: usize = 120;
    let text = String::from_utf8_lossy(&json.to_bytes()).into_owned();
    match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}…", text.split_at(at).0),
        None => text,
    }
}
