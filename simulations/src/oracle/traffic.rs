//! Traffic and silence: bytes stay in proportion to what was missing.

use super::Traffic;
use super::fault::Fault;
use crate::outcome::{Oracle, Stats};
use crate::plan::Plan;

/// Times that missing bytes may be transferred. One is needed; a peer pushes own entries at once to all and relays to
/// those it does not know to have them, so that in a full mesh two copies may be on their way when one arrives, and
/// framing (openings, seals) doubles short ranges.
pub const TRANSFER_FACTOR: u64 = 6;
/// Bytes of transfers that a connection may cost in any case: one range that both sides offered at once, and its frame.
pub const TRANSFER_PER_CONNECTION: u64 = 16 << 10;
/// Bytes of control frames that a connection may cost, per space and feed beside [`CONTROL_PER_CONNECTION`]: whole
/// frontiers, both ways.
pub(super) const CONTROL_PER_FEED: u64 = 512;
/// Bytes of control frames that a connection may cost in any case: both Hellos, digests, rules.
pub(super) const CONTROL_PER_CONNECTION: u64 = 32 << 10;
/// Bytes of control frames per frame delivered: acknowledgements, summaries, credit.
pub(super) const CONTROL_PER_FRAME: u64 = 256;
/// Bytes of a reconnect of peers that have nothing to tell each other: Hellos, digests of rules and spaces, both ways.
pub const RECONNECT_BYTES: u64 = 8 << 10;
/// Bytes that may wait on one connection: the window of its transfer streams (1 MiB each, at most four) and a queue of
/// control frames.
pub const QUEUE_BYTES_MAX: u64 = 8 << 20;

const _: () =
    assert!(RECONNECT_BYTES < CONTROL_PER_CONNECTION, "a reconnect with nothing new costs less than any other");

/// The whole run. Numbers that a lane did not count are 0 and bound nothing.
pub(super) fn check(plan: &Plan, traffic: Traffic, stats: &Stats) -> Result<(), Fault> {
    let allowed = TRANSFER_FACTOR * stats.bytes_missing
        + TRANSFER_PER_CONNECTION * traffic.connections * plan.spaces.len().max(1) as u64
        + traffic.wasted;
    if traffic.transferred > allowed {
        let detail = format!(
            "{} bytes were transferred; {} were missing, {} wasted, over {} connections: {allowed} at most",
            traffic.transferred, stats.bytes_missing, traffic.wasted, traffic.connections
        );
        return Err(Fault::new(Oracle::Traffic, "more was sent than was missing", detail));
    }
    if stats.queue_peak > QUEUE_BYTES_MAX {
        let detail = format!("{} bytes waited on one connection", stats.queue_peak);
        return Err(Fault::new(Oracle::Bounds, "a queue without bound", detail));
    }
    Ok(())
}

/// Control frames of the whole run: in proportion to connections and to frames.
pub(super) fn chatter(traffic: Traffic, frames: u64, spaces: usize, feeds: usize) -> Result<(), Fault> {
    let control = traffic.bytes.saturating_sub(traffic.transferred);
    let each = CONTROL_PER_CONNECTION + CONTROL_PER_FEED * feeds as u64 * spaces.max(1) as u64;
    let allowed = each * traffic.connections + CONTROL_PER_FRAME * frames;
    if control > allowed {
        let detail = format!("{control} bytes of control over {} connections: {allowed} at most", traffic.connections);
        return Err(Fault::new(Oracle::Silence, "talk about nothing", detail));
    }
    Ok(())
}

/// Peers that were equal have connected anew, and nothing more is on its way.
pub(super) fn reconnected(spaces: usize, traffic: Traffic) -> Result<(), Fault> {
    if traffic.transferred > 0 {
        let detail = format!("{} bytes were transferred between equals", traffic.transferred);
        return Err(Fault::new(Oracle::Silence, "equals exchange entries", detail));
    }
    let allowed = RECONNECT_BYTES * traffic.connections * spaces.max(1) as u64;
    if traffic.bytes > allowed {
        let detail = format!("{} bytes over {} connections", traffic.bytes, traffic.connections);
        return Err(Fault::new(Oracle::Silence, "a reconnect with nothing new is dear", detail));
    }
    Ok(())
}
