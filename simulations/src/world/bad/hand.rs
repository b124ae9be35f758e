//! What an attack is made of.

use ed25519_dalek::SigningKey;
use tombolo_crdt::entity::Change;
use tombolo_crdt::entry::{Body, Content, Dep, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Opening, Range};
use tombolo_crdt::rules::Role;
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, ChangeHash, Digest, FeedId, Hlc, SpaceId};
use tombolo_node::engine::Engine;
use tombolo_transport::frame::{Frame, Ranges};

use crate::luck::Luck;
use crate::pen::Pen;
use crate::plan::{Attack, GONE_BAD_COLLECTION};

/// Positions that a frame of entries may say it has: what a receiver does with the number is its matter.
const NUMBERS: [u64; 4] = [0, 1, 7, u64::MAX];

/// A changed entity: collection and id, and its changes in an order in which they were settled.
pub(super) type History = ((String, String), Vec<ChangeHash>);

/// What a member gone bad has at hand: the key of a node, what that node holds, and what it could find out of the peer.
pub(super) struct Hand<'w> {
    pub(super) luck: Luck,
    /// What is asked of luck begins with this.
    pub(super) question: [u64; 2],
    pub(super) key: &'w SigningKey,
    pub(super) role: Role,
    pub(super) space: SpaceId,
    pub(super) wall_millis: u64,
    pub(super) own: &'w Engine,
    pub(super) peer: &'w Engine,
}

impl Hand<'_> {
    /// The frames of an attack. `None`: the node does not hold the space.
    pub(super) fn craft(&self, attack: Attack) -> Option<Vec<Frame>> {
        let rules = self.own.rules_heads(self.space)?;
        Some(match attack {
            Attack::Refused => self.refused(&rules),
            Attack::Waiting => self.waiting(&rules),
            Attack::Dense => self.dense(&rules),
            Attack::Unknown => self.unknown(&rules),
            Attack::Old => self.old(&rules),
            Attack::Naming => self.naming(&rules),
            Attack::Rules => self.refused_rules(&rules),
            Attack::Clocks => self.clocks(&rules),
            Attack::Lies => self.lies(),
            Attack::Asking => self.asking(),
        })
    }

    /// The `nth` number that is drawn for something.
    pub(super) fn draw(&self, what: u64, nth: u64) -> u64 {
        let [about, this] = self.question;
        self.luck.draw([about, this, 1 + what, nth])
    }

    /// 32 bytes drawn for a question, as [`Self::draw`] draws a number.
    pub(super) fn bytes(&self, what: u64, nth: u64) -> [u8; 32] {
        let [about, this] = self.question;
        self.luck.bytes([about, this, 1 + what, nth])
    }

    pub(super) fn digest(&self, what: u64, nth: u64) -> Digest {
        Digest::from_bytes(self.bytes(what, nth))
    }

    pub(super) fn chain(&self, what: u64, nth: u64) -> ChainHash {
        ChainHash::from_bytes(self.bytes(what, nth))
    }

    /// A feed that does not exist.
    pub(super) fn no_feed(&self, what: u64, nth: u64) -> FeedId {
        let mut id = [0; 16];
        id.copy_from_slice(self.bytes(what, nth).split_at(16).0);
        FeedId::from_bytes(id)
    }

    /// An entry that does not exist.
    pub(super) fn no_entry(&self, what: u64, nth: u64) -> Dep {
        Dep { feed: self.no_feed(what, nth), seq: 1 + self.draw(what, nth) % 9, chain: self.chain(what, nth) }
    }

    /// The `nth` feed of this attack, of an epoch of its own.
    pub(super) fn pen(&self, nth: u64, kind: FeedKind) -> Pen {
        Pen::new(self.key, self.space, self.epoch(nth), kind)
    }

    pub(super) fn epoch(&self, nth: u64) -> u64 {
        self.draw(0, nth)
    }

    /// What the node's clock says.
    pub(super) fn hlc(&self) -> Hlc {
        Hlc::from_millis(self.wall_millis)
    }

    /// One frame of entries.
    pub(super) fn frame(&self, ranges: Vec<Range>) -> Frame {
        let at = usize::try_from(self.draw(1, ranges.len() as u64)).unwrap_or(0) % NUMBERS.len();
        let number = NUMBERS.get(at).copied().unwrap_or(0);
        Frame::Ranges(Ranges { space: self.space, number, ranges })
    }

    /// The next entries of a feed, under one seal: each with the changes that are made for its number.
    pub(super) fn run(
        &self,
        pen: &mut Pen,
        rules: &[ChainHash],
        count: u64,
        mut changes: impl FnMut(u64) -> Vec<EntityChange>,
    ) -> Range {
        let first = pen.data(self.hlc(), rules, Vec::new(), Vec::new());
        let entry = |n: u64| Entry {
            seq: first.seq + n,
            rules: if n == 0 { first.rules.clone() } else { None },
            body: Body::Data(changes(n)),
            ..first.clone()
        };
        let entries: Vec<Entry> = (0..count).map(entry).collect();
        pen.append_run(&entries)
    }

    /// A change of an entity of its own that nobody can read: large enough that an entry with it costs more than what
    /// is around it.
    pub(super) fn garbage(&self, nth: u64) -> EntityChange {
        let change = (0..16).flat_map(|part| self.bytes(2, nth << 8 | part)).collect();
        own_change(&nth.to_string(), change)
    }

    /// All data feeds that the node holds, each at its end.
    pub(super) fn ends(&self) -> Vec<Dep> {
        let Ok(reading) = self.own.reader().reading() else { return Vec::new() };
        let Ok(Some(space)) = reading.space(self.space) else { return Vec::new() };
        let feeds = reading.feeds(space.space_no).unwrap_or_default();
        let data = feeds.into_iter().filter(|(_, feed)| {
            feed.seq > 0 && Opening::decode(&feed.opening).is_ok_and(|opening| opening.kind == FeedKind::Data)
        });
        data.map(|(id, feed)| Dep { feed: id, seq: feed.seq, chain: feed.chain }).collect()
    }

    /// The entity of others with most changes, as the node holds it. O(entries).
    pub(super) fn longest(&self) -> Option<History> {
        let reading = self.own.reader().reading().ok()?;
        let space = reading.space(self.space).ok()??;
        let mut found: std::collections::BTreeMap<(String, String), Vec<ChangeHash>> =
            std::collections::BTreeMap::new();
        for (id, feed) in reading.feeds(space.space_no).ok()? {
            for (seq, row) in reading.entries(id, 1..=feed.seq, usize::MAX).unwrap_or_default() {
                let applied = Verdict::from_code(row.verdict) == Some(Verdict::Applied);
                let Ok(Content::Known(entry)) = Content::decode(&row.bytes, FeedKind::Data, seq) else { continue };
                let Body::Data(changes) = entry.body else { continue };
                for change in changes.into_iter().filter(|change| applied && change.collection != GONE_BAD_COLLECTION) {
                    let hash = Change::hash_of(&change.change);
                    found.entry((change.collection, change.id)).or_default().extend(hash);
                }
            }
        }
        found.into_iter().max_by(|(a, one), (b, other)| (one.len(), a).cmp(&(other.len(), b)))
    }
}

/// A change of an entity of its own.
pub(super) fn own_change(id: &str, change: Vec<u8>) -> EntityChange {
    EntityChange { collection: GONE_BAD_COLLECTION.to_owned(), id: id.to_owned(), origin: 0, change }
}
