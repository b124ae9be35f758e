//! Reading a table key by key: what is not asked for is unknown.

use std::ops::Range;

use super::tree::{Desk, Entry, Kind, Tree};
use crate::scenario::nearest::did_you_mean;
use crate::scenario::place::Place;

/// A table being read.
#[derive(Debug)]
pub(super) struct Fields<'t> {
    entries: &'t [Entry],
    /// Of the table.
    pub(super) span: Range<usize>,
    /// What it is, for messages: `[[write]]`.
    what: &'static str,
    known: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// The table in a tree, or a problem.
    pub(super) fn of(tree: &'t Tree, what: &'static str, desk: &mut Desk<'_>) -> Option<Self> {
        match &tree.kind {
            Kind::Table(entries) => Some(Self { entries, span: tree.span.clone(), what, known: Vec::new() }),
            _ => desk.wrong(&tree.span, format!("{what} must be a table, not {}", tree.is_a())),
        }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'t Tree> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Where the value of a key stands; else the table.
    pub(super) fn place(&mut self, key: &'static str, desk: &Desk<'_>) -> Place {
        let span = self.get(key).map_or(&self.span, |tree| &tree.span).clone();
        desk.place(&span)
    }

    /// The value of a key as its reader takes it; nothing if it is not there or wrong.
    pub(super) fn read<T>(&mut self, key: &'static str, read: Reader<T>, desk: &mut Desk<'_>) -> Option<T> {
        let value = self.get(key)?;
        read(value, key, desk)
    }

    /// Reads a field that must be there: a problem if it is not.
    pub(super) fn need<T>(&mut self, key: &'static str, read: Reader<T>, desk: &mut Desk<'_>) -> Option<T> {
        match self.get(key) {
            Some(value) => read(value, key, desk),
            None => desk.wrong(&self.span, format!("{} needs `{key}`", self.what)),
        }
    }

    /// The tables of a list of tables (`[[key]]`).
    pub(super) fn tables(&mut self, key: &'static str, desk: &mut Desk<'_>) -> &'t [Tree] {
        match self.get(key).map(|tree| (&tree.kind, tree)) {
            None => &[],
            Some((Kind::List(items), _)) => items,
            Some((_, tree)) => {
                let message = format!("`{key}` must be a list of tables, written [[{key}]], not {}", tree.is_a());
                desk.wrong::<()>(&tree.span, message);
                &[]
            }
        }
    }

    /// Whatever was not asked for is a problem. At most one of several keys: see [`one_of`](Self::one_of).
    pub(super) fn finish(self, desk: &mut Desk<'_>) {
        for entry in self.entries {
            if !self.known.contains(&entry.key.as_str()) {
                let (key, what, allowed) = (&entry.key, self.what, self.known.join(", "));
                let meant = did_you_mean(key, self.known.iter().copied());
                desk.wrong::<()>(&entry.span, format!("unknown key `{key}` in {what}{meant}; allowed: {allowed}"));
            }
        }
    }

    /// The one of these keys that is there; a problem if none or several are.
    pub(super) fn one_of(&mut self, keys: &[&'static str], desk: &mut Desk<'_>) -> Option<(&'static str, &'t Tree)> {
        let found: Vec<_> = keys.iter().filter_map(|&key| self.get(key).map(|tree| (key, tree))).collect();
        match found.as_slice() {
            [one] => Some(*one),
            [] => desk.wrong(&self.span, format!("{} needs one of {}", self.what, keys.join(", "))),
            [_, (_, second), ..] => {
                desk.wrong(&second.span, format!("{} takes only one of {}", self.what, keys.join(", ")))
            }
        }
    }
}

/// Reads the value of a key (the second argument), or says what is wrong.
pub(super) type Reader<T> = fn(&Tree, &str, &mut Desk<'_>) -> Option<T>;
