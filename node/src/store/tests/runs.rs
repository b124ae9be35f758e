//! A store that has lost a value of its index of entries goes on.

use std::ops::ControlFlow;

use redb::{Database, ReadableTable as _, WriteTransaction};

use super::super::codec::with_sum;
use super::super::layout::{self, Table, state};
use super::*;

/// Does something to the file that no store does.
fn tamper(folder: &Folder, write: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(folder.options().path).unwrap();
    let transaction = database.begin_write().unwrap();
    write(&transaction);
    transaction.commit().unwrap();
}

/// Flips a bit in the value of a key.
fn rot(folder: &Folder, table: Table, key: &[u8], at: usize) {
    tamper(folder, |transaction| {
        let mut open = transaction.open_table(table.definition()).unwrap();
        let mut value = open.get(key).unwrap().unwrap().value().to_vec();
        value[at] ^= 0x10;
        open.insert(key, value.as_slice()).unwrap();
    });
}

/// Three entries of feed 1 and two of feed 2, by turns.
fn filled(folder: &Folder) {
    let store = folder.open();
    let mut batch = store.begin().unwrap();
    for (of, seq) in [(1, 1), (1, 2), (2, 1), (1, 3), (2, 2)] {
        batch.put_entry(feed(of), u64::from(seq), &entry_row(10 * of + seq)).unwrap();
    }
    batch.commit().unwrap();
}

#[test]
fn a_damaged_last_entry_does_not_stop_writing() {
    let folder = Folder::new();
    filled(&folder);
    rot(&folder, Table::Entries, &layout::number(5), 50);
    let store = folder.open();
    for seq in 3..=4 {
        let mut batch = store.begin().unwrap();
        batch.put_entry(feed(2), seq, &entry_row(9)).unwrap();
        batch.put_entry(feed(1), seq + 1, &entry_row(8)).unwrap();
        batch.commit().unwrap();
    }
    let at = store.reader().reading().unwrap();
    assert!(matches!(at.entry(feed(2), 2), Err(StoreError::Corrupt { .. })));
    for seq in 3..=4 {
        assert_eq!(at.entry(feed(2), seq), Ok(Some(entry_row(9))));
        assert_eq!(at.entry(feed(1), seq + 1), Ok(Some(entry_row(8))));
    }
    assert_eq!(at.entry(feed(2), 1), Ok(Some(entry_row(21))));
}

#[test]
fn a_damaged_index_does_not_stop_writing_and_is_made_anew_when_the_store_is_opened() {
    let folder = Folder::new();
    filled(&folder);
    let options = StoreOptions { mend: false, ..folder.options() };
    rot(&folder, Table::State, &layout::run(feed(1), 1), 2);
    let store = Store::open(options).unwrap();
    let mut batch = store.begin().unwrap();
    assert!(matches!(batch.entry(feed(1), 1), Err(StoreError::Corrupt { .. })));
    batch.put_entry(feed(1), 4, &entry_row(14)).unwrap();
    batch.put_entry(feed(1), 5, &entry_row(15)).unwrap();
    batch.commit().unwrap();
    assert_eq!(store.reader().reading().unwrap().entry(feed(1), 5), Ok(Some(entry_row(15))));
    drop(store);
    let at = folder.open().reader().reading().unwrap();
    let rows = [11, 12, 13, 14, 15].map(entry_row);
    assert_eq!(at.entries(feed(1), 1..=9, usize::MAX).unwrap(), (1..).zip(rows).collect::<Vec<_>>());
    let mut runs = 0;
    at.scan_raw(Table::State, &[state::RUN], None, &mut |_, _| {
        runs += 1;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(runs, 5, "1-2, 3, 4-5 of one feed and 1, 2 of the other");
}

#[test]
fn an_entry_in_the_place_of_another_is_not_taken_for_it() {
    let folder = Folder::new();
    filled(&folder);
    tamper(&folder, |transaction| {
        let mut open = transaction.open_table(Table::State.definition()).unwrap();
        let key = layout::run(feed(2), 1);
        let run = with_sum(&key, [2_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
        open.insert(key.as_slice(), run.as_slice()).unwrap();
    });
    let told = folder.open().reader().reading().unwrap().entry(feed(2), 1).unwrap_err();
    assert!(told.to_string().contains("is in its place"), "{told}");
}
