//! A feed that is written by hand: what a member, or somebody who is none, may send although no engine would write it.
//! Tests that drive a world by hand write with it, and members gone bad of a plan.

use ed25519_dalek::SigningKey;
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};
use tombolo_crdt::entity::{EntityState, Provenance, Write, Writer};
use tombolo_crdt::entry::{Body, Dep, ENTRY_VERSION, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Opening, Position, Range, Signature, chain, seal_message};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::{Record, rules_entry};
use tombolo_crdt::{ChainHash, ChangeHash, FeedId, Hlc, NodeId, SpaceId};

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
        Self::closing(key, space, epoch, kind, Vec::new())
    }

    /// A new feed whose opening says that it closes others.
    #[must_use]
    pub fn closing(key: &SigningKey, space: SpaceId, epoch: u64, kind: FeedKind, closes: Vec<Position>) -> Self {
        let node = NodeId::from_bytes(key.verifying_key().to_bytes());
        let opening = Opening::new(node, space, epoch, kind, closes);
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
        let entry = self.data(hlc, &rules, deps, vec![EntityChange { collection, id, origin: 0, change }]);
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

    /// The next data entry, not appended yet. Dependencies are put into their order.
    #[must_use]
    pub fn data(&mut self, hlc: Hlc, rules: &[ChainHash], mut deps: Vec<Dep>, changes: Vec<EntityChange>) -> Entry {
        deps.sort_unstable();
        Entry {
            version: ENTRY_VERSION,
            seq: self.seq + 1,
            hlc,
            rules: self.newly(rules.to_vec()),
            deps,
            trace: None,
            idempotency: None,
            body: Body::Data(changes),
            ext: Vec::new(),
        }
    }

    /// The next entry, whatever it says: sealed by itself.
    pub fn append(&mut self, entry: &Entry) -> Range {
        self.append_run(std::slice::from_ref(entry))
    }

    /// The next entries, whatever they say, under one seal. Where they stand in the feed is theirs to say.
    pub fn append_run(&mut self, entries: &[Entry]) -> Range {
        let feed = self.opening.feed();
        let (from, previous) = (self.seq + 1, self.last);
        let mut encoded = Vec::with_capacity(entries.len());
        for entry in entries {
            self.seq += 1;
            let bytes = entry.encode();
            self.last = chain(feed, self.seq, self.last, &bytes);
            encoded.push(ByteBuf::from(bytes));
        }
        let seal = Signature::sign(&self.key, &seal_message(feed, self.seq, self.last));
        Range { opening: self.opening.encode(), from, previous, entries: encoded, seal }
    }
}

/// An Automerge change, the first that `actor` makes: "put null under k", `count` times, on these dependencies. Its
/// operations are numbered from `start` on. Runs make some 64 bytes of any count.
#[must_use]
pub fn forged_change(actor: FeedId, start_and_count: (u64, u32), deps: &[ChangeHash]) -> Vec<u8> {
    forge(actor, start_and_count, deps, 0)
}

/// As [`forged_change`], with as many bytes as operations: a message of spaces makes it as long. So it is lawful up to
/// the most operations that a change may have.
#[must_use]
pub fn full_change(actor: FeedId, (start, count): (u64, u32)) -> Vec<u8> {
    let bare = forge(actor, (start, count), &[], 0).len();
    forge(actor, (start, count), &[], (count as usize).saturating_sub(bare))
}

/// With a message of so many spaces.
fn forge(actor: FeedId, (start, count): (u64, u32), deps: &[ChangeHash], spaces: usize) -> Vec<u8> {
    let count = i64::from(count);
    let run = |entry: &[u8]| {
        let mut out = Vec::new();
        sleb(&mut out, if count == 1 { -1 } else { count });
        out.extend_from_slice(entry);
        out
    };
    let mut insert = Vec::new();
    uleb(&mut insert, count.unsigned_abs());
    let columns = [(0x15_u64, run(b"\x01k")), (0x34, insert), (0x42, run(&[1])), (0x56, run(&[0])), (0x70, run(&[0]))];
    let mut content = Vec::new();
    uleb(&mut content, deps.len() as u64);
    deps.iter().for_each(|dep| content.extend_from_slice(dep.as_bytes()));
    uleb(&mut content, actor.as_bytes().len() as u64);
    content.extend_from_slice(actor.as_bytes());
    // First of its actor, then no time, the message, no other actors.
    content.push(1);
    uleb(&mut content, start);
    content.push(0);
    uleb(&mut content, spaces as u64);
    content.resize(content.len() + spaces, b' ');
    content.push(0);
    uleb(&mut content, columns.len() as u64);
    for (kind, bytes) in &columns {
        uleb(&mut content, *kind);
        uleb(&mut content, bytes.len() as u64);
    }
    columns.iter().for_each(|(_, bytes)| content.extend_from_slice(bytes));
    let mut chunk = vec![1];
    uleb(&mut chunk, content.len() as u64);
    chunk.extend_from_slice(&content);
    let hash = Sha256::digest(&chunk);
    let mut out = vec![0x85, 0x6f, 0x4a, 0x83];
    out.extend_from_slice(hash.split_at(4).0);
    out.extend_from_slice(&chunk);
    out
}

fn uleb(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

fn sleb(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::entity::{CHANGE_OPERATIONS_MAX, Change, ChangeError};

    use super::*;

    #[test]
    fn a_forged_change_is_one_until_it_stands_for_more_than_it_has_bytes() {
        let actor = FeedId::from_bytes([7; 16]);
        let dep = ChangeHash::from_bytes([9; 32]);
        let good = Change::parse(&forged_change(actor, (1, 1), &[dep]), actor).expect("a change");
        assert_eq!((good.operations(), good.deps()), (1, [dep].as_slice()));
        let dense = forged_change(actor, (1, 65_536), &[]);
        assert!(dense.len() < 80);
        assert_eq!(Change::parse(&dense, actor).map(|change| change.operations()), Err(ChangeError::TooLarge));
        for count in [200, 65_536, CHANGE_OPERATIONS_MAX as u32] {
            let full = full_change(actor, (1, count));
            assert!((full.len() as u32 - count) < 8, "{}", full.len());
            assert_eq!(Change::parse(&full, actor).map(|change| change.operations() as u32), Ok(count));
        }
    }

    #[test]
    fn a_run_verifies_and_goes_on_where_the_feed_ended() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let mut pen = Pen::new(&key, SpaceId::from_bytes([1; 32]), 5, FeedKind::Data);
        pen.write(Vec::new(), Vec::new(), "one");
        let first = pen.data(Hlc::from_millis(MILLIS), &[], Vec::new(), Vec::new());
        let second = Entry { seq: first.seq + 1, ..first.clone() };
        let run = pen.append_run(&[first, second]).verify().expect("it is chained and sealed");
        assert_eq!((run.entries().len(), run.end(), pen.dep().seq), (2, 3, 3));
    }
}
