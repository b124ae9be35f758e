//! Loss of power at every operation of the disk: whatever was committed is there whole, and nothing else is.

use std::io::ErrorKind;

use super::disk::{Disk, Random};
use super::*;

const BATCHES: u64 = 5;
const SEEDS: u64 = 3;

fn options() -> StoreOptions {
    StoreOptions { create: true, cache_bytes: 1 << 20, ..StoreOptions::new("simulated") }
}

fn open(disk: &Disk) -> Result<Store, OpenError> {
    let disk = disk.clone();
    Store::open_with_backend(move || Ok(disk.clone()), Endless, options())
}

/// Batch number `n`, which touches every table.
fn write(store: &Store, n: u64) -> Result<(), StoreError> {
    let mut batch = store.begin()?;
    let short = n.to_le_bytes()[0];
    batch.put_entry(feed(1), n, &EntryRow { bytes: vec![short; 6000], ..entry_row(short) })?;
    let row = JournalRow::next(&[short; 16], n, JournalKind::Applied, feed(1), n, Vec::new());
    batch.put_journal(1, n, &row)?;
    batch.put_row(1, "c", &format!("{}", n % 3), vec![short; 3000])?;
    batch.put_space(&SpaceRow { journal: n, ..space_row() })?;
    batch.put_meta("n", &n.to_le_bytes())?;
    batch.put_held(feed(2), n, &held_row(None))?;
    batch.remove_held(feed(2), n - 1)?;
    batch.put_seal(feed(1), n, seal(short))?;
    batch.put_idempotency(&[short; 32], &idempotency_row(n))?;
    batch.commit()
}

/// Checks that exactly the batches up to `n` are there.
fn check(reading: &Reading, n: u64) {
    let all = reading.entries(feed(1), 1..=99, usize::MAX).unwrap();
    assert_eq!(all.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=n).collect::<Vec<_>>());
    assert!(all.iter().all(|(seq, row)| row.bytes == vec![seq.to_le_bytes()[0]; 6000]));
    assert_eq!(reading.journal_range(1, 0, 99).unwrap().len() as u64, n);
    for id in 0..3 {
        let last = (1..=n).rev().find(|written| written % 3 == id);
        let row = reading.row(1, "c", &id.to_string()).unwrap();
        assert_eq!(row, last.map(|last| vec![last.to_le_bytes()[0]; 3000]));
    }
    let meta = reading.meta("n").unwrap();
    assert_eq!(meta, (n > 0).then(|| n.to_le_bytes().to_vec()));
    let held: Vec<u64> = reading.held(feed(2)).unwrap().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(held, if n > 0 { vec![n] } else { Vec::new() });
    assert_eq!(reading.idempotency(&[n.to_le_bytes()[0]; 32]).unwrap(), (n > 0).then(|| idempotency_row(n)));
}

#[test]
fn every_committed_batch_is_whole_after_a_crash_at_any_operation() {
    let fresh = Disk::default();
    drop(open(&fresh).unwrap());
    let (mut runs, mut unacknowledged) = (0, 0);
    for stop in 0.. {
        let mut finished = false;
        for seed in 1..=SEEDS {
            let disk = fresh.copy();
            disk.fail_from(stop, ErrorKind::Other);
            let mut acknowledged = 0;
            if let Ok(store) = open(&disk) {
                while acknowledged < BATCHES && write(&store, acknowledged + 1).is_ok() {
                    acknowledged += 1;
                }
            }
            finished = !disk.failing();
            disk.crash(&mut Random(stop * 1000 + seed));
            let store = open(&disk).unwrap_or_else(|error| panic!("stop {stop}, seed {seed}: {error}"));
            let reader = store.reader();
            let there = reader.reading().unwrap().spaces().unwrap().first().map_or(0, |row| row.journal);
            // The batch that was being committed may have made it.
            assert!((acknowledged..=acknowledged + 1).contains(&there), "stop {stop}: {there} of {acknowledged}");
            unacknowledged += there - acknowledged;
            check(&reader.reading().unwrap(), there);
            write(&store, there + 1).unwrap();
            check(&reader.reading().unwrap(), there + 1);
            runs += 1;
        }
        if finished {
            break;
        }
    }
    assert!(runs > 100, "only {runs} crashes");
    assert!(unacknowledged > 0, "no crash fell between the sync and the answer");
}

#[test]
fn a_full_disk_latches_the_store_and_a_reopen_brings_it_back() {
    let fresh = Disk::default();
    let before = {
        let store = open(&fresh).unwrap();
        write(&store, 1).unwrap();
        let before = fresh.operations();
        write(&store, 2).unwrap();
        fresh.operations() - before
    };
    assert!(before > 3, "a commit is more than {before} operations");
    for lost in 0..before {
        let disk = fresh.copy();
        let store = open(&disk).unwrap();
        let reader = store.reader();
        disk.fail_from(disk.operations() + lost, ErrorKind::StorageFull);
        let failed = write(&store, 3).expect_err("the disk is full");
        assert!(matches!(failed, StoreError::Full { latched: true, .. }), "operation {lost}: {failed:?}");
        assert!(failed.needs_reopen());
        assert!(write(&store, 3).expect_err("latched").needs_reopen());
        // Still no room: the reopen may fail, and may be tried again.
        let _ = store.reopen();
        disk.heal();
        store.reopen().unwrap();
        let there = reader.reading().unwrap().spaces().unwrap().first().map_or(0, |row| row.journal);
        assert!((2..=3).contains(&there));
        check(&reader.reading().unwrap(), there);
        write(&store, there + 1).unwrap();
        check(&reader.reading().unwrap(), there + 1);
    }
}
