//! From the bytes of a frame to the input of an engine, as the runtime does it.

use std::collections::BTreeMap;

use tombolo_crdt::feed::{Range, RangeError, VerifiedRange};
use tombolo_node::engine::{ConnId, Input};
use tombolo_transport::frame::{Frame, Ranges, RulesRanges};

/// Verified ranges that are remembered: some 10 MB.
const KNOWN_MAX: usize = 4_096;

/// Decodes and verifies. A range is sent to many nodes; that the same bytes verify is found out once, since signatures
/// are most of the cost of a small range.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    known: BTreeMap<[u8; 32], VerifiedRange>,
}

impl Decoder {
    /// An input and how many entries it weighs. `None`: of an unknown kind.
    pub(super) fn decode(
        &mut self,
        conn: ConnId,
        stream: usize,
        bytes: &[u8],
    ) -> Result<Option<(Input, usize)>, String> {
        let frame = Frame::decode(bytes).map_err(|error| error.to_string())?;
        Ok(match frame {
            None => None,
            Some(Frame::Ranges(Ranges { space, number, ranges })) if stream > 0 => {
                let (ranges, entries) = self.verify(ranges)?;
                Some((Input::Ranges { conn, space, number, ranges }, entries))
            }
            Some(Frame::RulesRanges(RulesRanges { space, ranges, last })) if stream == 0 => {
                let (ranges, entries) = self.verify(ranges)?;
                Some((Input::RulesRanges { conn, space, ranges, last }, entries))
            }
            Some(frame @ Frame::Ranges(_)) => return Err(format!("{} on the control stream", frame.kind_name())),
            Some(frame) if stream == 0 => Some((Input::Frame(conn, frame), 1)),
            Some(frame) => return Err(format!("{} on a transfer stream", frame.kind_name())),
        })
    }

    fn verify(&mut self, ranges: Vec<Range>) -> Result<(Vec<VerifiedRange>, usize), String> {
        let mut verified = Vec::with_capacity(ranges.len());
        for range in ranges {
            match self.verify_one(range) {
                Ok(range) => verified.push(range),
                Err(RangeError::Unsupported) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let entries = verified.iter().map(|range| range.entries().len()).sum();
        Ok((verified, entries))
    }

    fn verify_one(&mut self, range: Range) -> Result<VerifiedRange, RangeError> {
        let mut hasher = blake3::Hasher::new();
        for part in [range.opening.as_slice(), range.previous.as_bytes(), &range.from.to_le_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        for entry in &range.entries {
            hasher.update(&(entry.len() as u64).to_le_bytes()).update(entry);
        }
        hasher.update(&range.seal.to_bytes());
        let key = *hasher.finalize().as_bytes();
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let verified = range.verify()?;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(key, verified.clone());
        assert!(self.known.len() <= KNOWN_MAX, "ranges that are remembered are bounded");
        Ok(verified)
    }
}
