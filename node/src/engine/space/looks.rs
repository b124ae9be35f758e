//! Looks at entities' pasts: what would take a step too long is asked as a job, one at a time, and the entry that needs
//! it is held meanwhile.
//!
//! Whoever names old or unknown changes of entities with a long history has the first answer late; from then on an
//! index of the entity's changes answers in microseconds. Authors take turns, so that nobody waits for what another
//! asks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tombolo_crdt::entity::{EntityState, heads_hash};
use tombolo_crdt::{ChangeHash, FeedId, NodeId};

use crate::chain::{Clocks, Found, Index, Look, Looked, What};
use crate::engine::space::past::{ClockAt, one_hash};
use crate::engine::space::rows::{EntityOf, Pasts};
use crate::store::{Reader, StoreError};

/// Entities that one author's entries may have asked for at a time: as many as an entry has changes.
const ASKED_BY_AUTHOR_MAX: usize = 4_096;
/// Entities asked for at a time, some 400 bytes each.
const ASKED_MAX: usize = 4 * ASKED_BY_AUTHOR_MAX;
/// Clocks asked for in one look; a look for others follows.
const CLOCKS_MAX: usize = 64;
/// Memory of all indexes that are kept: those of some ten entities with 100,000 changes.
const INDEX_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// How long after a look that failed, because the store could not be read, the next is made.
const RETRY: Duration = Duration::from_secs(1);
/// Changes read in one step for all entries together: some 20 ms.
const STEP_READS_MAX: u64 = 4_096;

/// Local number of the space, collection, id.
pub(in crate::engine) type Name = (u32, String, String);

/// Whose entry needs to know.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Asker {
    pub(in crate::engine) author: NodeId,
    pub(in crate::engine) feed: FeedId,
}

/// What a look under way is for.
#[derive(Debug)]
enum Of {
    Entries(NodeId, Name),
    Care(u32),
}

/// What an answer was for.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one answer at a time")]
pub(in crate::engine) enum Answered {
    /// An entity of this space, for entries of these feeds.
    Entries(u32, BTreeSet<FeedId>),
    /// The care of this space.
    Care(u32, Result<Found, StoreError>),
}

/// What is asked of an entity, and who waits for it.
#[derive(Debug, Default)]
struct Asked {
    heads: BTreeSet<Vec<ChangeHash>>,
    feeds: BTreeSet<FeedId>,
}

/// Questions about entities' pasts, and what is known of these.
#[derive(Debug, Default)]
pub(in crate::engine) struct Looks {
    /// Names that wait for their turn, by author.
    queued: BTreeMap<NodeId, VecDeque<Name>>,
    /// Everything asked for, the one that is being looked at included.
    asked: BTreeMap<Name, Asked>,
    /// What care asks for, by space: one question each.
    care: BTreeMap<u32, What>,
    /// Care's turn is next: it takes turns with all entries together.
    care_next: bool,
    running: Option<(u64, Of)>,
    /// Whose turn was last.
    last: Option<NodeId>,
    /// Looks made so far.
    number: u64,
    /// No look is made before.
    pause: Duration,
    indexes: Indexes,
    /// The answer that this step has got.
    fresh: Option<Fresh>,
    /// Changes that this step has read.
    reads: u64,
}

/// An answer while the step lasts that has got it.
#[derive(Debug)]
struct Fresh {
    name: Name,
    newest: u64,
    /// By the hash of the heads asked for.
    clocks: BTreeMap<[u8; 16], ClockAt>,
    damaged: Option<String>,
}

impl Looks {
    /// Forgets everything that follows from a memory that is not the disk's any more. Looks under way are in vain.
    pub(in crate::engine) fn forget(&mut self) {
        *self = Self { number: self.number, pause: self.pause, ..Self::default() };
    }

    /// A step begins.
    pub(in crate::engine) fn begin_step(&mut self) {
        (self.fresh, self.reads) = (None, 0);
    }

    /// Counts changes that a step has read.
    pub(in crate::engine) fn count(&mut self, reads: u64) {
        self.reads += reads;
    }

    /// Whether this step may read more.
    pub(in crate::engine) const fn may_read(&self) -> bool {
        self.reads < STEP_READS_MAX
    }

    /// Whether somebody waits for an answer about an entity already.
    pub(in crate::engine) fn expects(&self, name: &Name) -> bool {
        self.asked.contains_key(name)
    }

