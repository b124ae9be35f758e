//! When to dial whom: pure state, driven by the node's runtime. Reads no clock, draws no randomness.

mod address;
mod backoff;

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_crdt::NodeId;

pub use address::{Address, ParseAddressError};
pub use backoff::{BACKOFF_BASE, BACKOFF_CAP, Backoff, LASTING};

/// Dials under way at once.
pub const DIALS_MAX: usize = 16;

/// Names a target within one [`Dialler`]; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(u64);

/// Whom to reach, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who it must be; `None` accepts whoever answers.
    pub node: Option<NodeId>,
    /// Where it may be, best first.
    pub addresses: Vec<Address>,
}

/// A dial that is due: give it to [`crate::Endpoint::dial`] and report what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialNow {
    /// For the report.
    pub id: TargetId,
    /// Whom and where.
    pub target: Target,
}

/// Keeps connections to a set of targets: at most one dial per target and [`DIALS_MAX`] in all.
///
/// Times are durations since any fixed moment of a clock that does not run backwards.
#[derive(Debug, Default)]
pub struct Dialler {
    targets: BTreeMap<TargetId, Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    target: Target,
    backoff: Backoff,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Duration },
    Dialling,
    Connected { since: Duration },
}

impl Dialler {
    /// A dialler without targets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a target; it is due at once.
    pub fn add(&mut self, target: Target, now: Duration) -> TargetId {
        let id = TargetId(self.next);
        self.next += 1;
        let state = State::Waiting { until: now };
        self.targets.insert(id, Entry { target, backoff: Backoff::new(), state });
        id
    }

    /// Forgets a target; what is reported of it later is ignored.
    pub fn remove(&mut self, id: TargetId) -> Option<Target> {
        self.targets.remove(&id).map(|entry| entry.target)
    }

    /// Other addresses for a target. New ones make it due at once: whoever announces itself is probably there.
    pub fn set_addresses(&mut self, id: TargetId, addresses: Vec<Address>, now: Duration) {
        let Some(entry) = self.targets.get_mut(&id) else { return };
        let is_news = addresses.iter().any(|address| !entry.target.addresses.contains(address));
        entry.target.addresses = addresses;
        if let State::Waiting { until } = &mut entry.state
            && is_news
        {
            *until = now.min(*until);
        }
    }

    /// The target that must be this node.
    #[must_use]
    pub fn find(&self, node: NodeId) -> Option<TargetId> {
        self.targets.iter().find(|(_, entry)| entry.target.node == Some(node)).map(|(id, _)| *id)
    }

    /// The dials that are due, longest due first; each counts as under way from here on.
    #[must_use = "the dials count as under way"]
    pub fn poll(&mut self, now: Duration) -> Vec<DialNow> {
        let room = DIALS_MAX.saturating_sub(self.under_way());
        let mut due: Vec<(Duration, TargetId)> = self.waiting().filter(|(until, _)| *until <= now).collect();
        due.sort_unstable();
        due.truncate(room);
        let mut dials = Vec::with_capacity(due.len());
        for (_, id) in due {
            if let Some(entry) = self.targets.get_mut(&id) {
                entry.state = State::Dialling;
                dials.push(DialNow { id, target: entry.target.clone() });
            }
        }
        assert!(dials.len() <= room, "dials under way are bounded");
        dials
    }

    /// When [`Dialler::poll`] has something to do next; `None`: not before a report.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        if self.under_way() >= DIALS_MAX {
            return None;
        }
        self.waiting().map(|(until, _)| until).min()
    }

    /// A connection to the target stands: dialled by us, or by the target itself.
    pub fn connected(&mut self, id: TargetId, now: Duration) {
        if let Some(entry) = self.targets.get_mut(&id)
            && !matches!(entry.state, State::Connected { .. })
        {
            entry.state = State::Connected { since: now };
        }
    }

    /// A dial failed. `random`: 64 fresh random bits.
    pub fn failed(&mut self, id: TargetId, now: Duration, random: u64) {
        if let Some(entry) = self.targets.get_mut(&id)
            && entry.state == State::Dialling
        {
            entry.state = State::Waiting { until: now + entry.backoff.failed(random) };
        }
    }

    /// Whoever was given by address alone is due at once: somebody new is looked for.
    pub fn hurry(&mut self, now: Duration) {
        for entry in self.targets.values_mut().filter(|entry| entry.target.node.is_none()) {
            if let State::Waiting { until } = &mut entry.state {
                *until = now.min(*until);
            }
        }
    }

    /// The connection is gone. `good`: the two had something to say to each other; if not it counts as a failure
    /// however long it stood. `random`: 64 fresh random bits.
    pub fn closed(&mut self, id: TargetId, now: Duration, good: bool, random: u64) {
        if let Some(entry) = self.targets.get_mut(&id)
            && let State::Connected { since } = entry.state
        {
            let lasted = if good { now.saturating_sub(since) } else { Duration::ZERO };
            entry.state = State::Waiting { until: now + entry.backoff.ended(lasted, random) };
        }
    }

    fn under_way(&self) -> usize {
        self.targets.values().filter(|entry| entry.state == State::Dialling).count()
    }

    fn waiting(&self) -> impl Iterator<Item = (Duration, TargetId)> + '_ {
        self.targets.iter().filter_map(|(id, entry)| match entry.state {
            State::Waiting { until } if !entry.target.addresses.is_empty() => Some((until, *id)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
