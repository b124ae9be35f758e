//! Identifiers: fixed-size byte strings with one textual form (lowercase hexadecimal).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is not the hexadecimal form of an identifier. Caller's fault; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: expected {digits} hexadecimal digits")]
pub struct ParseIdError {
    what: &'static str,
    digits: usize,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; $name::LEN]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Wraps raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        /// First four bytes: what logs need.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let short = self.0.get(..4).unwrap_or_default();
                write!(f, "{}({})", stringify!($name), data_encoding::HEXLOWER.encode(short))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError { what: $what, digits: $len * 2, text: text.chars().take(80).collect() };
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| wrong())?;
                Ok(Self(bytes.try_into().map_err(|_| wrong())?))
            }
        }
    };
}

id!(
    /// A node's or a founder's Ed25519 public key: the only identity there is.
    NodeId,
    32,
    "a node id"
);
id!(
    /// blake3 of the founding record of a space.
    SpaceId,
    32,
    "a space id"
);
id!(
    /// First 16 bytes of blake3 over (node, space, epoch, kind). Also the Automerge actor of the feed's changes.
    FeedId,
    16,
    "a feed id"
);
id!(
    /// The running blake3 of a feed: names an entry and, with it, the whole prefix.
    ChainHash,
    32,
    "a chain hash"
);
id!(
    /// Automerge's own SHA-256 hash of a change.
    ChangeHash,
    32,
    "a change hash"
);
id!(
    /// Version of an entity as readers see it: 16 bytes over its heads and its contract's version. The `ETag`.
    Revision,
    16,
    "a revision"
);
id!(
    /// A 32-byte digest that is compared, never inverted: of a frontier, of a state.
    Digest,
    32,
    "a digest"
);

/// Where a write landed: its feed and its place there. Ask a node who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The feed that holds the entry.
    pub feed: FeedId,
    /// Position in the feed; the first entry is 1.
    pub seq: u64,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.feed, self.seq)
    }
}

impl FromStr for Receipt {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = || ParseIdError {
            what: "a receipt (feed-position)",
            digits: FeedId::LEN * 2,
            text: text.chars().take(80).collect(),
        };
        let (feed, seq) = text.split_once('-').ok_or_else(wrong)?;
        Ok(Self { feed: feed.parse()?, seq: seq.parse().map_err(|_| wrong())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_wrong_text_is_named() {
        let id = FeedId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string().parse::<FeedId>(), Ok(id));
        let receipt = Receipt { feed: id, seq: 7 };
        assert_eq!(receipt.to_string().parse::<Receipt>(), Ok(receipt));
        for wrong in ["", "ab", "zz".repeat(16).as_str(), "ab-"] {
            assert!(wrong.parse::<FeedId>().is_err(), "{wrong}");
            assert!(wrong.parse::<Receipt>().is_err(), "{wrong}");
        }
    }
}
