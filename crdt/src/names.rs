//! Names that are part of the verdict: collections and ids.

/// Most bytes of a collection name.
pub const COLLECTION_BYTES_MAX: usize = 64;
/// Most bytes of an entity id.
pub const ID_BYTES_MAX: usize = 256;

/// Why a name is refused. The writer's fault; nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty or over its limit.
    #[error("{what} has {bytes} bytes; it must have 1 to {limit}")]
    Length {
        /// Which name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A character outside `A–Z a–z 0–9 . _ -`.
    #[error("collection `{name}` has a character other than A-Z a-z 0-9 . _ - at byte {at}")]
    Character {
        /// The collection.
        name: String,
        /// Where.
        at: usize,
    },
    /// A control character in an id.
    #[error("id {id:?} has a control character at byte {at}")]
    Control {
        /// The id.
        id: String,
        /// Where.
        at: usize,
    },
}

/// Checks a collection name.
///
/// # Errors
/// [`NameError`].
pub fn check_collection(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > COLLECTION_BYTES_MAX {
        return Err(NameError::Length { what: "collection", bytes: name.len(), limit: COLLECTION_BYTES_MAX });
    }
    match name.bytes().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))) {
        None => Ok(()),
        Some(at) => Err(NameError::Character { name: name.to_owned(), at }),
    }
}

/// Checks an entity id: UTF-8 without control characters (Unicode `Cc`), compared as bytes.
///
/// # Errors
/// [`NameError`].
pub fn check_id(id: &str) -> Result<(), NameError> {
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(NameError::Length { what: "id", bytes: id.len(), limit: ID_BYTES_MAX });
    }
    match id.char_indices().find(|(_, c)| c.is_control()) {
        None => Ok(()),
        Some((at, _)) => Err(NameError::Control { id: id.to_owned(), at }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_and_over_their_limits() {
        assert_eq!(check_collection("Az09._-"), Ok(()));
        assert_eq!(check_collection(&"a".repeat(64)), Ok(()));
        assert!(matches!(check_collection(&"a".repeat(65)), Err(NameError::Length { bytes: 65, .. })));
        assert!(matches!(check_collection("a/b"), Err(NameError::Character { at: 1, .. })));
        assert!(check_collection("").is_err());
        assert_eq!(check_id("Zürich 1/ü"), Ok(()));
        assert!(matches!(check_id("a\u{85}"), Err(NameError::Control { at: 1, .. })));
        assert!(check_id(&"x".repeat(257)).is_err());
    }
}
