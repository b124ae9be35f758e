//! Tests of the entity, with a few replicas of one in a world of their own.

mod budget;
mod changes;
mod counters;
mod differential;
mod forged;
mod groups;
mod histories;
mod many;
mod rows;
mod seqs;
mod writes;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::json::Json;

pub(super) fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

pub(super) fn put(text: &str) -> Write {
    Write::Put { value: json(text), base: None }
}

pub(super) fn patch(text: &str) -> Write {
    Write::MergePatch(json(text))
}

pub(super) fn increment(path: &str, by: i64) -> Write {
    Write::Ops(vec![TypedOp::Increment { path: path.into(), by }])
}

pub(super) fn feed(node: usize) -> FeedId {
    FeedId::from_bytes([u8::try_from(node).unwrap() + 1; 16])
}

/// A change with the clock at its dependencies, as a node would find it.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) change: Change,
    pub(super) past: Clock,
}

impl Made {
    fn provenance(&self) -> Provenance {
        let hlc = Hlc::from_millis(1_800_000_000_000 + self.change.seq());
        Provenance { entry_seq: self.change.seq(), hlc, rules_seq: 1 }
    }

    /// Through the gate, in; journal positions are left equal, because they are each node's own.
    pub(super) fn apply(&self, state: &mut EntityState) -> Applied {
        state.gate(&self.change, &self.past).unwrap();
        state.apply(&self.change, &self.past, &self.provenance(), 1)
    }
}

/// Replicas of one entity.
pub(super) struct World {
    pub(super) nodes: Vec<EntityState>,
    /// All changes in the order they were made.
    pub(super) made: Vec<Made>,
}

impl World {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes: vec![EntityState::new(); nodes], made: Vec::new() }
    }

    /// Writes at a node. Checks that whoever receives the change's bytes gets where its author is.
    pub(super) fn try_write(&mut self, node: usize, writes: &[Write]) -> Result<bool, WriteError> {
        let before = self.nodes[node].clone();
        let mut writer = Writer::new(&before, feed(node), Hlc::from_millis(1_800_000_000_000));
        writes.iter().try_for_each(|write| writer.write(write))?;
        let seq = before.clock().get(&feed(node)).seq + 1;
        let hlc = Hlc::from_millis(1_800_000_000_000 + seq);
        let Some((change, after)) = writer.finish(&Provenance { entry_seq: seq, hlc, rules_seq: 1 }, 1)? else {
            return Ok(false);
        };
        let parsed = Change::parse(change.bytes(), feed(node)).unwrap();
        assert_eq!(parsed, change);
        let made = Made { change: parsed, past: before.clock().clone() };
        let mut elsewhere = before;
        assert_eq!(made.apply(&mut elsewhere), Applied::Applied);
        assert_eq!(elsewhere, after);
        self.nodes[node] = after;
        self.made.push(made);
        Ok(true)
    }

    pub(super) fn write(&mut self, node: usize, write: &Write) -> bool {
        self.try_write(node, std::slice::from_ref(write)).unwrap()
    }

    /// Brings over everything one node lacks of another.
    pub(super) fn sync(&mut self, to: usize, from: usize) {
        let theirs = self.nodes[from].clock().clone();
        let mine = &mut self.nodes[to];
        for made in &self.made {
            let seq = made.change.seq();
            let actor = made.change.actor();
            if seq <= theirs.get(&actor).seq && seq > mine.clock().get(&actor).seq {
                made.apply(mine);
            }
        }
    }

    /// Everything everywhere.
    pub(super) fn settle(&mut self) {
        for _ in 0..2 {
            for to in 0..self.nodes.len() {
                for from in 0..self.nodes.len() {
                    self.sync(to, from);
                }
            }
        }
    }

    pub(super) fn view(&self, node: usize) -> String {
        String::from_utf8(self.nodes[node].view_bytes()).unwrap()
    }

    /// A state that took all changes in another causal order.
    pub(super) fn replay(&self, choices: &[Index]) -> EntityState {
        let mut state = EntityState::new();
        let mut rest: Vec<&Made> = self.made.iter().collect();
        let mut choices = choices.iter().cycle();
        while !rest.is_empty() {
            let done = |hash: &ChangeHash| !rest.iter().any(|made| made.change.hash() == *hash);
            let ready: Vec<usize> = (0..rest.len()).filter(|at| rest[*at].change.deps().iter().all(done)).collect();
            let at = ready[choices.next().unwrap().index(ready.len())];
            rest.remove(at).apply(&mut state);
        }
        state
    }
}

