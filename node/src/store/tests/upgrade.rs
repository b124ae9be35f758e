//! Stores of format 1, and what does not stop a store that has lost a value of its index of entries.

use std::ops::ControlFlow;

use redb::{Database, ReadableTable as _, WriteTransaction};

use super::super::codec::{with_sum, without_sum};
use super::super::entries::PLACE_BYTES;
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

/// What [`filled`] wrote is there.
fn assert_filled(at: &Snapshot) {
    for (of, seqs) in [(1, 3), (2, 2)] {
        let rows = (1..=seqs).map(|seq| (u64::from(seq), entry_row(10 * of + seq)));
        assert_eq!(at.entries(feed(of), 1..=u64::MAX, usize::MAX).unwrap(), rows.collect::<Vec<_>>());
    }
}

/// The file as format 1 had it.
fn to_format_1(folder: &Folder) {
    tamper(folder, |transaction| {
        let mut old = Vec::new();
        {
            let entries = transaction.open_table(Table::Entries.definition()).unwrap();
            for row in entries.iter().unwrap() {
                let (key, value) = row.unwrap();
                let body = without_sum(Table::Entries, key.value(), value.value()).unwrap();
                let (feed_bytes, seq) = body[..PLACE_BYTES].split_at(FeedId::LEN);
                let seq = u64::from_le_bytes(seq.try_into().unwrap());
                let key = layout::feed_seq(FeedId::from_bytes(feed_bytes.try_into().unwrap()), seq);
                old.push((key, with_sum(&key, body[PLACE_BYTES..].to_vec())));
            }
        }
        transaction.delete_table(Table::Entries.definition()).unwrap();
        let mut entries = transaction.open_table(Table::Entries.definition()).unwrap();
        for (key, value) in old {
            entries.insert(key.as_slice(), value.as_slice()).unwrap();
        }
        let mut states = transaction.open_table(Table::State.definition()).unwrap();
        states.retain(|key, _| key[0] != state::RUN).unwrap();
        let format = with_sum(&[state::FORMAT], 1_u32.to_le_bytes().to_vec());
        states.insert([state::FORMAT].as_slice(), format.as_slice()).unwrap();
    });
}

#[test]
fn a_store_of_format_1_is_brought_to_this_one_and_goes_on() {
    let folder = Folder::new();
    filled(&folder);
    to_format_1(&folder);
    let store = folder.open();
    let mut batch = store.begin().unwrap();
    assert_filled(&batch);
    batch.put_entry(feed(1), 4, &entry_row(14)).unwrap();
    batch.commit().unwrap();
    drop(store);
    let at = folder.open().reader().snapshot().unwrap();
    assert_eq!(at.entry(feed(1), 4), Ok(Some(entry_row(14))));
}

#[test]
fn it_is_refused_and_left_alone_where_it_is_not_to_be_upgraded_or_there_is_no_room() {
    let folder = Folder::new();
    filled(&folder);
    to_format_1(&folder);
    let assert_older = || {
        let refused = Store::open(StoreOptions { upgrade: false, ..folder.options() }).unwrap_err();
        assert!(matches!(refused, OpenError::Older { found: 1, current: 2, .. }), "{refused:?}");
    };
    assert_older();
    // Nobody has as much free.
    let refused = Store::open(StoreOptions { reserve_bytes: Some(1 << 60), ..folder.options() }).unwrap_err();
    assert!(matches!(refused, OpenError::NoRoom { needed_mib, .. } if needed_mib > 1 << 40), "{refused:?}");
    assert_older();
    assert_filled(&folder.open().reader().snapshot().unwrap());
}

#[test]
fn a_damaged_entry_of_format_1_stays_damaged_and_the_others_whole() {
    for (of, damaged) in [(1, 1), (1, 2), (1, 3), (2, 2)] {
        let folder = Folder::new();
        filled(&folder);
        to_format_1(&folder);
        rot(&folder, Table::Entries, &layout::feed_seq(feed(of), damaged), 50);
        let at = folder.open().reader().snapshot().unwrap();
        for (each, seqs) in [(1, 3), (2, 2)] {
            for seq in 1..=seqs {
                let told = at.entry(feed(each), u64::from(seq));
                match (each, u64::from(seq)) == (of, damaged) {
                    true => assert!(matches!(told, Err(StoreError::Corrupt { .. })), "{each}/{seq}: {told:?}"),
                    false => assert_eq!(told, Ok(Some(entry_row(10 * each + seq))), "{each}/{seq}"),
                }
            }
        }
    }
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
    let at = store.reader().snapshot().unwrap();
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
    let options = StoreOptions { upgrade: false, ..folder.options() };
    rot(&folder, Table::State, &layout::run(feed(1), 1), 2);
    let store = Store::open(options).unwrap();
    let mut batch = store.begin().unwrap();
    assert!(matches!(batch.entry(feed(1), 1), Err(StoreError::Corrupt { .. })));
    batch.put_entry(feed(1), 4, &entry_row(14)).unwrap();
    batch.put_entry(feed(1), 5, &entry_row(15)).unwrap();
    batch.commit().unwrap();
    assert_eq!(store.reader().snapshot().unwrap().entry(feed(1), 5), Ok(Some(entry_row(15))));
    drop(store);
    let at = folder.open().reader().snapshot().unwrap();
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
    let told = folder.open().reader().snapshot().unwrap().entry(feed(2), 1).unwrap_err();
    assert!(told.to_string().contains("is in its place"), "{told}");
}
