//! What an entity must show, derived from the writes alone.
//!
//! The model knows nothing of operations, ids or rows. It knows what was asked for, and for each write which others its
//! author had seen. From that follows, per path, which values are *live*: set by a write, and overwritten by none that
//! had it in its past. The live values of a path are what the view and the conflict lists must hold: all of them, and
//! nothing else.
//!
//! Paths lead through objects. Scalars, arrays and `{}` are values; an object with fields is nothing but its fields
//! (maps created concurrently are viewed as one). A counter is a value with additions, which live and die with it.
//!
//! Which of several conflicting values *wins* the model cannot know: that is decided by ids. Where a write does
//! different things depending on the winner, each of its effects is kept as *unsure*: what is unsure is neither
//! demanded nor denied later on, and it is counted.

mod acts;
mod check;
mod fields;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;

use tombolo_crdt::json::Json;

pub(super) use acts::{Edit, Wrote};
pub(super) use check::Tally;

/// Keys from the root of the entity to a value.
pub(super) type Path = Vec<String>;

/// How far each feed is seen, by a number the caller gives to feeds: all entries up to there.
pub(super) type Cut = Vec<u64>;

/// A write to one entity, by where its entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Act {
    feed: usize,
    seq: u64,
}

impl Act {
    fn within(self, cut: &[u64]) -> bool {
        cut.get(self.feed).is_some_and(|seq| *seq >= self.seq)
    }
}

/// What an unsure model says: whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sure {
    No,
    Maybe,
    Yes,
}

/// An addition to a counter.
#[derive(Clone, Copy, Debug)]
struct Addition {
    act: usize,
    /// `None`: the model cannot know how much.
    by: Option<i64>,
    sure: bool,
}

/// What a write put at a path.
#[derive(Clone, Debug)]
enum Content {
    /// A scalar, an array or `{}`.
    Plain(Json),
    /// A counter.
    Counter {
        initial: i64,
        additions: Vec<Addition>,
        /// If not, it may as well be a number.
        certain: bool,
    },
}

/// A value at a path.
#[derive(Clone, Debug)]
struct Val {
    act: usize,
    content: Content,
    /// Whether it was surely put.
    sure: bool,
    /// The writes that overwrote it, and whether they surely did.
    over: Vec<(usize, bool)>,
}

impl Val {
    fn is_empty_object(&self) -> bool {
        matches!(&self.content, Content::Plain(Json::Object(fields)) if fields.is_empty())
    }
}

/// One entity, as the writes to it say. Writes are taken in an order in which each comes after its past.
///
/// A write costs the values that are at, above and below the paths it names.
#[derive(Clone, Debug, Default)]
pub(super) struct Entity {
    acts: Vec<Act>,
    values: BTreeMap<Path, Vec<Val>>,
    /// Writes that were no deletions.
    updates: Vec<usize>,
    /// Deletions, and what each had seen.
    deletions: Vec<(usize, Cut)>,
}

/// One value of a path's conflict set, at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Candidate {
    /// The object that the values below make.
    Map,
    /// `{}`.
    Empty,
    /// Any other value, by its place in the path's list.
    Value(usize),
}

/// What is at a path, at a cut.
#[derive(Clone, Debug, Default)]
struct There {
    /// Whatever may win.
    candidates: Vec<Candidate>,
    /// Whether one of them surely is there.
    any: bool,
    /// Whether there is more than one; `None`: unknown.
    conflict: Option<bool>,
}

impl Entity {
    fn live(&self, val: &Val, cut: &[u64]) -> Sure {
        let within = |act: usize| self.acts.get(act).is_some_and(|act| act.within(cut));
        if !within(val.act) {
            return Sure::No;
        }
        let mut live = if val.sure { Sure::Yes } else { Sure::Maybe };
        for (over, sure) in &val.over {
            if within(*over) {
                match sure {
                    true => return Sure::No,
                    false => live = Sure::Maybe,
                }
            }
        }
        live
    }

    /// The number a counter shows; `None`: the model cannot know it.
    fn sum(&self, content: &Content, cut: &[u64]) -> Option<i64> {
        let Content::Counter { initial, additions, .. } = content else { return None };
        let mut within = additions.iter().filter(|add| self.acts.get(add.act).is_some_and(|act| act.within(cut)));
        within.try_fold(*initial, |sum, add| add.by.filter(|_| add.sure).map(|by| sum.wrapping_add(by)))
    }

    /// The paths strictly below `path`, in order.
    fn below<'a>(&'a self, path: &'a [String]) -> impl Iterator<Item = (&'a Path, &'a Vec<Val>)> {
        let after = self.values.range::<[String], _>((Bound::Excluded(path), Bound::Unbounded));
        after.take_while(move |(at, _)| at.starts_with(path))
    }

    /// Whether anything lives strictly below a path.
    fn inside(&self, path: &[String], cut: &[u64]) -> Sure {
        let all = self.below(path).flat_map(|(_, vals)| vals).map(|val| self.live(val, cut));
        let mut most = Sure::No;
        for live in all {
            most = most.max(live);
            if most == Sure::Yes {
                break;
            }
        }
        most
    }

    /// The conflict set of a path.
    fn there(&self, path: &[String], cut: &[u64]) -> There {
        let map = self.inside(path, cut);
        let (mut empty, mut candidates) = (Sure::No, Vec::new());
        let (mut sure, mut possible) = (0, 0);
        for (index, val) in self.values.get(path).into_iter().flatten().enumerate() {
            match self.live(val, cut) {
                Sure::No => {}
                live if val.is_empty_object() => empty = empty.max(live),
                live => {
                    candidates.push(Candidate::Value(index));
                    possible += 1;
                    sure += u32::from(live == Sure::Yes);
                }
            }
        }
        if map != Sure::No {
            candidates.push(Candidate::Map);
        }
        if empty != Sure::No && map != Sure::Yes {
            candidates.push(Candidate::Empty);
        }
        // Maps and `{}` at one key are one value.
        let group = map.max(empty);
        possible += u32::from(group != Sure::No);
        sure += u32::from(group == Sure::Yes);
        let conflict = match (sure, possible) {
            (2.., _) => Some(true),
            (_, 0 | 1) => Some(false),
            _ => None,
        };
        assert!(sure <= possible, "what is surely there may be there");
        There { candidates, any: sure > 0, conflict }
    }

    /// Whether the entity is there for readers: some update was seen by no deletion.
    pub(super) fn present(&self, cut: &[u64]) -> bool {
        let within = |act: &usize| self.acts.get(*act).filter(|act| act.within(cut));
        self.updates.iter().filter_map(within).any(|update| {
            !self.deletions.iter().any(|(deletion, seen)| within(deletion).is_some() && update.within(seen))
        })
    }

    /// Whether a deletion was seen at a cut.
    fn deleted_once(&self, cut: &[u64]) -> bool {
        self.deletions.iter().any(|(deletion, _)| self.acts.get(*deletion).is_some_and(|act| act.within(cut)))
    }
}
