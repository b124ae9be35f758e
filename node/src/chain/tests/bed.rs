//! A store with the history of one entity that several authors have written, partly without knowing of each other.

use std::collections::{BTreeMap, BTreeSet};

use redb::backends::InMemoryBackend;
use tombolo_crdt::entity::{Change, Clock, EntityState, Provenance, TypedOp, Write, Writer};
use tombolo_crdt::entry::{Body, ENTRY_VERSION, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Opening};
use tombolo_crdt::json::Json;
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, ChangeHash, FeedId, Hlc, NodeId, SpaceId};

use crate::chain::EntityKey;
use crate::store::{ChangeLink, Endless, EntryRow, FeedRow, JournalKind, JournalRow, Reading, Store, StoreOptions};

pub(crate) const KEY: EntityKey<'_> = EntityKey { space_no: 1, collection: "c", id: "e" };

/// A change as its author made it.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) change: Change,
    pub(crate) provenance: Provenance,
    /// The author's row after it.
    pub(crate) row: EntityState,
}

/// The store of a node that has taken all changes, and what is known of them beside it.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) store: Store,
    /// In the order of the node's journal, from position 1 on.
    pub(crate) made: Vec<Made>,
    pub(crate) clocks: BTreeMap<ChangeHash, Clock>,
    /// The node's row after each of them.
    pub(crate) rows: Vec<EntityState>,
}

/// Numbers that are the same every time.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

pub(crate) fn author(space_no: u8) -> (Opening, FeedId) {
    let space = SpaceId::from_bytes([9; 32]);
    let opening = Opening::new(NodeId::from_bytes([space_no; 32]), space, 1, FeedKind::Data, Vec::new());
    let feed = opening.feed();
    (opening, feed)
}

/// The clock at the dependencies of a change.
pub(crate) fn past(clocks: &BTreeMap<ChangeHash, Clock>, change: &Change) -> Clock {
    let mut past = Clock::default();
    change.deps().iter().for_each(|dep| past.join(&clocks[dep]));
    past
}

