//! Walks over a chain to the past of a change.

use super::*;
use crate::chain::clock::{Comparable, clock_comparing};
use crate::chain::{Budget, ClockAt, EntityKey, walk};

/// Siblings on top of a history, and a change on all of them but one: its past is right. How many hashes of heads were
/// hashed to find it, as after a restart, when no clock is remembered.
fn past_of_siblings(siblings: u64, history: usize) -> usize {
    let mut bed = Bed::new();
    bed.write("e", 0..history);
    let base = bed.row("e");
    let made: Vec<(Pen, Change)> = (100..100 + siblings)
        .map(|epoch| {
            let mut pen = bed.pen(epoch);
            let change = pen.change(&base, &patch(&format!(r#"{{"of":{epoch}}}"#)));
            pen.entries.push(bed.entry(&pen, "e", &change));
            (pen, change)
        })
        .collect();
    bed.take(made.iter().map(|(pen, _)| pen.range()));
    let mut author = base.clone();
    for (_, change) in made.iter().take(made.len() - 1) {
        author.apply(change, base.clock(), &Provenance::default(), 1);
    }
    assert_eq!(author.heads().len() as u64, siblings - 1);
    let row = bed.row("e");
    bed.work(|work, space| {
        let key = EntityKey { space_no: space.row.space_no, collection: "x", id: "e" };
        let mut comparable = Comparable::new();
        let links = walk(&work.batch, &mut work.entries, key, row.journal(), Budget::UNBOUNDED);
        let clock = clock_comparing(links, row.clock(), author.heads(), &|_| None, &mut comparable).unwrap();
        assert_eq!(clock, ClockAt::Known(author.clock().clone()), "{siblings} siblings on {history} changes");
        comparable.used
    })
}

#[test]
fn a_change_with_many_dependencies_costs_what_it_is_long() {
    let (few, many) = (past_of_siblings(150, 1), past_of_siblings(1_200, 1));
    assert!(few > 0, "heads are compared");
    // Heads of all lengths from one to 1,199, all hashed, would be 700,000.
    assert!(many < 25_000, "{many} hashes for 1,200 changes");
}

/// With so many heads the walk does not compare at every step whether it can end: it ends later, with the same clock.
#[test]
fn a_walk_past_a_thousand_heads_ends_with_the_right_clock() {
    past_of_siblings(1_500, 400);
}
