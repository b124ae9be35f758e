//! Tickets: what a new member is handed, by word of mouth or mail, to join a space.
//!
//! A ticket is one word: `tombolo1`, then base32 (lower case, no padding) of the fields in postcard followed by the
//! first four bytes of blake3("tombolo/1 ticket" ‖ fields). It holds a one-time key: whoever has the ticket may take
//! the place, once, until it expires. It gives no power over what others hold.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use tombolo_crdt::feed::Signature;
use tombolo_crdt::hash::Tagged;
use tombolo_crdt::rules::{ADDR_BYTES_MAX, ADDRS_MAX, Found, admit_message};
use tombolo_crdt::{NodeId, SpaceId};

use crate::engine::JoinRequest;

/// What every ticket begins with: the product and the version of this format.
const PREFIX: &str = "tombolo1";
/// Version of the fields.
const VERSION: u8 = 1;
/// Bytes of the checksum: mistyped tickets are told from spoilt ones.
const CHECKSUM_BYTES: usize = 4;
/// Characters of the longest ticket: 16 addresses of 256 bytes and two names of 128, in base32, with room to spare.
pub const TICKET_CHARS_MAX: usize = 16 * 1024;
const TAG: &str = "tombolo/1 ticket";

/// An invitation to a space.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    version: u8,
    /// The space.
    pub space: SpaceId,
    /// Its name.
    pub name: String,
    /// Its founding record: proves the id, and that what a member will send is this space.
    #[serde(with = "serde_bytes_vec")]
    pub founding: Vec<u8>,
    secret: [u8; 32],
    /// When its time is over, in milliseconds since 1970, by the clock of the member that is asked.
    pub expires: u64,
    /// The node that opened the place.
    pub inviter: NodeId,
    /// Where it, and other members, may be found; best first.
    pub addrs: Vec<String>,
}

/// `Vec<u8>` as bytes: postcard writes both alike, this reads faster.
mod serde_bytes_vec {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Vec::<u8>::deserialize(deserializer)
    }
}

/// Why text is not a usable ticket. Nothing was changed; ask for a new one, or copy it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin like one.
    #[error("this is not a ticket: tickets begin with `{PREFIX}`")]
    NotATicket,
    /// A character that no ticket has, or too many of them.
    #[error("the ticket has a character that does not belong there, or is too long; copy it again")]
    Text,
    /// Its end is missing.
    #[error("the ticket is cut off; copy all of it")]
    Truncated,
    /// The checksum does not match.
    #[error("the ticket is mistyped; copy it again")]
    Mistyped,
    /// Made by a later version of the program.
    #[error("the ticket is of version {0}; this program knows version {VERSION}: upgrade it")]
    Version(u8),
    /// Whole, but what it says does not hold together: a defect of the program that made it.
    #[error("the ticket is spoilt: {0}")]
    Spoilt(&'static str),
}

impl Ticket {
    /// A ticket for the place that the one-time key `secret` opens.
    #[must_use]
    pub fn new(found: &Found, secret: &SigningKey, expires: u64, inviter: NodeId, mut addrs: Vec<String>) -> Self {
        addrs.retain(|addr| addr.len() <= ADDR_BYTES_MAX);
        addrs.truncate(ADDRS_MAX);
        Self {
            version: VERSION,
            space: found.space(),
            name: found.name.clone(),
            founding: found.encode(),
            secret: secret.to_bytes(),
            expires,
            inviter,
            addrs,
        }
    }

    /// What `node` asks members for.
    #[must_use]
    pub fn request(&self, node: NodeId) -> JoinRequest {
        let key = SigningKey::from_bytes(&self.secret);
        JoinRequest {
            space: self.space,
            name: self.name.clone(),
            key: key.verifying_key().to_bytes(),
            signature: Signature::sign(&key, &admit_message(self.space, node)),
            inviter: self.inviter,
            addrs: self.addrs.clone(),
        }
    }

    fn check(&self) -> Result<(), TicketError> {
        let found = Found::decode(&self.founding).ok_or(TicketError::Spoilt("its founding record does not decode"))?;
        if found.space() != self.space || found.name != self.name {
            return Err(TicketError::Spoilt("its founding record is of another space"));
        }
        if self.addrs.len() > ADDRS_MAX || self.addrs.iter().any(|addr| addr.len() > ADDR_BYTES_MAX) {
            return Err(TicketError::Spoilt("it has too many addresses"));
        }
        Ok(())
    }
}

