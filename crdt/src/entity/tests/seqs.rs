//! Sequences of many blocks are what a plain list under the same rule is.

use super::*;
use crate::entity::doc::{Live, Value};
use crate::entity::ops::Ops;
use crate::entity::seq::{Elem, Seq};

/// The rule in its shortest form.
fn insert(elems: &mut Vec<OpId>, after: Option<OpId>, id: OpId) {
    let from = after.map_or(0, |after| elems.iter().position(|there| *there == after).unwrap() + 1);
    let at = from + elems[from..].iter().take_while(|there| **there > id).count();
    elems.insert(at, id);
}

fn elem(id: OpId) -> Elem {
    Elem { id, ops: Ops::new(Vec::new()) }
}

fn ids(seq: &Seq) -> Vec<OpId> {
    seq.iter().map(|elem| elem.id).collect()
}

/// A run of insertions: after which element, by whom, how much later than the last, how many, each after the one
/// before.
type Run = (Index, usize, u64, usize, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn blocks_are_a_list(
        runs in prop::collection::vec((any::<Index>(), 0..3_usize, 1..2000_u64, 1..300_usize, any::<bool>()), 1..40),
        stored in prop::collection::vec(any::<Index>(), 0..3),
    ) {
        let stored: Vec<usize> = stored.iter().map(|at| at.index(runs.len())).collect();
        let mut seq = Seq::default();
        let mut plain: Vec<OpId> = Vec::new();
        // Actors write concurrently: each counts for itself, above what it names.
        let mut counters = [0; 3];
        for (number, (after, actor, later, count, chained)) in runs.into_iter().enumerate() {
            let run: Run = (after, actor, later, count, chained);
            let mut after = (!plain.is_empty()).then(|| *run.0.get(&plain));
            let above = after.map_or(0, |after| after.counter());
            let first = above.max(counters[run.1]) + run.2;
            for counter in first..first + run.3 as u64 {
                let id = OpId::new(counter, feed(run.1)).unwrap();
                prop_assert!(seq.insert(after.unwrap_or(OpId::ROOT), elem(id)));
                insert(&mut plain, after, id);
                counters[run.1] = counter;
                if run.4 {
                    after = Some(id);
                }
            }
            if stored.contains(&number) {
                seq = Seq::new(ids(&seq).into_iter().map(elem).collect());
            }
        }
        prop_assert_eq!(ids(&seq), plain.clone());
        prop_assert_eq!(seq.len(), plain.len());
        for id in plain.iter().step_by(7) {
            prop_assert_eq!(seq.edit(*id, |_| 7), Some(7));
        }
        // Every third is shown.
        for (at, id) in plain.iter().enumerate().step_by(3) {
            let live = Live { id: *id, value: Value::Int(at as i64) };
            prop_assert_eq!(seq.edit(*id, |ops| ops.insert(live)), Some(()));
        }
        let shown: Vec<OpId> = seq.shown().map(|elem| elem.id).collect();
        prop_assert_eq!((seq.shown_len(), shown.len()), (shown.len(), plain.len().div_ceil(3)));
        for from in (0..shown.len() + 2).step_by(1 + shown.len() / 40) {
            let (elems, passed) = seq.shown_from(from);
            prop_assert!(elems.map(|elem| elem.id).eq(shown.iter().skip(from).copied()));
            prop_assert!(passed <= seq.blocks() + 256, "{} of {} blocks", passed, seq.blocks());
        }
        for id in plain.iter().step_by(3) {
            seq.edit(*id, |ops| ops.remove(*id));
        }
        prop_assert_eq!(seq.shown_len(), 0);
        let nobody = OpId::new(1 << 30, feed(7)).unwrap();
        prop_assert!(seq.edit(nobody, |_| ()).is_none() && !seq.insert(nobody, elem(nobody)));
        prop_assert_eq!(seq.clone(), Seq::new(plain.into_iter().map(elem).collect()));
    }
}

/// Whoever inserts many elements in front of each other, in a hundred bytes, moves few of them.
#[test]
fn many_insertions_in_one_place_are_in_order() {
    let count = 60_000_u64;
    let mut seq = Seq::default();
    for counter in 1..=count {
        assert!(seq.insert(OpId::ROOT, elem(OpId::new(counter, feed(0)).unwrap())));
    }
    assert!(ids(&seq).iter().map(OpId::counter).eq((1..=count).rev()));
}
