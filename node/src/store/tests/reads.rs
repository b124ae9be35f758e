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
        let listed = |view: &Snapshot| -> Vec<(String, Vec<u8>)> {
            view.rows(1, None, "", None, 99).unwrap().into_iter().map(|(_, id, row)| (id, row)).collect()
        };
        assert_eq!(listed(&batch), expected, "round {round}, buffered");
        assert_eq!(batch.meta_prefix("").unwrap(), expected);
        assert_eq!(
            batch.meta_prefix("1").unwrap().len(),
            expected.iter().filter(|(id, _)| id.starts_with('1')).count()
        );
        batch.commit().unwrap();
        assert_eq!(listed(&store.reader().snapshot().unwrap()), expected, "round {round}, committed");
    }
}
