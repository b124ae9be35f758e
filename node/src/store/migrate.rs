//! Stores of earlier formats. Each step is one commit: a store is of one format or of the next.

use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};
use tombolo_crdt::FeedId;

use super::codec::{with_sum, without_sum};
use super::error::StoreError;
use super::layout::{FORMAT_VERSION, Table, number, run as run_key, state};

/// Where entries were in version 1: key feed 16 ‖ seq u64, the same values. It has its name while it is being read.
const ENTRIES_1: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("entries-1");

/// From version 1, which had entries by feed and seq. Takes some 10 µs per entry, and room for all entries once more.
pub(super) fn from_1(database: &Database) -> Result<(), StoreError> {
    tracing::info!("the store has format 1; its entries are laid out anew");
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    transaction.rename_table(Table::Entries.definition(), ENTRIES_1)?;
    let moved = number_all(&transaction)?;
    transaction.delete_table(ENTRIES_1)?;
    let key = [state::FORMAT];
    let value = with_sum(&key, FORMAT_VERSION.to_le_bytes().to_vec());
    transaction.open_table(Table::State.definition())?.insert(key.as_slice(), value.as_slice())?;
    transaction.commit()?;
    tracing::info!(entries = moved, "the store has format 2 now");
    Ok(())
}

/// Numbers the entries feed by feed: every feed is one run. How many there are.
fn number_all(transaction: &WriteTransaction) -> Result<u64, StoreError> {
    let old = transaction.open_table(ENTRIES_1)?;
    let mut entries = transaction.open_table(Table::Entries.definition())?;
    let mut runs = transaction.open_table(Table::State.definition())?;
    let (mut moved, mut all) = (0, Vec::<Run>::new());
    for row in old.iter()? {
        let (key, value) = row?;
        moved += 1;
        entries.insert(number(moved).as_slice(), renamed(key.value(), value.value(), moved).as_slice())?;
        let (feed, seq) = split(key.value())?;
        match all.last_mut() {
            Some(run) if run.feed == feed && run.first + run.count == seq => run.count += 1,
            _ => all.push(Run { feed, first: seq, number: moved, count: 1 }),
        }
    }
    for run in all {
        let key = run_key(run.feed, run.first);
        let value = with_sum(&key, [run.number.to_le_bytes(), run.count.to_le_bytes()].concat());
        runs.insert(key.as_slice(), value.as_slice())?;
    }
    Ok(moved)
}

/// Entries of a feed that follow each other.
struct Run {
    feed: FeedId,
    first: u64,
    number: u64,
    count: u64,
}

/// The value under its new key. A damaged one stays damaged.
fn renamed(key: &[u8], value: &[u8], moved: u64) -> Vec<u8> {
    match without_sum(Table::Entries, key, value) {
        Ok(body) => with_sum(&number(moved), body.to_vec()),
        Err(_) => value.to_vec(),
    }
}

fn split(key: &[u8]) -> Result<(FeedId, u64), StoreError> {
    let wrong = || StoreError::corrupt_at(Table::Entries.name(), key, "the key is not a feed and a position");
    let (feed, seq) = key.split_at_checked(FeedId::LEN).ok_or_else(wrong)?;
    let feed = feed.try_into().map_err(|_| wrong())?;
    let seq = seq.try_into().map_err(|_| wrong())?;
    Ok((FeedId::from_bytes(feed), u64::from_be_bytes(seq)))
}
