//! Pages, prefixes and skips, over what is stored and what a batch has laid over it.

use std::collections::BTreeMap;

use super::*;

#[test]
fn entries_stop_at_the_byte_limit_but_never_before_the_first() {
    let folder = Folder::new();
    let store = folder.open();
    let mut batch = store.begin().unwrap();
    for n in 1..=5 {
        batch.put_entry(feed(1), u64::from(n), &entry_row(n)).unwrap();
        batch.put_entry(feed(2), u64::from(n), &entry_row(n)).unwrap();
    }
    let seqs = |from, to, bytes| -> Vec<u64> {
        batch.entries(feed(1), from..=to, bytes).unwrap().into_iter().map(|(seq, _)| seq).collect()
    };
    assert_eq!(seqs(1, 9, usize::MAX), [1, 2, 3, 4, 5]);
    assert_eq!(seqs(2, 4, usize::MAX), [2, 3, 4]);
    assert_eq!(seqs(2, 4, 80), [2, 3]);
    assert_eq!(seqs(2, 4, 0), [2]);
    assert!(seqs(4, 2, 80).is_empty());
}

#[test]
fn entries_of_feeds_that_were_stored_by_turns_are_found_as_if_each_were_alone() {
    let folder = Folder::new();
    let mut store = folder.open();
    // Feed 3 begins at 50, as feeds do that are kept from an image on.
    let mut next = BTreeMap::from([(1, 1_u64), (2, 1), (3, 50)]);
    let mut model = BTreeMap::new();
    for turn in 0..60_u64 {
        let mut batch = store.begin().unwrap();
        for of in [turn % 3, turn / 3 % 3, turn * turn % 3] {
            let of = u8::try_from(of).unwrap() + 1;
            for _ in 0..=turn % 5 {
                let seq = next.get_mut(&of).unwrap();
                let row = EntryRow { bytes: [&[of][..], &seq.to_le_bytes()].concat(), ..entry_row(of) };
                batch.put_entry(feed(of), *seq, &row).unwrap();
                model.insert((of, *seq), row);
                *seq += 1;
            }
            assert_entries(&batch, &model);
        }
        batch.commit().unwrap();
        if turn % 20 == 19 {
            drop(store);
            store = folder.open();
        }
    }
    // Written again, an entry keeps its place.
    let mut batch = store.begin().unwrap();
    for (&(of, seq), row) in model.iter_mut().step_by(7) {
        row.verdict = 9;
        batch.put_entry(feed(of), seq, row).unwrap();
    }
    assert_entries(&batch, &model);
    batch.commit().unwrap();
    assert_entries(&store.reader().reading().unwrap(), &model);
}

fn assert_entries(at: &Reading, model: &BTreeMap<(u8, u64), EntryRow>) {
    for of in 1..=4 {
        let kept: Vec<(u64, EntryRow)> =
            model.range((of, 0)..=(of, u64::MAX)).map(|((_, seq), row)| (*seq, row.clone())).collect();
        let first = kept.first().map_or(1, |(seq, _)| *seq);
        assert_eq!(at.entries(feed(of), first..=u64::MAX, usize::MAX).unwrap(), kept);
        let last = first + kept.len() as u64;
        let some = kept.iter().filter(|(seq, _)| (first + 3..last.saturating_sub(2)).contains(seq)).cloned();
        assert_eq!(
            at.entries(feed(of), first + 3..=last.saturating_sub(3), usize::MAX).unwrap(),
            some.collect::<Vec<_>>()
        );
        for (seq, row) in &kept {
            assert_eq!(at.entry(feed(of), *seq).unwrap().as_ref(), Some(row));
            assert_eq!(at.entry_journal(feed(of), *seq).unwrap(), Some(row.journal));
        }
        for nowhere in [0, first - 1, last, u64::MAX] {
            assert_eq!(at.entry(feed(of), nowhere).unwrap(), None, "feed {of} at {nowhere}");
        }
    }
}

#[test]
fn seals_are_found_at_or_after_within_their_feed() {
    let folder = Folder::new();
    let store = folder.open();
    let mut batch = store.begin().unwrap();
    batch.put_seal(feed(1), 10, seal(1)).unwrap();
    batch.put_seal(feed(1), 20, seal(2)).unwrap();
    batch.put_seal(feed(2), 5, seal(3)).unwrap();
    for (from, expected) in [(0, Some(10)), (10, Some(10)), (11, Some(20)), (20, Some(20)), (21, None)] {
        let found = batch.seal_at_or_after(feed(1), from).unwrap();
        assert_eq!(found.map(|(seq, _)| seq), expected, "from {from}");
    }
}