fn some_write(dice: &mut Dice, present: bool) -> Write {
    let number = dice.below(100);
    let json = |text: String| Json::parse(text.as_bytes()).unwrap();
    match dice.below(8) {
        0 if present => Write::Delete,
        1 if present => {
            let insert = TypedOp::Insert { path: "/list".to_owned(), index: 0, values: vec![json(number.to_string())] };
            Write::Ops(vec![insert])
        }
        2 => Write::Put { value: json(format!(r#"{{"list":[{number}],"m":{{"x":{number}}}}}"#)), base: None },
        _ if !present => Write::Put { value: json(format!(r#"{{"n":{number},"list":[]}}"#)), base: None },
        3 => Write::MergePatch(json(r#"{"n":null}"#.to_owned())),
        _ => Write::MergePatch(json(format!(r#"{{"n":{number},"m":{{"k{}":{number}}}}}"#, number % 5))),
    }
}

impl Bed {
    /// `authors` write `count` changes in all; between two of them they hear of each other now and then.
    pub(crate) fn new(seed: u64, authors: u8, count: usize) -> Self {
        let mut dice = Dice(seed);
        let mut replicas = vec![(EntityState::new(), 0_usize, 0_u64); usize::from(authors)];
        let (mut made, mut clocks): (Vec<Made>, BTreeMap<ChangeHash, Clock>) = (Vec::new(), BTreeMap::new());
        while made.len() < count {
            let space_no = dice.below(replicas.len());
            let (row, heard, seq) = &mut replicas[space_no];
            if dice.below(3) == 0 {
                // Everything so far: made in an order in which each comes after what it was made on.
                for one in &made[*heard..] {
                    row.apply(&one.change, &past(&clocks, &one.change), &one.provenance, 0);
                }
                *heard = made.len();
            }
            // Clocks of authors differ by up to a second.
            let hlc = Hlc::from_millis(1_000_000 + made.len() as u64 * 100 + dice.below(1_000) as u64);
            let mut writer = Writer::new(row, author(space_no as u8).1, hlc);
            if writer.write(&some_write(&mut dice, row.is_present())).is_err() {
                continue;
            }
            let provenance = Provenance { entry_seq: *seq + 1, hlc, rules_seq: 0 };
            let Some((change, after)) = writer.finish(&provenance, 0).unwrap() else { continue };
            *seq += 1;
            clocks.insert(change.hash(), past(&clocks, &change).with(&change));
            *row = after.clone();
            row.tidy();
            made.push(Made { change, provenance, row: after });
        }
        Self::store(shuffled(made, &mut dice), clocks)
    }

    fn store(made: Vec<Made>, clocks: BTreeMap<ChangeHash, Clock>) -> Self {
        let options = StoreOptions { reserve_bytes: Some(0), ..StoreOptions::new("memory") };
        let options = StoreOptions { create: true, ..options };
        let store = Store::open_with_backend(|| Ok(InMemoryBackend::new()), Endless, options).unwrap();
        let mut batch = store.begin().unwrap();
        let (mut state, mut rows, mut running) = (EntityState::new(), Vec::new(), [0; 16]);
        for (journal, one) in (1..).zip(&made) {
            let (feed, seq) = (one.change.actor(), one.provenance.entry_seq);
            let past = past(&clocks, &one.change);
            state.gate(&one.change, &past).unwrap();
            let previous = state.journal();
            state.apply(&one.change, &past, &one.provenance, journal);
            state.tidy();
            rows.push(state.clone());
            let change = one.change.bytes().to_vec();
            let (collection, id) = (KEY.collection.to_owned(), KEY.id.to_owned());
            let entry = Entry {
                version: ENTRY_VERSION,
                seq,
                hlc: one.provenance.hlc,
                rules: None,
                deps: Vec::new(),
                trace: None,
                idempotency: None,
                body: Body::Data(vec![EntityChange { collection, id, origin: 0, change }]),
                ext: Vec::new(),
            };
            let row = EntryRow {
                bytes: entry.encode(),
                chain: ChainHash::from_bytes([0; 32]),
                verdict: Verdict::Applied.code(),
                journal,
                changes: vec![ChangeLink { previous, after: state.heads_hash() }],
            };
            batch.put_entry(feed, seq, &row).unwrap();
            let row = JournalRow::next(&running, journal, JournalKind::Applied, feed, seq, Vec::new());
            running = row.running;
            batch.put_journal(KEY.space_no, journal, &row).unwrap();
        }
        for space_no in 0..=u8::MAX {
            let (opening, feed) = author(space_no);
            let row = FeedRow {
                opening: opening.encode(),
                space_no: KEY.space_no,
                seq: 0,
                chain: opening.chain(),
                sealed: None,
                kept: 0,
                kept_bytes: 0,
                rules: Vec::new(),
                hlc: 0,
            };
            batch.put_feed(feed, &row).unwrap();
        }
        batch.put_row(KEY.space_no, KEY.collection, KEY.id, state.encode()).unwrap();
        batch.commit().unwrap();
        Self { store, made, clocks, rows }
    }

    pub(crate) fn reading(&self) -> Reading {
        self.store.reader().reading().unwrap()
    }

    /// The present row.
    pub(crate) fn row(&self) -> &EntityState {
        self.rows.last().unwrap()
    }
}

/// Another order in which every change comes after what it was made on.
fn shuffled(mut made: Vec<Made>, dice: &mut Dice) -> Vec<Made> {
    let (mut out, mut known) = (Vec::new(), BTreeSet::new());
    while !made.is_empty() {
        let near = 0..made.len().min(12);
        let ready: Vec<usize> =
            near.filter(|at| made[*at].change.deps().iter().all(|dep| known.contains(dep))).collect();
        let next = made.remove(ready[dice.below(ready.len())]);
        known.insert(next.change.hash());
        out.push(next);
    }
    out
}
