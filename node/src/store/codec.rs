//! Values to bytes and back: fixed fields by hand where it is hot, postcard elsewhere, and the sum under both.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tombolo_crdt::defect::{self, Defect};

use super::error::StoreError;
use super::layout::Table;

/// Bytes of a value's sum.
const SUM_BYTES: usize = 8;

fn sum(key: &[u8], body: &[u8]) -> [u8; SUM_BYTES] {
    let hash = blake3::Hasher::new().update(key).update(body).finalize();
    let mut out = [0; SUM_BYTES];
    out.copy_from_slice(hash.as_bytes().split_at(SUM_BYTES).0);
    out
}

/// Completes a value.
pub(super) fn with_sum(key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let sum = sum(key, &body);
    body.extend_from_slice(&sum);
    body
}

/// Checks a value and takes the sum off.
pub(super) fn without_sum<'a>(table: Table, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let body = value.len().checked_sub(SUM_BYTES).map(|at| value.split_at(at));
    match body {
        Some((body, stored)) if sum(key, body) == *stored || defect::is(Defect::SumUnchecked) => Ok(body),
        Some(_) => Err(StoreError::corrupt_at(table.name(), key, "its checksum does not match")),
        None => Err(StoreError::corrupt_at(table.name(), key, "too short")),
    }
}

/// A row as postcard.
pub(super) fn pack<T: Serialize>(row: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(row).map_err(|error| StoreError::Defect(format!("a row cannot be encoded: {error}")))
}

/// A row from postcard; nothing may follow it.
pub(super) fn unpack<T: DeserializeOwned>(table: Table, key: &[u8], body: &[u8]) -> Result<T, StoreError> {
    match postcard::take_from_bytes(body) {
        Ok((row, [])) => Ok(row),
        Ok(_) => Err(StoreError::corrupt_at(table.name(), key, "bytes follow the row")),
        Err(error) => Err(StoreError::corrupt_at(table.name(), key, error.to_string())),
    }
}

/// Reads fixed fields off the front of bytes that have passed their sum (or of a key).
#[derive(Debug)]
pub(super) struct Fields<'a> {
    table: Table,
    key: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(table: Table, key: &'a [u8], bytes: &'a [u8]) -> Self {
        Self { table, key, rest: bytes }
    }

    pub(super) fn wrong(&self, detail: &str) -> StoreError {
        StoreError::corrupt_at(self.table.name(), self.key, detail)
    }

    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.wrong("too short"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N)?);
        Ok(out)
    }

    pub(super) fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, StoreError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number in a key.
    pub(super) fn u64_be(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Text preceded by its length.
    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        let length = self.u32()? as usize;
        let bytes = self.slice(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.wrong("text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Refuses what has not been read.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("bytes follow the row")) }
    }
}

/// Writes a length or a count.
pub(super) fn put_length(out: &mut Vec<u8>, length: usize) -> Result<(), StoreError> {
    let length = u32::try_from(length).map_err(|_| StoreError::Defect("a value above 4 GiB".to_owned()))?;
    out.extend_from_slice(&length.to_le_bytes());
    Ok(())
}
