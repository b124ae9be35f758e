//! The store through its public face: what is put comes back, whole, from a batch, after a commit and after reopening.

mod crash;
mod disk;
mod faults;
mod reads;
mod rot;
mod runs;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tombolo_crdt::digest::StateSums;
use tombolo_crdt::feed::Signature;
use tombolo_crdt::{ChainHash, ChangeHash, Digest, FeedId, NodeId, SpaceId};

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("tombolo-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            create: true,
            cache_bytes: 1 << 20,
            reserve_bytes: Some(0),
            ..StoreOptions::new(self.0.join("store.redb"))
        }
    }

    fn open(&self) -> Store {
        Store::open(self.options()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn feed(n: u8) -> FeedId {
    FeedId::from_bytes([n; 16])
}

fn chain(n: u8) -> ChainHash {
    ChainHash::from_bytes([n; 32])
}

fn node() -> NodeId {
    NodeId::from_bytes([7; 32])
}

fn seal(n: u8) -> Signature {
    Signature::from_bytes(&[n; 64])
}

fn change() -> ChangeHash {
    ChangeHash::from_bytes([8; 32])
}

fn entry_row(n: u8) -> EntryRow {
    let changes =
        vec![ChangeLink { previous: u64::from(n), after: [n; 16] }, ChangeLink { previous: 0, after: [1; 16] }];
    EntryRow { bytes: vec![n; 40], chain: chain(n), verdict: 0, journal: 100 + u64::from(n), changes }
}

fn held_row(seal: Option<Signature>) -> HeldRow {
    HeldRow { bytes: b"held".to_vec(), chain: chain(3), seal }
}

fn feed_row() -> FeedRow {
    FeedRow {
        opening: b"opening".to_vec(),
        space_no: 1,
        seq: 9,
        chain: chain(9),
        sealed: Some((9, seal(9))),
        kept: 4,
        kept_bytes: 1000,
        rules: vec![(1, vec![chain(1), chain(2)]), (5, Vec::new())],
        hlc: 77,
    }
}

fn space_row() -> SpaceRow {
    let mut sums = StateSums::default();
    sums.rows.add(&[0xab; 32]);
    SpaceRow {
        space: SpaceId::from_bytes([5; 32]),
        space_no: 1,
        name: "Zürich".to_owned(),
        founding: b"founding".to_vec(),
        journal: 3,
        running: [6; 16],
        sums,
        entities: 2,
        frozen: 0,
        applied: 2,
        refused: 1,
    }
}

fn peer_row() -> PeerRow {
    PeerRow { remembered: vec![(Digest::from_bytes([1; 32]), 1)], common: Some((Digest::from_bytes([2; 32]), 2)) }
}

fn quarantine_row() -> QuarantineRow {
    QuarantineRow { verdict: 3, reason: "reader".to_owned(), hlc: 5 }
}

fn idempotency_row(at_millis: u64) -> IdempotencyRow {
    IdempotencyRow { body: [2; 32], outcome: b"201".to_vec(), at_millis }
}

fn journal_rows() -> [JournalRow; 2] {
    let first = JournalRow::next(&[0; 16], 1, JournalKind::Applied, feed(1), 1, Vec::new());
    let names = vec![("tasks".to_owned(), "ä 1".to_owned()), ("c".to_owned(), String::new())];
    let second = JournalRow::next(&first.running, 2, JournalKind::TakenOut, feed(1), 1, names);
    [first, second]
}

/// One row of every kind.
fn fill(batch: &mut Batch<'_>) {
    batch.put_entry(feed(1), 1, &entry_row(1)).unwrap();
    batch.put_entry(feed(1), 2, &entry_row(2)).unwrap();
    for (position, row) in (1..).zip(&journal_rows()) {
        batch.put_journal(1, position, row).unwrap();
    }
    batch.put_row(1, "tasks", "a", b"row a".to_vec()).unwrap();
    batch.put_feed(feed(1), &feed_row()).unwrap();
    batch.put_space(&space_row()).unwrap();
    batch.put_peer(1, node(), &peer_row()).unwrap();
    batch.put_meta("name", b"bytes").unwrap();
    batch.put_seal(feed(1), 4, seal(4)).unwrap();
    batch.put_held(feed(2), 3, &held_row(None)).unwrap();
    batch.put_held(feed(2), 4, &held_row(Some(seal(1)))).unwrap();
    batch.put_quarantine(1, feed(1), 3, &quarantine_row()).unwrap();
    batch.put_refused_change(1, "tasks", "a", change(), (feed(1), 3)).unwrap();
    batch.put_idempotency(&[1; 32], &idempotency_row(50)).unwrap();
}

/// Reads everything that [`fill`] writes, value by value.
fn read(reading: &Reading) -> Result<(), StoreError> {
    assert_eq!(reading.entry(feed(1), 1)?, Some(entry_row(1)));
    let entries = reading.entries(feed(1), 1..=u64::MAX, usize::MAX)?;
    assert_eq!(entries, vec![(1, entry_row(1)), (2, entry_row(2))]);
    assert_eq!(reading.entry_journal(feed(1), 2)?, Some(102));
    assert_eq!(reading.entry_chain(feed(1), 2)?, Some(chain(2)));
    let [first, second] = journal_rows();
    assert_eq!(reading.journal(1, 2)?, Some(second.clone()));
    assert_eq!(reading.journal_range(1, 0, 9)?, vec![(1, first), (2, second)]);
    assert_eq!(reading.row(1, "tasks", "a")?, Some(b"row a".to_vec()));
    assert_eq!(reading.feed(feed(1))?, Some(feed_row()));
    assert_eq!(reading.feeds(1)?, vec![(feed(1), feed_row())]);
    assert_eq!(reading.space(space_row().space)?, Some(space_row()));
    assert_eq!(reading.spaces()?, vec![space_row()]);
    assert_eq!(reading.peer(1, node())?, Some(peer_row()));
    assert_eq!(reading.peers(1)?, vec![(node(), peer_row())]);
    assert_eq!(reading.meta("name")?.as_deref(), Some(b"bytes".as_slice()));
    assert_eq!(reading.meta_prefix("na")?, vec![("name".to_owned(), b"bytes".to_vec())]);
    assert_eq!(reading.seal_at_or_after(feed(1), 2)?, Some((4, seal(4))));
    assert_eq!(reading.held_entry(feed(2), 3)?, Some(held_row(None)));
    assert_eq!(reading.held(feed(2))?, vec![(3, held_row(None)), (4, held_row(Some(seal(1))))]);
    assert_eq!(reading.quarantined(1, feed(1), 3)?, Some(quarantine_row()));
    assert_eq!(reading.quarantine(1, None, 9)?, vec![(feed(1), 3, quarantine_row())]);
    assert_eq!(reading.refused_change(1, "tasks", "a", change())?, Some((feed(1), 3)));
    assert_eq!(reading.idempotency(&[1; 32])?, Some(idempotency_row(50)));
    Ok(())
}

#[test]
fn every_row_comes_back_from_the_batch_the_commit_and_the_file() {
    let folder = Folder::new();
    let store = folder.open();
    let reader = store.reader();
    let mut batch = store.begin().unwrap();
    fill(&mut batch);
    read(&batch).unwrap();
    assert!(reader.reading().unwrap().spaces().unwrap().is_empty(), "not committed yet");
    batch.commit().unwrap();
    read(&reader.reading().unwrap()).unwrap();
    store.reopen().unwrap();
    read(&reader.reading().unwrap()).unwrap();
    drop(store);
    assert_eq!(reader.reading().err(), Some(StoreError::Closed), "dropping the store closes its readers");
    read(&folder.open().reader().reading().unwrap()).unwrap();
}

#[test]
fn a_dropped_batch_leaves_nothing_and_removals_stay() {
    let folder = Folder::new();
    let store = folder.open();
    let mut batch = store.begin().unwrap();
    assert!(!batch.is_dirty());
    fill(&mut batch);
    assert!(batch.is_dirty());
    drop(batch);
    let batch = store.begin().unwrap();
    assert_eq!(batch.entry(feed(1), 1), Ok(None));
    assert_eq!(batch.collections(1), Ok(Vec::new()));
    batch.commit().unwrap();

    let mut batch = store.begin().unwrap();
    fill(&mut batch);
    batch.commit().unwrap();
    let mut batch = store.begin().unwrap();
    batch.remove_held(feed(2), 3).unwrap();
    batch.remove_meta("name").unwrap();
    batch.remove_row(1, "tasks", "a").unwrap();
    batch.remove_quarantine(1, feed(1), 3).unwrap();
    batch.remove_refused_change(1, "tasks", "a", change()).unwrap();
    for committed in [false, true] {
        let reading = store.reader().reading().unwrap();
        let view: &Reading = if committed { &reading } else { &batch };
        assert_eq!(view.held_entry(feed(2), 3), Ok(None));
        assert_eq!(view.held(feed(2)).unwrap().len(), 1);
        assert_eq!(view.meta("name"), Ok(None));
        assert_eq!(view.collections(1), Ok(Vec::new()));
        assert_eq!(view.quarantine(1, None, 9), Ok(Vec::new()));
        assert_eq!(view.refused_change(1, "tasks", "a", change()), Ok(None));
        if !committed {
            let again = store.begin().unwrap();
            std::mem::replace(&mut batch, again).commit().unwrap();
        }
    }
}

#[test]
fn a_batch_begun_before_another_commit_is_refused() {
    let folder = Folder::new();
    let store = folder.open();
    let (mut first, mut second) = (store.begin().unwrap(), store.begin().unwrap());
    first.put_meta("n", b"1").unwrap();
    second.put_meta("n", b"2").unwrap();
    first.commit().unwrap();
    assert!(matches!(second.commit(), Err(StoreError::Defect(_))));
    assert_eq!(store.begin().unwrap().meta("n"), Ok(Some(b"1".to_vec())));
}

#[test]
fn a_snapshot_keeps_its_state_while_the_writer_goes_on_and_ends_with_a_reopen() {
    let folder = Folder::new();
    let store = folder.open();
    let reader = store.reader();
    let before = reader.reading().unwrap();
    let mut batch = store.begin().unwrap();
    fill(&mut batch);
    batch.commit().unwrap();
    assert_eq!(before.meta("name"), Ok(None));
    assert_eq!(reader.reading().unwrap().meta("name"), Ok(Some(b"bytes".to_vec())));
    store.reopen().unwrap();
    let late = before.meta("name");
    assert!(matches!(late, Ok(None) | Err(StoreError::Closed)), "{late:?}");
}

#[test]
fn answers_are_purged_when_they_are_both_old_and_many() {
    let folder = Folder::new();
    let store = folder.open();
    let key = |n: u64| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        key
    };
    let mut batch = store.begin().unwrap();
    for n in 1..=IDEMPOTENCY_ROWS + 20 {
        batch.put_idempotency(&key(n), &idempotency_row(n)).unwrap();
    }
    batch.commit().unwrap();
    let mut batch = store.begin().unwrap();
    assert_eq!(batch.purge_idempotency(IDEMPOTENCY_MILLIS, 100), Ok(0), "young");
    let later = IDEMPOTENCY_MILLIS + 1_000_000;
    assert_eq!(batch.purge_idempotency(later, 5), Ok(5), "bounded");
    assert_eq!(batch.purge_idempotency(later, 100), Ok(15), "the newest stay");
    assert_eq!(batch.purge_idempotency(later, 100), Ok(0));
    assert_eq!(batch.idempotency(&key(20)), Ok(None));
    assert_eq!(batch.idempotency(&key(21)), Ok(Some(idempotency_row(21))));
    batch.put_idempotency(&key(21), &idempotency_row(5)).unwrap();
    batch.commit().unwrap();
    let mut batch = store.begin().unwrap();
    assert_eq!(batch.idempotency(&key(21)), Ok(Some(idempotency_row(5))), "replaced, and the newest");
    assert_eq!(batch.purge_idempotency(later, 100), Ok(0), "its old number went with it");
}
