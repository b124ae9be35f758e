//! The journal of a space: the order in which things came to be here. Local, never sent.

use std::ops::ControlFlow;

use tombolo_crdt::FeedId;
use tombolo_crdt::hash::{Tagged, tag};

use super::batch::Batch;
use super::codec::{Fields, put_length};
use super::error::StoreError;
use super::layout::{Table, beyond, journal};
use super::reading::Reading;

/// What a journal row tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JournalKind {
    /// An entry was applied.
    Applied,
    /// An entry was refused.
    Refused,
    /// An applied entry was taken out again.
    TakenOut,
    /// A refused entry was released.
    Released,
    /// A rules entry was applied.
    Rules,
    /// Listeners must list everything again.
    Reset,
    /// Entities were rebuilt.
    Repaired,
}

impl JournalKind {
    const ALL: [Self; 7] =
        [Self::Applied, Self::Refused, Self::TakenOut, Self::Released, Self::Rules, Self::Reset, Self::Repaired];

    /// The byte that stands for it.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a byte.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// A row of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// What happened.
    pub kind: JournalKind,
    /// Feed of the entry.
    pub feed: FeedId,
    /// Position of the entry in it.
    pub seq: u64,
    /// Collection and id of the entities concerned, where the entry does not name them (taken out, reset, repaired).
    pub entities: Vec<(String, String)>,
    /// Running hash of the journal up to and with this row.
    pub running: [u8; 16],
}

impl JournalRow {
    /// The row at `position`, after a row whose running hash is `previous` (16 zeros: it is the first).
    #[must_use]
    pub fn next(
        previous: &[u8; 16],
        position: u64,
        kind: JournalKind,
        feed: FeedId,
        seq: u64,
        entities: Vec<(String, String)>,
    ) -> Self {
        let hash = Tagged::new(tag::JOURNAL).bytes(previous).number(position).bytes(&[kind.code()]);
        let hash = hash.bytes(feed.as_bytes()).number(seq).number(entities.len() as u64);
        let hash =
            entities.iter().fold(hash, |hash, (collection, id)| hash.sized(collection.as_bytes()).sized(id.as_bytes()));
        Self { kind, feed, seq, running: hash.finish16(), entities }
    }

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::with_capacity(64);
        out.push(self.kind.code());
        out.extend_from_slice(self.feed.as_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.running);
        if !self.entities.is_empty() {
            put_length(&mut out, self.entities.len())?;
            for name in self.entities.iter().flat_map(|(collection, id)| [collection, id]) {
                put_length(&mut out, name.len())?;
                out.extend_from_slice(name.as_bytes());
            }
        }
        Ok(out)
    }

    fn decode(key: &[u8], body: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::new(Table::Journal, key, body);
        let kind = JournalKind::from_code(fields.u8()?).ok_or_else(|| fields.wrong("unknown kind"))?;
        let feed = FeedId::from_bytes(fields.array()?);
        let (seq, running) = (fields.u64()?, fields.array()?);
        let mut entities = Vec::new();
        if !fields.rest().is_empty() {
            for _ in 0..fields.u32()? {
                entities.push((fields.text()?, fields.text()?));
            }
        }
        fields.end()?;
        Ok(Self { kind, feed, seq, entities, running })
    }
}

impl Reading {
    /// The row at a position of a space's journal.
    pub fn journal(&self, space_no: u32, position: u64) -> Result<Option<JournalRow>, StoreError> {
        let key = journal(space_no, position);
        self.get(Table::Journal, &key, |body| JournalRow::decode(&key, body))
    }

    /// At most `limit` rows of a space's journal from position `from` on.
    pub fn journal_range(&self, space_no: u32, from: u64, limit: usize) -> Result<Vec<(u64, JournalRow)>, StoreError> {
        let mut out = Vec::new();
        if limit == 0 {
            return Ok(out);
        }
        let until = beyond(&space_no.to_be_bytes());
        self.scan(Table::Journal, &journal(space_no, from), until.as_deref(), &mut |key, body| {
            let mut fields = Fields::new(Table::Journal, key, key);
            fields.slice(4)?;
            out.push((fields.u64_be()?, JournalRow::decode(key, body)?));
            Ok(if out.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(out)
    }
}

impl Batch<'_> {
    /// Writes a row of the journal.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: it cannot be encoded.
    pub fn put_journal(&mut self, space_no: u32, position: u64, row: &JournalRow) -> Result<(), StoreError> {
        assert!(position > 0, "positions of a journal begin at 1");
        let (key, body) = (journal(space_no, position), row.encode()?);
        debug_assert!(
            JournalRow::decode(&key, &body).is_ok_and(|read| read == *row),
            "a row is read as it was written"
        );
        self.put(Table::Journal, key, body);
        Ok(())
    }
}
