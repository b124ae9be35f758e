//! Values, counters and deletions: the model of every entity, made from the entries, against the rows.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entity::EntityState;
use tombolo_crdt::verdict::Verdict;

use super::fault::Fault;
use super::ledger::{Ledger, Record};
use super::model::{Cut, Edit, Entity, Tally, Wrote};
use super::writes::{Asked, Name};
use crate::outcome::Oracle;
use crate::plan::GONE_BAD_COLLECTION;

/// The rows of a space: collection and id → state.
pub(super) type Rows = BTreeMap<Name, EntityState>;

/// The entities of a space as the writes say they are.
#[derive(Clone, Debug)]
pub(super) struct Model<'a> {
    entities: BTreeMap<Name, Entity>,
    ledger: &'a Ledger,
    asked: &'a BTreeMap<u32, Asked>,
}

impl<'a> Model<'a> {
    /// Takes in every applied entry. Its changes must be what was asked for.
    pub(super) fn of(ledger: &'a Ledger, asked: &'a BTreeMap<u32, Asked>) -> Result<Self, Fault> {
        let mut model = Self { entities: BTreeMap::new(), ledger, asked };
        for record in ledger.records.iter().filter(|record| record.verdict == Verdict::Applied) {
            model.take(record)?;
        }
        Ok(model)
    }

    fn take(&mut self, record: &Record) -> Result<(), Fault> {
        let changed: BTreeSet<(&str, &str)> = record.entities().collect();
        let is_bad = record.write.is_none() && changed.iter().all(|(collection, _)| *collection == GONE_BAD_COLLECTION);
        if changed.is_empty() || is_bad {
            return Ok(());
        }
        let name = || self.ledger.name(record);
        let Some(asked) = record.write.and_then(|no| self.asked.get(&no)) else {
            return Err(Fault::new(Oracle::Resurrection, "an entry nobody asked for", name()));
        };
        let mut entities = asked.by_entity();
        let touched = |(collection, id): &Name| changed.contains(&(collection.as_str(), id.as_str()));
        let planned = entities.keys().filter(|entity| touched(entity)).count();
        if planned < changed.len() {
            return Err(Fault::new(Oracle::Values, "an entry changes what it was not asked to", name()));
        }
        for (entity, edits) in std::mem::take(&mut entities) {
            let here = touched(entity);
            let wrote = self.write(entity, (record.feed, record.seq), &record.past, &edits, here);
            let wrong = match (wrote, here) {
                (Wrote::Something, false) => Some((Oracle::Atomicity, "a write is only partly in its entry")),
                (Wrote::Nothing, true) => Some((Oracle::Values, "a write that changes nothing has a change")),
                _ => None,
            };
            if let Some((oracle, place)) = wrong {
                let detail = format!("{} (write {})", name(), record.write.unwrap_or(0));
                return Err(Fault::new(oracle, place, detail).of(&entity.0, &entity.1));
            }
        }
        Ok(())
    }

    fn write(&mut self, entity: &Name, at: (usize, u64), past: &[u64], edits: &[&Edit], changed: bool) -> Wrote {
        let known = match self.entities.get_mut(entity) {
            Some(known) => known,
            None => self.entities.entry(entity.clone()).or_default(),
        };
        known.take(at, past, edits, changed)
    }

    /// A write that was acknowledged as changing nothing, over exactly what `past` holds.
    pub(super) fn unwritten(&self, no: u32, past: &Cut) -> Result<(), Fault> {
        let Some(asked) = self.asked.get(&no) else { return Ok(()) };
        let next = self.ledger.feeds.len();
        for (entity, edits) in asked.by_entity() {
            let mut known = self.entities.get(entity).cloned().unwrap_or_default();
            if known.take((next, 1), past, &edits, false) == Wrote::Something {
                let detail = format!("write {no} was acknowledged and is in no entry");
                let fault = Fault::new(Oracle::Values, "a write was acknowledged and not made", detail);
                return Err(fault.of(&entity.0, &entity.1));
            }
        }
        Ok(())
    }

    /// Compares every entity with its row at a cut. O(values).
    pub(super) fn check(&self, cut: &[u64], rows: &Rows) -> Result<Tally, Fault> {
        let mut tally = Tally::default();
        let unasked = |(collection, _): &&Name| collection.as_str() != GONE_BAD_COLLECTION;
        let mut unwritten = rows.keys().filter(unasked).filter(|name| !self.entities.contains_key(*name));
        if let Some((collection, id)) = unwritten.next() {
            return Err(Fault::new(Oracle::Resurrection, "an entity nobody wrote", format!("{collection}/{id}")));
        }
        for (name, entity) in &self.entities {
            entity.check(cut, rows.get(name), &mut tally).map_err(|fault| fault.of(&name.0, &name.1))?;
        }
        Ok(tally)
    }
}
