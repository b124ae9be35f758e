//! The table of columns: which bytes of a chunk belong to which column.

use super::ChangeError;
use super::bytes::{Cursor, put_uleb};

pub(super) const OBJ_ACTOR: usize = 0;
pub(super) const OBJ_COUNTER: usize = 1;
pub(super) const KEY_ACTOR: usize = 2;
pub(super) const KEY_COUNTER: usize = 3;
pub(super) const KEY_TEXT: usize = 4;
pub(super) const INSERT: usize = 5;
pub(super) const ACTION: usize = 6;
pub(super) const VALUE_META: usize = 7;
pub(super) const VALUE_RAW: usize = 8;
pub(super) const PRED_COUNT: usize = 9;
pub(super) const PRED_ACTOR: usize = 10;
pub(super) const PRED_COUNTER: usize = 11;

/// How the format calls the columns above: four bits and more of number, one "is deflated", three of type. Ascending.
const SPECS: [u64; 12] = [0x01, 0x02, 0x11, 0x13, 0x15, 0x34, 0x42, 0x56, 0x57, 0x70, 0x71, 0x73];
/// Set in the specification of a deflated column. A change has none.
const DEFLATED: u64 = 8;

/// The columns of a change; empty where there is none.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    known: [&'a [u8]; SPECS.len()],
    /// Whether there are others. Only operations of unknown kinds can have use for them.
    pub(super) foreign: bool,
}

impl<'a> Columns<'a> {
    /// Reads the table and what it describes, up to the end of the chunk.
    pub(super) fn read(input: &mut Cursor<'a>) -> Result<Self, ChangeError> {
        let count = input.uleb()?;
        // Each has at least a byte of specification and one of length.
        if count > input.len() as u64 / 2 {
            return Err(ChangeError::Undecodable);
        }
        let mut table = *input;
        for _ in 0..count {
            input.uleb()?;
            input.uleb()?;
        }
        let mut columns = Self { known: [&[]; SPECS.len()], foreign: false };
        let mut before = None;
        for _ in 0..count {
            let (spec, len) = (table.uleb()?, table.uleb()?);
            if spec > u64::from(u32::MAX) || spec & DEFLATED != 0 {
                return Err(ChangeError::Undecodable);
            }
            if before.is_some_and(|before| before >= spec) || len == 0 {
                return Err(ChangeError::NotCanonical);
            }
            before = Some(spec);
            let data = input.take(len)?;
            match SPECS.iter().position(|known| *known == spec).and_then(|at| columns.known.get_mut(at)) {
                Some(known) => *known = data,
                None => columns.foreign = true,
            }
        }
        if input.is_empty() { Ok(columns) } else { Err(ChangeError::NotCanonical) }
    }

    pub(super) fn get(&self, column: usize) -> &'a [u8] {
        self.known.get(column).copied().unwrap_or_default()
    }
}

/// Writes the table and the columns that are not empty.
pub(super) fn write(columns: &[Vec<u8>; SPECS.len()], out: &mut Vec<u8>) {
    let present = || SPECS.iter().zip(columns).filter(|(_, data)| !data.is_empty());
    put_uleb(out, present().count() as u64);
    for (spec, data) in present() {
        put_uleb(out, *spec);
        put_uleb(out, data.len() as u64);
    }
    for (_, data) in present() {
        out.extend_from_slice(data);
    }
}
