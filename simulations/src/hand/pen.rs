//! A feed that is written by hand: what a member, or somebody who is none, may send although no engine would write it.

use ed25519_dalek::SigningKey;
use serde_bytes::ByteBuf;
use tombolo_crdt::entity::{EntityState, Provenance, Write, Writer};
use tombolo_crdt::entry::{Body, Dep, ENTRY_VERSION, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Opening, Range, Signature, chain, seal_message};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::{Record, rules_entry};
use tombolo_crdt::{ChainHash, Hlc, NodeId, SpaceId};

/// Clock reading of everything it writes: in 2027.
const MILLIS: u64 = 1_800_000_000_000;

/// A feed that is written by hand, entry by entry, each sealed.
#[derive(Debug)]
pub struct Pen {
    key: SigningKey,
    opening: Opening,
    seq: u64,
    last: ChainHash,
    /// Rules heads in force: they are stated when they change.
    stated: Vec<ChainHash>,
}

impl Pen {
    /// A new feed.
    #[must_use]
    pub fn new(key: &SigningKey, space: SpaceId, epoch: u64, kind: FeedKind) -> Self {
        let node = NodeId::from_bytes(key.verifying_key().to_bytes());
        let opening = Opening::new(node, space, epoch, kind, Vec::new());
        let last = opening.chain();
        Self { key: key.clone(), opening, seq: 0, last, stated: Vec::new() }
    }

    /// The feed's opening.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The last entry, as one that depends on it names it.
    #[must_use]
    pub fn dep(&self) -> Dep {
        Dep { feed: self.opening.feed(), seq: self.seq, chain: self.last }
    }

    /// The next entry: a PUT to an entity that nobody has written.
    ///
    /// # Panics
    /// If the write cannot be made, which would be a defect.
    pub fn write(&mut self, rules: Vec<ChainHash>, deps: Vec<Dep>, id: &str) -> Range {
        let (feed, hlc) = (self.opening.feed(), Hlc::from_millis(MILLIS));
        let empty = EntityState::new();
        let mut writer = Writer::new(&empty, feed, hlc);
        let value = Json::parse(br#"{"forged":true}"#).expect("JSON");
        writer.write(&Write::Put { value, base: None }).expect("a small object");
        let (change, _) = writer.finish(&Provenance::default(), 1).expect("fits").expect("something changed");
        let (collection, id, change) = ("x".to_owned(), id.to_owned(), change.bytes().to_vec());
        let entry = Entry {
            version: ENTRY_VERSION,
            seq: self.seq + 1,
            hlc,
            rules: self.newly(rules),
            deps,
            trace: None,
            idempotency: None,
            body: Body::Data(vec![EntityChange { collection, id, origin: 0, change }]),
            ext: Vec::new(),
        };
        self.append(&entry)
    }

    /// The next rules entry.
    pub fn rule(&mut self, parents: Vec<ChainHash>, records: &[Record]) -> Range {
        let entry = rules_entry(self.seq + 1, Hlc::from_millis(MILLIS), parents, records);
        let entry = Entry { rules: entry.rules.and_then(|rules| self.newly(rules)), ..entry };
        self.append(&entry)
    }

    /// Rules heads, as an entry states them: only if they are not in force.
    fn newly(&mut self, rules: Vec<ChainHash>) -> Option<Vec<ChainHash>> {
        (self.stated != rules).then(|| {
            self.stated.clone_from(&rules);
            rules
        })
    }

    /// The next entry, whatever it says: sealed by itself.
    pub fn append(&mut self, entry: &Entry) -> Range {
        self.seq += 1;
        let feed = self.opening.feed();
        let (from, previous, bytes) = (self.seq, self.last, entry.encode());
        self.last = chain(feed, from, previous, &bytes);
        let seal = Signature::sign(&self.key, &seal_message(feed, from, self.last));
        Range { opening: self.opening.encode(), from, previous, entries: vec![ByteBuf::from(bytes)], seal }
    }
}
