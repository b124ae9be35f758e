//! What lies where, byte by byte. A store of another format version is refused.
//!
//! One redb file, eight tables from bytes to bytes. Numbers in keys are big-endian, so that keys sort by them; numbers
//! in values are little-endian. `u8`, `u16`, `u32`, `u64` are fixed in size; *postcard* means the row's fields in the
//! order of its declaration, as the crate `postcard` encodes them. Every value but those of `entities` ends in its
//! **sum**: the first 8 bytes of blake3(key ‖ value without the sum). It is checked whenever a value is read.
//!
//! | table | key | value before the sum |
//! |---|---|---|
//! | `entries` | number u64 | feed 16 ‖ seq u64 ‖ verdict u8 ‖ journal u64 ‖ chain 32 ‖ n u32 ‖ n × (previous u64 ‖ after 16) ‖ entry |
//! | `journal` | space u32 ‖ position u64 | kind u8 ‖ feed 16 ‖ seq u64 ‖ running 16 ‖ names |
//! | `entities` | space u32 ‖ collection ‖ 00 ‖ id | the row as `crdt` encodes it; it carries its own blake3, there is no sum |
//! | `state` | 00 | format version u32 |
//! | | 01 ‖ feed 16 | `FeedRow`, postcard |
//! | | 02 ‖ space id 32 | `SpaceRow`, postcard |
//! | | 03 ‖ space u32 ‖ node 32 | `PeerRow`, postcard |
//! | | 04 ‖ name | bytes of the engine |
//! | | 05 ‖ feed 16 ‖ first seq u64 | a run: number of the first u64 ‖ count u64 |
//! | | 06 ‖ space u32 ‖ feed 16 | a head of the space's data entries: seq u64 ‖ chain 32 |
//! | `held` | feed 16 ‖ seq u64 | chain 32 ‖ sealed u8 (0, 1) ‖ if 1: seal 64 ‖ entry |
//! | `seals` | feed 16 ‖ seq u64 | seal 64 |
//! | `quarantine` | 01 ‖ space u32 ‖ feed 16 ‖ seq u64 | `QuarantineRow`, postcard |
//! | | 02 ‖ space u32 ‖ length u16 ‖ collection ‖ id ‖ change hash 32 | feed 16 ‖ seq u64 |
//! | `idempotency` | 01 ‖ key 32 | number u64 ‖ at u64 (ms) ‖ body 32 ‖ outcome |
//! | | 02 ‖ number u64 | at u64 (ms) ‖ key 32 |
//! | | 03 | next number u64 |
//!
//! * *space* u32 is the local number of a space (`SpaceRow::no`); positions of the journal start at 1.
//! * *names* of a journal row: nothing, or n u32 ‖ n × (length u32 ‖ collection ‖ length u32 ‖ id).
//! * *running* = first 16 bytes of blake3("tombolo/1 journal" ‖ previous running ‖ position u64 ‖ kind u8 ‖ feed ‖
//!   seq u64 ‖ n u64 ‖ n × (length u64 ‖ collection ‖ length u64 ‖ id)), the tag preceded by its length as one byte.
//!   Before the first row it is 16 zeros.
//! * Entries are numbered from 1 in the order in which they were stored, whatever their feed and space: redb packs
//!   pages full only where keys are added at a table's end, and leaves them half empty elsewhere. A *run* says where
//!   entries of a feed are that follow each other in both orders.
//! * A lone local write touches `entries`, `journal`, `entities` and `state`; every further table costs a commit some
//!   20 µs, which is why the small rows that every step rewrites share one.

use redb::TableDefinition;
use tombolo_crdt::{ChangeHash, FeedId, NodeId, SpaceId};

/// Version of the layout written by this crate.
pub const FORMAT_VERSION: u32 = 3;

pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A redb table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Entries,
    Journal,
    Entities,
    State,
    Held,
    Seals,
    Quarantine,
    Idempotency,
}

