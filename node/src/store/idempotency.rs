//! Answers that were given: a retried request gets the same one.

use std::ops::ControlFlow;

use super::batch::Batch;
use super::codec::Fields;
use super::error::StoreError;
use super::layout::{self, IDEMPOTENCY_ORDER, Table, beyond};
use super::reading::Reading;

/// An answer is kept at least this long (24 h, in ms) ...
pub const IDEMPOTENCY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// ... and at least while it is among this many newest.
pub const IDEMPOTENCY_ROWS: u64 = 10_000;

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRow {
    /// blake3 of the request's body.
    pub body: [u8; 32],
    /// The answer, as its owner encodes it.
    pub outcome: Vec<u8>,
    /// When, in milliseconds since 1970.
    pub at_millis: u64,
}

fn decode(key: &[u8], body: &[u8]) -> Result<(u64, IdempotencyRow), StoreError> {
    let mut fields = Fields::new(Table::Idempotency, key, body);
    let (number, at_millis) = (fields.u64()?, fields.u64()?);
    Ok((number, IdempotencyRow { body: fields.array()?, outcome: fields.rest().to_vec(), at_millis }))
}

impl Reading {
    /// The answer given to a request.
    pub fn idempotency(&self, key: &[u8; 32]) -> Result<Option<IdempotencyRow>, StoreError> {
        let key = layout::idempotency(key);
        self.get(Table::Idempotency, &key, |body| Ok(decode(&key, body)?.1))
    }

    /// The number that the next answer gets.
    fn idempotency_next(&self) -> Result<u64, StoreError> {
        let key = layout::idempotency_next();
        let next = self.get(Table::Idempotency, &key, |body| Fields::new(Table::Idempotency, &key, body).u64())?;
        next.map_or_else(|| self.idempotency_behind(), Ok)
    }

    /// The number behind all that are in use, where it is not known any more: the order tells.
    fn idempotency_behind(&self) -> Result<u64, StoreError> {
        let of = |key: &[u8]| Fields::new(Table::Idempotency, key, key.get(1..).unwrap_or_default()).u64_be();
        let (first, last) = (layout::idempotency_order(0), layout::idempotency_order(u64::MAX));
        // Its key alone is needed: the value may be damaged.
        let number = self.floor(Table::Idempotency, &first, &last, |key, _| of(key))?;
        Ok(number.unwrap_or(0).saturating_add(1))
    }

    /// Up to `limit` numbers and keys of the oldest answers that need not be kept any longer.
    fn idempotency_expired(&self, now_millis: u64, limit: usize) -> Result<Vec<(u64, [u8; 32])>, StoreError> {
        let last = self.idempotency_next()? - 1;
        let mut out = Vec::new();
        let prefix = [IDEMPOTENCY_ORDER];
        self.scan(Table::Idempotency, &prefix, beyond(&prefix).as_deref(), &mut |key, body| {
            let mut numbers = Fields::new(Table::Idempotency, key, key);
            numbers.slice(1)?;
            let number = numbers.u64_be()?;
            let mut fields = Fields::new(Table::Idempotency, key, body);
            let (at, answered) = (fields.u64()?, fields.array()?);
            // The difference, not the age: an answer from a time when the clock was far ahead expires as well.
            let old = now_millis.abs_diff(at) > IDEMPOTENCY_MILLIS;
            if out.len() >= limit || !old || number.saturating_add(IDEMPOTENCY_ROWS) > last {
                return Ok(ControlFlow::Break(()));
            }
            out.push((number, answered));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(out)
    }
}

impl Batch<'_> {
    /// Keeps an answer, as the newest; one kept under the same key is replaced, even if it cannot be read.
    ///
    /// # Errors
    /// As reading.
    pub fn put_idempotency(&mut self, key: &[u8; 32], row: &IdempotencyRow) -> Result<(), StoreError> {
        let place = layout::idempotency(key);
        match self.get(Table::Idempotency, &place, |body| Ok(decode(&place, body)?.0)) {
            Ok(Some(number)) => self.remove(Table::Idempotency, layout::idempotency_order(number)),
            Ok(None) | Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        let number = match self.idempotency_next() {
            Err(StoreError::Corrupt { .. }) => self.idempotency_behind()?,
            number => number?,
        };
        let at = row.at_millis.to_le_bytes();
        let body = [number.to_le_bytes().as_slice(), &at, &row.body, &row.outcome].concat();
        self.put(Table::Idempotency, place, body);
        self.put(Table::Idempotency, layout::idempotency_order(number), [at.as_slice(), key].concat());
        self.put(Table::Idempotency, layout::idempotency_next(), (number + 1).to_le_bytes().to_vec());
        Ok(())
    }

    /// Forgets up to `max_removed` of the oldest answers that are older than [`IDEMPOTENCY_MILLIS`] and not among the
    /// newest [`IDEMPOTENCY_ROWS`]. Returns how many.
    ///
    /// # Errors
    /// As reading.
    pub fn purge_idempotency(&mut self, now_millis: u64, max_removed: usize) -> Result<usize, StoreError> {
        let expired = self.idempotency_expired(now_millis, max_removed)?;
        assert!(expired.len() <= max_removed, "a step forgets so many answers and no more");
        for (number, key) in &expired {
            self.remove(Table::Idempotency, layout::idempotency(key));
            self.remove(Table::Idempotency, layout::idempotency_order(*number));
        }
        Ok(expired.len())
    }

    /// Drops a value that cannot be read, by the key that its [`StoreError::Corrupt`] names. `false`: it names none of
    /// these.
    pub fn drop_idempotency(&mut self, key: &[u8]) -> bool {
        let known = [IDEMPOTENCY_ORDER, layout::IDEMPOTENCY_NEXT];
        let ours = key.first().is_some_and(|kind| known.contains(kind));
        if ours {
            self.remove(Table::Idempotency, key);
        }
        ours
    }
}
