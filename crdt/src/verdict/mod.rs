//! Verdicts: what becomes of an entry, as a pure function of the entry, its past and the rules.
//!
//! [`judge`] is the only door. Entries of others, own entries before they are written, and the verification of a store
//! go through it. Each check has a file; they run in the sequence of `docs/formats.md`, and the first that fails is the
//! verdict:
//!
//! | check | file | code |
//! |---|---|---|
//! | everything it names is settled, and its records are known | `settled` | none: it waits |
//! | rules heads as stated: an antichain, none refused, new, covering those of the predecessor | `heads` | 2 rules |
//! | the author's role under them | `role` | 3 role |
//! | what the bytes tell | `structure` | 1 structure |
//! | the changes that its changes were made on are applied | `depends` | 4 depends |
//! | what its changes name lies in their past | `named` | 1 structure |
//!
//! So the cheap checks come first: a change of somebody who may not write is never read, and history is read for nobody
//! whose entry fails without it. A check that is added is a file and a line in [`judge`]. The next one (2 rules: the
//! heads cover the rules heads of the entries that the changes were made on) comes last: nothing tells yet which entry
//! carried a change.

mod code;
mod depends;
mod heads;
mod named;
mod role;
mod settled;
mod structure;
#[cfg(test)]
mod tests;

pub use code::Verdict;
pub use heads::in_force;
pub use named::lies_in_past;

use crate::entity::{Change, ChangeError, Clock, Mark};
use crate::entry::{Body, Dep, EntityChange, Entry};
use crate::rules::RulesDag;
use crate::{ChainHash, ChangeHash, FeedId, NodeId};

/// What [`judge`] says of an entry.
#[derive(Debug)]
#[must_use]
pub enum Judgement {
    /// The entry is applied, with these changes. None for a rules entry.
    Apply(Vec<Ready>),
    /// The entry is refused. Never [`Verdict::Applied`].
    Refuse(Verdict),
    /// The entry cannot be judged before this has come.
    Wait(Wait),
}

impl Judgement {
    /// The verdict, and the changes to apply.
    ///
    /// # Errors
    /// [`Wait`]: there is none yet.
    pub fn settled(self) -> Result<(Verdict, Vec<Ready>), Wait> {
        match self {
            Self::Apply(ready) => Ok((Verdict::Applied, ready)),
            Self::Refuse(verdict) => Ok((verdict, Vec::new())),
            Self::Wait(wait) => Err(wait),
        }
    }
}

/// A change that has passed every check.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The change.
    pub change: Change,
    /// What lies in its past.
    pub past: Clock,
}

/// What an entry waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// An entry of a feed.
    Entry(FeedId, u64),
    /// An entry that is here with another chain hash: one of the two chains is a fork.
    Fork(FeedId, u64),
    /// A rules entry.
    Rules(ChainHash),
    /// A change of an entity: collection, id, change.
    Change(String, String, ChangeHash),
    /// A version of this program that understands it.
    Later,
    /// An entity whose row, or whose history as far as it is needed, is damaged here: collection, id.
    Damaged(String, String),
    /// An entity whose past is being looked at, because what it was made on lies far back or is not here: collection,
    /// id.
    Looked(String, String),
    /// A settled entry that is damaged here.
    Unreadable(FeedId, u64),
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entry(feed, seq) => write!(f, "waits for entry {seq} of feed {feed}"),
            Self::Fork(feed, seq) => {
                write!(f, "names another entry {seq} of feed {feed} than this node holds: that feed forks")
            }
            Self::Rules(hash) => write!(f, "waits for rules entry {hash}"),
            Self::Change(collection, id, hash) => write!(f, "waits for change {hash} of {collection}/{id}"),
            Self::Later => f.write_str("was written by a later version: upgrade this node"),
            Self::Damaged(collection, id) => write!(f, "waits for {collection}/{id}, which is damaged on this node"),
            Self::Looked(collection, id) => write!(f, "waits for a look at the past of {collection}/{id}"),
            Self::Unreadable(feed, seq) => {
                write!(f, "waits for entry {seq} of feed {feed}, which is damaged on this node")
            }
        }
    }
}

/// What an entry is judged against, as far as it lies in memory. Its predecessor is settled.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The entry's feed.
    pub feed: FeedId,
    /// Whose feed that is.
    pub author: NodeId,
    /// The rules entries that are settled here.
    pub rules: &'a RulesDag,
    /// Rules heads in force at the predecessor; none at the beginning of a feed.
    pub before: &'a [ChainHash],
}

/// The entry's past, asked for as the checks come to need it. An answer must be the same wherever the entry's past is
/// settled: it tells nothing of what else is there.
pub trait Past {
    /// Why nothing can be answered any more. Ends the judging without a verdict.
    type Fault;

