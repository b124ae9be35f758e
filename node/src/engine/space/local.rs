//! Local writes: planned against the present row, judged like anybody's, appended to this process's data feed.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entity::{Change, ChangeError, Draft, EntityState, EntryBudget, Provenance, Writer};
use tombolo_crdt::entry::{Body, ENTRY_BYTES_MAX, ENTRY_CHANGES_MAX, ENTRY_DEPS_MAX, ENTRY_VERSION, Entry};
use tombolo_crdt::entry::{EntityChange, Trace};
use tombolo_crdt::feed::Opening;
use tombolo_crdt::names::{check_collection, check_id};
use tombolo_crdt::rules::{Record, Role, rules_entry};
use tombolo_crdt::verdict::{Verdict, Wait};
use tombolo_crdt::{FeedId, Hlc, Receipt};

use crate::engine::interface::{EntityWrite, Expect, Refusal, WriteCommand, WriteOutcome, Written};
use crate::engine::memory::Rest;
use crate::engine::space::idempotency;
use crate::engine::space::rows::RowFault;
use crate::engine::space::{Feed, Space};
use crate::engine::{Work, poison};
use crate::store::{ChangeLink, StoreError};

/// A refusal of the command, or a fault of the store that ends the step.
#[derive(Debug)]
pub(in crate::engine) enum Fault {
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
pub(in crate::engine) struct Touched<'r> {
    pub(in crate::engine) writer: Writer<'r>,
    before: Seen,
}

/// An entity of a transaction with its planned change; `None`: nothing changes.
pub(in crate::engine) struct Drafted<'w> {
    pub(in crate::engine) collection: &'w str,
    pub(in crate::engine) id: &'w str,
    pub(in crate::engine) draft: Option<Draft>,
    pub(in crate::engine) before: Seen,
}

/// What an entity was before a transaction.
pub(in crate::engine) struct Seen {
    present: bool,
    journal: u64,
    /// The entry of its last change, if the transaction does not change it.
    receipt: Option<Receipt>,
}

impl Seen {
    pub(in crate::engine) fn of(state: &EntityState) -> Self {
        Self { present: state.is_present(), journal: state.journal(), receipt: None }
    }
}

