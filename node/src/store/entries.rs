//! Settled entries, seals, and what is held above the frontier.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};

use tombolo_crdt::feed::Signature;
use tombolo_crdt::{ChainHash, FeedId};

use super::batch::Batch;
use super::codec::{Fields, put_length, without_sum};
use super::error::StoreError;
use super::layout::{Table, feed_seq, number as number_key};
use super::reading::Reading;

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
    fn encode(&self, feed: FeedId, seq: u64) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::with_capacity(PLACE_BYTES + 64 + self.changes.len() * 24 + self.bytes.len());
        out.extend_from_slice(feed.as_bytes());
        out.extend_from_slice(&seq.to_le_bytes());
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

    /// From what follows the place.
    fn decode(fields: &mut Fields<'_>) -> Result<Self, StoreError> {
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

/// Bytes of an entry's place: its feed and seq.
pub(super) const PLACE_BYTES: usize = FeedId::LEN + 8;

/// The feed and seq that an entry's row begins with.
pub(super) fn place(fields: &mut Fields<'_>) -> Result<(FeedId, u64), StoreError> {
    Ok((FeedId::from_bytes(fields.array()?), fields.u64()?))
}

/// The fields of the row of the entry at a place.
fn placed<'a>(key: &'a [u8], body: &'a [u8], at: (FeedId, u64)) -> Result<Fields<'a>, StoreError> {
    let mut fields = Fields::new(Table::Entries, key, body);
    match place(&mut fields)? {
        found if found == at => Ok(fields),
        (feed, seq) => Err(fields.wrong(&format!("entry {seq} of feed {feed} is in its place"))),
    }
}

/// The position in a key of (feed, seq).
pub(super) fn seq_of(table: Table, key: &[u8]) -> Result<u64, StoreError> {
    let mut fields = Fields::new(table, key, key);
    fields.slice(FeedId::LEN)?;
    let seq = fields.u64_be()?;
    fields.end()?;
    Ok(seq)
}

/// Positions of held entries by feed, each with the bytes of its entry; `None`: it cannot be read.
pub type HeldByFeed = BTreeMap<FeedId, Vec<(u64, Option<usize>)>>;

impl Reading {
    /// A settled entry.
    pub fn entry(&self, feed: FeedId, seq: u64) -> Result<Option<EntryRow>, StoreError> {
        self.settled(feed, seq, |mut fields| EntryRow::decode(&mut fields))
    }

    /// Journal position of a settled entry. Copies nothing.
    pub fn entry_journal(&self, feed: FeedId, seq: u64) -> Result<Option<u64>, StoreError> {
        self.settled(feed, seq, |mut fields| {
            fields.u8()?;
            fields.u64()
        })
    }

    /// Chain hash at a settled entry. Copies nothing.
    pub fn entry_chain(&self, feed: FeedId, seq: u64) -> Result<Option<ChainHash>, StoreError> {
        self.settled(feed, seq, |mut fields| {
            fields.slice(1 + 8)?;
            Ok(ChainHash::from_bytes(fields.array()?))
        })
    }

    /// Hands the row of a settled entry, from behind its place on, to `read`.
    fn settled<T>(
        &self,
        feed: FeedId,
        seq: u64,
        read: impl FnOnce(Fields<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some((number, _)) = self.run(feed, seq)?.and_then(|run| run.from(seq)) else { return Ok(None) };
        let key = number_key(number);
        // Its number alone tells nobody anything.
        self.get(Table::Entries, &key, |body| read(placed(&key, body, (feed, seq))?)).map_err(|error| match error {
            StoreError::Corrupt { table, key, detail } => {
                StoreError::Corrupt { table, key, detail: format!("entry {seq} of feed {feed}: {detail}") }
            }
            other => other,
        })
    }

    /// Settled entries of a feed, in order, until their encoded entries reach `bytes_max`: at least one if there is
    /// one.
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
                let at = seq + (out.len() - before) as u64;
                let row = EntryRow::decode(&mut placed(key, body, (feed, at))?)?;
                bytes += row.bytes.len();
                is_full = bytes > bytes_max && !out.is_empty();
                if is_full {
                    return Ok(ControlFlow::Break(()));
                }
                out.push((at, row));
                Ok(ControlFlow::Continue(()))
            })?;
            if !is_full && out.len() - before < count as usize {
                return Err(StoreError::corrupt(Table::Entries.name(), "an entry of a run is missing"));
            }
            seq += count;
        }
        debug_assert!(out.is_sorted_by_key(|(seq, _)| *seq), "entries come in the order of their feed");
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

    /// Positions of all held entries by feed, each with the bytes of its entry; `None`: it cannot be read. One pass
    /// over them: for opening.
    pub fn held_by_feed(&self) -> Result<HeldByFeed, StoreError> {
        let mut held = HeldByFeed::new();
        self.scan_raw(Table::Held, &[], None, &mut |key, value| {
            let feed = FeedId::from_bytes(Fields::new(Table::Held, key, key).array()?);
            let row = without_sum(Table::Held, key, value).and_then(|body| HeldRow::decode(key, body));
            held.entry(feed).or_default().push((seq_of(Table::Held, key)?, row.ok().map(|row| row.bytes.len())));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(held)
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
        assert!(seq > 0, "entries of a feed are numbered from 1");
        let number = self.number_of(feed, seq)?;
        let (key, body) = (number_key(number), row.encode(feed, seq)?);
        debug_assert!(
            placed(&key, &body, (feed, seq)).and_then(|mut fields| EntryRow::decode(&mut fields)).as_ref() == Ok(row),
            "an entry is read as it was written"
        );
        self.put(Table::Entries, key, body);
        Ok(())
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
        let (key, body) = (feed_seq(feed, seq), row.encode());
        debug_assert!(HeldRow::decode(&key, &body).as_ref() == Ok(row), "a held entry is read as it was written");
        self.put(Table::Held, key, body);
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
