//! Frames: what two nodes say to each other. A kind byte, a flag byte, then the payload in postcard.
//!
//! The codec is bounded: every kind has its largest size, nothing is allocated beyond what the frame holds, or, if it
//! is packed, beyond what so many bytes can become and the kind's largest size. A frame of an unknown kind is skipped,
//! unless its flag says that it must be understood.

mod messages;
mod packing;

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};
use tombolo_crdt::feed::Position;
use tombolo_crdt::{Digest, FeedId, NodeId, SpaceId};

pub use messages::{
    Audit, FeedHave, FrontierPage, Have, Hello, Join, JoinRefusal, Probe, Ranges, RowSum, RulesRanges, Summary, Sums,
};
pub use packing::{offers_packing, packing_offer};

use crate::limits::{CONTROL_FRAME_BYTES_MAX, GUEST_FRAME_BYTES_MAX, TRANSFER_FRAME_BYTES_MAX};

/// Version of the protocol, told in [`Hello`]. The ALPN changes with it only if the two cannot talk at all.
pub const PROTOCOL_VERSION: u16 = 1;
/// Largest number of positions in one page of a frontier (56 bytes each, about 230 KB).
pub const FRONTIER_PAGE_MAX: usize = 4096;
/// Bytes of entries and openings in one page of rules entries (128 KiB).
pub const RULES_PAGE_BYTES: usize = 128 << 10;
/// Flag bit: a receiver that does not know the kind must close the connection instead of skipping the frame.
const MUST_UNDERSTAND: u8 = 1;
/// Flag bit: the payload is packed. Only frames of entries are, and only towards peers that offered to take them so.
const PACKED: u8 = 2;
/// The kind that holds most of the bytes.
const RANGES: u8 = 12;
/// The kind that came after the first version, so that there are peers that do not know it.
const AUDIT: u8 = 16;

const _: () = assert!(KINDS.len() == AUDIT as usize, "every kind has its name and its limit");
const _: () = assert!(FRONTIER_PAGE_MAX * 58 + 128 <= CONTROL_FRAME_BYTES_MAX, "a page of a frontier fits a frame");
const _: () = assert!(RULES_PAGE_BYTES < GUEST_FRAME_BYTES_MAX, "a page of rules fits a frame that guests may send");

/// What one node says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Kind 1.
    Hello(Hello),
    /// Kind 2: digest of the rules frontier of a space whose roster holds the receiver.
    Rules(SpaceId, Digest),
    /// Kind 3: all [`Frame::Rules`] are out.
    RulesDone,
    /// Kind 4.
    Join(Join),
    /// Kind 5: answers [`Frame::Join`] where the invite is known.
    JoinRefused(SpaceId, JoinRefusal),
    /// Kind 6: positions of the rules feeds.
    RulesFrontier(SpaceId, Vec<Position>),
    /// Kind 7.
    RulesRanges(RulesRanges),
    /// Kind 8.
    Summary(Summary),
    /// Kind 9.
    Frontier(FrontierPage),
    /// Kind 10: the base of a [`Frame::Frontier`] is not known here: send all positions.
    FrontierRequest(SpaceId),
    /// Kind 11.
    Have(Have),
    /// Kind 12: the only kind on a transfer stream.
    Ranges(Ranges),
    /// Kind 13: entries of the receiver's feeds, or that it sent, that were refused here: (feed, seq, verdict code).
    Refused(SpaceId, Vec<(FeedId, u64, u8)>),
    /// Kind 14.
    Probe(Probe),
    /// Kind 15: the sender holds nothing more to say on this connection and will close it.
    Bye(NodeId),
    /// Kind 16: may be skipped.
    Audit(Audit),
}

/// What a frame could not be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Over its limit. The peer's fault; close the connection.
    #[error("frame of kind {kind} has {bytes} bytes, over its limit of {limit}")]
    TooLong {
        /// Its kind.
        kind: u8,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Empty or does not decode. The peer's fault; close the connection.
    #[error("malformed frame of kind {kind}")]
    Malformed {
        /// Its kind.
        kind: u8,
    },
    /// Of a later version and must be understood. Nobody's fault; close and ask for an upgrade.
    #[error("the peer says something (kind {kind}) that this version does not understand: upgrade this node")]
    Unsupported {
        /// Its kind.
        kind: u8,
    },
}

/// Kinds with their names (metrics) and limits, by kind byte − 1.
const KINDS: [(&str, usize); 16] = [
    ("hello", 16 * 1024),
    ("rules", 128),
    ("rules_done", 16),
    ("join", 16 * 1024),
    ("join_refused", 64),
    ("rules_frontier", CONTROL_FRAME_BYTES_MAX),
    ("rules_ranges", GUEST_FRAME_BYTES_MAX),
    ("summary", 256),
    ("frontier", 512 * 1024),
    ("frontier_request", 64),
    ("have", CONTROL_FRAME_BYTES_MAX),
    ("ranges", TRANSFER_FRAME_BYTES_MAX),
    ("refused", 512 * 1024),
    ("probe", 256),
    ("bye", 64),
    ("audit", 128 * 1024),
];

