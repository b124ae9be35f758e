//! One entity with a long history, in a store in memory: a field is set over and over again.

use std::collections::BTreeMap;

use redb::backends::InMemoryBackend;
use tombolo_crdt::entity::{Change, EntityState, Provenance, Write, Writer};
use tombolo_crdt::entry::{Body, ENTRY_VERSION, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Opening};
use tombolo_crdt::json::Json;
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, FeedId, Hlc, NodeId, SpaceId};
use tombolo_node::chain::EntityKey;
use tombolo_node::store::{
    Batch, ChangeLink, Endless, EntryRow, FeedRow, JournalKind, JournalRow, Store, StoreOptions,
};

use crate::error::CliError;

/// The entity.
pub(super) const KEY: EntityKey<'static> = EntityKey { space_no: 1, collection: "cities", id: "c000000" };
/// 2026-01-01, in milliseconds since 1970.
const BEGIN_MILLIS: u64 = 1_767_225_600_000;
/// Changes written to the store at a time.
const BATCH: u64 = 4_096;

/// The history: change n is at journal position n.
#[derive(Debug)]
pub(super) struct Chained {
    pub(super) store: Store,
    pub(super) changes: Vec<Change>,
    /// The entity after some of them.
    pub(super) states: BTreeMap<u64, EntityState>,
}

/// A writer's feed.
pub(super) fn feed(writer: u8) -> FeedId {
    opening(writer).feed()
}

fn opening(writer: u8) -> Opening {
    Opening::new(NodeId::from_bytes([writer; 32]), SpaceId::from_bytes([9; 32]), 1, FeedKind::Data, Vec::new())
}

/// The clock of change n.
pub(super) fn hlc(number: u64) -> Hlc {
    Hlc::from_millis(BEGIN_MILLIS + number * 1_000)
}

/// Makes `count` changes and keeps the states after those of `kept`.
pub(super) fn make(count: u64, kept: &[u64], told: &mut dyn FnMut(u64)) -> Result<Chained, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::failed("a history could not be made").cause(error);
    let options = StoreOptions { create: true, reserve_bytes: Some(0), ..StoreOptions::new("memory") };
    let store =
        Store::open_with_backend(|| Ok(InMemoryBackend::new()), Endless, options).map_err(|error| failed(&error))?;
    let (mut state, mut changes, mut states) = (EntityState::new(), Vec::new(), BTreeMap::new());
    let mut running = [0; 16];
    for first in (1..=count).step_by(BATCH as usize) {
        let mut batch = store.begin().map_err(|error| failed(&error))?;
        for number in first..=count.min(first + BATCH - 1) {
            let (change, after) = set_field(&state, 1, number)?;
            let row = row(&change, number, state.journal(), &after);
            state = after;
            state.tidy();
            batch.put_entry(feed(1), number, &row).map_err(|error| failed(&error))?;
            let row = JournalRow::next(&running, number, JournalKind::Applied, feed(1), number, Vec::new());
            running = row.running;
            batch.put_journal(KEY.space_no, number, &row).map_err(|error| failed(&error))?;
            if kept.contains(&number) {
                states.insert(number, state.clone());
            }
            changes.push(change);
        }
        put_feed(&mut batch, count).map_err(|error| failed(&error))?;
        batch.commit().map_err(|error| failed(&error))?;
        told(first);
    }
    Ok(Chained { store, changes, states })
}

/// The change that a writer makes to one of eight small fields; the first makes them all.
pub(super) fn set_field(state: &EntityState, writer: u8, number: u64) -> Result<(Change, EntityState), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::failed("a change could not be made").cause(error);
    let mut text = format!(r#"{{"f{}":{number}}}"#, number % 8);
    if state.heads().is_empty() {
        text = r#"{"f0":"","f1":"06","f2":null,"f3":true,"f4":"c000000","f5":"Sant Julià de Lòria","f6":"AD","f7":42.46372}"#.to_owned();
    }
    let value = Json::parse(text.as_bytes()).map_err(|error| failed(&error))?;
    let write = if state.heads().is_empty() { Write::Put { value, base: None } } else { Write::MergePatch(value) };
    let provenance = Provenance { entry_seq: number, hlc: hlc(number), rules_seq: 0 };
    let mut writer = Writer::new(state, feed(writer), provenance.hlc);
    writer.write(&write).map_err(|error| failed(&error))?;
    let made = writer.finish(&provenance, number).map_err(|error| failed(&error))?;
    made.ok_or_else(|| failed(&"it changes nothing"))
}

fn row(change: &Change, number: u64, previous: u64, after: &EntityState) -> EntryRow {
    let (collection, id) = (KEY.collection.to_owned(), KEY.id.to_owned());
    let entry = Entry {
        version: ENTRY_VERSION,
        seq: number,
        hlc: hlc(number),
        rules: None,
        deps: Vec::new(),
        trace: None,
        idempotency: None,
        body: Body::Data(vec![EntityChange { collection, id, origin: 0, change: change.bytes().to_vec() }]),
        ext: Vec::new(),
    };
    EntryRow {
        bytes: entry.encode(),
        chain: ChainHash::from_bytes([0; 32]),
        verdict: Verdict::Applied.code(),
        journal: number,
        changes: vec![ChangeLink { previous, after: after.heads_hash() }],
    }
}

fn put_feed(batch: &mut Batch<'_>, seq: u64) -> Result<(), tombolo_node::store::StoreError> {
    let opening = opening(1);
    let row = FeedRow {
        opening: opening.encode(),
        space_no: KEY.space_no,
        seq,
        chain: opening.chain(),
        sealed: None,
        kept: 0,
        kept_bytes: 0,
        rules: Vec::new(),
        hlc: hlc(seq).raw(),
    };
    batch.put_feed(opening.feed(), &row)
}
