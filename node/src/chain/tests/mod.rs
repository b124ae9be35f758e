//! Chains of random concurrent histories: every past state against what the authors and the node had then.

pub(crate) mod bed;

use std::collections::BTreeSet;

use tombolo_crdt::ChangeHash;
use tombolo_crdt::entity::EntityState;

use super::*;
use bed::{Bed, Dice, KEY, past};

const SEEDS: u64 = 12;
const COUNT: usize = 60;

fn at(bed: &Bed, until: Until) -> Result<EntityState, PastError> {
    Past::new(KEY, bed.row().journal(), until).whole(&bed.reading())
}

/// The rows are equal but for the journal position, which is local.
#[track_caller]
fn same(one: &EntityState, other: &EntityState) {
    assert_eq!(one.contribution("c", "e"), other.contribution("c", "e"));
    assert_eq!(one.clock(), other.clock());
    assert_eq!(one.blame(&[], 1_000), other.blame(&[], 1_000), "provenance");
}

/// The changes of the node's journal that `chosen` names, and all they were made on, applied in its order.
fn closure(bed: &Bed, chosen: impl Fn(usize) -> bool) -> EntityState {
    let mut wanted: BTreeSet<ChangeHash> = BTreeSet::new();
    for (at, one) in bed.made.iter().enumerate().rev() {
        if chosen(at) || wanted.contains(&one.change.hash()) {
            wanted.insert(one.change.hash());
            wanted.extend(one.change.deps());
        }
    }
    let mut state = EntityState::new();
    for one in bed.made.iter().filter(|one| wanted.contains(&one.change.hash())) {
        state.apply(&one.change, &past(&bed.clocks, &one.change), &one.provenance, 0);
    }
    state
}

#[test]
fn the_chain_folds_to_the_row() {
    for seed in 0..SEEDS {
        let bed = Bed::new(seed, 4, COUNT);
        assert_eq!(at(&bed, Until::Present).unwrap().encode(), bed.row().encode(), "seed {seed}");
        let reading = bed.reading();
        let newest = bed.row().journal();
        assert_eq!(walk(&reading, &mut Entries::shared(), KEY, newest, Budget::UNBOUNDED).count(), COUNT);
    }
}

#[test]
fn a_revision_shows_what_the_node_had_then() {
    for seed in 0..SEEDS {
        let bed = Bed::new(seed, 3, COUNT);
        for row in &bed.rows {
            let until = Until::Revision { revision: row.revision(), among: COUNT };
            assert_eq!(at(&bed, until).unwrap().encode(), row.encode(), "seed {seed}");
        }
        let early = Until::Revision { revision: bed.rows[0].revision(), among: COUNT - 1 };
        assert_eq!(at(&bed, early), Err(PastError::Unknown));
        let never = Until::Revision { revision: Revision::from_bytes([0; 16]), among: usize::MAX };
        assert_eq!(at(&bed, never), Err(PastError::Unknown));
    }
}

#[test]
fn an_entry_shows_what_its_author_had() {
    for seed in 0..SEEDS {
        let bed = Bed::new(seed, 4, COUNT);
        for one in &bed.made {
            let receipt = Receipt { feed: one.change.actor(), seq: one.provenance.entry_seq };
            let state = at(&bed, Until::Entry(receipt)).unwrap();
            assert_eq!(state.heads(), [one.change.hash()]);
            same(&state, &one.row);
        }
        let unknown = Receipt { feed: bed.made[0].change.actor(), seq: 1_000 };
        assert_eq!(at(&bed, Until::Entry(unknown)), Err(PastError::Unknown));
    }
}

#[test]
fn a_moment_shows_what_had_been_written_and_what_that_was_made_on() {
    for seed in 0..SEEDS {
        let bed = Bed::new(seed, 4, COUNT);
        let times: BTreeSet<u64> = bed.made.iter().map(|one| one.provenance.hlc.millis()).collect();
        for millis in times {
            let expected = closure(&bed, |at| bed.made[at].provenance.hlc.millis() <= millis);
            same(&at(&bed, Until::Time { millis }).unwrap(), &expected);
        }
        assert_eq!(at(&bed, Until::Time { millis: 999 }), Err(PastError::NotYet));
    }
}

#[test]
fn clocks_at_older_heads_are_those_of_the_whole_past() {
    for seed in 0..SEEDS {
        let bed = Bed::new(seed, 5, COUNT);
        let (reading, mut dice) = (bed.reading(), Dice(seed));
        let present = (bed.row().clock(), bed.row().journal());
        let ask = |heads: &[ChangeHash]| {
            clock_at((&reading, &mut Entries::shared()), KEY, present, heads, &|_| None, Budget::UNBOUNDED).unwrap()
        };
        for row in &bed.rows {
            assert_eq!(ask(row.heads()), ClockAt::Known(row.clock().clone()), "heads that the node had, seed {seed}");
        }
        for one in &bed.made {
            assert_eq!(
                ask(&[one.change.hash()]),
                ClockAt::Known(bed.clocks[&one.change.hash()].clone()),
                "seed {seed}"
            );
            let other = &bed.made[dice.below(COUNT)].change;
            let mut heads = vec![one.change.hash(), other.hash()];
            heads.sort_unstable();
            heads.dedup();
            let mut both = bed.clocks[&one.change.hash()].clone();
            both.join(&bed.clocks[&other.hash()]);
            assert_eq!(ask(&heads), ClockAt::Known(both.clone()), "seed {seed}");
            let known = |hash: ChangeHash| bed.clocks.get(&hash).filter(|_| hash == other.hash());
            assert_eq!(
                clock_at((&reading, &mut Entries::shared()), KEY, present, &heads, &known, Budget::UNBOUNDED).unwrap(),
                ClockAt::Known(both),
                "seed {seed}"
            );
        }
        let foreign = ChangeHash::from_bytes([1; 32]);
        assert_eq!(ask(&[foreign]), ClockAt::Unknown(foreign));
    }
}

