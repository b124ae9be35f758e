//! What a check says when something is wrong.

use std::time::Duration;

use tombolo_node::store::StoreError;

use crate::outcome::{Oracle, Violation};
use crate::plan::NodeNo;

/// Something is wrong. When, is known by who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Whose matter it is.
    pub(crate) oracle: Oracle,
    /// The check's name: the same wherever and however often it fails.
    pub(crate) place: &'static str,
    /// Which one, of checks that are the scenario's own: it stands before the place.
    pub(crate) check: Option<String>,
    /// At which node, if at one.
    pub(crate) node: Option<NodeNo>,
    /// What, for people.
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn new(oracle: Oracle, place: &'static str, detail: impl Into<String>) -> Self {
        Self { oracle, place, check: None, node: None, detail: detail.into() }
    }

    /// A store that must be readable is not.
    pub(crate) fn unreadable(error: &StoreError) -> Self {
        Self::new(Oracle::Durability, "a store cannot be read", error.to_string())
    }

    pub(crate) fn at(mut self, node: NodeNo) -> Self {
        self.node.get_or_insert(node);
        self
    }

    /// Names the check that found it, where the scenario brings that along.
    pub(crate) fn by(mut self, check: String) -> Self {
        self.check = Some(check);
        self
    }

    /// Names the entity that it is about.
    pub(crate) fn of(mut self, collection: &str, id: &str) -> Self {
        self.detail = format!("{collection}/{id}: {}", self.detail);
        self
    }

    pub(crate) fn violation(self, at: Duration) -> Violation {
        let Self { oracle, place, check, node, detail } = self;
        let place = check.map_or_else(|| place.to_owned(), |check| format!("{check} {place}"));
        Violation { oracle, place, node, at, detail }
    }
}
