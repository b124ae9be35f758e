//! Nodes with an Automerge document and a live state each, and the changes they make and exchange.

use std::collections::BTreeMap;

use automerge::{ActorId, AutoCommit, ObjId, ObjType};
use tombolo_crdt::entity::{Applied, Change, Clock, EntityState, Provenance};
use tombolo_crdt::{ChangeHash, FeedId, Hlc};

use crate::choices::Choices;

/// Actors that one node has one after the other, as after a restart.
const EPOCHS_MAX: usize = 3;

/// A change, and what is known of it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) ours: Change,
    pub(crate) theirs: automerge::Change,
    pub(crate) past: Clock,
    pub(crate) deps: Vec<usize>,
}

impl Made {
    /// Through the gate, in. Journal positions are left equal, because they are each node's own.
    pub(crate) fn apply(&self, state: &mut EntityState) {
        assert_eq!(state.gate(&self.ours, &self.past), Ok(()), "an honest change");
        assert_eq!(state.apply(&self.ours, &self.past, &provenance(self.ours.seq()), 1), Applied::Applied);
    }
}

/// What all changes with this number carry.
pub(crate) fn provenance(seq: u64) -> Provenance {
    Provenance { entry_seq: seq, hlc: Hlc::from_millis(1_800_000_000_000 + seq), rules_seq: 1 }
}

/// One replica, kept twice.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) doc: AutoCommit,
    pub(crate) state: EntityState,
    pub(crate) actor: FeedId,
    pub(crate) epochs: usize,
    /// Per change whether it is here.
    pub(crate) has: Vec<bool>,
}

/// What was generated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) histories: u64,
    pub(crate) changes: u64,
    pub(crate) operations: u64,
    /// Live values in conflict at the end of a history.
    pub(crate) conflicts: u64,
    /// Histories that Automerge itself did not survive.
    pub(crate) unanswered: u64,
}

/// All replicas of one entity, and all changes in an order in which causes come first.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) nodes: Vec<Node>,
    pub(crate) made: Vec<Made>,
    index: BTreeMap<ChangeHash, usize>,
    /// All objects anybody has made, dead ones too, and by which change.
    pub(crate) objects: Vec<(usize, ObjId, ObjType)>,
    actors: usize,
}

pub(crate) fn actor_id(feed: FeedId) -> ActorId {
    ActorId::from(feed.as_bytes().as_slice())
}

impl History {
    pub(crate) fn new(nodes: usize, choices: &mut Choices<'_>) -> Self {
        let mut history =
            Self { nodes: Vec::new(), made: Vec::new(), index: BTreeMap::new(), objects: Vec::new(), actors: 0 };
        for _ in 0..nodes {
            let actor = history.new_actor(choices);
            let doc = AutoCommit::new().with_actor(actor_id(actor));
            history.nodes.push(Node { doc, state: EntityState::new(), actor, epochs: 1, has: Vec::new() });
        }
        history
    }

    /// Ids in no order, since ties between operations go by them.
    fn new_actor(&mut self, choices: &mut Choices<'_>) -> FeedId {
        self.actors += 1;
        let mut bytes = [choices.below(256) as u8; 16];
        bytes[15] = self.actors as u8;
        FeedId::from_bytes(bytes)
    }

    /// The node goes on as another actor.
    pub(crate) fn new_epoch(&mut self, node: usize, choices: &mut Choices<'_>) {
        if self.nodes[node].epochs < EPOCHS_MAX {
            let actor = self.new_actor(choices);
            let node = &mut self.nodes[node];
            (node.actor, node.epochs) = (actor, node.epochs + 1);
            node.doc.set_actor(actor_id(actor));
        }
    }

    /// Enters a change that its author's document and state already hold.
    pub(crate) fn enter(&mut self, node: usize, ours: Change, theirs: automerge::Change) {
        let at = self.add(ours, theirs);
        self.nodes[node].has[at] = true;
    }

