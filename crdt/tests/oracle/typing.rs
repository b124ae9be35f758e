//! Two people type into one text for long, each with a cursor of their own: words, corrections, jumps.

use automerge::transaction::Transactable;
use automerge::{ObjId, ObjType, ROOT, ReadDoc};

use crate::choices::Choices;
use crate::compare;
use crate::history::History;

const WORDS: [&str; 6] = ["the ", "tide ", "goes ", "out, ", "ä", "sand.\n"];
/// Keystrokes and pastes, all of them changes of their own.
const STROKES: usize = 600;

/// Types at a node and enters the change.
fn stroke(history: &mut History, node: usize, text: &ObjId, cursor: &mut usize, choices: &mut Choices<'_>) {
    let here = &mut history.nodes[node];
    let len = here.doc.length(text);
    *cursor = (*cursor).min(len);
    match choices.below(12) {
        0 => *cursor = choices.below(len + 1),
        1 | 2 if *cursor > 0 => {
            let back = 1 + choices.below(3.min(*cursor));
            *cursor -= back;
            here.doc.splice_text(text, *cursor, back as isize, "").unwrap();
        }
        _ => {
            let word = choices.pick(&WORDS);
            here.doc.splice_text(text, *cursor, 0, word).unwrap();
            *cursor += word.chars().count();
        }
    }
    history.commit(node);
}

#[test]
fn a_long_text_typed_by_two_is_the_same() {
    let choices = &mut Choices::Seed(7);
    let mut history = History::new(2, choices);
    let text = history.nodes[0].doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    history.commit(0);
    history.deliver(1, &[0]);
    let mut cursors = [0, 0];
    for _ in 0..STROKES {
        let node = choices.below(2);
        stroke(&mut history, node, &text, &mut cursors[node], choices);
        if choices.once_in(20) {
            let news = history.news(node, 1 - node);
            history.deliver(node, &news);
        }
    }
    for node in 0..2 {
        let news = history.news(node, 1 - node);
        history.deliver(node, &news);
        compare::check(&mut history, node);
    }
    assert!(history.nodes[0].state == history.nodes[1].state);
    assert!(history.replay(choices) == history.nodes[0].state);
    assert!(history.made.len() > STROKES / 2 && history.nodes[0].doc.length(&text) > 1000);
}