    /// Asks for the clock at `heads` of an entity. The asker's feed waits for it, or, where it has asked for too much,
    /// for what was asked last.
    pub(in crate::engine) fn ask(&mut self, asker: Asker, name: &Name, heads: &[ChangeHash]) {
        if !self.asked.contains_key(name) {
            let by_author = self.queued.get(&asker.author);
            let full =
                by_author.is_some_and(|queue| queue.len() >= ASKED_BY_AUTHOR_MAX) || self.asked.len() >= ASKED_MAX;
            if full {
                let last = by_author.and_then(|queue| queue.back()).or_else(|| self.asked.keys().next_back());
                let last = last.cloned().and_then(|last| self.asked.get_mut(&last));
                if let Some(asked) = last {
                    asked.feeds.insert(asker.feed);
                }
                return;
            }
            self.queued.entry(asker.author).or_default().push_back(name.clone());
        }
        let asked = self.asked.entry(name.clone()).or_default();
        asked.feeds.insert(asker.feed);
        if asked.heads.len() < CLOCKS_MAX {
            asked.heads.insert(heads.to_vec());
        }
        debug_assert!(self.asked.len() <= ASKED_MAX, "questions are bounded");
    }

    /// Asks for what the care of a space needs, in place of what it asked for before.
    pub(in crate::engine) fn ask_for_care(&mut self, space_no: u32, what: What) {
        self.care.insert(space_no, what);
    }

    /// When the next look may be made; none: nothing is asked, or one is under way.
    pub(in crate::engine) fn due(&self) -> Option<Duration> {
        let asks = !self.queued.is_empty() || !self.care.is_empty();
        (self.running.is_none() && asks && self.pause > Duration::ZERO).then_some(self.pause)
    }

    /// The next look, if none is under way: care's and the entries' in turn, and of the entries the author's whose turn
    /// it is.
    pub(in crate::engine) fn next(&mut self, now: Duration, reader: impl FnOnce() -> Reader) -> Option<Look> {
        if self.running.is_some() || self.pause > now || (self.queued.is_empty() && self.care.is_empty()) {
            return None;
        }
        let care = (self.care_next || self.queued.is_empty()).then(|| self.care.pop_first()).flatten();
        self.care_next = care.is_none();
        let (of, space_no, what) = match care {
            Some((space_no, what)) => (Of::Care(space_no), space_no, what),
            None => {
                let (author, name) = self.next_name()?;
                let index = self.indexes.take(&name).unwrap_or_default();
                let asked = self.asked.get(&name).map(|asked| asked.heads.clone()).unwrap_or_default();
                debug_assert!(!asked.is_empty(), "whoever asks wants to know something");
                let what = What::Clocks { name: (name.1.clone(), name.2.clone()), asked, index };
                (Of::Entries(author, name.clone()), name.0, what)
            }
        };
        self.number += 1;
        self.running = Some((self.number, of));
        Some(Look { number: self.number, reader: reader(), space_no, what })
    }

    fn next_name(&mut self) -> Option<(NodeId, Name)> {
        let after = |author: &NodeId| self.last.is_none_or(|last| *author > last);
        let author = *self.queued.keys().find(|author| after(author)).or_else(|| self.queued.keys().next())?;
        let queue = self.queued.get_mut(&author)?;
        let name = queue.pop_front()?;
        if queue.is_empty() {
            self.queued.remove(&author);
        }
        self.last = Some(author);
        Some((author, name))
    }

