//! Who is meant by a name.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::rules::Role;

use super::model::{Draft, Name, Space, Who};
use crate::plan::NodeNo;

/// Nodes and zones by name.
#[derive(Debug)]
pub(super) struct Names {
    of: BTreeMap<String, Vec<NodeNo>>,
    nodes: BTreeMap<String, NodeNo>,
    count: usize,
}

impl Names {
    pub(super) fn of(draft: &Draft) -> Self {
        let mut of: BTreeMap<String, Vec<NodeNo>> = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        for (no, node) in draft.nodes.iter().enumerate() {
            nodes.insert(node.name.text.clone(), no);
            for name in std::iter::once(&node.name).chain(&node.zone) {
                of.entry(name.text.clone()).or_default().push(no);
            }
        }
        Self { of, nodes, count: draft.nodes.len() }
    }

    /// Number of nodes.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// A single node.
    pub(super) fn node(&self, name: &Name) -> Option<NodeNo> {
        self.nodes.get(&name.text).copied()
    }

    /// A node, or the nodes of a zone.
    pub(super) fn some(&self, name: &Name) -> Option<&[NodeNo]> {
        self.of.get(&name.text).map(Vec::as_slice)
    }

    /// Nodes and zones, for messages.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.of.keys().map(String::as_str)
    }

    /// The nodes that names stand for, each once, in order. Unknown names stand for nobody.
    pub(super) fn these(&self, names: &[Name]) -> Vec<NodeNo> {
        let all = names.iter().filter_map(|name| self.some(name)).flatten().copied();
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Members of a space by number. The founder is one of them and has whatever role it has there.
    pub(super) fn members(&self, space: Option<&Space>) -> BTreeMap<NodeNo, Role> {
        let Some(space) = space else {
            return (0..self.count).map(|no| (no, Role::Writer)).collect();
        };
        let mut members = BTreeMap::new();
        for (who, role) in &space.members {
            if let Who::These(names) = who {
                members.extend(self.these(names).into_iter().map(|no| (no, *role)));
            }
        }
        if let Some(founder) = space.founder.as_ref().and_then(|name| self.node(name)) {
            members.insert(founder, Role::Admin);
        }
        for (who, role) in &space.members {
            if matches!(who, Who::All) {
                for no in 0..self.count {
                    members.entry(no).or_insert(*role);
                }
            }
        }
        members
    }
}

impl Draft {
    /// Index of a space by name; the first if nothing is said.
    pub(super) fn space_no(&self, name: Option<&Name>) -> Option<usize> {
        match name {
            None => Some(0),
            Some(name) if self.spaces.is_empty() => (name.text == MAIN_SPACE).then_some(0),
            Some(name) => self.spaces.iter().position(|space| space.name.text == name.text),
        }
    }
}

/// The space of a scenario that names none.
pub(super) const MAIN_SPACE: &str = "main";
