//! A space in the engine's memory: a cache of what its store says. It is dropped and read again when a commit fails.

pub(in crate::engine) mod append;
pub(in crate::engine) mod away;
pub(in crate::engine) mod care;
pub(in crate::engine) mod heads;
pub(in crate::engine) mod held;
pub(in crate::engine) mod holding;
pub(in crate::engine) mod idempotency;
pub(in crate::engine) mod judge;
pub(in crate::engine) mod known;
pub(in crate::engine) mod local;
pub(in crate::engine) mod looks;
pub(in crate::engine) mod membership;
pub(in crate::engine) mod news;
pub(in crate::engine) mod offer;
pub(in crate::engine) mod past;
pub(in crate::engine) mod planning;
pub(in crate::engine) mod remembered;
pub(in crate::engine) mod rows;
pub(in crate::engine) mod settle;
pub(in crate::engine) mod spaces;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entry::{Dep, Entry};
use tombolo_crdt::feed::{FeedKind, Opening, Position, STRIDE_BYTES_MAX};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::rules::{Found, Member, Role, Roster, RulesDag};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, Digest, FeedId, NodeId, SpaceId};

use crate::engine::space::away::{Abreast, Settled};
use crate::engine::space::care::Care;
use crate::engine::space::heads::Heads;
use crate::engine::space::held::Held;
use crate::engine::space::holding::opening_bytes;
use crate::engine::space::news::News;
use crate::engine::space::remembered::Remembered;
use crate::store::{Batch, FeedRow, JournalKind, JournalRow, PeerRow, SpaceRow, StoreError};

/// A feed of a space.
#[derive(Debug)]
pub(in crate::engine) struct Feed {
    pub(in crate::engine) row: FeedRow,
    pub(in crate::engine) opening: Opening,
    /// Bytes of entries settled after the last seal.
    pub(in crate::engine) open_bytes: u64,
    /// Position of the feed's last applied entry; 0: none. Kept of rules feeds only.
    pub(in crate::engine) applied: u64,
    /// Why nothing more is taken from this feed: its chain forks.
    pub(in crate::engine) fork: Option<u64>,
}

impl Feed {
    pub(in crate::engine) fn new(opening: Opening, space_no: u32) -> Self {
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
        Self { row, opening, open_bytes: 0, applied: 0, fork: None }
    }

    fn load(row: FeedRow) -> Result<Self, StoreError> {
        let opening = Opening::decode(&row.opening)
            .map_err(|_| StoreError::corrupt("feeds", "the opening of a feed does not decode"))?;
        let sealed = row.sealed.as_ref().map_or(0, |(seq, _)| *seq);
        // How much lies beyond the last seal is not stored: assume a whole stride, which keeps one seal more.
        let open_bytes = if row.seq > sealed { STRIDE_BYTES_MAX as u64 } else { 0 };
        Ok(Self { row, opening, open_bytes, applied: 0, fork: None })
    }

    /// Position of the last entry that a seal vouches for: how far the feed can be sent.
    pub(in crate::engine) fn sealed_seq(&self) -> u64 {
        self.row.sealed.as_ref().map_or(0, |(seq, _)| *seq)
    }

    /// Rules heads in force at `seq`: those of the last entry up to it that stated any.
    pub(in crate::engine) fn rules_at(&self, seq: u64) -> (u64, &[ChainHash]) {
        let stated = self.row.rules.iter().rev().find(|(at, _)| *at <= seq);
        stated.map_or((0, &[]), |(at, heads)| (*at, heads.as_slice()))
    }
}

/// A space.
#[derive(Debug)]
pub(in crate::engine) struct Space {
    pub(in crate::engine) id: SpaceId,
    pub(in crate::engine) row: SpaceRow,
    pub(in crate::engine) feeds: BTreeMap<FeedId, Feed>,
    pub(in crate::engine) rules: RulesDag,
    pub(in crate::engine) frontier: Frontier,
    /// Heads of the data entries.
    pub(in crate::engine) heads: Heads,
    digest: Cell<Option<Digest>>,
    /// Feeds that moved in this step, and how far they were before it.
    pub(in crate::engine) moves: BTreeMap<FeedId, u64>,
    /// Feeds that moved and that sessions have yet to hear of.
    pub(in crate::engine) news: News,
    pub(in crate::engine) held: Held,
    pub(in crate::engine) memory: BTreeMap<NodeId, Remembered>,
    /// How much is settled, and which members that are away lack nothing of it.
    pub(in crate::engine) settled: Settled,
    pub(in crate::engine) abreast: Abreast,
    /// This process's feeds.
    pub(in crate::engine) own_data: Opening,
    pub(in crate::engine) own_rules: Opening,
    /// Their ids.
    pub(in crate::engine) own_data_feed: FeedId,
    pub(in crate::engine) own_rules_feed: FeedId,
    /// The space's row differs from the store.
    pub(in crate::engine) dirty: bool,
    /// Feeds whose rows differ from the store.
    dirty_feeds: BTreeSet<FeedId>,
    /// Feeds whose chain forks; their [`Feed::fork`] says where.
    pub(in crate::engine) forks: BTreeSet<FeedId>,
    /// Greatest clock reading that was too far ahead to be followed.
    pub(in crate::engine) clock_ahead: Option<u64>,
    pub(in crate::engine) care: Care,
}

