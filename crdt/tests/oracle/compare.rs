//! Runs a history and compares every live state with Automerge.

use automerge::{Automerge, ObjType, ROOT, ReadDoc};
use tombolo_crdt::entity::EntityState;
use tombolo_crdt::hash::{Tagged, tag};

use crate::choices::Choices;
use crate::history::{History, Tally};
use crate::tree::{self, Map, Marks, Value};
use crate::view;

/// Steps of one history.
const STEPS_MAX: usize = 48;

/// What Automerge 0.12 panics with over changes of its own, when a text has an element that was put concurrently and
/// one of the values is deleted (op_set2/change/batch.rs:763). Such a history has no answer to compare with.
const AUTOMERGES_OWN: &str = "exposed value must record the value it replaces";
pub(crate) fn is_automerges_own(panic: &(dyn std::any::Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    text.is_some_and(|text| text.starts_with(AUTOMERGES_OWN))
}

/// Makes a history, checking as it goes.
pub(crate) fn run(choices: &mut Choices<'_>) -> Tally {
    let nodes = 2 + choices.below(3);
    let mut history = History::new(nodes, choices);
    for _ in 0..4 + choices.below(STEPS_MAX - 4) {
        if choices.is_done() {
            break;
        }
        step(&mut history, choices);
    }
    finish(&mut history, choices)
}

fn step(history: &mut History, choices: &mut Choices<'_>) {
    let nodes = history.nodes.len();
    let node = choices.below(nodes);
    match choices.below(24) {
        0..9 => history.transact(node, choices),
        9..13 => history.write(node, choices),
        13..17 => {
            let news = history.news(node, choices.below(nodes));
            history.deliver(node, &news);
        }
        17..21 => {
            let news = history.news(node, choices.below(nodes));
            if !news.is_empty() {
                let one = choices.pick(&news);
                history.deliver(node, &[one]);
            }
        }
        21 => history.deliver_again(node, choices),
        22 => history.new_epoch(node, choices),
        // A row that was stored in between merges on as one that was not.
        _ => {
            let row = history.nodes[node].state.encode();
            history.nodes[node].state = EntityState::decode(&row).unwrap();
        }
    }
    if choices.once_in(16) {
        let node = choices.below(nodes);
        check(history, node);
    }
}

/// Everything everywhere, and all of it compared.
fn finish(history: &mut History, choices: &mut Choices<'_>) -> Tally {
    for to in 0..history.nodes.len() {
        for from in 0..history.nodes.len() {
            let news = history.news(to, from);
            history.deliver(to, &news);
        }
    }
    let conflicts = check(history, 0);
    let expected = history.nodes[0].state.encode();
    for node in &history.nodes[1..] {
        assert!(node.state.encode() == expected, "another order, another row");
    }
    let again = history.replay(choices);
    assert!(again.encode() == expected, "another order, another row");
    assert_eq!(EntityState::decode(&expected).unwrap().encode(), expected);
    if choices.once_in(8) {
        loaded(history, choices);
    }
    let operations = history.made.iter().map(|made| made.theirs.len() as u64).sum();
    Tally { histories: 1, changes: history.made.len() as u64, operations, conflicts, unanswered: 0 }
}

/// A document that Automerge stored and loaded again, or put together in another order, is the same.
fn loaded(history: &mut History, choices: &mut Choices<'_>) {
    let node = choices.below(history.nodes.len());
    let saved = history.nodes[node].doc.save();
    let doc = Automerge::load(&saved).unwrap();
    let state = &history.nodes[0].state;
    compare(&doc, &doc.get_heads(), state, &Marks::of(history.made.iter()));
}

/// Compares the live state of a node with its document. How many values are in conflict.
pub(crate) fn check(history: &mut History, node: usize) -> u64 {
    let marks = marks(history, node);
    let here = &mut history.nodes[node];
    let heads = here.doc.get_heads();
    compare(&here.doc, &heads, &here.state, &marks)
}

/// What the changes a node has say that no document shows.
pub(crate) fn marks(history: &History, node: usize) -> Marks {
    let known = history.made.iter().zip(&history.nodes[node].has);
    Marks::of(known.filter(|(_, has)| **has).map(|(made, _)| made))
}

fn compare(doc: &impl ReadDoc, heads: &[automerge::ChangeHash], state: &EntityState, marks: &Marks) -> u64 {
    let root = tree::map(doc, &ROOT);
    same_texts(doc, &root);
    compare_tree(&root, heads, state, marks)
}

/// Compares the live state with what some Automerge shows.
pub(crate) fn compare_tree(root: &Map, heads: &[automerge::ChangeHash], state: &EntityState, marks: &Marks) -> u64 {
    let theirs = view::conflicts(root);
    let ours = state.conflicts();
    let listed = ours.iter().map(|conflict| {
        let values = conflict.values.iter();
        let values = values.map(|value| ((value.id.counter(), value.id.actor()), value.value.clone())).collect();
        (conflict.path.clone(), conflict.in_view, values)
    });
    assert_eq!(listed.collect::<Vec<view::Listed>>(), theirs, "conflicts");
    assert_eq!(state.view(), view::view(root), "view");
    let clock = state.clock().iter().map(|(actor, mark)| (*actor, (mark.seq, mark.counter)));
    assert_eq!(clock.collect::<std::collections::BTreeMap<_, _>>(), marks.clock, "clock");
    assert_eq!((state.updates(), state.deleted()), (&marks.updates, &marks.deleted), "updates and deleted");
    assert_eq!(state.is_present(), marks.is_present());
    let part = tree::canonical(heads, root, marks);
    let contribution = Tagged::new(tag::ROW).sized(b"c").sized(b"e").bytes(&part).finish();
    assert!(state.contribution("c", "e") == contribution, "the digest of what Automerge shows: {root:#?}");
    theirs.iter().map(|(.., values)| values.len() as u64).sum()
}

/// The texts of the tree are what Automerge calls their text.
fn same_texts(doc: &impl ReadDoc, root: &Map) {
    for key in root.keys() {
        let Some((automerge::Value::Object(ObjType::Text), id)) = doc.get(&ROOT, key.as_str()).unwrap() else {
            continue;
        };
        let Some(Value::Seq(_, elems)) = root[key].last().map(|op| &op.value) else { continue };
        assert_eq!(doc.text(&id).unwrap(), view::text(elems));
    }
}
