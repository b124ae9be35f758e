//! A space in the engine's memory: a cache of what its store says. It is dropped and read again when a commit fails.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entry::{Dep, Entry};
use tombolo_crdt::feed::{FeedKind, Opening, Position, STRIDE_BYTES_MAX};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::rules::{Found, Member, Role, Roster, RulesDag};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, Digest, FeedId, NodeId, SpaceId};

use super::care::Care;
use super::held::Held;
use super::memory::Memory;
use super::news::News;
use crate::store::{Batch, FeedRow, HeldRow, PeerRow, SpaceRow, StoreError};

/// A feed of a space.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) row: FeedRow,
    pub(super) opening: Opening,
    /// Bytes of entries settled after the last seal.
    pub(super) open_bytes: u64,
    /// The row differs from the store.
    pub(super) dirty: bool,
    /// Its last applied entry; 0: none. Kept of rules feeds only.
    pub(super) applied: u64,
    /// Why nothing more is taken from this feed: its chain forks.
    pub(super) fork: Option<u64>,
}

impl Feed {
    pub(super) fn new(opening: Opening, space_no: u32) -> Self {
        let row = FeedRow {
            opening: opening.encode(),
            space_no,
            seq: 0,
            chain: opening.chain(),
            sealed: None,
            kept: 0,
            kept_bytes: 0,
            rules: Vec::new(),
            hlc: 0,
        };
        Self { row, opening, open_bytes: 0, dirty: true, applied: 0, fork: None }
    }

    fn load(row: FeedRow) -> Result<Self, StoreError> {
        let opening = Opening::decode(&row.opening)
            .map_err(|_| StoreError::corrupt("feeds", "the opening of a feed does not decode"))?;
        let sealed = row.sealed.as_ref().map_or(0, |(seq, _)| *seq);
        // How much lies beyond the last seal is not stored: assume a whole stride, which keeps one seal more.
        let open_bytes = if row.seq > sealed { STRIDE_BYTES_MAX as u64 } else { 0 };
        Ok(Self { row, opening, open_bytes, dirty: false, applied: 0, fork: None })
    }

    /// Position of the last entry that a seal vouches for: how far the feed can be sent.
    pub(super) fn sealed_seq(&self) -> u64 {
        self.row.sealed.as_ref().map_or(0, |(seq, _)| *seq)
    }

    /// Rules heads in force at `seq`: those of the last entry up to it that stated any.
    pub(super) fn rules_at(&self, seq: u64) -> (u64, &[ChainHash]) {
        let stated = self.row.rules.iter().rev().find(|(at, _)| *at <= seq);
        stated.map_or((0, &[]), |(at, heads)| (*at, heads.as_slice()))
    }
}

/// A space.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) id: SpaceId,
    pub(super) row: SpaceRow,
    pub(super) feeds: BTreeMap<FeedId, Feed>,
    pub(super) rules: RulesDag,
    pub(super) frontier: Frontier,
    digest: Cell<Option<Digest>>,
    /// Feeds that moved and that sessions have yet to hear of.
    pub(super) news: News,
    pub(super) held: Held,
    pub(super) memory: BTreeMap<NodeId, Memory>,
    /// This process's feeds.
    pub(super) own_data: Opening,
    pub(super) own_rules: Opening,
    /// Their ids.
    pub(super) own_data_feed: FeedId,
    pub(super) own_rules_feed: FeedId,
    pub(super) dirty: bool,
    /// Greatest clock reading that was too far ahead to be followed.
    pub(super) clock_ahead: Option<u64>,
    pub(super) care: Care,
}

/// This process as an author: what its feeds are opened with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Author {
    pub(super) node: NodeId,
    pub(super) epoch: u64,
}

impl Space {
    /// A space of which nothing but the founding record is known.
    pub(super) fn new(found: &Found, no: u32, author: Author) -> Self {
        let id = found.space();
        let row = SpaceRow {
            space: id,
            no,
            name: found.name.clone(),
            founding: found.encode(),
            journal: 0,
            running: [0; 16],
            heads: Vec::new(),
            sums: tombolo_crdt::digest::StateSums::default(),
            entities: 0,
            poisoned: 0,
            applied: 0,
            refused: 0,
        };
        let mut space = Self::over(row, BTreeMap::new(), author);
        space.dirty = true;
        space
    }

