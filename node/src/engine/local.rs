//! Local writes: planned against the present row, judged like anybody's, appended to this process's data feed.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entity::{Change, EntityState, EntryBudget, Provenance, Writer};
use tombolo_crdt::entry::{Body, ENTRY_BYTES_MAX, ENTRY_CHANGES_MAX, ENTRY_DEPS_MAX, ENTRY_VERSION, Entry};
use tombolo_crdt::entry::{EntityChange, Trace};
use tombolo_crdt::feed::Opening;
use tombolo_crdt::names::{check_collection, check_id};
use tombolo_crdt::rules::{Record, Role, rules_entry};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{FeedId, Hlc, Receipt};

use super::io::{EntityWrite, Expect, Refusal, WriteCommand, WriteOutcome, Written};
use super::rows::{RowFault, Rows};
use super::space::{Feed, Space};
use super::{Work, idempotency, poison};
use crate::store::{ChangeLink, StoreError};

/// A refusal of the command, or a fault of the store that ends the step.
#[derive(Debug)]
pub(super) enum Fault {
    Refused(Refusal),
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// An entity within a transaction.
struct Touched<'r> {
    writer: Writer<'r>,
    before: Seen,
}

/// What an entity was before a transaction.
struct Seen {
    present: bool,
    journal: u64,
    /// The entry of its last change, if the transaction does not change it.
    receipt: Option<Receipt>,
}

