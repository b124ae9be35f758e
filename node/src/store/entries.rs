//! Settled entries, seals, and what is held above the frontier.

use std::ops::{ControlFlow, RangeInclusive};

use tombolo_crdt::feed::Signature;
use tombolo_crdt::{ChainHash, FeedId};

use super::batch::Batch;
use super::codec::{Fields, put_length};
use super::error::StoreError;
use super::layout::{Table, feed_seq, number as number_key, run as run_key, state};
use super::snapshot::Snapshot;

/// What an entry's change did to its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeLink {
    /// Journal position of the entity's previous change; 0: there is none.
    pub previous: u64,
    /// Hash of the entity's heads after it.
    pub after: [u8; 16],
}

/// A settled entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// The entry, encoded.
    pub bytes: Vec<u8>,
    /// Chain hash at it.
    pub chain: ChainHash,
    /// Code of its verdict.
    pub verdict: u8,
    /// Its journal position.
    pub journal: u64,
    /// One per change, in their order; empty if the entry was not applied.
    pub changes: Vec<ChangeLink>,
}

/// An entry that waits for what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// The entry, encoded.
    pub bytes: Vec<u8>,
    /// Chain hash at it.
    pub chain: ChainHash,
    /// The seal, if the range it came in ended here.
    pub seal: Option<Signature>,
}

impl EntryRow {
    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::with_capacity(64 + self.changes.len() * 24 + self.bytes.len());
        out.push(self.verdict);
        out.extend_from_slice(&self.journal.to_le_bytes());
        out.extend_from_slice(self.chain.as_bytes());
        put_length(&mut out, self.changes.len())?;
        for link in &self.changes {
            out.extend_from_slice(&link.previous.to_le_bytes());
            out.extend_from_slice(&link.after);
        }
        out.extend_from_slice(&self.bytes);
        Ok(out)
    }

    fn decode(key: &[u8], body: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::new(Table::Entries, key, body);
        let verdict = fields.u8()?;
        let journal = fields.u64()?;
        let chain = ChainHash::from_bytes(fields.array()?);
        let mut changes = Vec::new();
        for _ in 0..fields.u32()? {
            changes.push(ChangeLink { previous: fields.u64()?, after: fields.array()? });
        }
        Ok(Self { bytes: fields.rest().to_vec(), chain, verdict, journal, changes })
    }
}

impl HeldRow {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(112 + self.bytes.len());
        out.extend_from_slice(self.chain.as_bytes());
        out.push(u8::from(self.seal.is_some()));
        if let Some(seal) = &self.seal {
            out.extend_from_slice(&seal.to_bytes());
        }
        out.extend_from_slice(&self.bytes);
        out
    }

    fn decode(key: &[u8], body: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::new(Table::Held, key, body);
        let chain = ChainHash::from_bytes(fields.array()?);
        let seal = match fields.u8()? {
            0 => None,
            1 => Some(Signature::from_bytes(&fields.array()?)),
            _ => return Err(fields.wrong("neither sealed nor not")),
        };
        Ok(Self { bytes: fields.rest().to_vec(), chain, seal })
    }
}

/// Entries of a feed that were stored one after the other.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Position of the first in its feed.
    first: u64,
    /// And its number.
    number: u64,
    count: u64,
}

impl Run {
    /// The number of an entry, and how many of the run there are from it on.
    const fn from(self, seq: u64) -> Option<(u64, u64)> {
        match seq.checked_sub(self.first) {
            Some(by) if by < self.count => Some((self.number + by, self.count - by)),
            _ => None,
        }
    }
}

/// The position in a key of (feed, seq).
fn seq_of(table: Table, key: &[u8]) -> Result<u64, StoreError> {
    let mut fields = Fields::new(table, key, key);
    fields.slice(FeedId::LEN)?;
    let seq = fields.u64_be()?;
    fields.end()?;
    Ok(seq)
}

impl Snapshot {
    /// A settled entry.
    pub fn entry(&self, feed: FeedId, seq: u64) -> Result<Option<EntryRow>, StoreError> {
        self.settled(feed, seq, EntryRow::decode)
    }

    /// Journal position of a settled entry. Copies nothing.
    pub fn entry_journal(&self, feed: FeedId, seq: u64) -> Result<Option<u64>, StoreError> {
        self.settled(feed, seq, |key, body| {
            let mut fields = Fields::new(Table::Entries, key, body);
            fields.u8()?;
            fields.u64()
        })
    }

    /// Chain hash at a settled entry. Copies nothing.
    pub fn entry_chain(&self, feed: FeedId, seq: u64) -> Result<Option<ChainHash>, StoreError> {
        self.settled(feed, seq, |key, body| {
            let mut fields = Fields::new(Table::Entries, key, body);
            fields.slice(1 + 8)?;
            Ok(ChainHash::from_bytes(fields.array()?))
        })
    }

