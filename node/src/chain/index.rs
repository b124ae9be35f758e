//! The index of an entity's changes: which are applied, and the clock at each, without reading its history again.
//!
//! A change may name as its dependency any change there ever was, or one that nobody has. To answer that from the chain
//! alone costs the chain. The index is made of one walk, in memory, and grows with the chain; nothing of it is stored.
//!
//! Changes have numbers in the order of this node's journal, from 0. Most changes are made on all heads there are: at
//! such a change the clock is that of everything up to it. The others are few, and keep the numbers they were made on.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entity::{Clock, Mark, heads_hash};
use tombolo_crdt::{ChangeHash, FeedId};

use super::{Budget, EntityKey, Entries, PastError, walk};
use crate::store::{Reading, StoreError};

/// Changes that an index may have: some 70 bytes each, so 70 MB. An entity with more has none.
pub const INDEX_CHANGES_MAX: usize = if cfg!(test) { 1 << 12 } else { 1 << 20 };
/// Dependencies that were not all heads, kept until they are numbered: 32 MB.
const BESIDE_DEPS_MAX: usize = 1 << 20;
/// Changes between two clocks that are kept, or as many as there are writers if these are more: a clock is found in at
/// most so many changes, and the clocks take no more than a mark per change.
const CLOCK_EVERY: usize = 1_024;
/// Not the dependency of any change.
const NONE: u32 = u32::MAX;

/// A change.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Journal position of its entry.
    journal: u64,
    /// Number of its actor.
    actor: u32,
    /// The first change that names it; [`NONE`]: it is a head.
    child: u32,
    /// How far it takes its actor.
    mark: Mark,
}

/// What a change rests on that was not made on all heads.
#[derive(Debug)]
struct Beside {
    deps: Vec<u32>,
    /// How many heads there were after it.
    heads: usize,
}

/// Marks by number of actor.
type Marks = BTreeMap<u32, Mark>;

/// The changes of an entity up to one of them.
#[derive(Debug, Default)]
pub struct Index {
    places: Vec<Place>,
    /// Numbers by the first 8 bytes of the hash. Hashes may share these: whoever finds one compares the whole.
    by_hash: BTreeSet<(u64, u32)>,
    actors: Vec<FeedId>,
    actor_numbers: BTreeMap<FeedId, u32>,
    beside: BTreeMap<u32, Beside>,
    beside_deps: usize,
    heads: BTreeSet<u32>,
    /// Hash of the heads.
    after: Option<[u8; 16]>,
    marks: Marks,
    /// Marks before a change, by its number.
    clocks: Vec<(u32, Vec<(u32, Mark)>)>,
    clock_marks: usize,
}

/// Changes that a walk has come over and that are to be added, the newest first.
#[derive(Debug)]
pub struct Caught {
    walked: Vec<Walked>,
    deps: usize,
    /// Hash of the heads after the newest of them.
    after: Option<[u8; 16]>,
    /// Where the walk goes on.
    next: u64,
}

#[derive(Debug)]
struct Walked {
    journal: u64,
    hash: ChangeHash,
    actor: FeedId,
    mark: Mark,
    /// None: all heads there were.
    deps: Option<Vec<ChangeHash>>,
}

