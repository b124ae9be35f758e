//! What a node remembers of its last meetings with a peer: digests of settled states, each with the journal position
//! at which it was true. It makes reconnecting cost what moved since, not what there is.

use std::collections::VecDeque;

use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::{Digest, FeedId};

use crate::engine::space::away::Lacked;
use crate::engine::space::known::Known;
use crate::store::PeerRow;

/// Digests remembered per peer and space (40 bytes each).
pub(in crate::engine) const REMEMBERED_MAX: usize = 64;

/// How far a peer was when its last connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parted {
    /// Relative to the frontier at the journal position `journal`.
    known: Known,
    journal: u64,
    /// What it lacked; `None`: it has been here since, and nothing was learnt of it.
    lacked: Option<Lacked>,
}

/// Remembered states of one space with one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Remembered {
    remembered: VecDeque<(Digest, u64)>,
    common: Option<(Digest, u64)>,
    dirty: bool,
    /// How far the peer was when its last connection ended. Not stored: after a restart only what both had in common is
    /// known.
    parted: Option<Parted>,
    /// Since when there has been something that the peer, while away, does not have; milliseconds since 1970.
    pub(in crate::engine) behind_since: Option<u64>,
}

impl Remembered {
    pub(in crate::engine) fn load(row: PeerRow) -> Self {
        Self { remembered: row.remembered.into(), common: row.common, ..Self::default() }
    }

    pub(in crate::engine) fn to_row(&self) -> PeerRow {
        PeerRow { remembered: self.remembered.iter().copied().collect(), common: self.common }
    }

    /// Notes a state that this node has told the peer of.
    pub(in crate::engine) fn told(&mut self, digest: Digest, journal: u64) {
        if self.remembered.back().is_some_and(|(last, _)| *last == digest) {
            return;
        }
        self.remembered.push_back((digest, journal));
        if self.remembered.len() > REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.dirty = true;
    }

    /// Notes a state that both have.
    pub(in crate::engine) fn shared(&mut self, digest: Digest, journal: u64) {
        self.told(digest, journal);
        self.behind_since = None;
        if self.common != Some((digest, journal)) {
            self.common = Some((digest, journal));
            self.dirty = true;
        }
        assert_eq!(self.common.map(|(common, _)| common), Some(digest), "what both have is remembered");
    }

    /// The last state both had.
    pub(in crate::engine) fn common(&self) -> Option<(Digest, u64)> {
        self.common
    }

    /// Keeps what was known of the peer when its connection ended, relative to the frontier at the journal position
    /// `journal`, and what it lacked; `None`: nothing was. Copies nothing.
    pub(in crate::engine) fn parted(
        &mut self,
        known: Option<(Known, Lacked)>,
        journal: u64,
        behind_since: Option<u64>,
    ) {
        match known {
            Some((known, lacked)) => {
                self.parted = Some(Parted { known, journal, lacked: Some(lacked) });
                self.behind_since = behind_since;
            }
            None => self.parted.iter_mut().for_each(|parted| parted.lacked = None),
        }
    }

    /// Whether the peer had the entry `seq` of `feed`, settled here at the journal position `journal`, when its
    /// connection ended.
    pub(in crate::engine) fn had(&self, feed: FeedId, seq: u64, journal: u64) -> bool {
        self.parted.as_ref().is_some_and(|parted| match parted.known.of(feed) {
            Some(known) => known >= seq,
            None => journal <= parted.journal,
        })
    }

    /// How many entries the peer lacks that it did not write, as far as its last connection told. `settled`: entries
    /// settled here that it did not write.
    pub(in crate::engine) fn lacks(&self, settled: u64, frontier: &Frontier) -> Option<u64> {
        let Parted { known, lacked, .. } = self.parted.as_ref()?;
        Some(lacked.as_ref()?.by_now(known, settled, frontier))
    }

    /// Journal position at which this node had the state `digest`.
    pub(in crate::engine) fn journal_of(&self, digest: Digest) -> Option<u64> {
        let found = self.remembered.iter().rev().chain(self.common.iter()).find(|(known, _)| *known == digest);
        found.map(|(_, journal)| *journal)
    }

    /// Whether the store has an older version, which it then no longer has.
    pub(in crate::engine) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_state_is_forgotten_but_not_the_common_one() {
        let digest = |n: u8| Digest::from_bytes([n; 32]);
        let mut memory = Remembered::default();
        memory.shared(digest(0), 1);
        for n in 1..=64 {
            memory.told(digest(n), u64::from(n) + 1);
        }
        assert_eq!(memory.journal_of(digest(0)), Some(1), "the common state stays");
        assert_eq!(memory.journal_of(digest(1)), Some(2));
        memory.told(digest(65), 66);
        assert_eq!(memory.journal_of(digest(1)), None);
        assert_eq!(Remembered::load(memory.to_row()).journal_of(digest(65)), Some(66));
    }
}
