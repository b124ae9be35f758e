//! Nodes, links, spaces, survivors.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::plan::{NodeNo, Spread};
use crate::scenario::NODES_MAX;
use crate::scenario::model::{LinkChange, Name, Shape, Space, Survivors, Who};
use crate::scenario::nearest::did_you_mean;
use crate::scenario::place::Place;

/// Words of the language of faults, and of TOML: no node is called like that.
const RESERVED: &[&str] = &["any", "from", "to", "for", "at", "heal", "random", "all"];
/// Longest name of a node, a zone or a space.
const NAME_MAX: usize = 40;

impl Check<'_> {
    fn name(&mut self, what: &str, name: &Name) {
        let text = &name.text;
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let first = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !first || text.len() > NAME_MAX || !text.chars().all(fine) {
            let message = format!("the {what} `{text}` must be 1 to {NAME_MAX} of a-z, 0-9, - and _, a letter first");
            self.wrong(&name.place, message);
        } else if RESERVED.contains(&text.as_str()) {
            self.wrong(&name.place, format!("no {what} can be called `{text}`: that word means something"));
        }
    }

    pub(super) fn nodes(&mut self) {
        let draft = self.draft;
        let count = draft.nodes.len();
        if count == 0 {
            self.wrong(&self.key("nodes"), "there are no nodes; write [nodes] with count or names, or [[node]]");
        }
        if count > NODES_MAX {
            let place = draft.nodes.get(NODES_MAX).map(|node| node.name.place.clone()).unwrap_or_default();
            self.wrong(&place, format!("{count} nodes are too many; at most {NODES_MAX}"));
        }
        let mut seen = BTreeSet::new();
        for node in &draft.nodes {
            self.name("node", &node.name);
            if !seen.insert(&node.name.text) {
                self.wrong(&node.name.place, format!("there are two nodes `{}`", node.name.text));
            }
            self.spread(&node.name.place, "commit", &node.commit);
        }
        for zone in draft.nodes.iter().filter_map(|node| node.zone.as_ref()) {
            self.name("zone", zone);
            if seen.contains(&zone.text) {
                self.wrong(&zone.place, format!("`{}` is a node and a zone", zone.text));
            }
        }
    }

    fn spread(&mut self, place: &Place, what: &str, spread: &Spread) {
        if spread.min_us > spread.p50_us || spread.p50_us > spread.p99_us || spread.p99_us > spread.max_us {
            self.wrong(place, format!("`{what}` must have min ≤ p50 ≤ p99 ≤ max"));
        }
    }

    fn node(&mut self, name: &Name) -> Option<NodeNo> {
        let found = self.names.node(name);
        if found.is_none() {
            let known: Vec<&str> = self.draft.nodes.iter().map(|node| node.name.text.as_str()).collect();
            let meant = did_you_mean(&name.text, known.iter().copied());
            let message = format!("unknown node `{}`{meant}; there are: {}", name.text, known.join(", "));
            self.wrong(&name.place, message);
        }
        found
    }

    pub(super) fn links(&mut self) {
        let draft = self.draft;
        let count = draft.nodes.len();
        match &draft.topology.shape {
            Shape::Star(Some(hub)) => drop(self.node(hub)),
            Shape::Random(degree) if *degree >= count && count > 1 => {
                let message = format!("{count} nodes have at most {} links each, not {degree}", count - 1);
                self.wrong(&self.key("degree"), message);
            }
            _ => {}
        }
        let mut seen = BTreeSet::new();
        for link in &draft.topology.links {
            let (a, b) = (self.node(&link.a), self.node(&link.b));
            if link.a.text == link.b.text {
                self.wrong(&link.b.place, format!("a link from `{}` to itself", link.a.text));
            } else if a.is_some() && !seen.insert((a.min(b), a.max(b))) {
                self.wrong(&link.b.place, format!("`{}` and `{}` are linked twice", link.a.text, link.b.text));
            }
            self.change(link);
        }
        for link in &draft.topology.between {
            let known = self.known(&Who::These(vec![link.a.clone(), link.b.clone()]));
            if known {
                let (a, b) = (self.names.some(&link.a), self.names.some(&link.b));
                let hit = |a: &[NodeNo], b: &[NodeNo]| {
                    let is = |x: &NodeNo, y: &NodeNo| a.contains(x) && b.contains(y) || a.contains(y) && b.contains(x);
                    self.pairs.iter().any(|(x, y)| is(x, y))
                };
                let fixed = !matches!(draft.topology.shape, Shape::Random(_));
                if fixed && !hit(a.unwrap_or_default(), b.unwrap_or_default()) {
                    let message = format!("there is no link between `{}` and `{}`", link.a.text, link.b.text);
                    self.wrong(&link.b.place, message);
                }
            }
            self.change(link);
        }
        let all: BTreeSet<NodeNo> = (0..count).collect();
        if count <= NODES_MAX && !self.graph.joins(&all) {
            self.wrong(&self.key("shape"), "the nodes are not connected: add links, or another shape");
        }
    }

    fn change(&mut self, link: &LinkChange) {
        if let Some(latency) = &link.latency {
            self.spread(&link.b.place, "latency", latency);
        }
    }

    pub(super) fn spaces(&mut self) {
        let draft = self.draft;
        let mut seen = BTreeSet::new();
        for space in &draft.spaces {
            self.name("space", &space.name);
            if !seen.insert(&space.name.text) {
                self.wrong(&space.name.place, format!("there are two spaces `{}`", space.name.text));
            }
            self.space_members(space);
        }
    }

    fn space_members(&mut self, space: &Space) {
        let known = space.members.iter().all(|(who, _)| self.known(who));
        let founder = space.founder.as_ref().is_none_or(|founder| self.node(founder).is_some());
        if !known || !founder {
            return;
        }
        let mut named: BTreeMap<NodeNo, usize> = BTreeMap::new();
        for (index, (who, _)) in space.members.iter().enumerate() {
            let Who::These(names) = who else { continue };
            for no in self.names.these(names) {
                if named.insert(no, index).is_some() {
                    let node = self.draft.nodes.get(no).map_or("", |node| node.name.text.as_str());
                    let message = format!("`{node}` has two roles in space `{}`", space.name.text);
                    self.wrong(&space.name.place, message);
                }
            }
        }
        if space.members.iter().filter(|(who, _)| matches!(who, Who::All)).count() > 1 {
            self.wrong(&space.name.place, format!("two roles of space `{}` are \"*\"", space.name.text));
        }
        let members = self.names.members(Some(space));
        if !members.values().any(|role| role.may_write()) {
            self.wrong(&space.name.place, format!("nobody may write in space `{}`", space.name.text));
        }
        if members.len() == self.names.count() {
            return;
        }
        let set: BTreeSet<NodeNo> = members.keys().copied().collect();
        if matches!(self.draft.topology.shape, Shape::Random(_)) {
            let message = "a space without some of the nodes needs a shape that is the same in every seed, not random";
            self.wrong(&space.name.place, message);
        } else if !self.graph.joins(&set) {
            let message =
                format!("the members of space `{}` are not connected by links among themselves", space.name.text);
            self.wrong(&space.name.place, message);
        }
    }

    pub(super) fn survivors(&mut self) {
        let draft = self.draft;
        let Survivors::Named(names) = &draft.survivors else { return };
        let nowhere = Place::default();
        let place = names.first().map_or(&nowhere, |name| &name.place);
        if names.is_empty() {
            self.wrong(place, "`survivors` names nobody");
        }
        if !self.known(&Who::These(names.clone())) {
            return;
        }
        if matches!(draft.topology.shape, Shape::Random(_)) {
            self.wrong(place, "survivors by name need a shape that is the same in every seed, not random");
            return;
        }
        let set: BTreeSet<NodeNo> = self.names.these(names).into_iter().collect();
        let shown: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
        let shown = shown.join(", ");
        if !self.graph.joins(&set) {
            self.wrong(place, format!("the survivors {shown} are not connected by links among themselves"));
        }
        for space in &draft.spaces {
            let members = self.names.members(Some(space));
            let members: BTreeSet<NodeNo> = members.keys().copied().filter(|no| set.contains(no)).collect();
            if !self.graph.joins(&members) {
                let name = &space.name.text;
                let message =
                    format!("of the survivors {shown}, the members of space `{name}` are not connected by links");
                self.wrong(place, message);
            }
        }
    }
}
