//! The spaces of a node, and which of them ask for attention: a step costs the spaces that it touches, not those that
//! there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crdt::SpaceId;

use crate::engine::space::Space;
use crate::store::StoreError;

/// All spaces of a node by id. Whoever may change a space asks for it by [`Spaces::get_mut`], which takes note.
#[derive(Debug, Default)]
pub(in crate::engine) struct Spaces {
    by_id: BTreeMap<SpaceId, Space>,
    by_no: BTreeMap<u32, SpaceId>,
    /// Handed out to be changed, and not looked at since.
    touched: BTreeSet<SpaceId>,
    /// Handed out to be changed since what is remembered of peers was stored last.
    remembering: BTreeSet<SpaceId>,
    care: Moments,
    news: Moments,
}

/// One moment per space, by space and by time. O(log spaces) each.
#[derive(Debug, Default)]
struct Moments {
    of: BTreeMap<SpaceId, Duration>,
    by_time: BTreeSet<(Duration, SpaceId)>,
}

impl Moments {
    /// Enters the moment of a space in place of the one before.
    fn enter(&mut self, space: SpaceId, at: Option<Duration>) {
        let before = match at {
            Some(at) => self.of.insert(space, at),
            None => self.of.remove(&space),
        };
        if before != at {
            before.map(|before| self.by_time.remove(&(before, space)));
            self.by_time.extend(at.map(|at| (at, space)));
        }
        debug_assert_eq!(self.of.len(), self.by_time.len(), "each space has one moment or none");
    }

    fn first(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Spaces whose moment has come by `now`, the earliest first.
    fn due(&self, now: Duration) -> impl Iterator<Item = SpaceId> + '_ {
        self.by_time.iter().take_while(move |(at, _)| *at <= now).map(|(_, space)| *space)
    }
}

impl Spaces {
    /// Adds a space that is not here yet.
    pub(in crate::engine) fn insert(&mut self, id: SpaceId, space: Space) {
        assert_eq!(id, space.id, "a space is filed under its id");
        let number = self.by_no.insert(space.row.space_no, id);
        assert_eq!(number, None, "no two spaces have one number");
        let before = self.by_id.insert(id, space);
        assert!(before.is_none(), "a space is added once");
        self.touched.insert(id);
    }

    pub(in crate::engine) fn contains_key(&self, id: &SpaceId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(in crate::engine) fn get(&self, id: &SpaceId) -> Option<&Space> {
        self.by_id.get(id)
    }

    /// A space, to be changed.
    pub(in crate::engine) fn get_mut(&mut self, id: &SpaceId) -> Option<&mut Space> {
        let space = self.by_id.get_mut(id)?;
        self.touched.insert(*id);
        Some(space)
    }

    /// The space with a local number, to be changed.
    pub(in crate::engine) fn by_no(&self, space_no: u32) -> Option<&Space> {
        self.by_id.get(self.by_no.get(&space_no)?)
    }

    pub(in crate::engine) fn by_no_mut(&mut self, space_no: u32) -> Option<&mut Space> {
        let id = *self.by_no.get(&space_no)?;
        self.get_mut(&id)
    }

    #[cfg(test)]
    pub(in crate::engine) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(in crate::engine) fn keys(&self) -> impl Iterator<Item = &SpaceId> {
        self.by_id.keys()
    }

    pub(in crate::engine) fn values(&self) -> impl Iterator<Item = &Space> {
        self.by_id.values()
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (&SpaceId, &Space)> {
        self.by_id.iter()
    }

    /// The local number of the next space. O(log spaces).
    pub(in crate::engine) fn next_no(&self) -> u32 {
        self.by_no.last_key_value().map_or(1, |(space_no, _)| space_no + 1)
    }

    /// Visits the spaces that were touched since [`Spaces::settle`].
    pub(in crate::engine) fn visit_touched(
        &mut self,
        mut visit: impl FnMut(&mut Space) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Self { by_id, touched, .. } = self;
        for id in touched.iter() {
            by_id.get_mut(id).map_or(Ok(()), &mut visit)?;
        }
        Ok(())
    }

    /// Visits the spaces of which something may be remembered that the store has an older version of, and forgets that
    /// they are.
    pub(in crate::engine) fn visit_remembering(
        &mut self,
        mut visit: impl FnMut(&mut Space) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Self { by_id, touched, remembering, .. } = self;
        remembering.extend(touched.iter());
        for id in std::mem::take(remembering) {
            by_id.get_mut(&id).map_or(Ok(()), &mut visit)?;
        }
        Ok(())
    }

    /// Spaces whose care is due, the one that has waited longest first.
    pub(in crate::engine) fn care_due(&self, now: Duration, limit: usize) -> Vec<SpaceId> {
        self.care.due(now).take(limit).collect()
    }

    /// When the first of them wants to be tended.
    pub(in crate::engine) fn first_care(&self) -> Option<Duration> {
        self.care.first()
    }

    /// Spaces with news that are as old as `since` or older.
    pub(in crate::engine) fn news_due(&self, since: Duration) -> impl Iterator<Item = SpaceId> + '_ {
        self.news.due(since)
    }

    /// When the oldest news came.
    pub(in crate::engine) fn first_news(&self) -> Option<Duration> {
        self.news.first()
    }

    /// Enters when the touched spaces ask for attention next. Called at a step's end. O(touched).
    pub(in crate::engine) fn settle(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let Some(space) = self.by_id.get(&id) else { continue };
            // What has not said yet when it wants to be tended is asked in the next step.
            self.care.enter(id, Some(space.care.due().unwrap_or_default()));
            self.news.enter(id, space.news.oldest());
            self.remembering.insert(id);
            if space.is_dirty() {
                self.touched.insert(id);
            }
        }
        assert!(self.remembering.len() <= self.by_id.len(), "what is noted of spaces is bounded by them");
    }
}

#[cfg(test)]
impl std::ops::Index<&SpaceId> for Spaces {
    type Output = Space;

    fn index(&self, id: &SpaceId) -> &Space {
        &self.by_id[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_has_one_moment_and_the_earliest_is_first() {
        let space = |n| SpaceId::from_bytes([n; 32]);
        let at = Duration::from_millis;
        let mut moments = Moments::default();
        moments.enter(space(1), Some(at(5)));
        moments.enter(space(2), Some(at(3)));
        moments.enter(space(3), Some(at(9)));
        assert_eq!(moments.due(at(5)).collect::<Vec<_>>(), [space(2), space(1)]);
        moments.enter(space(2), Some(at(7)));
        assert_eq!((moments.first(), moments.due(at(4)).count()), (Some(at(5)), 0));
        moments.enter(space(1), None);
        moments.enter(space(1), None);
        assert_eq!(moments.due(at(100)).collect::<Vec<_>>(), [space(2), space(3)]);
    }
}