    fn over(row: SpaceRow, feeds: BTreeMap<FeedId, Feed>, author: Author) -> Self {
        let closes: Vec<Position> = feeds
            .values()
            .filter(|feed| feed.opening.node == author.node && feed.row.seq > 0)
            .map(|feed| Position { feed: feed.opening.feed(), seq: feed.row.seq, chain: feed.row.chain })
            .collect();
        let closed = |kind| {
            let of_kind = |p: &&Position| feeds.get(&p.feed).is_some_and(|feed| feed.opening.kind == kind);
            let mut closed: Vec<Position> = closes.iter().filter(of_kind).copied().collect();
            // An opening is sent with every range: name the newest epochs only.
            let skip = closed.len().saturating_sub(CLOSES_MAX);
            closed.drain(..skip);
            closed
        };
        let open = |kind| Opening::new(author.node, row.space, author.epoch, kind, closed(kind));
        let short = defect::is(Defect::FrontierShort) && row.journal > 32;
        let frontier = feeds
            .iter()
            .take(feeds.len() - usize::from(short))
            .filter(|(_, feed)| feed.row.seq > 0)
            .map(|(id, feed)| Position { feed: *id, seq: feed.row.seq, chain: feed.row.chain })
            .collect();
        let (own_data, own_rules) = (open(FeedKind::Data), open(FeedKind::Rules));
        Self {
            id: row.space,
            rules: RulesDag::new(row.space),
            own_data_feed: own_data.feed(),
            own_rules_feed: own_rules.feed(),
            own_data,
            own_rules,
            feeds,
            frontier,
            digest: Cell::new(None),
            news: News::default(),
            held: Held::default(),
            memory: BTreeMap::new(),
            row,
            dirty: false,
            clock_ahead: None,
            care: Care::default(),
        }
    }

    /// Reads a space back: its feeds, its rules entries in journal order, what is held and what peers are known for. What
    /// cannot be read and can be done without is removed in `batch`.
    pub(super) fn load(row: SpaceRow, batch: &mut Batch<'_>, author: Author) -> Result<Self, StoreError> {
        let no = row.no;
        let mut feeds = BTreeMap::new();
        for (id, row) in batch.feeds(no)? {
            feeds.insert(id, Feed::load(row)?);
        }
        let mut space = Self::over(row, feeds, author);
        space.load_rules(batch)?;
        for feed in space.feeds.keys().copied().collect::<Vec<_>>() {
            for (seq, row) in held(batch, feed)? {
                space.held.insert(feed, seq, row.bytes.len());
            }
        }
        for (node, row) in peers(batch, no)? {
            space.memory.insert(node, Memory::load(row));
        }
        Ok(space)
    }

    fn load_rules(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        let mut entries = Vec::new();
        for (id, feed) in self.feeds.iter().filter(|(_, feed)| feed.opening.kind == FeedKind::Rules) {
            let mut next = 1;
            while next <= feed.row.seq {
                let page = batch.entries(*id, next..=feed.row.seq, RULES_PAGE_BYTES)?;
                let Some((last, _)) = page.last() else { break };
                next = last + 1;
                entries.extend(page.into_iter().map(|(seq, row)| (row.journal, *id, seq, row)));
            }
        }
        entries.sort_by_key(|(journal, ..)| *journal);
        for (_, id, seq, row) in entries {
            let entry = Entry::decode(&row.bytes)
                .map_err(|_| StoreError::corrupt("entries", "a settled rules entry does not decode"))?;
            let verdict = Verdict::from_code(row.verdict)
                .ok_or_else(|| StoreError::corrupt("entries", "unknown verdict code"))?;
            let parents = self.feeds.get(&id).map(|feed| feed.rules_at(seq).1.to_vec()).unwrap_or_default();
            if let Some(feed) = self.feeds.get_mut(&id).filter(|_| verdict == Verdict::Applied) {
                feed.applied = feed.applied.max(seq);
            }
            self.rules.insert(row.chain, parents, &entry, verdict);
        }
        Ok(())
    }

    /// Digest of the settled frontier; computed at most once per change.
    pub(super) fn frontier_digest(&self) -> Digest {
        let digest = self.digest.get().unwrap_or_else(|| self.frontier.digest());
        self.digest.set(Some(digest));
        digest
    }