fn prefix(hash: ChangeHash) -> u64 {
    hash.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Reads the hash of an entity's change at a journal position.
fn hash_at(
    (reading, entries): (&Reading, &mut Entries),
    key: EntityKey<'_>,
    journal: u64,
) -> Result<ChangeHash, StoreError> {
    Ok(entries.link(reading, key, journal)?.parse()?.hash())
}

impl Caught {
    /// Begins at the entity's last change, which is at a journal position.
    #[must_use]
    pub const fn from(newest: u64) -> Self {
        Self { walked: Vec::new(), deps: 0, after: None, next: newest }
    }

    /// Walks on within a budget; whether it has come to what `index` has.
    ///
    /// # Errors
    /// [`PastError::TooLong`]: more changes than an index may have. [`PastError::Unknown`]: the chain does not lead to
    /// the index's newest change, because the row was built anew since. [`PastError::Store`]: the chain cannot be read.
    pub fn walk(
        &mut self,
        (reading, entries): (&Reading, &mut Entries),
        key: EntityKey<'_>,
        index: &Index,
        budget: Budget,
    ) -> Result<bool, PastError> {
        let top = index.newest();
        let mut links = walk(reading, entries, key, self.next, budget);
        while links.rest() > top {
            let Some(link) = links.next().transpose()? else { break };
            self.after.get_or_insert(link.after);
            self.on_heads(&link.after);
            let change = link.parse()?;
            self.deps += change.deps().len();
            let mark = Mark { seq: change.seq(), counter: change.max_op() };
            let deps = Some(change.deps().to_vec());
            self.walked.push(Walked { journal: link.journal, hash: change.hash(), actor: link.feed, mark, deps });
            if index.places.len() + self.walked.len() > INDEX_CHANGES_MAX {
                return Err(PastError::TooLong { what: "changes", limit: INDEX_CHANGES_MAX });
            }
            if self.deps > BESIDE_DEPS_MAX {
                return Err(PastError::TooLong { what: "changes that others were made on", limit: BESIDE_DEPS_MAX });
            }
        }
        self.next = links.rest();
        if self.next > top {
            return Ok(false);
        }
        if self.next < top {
            return Err(PastError::Unknown);
        }
        self.on_heads(&index.after.unwrap_or_else(|| heads_hash(&[])));
        Ok(true)
    }

    /// The heads before the last change walked over have this hash: if it names them all, they need not be kept.
    fn on_heads(&mut self, before: &[u8; 16]) {
        let Some(last) = self.walked.last_mut() else { return };
        if last.deps.as_ref().is_some_and(|deps| heads_hash(deps) == *before) {
            self.deps -= last.deps.take().map_or(0, |deps| deps.len());
        }
    }
}

impl Index {
    /// Journal position of its newest change; 0: there is none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.places.last().map_or(0, |place| place.journal)
    }

    /// How many changes it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes it takes in memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let places = self.places.capacity() * size_of::<Place>() + self.by_hash.len() * 24;
        let beside = self.beside.len() * 80 + self.beside_deps * 4;
        places + beside + self.clock_marks * size_of::<(u32, Mark)>() + self.actors.len() * 100
    }

    /// Adds what a walk has come over since its newest change.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: a change rests on one that the chain has not before it; any other: it cannot be read.
    pub fn add(
        &mut self,
        (reading, entries): (&Reading, &mut Entries),
        key: EntityKey<'_>,
        caught: Caught,
    ) -> Result<(), StoreError> {
        for walked in caught.walked.into_iter().rev() {
            let deps = match &walked.deps {
                None => None,
                Some(deps) => Some(self.numbers((reading, &mut *entries), key, deps)?),
            };
            self.push(&walked, deps);
        }
        self.after = caught.after.or(self.after);
        debug_assert!(self.places.is_sorted_by_key(|place| place.journal), "in the order of the journal");
        Ok(())
    }

    fn numbers(
        &self,
        (reading, entries): (&Reading, &mut Entries),
        key: EntityKey<'_>,
        deps: &[ChangeHash],
    ) -> Result<Vec<u32>, StoreError> {
        let number = |dep: &ChangeHash| {
            let missing =
                || StoreError::corrupt("entries", format!("{dep} is not in the chain it belongs to, or not before"));
            self.find((reading, &mut *entries), key, *dep)?.ok_or_else(missing)
        };
        deps.iter().map(number).collect()
    }

    fn push(&mut self, walked: &Walked, deps: Option<Vec<u32>>) {
        let number = self.places.len() as u32;
        assert!(number < NONE, "an index is bounded");
        let actor = *self.actor_numbers.entry(walked.actor).or_insert_with(|| {
            self.actors.push(walked.actor);
            self.actors.len() as u32 - 1
        });
        let last = self.clocks.last().map_or(0, |(at, _)| *at);
        if (number - last) as usize >= CLOCK_EVERY.max(self.marks.len()) {
            self.clock_marks += self.marks.len();
            self.clocks.push((number, self.marks.iter().map(|(actor, mark)| (*actor, *mark)).collect()));
        }
        match deps {
            None => {
                for head in std::mem::take(&mut self.heads) {
                    self.named(head, number);
                }
                self.heads.insert(number);
            }
            Some(deps) => {
                for dep in &deps {
                    self.heads.remove(dep);
                    self.named(*dep, number);
                }
                self.heads.insert(number);
                self.beside_deps += deps.len();
                self.beside.insert(number, Beside { deps, heads: self.heads.len() });
            }
        }
        assert!(self.heads.contains(&number), "the newest change is a head");
        self.by_hash.insert((prefix(walked.hash), number));
        self.marks.insert(actor, walked.mark);
        self.places.push(Place { journal: walked.journal, actor, child: NONE, mark: walked.mark });
    }

    fn named(&mut self, dep: u32, by: u32) {
        assert!(dep < by, "a change names what comes before it");
        if let Some(place) = self.places.get_mut(dep as usize) {
            place.child = place.child.min(by);
        }
    }

    /// The number of a change; `None`: it is not applied, as far as the index goes. Reads an entry per change that has
    /// the hash's first 8 bytes: nearly always the change itself, or none.
    ///
    /// # Errors
    /// [`StoreError`]: that entry cannot be read.
    pub fn find(
        &self,
        (reading, entries): (&Reading, &mut Entries),
        key: EntityKey<'_>,
        hash: ChangeHash,
    ) -> Result<Option<u32>, StoreError> {
        let first = prefix(hash);
        for (_, number) in self.by_hash.range((first, 0)..=(first, NONE)) {
            let Some(place) = self.places.get(*number as usize) else { continue };
            if hash_at((reading, &mut *entries), key, place.journal)? == hash {
                return Ok(Some(*number));
            }
        }
        Ok(None)
    }

    /// The clock at changes with these numbers: what lies in their past, themselves included. Goes back over the
    /// changes in their past to a place at which everything older lies in it, a third of a microsecond each; `None`:
    /// that are more than `steps`, which counts down.
    #[must_use]
    pub fn clock(&self, numbers: &[u32], steps: &mut usize) -> Option<Clock> {
        let mut clock = Clock::default();
        let mut wanted: BTreeSet<u32> = BTreeSet::new();
        // Those of them that a change names which is older than the present place, by the first such change; the others
        // are heads there.
        let mut covered: BTreeSet<(u32, u32)> = BTreeSet::new();
        let mut heads = 0;
        for number in numbers {
            if wanted.insert(*number) {
                covered.insert((self.place(*number).child, *number));
            }
        }
        while let Some(at) = wanted.pop_last() {
            while covered.last().is_some_and(|(child, _)| *child > at) {
                covered.pop_last();
                heads += 1;
            }
            let beside = self.beside.get(&at);
            if heads == beside.map_or(1, |beside| beside.heads) {
                // All heads of this place are wanted: everything up to it lies in their past.
                clock.join(&self.clock_up_to(at));
                return Some(clock);
            }
            *steps = steps.checked_sub(1)?;
            heads -= 1;
            let place = self.place(at);
            if let Some(actor) = self.actors.get(place.actor as usize) {
                clock.raise(*actor, place.mark);
            }
            for dep in beside.into_iter().flat_map(|beside| &beside.deps) {
                debug_assert!(*dep < at, "what a change rests on comes before it");
                if wanted.insert(*dep) {
                    covered.insert((self.place(*dep).child, *dep));
                }
            }
        }
        Some(clock)
    }

    fn place(&self, number: u32) -> Place {
        let none = Place { journal: 0, actor: 0, child: NONE, mark: Mark::default() };
        self.places.get(number as usize).copied().unwrap_or(none)
    }

    /// The clock of all changes up to one.
    fn clock_up_to(&self, number: u32) -> Clock {
        let kept = self.clocks.partition_point(|(at, _)| *at <= number).checked_sub(1);
        let kept = kept.and_then(|kept| self.clocks.get(kept));
        let (from, marks) = kept.map_or((0, &[][..]), |(at, marks)| (*at as usize, marks.as_slice()));
        let mut marks: Marks = marks.iter().copied().collect();
        let between = self.places.get(from..=number as usize).unwrap_or_default();
        marks.extend(between.iter().map(|place| (place.actor, place.mark)));
        let named = |(actor, mark): (u32, Mark)| Some((*self.actors.get(actor as usize)?, mark));
        marks.into_iter().filter_map(named).collect()
    }
}
