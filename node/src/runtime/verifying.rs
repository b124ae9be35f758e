//! Proving ranges of peers, off the engine's thread.

use tokio::runtime::{Handle, RuntimeFlavor};
use tombolo_crdt::SpaceId;
use tombolo_crdt::feed::{Range, RangeError, ReadAhead, VerifiedRange};

use super::net::Fault;

/// Proves every range on a thread of its own, where there is one.
pub(super) async fn verify_aside(space: SpaceId, ranges: Vec<Range>) -> Result<Vec<VerifiedRange>, Fault> {
    let wrong = |source| Fault::Range { space, source };
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return verify_all(ranges).map_err(wrong);
    }
    let verified = tokio::task::spawn_blocking(move || verify_all(ranges)).await;
    verified.map_err(|error| Fault::Panic(error.to_string()))?.map_err(wrong)
}

pub(super) fn entry_bytes(ranges: &[Range]) -> usize {
    ranges.iter().map(Range::entry_bytes).sum()
}

/// Proves every range. One of a later version is left out: it is not the peer's fault, and it must not stop the others.
/// What may be read ahead of them they share, or many short ranges would have many times a frame's part.
pub(super) fn verify_all(ranges: Vec<Range>) -> Result<Vec<VerifiedRange>, RangeError> {
    let mut ahead = ReadAhead::of(entry_bytes(&ranges));
    let verified = ranges.into_iter().map(|range| range.verify_ahead(&mut ahead));
    verified.filter(|range| !matches!(range, Err(RangeError::Unsupported))).collect()
}