    /// What [`judge`] waits for before this dependency is settled; none: it is, with this chain hash.
    ///
    /// # Errors
    /// `Fault`.
    fn dep(&mut self, dep: &Dep) -> Result<Option<Wait>, Self::Fault>;

    /// Is told which entity comes next. A wait here ends the look at this change.
    fn turn(&mut self, _change: &EntityChange) -> Option<Wait> {
        None
    }

    /// The change `number` of the entry, read.
    ///
    /// # Errors
    /// [`ChangeError`]: its author's fault.
    fn read(&mut self, feed: FeedId, _number: usize, change: &EntityChange) -> Result<Change, ChangeError> {
        Change::parse(&change.change, feed)
    }

    /// Whether a change of this entity was refused with its entry, earlier in its feed than the entry that is judged if
    /// it is that feed's.
    ///
    /// # Errors
    /// `Fault`.
    fn refused(&mut self, entity: &EntityChange, hash: ChangeHash) -> Result<Known<bool>, Self::Fault>;

    /// Where in its entity the change was made.
    ///
    /// # Errors
    /// `Fault`.
    fn base(&mut self, entity: &EntityChange, change: &Change) -> Result<Known<Base>, Self::Fault>;
}

/// The past of a rules entry: it has none but the rules.
#[derive(Clone, Copy, Debug)]
pub struct RulesOnly;

impl Past for RulesOnly {
    type Fault = std::convert::Infallible;

    fn dep(&mut self, dep: &Dep) -> Result<Option<Wait>, Self::Fault> {
        Ok(Some(Wait::Entry(dep.feed, dep.seq)))
    }

    fn refused(&mut self, _: &EntityChange, _: ChangeHash) -> Result<Known<bool>, Self::Fault> {
        Ok(Known::Is(false))
    }

    fn base(&mut self, _: &EntityChange, change: &Change) -> Result<Known<Base>, Self::Fault> {
        Ok(Known::Is(change.deps().first().map_or_else(Base::default, |dep| Base::Absent(*dep))))
    }
}

/// An answer, or why there is none yet.
#[derive(Clone, Debug)]
pub enum Known<T> {
    /// The answer.
    Is(T),
    /// What has to come first.
    Wait(Wait),
}

/// Where in its entity a change was made.
#[derive(Clone, Debug)]
pub enum Base {
    /// At this clock, and `here` is what the entity holds of the change's actor.
    At {
        /// Last change and counter of the actor.
        here: Mark,
        /// The clock at the change's dependencies.
        past: Clock,
    },
    /// On a change that is not applied here.
    Absent(ChangeHash),
    /// The caller folds the entity and asks [`lies_in_past`] there; the change is in no [`Judgement::Apply`].
    Elsewhere,
}

impl Default for Base {
    /// The beginning of an entity.
    fn default() -> Self {
        Self::At { here: Mark::default(), past: Clock::new() }
    }
}

/// Why the checks end before the last of them.
#[derive(Debug)]
enum Stop<F> {
    Refuse(Verdict),
    Wait(Wait),
    Fault(F),
}

impl<F> From<F> for Stop<F> {
    fn from(fault: F) -> Self {
        Self::Fault(fault)
    }
}

/// Judges an entry whose predecessor is settled. The same on every node, whatever has arrived besides its past.
///
/// Costs a look at the rules where heads are stated (see [`RulesDag::ancestry`]), and half a microsecond per operation;
/// what reading history costs is the matter of [`Past::base`].
///
/// # Errors
/// `P::Fault`: the past cannot be read. Nothing is decided.
pub fn judge<P: Past>(entry: &Entry, situation: &Situation<'_>, past: &mut P) -> Result<Judgement, P::Fault> {
    match checked(entry, situation, past) {
        Ok(ready) => Ok(Judgement::Apply(ready)),
        Err(Stop::Refuse(verdict)) => {
            assert_ne!(verdict, Verdict::Applied, "a check that fails has a code");
            Ok(Judgement::Refuse(verdict))
        }
        Err(Stop::Wait(wait)) => Ok(Judgement::Wait(wait)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// The checks, in sequence.
fn checked<P: Past>(entry: &Entry, situation: &Situation<'_>, past: &mut P) -> Result<Vec<Ready>, Stop<P::Fault>> {
    settled::all(entry, past)?;
    let heads = heads::stated(entry, situation)?;
    let roster = situation.rules.state(heads);
    match &entry.body {
        Body::Rules(records) => {
            role::may_record(situation, &roster, heads, records)?;
            structure::of_records(entry, records)?;
            Ok(Vec::new())
        }
        Body::Data(changes) => {
            role::may_write(situation, &roster)?;
            let read = structure::of_changes(entry, changes, situation.feed, past)?;
            let made = depends::applied(changes, read, past)?;
            named::all(changes, made, past)
        }
    }
}
