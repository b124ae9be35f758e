//! Frozen rows: what an entity's row is wrapped in while nobody can say whether it is right. Every reader refuses it.
//!
//! ```text
//! frozen row = version 01 · kind 2 · the row as it was; nothing if none was · first 16 bytes of blake3(all before)
//! ```

use super::EntityState;
use super::row::{CHECK_LEN, Decoder, FROZEN, TOMBSTONE, VERSION, checked};
use crate::ChangeHash;

impl EntityState {
    /// A row that [`EntityState::decode`] refuses, around the row that an entity has, if it has one.
    #[must_use]
    pub fn freeze(row: Option<&[u8]>) -> Vec<u8> {
        let mut frozen = vec![VERSION, FROZEN];
        frozen.extend_from_slice(row.unwrap_or_default());
        let check = blake3::hash(&frozen);
        frozen.extend_from_slice(check.as_bytes().split_at(CHECK_LEN).0);
        debug_assert_eq!(Self::thaw(&frozen), Some(row.unwrap_or_default()), "what is frozen can be thawed");
        frozen
    }

    /// The row in a frozen row, empty if there was none; `None`: the row is not frozen, or damaged.
    #[must_use]
    pub fn thaw(row: &[u8]) -> Option<&[u8]> {
        if !row.starts_with(&[VERSION, FROZEN]) {
            return None;
        }
        checked(row).ok()?.get(2..)
    }

    /// The heads that a row's bytes name, whether its hash fits or not; `None`: they name none that could be any.
    ///
    /// Damage does not make up the heads of a state: where these are a state's heads, the row was that state's.
    #[must_use]
    pub fn heads_named(row: &[u8]) -> Option<Vec<ChangeHash>> {
        let [VERSION, kind, rest @ ..] = row else { return None };
        (*kind <= TOMBSTONE).then(|| Decoder::over(rest).heads())?
    }
}
