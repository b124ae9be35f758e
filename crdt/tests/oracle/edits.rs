//! What a foreign client does: transactions of Automerge itself.

use automerge::transaction::Transactable;
use automerge::{ObjId, ObjType, Prop, ROOT, ReadDoc, ScalarValue};
use tombolo_crdt::entity::{Applied, Change};

use crate::choices::Choices;
use crate::history::{History, Node, provenance};

const KEYS: [&str; 6] = ["a", "b", "c", "$deleted", "$$deleted", "ä"];
const TEXTS: [&str; 6] = ["x", "ab", "ä😀", "", "hello", "e\u{301}"];
/// No tables: Automerge 0.12 makes them, and panics when a change from elsewhere writes into one.
const KINDS: [ObjType; 4] = [ObjType::Map, ObjType::List, ObjType::Text, ObjType::Map];
/// Operations in one transaction, more or less.
const EDITS_MAX: usize = 6;

pub(crate) fn scalar(choices: &mut Choices<'_>) -> ScalarValue {
    match choices.below(20) {
        0 | 1 => ScalarValue::counter(10),
        2 => ScalarValue::counter(-3),
        3 => ScalarValue::Str("x".into()),
        4 => ScalarValue::Str("a longer string".into()),
        5 => ScalarValue::Boolean(true),
        6 => ScalarValue::Boolean(false),
        7 => ScalarValue::Timestamp(0),
        8 => ScalarValue::Timestamp(951_782_400_123),
        9 => ScalarValue::Bytes(b"\0{}".to_vec()),
        10 => ScalarValue::Bytes(vec![1, 2, 255]),
        11 => ScalarValue::Uint(u64::MAX),
        12 => ScalarValue::Uint(7),
        13 => ScalarValue::F64(0.5),
        14 => ScalarValue::F64(f64::INFINITY),
        15 => ScalarValue::Unknown { type_code: 11, bytes: vec![7, 8] },
        16 => ScalarValue::Int(i64::MIN),
        17 => ScalarValue::Null,
        _ => ScalarValue::Int(choices.below(100) as i64),
    }
}

/// A scalar that an element of a text may be.
fn letter(choices: &mut Choices<'_>) -> ScalarValue {
    match choices.below(4) {
        0 => ScalarValue::Null,
        1 => ScalarValue::Int(5),
        _ => ScalarValue::Str("y".into()),
    }
}

impl History {
    /// A transaction at a node. Nothing happens if none of its edits fits what it falls on.
    pub(crate) fn transact(&mut self, node: usize, choices: &mut Choices<'_>) {
        let mut fresh = Vec::new();
        for _ in 0..=choices.below(EDITS_MAX) {
            let (object, kind) = self.object(node, &fresh, choices);
            let doc = &mut self.nodes[node];
            match kind {
                ObjType::Text => edit_text(doc, &object, choices),
                ObjType::List => edit_list(doc, &object, &mut fresh, choices),
                ObjType::Map | ObjType::Table => edit_map(doc, &object, &mut fresh, choices),
            }
        }
        self.commit(node);
    }

    /// Ends the transaction at a node: a change for everybody, if it holds anything.
    pub(crate) fn commit(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let Some(hash) = here.doc.commit() else { return };
        let theirs = here.doc.get_change_by_hash(&hash).unwrap();
        let ours = Change::parse(theirs.raw_bytes(), here.actor).unwrap();
        let past = here.state.clock().clone();
        assert_eq!(here.state.gate(&ours, &past), Ok(()));
        assert_eq!(here.state.apply(&ours, &past, &provenance(ours.seq()), 1), Applied::Applied);
        self.enter(node, ours, theirs);
    }

    /// The root, or some object that is known at the node, dead or alive.
    fn object(&self, node: usize, fresh: &[(ObjId, ObjType)], choices: &mut Choices<'_>) -> (ObjId, ObjType) {
        let all = self.objects.len() + fresh.len();
        let at = if all == 0 || choices.below(5) < 2 { all } else { choices.below(all) };
        let made = self.objects.get(at).filter(|(change, ..)| self.nodes[node].has[*change]);
        let made = made.map(|(_, object, kind)| (object.clone(), *kind));
        made.or_else(|| fresh.get(at.checked_sub(self.objects.len())?).cloned()).unwrap_or((ROOT, ObjType::Map))
    }
}

// Automerge refuses edits that do not fit, such as an increment of a string. Then nothing happened.

fn edit_map(node: &mut Node, object: &ObjId, fresh: &mut Vec<(ObjId, ObjType)>, choices: &mut Choices<'_>) {
    let key = choices.pick(&KEYS);
    let doc = &mut node.doc;
    match choices.below(10) {
        0..4 => {
            let _ = doc.put(object, key, scalar(choices));
        }
        4..6 => {
            let kind = choices.pick(&KINDS);
            fresh.extend(doc.put_object(object, key, kind).ok().map(|made| (made, kind)));
        }
        6 => {
            let _ = doc.delete(object, key);
        }
        _ => {
            let _ = doc.increment(object, key, choices.below(9) as i64 - 4);
        }
    }
}

fn edit_list(node: &mut Node, object: &ObjId, fresh: &mut Vec<(ObjId, ObjType)>, choices: &mut Choices<'_>) {
    let doc = &mut node.doc;
    let len = doc.length(object);
    let what = if len == 0 { choices.below(5) } else { choices.below(12) };
    let at = choices.below(len.max(1));
    match what {
        0..3 => {
            let _ = doc.insert(object, choices.below(len + 1), scalar(choices));
        }
        3 => {
            let kind = choices.pick(&KINDS);
            fresh.extend(doc.insert_object(object, at, kind).ok().map(|made| (made, kind)));
        }
        4 => {
            let delete = choices.below(len.min(3) + 1).min(len - at.min(len));
            let values = [scalar(choices), ScalarValue::Int(1)].map(automerge::hydrate::Value::from);
            let _ = doc.splice(object, at, delete as isize, values);
        }
        5 | 6 => {
            let _ = doc.put(object, at, scalar(choices));
        }
        7 => {
            let kind = choices.pick(&KINDS);
            fresh.extend(doc.put_object(object, at, kind).ok().map(|made| (made, kind)));
        }
        8 | 9 => {
            let _ = doc.delete(object, at);
        }
        _ => {
            let _ = doc.increment(object, Prop::Seq(at), choices.below(9) as i64 - 4);
        }
    }
}

/// No increments: Automerge 0.12 panics over a counter in a text.
fn edit_text(node: &mut Node, object: &ObjId, choices: &mut Choices<'_>) {
    let doc = &mut node.doc;
    let len = doc.length(object);
    let at = choices.below(len + 1);
    match choices.below(8) {
        0..5 => {
            let delete = choices.below(3).min(len - at);
            let _ = doc.splice_text(object, at, delete as isize, choices.pick(&TEXTS));
        }
        5 => {
            let _ = doc.update_text(object, choices.pick(&TEXTS));
        }
        6 if len > 0 => {
            let _ = doc.put(object, at.min(len - 1), letter(choices));
        }
        _ => {
            let _ = doc.insert(object, at, letter(choices));
        }
    }
}
