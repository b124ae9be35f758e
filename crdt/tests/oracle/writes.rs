//! What a client of ours does: JSON writes, made into a change from the live state alone.

use std::collections::BTreeMap;

use tombolo_crdt::Hlc;
use tombolo_crdt::entity::{Applied, Change, PatchOp, TypedOp, Write, Writer};
use tombolo_crdt::json::Json;

use crate::choices::Choices;
use crate::history::{History, provenance};

const KEYS: [&str; 6] = ["a", "b", "c", "$deleted", "", "ä"];
const STEPS: [&str; 7] = ["a", "b", "c", "0", "1", "-", "$deleted"];
/// Containers in containers of a generated value.
const DEPTH_MAX: usize = 4;

fn leaf(choices: &mut Choices<'_>) -> Json {
    match choices.below(10) {
        0 => Json::Null,
        1 => Json::Bool(true),
        2 => Json::Float(0.5),
        3 => Json::String("x".into()),
        4 => Json::Object(BTreeMap::new()),
        5 => Json::Array(Vec::new()),
        6 => Json::Uint(u64::MAX),
        _ => Json::Int(choices.below(50) as i64 - 5),
    }
}

fn value(choices: &mut Choices<'_>, depth: usize) -> Json {
    match choices.below(8) {
        0 | 1 if depth < DEPTH_MAX => object(choices, depth),
        2 if depth < DEPTH_MAX => Json::Array((0..choices.below(4)).map(|_| value(choices, depth + 1)).collect()),
        _ => leaf(choices),
    }
}

fn object(choices: &mut Choices<'_>, depth: usize) -> Json {
    let field = |_| (choices.pick(&KEYS).to_owned(), value(choices, depth + 1));
    Json::Object((0..4).map(field).collect())
}

fn path(choices: &mut Choices<'_>) -> String {
    (0..=choices.below(3)).map(|_| format!("/{}", choices.pick(&STEPS))).collect()
}

fn patch_op(choices: &mut Choices<'_>) -> PatchOp {
    let at = path(choices);
    match choices.below(6) {
        0 | 1 => PatchOp::Add { path: at, value: value(choices, 2) },
        2 => PatchOp::Replace { path: at, value: value(choices, 2) },
        3 => PatchOp::Remove { path: at },
        4 => PatchOp::Move { from: path(choices), path: at },
        _ => PatchOp::Copy { from: path(choices), path: at },
    }
}

fn typed_op(choices: &mut Choices<'_>) -> TypedOp {
    let at = path(choices);
    let index = choices.below(3);
    match choices.below(6) {
        0..3 => TypedOp::Increment { path: at, by: choices.below(9) as i64 - 4 },
        3 => TypedOp::Insert { path: at, index, values: vec![value(choices, 2)] },
        4 => TypedOp::Delete { path: at, index, count: 1 },
        _ => TypedOp::Splice { path: at, index, delete: choices.below(2), values: vec![value(choices, 2)] },
    }
}

impl History {
    fn plan(&self, choices: &mut Choices<'_>) -> Write {
        match choices.below(14) {
            0 | 1 => Write::Put { value: object(choices, 1), base: None },
            2 | 3 => {
                let other = choices.below(self.nodes.len());
                Write::Put { value: object(choices, 1), base: Some(self.nodes[other].state.view()) }
            }
            4..7 => Write::MergePatch(object(choices, 1)),
            7 | 8 => Write::JsonPatch(vec![patch_op(choices)]),
            9..13 => Write::Ops((0..=choices.below(2)).map(|_| typed_op(choices)).collect()),
            _ => Write::Delete,
        }
    }

    /// A write at a node. Nothing happens if it does not fit what is there.
    pub(crate) fn write(&mut self, node: usize, choices: &mut Choices<'_>) {
        let write = self.plan(choices);
        let here = &self.nodes[node];
        let before = here.state.clone();
        let mut writer = Writer::new(&before, here.actor, Hlc::from_millis(1_800_000_000_000));
        if writer.write(&write).is_err() {
            return;
        }
        let seq = before.clock().get(&here.actor).seq + 1;
        let Some((change, after)) = writer.finish(&provenance(seq), 1).unwrap() else { return };
        let ours = Change::parse(change.bytes(), here.actor).unwrap();
        let theirs = automerge::Change::try_from(change.bytes()).unwrap();
        let here = &mut self.nodes[node];
        let past = before.clock().clone();
        assert_eq!(here.state.gate(&ours, &past), Ok(()));
        assert_eq!(here.state.apply(&ours, &past, &provenance(seq), 1), Applied::Applied);
        assert!(here.state == after, "who receives a change gets where its author is");
        here.doc.apply_changes([theirs.clone()]).unwrap();
        self.enter(node, ours, theirs);
    }
}
