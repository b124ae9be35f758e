//! What is done to a store before it is used: one of an earlier format is brought to this one, and the runs are made anew if
//! they cannot all be read. Each is one commit: it has been done, or nothing has.

use redb::{
    Database, ReadableDatabase, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, WriteTransaction,
};

use super::codec::{with_sum, without_sum};
use super::error::StoreError;
use super::guard::guarded;
use super::layout::{FORMAT_VERSION, Table, number, state};
use super::open::{At, OpenError, StoreOptions, format};
use super::probe::SpaceProbe;
use super::runs;

/// Where entries were in version 1: key feed 16 ‖ seq u64 (big-endian), a row without its place. It has its name while it is
/// being read.
const ENTRIES_1: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("entries-1");

/// Does what there is to do.
pub(super) fn run(options: &StoreOptions, database: &Database, probe: &dyn SpaceProbe) -> Result<(), OpenError> {
    let at = At(&options.path);
    let told = |error| at.store(error);
    if guarded(|| format(database)).map_err(told)? == Some(1) {
        let (needed, free) = guarded(|| room(options, database, probe)).map_err(told)?;
        if free < needed {
            let (needed_mib, free_mib) = (needed.div_ceil(1 << 20), free >> 20);
            return Err(OpenError::NoRoom { path: at.path(), found: 1, current: FORMAT_VERSION, needed_mib, free_mib });
        }
        return guarded(|| from_1(database)).map_err(told);
    }
    if !guarded(|| runs::are_sound(database)).map_err(told)? {
        tracing::warn!("an index of entries is damaged; it is made anew from the entries");
        guarded(|| committed(database, runs::make_anew)).map_err(told)?;
    }
    Ok(())
}

fn committed<T>(
    database: &Database,
    write: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    let written = write(&transaction)?;
    transaction.commit()?;
    Ok(written)
}

/// Bytes that the way from version 1 takes, with what is to be kept free, and bytes there are: until the commit all entries
/// are there twice, the new ones with a quarter more for their places and pages.
fn room(options: &StoreOptions, database: &Database, probe: &dyn SpaceProbe) -> Result<(u64, u64), StoreError> {
    let volume = probe.volume()?;
    let stats = database.begin_read()?.open_table(Table::Entries.definition())?.stats()?;
    let entries = stats.stored_bytes() + stats.metadata_bytes();
    Ok((entries + entries / 4 + options.reserve_bytes.unwrap_or_else(|| volume.reserve()), volume.free))
}

/// From version 1, which had entries by feed and seq. Takes some 10 µs per entry, and room for all entries once more.
fn from_1(database: &Database) -> Result<(), StoreError> {
    tracing::info!("the store has format 1; its entries are laid out anew");
    let moved = committed(database, |transaction| {
        transaction.rename_table(Table::Entries.definition(), ENTRIES_1)?;
        let moved = number_all(transaction)?;
        transaction.delete_table(ENTRIES_1)?;
        runs::make_anew(transaction)?;
        let key = [state::FORMAT];
        let value = with_sum(&key, FORMAT_VERSION.to_le_bytes().to_vec());
        transaction.open_table(Table::State.definition())?.insert(key.as_slice(), value.as_slice())?;
        Ok(moved)
    })?;
    tracing::info!(entries = moved, "the store has format 2 now");
    Ok(())
}

/// Numbers the entries feed by feed: every feed is one run. How many there are.
fn number_all(transaction: &WriteTransaction) -> Result<u64, StoreError> {
    let old = transaction.open_table(ENTRIES_1)?;
    let mut entries = transaction.open_table(Table::Entries.definition())?;
    let mut moved = 0;
    for row in old.iter()? {
        let (key, value) = row?;
        moved += 1;
        entries.insert(number(moved).as_slice(), renamed(key.value(), value.value(), moved).as_slice())?;
    }
    Ok(moved)
}

/// The value under its new key, behind its place. A damaged one stays damaged, at its number.
fn renamed(key: &[u8], value: &[u8], moved: u64) -> Vec<u8> {
    let (feed, seq) = key.split_at(key.len().saturating_sub(8));
    let place = [feed, &seq.iter().rev().copied().collect::<Vec<_>>()].concat();
    match without_sum(Table::Entries, key, value) {
        Ok(body) => with_sum(&number(moved), [&place, body].concat()),
        Err(_) => [&place, value].concat(),
    }
}
