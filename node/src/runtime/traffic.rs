//! Bytes per peer and kind of frame, for the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tombolo_crdt::NodeId;
use tombolo_transport::frame::kind_name;

/// Peers that are counted apart. Everybody with a key can connect, so the map must be bounded; the rest is counted
/// under one id of zeros.
const PEERS_MAX: usize = 1_024;
/// Kinds that are counted apart: the bytes 0 to 31. Version 1 has 15 kinds; the last slot takes all others.
const KINDS: usize = 32;

/// Bytes exchanged with one peer, by kind byte, without the length prefixes.
#[derive(Debug, Default)]
pub struct PeerTraffic {
    sent: [AtomicU64; KINDS],
    received: [AtomicU64; KINDS],
    /// When its last connection ended, milliseconds since 1970; 0: none has.
    parted: AtomicU64,
}

impl PeerTraffic {
    pub(super) fn sent(&self, frame: &[u8]) {
        count(&self.sent, frame);
    }

    pub(super) fn received(&self, frame: &[u8]) {
        count(&self.received, frame);
    }

    /// A connection with it has ended.
    pub(super) fn parted(&self, wall_millis: u64) {
        self.parted.store(wall_millis, Ordering::Relaxed);
    }
}

fn count(counters: &[AtomicU64; KINDS], frame: &[u8]) {
    let kind = usize::from(frame.first().copied().unwrap_or_default()).min(KINDS - 1);
    if let Some(counter) = counters.get(kind) {
        counter.fetch_add(frame.len() as u64, Ordering::Relaxed);
    }
}

/// Bytes by peer and kind.
#[derive(Debug, Default)]
pub struct Traffic {
    peers: Mutex<BTreeMap<NodeId, Arc<PeerTraffic>>>,
}

/// One figure of [`Traffic::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficFigure {
    /// The peer; zeros stand for all beyond the first thousand.
    pub peer: NodeId,
    /// Kind of the frames.
    pub kind: &'static str,
    /// Bytes sent to it.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
}

impl Traffic {
    pub(super) fn of(&self, peer: NodeId) -> Arc<PeerTraffic> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let full = peers.len() >= PEERS_MAX && !peers.contains_key(&peer);
        let key = if full { NodeId::from_bytes([0; 32]) } else { peer };
        let counted = Arc::clone(peers.entry(key).or_default());
        assert!(peers.len() <= PEERS_MAX + 1, "peers that are counted apart are bounded");
        counted
    }

    /// When the last connection with a peer ended, milliseconds since 1970; `None`: none has since the start, or the
    /// peer is counted with others.
    #[must_use]
    pub fn parted(&self, peer: NodeId) -> Option<u64> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let parted = peers.get(&peer)?.parted.load(Ordering::Relaxed);
        (parted > 0).then_some(parted)
    }

    /// All figures that are not zero, by peer and kind.
    #[must_use]
    pub fn read(&self) -> Vec<TrafficFigure> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::new();
        for (peer, traffic) in peers.iter() {
            let both = traffic.sent.iter().zip(&traffic.received);
            for (kind, (sent, received)) in (0u8..).zip(both) {
                let (sent, received) = (sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
                if sent + received > 0 {
                    out.push(TrafficFigure { peer: *peer, kind: kind_name(kind), sent, received });
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_kind_and_strange_kinds_together() {
        let traffic = Traffic::default();
        let peer = NodeId::from_bytes([7; 32]);
        traffic.of(peer).sent(&[11, 0, 0]);
        traffic.of(peer).sent(&[11, 0]);
        traffic.of(peer).received(&[200, 0]);
        let read = traffic.read();
        assert_eq!(read.first(), Some(&TrafficFigure { peer, kind: "have", sent: 5, received: 0 }));
        assert_eq!(traffic.parted(peer), None);
        traffic.of(peer).parted(7);
        assert_eq!((traffic.parted(peer), traffic.parted(NodeId::from_bytes([8; 32]))), (Some(7), None));
        assert_eq!(read.get(1), Some(&TrafficFigure { peer, kind: "unknown", sent: 0, received: 2 }));
    }
}