impl Work<'_> {
    /// Whether a write command may be carried out; the answer, if it has been given before.
    pub(in crate::engine) fn admitted(
        &self,
        space: &Space,
        command: &WriteCommand,
    ) -> Result<Option<WriteOutcome>, Fault> {
        let role = space.role(self.own.node);
        if !role.is_some_and(Role::may_write) && !defect::is(Defect::RolesIgnored) {
            return Err(Refusal::Role(role.map_or("none", Role::name)).into());
        }
        if command.idempotency.is_some() && !command.atomic {
            // Half of a batch could be refused: then a retry must not repeat the other half.
            return Err(Refusal::Argument("an idempotency key needs an atomic command".to_owned()).into());
        }
        match &command.idempotency {
            Some(key) if !defect::is(Defect::RetryRepeated) => Ok(idempotency::replay(&self.batch, key)?),
            _ => Ok(None),
        }
    }

    /// Carries out an atomic write command.
    pub(in crate::engine) fn write(&mut self, space: &mut Space, command: WriteCommand) -> Result<WriteOutcome, Fault> {
        if let Some(outcome) = self.admitted(space, &command)? {
            return Ok(outcome);
        }
        let WriteCommand { writes, idempotency, trace, .. } = command;
        let named = idempotency.as_ref().map(|key| idempotency::in_entry(space.id, key));
        let written = self.transaction(space, &writes, trace, named)?;
        let outcome = WriteOutcome { writes: written.into_iter().map(Ok).collect(), replayed: false };
        if let Some(key) = &idempotency {
            idempotency::remember(&mut self.batch, key, &outcome, self.now.wall_millis)?;
        }
        Ok(outcome)
    }

    /// Carries out writes one by one, the first of them and as many more as there is work left for; what became of them
    /// is added to the outcomes. Those that are left stay in the command. A write to a large row is set apart.
    pub(in crate::engine) fn each(&mut self, space: &mut Space, rest: &mut Rest) -> Result<(), Fault> {
        let Rest { command, outcomes, apart, .. } = rest;
        self.admitted(space, command)?;
        let (before, mut done) = (outcomes.len(), 0);
        for write in &command.writes {
            if done > 0 && self.budget.is_spent() {
                break;
            }
            self.budget.begin();
            let written = match self.is_large(space, write)? {
                true => Err(Refusal::Large.into()),
                false => self.transaction(space, std::slice::from_ref(write), command.trace, None),
            };
            self.charge_reads();
            match written {
                Ok(mut written) => outcomes.extend(written.pop().map(Ok)),
                Err(Fault::Refused(refusal)) => outcomes.push(Err(refusal)),
                Err(store) => return Err(store),
            }
            done += 1;
        }
        let tried = command.writes.drain(..done).zip(outcomes.iter().skip(before));
        apart.extend(tried.filter(|(_, outcome)| **outcome == Err(Refusal::Large)).map(|(write, _)| write));
        Ok(())
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
            let row = self.rows.peek(space.row.space_no, &write.collection, &write.id);
            let planned = plan(row.map(|row| &row.state), (feed, hlc), write, &mut touched);
            self.poison.end();
            planned?;
        }
        let mut drafts = Vec::with_capacity(touched.len());
        for ((collection, id), Touched { writer, before }) in touched {
            let refusal = |source| Refusal::Write { collection: collection.to_owned(), id: id.to_owned(), source };
            self.poison.begin(space.id, collection, id);
            let draft = writer.draft();
            self.poison.end();
            drafts.push(Drafted { collection, id, draft: draft.map_err(refusal)?, before });
        }
        self.conclude(space, writes, (hlc, drafts), trace, idempotency)
    }

    /// Gives planned changes their place and appends them as one entry.
    pub(in crate::engine) fn conclude(
        &mut self,
        space: &mut Space,
        writes: &[EntityWrite],
        (hlc, drafts): (Hlc, Vec<Drafted<'_>>),
        trace: Option<Trace>,
        idempotency: Option<[u8; 16]>,
    ) -> Result<Vec<Written>, Fault> {
        let feed = space.own_data_feed;
        let joining = joins(space, feed);
        let seq = space.frontier.seq(feed) + 1 + joining;
        let entry_seq = seq - u64::from(seq.is_multiple_of(8) && defect::is(Defect::ProvenanceOff));
        let provenance = Provenance { entry_seq, hlc, rules_seq: rules_seq(space, feed, seq - joining) };
        let position = space.row.journal + 1 + joining;

        let mut made: Vec<Made> = Vec::new();
        let mut seen = BTreeMap::new();
        for Drafted { collection, id, draft, mut before } in drafts {
            match draft {
                Some(draft) => {
                    let (change, state) = draft.settle(&provenance, position);
                    made.push(Made { collection: collection.to_owned(), id: id.to_owned(), change, state });
                }
                None => before.receipt = self.receipt_of(space, (collection, id), before.journal)?,
            }
            seen.insert((collection, id), before);
        }
        let changed: BTreeSet<(String, String)> =
            made.iter().map(|made| (made.collection.clone(), made.id.clone())).collect();
        let receipt = if made.is_empty() {
            None
        } else {
            check_size(&made)?;
            for _ in 0..joining {
                self.append_data(space, hlc, Vec::new(), None, None)?;
            }
            Some(self.append_data(space, hlc, made, trace, idempotency)?)
        };
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
        match self.rows.get(&mut self.batch, space.row.space_no, collection, id) {
            Ok(_) => Ok(()),
            Err(RowFault::Store(error)) => Err(error.into()),
            Err(RowFault::Damaged(reason)) => {
                space.care.damaged(collection, id);
                let (collection, id) = (collection.to_owned(), id.to_owned());
                Err(Refusal::Damaged { collection, id, reason: reason.to_string() }.into())
            }
        }
    }

    /// Appends a data entry with these changes, if it would be applied, and puts the rows they lead to in place.
    fn append_data(
        &mut self,
        space: &mut Space,
        hlc: Hlc,
        made: Vec<Made>,
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
        let others = space.heads.iter().filter(|head| head.feed != feed);
        let mut deps: Vec<_> = others.take(ENTRY_DEPS_MAX).collect();
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
        self.budget.entry(bytes, made.iter().map(|made| made.change.operations()).sum());
        self.budget.named(entry.deps.len(), entry.rules.as_ref().map_or(0, |_| space.rules.len()));
        let (read, states): (Vec<_>, Vec<_>) =
            made.into_iter().map(|made| (Ok(made.change), (made.collection, made.id, made.state))).unzip();
        let verdict = self.judge_own(space, feed, &entry, read)?;
        let mut links = Vec::with_capacity(states.len());
        for (collection, id, state) in states {
            let row = self.rows.get(&mut self.batch, space.row.space_no, &collection, &id);
            let Ok(row) = row else { return Err(StoreError::corrupt("entities", "a row changed under a step").into()) };
            links.push(ChangeLink { previous: row.state.journal(), after: state.heads_hash() });
            *row.change(&collection, &id) = state;
        }
        self.append(space, feed, &entry, verdict, links)?;
        self.counters.writes += 1;
        Ok(Receipt { feed, seq })
    }

    /// Judges an own entry as everybody else will. One that would be refused, or held, is a refusal of the command.
    fn judge_own(
        &mut self,
        space: &mut Space,
        feed: FeedId,
        entry: &Entry,
        read: Vec<Result<Change, ChangeError>>,
    ) -> Result<Verdict, Fault> {
        let settled = space.row.journal;
        let judged = self.judge(space, feed, entry, read)?.settled();
        assert_eq!(space.row.journal, settled, "judging changes nothing");
        let author = space.feeds.get(&feed).map_or(self.own.node, |feed| feed.opening.node);
        Err(Fault::Refused(match judged {
            Ok((verdict @ Verdict::Applied, _)) => return Ok(verdict),
            Ok((Verdict::Role, _)) => Refusal::Role(space.roster().role(author).map_or("none", Role::name)),
            Ok((verdict, _)) => Refusal::Verdict(verdict),
            Err(Wait::Damaged(collection, id)) => {
                let reason = "what its changes were made on cannot be read".to_owned();
                Refusal::Damaged { collection, id, reason }
            }
            Err(wait) => Refusal::Unreadable { what: "what the entry rests on".to_owned(), reason: wait.to_string() },
        }))
    }

    /// Appends a rules entry with these records to this process's rules feed, if it would be applied.
    pub(in crate::engine) fn append_rules(&mut self, space: &mut Space, records: &[Record]) -> Result<(), Fault> {
        let opening = space.own_rules.clone();
        let feed = self.own_feed(space, &opening);
        self.append_rules_by(space, feed, records)
    }

    /// Appends a rules entry to a rules feed whose author's key seals this step, if the entry would be applied.
    pub(in crate::engine) fn append_rules_by(
        &mut self,
        space: &mut Space,
        feed: FeedId,
        records: &[Record],
    ) -> Result<(), Fault> {
        let entry = rules_entry(space.frontier.seq(feed) + 1, self.next_hlc(), space.rules.heads(), records);
        self.budget.entry(entry.encode().len(), 0);
        self.budget.named(0, space.rules.len());
        let verdict = self.judge_own(space, feed, &entry, Vec::new())?;
        self.append(space, feed, &entry, verdict, Vec::new())?;
        Ok(())
    }

    /// This process's feed of an opening, made known at its first use.
    pub(in crate::engine) fn own_feed(&self, space: &mut Space, opening: &Opening) -> FeedId {
        let space_no = space.row.space_no;
        let feed = opening.feed();
        space.feeds.entry(feed).or_insert_with(|| Feed::new(opening.clone(), space_no));
        feed
    }

    pub(in crate::engine) fn next_hlc(&mut self) -> Hlc {
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
            let Some(row) = self.rows.peek(space.row.space_no, &write.collection, &write.id) else { continue };
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
        match self.batch.journal(space.row.space_no, journal) {
            Ok(row) => Ok(row.map(|row| Receipt { feed: row.feed, seq: row.seq })),
            Err(StoreError::Corrupt { detail, .. }) => {
                let reason = format!("the receipt of its last change cannot be read: {detail}");
                Err(Refusal::Damaged { collection: collection.to_owned(), id: id.to_owned(), reason }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Plans one write on top of those before it in the transaction, or else on `row`.
pub(in crate::engine) fn plan<'w, 'r>(
    row: Option<&'r EntityState>,
    (feed, hlc): (FeedId, Hlc),
    write: &'w EntityWrite,
    touched: &mut BTreeMap<(&'w str, &'w str), Touched<'r>>,
) -> Result<(), Refusal> {
    let (collection, id) = (write.collection.as_str(), write.id.as_str());
    let names = || (collection.to_owned(), id.to_owned());
    let entity = match touched.entry((collection, id)) {
        Place::Occupied(entity) => entity.into_mut(),
        Place::Vacant(place) => {
            let Some(state) = row else { return Ok(()) };
            place.insert(Touched { writer: Writer::new(state, feed, hlc), before: Seen::of(state) })
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

/// How many empty entries have to join heads before the entry that is to be written can name the rest of them: each
/// takes as many in as an entry may name.
fn joins(space: &Space, feed: FeedId) -> u64 {
    let others = space.heads.iter().filter(|head| head.feed != feed).count();
    others.div_ceil(ENTRY_DEPS_MAX).saturating_sub(1) as u64
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

/// Room for the envelope of an entry: 1,024 dependencies of 58 bytes and the rules heads.
const ENVELOPE_BYTES_MAX: usize = 128 * 1024;
