//! Which feeds moved since a moment that is remembered by its journal position. The walk is as long as what was settled
//! since, or as there are feeds: it goes on from step to step, and all sessions share what a step may look at.

use std::collections::BTreeMap;

use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};

use crate::engine::peers::session::Session;
use crate::engine::peers::session::talk::Talk;
use crate::engine::peers::transfer::seq_at;
use crate::engine::space::Space;
use crate::store::{JournalKind, Reading, StoreError};

/// Rows of the journal and feeds that a step looks at for all sessions together, to compare: some 8 ms on a slow core,
/// beside its work.
pub(in crate::engine) const STEP_LOOKS: u64 = 2_048;
/// Rows of the journal that are read rather than to look at one feed: to look at one takes a search in the feed, of
/// some twenty reads that do not lie side by side.
const ROWS_PER_FEED: u64 = 32;
/// Rows of the journal read at once.
const ROWS_AT_ONCE: usize = 1024;

/// A walk under way.
#[derive(Debug)]
pub(in crate::engine) struct Since {
    /// The journal position.
    journal: u64,
    /// Feeds that moved after it, and how far each was then.
    moved: BTreeMap<FeedId, u64>,
    walk: Walk,
}

/// How it goes.
#[derive(Debug)]
enum Walk {
    /// By the rows of the journal, up to this one so far.
    Journal(u64),
    /// By looking at every feed, up to this one so far.
    Feeds(Option<FeedId>),
}

/// How far a part of the walk has come.
#[derive(Debug, PartialEq, Eq)]
enum Come {
    ToTheEnd,
    /// The step has no looks left.
    SoFar,
    /// Rows of the journal are not there.
    ToAGap,
}

impl Since {
    /// The way that costs less: what was settled since, or what there is.
    fn new(space: &Space, journal: u64) -> Self {
        let rows = space.row.journal.saturating_sub(journal);
        let few = rows <= (space.frontier.len() as u64).saturating_mul(ROWS_PER_FEED);
        let walk = if few { Walk::Journal(journal) } else { Walk::Feeds(None) };
        Self { journal, moved: BTreeMap::new(), walk }
    }

    /// How many feeds are kept.
    pub(super) fn len(&self) -> usize {
        self.moved.len()
    }

    /// A feed moves here from `from` on, between two parts of the walk. What lies ahead will be met.
    pub(super) fn moved_here(&mut self, feed: FeedId, from: u64) {
        if let Walk::Feeds(upto) = self.walk
            && Some(feed) <= upto
        {
            self.moved.entry(feed).or_insert(from);
        }
    }

    /// Goes on for at most `left` looks; whether to the end.
    ///
    /// # Errors
    /// The store's, but for what is damaged: then a feed is said to have been less far, and is sent twice.
    fn go_on(&mut self, reading: &Reading, space: &Space, left: &mut u64) -> Result<bool, StoreError> {
        if let Walk::Journal(last) = self.walk {
            match self.by_journal(last, reading, space, left) {
                Err(StoreError::Corrupt { detail, .. }) => {
                    tracing::error!(space = %space.id, %detail, "the journal is damaged: all feeds are looked at");
                }
                come => match come? {
                    Come::ToTheEnd => return Ok(true),
                    Come::SoFar => return Ok(false),
                    Come::ToAGap => {}
                },
            }
            self.moved.clear();
            self.walk = Walk::Feeds(None);
        }
        self.by_feeds(reading, space, left)
    }

    /// By the rows of the journal after `last`.
    fn by_journal(
        &mut self,
        mut last: u64,
        reading: &Reading,
        space: &Space,
        left: &mut u64,
    ) -> Result<Come, StoreError> {
        while last < space.row.journal {
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(ROWS_AT_ONCE);
            if most == 0 {
                return Ok(Come::SoFar);
            }
            let rows = reading.journal_range(space.row.space_no, last + 1, most)?;
            if rows.is_empty() {
                return Ok(Come::ToAGap);
            }
            *left = left.saturating_sub(rows.len() as u64);
            for (position, row) in &rows {
                if *position != last + 1 {
                    return Ok(Come::ToAGap);
                }
                last = *position;
                if matches!(row.kind, JournalKind::Applied | JournalKind::Refused | JournalKind::Rules) {
                    let before = row.seq.saturating_sub(1);
                    let off = u64::from(before > 0 && defect::is(Defect::PositionOffByOne));
                    self.moved.entry(row.feed).or_insert(before + off);
                }
            }
            self.walk = Walk::Journal(last);
        }
        debug_assert!(self.moved.keys().all(|feed| space.feeds.contains_key(feed)), "what is in the journal is known");
        Ok(Come::ToTheEnd)
    }

    /// By looking at every feed. One of which nothing can be read is said to have moved: it costs some bytes, no more.
    fn by_feeds(&mut self, reading: &Reading, space: &Space, left: &mut u64) -> Result<bool, StoreError> {
        let Walk::Feeds(upto) = &mut self.walk else { return Ok(true) };
        for position in space.frontier.positions_after(*upto) {
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            let at = match reading.entry_journal(position.feed, position.seq) {
                Err(StoreError::Corrupt { .. }) => Some(u64::MAX),
                at => at?,
            };
            if at.is_some_and(|at| at > self.journal) {
                *left = left.saturating_sub(ROWS_PER_FEED);
                self.moved.insert(position.feed, seq_at(reading, position, self.journal)?);
            }
            *upto = Some(position.feed);
        }
        Ok(true)
    }
}

impl Talk<'_> {
    /// Feeds that moved after the journal position `journal`, and how far each was then; `None`: the step has looked at
    /// enough, and the session goes on in the next.
    pub(super) fn moved_since(
        &mut self,
        space: &Space,
        session: &mut Session,
        journal: u64,
    ) -> Result<Option<BTreeMap<FeedId, u64>>, StoreError> {
        let begun = session.since.take().filter(|since| since.journal == journal);
        let mut since = begun.unwrap_or_else(|| Since::new(space, journal));
        let before = *self.looks;
        let over = since.go_on(self.reading, space, self.looks)?;
        *self.looked += before - *self.looks;
        if over {
            return Ok(Some(since.moved));
        }
        session.since = Some(since);
        session.goes_on = Some(self.now.mono);
        Ok(None)
    }
}