/// What lies in the store of all spaces together, read in one pass each.
#[derive(Debug)]
pub(in crate::engine) struct Stored {
    feeds: BTreeMap<u32, Vec<(FeedId, FeedRow)>>,
    held: BTreeMap<FeedId, Vec<(u64, Option<usize>)>>,
}

impl Stored {
    pub(in crate::engine) fn read(batch: &Batch<'_>) -> Result<Self, StoreError> {
        Ok(Self { feeds: batch.feeds_by_space()?, held: batch.held_by_feed()? })
    }
}

/// This process as an author: what its feeds are opened with.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Author {
    pub(in crate::engine) node: NodeId,
    pub(in crate::engine) epoch: u64,
}

impl Space {
    /// A space of which nothing but the founding record is known.
    pub(in crate::engine) fn new(found: &Found, space_no: u32, author: Author) -> Self {
        let id = found.space();
        let row = SpaceRow {
            space: id,
            space_no,
            name: found.name.clone(),
            founding: found.encode(),
            journal: 0,
            running: [0; 16],
            sums: tombolo_crdt::digest::StateSums::default(),
            entities: 0,
            frozen: 0,
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
        let settled = Settled::of(feeds.values());
        Self {
            id: row.space,
            rules: RulesDag::new(row.space),
            own_data_feed: own_data.feed(),
            own_rules_feed: own_rules.feed(),
            forks: BTreeSet::new(),
            own_data,
            own_rules,
            feeds,
            frontier,
            heads: Heads::default(),
            digest: Cell::new(None),
            moves: BTreeMap::new(),
            news: News::default(),
            held: Held::default(),
            memory: BTreeMap::new(),
            settled,
            abreast: Abreast::default(),
            row,
            dirty: false,
            dirty_feeds: BTreeSet::new(),
            clock_ahead: None,
            care: Care::default(),
        }
    }

    /// Reads a space back: its feeds as `stored` has them, its rules entries in journal order, heads, what is held and
    /// what peers are known for. What cannot be read and can be done without is removed in `batch`. O(feeds + rules
    /// entries).
    pub(in crate::engine) fn load(
        row: SpaceRow,
        stored: &mut Stored,
        batch: &mut Batch<'_>,
        author: Author,
    ) -> Result<Self, StoreError> {
        let space_no = row.space_no;
        let mut feeds = BTreeMap::new();
        for (id, row) in stored.feeds.remove(&space_no).unwrap_or_default() {
            feeds.insert(id, Feed::load(row)?);
        }
        let mut space = Self::over(row, feeds, author);
        space.load_rules(batch)?;
        space.load_heads(batch)?;
        let mut empty = Vec::new();
        for feed in space.feeds.keys().copied().collect::<Vec<_>>() {
            space.load_held(feed, stored.held.remove(&feed).unwrap_or_default(), batch)?;
            let is_empty = space.feeds.get(&feed).is_some_and(|feed| feed.row.seq == 0);
            if is_empty && space.held.of(feed).is_none() {
                empty.push(feed);
            }
        }
        // What was held of them could not be read: nothing is left of them.
        for id in empty {
            space.forget_feed(id);
            batch.remove_feed(id);
        }
        // What was held may be understood, or its row be whole, by now.
        space.held.wake_all();
        for (node, row) in peers(batch, space_no)? {
            space.memory.insert(node, Remembered::load(row));
        }
        Ok(space)
    }

    /// Heads that cannot be read are where their feeds end: to name an entry more as a dependency is always right.
    fn load_heads(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let mut heads = Vec::new();
        for (feed, head) in batch.heads(self.row.space_no)? {
            let end = self.feeds.get(&feed).map(|known| (known.row.seq, known.row.chain));
            if head.is_none() {
                tracing::error!(%feed, "a head is damaged; the end of its feed is taken for it");
            }
            heads.extend(head.or(end).map(|(seq, chain)| Dep { feed, seq, chain }));
        }
        self.heads = Heads::load(heads);
        Ok(())
    }

    /// A held entry that cannot be read is dropped: it comes again.
    fn load_held(
        &mut self,
        feed: FeedId,
        rows: Vec<(u64, Option<usize>)>,
        batch: &mut Batch<'_>,
    ) -> Result<(), StoreError> {
        let opening = self.feeds.get(&feed).map_or(0, opening_bytes);
        for (seq, bytes) in rows {
            match bytes {
                Some(bytes) => self.held.insert(feed, seq, bytes, opening),
                None => {
                    tracing::error!(%feed, seq, "a held entry is damaged and dropped");
                    batch.remove_held(feed, seq)?;
                }
            }
        }
        Ok(())
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
            self.rules.insert(row.chain, &parents, &entry, verdict);
        }
        Ok(())
    }

