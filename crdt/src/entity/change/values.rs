//! Scalar values: a number that tells type and length, and that many bytes.

use super::ChangeError;
use super::bytes::{Cursor, put_sleb, put_uleb, utf8};
use crate::entity::doc::Value;

const NULL: u64 = 0;
const FALSE: u64 = 1;
const TRUE: u64 = 2;
const ULEB: u64 = 3;
const LEB: u64 = 4;
const FLOAT: u64 = 5;
const TEXT: u64 = 6;
const BYTES: u64 = 7;
const COUNTER: u64 = 8;
const TIMESTAMP: u64 = 9;
/// The type is the low four bits, the length the rest.
const TYPE_BITS: u32 = 4;
const TYPE_MASK: u64 = 15;

/// Reads the value that `meta` describes.
pub(super) fn read(meta: u64, raw: &mut Cursor<'_>) -> Result<Value, ChangeError> {
    let bytes = raw.take(meta >> TYPE_BITS)?;
    let mut number = Cursor::new(bytes);
    let value = match meta & TYPE_MASK {
        TEXT => return Ok(Value::Str(utf8(bytes)?.to_owned())),
        BYTES => return Ok(Value::Bytes(bytes.to_vec())),
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        ULEB => Value::Uint(number.uleb()?),
        LEB => Value::Int(number.sleb()?),
        FLOAT => Value::Float(f64::from_le_bytes(number.array()?)),
        COUNTER => Value::Counter(number.sleb()?),
        TIMESTAMP => Value::Timestamp(number.sleb()?),
        unknown => {
            let code = u8::try_from(unknown).map_err(|_| ChangeError::Undecodable)?;
            return Ok(Value::Unknown(code, bytes.to_vec()));
        }
    };
    if number.is_empty() { Ok(value) } else { Err(ChangeError::NotCanonical) }
}

/// Appends the bytes of a scalar and gives the number that describes them. Objects have none, like null.
pub(super) fn write(value: &Value, raw: &mut Vec<u8>) -> u64 {
    let before = raw.len();
    let kind = match value {
        Value::Null | Value::Object(_) => NULL,
        Value::Bool(false) => FALSE,
        Value::Bool(true) => TRUE,
        Value::Uint(uint) => {
            put_uleb(raw, *uint);
            ULEB
        }
        Value::Int(int) => {
            put_sleb(raw, *int);
            LEB
        }
        Value::Float(float) => {
            raw.extend_from_slice(&float.to_le_bytes());
            FLOAT
        }
        Value::Str(text) => {
            raw.extend_from_slice(text.as_bytes());
            TEXT
        }
        Value::Bytes(bytes) => {
            raw.extend_from_slice(bytes);
            BYTES
        }
        Value::Counter(counter) => {
            put_sleb(raw, *counter);
            COUNTER
        }
        Value::Timestamp(millis) => {
            put_sleb(raw, *millis);
            TIMESTAMP
        }
        Value::Unknown(code, bytes) => {
            raw.extend_from_slice(bytes);
            u64::from(*code)
        }
    };
    ((raw.len() - before) as u64) << TYPE_BITS | kind
}
