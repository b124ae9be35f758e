//! The audit: which entities differ, where a peer has the same frontier and another state.
//!
//! Both add up their rows in buckets and tell each other; both then tell the rows of the buckets that differ. All of it
//! holds for one frontier and is forgotten when that moves, so an audit needs a quiet moment: a second for 200,000
//! rows. What is lost on the way is not sent again; the next audit does it all over.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use tombolo_crdt::digest::{BUCKETS, Sum, bucket};
use tombolo_crdt::entity::EntityState;
use tombolo_crdt::names::{check_collection, check_id};
use tombolo_crdt::{Digest, NodeId};
use tombolo_transport::frame::{self, Frame, RowSum, Sums};

use crate::engine::Work;
use crate::engine::space::Space;
use crate::engine::space::care::Name;
use crate::store::StoreError;

/// Rows read per slice: some three milliseconds.
const SLICE_ROWS: usize = 1_024;
/// Bytes of rows after which a slice ends before that: as many as so many small ones have.
pub(super) const SLICE_BYTES: usize = 1 << 20;
/// Buckets compared row by row in one audit; more are left to the next.
const BUCKETS_AT_ONCE: usize = 64;
/// Bytes of rows told in one frame; its limit is 128 KiB.
const ROWS_BYTES_MAX: usize = 96 * 1_024;
/// Peers told in one audit, and frames of peers taken in.
const PEERS_MAX: usize = 16;
const HEARD_MAX: usize = 2 * PEERS_MAX;
/// From one audit to the next; doubles up to [`REST_MAX`] as long as they change nothing.
const REST_MIN: Duration = Duration::from_secs(60);
/// Longest such time.
const REST_MAX: Duration = Duration::from_secs(3_600);

/// Who is to be told what, and what has been found out so far.
#[derive(Debug, Default)]
pub(in crate::engine) struct Audit {
    /// The frontier that everything here is about.
    about: Option<Digest>,
    /// Peers that are known to differ and have not been told our buckets.
    asked: BTreeSet<NodeId>,
    /// Peers that were told our buckets, and which of them differ from theirs; `None`: they have not told theirs. Rows
    /// of others were not asked for.
    told: BTreeMap<NodeId, Option<BTreeSet<u16>>>,
    /// What peers have told and has not been looked at, and how much it was in all.
    heard: BTreeMap<NodeId, Sums>,
    heard_in_all: usize,
    scan: Option<Scan>,
    /// It has been begun again because of damaged rows.
    again: bool,
    /// Our sums, once all rows are read.
    buckets: Vec<u128>,
    /// Frames that wait for the next visit to their session.
    outgoing: Vec<(NodeId, Frame)>,
    pace: Pace,
}

/// How often audits are made.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// The earliest moment of the next, and whether it is to be seen then if it is needed.
    next: Duration,
    look_again: bool,
    pause: Duration,
    /// The last one came to its end and changed nothing here.
    in_vain: bool,
}

/// What a slice has brought.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Entities that differ from a peer's.
    pub(super) differing: Option<(NodeId, Vec<Name>)>,
    /// The sums that are kept incrementally were wrong and have been corrected.
    pub(super) sums_corrected: bool,
}

/// Rows being read.
#[derive(Debug)]
struct Scan {
    after: Option<Name>,
    total: Sum,
    buckets: Vec<u128>,
    present: u64,
    /// Rows that cannot be read and that the pass has come to since it was asked.
    damaged: Vec<Name>,
    /// There was one that will not be built anew: the totals are not those of all rows.
    incomplete: bool,
    /// The table itself is damaged somewhere: what lies beyond was not reached, and no peer is told of it as if it were
    /// not there.
    cut: bool,
    /// Rows of these buckets are collected: for whom, and what the peer has told of them if it has.
    rows: Option<RowsOf>,
}

#[derive(Debug)]
struct RowsOf {
    peer: NodeId,
    wanted: BTreeSet<u16>,
    theirs: Option<Vec<RowSum>>,
    ours: BTreeMap<Name, [u8; 16]>,
    bytes: usize,
}