impl Work<'_> {
    /// Carries out a write command.
    pub(super) fn write(&mut self, space: &mut Space, command: WriteCommand) -> Result<WriteOutcome, Fault> {
        let role = space.role(self.node);
        if !role.is_some_and(Role::may_write) && !defect::is(Defect::RolesIgnored) {
            return Err(Refusal::Role(role.map_or("none", Role::name)).into());
        }
        let WriteCommand { writes, atomic, idempotency, trace, .. } = command;
        if idempotency.is_some() && !atomic {
            // Half of a batch could be refused: then a retry must not repeat the other half.
            return Err(Refusal::Argument("an idempotency key needs an atomic command".to_owned()).into());
        }
        if let Some(key) = &idempotency
            && !defect::is(Defect::RetryRepeated)
            && let Some(outcome) = idempotency::replay(&self.batch, key)?
        {
            return Ok(outcome);
        }
        let named = idempotency.as_ref().map(|key| idempotency::in_entry(space.id, key));
        let outcome = if atomic {
            let written = self.transaction(space, &writes, trace, named)?;
            WriteOutcome { writes: written.into_iter().map(Ok).collect(), replayed: false }
        } else {
            self.each(space, &writes, trace, named)?
        };
        if let Some(key) = &idempotency {
            idempotency::remember(&mut self.batch, key, &outcome, self.now.wall_millis)?;
        }
        Ok(outcome)
    }

    fn each(
        &mut self,
        space: &mut Space,
        writes: &[EntityWrite],
        trace: Option<Trace>,
        named: Option<[u8; 16]>,
    ) -> Result<WriteOutcome, Fault> {
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            match self.transaction(space, std::slice::from_ref(write), trace, named) {
                Ok(mut written) => outcomes.extend(written.pop().map(Ok)),
                Err(Fault::Refused(refusal)) => outcomes.push(Err(refusal)),
                Err(store) => return Err(store),
            }
        }
        Ok(WriteOutcome { writes: outcomes, replayed: false })
    }

    /// All writes as one entry, or nothing. Nothing is changed before every write has been planned.
    fn transaction(
        &mut self,
        space: &mut Space,
        writes: &[EntityWrite],
        trace: Option<Trace>,
        idempotency: Option<[u8; 16]>,
    ) -> Result<Vec<Written>, Fault> {
        for write in writes {
            self.load(space, write)?;
        }
        let feed = space.own_data_feed;
        let hlc = self.next_hlc();
        let mut touched: BTreeMap<(&str, &str), Touched<'_>> = BTreeMap::new();
        for write in writes {
            self.poison.begin(space.id, &write.collection, &write.id);
            let planned = plan(&self.rows, (space.row.no, feed, hlc), write, &mut touched);
            self.poison.end();
            planned?;
        }
        let joining = space.heads.len() > ENTRY_DEPS_MAX;
        let seq = space.frontier.seq(feed) + 1 + u64::from(joining);
        let entry_seq = seq - u64::from(seq.is_multiple_of(8) && defect::is(Defect::ProvenanceOff));
        let provenance = Provenance { entry_seq, hlc, rules_seq: rules_seq(space, feed, seq) };
        let position = space.row.journal + 1 + u64::from(joining);

        let mut made: Vec<Made> = Vec::new();
        let mut seen = BTreeMap::new();
        for ((collection, id), Touched { writer, mut before }) in touched {
            let refusal = |source| Refusal::Write { collection: collection.to_owned(), id: id.to_owned(), source };
            self.poison.begin(space.id, collection, id);
            let finished = writer.finish(&provenance, position);
            self.poison.end();
            match finished.map_err(refusal)? {
                Some((change, state)) => {
                    made.push(Made { collection: collection.to_owned(), id: id.to_owned(), change, state });
                }
                None => before.receipt = self.receipt_of(space, (collection, id), before.journal)?,
            }
            seen.insert((collection, id), before);
        }
        let receipt = if made.is_empty() {
            None
        } else {
            check_size(&made)?;
            if joining {
                self.append_data(space, hlc, &mut [], None, None)?;
            }
            Some(self.append_data(space, hlc, &mut made, trace, idempotency)?)
        };
        let changed: BTreeSet<(String, String)> = made.into_iter().map(|made| (made.collection, made.id)).collect();
        Ok(self.answers(space, writes, &seen, &changed, receipt))
    }

    /// Makes sure that the row of a write is there.
    fn load(&mut self, space: &mut Space, write: &EntityWrite) -> Result<(), Fault> {
        let (collection, id) = (write.collection.as_str(), write.id.as_str());
        check_collection(collection).and_then(|()| check_id(id)).map_err(Refusal::Name)?;
        if self.poison.holds(space.id, collection, id) {
            let (collection, id) = (collection.to_owned(), id.to_owned());
            return Err(Refusal::Damaged { collection, id, reason: poison::REASON.to_owned() }.into());
        }
        match self.rows.get(&mut self.batch, space.row.no, collection, id) {
            Ok(_) => Ok(()),
            Err(RowFault::Store(error)) => Err(error.into()),
            Err(RowFault::Damaged(reason)) => {
                space.care.damaged(collection, id);
                let (collection, id) = (collection.to_owned(), id.to_owned());
                Err(Refusal::Damaged { collection, id, reason: reason.to_string() }.into())
            }
        }
    }

    /// Appends a data entry with these changes and puts the rows they lead to in place.
    fn append_data(
        &mut self,
        space: &mut Space,
        hlc: Hlc,
        made: &mut [Made],
        trace: Option<Trace>,
        idempotency: Option<[u8; 16]>,
    ) -> Result<Receipt, Fault> {
        let opening = space.own_data.clone();
        let feed = self.own_feed(space, &opening);
        let seq = space.frontier.seq(feed) + 1;
        let heads = space.rules.heads();
        let stated = space.feeds.get(&feed).is_some_and(|known| known.rules_at(seq).1 == heads.as_slice());
        let changes = made.iter().map(|made| EntityChange {
            collection: made.collection.clone(),
            id: made.id.clone(),
            origin: 0,
            change: made.change.bytes().to_vec(),
        });
        let mut deps: Vec<_> = space.heads.iter().filter(|head| head.feed != feed).collect();
        if deps.len() > 1 && defect::is(Defect::HeadLeftOut) {
            deps.remove(0);
        }
        let entry = Entry {
            version: ENTRY_VERSION,
            seq,
            hlc,
            rules: (!stated).then_some(heads),
            deps,
            trace,
            idempotency,
            body: Body::Data(changes.collect()),
            ext: Vec::new(),
        };
        let bytes = entry.encode().len();
        if bytes > ENTRY_BYTES_MAX {
            return Err(Refusal::TooLarge { changes: made.len(), bytes }.into());
        }
        let mut links = Vec::with_capacity(made.len());
        for Made { collection, id, state, .. } in made {
            let row = self.rows.get(&mut self.batch, space.row.no, collection, id);
            let Ok(row) = row else { return Err(StoreError::corrupt("entities", "a row changed under a step").into()) };
            let previous = row.state.journal();
            links.push(ChangeLink { previous, after: state.heads_hash() });
            *row.change(collection, id) = std::mem::take(state);
        }
        self.append(space, feed, &entry, links, false)?;
        self.counters.writes += 1;
        Ok(Receipt { feed, seq })
    }

    /// Appends a rules entry with these records to this process's rules feed, if it would be applied.
    pub(super) fn append_rules(&mut self, space: &mut Space, records: &[Record]) -> Result<(), Fault> {
        let opening = space.own_rules.clone();
        let feed = self.own_feed(space, &opening);
        self.append_rules_by(space, feed, records)
    }

    /// The same, to any rules feed whose author's key seals this step.
    pub(super) fn append_rules_by(&mut self, space: &mut Space, feed: FeedId, records: &[Record]) -> Result<(), Fault> {
        let Some(author) = space.feeds.get(&feed).map(|feed| feed.opening.node) else {
            return Err(Refusal::UnknownSpace(space.id).into());
        };
        let parents = space.rules.heads();
        let entry = rules_entry(space.frontier.seq(feed) + 1, self.next_hlc(), parents.clone(), records);
        match space.rules.judge_rules(&entry, author, &parents, &parents) {
            Ok(Verdict::Applied) => {}
            _ => {
                let role = space.role(author);
                return Err(Refusal::Role(role.map_or("none", Role::name)).into());
            }
        }
        let (_, chain) = self.append(space, feed, &entry, Vec::new(), true)?;
        space.rules.insert(chain, parents, &entry, Verdict::Applied);
        Ok(())
    }

    /// This process's feed of an opening, made known at its first use.
    pub(super) fn own_feed(&self, space: &mut Space, opening: &Opening) -> FeedId {
        let no = space.row.no;
        let feed = opening.feed();
        space.feeds.entry(feed).or_insert_with(|| Feed::new(opening.clone(), no));
        feed
    }

    pub(super) fn next_hlc(&mut self) -> Hlc {
        *self.hlc_last = Hlc::next(self.now.wall_millis, *self.hlc_last, *self.hlc_seen);
        *self.hlc_last
    }

    /// What each write of a transaction is answered.
    fn answers(
        &self,
        space: &Space,
        writes: &[EntityWrite],
        seen: &BTreeMap<(&str, &str), Seen>,
        changed: &BTreeSet<(String, String)>,
        receipt: Option<Receipt>,
    ) -> Vec<Written> {
        let mut answers = Vec::with_capacity(writes.len());
        for write in writes {
            let Some(before) = seen.get(&(write.collection.as_str(), write.id.as_str())) else { continue };
            let Some(row) = self.rows.peek(space.row.no, &write.collection, &write.id) else { continue };
            let (revision, present) = (row.state.revision(), row.state.is_present());
            let changed = changed.contains(&(write.collection.clone(), write.id.clone()));
            let receipt = if changed { receipt } else { before.receipt };
            answers.push(Written {
                receipt,
                revision,
                present,
                created: changed && !before.present && present,
                changed,
            });
        }
        answers
    }

    /// The entry at the journal position of an entity's last change.
    fn receipt_of(
        &self,
        space: &Space,
        (collection, id): (&str, &str),
        journal: u64,
    ) -> Result<Option<Receipt>, Fault> {
        if journal == 0 {
            return Ok(None);
        }
        match self.batch.journal(space.row.no, journal) {
            Ok(row) => Ok(row.map(|row| Receipt { feed: row.feed, seq: row.seq })),
            Err(StoreError::Corrupt { detail, .. }) => {
                let reason = format!("the receipt of its last change cannot be read: {detail}");
                Err(Refusal::Damaged { collection: collection.to_owned(), id: id.to_owned(), reason }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Plans one write on top of those before it in the transaction.
fn plan<'w, 'r>(
    rows: &'r Rows,
    (no, feed, hlc): (u32, FeedId, Hlc),
    write: &'w EntityWrite,
    touched: &mut BTreeMap<(&'w str, &'w str), Touched<'r>>,
) -> Result<(), Refusal> {
    let (collection, id) = (write.collection.as_str(), write.id.as_str());
    let names = || (collection.to_owned(), id.to_owned());
    let entity = match touched.entry((collection, id)) {
        Place::Occupied(entity) => entity.into_mut(),
        Place::Vacant(place) => {
            let Some(row) = rows.peek(no, collection, id) else { return Ok(()) };
            let before = Seen { present: row.state.is_present(), journal: row.state.journal(), receipt: None };
            place.insert(Touched { writer: Writer::new(&row.state, feed, hlc), before })
        }
    };
    let state = entity.writer.state();
    let current = state.is_present().then(|| state.revision());
    let holds = match &write.expect {
        Expect::Any => true,
        Expect::Present => current.is_some(),
        Expect::Absent => current.is_none(),
        Expect::Revision(revision) => current == Some(*revision),
        Expect::OneOf(revisions) => current.is_some_and(|current| revisions.contains(&current)),
    };
    if !holds {
        let (collection, id) = names();
        return Err(Refusal::Mismatch { collection, id, current });
    }
    entity.writer.write(&write.write).map_err(|source| {
        let (collection, id) = names();
        Refusal::Write { collection, id, source }
    })
}

/// Position in the own feed of the rules heads that an entry at `seq` is written under.
fn rules_seq(space: &Space, feed: FeedId, seq: u64) -> u64 {
    let heads = space.rules.heads();
    let stated = space.feeds.get(&feed).map(|known| known.rules_at(seq));
    stated.filter(|(_, stated)| *stated == heads.as_slice()).map_or(seq, |(at, _)| at)
}

/// A planned change.
struct Made {
    collection: String,
    id: String,
    change: Change,
    state: EntityState,
}

/// The limits of an entry, with room for its envelope.
fn check_size(made: &[Made]) -> Result<(), Refusal> {
    let names = |made: &Made| made.collection.len() + made.id.len() + 16;
    let bytes: usize = made.iter().map(|made| made.change.bytes().len() + names(made)).sum();
    let mut budget = EntryBudget::new();
    let stands_for_more = !made.iter().all(|made| budget.take(&made.change));
    if stands_for_more || made.len() > ENTRY_CHANGES_MAX || bytes + ENVELOPE_BYTES_MAX > ENTRY_BYTES_MAX {
        return Err(Refusal::TooLarge { changes: made.len(), bytes });
    }
    Ok(())
}

/// Room for the envelope of an entry: 4,096 dependencies of 58 bytes and the rules heads.
const ENVELOPE_BYTES_MAX: usize = 512 * 1024;
