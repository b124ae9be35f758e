//! Where a reader of changes is.
//!
//! A cursor names a journal position and carries 8 bytes of the journal's running hash there, so that a cursor of
//! another node, of a restored store or of a rewritten journal is noticed. Two things may follow: how many events of
//! the next entry are done (an entry with many changes has many events), or how far the listing after a reset is.
//!
//! ```text
//! position u64 BE ‖ hash 8           32 hexadecimal digits
//!   . index                          decimal: so many changes of the entry behind it are done
//!   ~ collection 00 id, base64url    the listing that follows a reset at the position has come so far; empty: begun
//! ```

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

/// A journal position and its running hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Everything up to here is done.
    pub(crate) position: u64,
    /// The first 8 bytes of the running hash there; zeros at position 0.
    pub(crate) hash: [u8; 8],
}

/// Where a reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// At a mark, with so many changes of the next entry done.
    At(Mark, usize),
    /// In the listing after a reset at the mark, behind an entity; `None`: at its beginning.
    Listing(Mark, Option<(String, String)>),
}

/// Text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotACursor;

impl Mark {
    pub(crate) fn new(position: u64, running: &[u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *running;
        Self { position, hash: [a, b, c, d, e, f, g, h] }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::At(mark, _) | Self::Listing(mark, _)) = self;
        write!(f, "{:016x}{:016x}", mark.position, u64::from_be_bytes(mark.hash))?;
        match self {
            Self::At(_, 0) => Ok(()),
            Self::At(_, index) => write!(f, ".{index}"),
            Self::Listing(_, None) => f.write_str("~"),
            Self::Listing(_, Some((collection, id))) => {
                debug_assert!(!collection.contains('\0'), "the first zero byte ends the name of the collection");
                let key = [collection.as_bytes(), &[0], id.as_bytes()].concat();
                write!(f, "~{}", BASE64URL_NOPAD.encode(&key))
            }
        }
    }
}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (digits, rest) = text.split_at_checked(32).ok_or(NotACursor)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| NotACursor)?;
        let (position, hash) = bytes.split_first_chunk::<8>().ok_or(NotACursor)?;
        let hash: [u8; 8] = hash.try_into().map_err(|_| NotACursor)?;
        let mark = Mark { position: u64::from_be_bytes(*position), hash };
        if rest.is_empty() {
            return Ok(Self::At(mark, 0));
        }
        if let Some(index) = rest.strip_prefix('.') {
            return index.parse().map(|index| Self::At(mark, index)).map_err(|_| NotACursor);
        }
        let key = rest.strip_prefix('~').ok_or(NotACursor)?;
        if key.is_empty() {
            return Ok(Self::Listing(mark, None));
        }
        let key = BASE64URL_NOPAD.decode(key.as_bytes()).map_err(|_| NotACursor)?;
        let key = String::from_utf8(key).map_err(|_| NotACursor)?;
        let (collection, id) = key.split_once('\0').ok_or(NotACursor)?;
        Ok(Self::Listing(mark, Some((collection.to_owned(), id.to_owned()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_their_text() {
        let mark = Mark::new(0x1234, &[0xab; 16]);
        let cursors = [
            (Cursor::At(Mark::default(), 0), "00000000000000000000000000000000"),
            (Cursor::At(mark, 0), "0000000000001234abababababababab"),
            (Cursor::At(mark, 17), "0000000000001234abababababababab.17"),
            (Cursor::Listing(mark, None), "0000000000001234abababababababab~"),
            (
                Cursor::Listing(mark, Some(("a".to_owned(), "ü/1".to_owned()))),
                "0000000000001234abababababababab~YQDDvC8x",
            ),
        ];
        for (cursor, text) in cursors {
            assert_eq!(cursor.to_string(), text);
            assert_eq!(text.parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_text_is_refused() {
        let zeros = "0".repeat(32);
        for wrong in ["", "now", "0", &zeros[1..], "x0000000000000000000000000000000"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(NotACursor), "{wrong}");
        }
        for tail in ["x", ".", ".-1", ".x", "~?", "~YQ", "~_w"] {
            assert_eq!(format!("{zeros}{tail}").parse::<Cursor>(), Err(NotACursor), "{tail}");
        }
    }
}
