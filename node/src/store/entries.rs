//! Settled entries, seals, and what is held above the frontier.

use std::ops::{ControlFlow, RangeInclusive};

use tombolo_crdt::feed::Signature;
use tombolo_crdt::{ChainHash, FeedId};

use super::batch::Batch;
use super::codec::{Fields, put_length};
use super::error::StoreError;
use super::layout::{Table, feed_seq};
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
        let key = feed_seq(feed, seq);
        self.get(Table::Entries, &key, |body| EntryRow::decode(&key, body))
    }

    /// Journal position of a settled entry. Copies nothing.
    pub fn entry_journal(&self, feed: FeedId, seq: u64) -> Result<Option<u64>, StoreError> {
        let key = feed_seq(feed, seq);
        self.get(Table::Entries, &key, |body| {
            let mut fields = Fields::new(Table::Entries, &key, body);
            fields.u8()?;
            fields.u64()
        })
    }

    /// Chain hash at a settled entry. Copies nothing.
    pub fn entry_chain(&self, feed: FeedId, seq: u64) -> Result<Option<ChainHash>, StoreError> {
        let key = feed_seq(feed, seq);
        self.get(Table::Entries, &key, |body| {
            let mut fields = Fields::new(Table::Entries, &key, body);
            fields.slice(1 + 8)?;
            Ok(ChainHash::from_bytes(fields.array()?))
        })
    }

    /// Settled entries of a feed, in order, until their encoded entries reach `bytes_max`: at least one if there is one.
    pub fn entries(
        &self,
        feed: FeedId,
        seqs: RangeInclusive<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, EntryRow)>, StoreError> {
        if seqs.is_empty() {
            return Ok(Vec::new());
        }
        let (from, last) = (feed_seq(feed, *seqs.start()), feed_seq(feed, *seqs.end()));
        let mut out = Vec::new();
        let mut bytes = 0;
        let until = super::layout::successor(last.to_vec());
        self.scan(Table::Entries, &from, Some(&until), &mut |key, body| {
            let row = EntryRow::decode(key, body)?;
            bytes += row.bytes.len();
            if bytes > bytes_max && !out.is_empty() {
                return Ok(ControlFlow::Break(()));
            }
            out.push((seq_of(Table::Entries, key)?, row));
            Ok(ControlFlow::Continue(()))
        })?;
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
        self.put(Table::Entries, feed_seq(feed, seq), row.encode()?);
        Ok(())
    }

    /// Puts something that no entry is in the place of one.
    #[cfg(test)]
    pub(crate) fn spoil_entry(&mut self, feed: FeedId, seq: u64) {
        self.put(Table::Entries, feed_seq(feed, seq), vec![0; 8]);
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