/// A refusal of the test's own: the entry is taken out with everything that was made on it, and put back.
#[test]
fn an_entry_taken_out_and_put_back_gives_the_same_row() {
    for seed in 0..SEEDS / 3 {
        let bed = Bed::new(seed, 4, COUNT);
        let reading = bed.reading();
        let mut entries = Entries::shared();
        let links = walk(&reading, &mut entries, KEY, bed.row().journal(), Budget::UNBOUNDED);
        let mut links = links.collect::<Result<Vec<_>, _>>().unwrap();
        links.reverse();
        for refused in 0..COUNT {
            let mut needs = Needs::default();
            let (mut out, mut gone) = (Vec::new(), BTreeSet::new());
            // Without the heads that this node had before each, every change counts as made beside them.
            for link in &links {
                needs.note(link.parse().unwrap().deps(), u64::MAX, &[0; 16]);
            }
            let (mut kept, mut back) = (Fold::new(needs.clone()), Fold::new(needs));
            for (at, link) in links.iter().enumerate() {
                let change = link.parse().unwrap();
                if at == refused || change.deps().iter().any(|dep| gone.contains(dep)) {
                    gone.insert(change.hash());
                    out.push((link, change));
                } else {
                    kept.take(&reading, link, &change).unwrap();
                    back.take(&reading, link, &change).unwrap();
                }
            }
            same(&kept.finish(), &closure(&bed, |at| !gone.contains(&bed.made[at].change.hash())));
            for (link, change) in &out {
                back.take(&reading, link, change).unwrap();
            }
            same(&back.finish(), bed.row());
        }
    }
}

#[test]
fn steps_may_be_taken_on_different_snapshots() {
    let bed = Bed::new(1, 2, 2 * STEP_CHANGES + 10);
    let mut past = Past::new(KEY, bed.row().journal(), Until::Present);
    let mut steps = 0;
    let state = loop {
        steps += 1;
        if let std::ops::ControlFlow::Break(state) = past.step(&bed.reading()).unwrap() {
            break state;
        }
    };
    assert_eq!((state.encode(), past.changes()), (bed.row().encode(), 2 * STEP_CHANGES + 10));
    assert!(steps >= 6, "{steps}");
}

/// The index against the walk, built at once and in pieces.
#[test]
fn an_index_knows_the_clocks_that_walks_find() {
    for seed in 0..SEEDS {
        let bed = Bed::new(seed, 5, COUNT);
        let (reading, mut dice) = (bed.reading(), Dice(seed));
        let mut entries = Entries::passing();
        let mut index = Index::default();
        let budget = Budget { changes: 7, ..Budget::UNBOUNDED };
        for upto in [1, 2, COUNT / 2, COUNT] {
            let mut caught = Caught::from(upto as u64);
            while !caught.walk((&reading, &mut entries), KEY, &index, budget).unwrap() {}
            index.add((&reading, &mut entries), KEY, caught).unwrap();
            assert_eq!((index.len(), index.newest()), (upto, upto as u64));
        }
        let mut ask = |heads: &[ChangeHash]| indexed((&reading, &mut entries), KEY, &index, heads, usize::MAX).unwrap();
        for row in &bed.rows {
            assert_eq!(ask(row.heads()), ClockAt::Known(row.clock().clone()), "heads that the node had, seed {seed}");
        }
        for one in &bed.made {
            assert_eq!(
                ask(&[one.change.hash()]),
                ClockAt::Known(bed.clocks[&one.change.hash()].clone()),
                "seed {seed}"
            );
            let other = bed.made[dice.below(COUNT)].change.hash();
            let mut both = bed.clocks[&one.change.hash()].clone();
            both.join(&bed.clocks[&other]);
            assert_eq!(ask(&[one.change.hash(), other]), ClockAt::Known(both), "seed {seed}");
        }
        let foreign = ChangeHash::from_bytes([1; 32]);
        assert_eq!(ask(&[foreign]), ClockAt::Unknown(foreign));
    }
}

#[test]
fn a_clock_far_into_an_index_is_that_of_the_row_then() {
    let count = 3 * 1_024 + 5;
    let bed = Bed::new(2, 3, count);
    let (reading, mut entries) = (bed.reading(), Entries::passing());
    let mut caught = Caught::from(bed.row().journal());
    let mut index = Index::default();
    assert!(caught.walk((&reading, &mut entries), KEY, &index, Budget::UNBOUNDED).unwrap());
    index.add((&reading, &mut entries), KEY, caught).unwrap();
    for row in bed.rows.iter().step_by(97) {
        let clock = indexed((&reading, &mut entries), KEY, &index, row.heads(), 0).unwrap();
        assert_eq!(clock, ClockAt::Known(row.clock().clone()));
    }
    assert!((count * 48..count * 200).contains(&index.memory()), "{} bytes", index.memory());
}
