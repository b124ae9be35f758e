//! Frames of entries take a third of their bytes when packed: entries that follow each other are much alike.
//!
//! A node that takes packed frames says so in its [`Hello`]; who has not said so gets them plain. The payload of a
//! packed frame is the length of the plain one (`u32` little-endian) and an LZ4 block.

use tombolo_crdt::entry::Ext;

use super::{FrameError, Hello, limit};

/// Bytes of a payload from which on packing is tried. A lone small entry has little that repeats, and is in a hurry.
const PACK_BYTES_MIN: usize = 1024;
/// Bytes that a packed byte stands for at most. LZ4 could do 255, and entries, of which a fifth is hashes, need five;
/// what a hostile peer makes a receiver work through is to cost it bytes.
const GROWTH_MAX: usize = 16;
/// Bytes of the length before a block.
const LENGTH_BYTES: usize = 4;
/// The extension of [`Hello`] that offers to take packed frames.
const TAKES_PACKED: u16 = 1;

/// Says in a [`Hello`] that this version takes packed frames.
#[must_use]
pub fn packing_offer() -> Ext {
    Ext { id: TAKES_PACKED, must_understand: false, bytes: Vec::new() }
}

/// Whether the sender of a [`Hello`] takes packed frames.
#[must_use]
pub fn offers_packing(hello: &Hello) -> bool {
    hello.ext.iter().any(|ext| ext.id == TAKES_PACKED)
}

/// The payload, packed; `None` where that saves less than an eighth, or more than a receiver believes. About a
/// nanosecond per byte.
pub(super) fn pack(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < PACK_BYTES_MIN {
        return None;
    }
    // With the length before it, as a u32 little-endian.
    let packed = lz4_flex::block::compress_prepend_size(payload);
    let block = packed.len().saturating_sub(LENGTH_BYTES);
    (packed.len() < payload.len() - payload.len() / 8 && payload.len() <= block * GROWTH_MAX).then_some(packed)
}

/// The payload that was packed. Allocates what its length says, once that is within the limit of the kind and not
/// beyond what so many bytes may become.
pub(super) fn unpack(kind: u8, packed: &[u8]) -> Result<Vec<u8>, FrameError> {
    let malformed = FrameError::Malformed { kind };
    let (length, block) = lz4_flex::block::uncompressed_size(packed).map_err(|_| malformed)?;
    let limit = limit(kind).ok_or(malformed)?;
    if length > limit {
        return Err(FrameError::TooLong { kind, bytes: length, limit });
    }
    if length > block.len().saturating_mul(GROWTH_MAX) {
        return Err(malformed);
    }
    let payload = lz4_flex::block::decompress(block, length).map_err(|_| malformed)?;
    if payload.len() == length { Ok(payload) } else { Err(malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: u8 = 12;

    /// Ten bytes of sixteen are the same in every line.
    fn alike(lines: u64) -> Vec<u8> {
        (0..lines).flat_map(|n| [&[7; 10][..], &blake3::hash(&n.to_le_bytes()).as_bytes()[..6]].concat()).collect()
    }

    #[test]
    fn what_repeats_is_packed_and_comes_back_and_what_does_not_stays() {
        let alike = alike(10_000);
        let packed = pack(&alike).unwrap();
        assert!(packed.len() < alike.len() * 6 / 10, "{}", packed.len());
        assert_eq!(unpack(RANGES, &packed), Ok(alike));
        let mut noise = vec![0; 40_000];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut noise);
        assert_eq!(pack(&noise), None);
        assert_eq!(pack(&[7; 40_000]), None, "nobody would believe it");
        assert_eq!(pack(&[7; PACK_BYTES_MIN - 1]), None);
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_allocated() {
        let alike = alike(4_000);
        let packed = pack(&alike).unwrap();
        let with_length = |length: usize| {
            [&u32::try_from(length).unwrap().to_le_bytes()[..], packed.split_at(LENGTH_BYTES).1].concat()
        };
        let malformed = Err(FrameError::Malformed { kind: RANGES });
        assert_eq!(unpack(RANGES, &with_length(alike.len() - 1)), malformed);
        assert_eq!(unpack(RANGES, &with_length(alike.len() + 1)), malformed);
        assert_eq!(unpack(RANGES, &with_length((packed.len() - LENGTH_BYTES) * GROWTH_MAX + 1)), malformed);
        let limit = limit(RANGES).unwrap();
        let too_long = Err(FrameError::TooLong { kind: RANGES, bytes: limit + 1, limit });
        assert_eq!(unpack(RANGES, &with_length(limit + 1)), too_long);
        assert_eq!(unpack(RANGES, &with_length(alike.len())), Ok(alike));
        for cut in [0, 3, 4, 5, packed.len() - 1] {
            assert_eq!(unpack(RANGES, packed.split_at(cut).0), malformed, "cut at {cut}");
        }
    }

    #[test]
    fn who_does_not_offer_to_take_packed_frames_is_not_sent_any() {
        let contact = tombolo_crdt::rules::Contact { name: String::new(), addrs: Vec::new() };
        let mut hello = Hello { version: 1, contact, process: [0; 16], counter: 1, wall_millis: 1, ext: vec![] };
        assert!(!offers_packing(&hello));
        hello.ext.push(Ext { id: 2, must_understand: false, bytes: Vec::new() });
        assert!(!offers_packing(&hello));
        hello.ext.push(packing_offer());
        assert!(offers_packing(&hello));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let packed = pack(&alike(300)).unwrap();
        for at in 0..packed.len() {
            for flip in [1, 0x0f, 0x80, 0xff] {
                let mut bytes = packed.clone();
                bytes[at] ^= flip;
                if let Ok(payload) = unpack(RANGES, &bytes) {
                    assert!(payload.len() <= bytes.len() * GROWTH_MAX, "byte {at}");
                }
            }
        }
    }
}
