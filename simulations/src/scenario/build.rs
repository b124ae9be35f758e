//! A scenario from Rust: start with [`Draft::new`], say what is different, end with [`Draft::check`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tombolo_crdt::rules::Role;

use super::language;
use super::model::{
    Assert, Draft, Initial, LinkChange, LinkClass, Node, Random, Shape, Space, Survivors, Topology, Who, Workload,
    Write,
};
use super::place::{Place, ScenarioError};
use super::units::When;
use crate::plan::Action;

/// How long survivors may take, if nothing is said.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

impl Draft {
    /// A scenario without nodes: a mesh, one space, no writes, no faults, survivors drawn per seed, ten minutes to
    /// converge.
    #[must_use]
    pub fn new(name: &str, title: &str, duration: Duration) -> Self {
        let topology =
            Topology { shape: Shape::Mesh, class: LinkClass::default(), between: Vec::new(), links: Vec::new() };
        Self {
            name: name.into(),
            title: title.into(),
            about: title.into(),
            duration,
            patience: PATIENCE,
            world: true,
            quic: true,
            survivors: Survivors::Random,
            nodes: Vec::new(),
            topology,
            spaces: Vec::new(),
            initial: Vec::new(),
            workloads: Vec::new(),
            writes: Vec::new(),
            faults: Vec::new(),
            random: None,
            assertions: Vec::new(),
            keys: BTreeMap::new(),
        }
    }

    /// With a node of this name.
    #[must_use]
    pub fn node(mut self, node: Node) -> Self {
        self.nodes.push(node);
        self
    }

    /// With nodes of these names.
    #[must_use]
    pub fn nodes(mut self, names: &[&str]) -> Self {
        self.nodes.extend(names.iter().map(|name| Node::new(name)));
        self
    }

    /// With links of this shape.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.topology.shape = shape;
        self
    }

    /// With a space of writers and readers.
    #[must_use]
    pub fn space(mut self, name: &str, writers: &[&str], readers: &[&str]) -> Self {
        let members = [(writers, Role::Writer), (readers, Role::Reader)];
        let members = members.into_iter().filter(|(who, _)| !who.is_empty()).map(|(who, role)| (Who::from(who), role));
        self.spaces.push(Space { name: name.into(), founder: None, members: members.collect() });
        self
    }

    /// With an entity that everybody has at the beginning.
    #[must_use]
    pub fn initial(mut self, collection: &str, id: &str, value: Value) -> Self {
        let (place, collection, id) = (Place::default(), collection.into(), id.into());
        self.initial.push(Initial { place, space: None, collection, id, value });
        self
    }

    /// With writes made up per seed.
    #[must_use]
    pub fn workload(mut self, workload: Workload) -> Self {
        self.workloads.push(workload);
        self
    }

    /// With one write.
    #[must_use]
    pub fn write(mut self, at: Duration, node: &str, collection: &str, id: &str, action: Action) -> Self {
        let node = Who::from([node].as_slice());
        let edits = vec![(collection.into(), id.into(), action)];
        let at = When::exactly(at);
        self.writes.push(Write { place: Place::default(), at, node, space: None, edits, retried: false });
        self
    }

    /// With faults in the language of schedules.
    ///
    /// # Errors
    /// What is wrong with the text; it may stand anywhere, so only the message says where.
    pub fn faults(mut self, text: &str) -> Result<Self, ScenarioError> {
        let source = super::place::Source::new("faults", text);
        let (statements, problems) = language::read(text, Some((&source, 0)), &Place::default());
        if !problems.is_empty() {
            return Err(ScenarioError::of(problems));
        }
        self.faults.extend(statements);
        Ok(self)
    }

    /// With faults made up per seed.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = Some(random);
        self
    }

    /// Who must converge in the end.
    #[must_use]
    pub fn survivors(mut self, survivors: Survivors) -> Self {
        self.survivors = survivors;
        self
    }

    /// With something that must be true in the end.
    #[must_use]
    pub fn assert(mut self, assert: Assert) -> Self {
        self.assertions.push(assert);
        self
    }
}

impl LinkChange {
    /// Changes what it says.
    pub(super) fn apply(&self, class: &mut LinkClass) {
        class.latency = self.latency.unwrap_or(class.latency);
        class.bandwidth = self.bandwidth.unwrap_or(class.bandwidth);
        class.loss_ppm = self.loss_ppm.unwrap_or(class.loss_ppm);
        class.duplicate_ppm = self.duplicate_ppm.unwrap_or(class.duplicate_ppm);
        class.corrupt_ppm = self.corrupt_ppm.unwrap_or(class.corrupt_ppm);
    }
}