impl Frame {
    /// The kind byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Rules(..) => 2,
            Self::RulesDone => 3,
            Self::Join(_) => 4,
            Self::JoinRefused(..) => 5,
            Self::RulesFrontier(..) => 6,
            Self::RulesRanges(_) => 7,
            Self::Summary(_) => 8,
            Self::Frontier(_) => 9,
            Self::FrontierRequest(_) => 10,
            Self::Have(_) => 11,
            Self::Ranges(_) => RANGES,
            Self::Refused(..) => 13,
            Self::Probe(_) => 14,
            Self::Bye(_) => 15,
            Self::Audit(_) => AUDIT,
        }
    }

    /// The kind's name, for metrics and logs.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        kind_name(self.kind())
    }

    /// Bytes to send, without the length prefix of the stream.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let kind = self.kind();
        let out = match self {
            Self::Hello(hello) => payload(kind, hello),
            Self::Rules(space, digest) => payload(kind, &(space, digest)),
            Self::RulesDone => payload(kind, &()),
            Self::Join(join) => payload(kind, join),
            Self::JoinRefused(space, refusal) => payload(kind, &(space, refusal)),
            Self::RulesFrontier(space, positions) => payload(kind, &(space, positions)),
            Self::RulesRanges(ranges) => payload(kind, ranges),
            Self::Summary(summary) => payload(kind, summary),
            Self::Frontier(page) => payload(kind, page),
            Self::FrontierRequest(space) => payload(kind, space),
            Self::Have(have) => payload(kind, have),
            Self::Ranges(ranges) => payload(kind, ranges),
            Self::Refused(space, refused) => payload(kind, &(space, refused)),
            Self::Probe(probe) => payload(kind, probe),
            Self::Bye(node) => payload(kind, node),
            Self::Audit(audit) => payload(kind, audit),
        };
        debug_assert!(out.len() <= limit(kind).unwrap_or(0), "{} frame of {} bytes", kind_name(kind), out.len());
        out
    }

    /// The frame's bytes, packed if that makes a frame of entries smaller: for peers that take it (see
    /// [`offers_packing`]).
    #[must_use]
    pub fn encode_packed(&self) -> Vec<u8> {
        let plain = self.encode();
        match plain.split_at_checked(2) {
            Some((&[RANGES, flags], payload)) => match packing::pack(payload) {
                Some(packed) => [&[RANGES, flags | PACKED], packed.as_slice()].concat(),
                None => plain,
            },
            _ => plain,
        }
    }

    /// Reads a frame; `None` if it is of an unknown kind that may be skipped.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let [kind, flags, body @ ..] = bytes else { return Err(FrameError::Malformed { kind: 0 }) };
        let kind = *kind;
        let Some(limit) = limit(kind) else {
            let must = flags & MUST_UNDERSTAND != 0;
            return if must { Err(FrameError::Unsupported { kind }) } else { Ok(None) };
        };
        if bytes.len() > limit {
            return Err(FrameError::TooLong { kind, bytes: bytes.len(), limit });
        }
        let body = match (kind, flags & PACKED != 0) {
            (RANGES, true) => Cow::Owned(packing::unpack(kind, body)?),
            (_, true) => return Err(FrameError::Malformed { kind }),
            (_, false) => Cow::Borrowed(body),
        };
        let body = body.as_ref();
        let frame = match kind {
            1 => Self::Hello(read(kind, body)?),
            2 => {
                let (space, digest) = read(kind, body)?;
                Self::Rules(space, digest)
            }
            3 => Self::RulesDone,
            4 => Self::Join(read(kind, body)?),
            5 => {
                let (space, refusal) = read(kind, body)?;
                Self::JoinRefused(space, refusal)
            }
            6 => {
                let (space, positions) = read(kind, body)?;
                Self::RulesFrontier(space, positions)
            }
            7 => Self::RulesRanges(read(kind, body)?),
            8 => Self::Summary(read(kind, body)?),
            9 => Self::Frontier(read(kind, body)?),
            10 => Self::FrontierRequest(read(kind, body)?),
            11 => Self::Have(read(kind, body)?),
            RANGES => Self::Ranges(read(kind, body)?),
            13 => {
                let (space, refused) = read(kind, body)?;
                Self::Refused(space, refused)
            }
            14 => Self::Probe(read(kind, body)?),
            15 => Self::Bye(read(kind, body)?),
            AUDIT => Self::Audit(read(kind, body)?),
            _ => return Ok(None),
        };
        Ok(Some(frame))
    }
}

/// Largest size of a kind in bytes; `None` for unknown kinds.
fn limit(kind: u8) -> Option<usize> {
    KINDS.get(usize::from(kind.checked_sub(1)?)).map(|(_, limit)| *limit)
}

/// Name of a kind byte.
#[must_use]
pub fn kind_name(kind: u8) -> &'static str {
    kind.checked_sub(1).and_then(|index| KINDS.get(usize::from(index))).map_or("unknown", |(name, _)| *name)
}

