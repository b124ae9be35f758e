//! One step: inputs into one commit, then frames from what is durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::{FeedId, SpaceId};
use tombolo_transport::CloseCode;

use super::acks::Acks;
use super::agenda::{Agenda, SessionId};
use super::backlog::Backlog;
use super::budget::Budget;
use super::care::TENDED_AT_ONCE;
use super::conn::Conn;
use super::inputs::Parts;
use super::io::{ConnId, Input, Left, Now, Output, Outputs, Refusal, Reply, ReplyTo, StepCost};
use super::poison::contained;
use super::rows::Rows;
use super::session::acknowledge::have_wait;
use super::settle::Taken;
use super::spaces::Spaces;
use super::{Engine, Work, idempotency};
use crate::chain::Entries;
use crate::store::{Batch, StoreError};

/// How often what is wrong outside of this program is logged at most: a disk may be full and not full by turns.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How long a full store is left alone before it is asked again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// How long what is remembered of peers stays out of the store although other things are written: these rows are large
/// (2.6 KB each) and change with every exchange, and one that is lost costs a longer frontier, no more.
const MEMORY_ALONG: Duration = Duration::from_secs(10);
/// How long what is remembered of peers stays out of the store when nothing else is written.
const MEMORY_FLUSH: Duration = Duration::from_secs(60);

/// What a step leaves to be done once its commit stands.
#[derive(Debug, Default)]
pub(super) struct After {
    pub(super) outputs: Vec<Output>,
    /// Feeds that moved, by space.
    pub(super) moved: BTreeMap<SpaceId, BTreeSet<FeedId>>,
    /// Between whom and in which spaces there may be something to name.
    pub(super) introduce: Introduce,
    /// Connections to which rules are owed whatever they have been told: (connection, space).
    pub(super) owed: Vec<(ConnId, SpaceId)>,
    /// Connections whose control stream has room again.
    pub(super) roomy: BTreeSet<ConnId>,
    /// Sessions in which something has happened; all of them, if need be.
    pub(super) touched: BTreeSet<SessionId>,
    pub(super) touched_all: bool,
    /// Whom to dial may have changed.
    pub(super) retarget: bool,
    /// What others were found to have.
    pub(super) acks: Acks,
    /// Connections that ended.
    pub(super) parted: Vec<Conn>,
    /// Replies are kept back until the commit stands.
    pub(super) replies: Vec<(ReplyTo, Reply)>,
    pub(super) status: Vec<ReplyTo>,
    /// Commands and connections that the step took in, and whether entries were among what it took in.
    begun: Begun,
    pub(super) cost: StepCost,
}

/// What a step took in, for the case that it fails.
#[derive(Debug, Default)]
struct Begun {
    commands: Vec<ReplyTo>,
    connections: Vec<ConnId>,
    carries: bool,
}

impl Begun {
    fn add(&mut self, input: &Input) {
        self.commands.extend(input.asks());
        self.connections.extend(input.connects());
        self.carries |= input.carries();
    }
}

/// What may have to be named to peers, offered, or asked of them.
#[derive(Debug, Default)]
pub(super) struct Introduce {
    /// Connections whose hello came.
    pub(super) greeted: BTreeSet<ConnId>,
    /// Connections whose peer has named all it has.
    pub(super) named: BTreeSet<ConnId>,
    /// Spaces whose rules changed, or that are new.
    pub(super) spaces: BTreeSet<SpaceId>,
    /// A join was asked for here.
    pub(super) joins: bool,
}

impl Engine {
    /// Carries out `inputs` at `now`. At most one durable commit; everything that may leave the node is in the
    /// result, in order, and rests on that commit.
    ///
    /// The caller bounds what is handed in: it is held in memory. A step ends when its work is spent; what is left over is the
    /// next one's ([`Left`]).
    pub fn step(&mut self, now: Now, mut inputs: Vec<Input>) -> Outputs {
        let mut after = After::default();
        let mut list: Vec<Output> = Vec::new();
        self.trouble.keep_away(now, &mut inputs, &mut list);
        for input in inputs {
            match input {
                // Its answer is good for this step alone.
                Input::Looked(_) => self.later.push_front(input),
                _ => self.later.push_back(input),
            }
        }
        after.begun.carries = !self.backlog.is_empty();
        if let Err(error) = self
            .reload()
            .and_then(|()| contained(self, |engine| &mut engine.poison, |engine| engine.work(now, &mut after)))
        {
            if after.begun.carries {
                self.trouble.failed(now);
            }
            self.recover(&error, &mut after);
        }
        self.targets_due |= after.retarget || after.introduce.joins || !after.introduce.spaces.is_empty();
        self.exchange(now, &mut after);
        for to in std::mem::take(&mut after.status) {
            let status = self.status(now);
            after.replies.push((to, Reply::Status(Box::new(status))));
        }
        // What goes furthest goes first.
        list.extend(after.outputs);
        // Before the replies: whoever is answered finds what it wrote, and the space that it founded.
        for space in after.moved.keys() {
            if let Some(space) = self.spaces.get(space) {
                list.push(Output::Journal(space.id, space.row.journal));
            }
        }
        list.extend(after.replies.into_iter().map(|(to, reply)| Output::Reply(to, reply)));
        let store = &self.store;
        list.extend(self.looks.next(now.mono, || store.reader()).map(|look| Output::Look(Box::new(look))));
        if !after.acks.is_empty() {
            list.push(Output::Acknowledged(after.acks));
        }
        if std::mem::take(&mut self.targets_due) {
            list.extend(self.new_known().map(Output::Known));
            list.extend(self.new_targets().map(Output::Targets));
        }
        self.spaces.settle();
        self.counters.note(after.cost);
        Outputs { list, wake: self.wake(now), left: self.left(), cost: after.cost }
    }