impl Audit {
    /// A peer differs at `frontier`.
    pub(in crate::engine) fn ask(&mut self, peer: NodeId, frontier: Digest, now: Duration) {
        if self.turn_to(frontier, now) && self.buckets.is_empty() && self.asked.len() < PEERS_MAX {
            self.asked.insert(peer);
        }
    }

    /// A peer has told what its rows add up to, with our `frontier` being what it is.
    pub(in crate::engine) fn hear(&mut self, peer: NodeId, told: frame::Audit, frontier: Digest, now: Duration) {
        let fits = match &told.sums {
            Sums::Buckets(sums) => sums.len() == BUCKETS,
            Sums::Rows(buckets, _) => buckets.len() <= BUCKETS_AT_ONCE && self.asked_for(peer, buckets),
        };
        if told.frontier != frontier || !fits || !self.turn_to(frontier, now) || self.heard_in_all >= HEARD_MAX {
            return;
        }
        self.heard_in_all += 1;
        if let Sums::Buckets(theirs) = &told.sums {
            self.compare(peer, theirs);
        }
        self.heard.insert(peer, told.sums);
        debug_assert!(self.heard.len() <= HEARD_MAX && self.asked.len() <= PEERS_MAX, "an audit is bounded");
    }

    /// Whether a peer has reason to tell rows of these buckets: it was told ours, and they are among those that differ
    /// from its own if it has told those.
    fn asked_for(&self, peer: NodeId, buckets: &[u16]) -> bool {
        self.told.get(&peer).is_some_and(|differ| {
            differ.as_ref().is_none_or(|differ| buckets.iter().all(|bucket| differ.contains(bucket)))
        })
    }

    /// Buckets in which a peer differs, as many as are compared at once; none before all our rows are read.
    fn compare(&mut self, peer: NodeId, theirs: &[[u8; 16]]) -> BTreeSet<u16> {
        let pairs = (0u16..).zip(self.buckets.iter().zip(theirs));
        let differ = pairs.filter(|(_, (ours, theirs))| ours.to_le_bytes() != **theirs);
        let differ: BTreeSet<u16> = differ.map(|(bucket, _)| bucket).take(BUCKETS_AT_ONCE).collect();
        if let Some(told) = self.told.get_mut(&peer) {
            *told = Some(differ.clone());
        }
        differ
    }

    /// As if a peer had been told our buckets.
    #[cfg(test)]
    pub(in crate::engine) fn tell(&mut self, peer: NodeId, frontier: Digest, now: Duration) {
        self.turn_to(frontier, now);
        self.told.insert(peer, None);
    }

    /// What is to be said to a peer.
    pub(in crate::engine) fn outgoing(&mut self, peer: NodeId) -> Vec<Frame> {
        let (to, rest): (Vec<_>, _) = std::mem::take(&mut self.outgoing).into_iter().partition(|(to, _)| *to == peer);
        self.outgoing = rest;
        to.into_iter().map(|(_, frame)| frame).collect()
    }

    /// Begins an audit at `frontier`, unless that is the one that is being made. Whether it may be made now.
    fn turn_to(&mut self, frontier: Digest, now: Duration) -> bool {
        if self.about == Some(frontier) {
            return true;
        }
        if self.pace.next > now {
            return false;
        }
        let before = self.pace;
        let pause = if before.in_vain { (before.pause * 2).clamp(REST_MIN, REST_MAX) } else { REST_MIN };
        let pace = Pace { next: now + pause, look_again: true, pause, in_vain: false };
        *self = Self { about: Some(frontier), pace, ..Self::default() };
        true
    }