impl Table {
    pub(super) const COUNT: usize = 8;
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Entries,
        Self::Journal,
        Self::Entities,
        Self::State,
        Self::Held,
        Self::Seals,
        Self::Quarantine,
        Self::Idempotency,
    ];

    /// Whether each table lies in [`Table::ALL`] where its index says: readings and overlays find it by that.
    const fn in_order() -> bool {
        let mut at = 0;
        while at < Self::COUNT {
            if Self::ALL[at].index() != at {
                return false;
            }
            at += 1;
        }
        true
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Journal => "journal",
            Self::Entities => "entities",
            Self::State => "state",
            Self::Held => "held",
            Self::Seals => "seals",
            Self::Quarantine => "quarantine",
            Self::Idempotency => "idempotency",
        }
    }

    pub(super) const fn definition(self) -> Definition {
        TableDefinition::new(self.name())
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

const _: () = assert!(Table::in_order(), "a table's index is its place among all");

/// Kinds of keys in `state`.
pub(super) mod state {
    pub(crate) const FORMAT: u8 = 0;
    pub(crate) const FEED: u8 = 1;
    pub(crate) const SPACE: u8 = 2;
    pub(crate) const PEER: u8 = 3;
    pub(crate) const META: u8 = 4;
    pub(crate) const RUN: u8 = 5;
    pub(crate) const HEAD: u8 = 6;
}

const QUARANTINED: u8 = 1;
const REFUSED_CHANGE: u8 = 2;
const IDEMPOTENCY_KEY: u8 = 1;
/// Kind of the keys of `idempotency` that keep the order.
pub(super) const IDEMPOTENCY_ORDER: u8 = 2;
/// Kind of the key that keeps the next number.
pub(super) const IDEMPOTENCY_NEXT: u8 = 3;

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Key in `held` and `seals`.
pub(super) fn feed_seq(feed: FeedId, seq: u64) -> [u8; 24] {
    let mut key = [0; 24];
    let (head, tail) = key.split_at_mut(16);
    head.copy_from_slice(feed.as_bytes());
    tail.copy_from_slice(&seq.to_be_bytes());
    key
}

/// Key in `entries`.
pub(super) const fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Key in `journal`.
pub(super) fn journal(space_no: u32, position: u64) -> [u8; 12] {
    let mut key = [0; 12];
    let (head, tail) = key.split_at_mut(4);
    head.copy_from_slice(&space_no.to_be_bytes());
    tail.copy_from_slice(&position.to_be_bytes());
    key
}

/// Key in `entities`. No collection that has rows holds a zero byte.
pub(super) fn entity(space_no: u32, collection: &str, id: &str) -> Vec<u8> {
    join(&[&space_no.to_be_bytes(), collection.as_bytes(), &[0], id.as_bytes()])
}

pub(super) fn feed(feed: FeedId) -> Vec<u8> {
    join(&[&[state::FEED], feed.as_bytes()])
}

pub(super) fn space(space: SpaceId) -> Vec<u8> {
    join(&[&[state::SPACE], space.as_bytes()])
}

pub(super) fn peers(space_no: u32) -> Vec<u8> {
    join(&[&[state::PEER], &space_no.to_be_bytes()])
}

pub(super) fn peer(space_no: u32, node: NodeId) -> Vec<u8> {
    join(&[&peers(space_no), node.as_bytes()])
}

pub(super) fn meta(name: &str) -> Vec<u8> {
    join(&[&[state::META], name.as_bytes()])
}

pub(super) fn heads(space_no: u32) -> Vec<u8> {
    join(&[&[state::HEAD], &space_no.to_be_bytes()])
}

pub(super) fn head(space_no: u32, feed: FeedId) -> Vec<u8> {
    join(&[&heads(space_no), feed.as_bytes()])
}

pub(super) fn run(feed: FeedId, first: u64) -> Vec<u8> {
    join(&[&[state::RUN], &feed_seq(feed, first)])
}

pub(super) fn quarantine_of(space_no: u32) -> Vec<u8> {
    join(&[&[QUARANTINED], &space_no.to_be_bytes()])
}

pub(super) fn quarantine(space_no: u32, feed: FeedId, seq: u64) -> Vec<u8> {
    join(&[&quarantine_of(space_no), &feed_seq(feed, seq)])
}

/// Key of a refused change. The collection's length makes it unambiguous whatever the names hold.
pub(super) fn refused_change(space_no: u32, collection: &str, id: &str, change: ChangeHash) -> Vec<u8> {
    let length = u16::try_from(collection.len()).unwrap_or(u16::MAX);
    let head: [&[u8]; 3] = [&[REFUSED_CHANGE], &space_no.to_be_bytes(), &length.to_be_bytes()];
    join(&[&head.concat(), collection.as_bytes(), id.as_bytes(), change.as_bytes()])
}

pub(super) fn idempotency(key: &[u8; 32]) -> Vec<u8> {
    join(&[&[IDEMPOTENCY_KEY], key])
}

pub(super) fn idempotency_order(number: u64) -> Vec<u8> {
    join(&[&[IDEMPOTENCY_ORDER], &number.to_be_bytes()])
}

pub(super) fn idempotency_next() -> Vec<u8> {
    vec![IDEMPOTENCY_NEXT]
}

/// The least key above every key that starts with `prefix`; `None`: there is none.
pub(super) fn beyond(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// The least key above `key`.
pub(super) fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
