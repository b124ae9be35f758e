//! Typed records of rules entries.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::entry::RawRecord;
use crate::feed::Signature;
use crate::hash::{Tagged, tag};
use crate::{NodeId, SpaceId};

/// Most bytes of a name in a record.
pub const NAME_BYTES_MAX: usize = 128;
/// Most address hints in a record.
pub const ADDRS_MAX: usize = 16;
/// Most bytes of one address hint.
pub const ADDR_BYTES_MAX: usize = 256;
/// Most records in one rules entry.
pub(crate) const RECORDS_MAX: usize = 256;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and writes entities.
    Writer,
    /// Reads, writes, invites and grants.
    Admin,
}

impl Role {
    /// Whether the role may write entities.
    #[must_use]
    pub const fn may_write(self) -> bool {
        matches!(self, Self::Writer | Self::Admin)
    }

    /// Its name in the CLI and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "reader" => Ok(Self::Reader),
            "writer" => Ok(Self::Writer),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownRole { text: text.chars().take(40).collect() }),
        }
    }
}

/// Text that names no role. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a role; roles are admin, writer, reader")]
pub struct UnknownRole {
    text: String,
}

/// How a member calls itself and where it may be found. Hints, no authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The node's name.
    pub name: String,
    /// `host:port` hints, best first.
    pub addrs: Vec<String>,
}

impl Contact {
    fn fits(&self) -> bool {
        self.name.len() <= NAME_BYTES_MAX
            && self.addrs.len() <= ADDRS_MAX
            && self.addrs.iter().all(|addr| addr.len() <= ADDR_BYTES_MAX)
    }
}

/// The founding record: the space's id is the hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The founder's key: a key of its own, not a node's. Depth 0 of the grant tree.
    pub founder: NodeId,
    /// The space's name.
    pub name: String,
    /// Makes two spaces of one founder and name differ.
    pub nonce: [u8; 16],
}

impl Found {
    /// The canonical bytes of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads canonical bytes; `None` if they are not.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let found: Self = decode(bytes)?;
        (!found.name.is_empty() && found.name.len() <= NAME_BYTES_MAX).then_some(found)
    }

    /// blake3(tag ‖ record bytes).
    #[must_use]
    pub fn space(&self) -> SpaceId {
        SpaceId::from_bytes(Tagged::new(tag::SPACE).bytes(&self.encode()).finish())
    }
}

/// An open place: whoever holds the one-time key may take it, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Public half of the one-time key that the ticket holds.
    pub key: [u8; 32],
    /// The role it gives.
    pub role: Role,
    /// Milliseconds since 1970. Checked by who admits; enters no verdict.
    pub expires: u64,
}

/// A place taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// The invite's key.
    pub invite: [u8; 32],
    /// The new member.
    pub node: NodeId,
    /// The one-time key's signature over the space and the node.
    pub signature: Signature,
    /// Name and addresses of the new member.
    pub contact: Contact,
}

/// A role given directly by an admin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who gets it.
    pub node: NodeId,
    /// The role.
    pub role: Role,
    /// Name and addresses of the member.
    pub contact: Contact,
}

/// What the one-time key of an invite signs.
#[must_use]
pub fn admit_message(space: SpaceId, node: NodeId) -> [u8; 32] {
    Tagged::new(tag::ADMIT).bytes(space.as_bytes()).bytes(node.as_bytes()).finish()
}

/// A record of a known kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Kind 1: the space's beginning.
    Found(Found),
    /// Kind 2.
    Invite(Invite),
    /// Kind 3.
    Admit(Admit),
    /// Kind 4.
    Grant(Grant),
}

/// Why a record is not a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Of a kind that a later version knows: the entry is held.
    #[error("record of kind {0} needs a later version")]
    Unknown(u16),
    /// Of a known kind and malformed: refused(structure).
    #[error("malformed record of kind {0}")]
    Malformed(u16),
}

impl Record {
    /// The record as an entry carries it.
    #[must_use]
    pub fn to_raw(&self) -> RawRecord {
        match self {
            Self::Found(found) => RawRecord { kind: 1, body: encode(found) },
            Self::Invite(invite) => RawRecord { kind: 2, body: encode(invite) },
            Self::Admit(admit) => RawRecord { kind: 3, body: encode(admit) },
            Self::Grant(grant) => RawRecord { kind: 4, body: encode(grant) },
        }
    }

    /// Whether this version knows the kind of a record.
    #[must_use]
    pub fn is_known(raw: &RawRecord) -> bool {
        (1..=4).contains(&raw.kind)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn from_raw(raw: &RawRecord) -> Result<Self, RecordError> {
        let record = match raw.kind {
            1 => Found::decode(&raw.body).map(Self::Found),
            2 => decode(&raw.body).map(Self::Invite),
            3 => decode::<Admit>(&raw.body).filter(|admit| admit.contact.fits()).map(Self::Admit),
            4 => decode::<Grant>(&raw.body).filter(|grant| grant.contact.fits()).map(Self::Grant),
            kind => {
                assert!(!Self::is_known(raw), "every kind that is known is read");
                return Err(RecordError::Unknown(kind));
            }
        };
        record.ok_or(RecordError::Malformed(raw.kind))
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("writing to a vector cannot fail")
}

/// Canonical or nothing: decoding and encoding must give the same bytes.
fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value: T = postcard::from_bytes(bytes).ok()?;
    (encode(&value) == bytes).then_some(value)
}