    /// Asks whether writes can be taken. Whether there is room again where there was none: what was turned away is then
    /// asked for again, by acknowledging it as lacking.
    fn look_for_room(&mut self, now: Now) -> bool {
        let full = self.store.full();
        let was_full = self.full.is_some();
        if let Some(why) = full.as_deref().filter(|_| !was_full)
            && self.logged.is_none_or(|logged| logged + LOG_EVERY <= now.mono)
        {
            self.logged = Some(now.mono);
            tracing::warn!(why, "writes are refused; reads go on");
        }
        self.full = full;
        let has_room_again = was_full && self.full.is_none();
        if has_room_again {
            let sessions = self.conns.values_mut().flat_map(|conn| conn.sessions.values_mut());
            sessions.for_each(|session| session.answering.hurry());
        }
        has_room_again
    }

    /// What there was no work left for.
    fn left(&self) -> Left {
        if !self.later.is_empty() {
            Left::Inputs
        } else if self.drain_due || !self.backlog.is_empty() {
            Left::Ranges
        } else {
            Left::Nothing
        }
    }

    /// The inputs, in one transaction.
    fn work(&mut self, now: Now, after: &mut After) -> Result<(), StoreError> {
        after.touched_all |= self.look_for_room(now);
        let Self { store, key, node, pasts, looks, poison, hlc_last, hlc_seen, counters, .. } = self;
        let batch = store.begin()?;
        looks.begin_step();
        let mut work = Work {
            batch,
            rows: Rows::default(),
            entries: Entries::shared(),
            pasts,
            looks,
            poison,
            key,
            node: *node,
            now,
            hlc_last,
            hlc_seen,
            counters,
            unsealed: BTreeSet::new(),
            budget: Budget::new(self.step_work),
        };
        let mut parts = Parts {
            spaces: &mut self.spaces,
            conns: &mut self.conns,
            strangers: &mut self.strangers,
            agenda: &mut self.agenda,
            backlog: &mut self.backlog,
            joins: &mut self.joins,
            contacts: &mut self.contacts,
            added: &mut self.added,
            discovered: &mut self.discovered,
            author: self.author,
            contact: &self.contact,
            process: self.process,
            dials: &mut self.dials,
            full: self.full.as_deref(),
            nonce: 0,
            seed: &self.seed,
        };
        parts.inputs(&mut work, &mut self.later, Budget::is_half_spent, after)?;
        if std::mem::take(&mut self.drain_due) {
            // Held entries were read back, or are left over from the step before.
            let holding = parts.spaces.values().filter(|space| !space.held.is_idle());
            for id in holding.map(|space| space.id).collect::<Vec<_>>() {
                parts.drained(&mut work, id, Taken::default(), after)?;
            }
        }
        parts.work_off(&mut work, after)?;
        parts.spaces.settle();
        for id in parts.spaces.care_due(now.mono, TENDED_AT_ONCE) {
            parts.tend(&mut work, id, after)?;
        }
        parts.inputs(&mut work, &mut self.later, Budget::is_spent, after)?;
        parts.work_off(&mut work, after)?;
        work.seal_all(parts.spaces)?;
        after.cost = work.budget.cost();
        self.drain_due = work.budget.is_spent() && parts.spaces.values().any(|space| !space.held.is_idle());
        let Work { mut batch, rows, counters, poison, .. } = work;
        rows.flush(&mut batch, parts.spaces, poison)?;
        write_back(&mut batch, parts.spaces)?;
        let wait = if batch.is_dirty() { MEMORY_ALONG } else { MEMORY_FLUSH };
        if self.memory_since.is_some_and(|since| since + wait <= now.mono) {
            self.memory_since = None;
            write_memories(&mut batch, parts.spaces)?;
        }
        if !batch.is_dirty() {
            return Ok(());
        }
        idempotency::purge(&mut batch, now.wall_millis)?;
        batch.commit()?;
        counters.commits += 1;
        Ok(())
    }

