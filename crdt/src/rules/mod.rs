//! Rules: the DAG of rules entries, `state(R)` and the verdict of an entry under it.
//!
//! Every node keeps all rules entries of its spaces in memory and for ever; they are few. A verdict reads nothing of
//! the past of a space but them.

mod record;
mod roster;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use record::{
    ADDR_BYTES_MAX, ADDRS_MAX, Admit, Contact, Found, Grant, Invite, NAME_BYTES_MAX, Record, RecordError, Role,
    UnknownRole, admit_message,
};
pub use roster::{Member, Roster};

use crate::defect::{self, Defect};
use crate::entry::{Body, Entry};
use crate::verdict::Verdict;
use crate::{ChainHash, Hlc, NodeId, SpaceId};

/// Rosters kept between calls; the oldest heads are the first to be folded again.
const ROSTERS_MAX: usize = 256;

/// A settled rules entry in the DAG.
#[derive(Clone, Debug)]
struct Node {
    parents: Vec<ChainHash>,
    depth: u64,
    records: Vec<Record>,
    verdict: Verdict,
}

/// Why a rules entry cannot be judged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A parent is not known.
    Parent(ChainHash),
    /// A record needs a later version.
    Later(u16),
}

/// The rules entries that a node holds of one space.
#[derive(Clone, Debug)]
pub struct RulesDag {
    space: SpaceId,
    nodes: BTreeMap<ChainHash, Node>,
    heads: BTreeSet<ChainHash>,
    rosters: RefCell<BTreeMap<Vec<ChainHash>, Arc<Roster>>>,
}

impl RulesDag {
    /// The empty DAG of a space.
    #[must_use]
    pub fn new(space: SpaceId) -> Self {
        Self { space, nodes: BTreeMap::new(), heads: BTreeSet::new(), rosters: RefCell::default() }
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> SpaceId {
        self.space
    }

    /// The newest rules entries, ascending: what an author names as its rules heads.
    #[must_use]
    pub fn heads(&self) -> Vec<ChainHash> {
        self.heads.iter().copied().collect()
    }

    /// Whether a rules entry is settled here.
    #[must_use]
    pub fn knows(&self, entry: ChainHash) -> bool {
        self.nodes.contains_key(&entry)
    }

    /// The first of `heads` that is not known.
    #[must_use]
    pub fn missing(&self, heads: &[ChainHash]) -> Option<ChainHash> {
        heads.iter().copied().find(|head| !self.knows(*head))
    }

    /// Number of settled rules entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is settled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The roster under everything known.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.state(&self.heads())
    }

    /// state(R): folds the ancestors of `heads` that are not refused, in the order (depth, entry hash). Remembered for
    /// the last few heads; O(rules entries) otherwise.
    #[must_use]
    pub fn state(&self, heads: &[ChainHash]) -> Arc<Roster> {
        if let Some(roster) = self.rosters.borrow().get(heads) {
            return Arc::clone(roster);
        }
        let mut ordered: Vec<(u64, ChainHash)> =
            self.ancestors(heads).into_iter().filter_map(|hash| Some((self.nodes.get(&hash)?.depth, hash))).collect();
        ordered.sort_unstable();
        let mut roster = Roster::default();
        for node in ordered.iter().filter_map(|(_, hash)| self.nodes.get(hash)) {
            if node.verdict == Verdict::Applied {
                node.records.iter().for_each(|record| roster.fold(record));
            }
        }
        let roster = Arc::new(roster);
        let mut rosters = self.rosters.borrow_mut();
        if rosters.len() >= ROSTERS_MAX {
            rosters.clear();
        }
        rosters.insert(heads.to_vec(), Arc::clone(&roster));
        roster
    }

    /// Whether the ancestors of `heads` (themselves included) contain all of `others`.
    #[must_use]
    pub fn contains(&self, heads: &[ChainHash], others: &[ChainHash]) -> bool {
        if others.iter().all(|other| heads.contains(other)) {
            return true;
        }
        let ancestors = self.ancestors(heads);
        others.iter().all(|other| ancestors.contains(other))
    }

