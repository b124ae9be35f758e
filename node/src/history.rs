//! What an entity has been through, for people: pages of its changes, the newest first.
//!
//! A page is read from one reading: some 5 µs per change (and 0.3 µs for each other one of its entry), no more changes
//! than the limits here name.

use std::collections::BTreeMap;

use tombolo_crdt::entity::{Change, EntityState, Places, Touched};
use tombolo_crdt::feed::Opening;
use tombolo_crdt::{FeedId, Hlc, NodeId, Receipt, Revision};

use crate::chain::{Budget, EntityKey, Entries, Link, link_of, revision_of, walk};
use crate::store::{Reading, StoreError};

/// Changes that a page looks at, and so holds at most.
pub const PAGE_CHANGES: usize = 1_000;
/// Bytes of changes after which a page ends early (8 MiB).
const PAGE_BYTES: usize = 8 << 20;
/// Bytes of entries read for a page after which it ends early (64 MiB, some 0.2 s): an entry may be 4 MiB for a change
/// of a few bytes.
const PAGE_READ_BYTES: usize = 64 << 20;
/// Operations after which a page ends early: a few bytes can stand for many (some 30 MB in memory).
const PAGE_OPS: u64 = 1 << 18;
/// Changes before the page that are looked at for where the objects were that it is about, as far as they have no more
/// bytes and operations than a page.
const LOOK_BACK: usize = 4_096;

/// Which changes of an entity are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Only those before this entry's, in the order of this node.
    pub before: Option<Receipt>,
    /// Only those that wrote to this field (steps of a pointer) or within it, or deleted the entity.
    pub path: Option<Vec<String>>,
    /// At most so many.
    pub limit: usize,
}

/// A change of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its entry.
    pub receipt: Receipt,
    /// Who wrote it.
    pub node: NodeId,
    /// The author's clock.
    pub hlc: Hlc,
    /// The revision it led to on this node.
    pub revision: Revision,
    /// Its length in bytes.
    pub bytes: usize,
    /// Entities that its entry changes, this one included.
    pub entities: usize,
    /// What it wrote to.
    pub touched: Touched,
}

/// A page of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The newest first.
    pub items: Vec<Item>,
    /// The entry before which the next page begins; `None`: there is no more. A page with a path may be empty and have
    /// one.
    pub before: Option<Receipt>,
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The store cannot be read, or the chain is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The entry to begin before is not here, or does not change the entity. The caller's fault.
    #[error("entry {0} is not in the history of the entity")]
    NotHere(Receipt),
}

/// A page of the changes of an entity, whose present row is `present`.
///
/// # Errors
/// See [`HistoryError`].
pub fn page(reading: &Reading, key: EntityKey<'_>, present: &EntityState, asked: &Asked) -> Result<Page, HistoryError> {
    let from = match asked.before {
        None => present.journal(),
        Some(receipt) => link_of(reading, key, receipt)?.ok_or(HistoryError::NotHere(receipt))?.previous,
    };
    let mut places = Places::of(present);
    let mut entries = Entries::passing();
    let read = Budget { bytes: PAGE_READ_BYTES, ..Budget::UNBOUNDED };
    let mut links = walk(reading, &mut entries, key, from, read);
    let looked = look(&mut links, &mut places, asked)?;
    let (mut bytes, mut ops) = (0, 0);
    for link in links.by_ref().take(LOOK_BACK) {
        if places.is_complete() || bytes > PAGE_BYTES || ops > PAGE_OPS {
            break;
        }
        let change = link?.parse()?;
        bytes += change.bytes().len();
        ops += change.operations() as u64;
        places.learn(&change);
    }
    let mut authors = Authors { reading, known: BTreeMap::new() };
    let mut page = Page::default();
    for (link, change) in &looked {
        page.before = (link.previous > 0).then(|| link.receipt());
        if asked.path.as_deref().is_some_and(|path| !places.touches(change, path)) {
            continue;
        }
        page.items.push(Item {
            receipt: link.receipt(),
            node: authors.of(link.feed)?,
            hlc: link.hlc,
            revision: revision_of(&link.after),
            bytes: change.bytes().len(),
            entities: link.entities,
            touched: places.touched(change),
        });
        if page.items.len() >= asked.limit {
            break;
        }
    }
    assert!(page.items.len() <= looked.len().min(PAGE_CHANGES), "a page holds what it has looked at, and no more");
    Ok(page)
}