/// What may happen in a world.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Write(usize, Vec<Write>),
    /// A PUT with, as base, what another node shows.
    PutOver(usize, usize, Json),
    Sync(usize, usize),
}

impl World {
    pub(super) fn run(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Write(node, writes) => {
                    // Patches that do not fit what is there are refused; that is not what is tested here.
                    let _ = self.try_write(*node, writes);
                }
                Event::PutOver(node, other, value) => {
                    let base = Some(self.nodes[*other].view());
                    self.try_write(*node, &[Write::Put { value: value.clone(), base }]).unwrap();
                }
                Event::Sync(to, from) => self.sync(*to, *from),
            }
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("a"), 4 => Just("b"), 2 => Just("c"), 1 => Just("$deleted"), 1 => Just("")]
        .prop_map(str::to_owned)
}

pub(super) fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        4 => (0..5_i64).prop_map(Json::Int),
        1 => Just(Json::Null),
        1 => Just(Json::Bool(true)),
        1 => Just(Json::Float(0.5)),
        2 => "[xy]{0,2}".prop_map(Json::String),
        1 => Just(Json::Object(BTreeMap::new())),
    ];
    leaf.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            3 => prop::collection::btree_map(key(), inner.clone(), 0..3).prop_map(Json::Object),
            1 => prop::collection::vec(inner, 0..3).prop_map(Json::Array),
        ]
    })
}

pub(super) fn object() -> impl Strategy<Value = Json> {
    prop::collection::btree_map(key(), value(), 0..4).prop_map(Json::Object)
}

fn path() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        4 => key(),
        1 => Just("0".to_owned()),
        1 => Just("1".to_owned()),
    ];
    prop::collection::vec(step, 1..4).prop_map(|steps| format!("/{}", steps.join("/")))
}

fn typed_op() -> impl Strategy<Value = TypedOp> {
    prop_oneof![
        3 => (path(), -3..4_i64).prop_map(|(path, by)| TypedOp::Increment { path, by }),
        1 => (path(), 0..3_usize, prop::collection::vec(value(), 0..3))
            .prop_map(|(path, index, values)| TypedOp::Insert { path, index, values }),
        1 => (path(), 0..3_usize, 0..2_usize).prop_map(|(path, index, count)| TypedOp::Delete { path, index, count }),
        1 => (path(), 0..2_usize, 0..2_usize, prop::collection::vec(value(), 0..2))
            .prop_map(|(path, index, delete, values)| TypedOp::Splice { path, index, delete, values }),
    ]
}

fn patch_op() -> impl Strategy<Value = PatchOp> {
    prop_oneof![
        3 => (path(), value()).prop_map(|(path, value)| PatchOp::Add { path, value }),
        2 => (path(), value()).prop_map(|(path, value)| PatchOp::Replace { path, value }),
        2 => path().prop_map(|path| PatchOp::Remove { path }),
        1 => (path(), path()).prop_map(|(from, path)| PatchOp::Move { from, path }),
        1 => (path(), path()).prop_map(|(from, path)| PatchOp::Copy { from, path }),
    ]
}

pub(super) fn any_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => object().prop_map(|value| Write::Put { value, base: None }),
        3 => object().prop_map(Write::MergePatch),
        2 => prop::collection::vec(patch_op(), 1..3).prop_map(Write::JsonPatch),
        4 => prop::collection::vec(typed_op(), 1..3).prop_map(Write::Ops),
        1 => Just(Write::Delete),
    ]
}

pub(super) fn events(nodes: usize, len: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        5 => (0..nodes, prop::collection::vec(any_write(), 1..3)).prop_map(|(node, writes)| Event::Write(node, writes)),
        1 => (0..nodes, 0..nodes, object()).prop_map(|(node, other, value)| Event::PutOver(node, other, value)),
        3 => (0..nodes, 0..nodes).prop_map(|(to, from)| Event::Sync(to, from)),
    ];
    prop::collection::vec(event, 1..len)
}

/// A change that puts null to one key again and again: runs, which take a hundred bytes and the key.
pub(crate) fn run_of_puts(actor: FeedId, (seq, start_op): (u64, u64), key: &str, times: usize) -> Change {
    use crate::entity::doc::{Action, Key, Operation, Value};
    let (key, action) = (Key::Map(key.to_owned()), Action::Put(Value::Null));
    let op = Operation { obj: OpId::ROOT, key, insert: false, action, pred: Vec::new() };
    let own = change::Own { actor, seq, start_op, time: 0, deps: Vec::new(), ops: vec![op; times] };
    Change::build(own).unwrap()
}
