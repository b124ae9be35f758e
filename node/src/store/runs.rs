//! Where entries are. They are numbered in the order in which they were stored, whatever their feed; a run says where
//! entries of a feed are that follow each other in both orders.
//!
//! Runs say nothing that the entries do not say themselves: where one is damaged, all are made anew from those.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable as _, WriteTransaction};
use tombolo_crdt::FeedId;

use super::batch::Batch;
use super::codec::{Fields, with_sum, without_sum};
use super::entries::{place, seq_of};
use super::error::StoreError;
use super::guard::guarded;
use super::layout::{Table, beyond, number as number_key, run as run_key, state};
use super::reading::Reading;

/// Numbers that are left out behind an entry that cannot be read, because its number cannot be believed either: more
/// than a store has entries, and few enough for four thousand million such gaps.
const GAP: u64 = 1 << 32;

/// Entries of a feed that were stored one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Position of the first in its feed.
    pub(super) first: u64,
    /// And its number.
    pub(super) number: u64,
    pub(super) count: u64,
}

impl Run {
    /// The number of an entry, and how many of the run there are from it on.
    pub(super) const fn from(self, seq: u64) -> Option<(u64, u64)> {
        match seq.checked_sub(self.first) {
            Some(by) if by < self.count => Some((self.number + by, self.count - by)),
            _ => None,
        }
    }

    fn encode(self) -> Vec<u8> {
        [self.number.to_le_bytes(), self.count.to_le_bytes()].concat()
    }

    fn decode(key: &[u8], body: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::new(Table::State, key, body);
        let first = seq_of(Table::State, key.strip_prefix(&[state::RUN]).unwrap_or_default())?;
        let run = Self { first, number: fields.u64()?, count: fields.u64()? };
        fields.end()?;
        Ok(run)
    }
}

/// The run that was asked for last: who reads a feed asks for the same one again and again. Runs grow and stay where
/// they are, so that what it holds of one remains true while a batch writes.
#[derive(Debug, Default)]
pub(super) struct LastRun(Mutex<Option<(FeedId, Run)>>);

impl LastRun {
    /// It, if the position is in it.
    fn with(&self, feed: FeedId, seq: u64) -> Option<Run> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(of, run)| *of == feed && run.from(seq).is_some()).map(|(_, run)| run)
    }

    fn set(&self, feed: FeedId, run: Run) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((feed, run));
    }
}

impl Reading {
    /// The run that a position is in or behind. Some 20 ns if it is in the one that was asked for last.
    pub(super) fn run(&self, feed: FeedId, seq: u64) -> Result<Option<Run>, StoreError> {
        if let Some(run) = self.last_run.with(feed, seq) {
            return Ok(Some(run));
        }
        let run = self.floor(Table::State, &run_key(feed, 0), &run_key(feed, seq), |key, value| {
            Run::decode(key, without_sum(Table::State, key, value)?)
        })?;
        if let Some(run) = run {
            self.last_run.set(feed, run);
        }
        Ok(run)
    }
}

impl Batch<'_> {
    /// Where an entry is, or is to be: behind all others, in the run that ends there or in one of its own.
    pub(super) fn number_of(&mut self, feed: FeedId, seq: u64) -> Result<u64, StoreError> {
        let run = match self.run(feed, seq) {
            // What is written from here on must not depend on it.
            Err(StoreError::Corrupt { .. }) => None,
            run => run?,
        };
        if let Some((number, _)) = run.and_then(|run| run.from(seq)) {
            return Ok(number);
        }
        let number = match self.next_number {
            Some(number) => number,
            None => self.first_number()?,
        };
        self.next_number =
            Some(number.checked_add(1).ok_or_else(|| StoreError::Defect("no number is left".to_owned()))?);
        let follows = |run: &Run| (run.first + run.count, run.number + run.count) == (seq, number);
        let run = match run.filter(follows) {
            Some(run) => Run { count: run.count + 1, ..run },
            None => Run { first: seq, number, count: 1 },
        };
        assert_eq!(run.from(seq), Some((number, 1)), "an entry is the last of its run and is found by it");
        self.put(Table::State, run_key(feed, run.first), run.encode());
        Ok(number)
    }

    /// The number behind that of the last entry.
    fn first_number(&self) -> Result<u64, StoreError> {
        let last = self.floor(Table::Entries, &number_key(0), &number_key(u64::MAX), |key, value| {
            let sound = without_sum(Table::Entries, key, value).is_ok();
            Ok((Fields::new(Table::Entries, key, key).u64_be()?, sound))
        })?;
        Ok(match last {
            None => 1,
            Some((number, true)) => number.saturating_add(1),
            Some((number, false)) => number.saturating_add(GAP),
        })
    }
}

/// Makes the runs anew where one of them cannot be read, in one commit: they are all made, or nothing is.
pub(super) fn mend(database: &Database) -> Result<(), StoreError> {
    if guarded(|| are_sound(database))? {
        return Ok(());
    }
    tracing::warn!("an index of entries is damaged; it is made anew from the entries");
    guarded(|| {
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        make_anew(&transaction)?;
        Ok::<_, StoreError>(transaction.commit()?)
    })
}

/// Whether all runs can be read. Takes a third of a microsecond for each.
fn are_sound(database: &Database) -> Result<bool, StoreError> {
    let table = database.begin_read()?.open_table(Table::State.definition())?;
    let end = beyond(&[state::RUN]).unwrap_or_default();
    for row in table.range([state::RUN].as_slice()..end.as_slice())? {
        let (key, value) = row?;
        let run = without_sum(Table::State, key.value(), value.value()).and_then(|body| Run::decode(key.value(), body));
        if run.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes all runs anew from the entries. Takes about a microsecond for each.
fn make_anew(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let runs = all(transaction)?;
    let mut table = transaction.open_table(Table::State.definition())?;
    let end = beyond(&[state::RUN]).unwrap_or_default();
    table.retain_in([state::RUN].as_slice()..end.as_slice(), |_, _| false)?;
    for (feed, run) in runs {
        let key = run_key(feed, run.first);
        table.insert(key.as_slice(), with_sum(&key, run.encode()).as_slice())?;
    }
    Ok(())
}

/// The runs that the entries make. One that cannot be read belongs to the run that it continues or lies in: who asks
/// for it is told that it is damaged, not that there is none.
fn all(transaction: &WriteTransaction) -> Result<Vec<(FeedId, Run)>, StoreError> {
    let entries = transaction.open_table(Table::Entries.definition())?;
    let (mut ended, mut open) = (Vec::new(), BTreeMap::<FeedId, Run>::new());
    for row in entries.iter()? {
        let (key, value) = row?;
        let (key, value) = (key.value(), value.value());
        let number = Fields::new(Table::Entries, key, key).u64_be();
        let (Ok(number), Ok((feed, seq))) = (number, place(&mut Fields::new(Table::Entries, key, value))) else {
            continue;
        };
        let sound = without_sum(Table::Entries, key, value).is_ok();
        // What lies between two entries of a run are as many as fit: they are of the run.
        let continued = open.get_mut(&feed).filter(|run| match seq.checked_sub(run.first) {
            Some(by) => number.checked_sub(run.number) == Some(by) && (by == run.count || sound),
            None => false,
        });
        if let Some(run) = continued {
            run.count = (seq - run.first).saturating_add(1);
        } else if sound || (seq == 1 && !open.contains_key(&feed)) {
            ended.extend(open.insert(feed, Run { first: seq, number, count: 1 }).map(|run| (feed, run)));
        }
    }
    ended.extend(open);
    Ok(ended)
}