fn payload<T: Serialize + ?Sized>(kind: u8, value: &T) -> Vec<u8> {
    let flags = if kind == AUDIT { 0 } else { MUST_UNDERSTAND };
    postcard::to_extend(value, vec![kind, flags]).expect("writing to a vector cannot fail")
}

/// Bytes after the payload are room for later versions and are skipped.
fn read<T: DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, FrameError> {
    postcard::take_from_bytes(body).map(|(value, _)| value).map_err(|_| FrameError::Malformed { kind })
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;
    use tombolo_crdt::ChainHash;
    use tombolo_crdt::feed::{Range, Signature};

    use super::*;

    #[test]
    fn every_kind_round_trips_and_its_bytes_are_final() {
        let space = SpaceId::from_bytes([1; 32]);
        let digest = Digest::from_bytes([2; 32]);
        let frames = [
            (Frame::Rules(space, digest), 66),
            (Frame::RulesDone, 2),
            (Frame::FrontierRequest(space), 34),
            (Frame::Summary(Summary { space, frontier: digest, state: digest, frozen: 0, common: None }), 100),
            (Frame::Probe(Probe { space, feed: FeedId::from_bytes([3; 16]), seq: 300, chain: Some(None) }), 54),
            (Frame::Audit(Audit { space, frontier: digest, sums: Sums::Buckets(vec![[4; 16]; 4096]) }), 65_605),
        ];
        for (frame, length) in frames {
            let bytes = frame.encode();
            assert_eq!(bytes.len(), length, "{frame:?}");
            assert_eq!(Frame::decode(&bytes), Ok(Some(frame)));
        }
    }

    #[test]
    fn unknown_kinds_are_skipped_unless_they_must_be_understood() {
        assert_eq!(Frame::decode(&[200, 0, 1, 2, 3]), Ok(None));
        assert_eq!(Frame::decode(&[200, 1, 1, 2, 3]), Err(FrameError::Unsupported { kind: 200 }));
        assert_eq!(Frame::decode(&[]), Err(FrameError::Malformed { kind: 0 }));
        assert_eq!(Frame::decode(&[2, 0, 1]), Err(FrameError::Malformed { kind: 2 }));
        let long = vec![2; 129];
        assert_eq!(Frame::decode(&long), Err(FrameError::TooLong { kind: 2, bytes: 129, limit: 128 }));
    }

    #[test]
    fn entries_are_packed_and_nothing_else() {
        // As entries are: a hash, and much that is as it was in the one before.
        let entry = |n| ByteBuf::from([&[7; 68][..], blake3::hash(&[n]).as_bytes()].concat());
        let range = Range {
            opening: vec![1; 90],
            from: 1,
            previous: ChainHash::from_bytes([2; 32]),
            entries: (0..100_u8).map(entry).collect(),
            seal: Signature::from_bytes(&[3; 64]),
        };
        let frame = Frame::Ranges(Ranges { space: SpaceId::from_bytes([1; 32]), number: 1, ranges: vec![range] });
        let (plain, packed) = (frame.encode(), frame.encode_packed());
        assert!(packed.len() * 2 < plain.len(), "{} of {}", packed.len(), plain.len());
        assert_eq!(packed[..2], [12, 3]);
        assert_eq!(Frame::decode(&packed), Ok(Some(frame.clone())));
        assert_eq!(Frame::decode(&plain), Ok(Some(frame)));

        let zeros = Frame::Audit(Audit {
            space: SpaceId::from_bytes([1; 32]),
            frontier: Digest::from_bytes([2; 32]),
            sums: Sums::Buckets(vec![[0; 16]; 4096]),
        });
        assert_eq!(zeros.encode_packed(), zeros.encode());
        let mut marked = zeros.encode();
        marked[1] |= 2;
        assert_eq!(Frame::decode(&marked), Err(FrameError::Malformed { kind: 16 }));
    }

    #[test]
    fn entries_are_counted_before_they_are_made() {
        let space = SpaceId::from_bytes([1; 32]);
        let range = |entries: Vec<ByteBuf>| Range {
            opening: vec![1; 90],
            from: 1,
            previous: ChainHash::from_bytes([2; 32]),
            entries,
            seal: Signature::from_bytes(&[3; 64]),
        };
        let read = |entries| {
            let frame = Frame::Ranges(Ranges { space, number: 1, ranges: vec![range(entries)] });
            Frame::decode(&frame.encode()).map(|_| ())
        };
        let malformed = Err(FrameError::Malformed { kind: 12 });
        assert_eq!(read(vec![ByteBuf::from([7; 9]); 1_024]), Ok(()));
        assert_eq!(read(vec![ByteBuf::from([7; 9]); 1_025]), malformed);
        assert_eq!(read(vec![ByteBuf::from([7; 8]); 1]), malformed);
        // The bomb: 4.7 million of them in a third of a megabyte.
        assert_eq!(read(vec![ByteBuf::new(); 4_700_000]), malformed);
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let mut bytes = vec![12, 0];
        bytes.extend([1; 32]);
        bytes.extend([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(Frame::decode(&bytes), Err(FrameError::Malformed { kind: 12 }));
    }
}
