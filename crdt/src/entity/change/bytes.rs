//! Numbers and byte strings of a chunk. Reading believes no length: it takes what is there, or refuses.

use super::ChangeError;

/// The unread rest of some bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], ChangeError> {
        let len = usize::try_from(len).map_err(|_| ChangeError::Undecodable)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(ChangeError::Undecodable)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ChangeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ChangeError::Undecodable)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ChangeError> {
        let (byte, rest) = self.rest.split_first().ok_or(ChangeError::Undecodable)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// An unsigned LEB128 number in its shortest form: at most 10 bytes.
    pub(super) fn uleb(&mut self) -> Result<u64, ChangeError> {
        let first = self.byte()?;
        let mut value = u64::from(first & 0x7f);
        if first < 0x80 {
            return Ok(value);
        }
        let mut shift = 7;
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(ChangeError::Undecodable);
            }
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return if byte == 0 { Err(ChangeError::NotCanonical) } else { Ok(value) };
            }
        }
    }

    /// A signed LEB128 number in its shortest form: at most 10 bytes.
    pub(super) fn sleb(&mut self) -> Result<i64, ChangeError> {
        let mut value = 0_i64;
        let mut shift = 0;
        let mut before = None;
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(ChangeError::Undecodable);
            }
            value |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                let negative = byte & 0x40 != 0;
                if negative && shift < 64 {
                    value |= -1 << shift;
                }
                // The last byte must say more than the sign that the byte before it says already.
                let idle = if negative { 0x7f } else { 0 };
                let overlong = byte == idle && before.is_some_and(|before: u8| (before & 0x40 != 0) == negative);
                return if overlong { Err(ChangeError::NotCanonical) } else { Ok(value) };
            }
            before = Some(byte);
        }
    }

    /// Bytes preceded by their number.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], ChangeError> {
        let len = self.uleb()?;
        self.take(len)
    }

    /// UTF-8 preceded by its number of bytes.
    pub(super) fn text(&mut self) -> Result<&'a str, ChangeError> {
        utf8(self.sized()?)
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, ChangeError> {
    std::str::from_utf8(bytes).map_err(|_| ChangeError::Undecodable)
}

pub(super) fn put_uleb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_sleb(out: &mut Vec<u8>, mut value: i64) {
    while !(-0x40..0x40).contains(&value) {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uleb(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