    /// Judges a rules entry of `author`, whose predecessor stated `before`, under its own rules heads `parents`.
    ///
    /// # Errors
    /// [`Hold`]: it cannot be judged yet.
    pub fn judge_rules(
        &self,
        entry: &Entry,
        author: NodeId,
        parents: &[ChainHash],
        before: &[ChainHash],
    ) -> Result<Verdict, Hold> {
        if let Some(parent) = self.missing(parents) {
            return Err(Hold::Parent(parent));
        }
        let records = match records(entry) {
            Ok(records) => records,
            Err(RecordError::Unknown(kind)) => return Err(Hold::Later(kind)),
            Err(RecordError::Malformed(_)) => return Ok(Verdict::Structure),
        };
        if !entry.hlc.is_valid() || records.is_empty() {
            return Ok(Verdict::Structure);
        }
        if !self.contains(parents, before) {
            return Ok(Verdict::Rules);
        }
        let roster = self.state(parents);
        let mut within = (*roster).clone();
        for record in &records {
            if !self.allows(&within, author, parents, record) {
                return Ok(Verdict::Role);
            }
            within.fold(record);
        }
        Ok(Verdict::Applied)
    }

    fn allows(&self, roster: &Roster, author: NodeId, parents: &[ChainHash], record: &Record) -> bool {
        let role = roster.role(author);
        match record {
            Record::Found(found) => {
                parents.is_empty() && roster.founder.is_none() && found.founder == author && found.space() == self.space
            }
            Record::Invite(_) | Record::Grant(_) => role == Some(Role::Admin),
            Record::Admit(admit) => {
                role.is_some()
                    && roster.invite(&admit.invite).is_some()
                    && !roster.is_used(&admit.invite)
                    && admit.signature.verify(&admit.invite, &admit_message(self.space, admit.node))
            }
        }
    }

    /// Judges the author of a data entry: its rules heads must contain those of its predecessor and dependencies, and
    /// its role under them must allow writing. `None`: both hold.
    #[must_use]
    pub fn judge_author(&self, author: NodeId, heads: &[ChainHash], before: &[Vec<ChainHash>]) -> Option<Verdict> {
        if !before.iter().all(|others| self.contains(heads, others)) {
            return Some(Verdict::Rules);
        }
        let may_write = self.state(heads).role(author).is_some_and(Role::may_write);
        (!may_write && !defect::is(Defect::RolesIgnored)).then_some(Verdict::Role)
    }

    /// Takes a settled rules entry in.
    pub fn insert(&mut self, hash: ChainHash, parents: Vec<ChainHash>, entry: &Entry, verdict: Verdict) {
        let depth = parents.iter().filter_map(|parent| self.nodes.get(parent)).map(|node| node.depth + 1).max();
        for parent in &parents {
            self.heads.remove(parent);
        }
        let records = records(entry).unwrap_or_default();
        self.nodes.insert(hash, Node { parents, depth: depth.unwrap_or(0), records, verdict });
        self.heads.insert(hash);
    }

    fn ancestors(&self, heads: &[ChainHash]) -> BTreeSet<ChainHash> {
        let mut seen = BTreeSet::new();
        let mut open = heads.to_vec();
        while let Some(hash) = open.pop() {
            if seen.insert(hash)
                && let Some(node) = self.nodes.get(&hash)
            {
                open.extend(&node.parents);
            }
        }
        seen
    }
}

fn records(entry: &Entry) -> Result<Vec<Record>, RecordError> {
    match &entry.body {
        Body::Rules(raw) if raw.len() <= record::RECORDS_MAX => raw.iter().map(Record::from_raw).collect(),
        Body::Rules(_) | Body::Data(_) => Err(RecordError::Malformed(0)),
    }
}

/// A rules entry ready to be encoded. Rules heads are always stated in it.
#[must_use]
pub fn rules_entry(seq: u64, hlc: Hlc, parents: Vec<ChainHash>, records: &[Record]) -> Entry {
    Entry {
        version: crate::entry::ENTRY_VERSION,
        seq,
        hlc,
        rules: Some(parents),
        deps: Vec::new(),
        trace: None,
        idempotency: None,
        body: Body::Rules(records.iter().map(Record::to_raw).collect()),
        ext: Vec::new(),
    }
}