    /// Takes an answer; clocks that it tells are remembered. None: nobody asked, or it is to be asked again later.
    pub(in crate::engine) fn answered(&mut self, looked: Looked, now: Duration, pasts: &mut Pasts) -> Option<Answered> {
        let (_, of) = self.running.take_if(|(number, _)| *number == looked.number)?;
        self.pause = Duration::ZERO;
        if let Err(error) = &looked.found
            && !matches!(error, StoreError::Corrupt { .. })
        {
            tracing::warn!(%error, "the past cannot be read now");
            self.pause = now + RETRY;
        }
        let (author, name) = match of {
            Of::Care(space_no) => return Some(Answered::Care(space_no, looked.found)),
            Of::Entries(author, name) => (author, name),
        };
        let mut fresh = Fresh { name: name.clone(), newest: 0, clocks: BTreeMap::new(), damaged: None };
        match looked.found {
            Ok(Found::Clocks(Clocks { newest, clocks, index })) => {
                fresh.newest = newest;
                for (heads, clock) in &clocks {
                    if let ClockAt::Known(clock) = clock {
                        pasts.insert((name.0, &name.1, &name.2), one_hash(heads), clock.clone());
                    }
                }
                fresh.clocks = clocks.into_iter().map(|(heads, clock)| (heads_hash(&heads), clock)).collect();
                if let Some(index) = index {
                    self.indexes.insert(name.clone(), index);
                }
            }
            Ok(Found::Search(_) | Found::Fold(_)) => debug_assert!(false, "an answer to another question"),
            Err(StoreError::Corrupt { detail, .. }) => fresh.damaged = Some(detail),
            Err(_) => {
                self.queued.entry(author).or_default().push_front(name);
                return None;
            }
        }
        self.fresh = Some(fresh);
        let feeds = self.asked.remove(&name).map(|asked| asked.feeds).unwrap_or_default();
        Some(Answered::Entries(name.0, feeds))
    }

    /// What this step was told of the clock at `heads`, and the journal position up to which that was looked at.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: it was told that the entity's history is damaged.
    pub(in crate::engine) fn told(
        &self,
        name: &Name,
        heads: &[ChangeHash],
    ) -> Result<Option<(ClockAt, u64)>, StoreError> {
        let Some(fresh) = self.fresh.as_ref().filter(|fresh| fresh.name == *name) else { return Ok(None) };
        if let Some(detail) = &fresh.damaged {
            return Err(StoreError::corrupt("entries", detail.clone()));
        }
        Ok(fresh.clocks.get(&heads_hash(heads)).map(|clock| (clock.clone(), fresh.newest)))
    }

    /// The index of an entity, if it is at hand and not that of a history which was taken back.
    pub(in crate::engine) fn index(&mut self, name: &Name, state: &EntityState) -> Option<&mut Index> {
        self.indexes.get(name, state.journal())
    }
}

/// Indexes by entity. The one that was used longest ago goes when they take too much memory.
#[derive(Debug, Default)]
struct Indexes {
    all: BTreeMap<Name, (u64, Index)>,
    by_use: BTreeMap<u64, Name>,
    uses: u64,
}

impl Indexes {
    fn insert(&mut self, name: Name, index: Index) {
        self.take(&name);
        self.uses += 1;
        self.by_use.insert(self.uses, name.clone());
        self.all.insert(name, (self.uses, index));
        // The newest stays, however large: its entity's entries are judged now.
        while self.all.len() > 1 && self.memory() > INDEX_BYTES_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.all.remove(&oldest);
        }
        debug_assert_eq!(self.all.len(), self.by_use.len(), "each has its place in the order");
    }

    fn memory(&self) -> usize {
        self.all.values().map(|(_, index)| index.memory()).sum()
    }

    fn take(&mut self, name: &Name) -> Option<Index> {
        let (used, index) = self.all.remove(name)?;
        self.by_use.remove(&used);
        Some(index)
    }

    fn get(&mut self, name: &Name, newest: u64) -> Option<&mut Index> {
        if self.all.get(name)?.1.newest() > newest {
            self.take(name);
            return None;
        }
        self.uses += 1;
        let (used, index) = self.all.get_mut(name)?;
        self.by_use.remove(used);
        *used = self.uses;
        self.by_use.insert(self.uses, name.clone());
        Some(index)
    }
}