    /// Whether frames wait for a visit.
    pub(super) fn speaks(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether there is something to do.
    pub(super) fn wants(&mut self, space: &Space) -> bool {
        if self.about.is_some_and(|about| about != space.frontier_digest()) {
            *self = Self { pace: self.pace, ..Self::default() };
        }
        self.scan.is_some() || !self.asked.is_empty() || !self.heard.is_empty()
    }

    /// When sessions have to be looked at once more; whether that is now.
    pub(super) fn look_again(&mut self, now: Duration) -> (Option<Duration>, bool) {
        let due = self.pace.look_again && self.pace.next <= now;
        if due {
            *self = Self { pace: Pace { look_again: false, ..self.pace }, ..Self::default() };
        }
        (self.pace.look_again.then_some(self.pace.next), due)
    }

    /// A row was built anew: the next audit need not wait longer than this one, and this one reads all of them again.
    pub(super) fn mended(&mut self) {
        self.pace.in_vain = false;
        self.scan = self.scan.take().map(Scan::anew);
    }

    /// Reads some rows, or deals with what was heard. `damaged` is told rows that cannot be read, and says whether they
    /// will be built anew.
    pub(super) fn slice(
        &mut self,
        work: &Work<'_>,
        space: &mut Space,
        damaged: &mut dyn FnMut(&Name) -> bool,
    ) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let Some(mut scan) = self.scan.take() else {
            self.begin();
            return Ok(found);
        };
        let done = scan.read(work, space)?;
        let unread = std::mem::take(&mut scan.damaged);
        scan.incomplete |= !unread.is_empty();
        if unread.iter().filter(|name| damaged(name)).count() > 0 && !self.again {
            // Once they are whole everything is read again.
            self.again = true;
            self.scan = Some(scan.anew());
            return Ok(found);
        }
        if !done {
            self.scan = Some(scan);
            return Ok(found);
        }
        let frontier = space.frontier_digest();
        let frame = |sums| Frame::Audit(frame::Audit { space: space.id, frontier, sums });
        match scan.rows {
            None => {
                let told: Vec<_> = scan.buckets.iter().map(|sum| sum.to_le_bytes()).collect();
                let asked = std::mem::take(&mut self.asked);
                for peer in asked.into_iter().filter(|_| !scan.cut) {
                    self.outgoing.push((peer, frame(Sums::Buckets(told.clone()))));
                    self.told.insert(peer, None);
                }
                self.buckets = scan.buckets;
                // What the sums say of a row that cannot be read is all that is known of it.
                found.sums_corrected = !scan.incomplete && correct(space, scan.total, scan.present);
            }
            Some(RowsOf { peer, theirs: Some(mut theirs), ours, .. }) => {
                self.pace.in_vain = true;
                theirs.retain(|RowSum { collection, id, .. }| {
                    !scan.cut || ours.contains_key(&(collection.clone(), id.clone()))
                });
                found.differing = Some((peer, differing(&ours, theirs)));
            }
            Some(RowsOf { theirs: None, .. }) if scan.cut => {}
            Some(RowsOf { peer, theirs: None, ours, wanted, .. }) => {
                let named = |((collection, id), sum)| RowSum { collection, id, sum };
                let told = Sums::Rows(wanted.into_iter().collect(), ours.into_iter().map(named).collect());
                self.outgoing.push((peer, frame(told)));
            }
        }
        Ok(found)
    }

    /// Begins with what is first to be done.
    fn begin(&mut self) {
        if self.buckets.is_empty() {
            self.scan = Some(Scan::new(None));
            return;
        }
        self.asked.clear();
        let Some((peer, sums)) = self.heard.pop_first() else { return };
        let (wanted, theirs): (BTreeSet<u16>, _) = match sums {
            Sums::Rows(buckets, mut rows) => {
                let wanted: BTreeSet<u16> = buckets.into_iter().collect();
                rows.retain(|row| wanted.contains(&bucket(&row.collection, &row.id)));
                (wanted, Some(rows))
            }
            Sums::Buckets(theirs) => (self.compare(peer, &theirs), None),
        };
        if !wanted.is_empty() {
            self.scan = Some(Scan::new(Some(RowsOf { peer, wanted, theirs, ours: BTreeMap::new(), bytes: 0 })));
        }
    }
}