/// The changes that a page looks at.
fn look(
    links: &mut dyn Iterator<Item = Result<Link, StoreError>>,
    places: &mut Places,
    asked: &Asked,
) -> Result<Vec<(Link, Change)>, StoreError> {
    let most = if asked.path.is_some() { PAGE_CHANGES } else { asked.limit.min(PAGE_CHANGES) };
    let mut looked = Vec::new();
    let (mut bytes, mut ops) = (0, 0);
    while looked.len() < most && bytes < PAGE_BYTES && ops < PAGE_OPS {
        let Some(mut link) = links.next().transpose()? else { break };
        let change = link.parse()?;
        // The change has the bytes too.
        link.change = Vec::new();
        bytes += change.bytes().len();
        ops += (change.max_op() + 1).saturating_sub(change.start_op());
        places.learn(&change);
        places.ask(&change);
        looked.push((link, change));
    }
    Ok(looked)
}

/// Who writes which feed.
#[derive(Debug)]
pub struct Authors<'s> {
    reading: &'s Reading,
    known: BTreeMap<FeedId, NodeId>,
}

impl<'s> Authors<'s> {
    /// Remembers every feed it is asked for.
    #[must_use]
    pub fn new(reading: &'s Reading) -> Self {
        Self { reading, known: BTreeMap::new() }
    }

    /// The node that writes a feed whose entries are here.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: its row is not; any other: the store cannot be read.
    pub fn of(&mut self, feed: FeedId) -> Result<NodeId, StoreError> {
        if let Some(node) = self.known.get(&feed) {
            return Ok(*node);
        }
        let broken = || StoreError::corrupt("state", format!("the feed {feed} has no opening"));
        let row = self.reading.feed(feed)?.ok_or_else(broken)?;
        let node = Opening::decode(&row.opening).map_err(|_| broken())?.node;
        self.known.insert(feed, node);
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::bed::{Bed, KEY, author};

    /// All pages, and how many they were.
    fn all(bed: &Bed, limit: usize, path: Option<&str>) -> (Vec<Item>, usize) {
        let path = path.map(|path| tombolo_crdt::json::pointer::parse(path).unwrap());
        let mut asked = Asked { before: None, path, limit };
        let (mut items, mut pages) = (Vec::new(), 0);
        loop {
            let page = page(&bed.reading(), KEY, bed.row(), &asked).unwrap();
            assert!(page.items.len() <= limit);
            items.extend(page.items);
            pages += 1;
            match page.before {
                Some(before) => asked.before = Some(before),
                None => return (items, pages),
            }
        }
    }

    #[test]
    fn pages_tell_every_change_once_and_do_not_depend_on_their_size() {
        let bed = Bed::new(3, 3, 50);
        let (items, pages) = all(&bed, 1_000, None);
        assert_eq!((items.len(), pages), (50, 1));
        assert_eq!(all(&bed, 7, None), (items.clone(), 8));
        for (item, (made, row)) in items.iter().rev().zip(bed.made.iter().zip(&bed.rows)) {
            assert_eq!((item.receipt.feed, item.receipt.seq), (made.change.actor(), made.provenance.entry_seq));
            assert_eq!((item.revision, item.hlc), (row.revision(), made.provenance.hlc));
            assert!(
                (0..3).any(|space_no| author(space_no)
                    == (Opening { node: item.node, ..author(space_no).0 }, item.receipt.feed))
            );
            assert!(!item.touched.unplaced && !item.touched.more, "{item:?}");
            assert!(item.touched.deletes || !item.touched.paths.is_empty() || item.bytes < 200, "{item:?}");
        }
        let (of_n, _) = all(&bed, 5, Some("/n"));
        let expected: Vec<Item> = items
            .into_iter()
            .filter(|item| item.touched.deletes || item.touched.paths.iter().any(|path| path == "/n"))
            .collect();
        assert!(!of_n.is_empty() && of_n.len() < 50);
        assert_eq!(of_n, expected);
    }

    #[test]
    fn a_page_begins_only_before_an_entry_of_the_entity() {
        let bed = Bed::new(3, 2, 5);
        let foreign = Receipt { feed: author(77).1, seq: 1 };
        let asked = Asked { before: Some(foreign), path: None, limit: 5 };
        assert_eq!(page(&bed.reading(), KEY, bed.row(), &asked), Err(HistoryError::NotHere(foreign)));
    }
}
