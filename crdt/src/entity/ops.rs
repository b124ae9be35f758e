//! The live operations of one key or element, by id.
//!
//! Most often one. But a hundred bytes can put tens of thousands of values at one key, below others and above, so that
//! from some number on a tree holds them: neither putting one nor taking one out may move the others.

use std::collections::{BTreeMap, btree_map};
use std::slice;

use super::doc::Live;
use super::id::OpId;

/// Operations that lie in one piece. Moving as many costs about what a step into a tree does.
const FEW_MAX: usize = 64;

/// Live operations, ascending, the winner last.
#[derive(Debug, Clone)]
pub(crate) enum Ops {
    /// So it is nearly everywhere: without memory of its own.
    One(Live),
    Few(Vec<Live>),
    /// Once they were many; they may have become fewer.
    Many(BTreeMap<OpId, Live>),
}

/// No operation.
pub(crate) static NONE: Ops = Ops::Few(Vec::new());

impl Ops {
    /// The only one.
    pub(crate) fn one(live: Live) -> Self {
        Self::One(live)
    }

    /// These, which are in order.
    pub(crate) fn new(ops: Vec<Live>) -> Self {
        debug_assert!(ops.is_sorted_by(|a, b| a.id < b.id), "operations are ascending, each once");
        if ops.len() <= FEW_MAX {
            return Self::Few(ops);
        }
        Self::Many(ops.into_iter().map(|live| (live.id, live)).collect())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(ops) => ops.len(),
            Self::Many(ops) => ops.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> Iter<'_> {
        match self {
            Self::One(op) => Iter::Few(slice::from_ref(op).iter()),
            Self::Few(ops) => Iter::Few(ops.iter()),
            Self::Many(ops) => Iter::Many(ops.values()),
        }
    }

    /// The winner.
    pub(crate) fn last(&self) -> Option<&Live> {
        match self {
            Self::One(op) => Some(op),
            Self::Few(ops) => ops.last(),
            Self::Many(ops) => ops.last_key_value().map(|(_, live)| live),
        }
    }

    /// The one there is, if it is the only one.
    pub(crate) fn only(&self) -> Option<&Live> {
        self.last().filter(|_| self.len() == 1)
    }

    pub(crate) fn get_mut(&mut self, id: OpId) -> Option<&mut Live> {
        match self {
            Self::One(op) => Some(op).filter(|op| op.id == id),
            Self::Few(ops) => {
                let at = ops.binary_search_by(|live| live.id.cmp(&id)).ok()?;
                ops.get_mut(at)
            }
            Self::Many(ops) => ops.get_mut(&id),
        }
    }

    pub(crate) fn remove(&mut self, id: OpId) {
        match self {
            Self::One(op) if op.id == id => *self = Self::Few(Vec::new()),
            Self::One(_) => {}
            Self::Few(ops) => {
                if let Ok(at) = ops.binary_search_by(|live| live.id.cmp(&id)) {
                    ops.remove(at);
                }
            }
            Self::Many(ops) => {
                ops.remove(&id);
            }
        }
    }

    /// Puts one that is not there yet.
    pub(crate) fn insert(&mut self, live: Live) {
        match self {
            Self::One(op) if op.id == live.id => {}
            Self::One(op) => {
                let mut both = vec![op.clone(), live];
                both.sort_by_key(|op| op.id);
                *self = Self::Few(both);
            }
            Self::Few(ops) if ops.is_empty() => *self = Self::One(live),
            Self::Few(ops) => {
                if let Err(at) = ops.binary_search_by(|there| there.id.cmp(&live.id)) {
                    ops.insert(at, live);
                }
                debug_assert!(ops.is_sorted_by(|a, b| a.id < b.id), "the winner is the last");
                if ops.len() > FEW_MAX {
                    *self = Self::new(std::mem::take(ops));
                }
            }
            Self::Many(ops) => {
                ops.entry(live.id).or_insert(live);
            }
        }
    }
}

/// Equal when they hold the same, however.
impl PartialEq for Ops {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a> IntoIterator for &'a Ops {
    type Item = &'a Live;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Operations in order.
#[derive(Debug, Clone)]
pub(crate) enum Iter<'a> {
    Few(slice::Iter<'a, Live>),
    Many(btree_map::Values<'a, OpId, Live>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Live;

    fn next(&mut self) -> Option<&'a Live> {
        match self {
            Self::Few(ops) => ops.next(),
            Self::Many(ops) => ops.next(),
        }
    }
}