#[test]
fn listings_page_by_collection_and_prefix_and_never_leave_their_space() {
    let folder = Folder::new();
    let store = folder.open();
    let mut batch = store.begin().unwrap();
    for space in [1, 2] {
        for (collection, id) in [("a", "x"), ("a", "x1"), ("a", "y"), ("a-b", "x2"), ("a.b", "z"), ("b", "x3")] {
            let row = format!("{space}/{collection}/{id}").into_bytes();
            batch.put_row(space, collection, id, row).unwrap();
        }
        batch.put_quarantine(space, feed(1), 1, &quarantine_row()).unwrap();
        batch.put_quarantine(space, feed(1), 2, &quarantine_row()).unwrap();
        batch.put_quarantine(space, feed(2), 1, &quarantine_row()).unwrap();
        for position in 1..=3 {
            let row = JournalRow::next(&[0; 16], position, JournalKind::Rules, feed(1), position, Vec::new());
            batch.put_journal(space, position, &row).unwrap();
        }
    }
    let ids = |collection, prefix: &str, after, limit| -> Vec<String> {
        let rows = batch.rows(1, collection, prefix, after, limit).unwrap();
        rows.into_iter()
            .map(|(collection, id, row)| {
                assert_eq!(row, format!("1/{collection}/{id}").into_bytes());
                format!("{collection}/{id}")
            })
            .collect()
    };
    assert_eq!(batch.collections(1).unwrap(), ["a", "a-b", "a.b", "b"]);
    assert_eq!(batch.collections(3).unwrap(), [""; 0]);
    assert_eq!(ids(None, "", None, 9), ["a/x", "a/x1", "a/y", "a-b/x2", "a.b/z", "b/x3"]);
    assert_eq!(ids(None, "x", None, 9), ["a/x", "a/x1", "a-b/x2", "b/x3"]);
    assert_eq!(ids(Some("a"), "", None, 9), ["a/x", "a/x1", "a/y"]);
    assert_eq!(ids(Some("a"), "x", Some(("a", "x")), 9), ["a/x1"]);
    assert_eq!(ids(Some("b"), "", Some(("a", "x")), 9), ["b/x3"], "after something before it");
    assert_eq!(ids(Some("a"), "", Some(("b", "x3")), 9), [""; 0], "after something behind it");
    assert_eq!(ids(None, "", Some(("a", "y")), 2), ["a-b/x2", "a.b/z"]);
    assert_eq!(ids(None, "", None, 0), [""; 0]);
    let places = |after| batch.quarantine(1, after, 2).unwrap().into_iter().map(|(f, s, _)| (f, s)).collect::<Vec<_>>();
    assert_eq!(places(None), [(feed(1), 1), (feed(1), 2)]);
    assert_eq!(places(Some((feed(1), 2))), [(feed(2), 1)]);
    let positions: Vec<u64> = batch.journal_range(1, 2, 9).unwrap().into_iter().map(|(at, _)| at).collect();
    assert_eq!(positions, [2, 3]);
    assert_eq!(batch.journal_range(1, 1, 1).unwrap().len(), 1);
}

#[test]
fn the_running_hash_tells_journals_apart() {
    let row = |previous: u8, position, kind, seq, names: Vec<(String, String)>| {
        JournalRow::next(&[previous; 16], position, kind, feed(1), seq, names).running
    };
    let name = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    let all = [
        row(0, 1, JournalKind::Applied, 1, Vec::new()),
        row(1, 1, JournalKind::Applied, 1, Vec::new()),
        row(0, 2, JournalKind::Applied, 1, Vec::new()),
        row(0, 1, JournalKind::Refused, 1, Vec::new()),
        row(0, 1, JournalKind::Applied, 2, Vec::new()),
        row(0, 1, JournalKind::Applied, 1, name("ab", "c")),
        row(0, 1, JournalKind::Applied, 1, name("a", "bc")),
    ];
    for (at, hash) in all.iter().enumerate() {
        assert!(!all[..at].contains(hash), "{at}");
    }
    for code in 0..7 {
        assert_eq!(JournalKind::from_code(code).map(JournalKind::code), Some(code));
    }
    assert_eq!(JournalKind::from_code(7), None);
}

/// Random puts and removals against a map: what a batch shows is what a commit then shows.
#[test]
fn scans_merge_what_is_buffered_with_what_is_stored() {
    let folder = Folder::new();
    let store = folder.open();
    let mut random = disk::Random(42);
    let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for round in 0..60u8 {
        let mut batch = store.begin().unwrap();
        for _ in 0..random.below(12) {
            let id = format!("{:02}", random.below(30));
            if random.below(3) == 0 {
                batch.remove_row(1, "c", &id).unwrap();
                batch.remove_meta(&id).unwrap();
                model.remove(&id);
            } else {
                batch.put_row(1, "c", &id, vec![round]).unwrap();
                batch.put_meta(&id, &[round]).unwrap();
                model.insert(id, vec![round]);
            }
        }
        let expected: Vec<(String, Vec<u8>)> = model.iter().map(|(id, row)| (id.clone(), row.clone())).collect();
        let listed = |view: &Reading| -> Vec<(String, Vec<u8>)> {
            view.rows(1, None, "", None, 99).unwrap().into_iter().map(|(_, id, row)| (id, row)).collect()
        };
        assert_eq!(listed(&batch), expected, "round {round}, buffered");
        assert_eq!(batch.meta_prefix("").unwrap(), expected);
        assert_eq!(
            batch.meta_prefix("1").unwrap().len(),
            expected.iter().filter(|(id, _)| id.starts_with('1')).count()
        );
        batch.commit().unwrap();
        assert_eq!(listed(&store.reader().reading().unwrap()), expected, "round {round}, committed");
    }
}