    /// Digest of the settled frontier; computed at most once per change.
    pub(in crate::engine) fn frontier_digest(&self) -> Digest {
        let digest = self.digest.get().unwrap_or_else(|| self.frontier.digest());
        self.digest.set(Some(digest));
        digest
    }

    /// How far a feed was settled when `heard` were all the news there had been. O(log).
    pub(in crate::engine) fn settled_when(&self, feed: FeedId, heard: u64) -> u64 {
        let before = self.news.was(feed, heard).or_else(|| self.moves.get(&feed).copied());
        before.unwrap_or_else(|| self.frontier.seq(feed))
    }

    /// State digest.
    pub(in crate::engine) fn state_digest(&self) -> Digest {
        self.row.sums.digest()
    }

    /// Moves a feed forward by the settled entry `seq`.
    pub(in crate::engine) fn advance(&mut self, feed: FeedId, seq: u64, chain: ChainHash) {
        self.moves.entry(feed).or_insert(seq - 1);
        self.frontier.advance(Position { feed, seq, chain });
        self.digest.set(None);
        self.dirty = true;
        self.feed_changed(feed);
        if let Some(feed) = self.feeds.get_mut(&feed) {
            assert_eq!(feed.row.seq + 1, seq, "a feed settles without gaps");
            assert!(feed.sealed_seq() < seq, "nothing is sealed before it is settled");
            feed.row.seq = seq;
            feed.row.chain = chain;
            self.settled.add(feed.opening.node, 1);
        }
    }

    /// Writes the next row of the journal, and moves the space's row along with it. Returns its position.
    pub(in crate::engine) fn journal(
        &mut self,
        batch: &mut Batch<'_>,
        kind: JournalKind,
        (feed, seq): (FeedId, u64),
        entities: Vec<(String, String)>,
    ) -> Result<u64, StoreError> {
        let position = self.row.journal + 1;
        let row = JournalRow::next(&self.row.running, position, kind, feed, seq, entities);
        debug_assert!(
            !matches!(batch.journal(self.row.space_no, position), Ok(Some(_))),
            "nothing is written over in the journal"
        );
        if !position.is_multiple_of(16) || !defect::is(Defect::JournalRowLeftOut) {
            batch.put_journal(self.row.space_no, position, &row)?;
        }
        self.row.journal = position;
        self.row.running = row.running;
        self.dirty = true;
        Ok(position)
    }

    /// Forgets a feed of which nothing is settled.
    pub(in crate::engine) fn forget_feed(&mut self, id: FeedId) {
        assert_eq!(self.frontier.seq(id), 0, "what is settled is not forgotten");
        self.feeds.remove(&id);
        self.dirty_feeds.remove(&id);
    }

    /// The row of a feed is to be stored.
    pub(in crate::engine) fn feed_changed(&mut self, feed: FeedId) {
        debug_assert!(self.feeds.contains_key(&feed), "a feed that is stored is known");
        self.dirty_feeds.insert(feed);
    }

    /// The roster under everything known here.
    pub(in crate::engine) fn roster(&self) -> std::sync::Arc<Roster> {
        self.rules.roster()
    }

    /// Role of a node under everything known here.
    pub(in crate::engine) fn role(&self, node: NodeId) -> Option<Role> {
        self.roster().member(node).map(|member| member.role)
    }

    /// Members other than `me`.
    pub(in crate::engine) fn others(&self, me: NodeId) -> Vec<(NodeId, Member)> {
        self.roster().members().filter(|(node, _)| *node != me).map(|(node, member)| (node, member.clone())).collect()
    }

    /// Whether anything of the space differs from the store.
    pub(in crate::engine) fn is_dirty(&self) -> bool {
        self.dirty || !self.dirty_feeds.is_empty() || self.heads.is_changed()
    }

    /// Feeds whose row differs from the store, and forgets that they do.
    pub(in crate::engine) fn take_dirty_feeds(&mut self) -> BTreeSet<FeedId> {
        std::mem::take(&mut self.dirty_feeds)
    }
}

/// What is remembered of peers. What cannot be read is forgotten: it costs a longer frontier.
fn peers(batch: &mut Batch<'_>, space_no: u32) -> Result<Vec<(NodeId, PeerRow)>, StoreError> {
    loop {
        let (key, detail) = match batch.peers(space_no) {
            Err(StoreError::Corrupt { key, detail, .. }) => (key, detail),
            rows => return rows,
        };
        tracing::error!(?key, %detail, "what is remembered of a peer is damaged and forgotten");
        if !batch.drop_peer(space_no, &key) {
            return Err(StoreError::corrupt_at("state", &key, detail));
        }
    }
}

/// Most earlier epochs named in an opening (56 bytes each, sent with every range).
const CLOSES_MAX: usize = 4;
/// Page size when rules entries are read back, in bytes.
const RULES_PAGE_BYTES: usize = 1 << 20;
