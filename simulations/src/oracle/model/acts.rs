//! Writes coming into the model.

use tombolo_crdt::json::{Json, pointer};

use super::fields::Mode;
use super::{Act, Candidate, Content, Cut, Entity, Sure, Val};
use crate::plan::Action;

/// An action on an entity, with its values read as the node reads them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edit {
    /// PUT without a base.
    Put(Json),
    /// JSON Merge Patch.
    Patch(Json),
    /// The typed operation `increment`.
    Increment(String, i64),
    /// DELETE.
    Delete,
}

impl Edit {
    /// `None`: a value that a node does not take.
    pub(crate) fn of(action: &Action) -> Option<Self> {
        let json = |value: &serde_json::Value| Json::parse(value.to_string().as_bytes()).ok();
        match action {
            Action::Put(value) => json(value).map(Self::Put),
            Action::Patch(value) => json(value).map(Self::Patch),
            Action::Increment { path, by } => Some(Self::Increment(path.clone(), *by)),
            Action::Delete => Some(Self::Delete),
        }
    }
}

/// Whether a write changed something, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrote {
    /// Nothing at all.
    Nothing,
    /// The answer depends on who won a conflict.
    Unsure,
    /// Something.
    Something,
}

/// One write to the entity under way.
pub(crate) struct Step<'e> {
    pub(super) entity: &'e mut Entity,
    pub(super) act: usize,
    /// What its author had seen, this write included.
    pub(super) cut: Cut,
    /// Whether what is done now is surely done.
    pub(super) sure: bool,
    pub(super) wrote: Wrote,
    /// Whether the entity was there before.
    was: bool,
    /// Whether it is there now.
    is: bool,
}

impl Entity {
    /// Takes the write of entry `seq` of feed number `feed`, whose author had seen `past`. `edits` are all those of the
    /// entry that concern this entity, in their order; `changed` is whether the entry holds a change of it.
    ///
    /// Says whether it should have changed something.
    pub(crate) fn take(&mut self, (feed, seq): (usize, u64), past: &[u64], edits: &[&Edit], changed: bool) -> Wrote {
        let mut cut = past.to_vec();
        if cut.len() <= feed {
            cut.resize(feed + 1, 0);
        }
        let was = self.present(&cut);
        let deleted = self.deleted_once(&cut);
        if let Some(own) = cut.get_mut(feed) {
            *own = seq;
        }
        assert!(cut.len() > feed, "an author has seen its own write");
        let act = self.acts.len();
        self.acts.push(Act { feed, seq });
        let mut step = Step { entity: self, act, cut, sure: true, wrote: Wrote::Nothing, was, is: was };
        for edit in edits {
            step.edit(edit);
        }
        let (mut wrote, cut, deletes) = (step.wrote, step.cut, step.was && !step.is);
        if !changed {
            self.undo(act);
        } else if deletes {
            self.deletions.push((act, cut));
        } else {
            self.updates.push(act);
        }
        // A write that finds a tombstone clears it, if nothing else.
        if wrote == Wrote::Nothing && deleted {
            wrote = Wrote::Unsure;
        }
        wrote
    }

    /// Forgets what a write has done so far.
    fn undo(&mut self, act: usize) {
        for vals in self.values.values_mut() {
            vals.retain(|val| val.act != act);
            for val in vals {
                val.over.retain(|(over, _)| *over != act);
                if let Content::Counter { additions, .. } = &mut val.content {
                    additions.retain(|add| add.act != act);
                }
            }
        }
        self.values.retain(|_, vals| !vals.is_empty());
        debug_assert!(self.values.values().flatten().all(|val| val.act != act), "nothing is left of what is undone");
    }
}