    /// Enters a change that no node has, unless it is known. Which one it is.
    pub(crate) fn add(&mut self, ours: Change, theirs: automerge::Change) -> usize {
        if let Some(known) = self.index.get(&ours.hash()) {
            return *known;
        }
        assert_eq!(ours.hash().as_bytes(), &theirs.hash().0);
        let deps: Vec<usize> = ours.deps().iter().map(|dep| self.index[dep]).collect();
        let mut past = Clock::new();
        deps.iter().for_each(|dep| {
            past.join(&self.made[*dep].past);
            past.take(&self.made[*dep].ours);
        });
        let at = self.made.len();
        for (op, counter) in theirs.decode().operations.iter().zip(ours.start_op()..) {
            if let automerge::legacy::OpType::Make(kind) = op.action {
                self.objects.push((at, ObjId::Id(counter, actor_id(ours.actor()), 0), kind));
            }
        }
        self.index.insert(ours.hash(), at);
        self.made.push(Made { ours, theirs, past, deps });
        self.nodes.iter_mut().for_each(|node| node.has.push(false));
        at
    }

    /// The changes `to` lacks of a change and everything before it, causes first.
    fn lacking(&self, to: usize, wanted: &[usize]) -> Vec<usize> {
        let mut todo = wanted.to_vec();
        let mut found = Vec::new();
        while let Some(at) = todo.pop() {
            if !self.nodes[to].has[at] && !found.contains(&at) {
                found.push(at);
                todo.extend(&self.made[at].deps);
            }
        }
        found.sort_unstable();
        found
    }

    /// Brings changes to a node, with what they depend on.
    pub(crate) fn deliver(&mut self, to: usize, wanted: &[usize]) {
        let lacking = self.lacking(to, wanted);
        let node = &mut self.nodes[to];
        if !lacking.is_empty() {
            let changes: Vec<_> = lacking.iter().map(|at| self.made[*at].theirs.clone()).collect();
            node.doc.apply_changes(changes).unwrap();
        }
        for at in lacking {
            self.made[at].apply(&mut node.state);
            node.has[at] = true;
        }
    }

    /// What one node has and another lacks.
    pub(crate) fn news(&self, to: usize, from: usize) -> Vec<usize> {
        let has = self.nodes[from].has.iter().zip(&self.nodes[to].has).enumerate();
        has.filter(|(_, (from, to))| **from && !**to).map(|(at, _)| at).collect()
    }

    /// A change that is here comes again.
    pub(crate) fn deliver_again(&mut self, to: usize, choices: &mut Choices<'_>) {
        if self.made.is_empty() {
            return;
        }
        let at = choices.below(self.made.len());
        let node = &mut self.nodes[to];
        if node.has[at] {
            let made = &self.made[at];
            assert_eq!(node.state.apply(&made.ours, &made.past, &provenance(9), 9), Applied::Duplicate);
            node.doc.apply_changes([made.theirs.clone()]).unwrap();
        }
    }

    /// A fresh state that took all changes in another order, causes first, some twice.
    pub(crate) fn replay(&self, choices: &mut Choices<'_>) -> EntityState {
        let mut state = EntityState::new();
        let mut waits: Vec<usize> = self.made.iter().map(|made| made.deps.len()).collect();
        let mut followers = vec![Vec::new(); self.made.len()];
        for (at, made) in self.made.iter().enumerate() {
            made.deps.iter().for_each(|dep| followers[*dep].push(at));
        }
        let mut ready: Vec<usize> = (0..waits.len()).filter(|at| waits[*at] == 0).collect();
        while !ready.is_empty() {
            let at = ready.swap_remove(choices.below(ready.len()));
            let made = &self.made[at];
            made.apply(&mut state);
            if choices.once_in(16) {
                assert_eq!(state.apply(&made.ours, &made.past, &provenance(9), 9), Applied::Duplicate);
            }
            for follower in &followers[at] {
                waits[*follower] -= 1;
                if waits[*follower] == 0 {
                    ready.push(*follower);
                }
            }
        }
        state
    }
}