    /// After a failed commit: memory is read again from what is durable, connections are closed, and everybody who
    /// waits is told.
    fn recover(&mut self, error: &StoreError, after: &mut After) {
        tracing::error!(%error, "a step failed; the store is reopened");
        self.counters.failures += 1;
        let refusal = match error {
            StoreError::Full { .. } | StoreError::Gone { .. } => Refusal::Full(error.to_string()),
            _ => Refusal::Store(error.to_string()),
        };
        let Begun { commands, connections, .. } = std::mem::take(after).begun;
        after.replies = commands.into_iter().map(|to| (to, Reply::Failed(refusal.clone()))).collect();
        self.agenda = Agenda::default();
        self.strangers.clear();
        // What was not acknowledged comes again.
        self.backlog = Backlog::default();
        let open: BTreeSet<ConnId> = std::mem::take(&mut self.conns).ids().chain(connections).collect();
        let close = |conn| Output::Close(conn, CloseCode::Overloaded, "the store failed".to_owned());
        after.outputs.extend(open.into_iter().map(close));
        self.reopen |= error.needs_reopen();
        self.unloaded = true;
        if let Err(error) = self.reload() {
            tracing::error!(%error, "the store cannot be read again yet");
        }
    }

    /// Reads the memory again if a failed step has left it behind. Nothing is done on a memory that is not the disk's.
    fn reload(&mut self) -> Result<(), StoreError> {
        if self.reopen {
            self.store.reopen()?;
            self.reopen = false;
        }
        if self.unloaded {
            self.load()?;
            self.unloaded = false;
        }
        Ok(())
    }

    fn wake(&self, now: Now) -> Option<(Duration, &'static str)> {
        let waits = self.full.is_some() || self.unloaded;
        let full = waits.then(|| (now.mono + FULL_RETRY, "full"));
        let memory = self.memory_since.map(|since| (since + MEMORY_FLUSH, "memory"));
        let news = self.spaces.first_news().map(|at| (at + have_wait(self.conns.len()), "news"));
        let care = self.spaces.first_care().map(|at| (at.max(now.mono), "care"));
        let looks = self.looks.due().map(|at| (at, "look"));
        let left = (self.left() != Left::Nothing).then_some((now.mono, "work left over"));
        [self.agenda.first(), news, full, memory, care, looks, self.strangers_wake(), left]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Asks for what is remembered of peers to be stored soon.
    pub(super) fn flush_memory_soon(&mut self, now: Now) {
        self.memory_since.get_or_insert(now.mono);
    }
}

impl Parts<'_> {
    /// Takes inputs in, one after the other, until the budget says so.
    fn inputs(
        &mut self,
        work: &mut Work<'_>,
        inputs: &mut VecDeque<Input>,
        is_over: impl Fn(&Budget) -> bool,
        after: &mut After,
    ) -> Result<(), StoreError> {
        while !is_over(&work.budget)
            && let Some(input) = inputs.pop_front()
        {
            after.begun.add(&input);
            self.input(work, input, after)?;
        }
        Ok(())
    }
}

/// Writes the rows of spaces, feeds and heads that changed.
fn write_back(batch: &mut Batch<'_>, spaces: &mut Spaces) -> Result<(), StoreError> {
    spaces.visit_touched(|space| {
        let mut dirty = space.take_dirty_feeds();
        if defect::is(Defect::FeedRowLeftOut) && dirty.len() > 1 {
            dirty.pop_last();
        }
        for id in dirty {
            if let Some(feed) = space.feeds.get(&id) {
                batch.put_feed(id, &feed.row)?;
            }
        }
        for (feed, head) in space.heads.take_changed() {
            batch.put_head(space.row.no, feed, head);
        }
        if std::mem::take(&mut space.dirty) {
            batch.put_space(&space.row)?;
        }
        assert!(!space.is_dirty(), "a step leaves nothing unwritten");
        Ok(())
    })
}

/// Writes what is remembered of peers and has changed.
fn write_memories(batch: &mut Batch<'_>, spaces: &mut Spaces) -> Result<(), StoreError> {
    spaces.visit_remembering(|space| {
        let no = space.row.no;
        for (node, memory) in &mut space.memory {
            if memory.take_dirty() {
                batch.put_peer(no, *node, &memory.to_row())?;
            }
        }
        Ok(())
    })
}