impl Step<'_> {
    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Delete if self.is => {
                self.entity.undo(self.act);
                self.is = false;
                self.wrote = if self.was { Wrote::Something } else { Wrote::Nothing };
            }
            Edit::Put(Json::Object(fields)) if self.is => self.replace_fields(&[], fields, Mode::Put),
            Edit::Put(Json::Object(fields)) => {
                // After a deletion in the same write: that one is dropped, and everything is written anew.
                self.entity.undo(self.act);
                self.is = true;
                self.wrote = if self.was { Wrote::Nothing } else { Wrote::Something };
                self.replace_fields(&[], fields, Mode::Create);
            }
            Edit::Patch(Json::Object(fields)) if self.is => self.merge_patch(&[], fields),
            Edit::Increment(path, by) if self.is => self.increment(path, *by),
            // What else there is was refused, or does nothing.
            _ => {}
        }
    }

    fn increment(&mut self, path: &str, by: i64) {
        let Ok(steps) = pointer::parse(path) else { return };
        let Some((_, above)) = steps.split_last() else { return };
        if !above.is_empty() {
            let outer = self.entity.there(above, &self.cut);
            let empty = outer.candidates.contains(&Candidate::Empty);
            // Into `{}` a map is put in its place. It was accepted, so what won is an object.
            if empty {
                let map = outer.candidates.contains(&Candidate::Map);
                self.with(!map, |step| step.kill_plain(above));
            }
        }
        let there = self.entity.there(&steps, &self.cut);
        let counters: Vec<usize> = (there.candidates.iter())
            .filter_map(|candidate| match candidate {
                Candidate::Value(index) => Some(*index),
                _ => None,
            })
            .filter(|index| self.counter(&steps, *index).is_some())
            .collect();
        let fresh = !there.any;
        let one_way = counters.len() + usize::from(fresh) == 1;
        for index in counters {
            self.with(one_way, |step| step.add(&steps, index, Some(by)));
        }
        if fresh {
            let content = Content::Counter { initial: by, additions: Vec::new(), certain: true };
            self.with(one_way, |step| step.put(&steps, content));
        }
    }

    /// Does something that is sure only if `sure`.
    pub(super) fn with(&mut self, sure: bool, run: impl FnOnce(&mut Self)) {
        let before = self.sure;
        self.sure &= sure;
        run(self);
        self.sure = before;
    }

    /// The counter at a place of a path, and whether it surely is one.
    pub(super) fn counter(&self, path: &[String], index: usize) -> Option<bool> {
        match self.entity.values.get(path)?.get(index)?.content {
            Content::Counter { certain, .. } => Some(certain),
            Content::Plain(_) => None,
        }
    }

    fn note(&mut self, sure: bool) {
        let wrote = if sure && self.sure { Wrote::Something } else { Wrote::Unsure };
        self.wrote = self.wrote.max(wrote);
    }

    /// Puts a value beside what is there.
    pub(super) fn put(&mut self, path: &[String], content: Content) {
        let (act, sure) = (self.act, self.sure);
        let val = Val { act, content, sure, over: Vec::new() };
        self.entity.values.entry(path.to_vec()).or_default().push(val);
        self.note(true);
    }

    /// Adds to a counter.
    pub(super) fn add(&mut self, path: &[String], index: usize, by: Option<i64>) {
        if by == Some(0) {
            return;
        }
        let (act, sure) = (self.act, self.sure);
        let val = self.entity.values.get_mut(path).and_then(|vals| vals.get_mut(index));
        if let Some(Val { content: Content::Counter { additions, .. }, .. }) = val {
            additions.push(super::Addition { act, by, sure });
            self.note(by.is_some());
        }
    }

    /// Overwrites what lives exactly at a path.
    pub(super) fn kill_plain(&mut self, path: &[String]) {
        let lives: Vec<Sure> =
            self.entity.values.get(path).into_iter().flatten().map(|val| self.entity.live(val, &self.cut)).collect();
        let (act, sure) = (self.act, self.sure);
        for (index, live) in lives.into_iter().enumerate() {
            if live == Sure::No {
                continue;
            }
            let val = self.entity.values.get_mut(path).and_then(|vals| vals.get_mut(index));
            if let Some(val) = val {
                val.over.push((act, sure));
            }
            self.note(live == Sure::Yes);
        }
    }

    /// Overwrites everything at and below a path.
    pub(super) fn clear(&mut self, path: &[String]) {
        let below: Vec<_> = self.entity.below(path).map(|(at, _)| at.clone()).collect();
        self.kill_plain(path);
        for at in below {
            self.kill_plain(&at);
        }
    }
}
