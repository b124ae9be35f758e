//! Refused entries: why, and which changes went with them.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChangeHash, FeedId};

use super::batch::Batch;
use super::codec::{Fields, pack, unpack};
use super::error::StoreError;
use super::layout::{self, Table, beyond, successor};
use super::reading::Reading;

/// Why an entry was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// Code of the verdict.
    pub verdict: u8,
    /// Details, for people.
    pub reason: String,
    /// Its clock reading, raw.
    pub hlc: u64,
}

impl Reading {
    /// Why an entry was refused.
    pub fn quarantined(&self, space_no: u32, feed: FeedId, seq: u64) -> Result<Option<QuarantineRow>, StoreError> {
        let key = layout::quarantine(space_no, feed, seq);
        self.get(Table::Quarantine, &key, |body| unpack(Table::Quarantine, &key, body))
    }

    /// At most `limit` refused entries of a space behind `after`, by feed and position.
    pub fn quarantine(
        &self,
        space_no: u32,
        after: Option<(FeedId, u64)>,
        limit: usize,
    ) -> Result<Vec<(FeedId, u64, QuarantineRow)>, StoreError> {
        let mut out = Vec::new();
        if limit == 0 {
            return Ok(out);
        }
        let prefix = layout::quarantine_of(space_no);
        let from = after.map(|(feed, seq)| successor(layout::quarantine(space_no, feed, seq)));
        let from = from.unwrap_or_else(|| prefix.clone());
        self.scan(Table::Quarantine, &from, beyond(&prefix).as_deref(), &mut |key, body| {
            let rest = key.strip_prefix(prefix.as_slice()).unwrap_or_default();
            let mut fields = Fields::new(Table::Quarantine, key, rest);
            let (feed, seq) = (FeedId::from_bytes(fields.array()?), fields.u64_be()?);
            fields.end()?;
            out.push((feed, seq, unpack(Table::Quarantine, key, body)?));
            Ok(if out.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(out)
    }

    /// The refused entry that carried a change of an entity.
    pub fn refused_change(
        &self,
        space_no: u32,
        collection: &str,
        id: &str,
        change: ChangeHash,
    ) -> Result<Option<(FeedId, u64)>, StoreError> {
        let key = layout::refused_change(space_no, collection, id, change);
        self.get(Table::Quarantine, &key, |body| {
            let mut fields = Fields::new(Table::Quarantine, &key, body);
            let place = (FeedId::from_bytes(fields.array()?), fields.u64()?);
            fields.end()?;
            Ok(place)
        })
    }
}

impl Batch<'_> {
    /// Notes why an entry was refused.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: it cannot be encoded.
    pub fn put_quarantine(
        &mut self,
        space_no: u32,
        feed: FeedId,
        seq: u64,
        row: &QuarantineRow,
    ) -> Result<(), StoreError> {
        assert_ne!(row.verdict, Verdict::Applied.code(), "what is applied is not quarantined");
        let (key, body) = (layout::quarantine(space_no, feed, seq), pack(row)?);
        debug_assert!(
            unpack(Table::Quarantine, &key, &body).as_ref() == Ok(row),
            "a refusal is read as it was written"
        );
        self.put(Table::Quarantine, key, body);
        Ok(())
    }

    /// Forgets that an entry was refused.
    ///
    /// # Errors
    /// None at present.
    pub fn remove_quarantine(&mut self, space_no: u32, feed: FeedId, seq: u64) -> Result<(), StoreError> {
        self.remove(Table::Quarantine, layout::quarantine(space_no, feed, seq));
        Ok(())
    }

    /// Notes that a change of an entity went with the refused entry `at`.
    ///
    /// # Errors
    /// None at present.
    pub fn put_refused_change(
        &mut self,
        space_no: u32,
        collection: &str,
        id: &str,
        change: ChangeHash,
        at: (FeedId, u64),
    ) -> Result<(), StoreError> {
        let (feed, seq) = at;
        let body = [feed.as_bytes().as_slice(), &seq.to_le_bytes()].concat();
        self.put(Table::Quarantine, layout::refused_change(space_no, collection, id, change), body);
        Ok(())
    }

    /// Forgets that a change was refused.
    ///
    /// # Errors
    /// None at present.
    pub fn remove_refused_change(
        &mut self,
        space_no: u32,
        collection: &str,
        id: &str,
        change: ChangeHash,
    ) -> Result<(), StoreError> {
        self.remove(Table::Quarantine, layout::refused_change(space_no, collection, id, change));
        Ok(())
    }
}