/// Sets the sums of a space to those of its rows; whether they were others.
pub(super) fn correct(space: &mut Space, rows: Sum, present: u64) -> bool {
    if space.row.sums.rows == rows && space.row.entities == present {
        return false;
    }
    tracing::error!(space = %space.row.name, "the sums of a space were not those of its rows: a defect, please report it");
    space.row.sums.rows = rows;
    space.row.entities = present;
    space.dirty = true;
    true
}

impl Scan {
    fn new(rows: Option<RowsOf>) -> Self {
        Self {
            after: None,
            total: Sum::default(),
            buckets: vec![0; BUCKETS],
            present: 0,
            damaged: Vec::new(),
            incomplete: false,
            cut: false,
            rows,
        }
    }

    /// This audit again, from its beginning.
    fn anew(self) -> Self {
        Self::new(self.rows.map(|rows| RowsOf { ours: BTreeMap::new(), bytes: 0, ..rows }))
    }

    /// Reads the next rows; whether these were the last.
    fn read(&mut self, work: &Work<'_>, space: &Space) -> Result<bool, StoreError> {
        let from = self.after.take();
        let from = from.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
        let (mut read, mut bytes) = (0, 0);
        let visited = work.batch.visit_rows(space.row.space_no, None, "", from, |collection, id, row| {
            read += 1;
            bytes += row.len();
            // A frozen one counts as what it was.
            let row = EntityState::thaw(row).unwrap_or(row);
            match EntityState::decode(row) {
                Ok(state) => self.take(collection, id, &state),
                // Frozen, and nothing before.
                Err(_) if row.is_empty() => {}
                Err(_) => self.damaged.push((collection.to_owned(), id.to_owned())),
            }
            if read < SLICE_ROWS && bytes < SLICE_BYTES {
                return ControlFlow::Continue(());
            }
            self.after = Some((collection.to_owned(), id.to_owned()));
            ControlFlow::Break(())
        });
        match visited {
            // No step may fail for it.
            Err(StoreError::Corrupt { detail, .. }) => {
                tracing::error!(space = %space.row.name, %detail, "the rows cannot all be read");
                (self.after, self.incomplete, self.cut) = (None, true, true);
            }
            visited => visited?,
        }
        Ok(self.after.is_none())
    }

    fn take(&mut self, collection: &str, id: &str, state: &EntityState) {
        let at = bucket(collection, id);
        if self.rows.as_ref().is_some_and(|rows| !rows.wanted.contains(&at)) {
            return;
        }
        let contribution = state.contribution(collection, id);
        let mut half = [0; 16];
        half.copy_from_slice(contribution.split_at(16).0);
        let Some(rows) = &mut self.rows else {
            self.total.add(&contribution);
            self.present += u64::from(state.is_present());
            if let Some(sum) = self.buckets.get_mut(usize::from(at)) {
                *sum = sum.wrapping_add(u128::from_le_bytes(half));
            }
            return;
        };
        rows.ours.insert((collection.to_owned(), id.to_owned()), half);
        rows.bytes += collection.len() + id.len() + 24;
        // What does not fit is compared in a later audit; one bucket alone must.
        while rows.bytes > ROWS_BYTES_MAX
            && rows.theirs.is_none()
            && rows.wanted.len() > 1
            && let Some(last) = rows.wanted.pop_last()
        {
            rows.ours.retain(|(collection, id), _| bucket(collection, id) != last);
            rows.bytes = rows.ours.keys().map(|(collection, id)| collection.len() + id.len() + 24).sum();
        }
    }
}

/// Whether there can be an entity of that name: a peer may tell of any.
fn named((collection, id): &Name) -> bool {
    check_collection(collection).is_ok() && check_id(id).is_ok()
}

/// Entities that are not the same on both sides.
fn differing(ours: &BTreeMap<Name, [u8; 16]>, theirs: Vec<RowSum>) -> Vec<Name> {
    let theirs = theirs.into_iter().map(|RowSum { collection, id, sum }| ((collection, id), sum));
    let theirs: BTreeMap<Name, [u8; 16]> = theirs.filter(|(name, _)| named(name)).collect();
    let names: BTreeSet<&Name> = ours.keys().chain(theirs.keys()).collect();
    names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).cloned().collect()
}
