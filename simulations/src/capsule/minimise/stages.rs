//! What is left out, in which portions.

use std::mem::{Discriminant, discriminant};

use super::ddmin::only;
use super::{Search, retain};
use crate::plan::{Fault, Plan};

impl Search<'_> {
    /// Whole spaces with what is in them.
    pub(super) fn drop_spaces(&mut self) {
        self.ddmin(self.plan.spaces.len(), retain::spaces);
    }

    /// Nodes. The founder of a space stays: without it another one would found it, and that is another story.
    pub(super) fn drop_nodes(&mut self) {
        let founder = |no: usize| {
            let mut founders = self.plan.spaces.iter().filter_map(|space| space.members.first());
            founders.any(|(node, _)| *node == no)
        };
        let may_go: Vec<usize> = (0..self.plan.nodes.len()).filter(|no| !founder(*no)).collect();
        self.ddmin(may_go.len(), |plan, keep| {
            let mut marks = vec![true; plan.nodes.len()];
            for (no, kept) in may_go.iter().zip(keep) {
                if let Some(mark) = marks.get_mut(*no) {
                    *mark = *kept;
                }
            }
            retain::nodes(plan, &marks)
        });
    }

    /// All faults of a kind at once.
    pub(super) fn drop_kinds(&mut self) {
        let mut kinds: Vec<Discriminant<Fault>> = Vec::new();
        for planned in &self.plan.faults {
            let kind = discriminant(&planned.fault);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        self.ddmin(kinds.len(), |plan, keep| {
            let mut plan = plan.clone();
            let kept = |kind| kinds.iter().zip(keep).any(|(known, kept)| *kept && *known == kind);
            plan.faults.retain(|planned| kept(discriminant(&planned.fault)));
            plan
        });
    }

    /// Single faults.
    pub(super) fn drop_faults(&mut self) {
        let count = self.plan.faults.len();
        self.ddmin(count, |plan, keep| Plan { faults: only(&plan.faults, keep), ..plan.clone() });
    }

    /// Writes.
    pub(super) fn drop_writes(&mut self) {
        let count = self.plan.writes.len();
        self.ddmin(count, |plan, keep| Plan { writes: only(&plan.writes, keep), ..plan.clone() });
    }

    /// Entities that are there at the beginning.
    pub(super) fn drop_initial(&mut self) {
        let count = self.plan.initial.len();
        self.ddmin(count, |plan, keep| Plan { initial: only(&plan.initial, keep), ..plan.clone() });
    }

    /// Edits within transactions; a write keeps at least one.
    pub(super) fn drop_edits(&mut self) {
        for at in 0..self.plan.writes.len() {
            let count = self.plan.writes.get(at).map_or(0, |write| write.edits.len());
            if count < 2 {
                continue;
            }
            // Without any, the plan's own check refuses it.
            self.ddmin(count, |plan, keep| {
                let mut plan = plan.clone();
                if let Some(write) = plan.writes.get_mut(at) {
                    write.edits = only(&write.edits, keep);
                }
                plan
            });
        }
    }

    /// Assertions that have no part in it.
    pub(super) fn drop_assertions(&mut self) {
        let count = self.plan.assertions.len();
        self.ddmin(count, |plan, keep| Plan { assertions: only(&plan.assertions, keep), ..plan.clone() });
    }

    /// Links.
    pub(super) fn drop_links(&mut self) {
        let count = self.plan.links.len();
        self.ddmin(count, |plan, keep| Plan { links: only(&plan.links, keep), ..plan.clone() });
    }
}