    /// Hands the row of a settled entry to `read`.
    fn settled<T>(
        &self,
        feed: FeedId,
        seq: u64,
        read: impl FnOnce(&[u8], &[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some((number, _)) = self.run(feed, seq)?.and_then(|run| run.from(seq)) else { return Ok(None) };
        let key = number_key(number);
        // Its number alone tells nobody anything.
        self.get(Table::Entries, &key, |body| read(&key, body)).map_err(|error| match error {
            StoreError::Corrupt { table, key, detail } => {
                StoreError::Corrupt { table, key, detail: format!("entry {seq} of feed {feed}: {detail}") }
            }
            other => other,
        })
    }

    /// The run that a position is in or behind.
    fn run(&self, feed: FeedId, seq: u64) -> Result<Option<Run>, StoreError> {
        self.floor(Table::State, &run_key(feed, 0), &run_key(feed, seq), |key, body| {
            let mut fields = Fields::new(Table::State, key, body);
            let first = seq_of(Table::State, key.strip_prefix(&[state::RUN]).unwrap_or_default())?;
            let run = Run { first, number: fields.u64()?, count: fields.u64()? };
            fields.end()?;
            Ok(run)
        })
    }

    /// Settled entries of a feed, in order, until their encoded entries reach `bytes_max`: at least one if there is one.
    pub fn entries(
        &self,
        feed: FeedId,
        seqs: RangeInclusive<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, EntryRow)>, StoreError> {
        let (mut seq, last) = seqs.into_inner();
        let (mut out, mut bytes, mut is_full) = (Vec::new(), 0, false);
        while seq <= last && !is_full {
            let Some((number, count)) = self.run(feed, seq)?.and_then(|run| run.from(seq)) else { break };
            let count = count.min(last - seq + 1);
            let until = number_key(number.saturating_add(count));
            let before = out.len();
            self.scan(Table::Entries, &number_key(number), Some(&until), &mut |key, body| {
                let row = EntryRow::decode(key, body)?;
                bytes += row.bytes.len();
                is_full = bytes > bytes_max && !out.is_empty();
                if is_full {
                    return Ok(ControlFlow::Break(()));
                }
                out.push((seq + (out.len() - before) as u64, row));
                Ok(ControlFlow::Continue(()))
            })?;
            if !is_full && out.len() - before < count as usize {
                return Err(StoreError::corrupt(Table::Entries.name(), "an entry of a run is missing"));
            }
            seq += count;
        }
        Ok(out)
    }

    /// The kept seal at `seq` or the next one after it. A feed's last seal is in its row, not here.
    pub fn seal_at_or_after(&self, feed: FeedId, seq: u64) -> Result<Option<(u64, Signature)>, StoreError> {
        let until = super::layout::successor(feed_seq(feed, u64::MAX).to_vec());
        let mut found = None;
        self.scan(Table::Seals, &feed_seq(feed, seq), Some(&until), &mut |key, body| {
            let mut fields = Fields::new(Table::Seals, key, body);
            let seal = Signature::from_bytes(&fields.array()?);
            fields.end()?;
            found = Some((seq_of(Table::Seals, key)?, seal));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// A held entry.
    pub fn held_entry(&self, feed: FeedId, seq: u64) -> Result<Option<HeldRow>, StoreError> {
        let key = feed_seq(feed, seq);
        self.get(Table::Held, &key, |body| HeldRow::decode(&key, body))
    }

    /// All held entries of a feed, by position.
    pub fn held(&self, feed: FeedId) -> Result<Vec<(u64, HeldRow)>, StoreError> {
        self.all(Table::Held, feed.as_bytes(), |_, key, body| {
            Ok((seq_of(Table::Held, key)?, HeldRow::decode(key, body)?))
        })
    }
}

impl Batch<'_> {
    /// Writes a settled entry.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: it cannot be encoded.
    pub fn put_entry(&mut self, feed: FeedId, seq: u64, row: &EntryRow) -> Result<(), StoreError> {
        let body = row.encode()?;
        let number = self.number_of(feed, seq)?;
        self.put(Table::Entries, number_key(number), body);
        Ok(())
    }

    /// Where an entry is, or is to be: behind all others, in the run that ends there or in one of its own.
    fn number_of(&mut self, feed: FeedId, seq: u64) -> Result<u64, StoreError> {
        let run = self.run(feed, seq)?;
        if let Some((number, _)) = run.and_then(|run| run.from(seq)) {
            return Ok(number);
        }
        let of = |key: &[u8]| Fields::new(Table::Entries, key, key).u64_be();
        let last = match self.floor(Table::Entries, &number_key(0), &number_key(u64::MAX), |key, _| of(key)) {
            // Its key alone is needed: nothing could be stored behind a damaged one.
            Err(StoreError::Corrupt { key, .. }) if !key.is_empty() => Some(of(&key)?),
            last => last?,
        };
        let number = last.unwrap_or(0) + 1;
        let follows = |run: &Run| (run.first + run.count, run.number + run.count) == (seq, number);
        let run = match run.filter(follows) {
            Some(run) => Run { count: run.count + 1, ..run },
            None => Run { first: seq, number, count: 1 },
        };
        let value = [run.number.to_le_bytes(), run.count.to_le_bytes()].concat();
        self.put(Table::State, run_key(feed, run.first), value);
        Ok(number)
    }

    /// Puts something that no entry is in the place of one.
    #[cfg(test)]
    pub(crate) fn spoil_entry(&mut self, feed: FeedId, seq: u64) {
        let number = self.number_of(feed, seq).unwrap();
        self.put(Table::Entries, number_key(number), vec![0; 8]);
    }

    /// Keeps a seal.
    ///
    /// # Errors
    /// None at present.
    pub fn put_seal(&mut self, feed: FeedId, seq: u64, seal: Signature) -> Result<(), StoreError> {
        self.put(Table::Seals, feed_seq(feed, seq), seal.to_bytes().to_vec());
        Ok(())
    }

    /// Holds an entry.
    ///
    /// # Errors
    /// None at present.
    pub fn put_held(&mut self, feed: FeedId, seq: u64, row: &HeldRow) -> Result<(), StoreError> {
        self.put(Table::Held, feed_seq(feed, seq), row.encode());
        Ok(())
    }

    /// Holds an entry no longer.
    ///
    /// # Errors
    /// None at present.
    pub fn remove_held(&mut self, feed: FeedId, seq: u64) -> Result<(), StoreError> {
        self.remove(Table::Held, feed_seq(feed, seq));
        Ok(())
    }
}