fn checksum(fields: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = Tagged::new(TAG).bytes(fields).finish();
    [a, b, c, d]
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = postcard::to_stdvec(self).expect("writing to a vector cannot fail");
        bytes.extend_from_slice(&checksum(&bytes));
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

/// Without the secret.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("space", &self.space)
            .field("name", &self.name)
            .field("expires", &self.expires)
            .field("inviter", &self.inviter)
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).take(TICKET_CHARS_MAX + 1).collect();
        if text.len() > TICKET_CHARS_MAX {
            return Err(TicketError::Text);
        }
        let lower = text.to_ascii_lowercase();
        let Some(word) = lower.strip_prefix(PREFIX) else { return Err(TicketError::NotATicket) };
        let bytes = decode_base32(word)?;
        let whole = bytes.len().checked_sub(CHECKSUM_BYTES).map(|at| bytes.split_at(at));
        let (fields, sum) = whole.ok_or(TicketError::Truncated)?;
        if checksum(fields) != *sum {
            return Err(cut_off_or_mistyped(&bytes));
        }
        match fields.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(TicketError::Version(version)),
            None => return Err(TicketError::Truncated),
        }
        let ticket: Self = postcard::from_bytes(fields).map_err(|_| TicketError::Spoilt("it does not decode"))?;
        ticket.check()?;
        Ok(ticket)
    }
}

fn decode_base32(word: &str) -> Result<Vec<u8>, TicketError> {
    if !word.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)) {
        return Err(TicketError::Text);
    }
    let upper = word.to_ascii_uppercase();
    BASE32_NOPAD.decode(upper.as_bytes()).or_else(|error| {
        // Wrong bits at the end are what a cut leaves: decode as far as whole bytes go.
        let whole = upper.len() - upper.len() % 8;
        let head = upper.get(..whole).filter(|_| error.position >= whole).ok_or(TicketError::Mistyped)?;
        BASE32_NOPAD.decode(head.as_bytes()).map_err(|_| TicketError::Mistyped)
    })
}

/// Says of bytes whose checksum is wrong which of the two it is: fields that are whole with their checksum were
/// mistyped.
fn cut_off_or_mistyped(bytes: &[u8]) -> TicketError {
    match postcard::take_from_bytes::<Ticket>(bytes) {
        Ok((_, rest)) if rest.len() < CHECKSUM_BYTES => TicketError::Truncated,
        Err(postcard::Error::DeserializeUnexpectedEnd) => TicketError::Truncated,
        Ok(_) | Err(_) => TicketError::Mistyped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        let found = Found { founder: NodeId::from_bytes([1; 32]), name: "shop".to_owned(), nonce: [2; 16] };
        let key = SigningKey::from_bytes(&[3; 32]);
        let addrs = vec!["192.0.2.1:7700".to_owned(), "site.example:7700".to_owned()];
        Ticket::new(&found, &key, 5_000, NodeId::from_bytes([4; 32]), addrs)
    }

    #[test]
    fn a_ticket_survives_its_text_and_line_breaks_and_capitals() {
        let text = ticket().to_string();
        assert!(text.starts_with("tombolo1") && text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
        assert_eq!(text.parse::<Ticket>(), Ok(ticket()));
        let (head, tail) = text.split_at(40);
        assert_eq!(format!(" {}\n  {tail}\n", head.to_uppercase()).parse::<Ticket>(), Ok(ticket()));
        let request = ticket().request(NodeId::from_bytes([9; 32]));
        let message = admit_message(request.space, NodeId::from_bytes([9; 32]));
        assert!(request.signature.verify(&request.key, &message));
    }

    #[test]
    fn every_prefix_of_a_ticket_is_said_to_be_cut_off() {
        let text = ticket().to_string();
        for length in PREFIX.len()..text.len() {
            let cut = text.get(..length).expect("ASCII");
            assert_eq!(cut.parse::<Ticket>(), Err(TicketError::Truncated), "{length} of {}", text.len());
        }
    }

    #[test]
    fn wrong_text_is_named() {
        assert_eq!("".parse::<Ticket>(), Err(TicketError::NotATicket));
        assert_eq!("http://x".parse::<Ticket>(), Err(TicketError::NotATicket));
        assert_eq!("tombolo1ab!c".parse::<Ticket>(), Err(TicketError::Text));
        assert_eq!(format!("tombolo1{}", "a".repeat(20_000)).parse::<Ticket>(), Err(TicketError::Text));
        let text = ticket().to_string();
        let swapped: String = text.chars().enumerate().map(|(at, c)| if at == 60 { other(c) } else { c }).collect();
        assert_eq!(swapped.parse::<Ticket>(), Err(TicketError::Mistyped));
        let later = Ticket { version: 9, ..ticket() };
        assert_eq!(later.to_string().parse::<Ticket>(), Err(TicketError::Version(9)));
        let renamed = Ticket { name: "other".to_owned(), ..ticket() };
        assert!(matches!(renamed.to_string().parse::<Ticket>(), Err(TicketError::Spoilt(_))));
    }

    fn other(c: char) -> char {
        if c == 'a' { 'b' } else { 'a' }
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", ticket()).contains("3, 3"));
    }
}