/// The name by which an entity is asked for.
pub(in crate::engine) fn name_of((space_no, collection, id): EntityOf<'_>) -> Name {
    (space_no, collection.to_owned(), id.to_owned())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::chain::tests::bed::{Bed, KEY};
    use crate::chain::{Budget, Caught, Entries};
    use crate::store::{Endless, Store, StoreOptions};

    fn asker(author: u8) -> Asker {
        Asker { author: NodeId::from_bytes([author; 32]), feed: FeedId::from_bytes([author; 16]) }
    }

    fn name(id: usize) -> Name {
        (1, "x".to_owned(), format!("e{id:05}"))
    }

    #[test]
    fn an_author_that_asks_for_too_much_waits_for_its_own_last() {
        let heads = [ChangeHash::from_bytes([1; 32])];
        let mut looks = Looks::default();
        for id in 0..ASKED_BY_AUTHOR_MAX + 10 {
            looks.ask(asker(1), &name(id), &heads);
        }
        assert_eq!(looks.asked.len(), ASKED_BY_AUTHOR_MAX);
        looks.ask(Asker { feed: FeedId::from_bytes([9; 16]), ..asker(1) }, &name(9_999), &heads);
        let waits = |looks: &Looks, id: usize| looks.asked[&name(id)].feeds.contains(&FeedId::from_bytes([9; 16]));
        assert!(!looks.expects(&name(9_999)) && waits(&looks, ASKED_BY_AUTHOR_MAX - 1));
        looks.ask(asker(2), &name(9_999), &heads);
        assert!(looks.expects(&name(9_999)), "another author is not concerned");
        // The same is asked for once.
        looks.ask(asker(2), &name(0), &heads);
        assert_eq!(looks.queued[&asker(2).author].len(), 1);
    }

    #[test]
    fn authors_take_turns_and_one_look_is_made_at_a_time() {
        let heads = [ChangeHash::from_bytes([1; 32])];
        let store = Store::open_with_backend(
            || Ok(InMemoryBackend::new()),
            Endless,
            StoreOptions { reserve_bytes: Some(0), create: true, ..StoreOptions::new("memory") },
        )
        .unwrap();
        let (mut looks, mut pasts) = (Looks::default(), Pasts::default());
        for id in 0..3 {
            looks.ask(asker(1), &name(id), &heads);
        }
        looks.ask(asker(2), &name(7), &heads);
        looks.ask_for_care(1, What::Search { names: BTreeSet::new(), from: 0 });
        let mut order: Vec<(String, Vec<FeedId>)> = Vec::new();
        while let Some(look) = looks.next(Duration::ZERO, || store.reader()) {
            assert!(looks.next(Duration::ZERO, || store.reader()).is_none());
            let stale = Looked { number: look.number + 1, found: Err(StoreError::Closed) };
            assert!(looks.answered(stale, Duration::ZERO, &mut pasts).is_none());
            let asked = match &look.what {
                What::Clocks { name, .. } => name.1.clone(),
                _ => "care".to_owned(),
            };
            let feeds = match looks.answered(look.answer(&|| true), Duration::ZERO, &mut pasts) {
                Some(Answered::Entries(1, feeds)) => feeds.into_iter().collect(),
                Some(Answered::Care(1, Ok(Found::Search(_)))) => Vec::new(),
                other => panic!("{other:?}"),
            };
            order.push((asked, feeds));
        }
        let mut expected =
            Vec::from([(0, 1), (7, 2), (1, 1), (2, 1)].map(|(id, of)| (name(id).2, vec![asker(of).feed])));
        expected.insert(1, ("care".to_owned(), Vec::new()));
        assert_eq!(order, expected);
        // A store that cannot be read is asked again later.
        looks.ask(asker(1), &name(1), &heads);
        let look = looks.next(Duration::ZERO, || store.reader()).unwrap();
        let failed = Looked { number: look.number, found: Err(StoreError::Closed) };
        assert!(looks.answered(failed, Duration::ZERO, &mut pasts).is_none() && looks.expects(&name(1)));
        assert_eq!(looks.due(), Some(RETRY));
        assert!(looks.next(Duration::ZERO, || store.reader()).is_none());
        assert!(looks.next(RETRY, || store.reader()).is_some());
    }

    #[test]
    fn indexes_that_take_too_much_memory_go_the_longest_unused_first() {
        let bed = Bed::new(3, 2, 3_000);
        let (reading, mut entries) = (bed.reading(), Entries::passing());
        let mut indexes = Indexes::default();
        for id in 0..12 {
            let mut index = Index::default();
            let mut caught = Caught::from(bed.row().journal());
            assert!(caught.walk((&reading, &mut entries), KEY, &index, Budget::UNBOUNDED).unwrap());
            index.add((&reading, &mut entries), KEY, caught).unwrap();
            indexes.insert(name(id), index);
            assert!(indexes.get(&name(0), u64::MAX).is_some(), "used all the time");
            assert!(indexes.memory() <= INDEX_BYTES_MAX);
        }
        assert!(indexes.get(&name(1), u64::MAX).is_none() && indexes.get(&name(11), u64::MAX).is_some());
        assert!(indexes.get(&name(11), 2_999).is_none(), "of a history that was taken back");
    }
}