    /// State digest.
    pub(super) fn state_digest(&self) -> Digest {
        self.row.sums.digest()
    }

    /// Moves a feed forward by the settled entry `seq`.
    pub(super) fn advance(&mut self, feed: FeedId, seq: u64, chain: ChainHash) {
        self.frontier.advance(Position { feed, seq, chain });
        self.digest.set(None);
        self.dirty = true;
        if let Some(feed) = self.feeds.get_mut(&feed) {
            assert_eq!(feed.row.seq + 1, seq, "a feed settles without gaps");
            feed.row.seq = seq;
            feed.row.chain = chain;
            feed.dirty = true;
        }
    }

    /// Heads of the data-entry DAG after `entry` of `feed` settled at `seq`.
    pub(super) fn advance_heads(&mut self, feed: FeedId, seq: u64, chain: ChainHash, deps: &[Dep]) {
        self.row
            .heads
            .retain(|head| head.feed != feed && !deps.iter().any(|dep| dep.feed == head.feed && dep.seq >= head.seq));
        let at = self.row.heads.partition_point(|head| head.feed < feed);
        self.row.heads.insert(at, Dep { feed, seq, chain });
    }

    /// The roster under everything known here.
    pub(super) fn roster(&self) -> std::sync::Arc<Roster> {
        self.rules.roster()
    }

    /// Role of a node under everything known here.
    pub(super) fn role(&self, node: NodeId) -> Option<Role> {
        self.roster().member(node).map(|member| member.role)
    }

    /// Members other than `me`.
    pub(super) fn others(&self, me: NodeId) -> Vec<(NodeId, Member)> {
        self.roster().members().filter(|(node, _)| *node != me).map(|(node, member)| (node, member.clone())).collect()
    }

    /// Feeds settled beyond what `known` says, with the first position that is lacking.
    pub(super) fn lacking(&self, known: &dyn Fn(FeedId) -> u64) -> Vec<(FeedId, u64)> {
        self.feeds
            .iter()
            .filter(|(id, feed)| feed.fork.is_none() && feed.row.seq > known(**id))
            .map(|(id, _)| (*id, known(*id) + 1))
            .collect()
    }

    /// Feeds whose row differs from the store, and forgets that they do.
    pub(super) fn take_dirty_feeds(&mut self) -> BTreeSet<FeedId> {
        let dirty = self.feeds.iter_mut().filter(|(_, feed)| feed.dirty);
        dirty
            .map(|(id, feed)| {
                feed.dirty = false;
                *id
            })
            .collect()
    }
}

/// The held entries of a feed. One that cannot be read is dropped: it comes again.
fn held(batch: &mut Batch<'_>, feed: FeedId) -> Result<Vec<(u64, HeldRow)>, StoreError> {
    loop {
        let (key, detail) = match batch.held(feed) {
            Err(StoreError::Corrupt { key, detail, .. }) => (key, detail),
            rows => return rows,
        };
        let seq = key.strip_prefix(feed.as_bytes()).and_then(|seq| seq.try_into().ok()).map(u64::from_be_bytes);
        let Some(seq) = seq else { return Err(StoreError::corrupt_at("held", &key, detail)) };
        tracing::error!(%feed, seq, %detail, "a held entry is damaged and dropped");
        batch.remove_held(feed, seq)?;
    }
}

/// What is remembered of peers. What cannot be read is forgotten: it costs a longer frontier.
fn peers(batch: &mut Batch<'_>, no: u32) -> Result<Vec<(NodeId, PeerRow)>, StoreError> {
    loop {
        let (key, detail) = match batch.peers(no) {
            Err(StoreError::Corrupt { key, detail, .. }) => (key, detail),
            rows => return rows,
        };
        tracing::error!(?key, %detail, "what is remembered of a peer is damaged and forgotten");
        if !batch.drop_peer(no, &key) {
            return Err(StoreError::corrupt_at("state", &key, detail));
        }
    }
}

/// Most earlier epochs named in an opening (56 bytes each, sent with every range).
const CLOSES_MAX: usize = 4;
/// Page size when rules entries are read back, in bytes.
const RULES_PAGE_BYTES: usize = 1 << 20;
