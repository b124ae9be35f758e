//! One step: inputs into one commit, then frames from what is durable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tombolo_crdt::defect::{self, Defect};
use tombolo_transport::CloseCode;

use crate::chain::Entries;
use crate::engine::Engine;
use crate::engine::after::{After, Begun};
use crate::engine::backlog::Backlog;
use crate::engine::budget::{Budget, COMPARED, SAID, TOLD, VISIT};
use crate::engine::interface::{ConnId, Input, Left, Now, Output, Outputs, Refusal, Reply, StepCost};
use crate::engine::memory::{Health, Memory, Queue};
use crate::engine::peers::agenda::Agenda;
use crate::engine::peers::session::acknowledge::have_wait;
use crate::engine::poison::contained;
use crate::engine::space::care::TENDED_AT_ONCE;
use crate::engine::space::idempotency;
use crate::engine::space::rows::Rows;
use crate::engine::space::settle::Taken;
use crate::engine::space::spaces::Spaces;
use crate::engine::work::Work;
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

impl Engine {
    /// Carries out `inputs` at `now`. At most one durable commit; everything that may leave the node is in the
    /// result, in order, and rests on that commit.
    ///
    /// The caller bounds what is handed in: it is held in memory. A step ends when its work is spent; what is left over
    /// is the next one's ([`Left`]).
    pub fn step(&mut self, now: Now, mut inputs: Vec<Input>) -> Outputs {
        let mut after = After::default();
        let mut list: Vec<Output> = Vec::new();
        self.health.trouble.keep_away(now, &mut inputs, &mut list);
        for input in inputs {
            match input {
                // Its answer is good for this step alone.
                Input::Looked(_) => self.queue.later.push_front(input),
                _ => self.queue.later.push_back(input),
            }
        }
        after.begun.carries = !self.memory.backlog.is_empty();
        if let Err(error) = self
            .reload()
            .and_then(|()| contained(self, |engine| &mut engine.health.poison, |engine| engine.work(now, &mut after)))
        {
            if after.begun.carries {
                self.health.trouble.failed(now);
            }
            self.recover(&error, &mut after);
        }
        self.aims.due |= after.retarget || after.introduce.joins || !after.introduce.spaces.is_empty();
        let said = (self.counters.visits, self.counters.compared);
        self.exchange(now, &mut after);
        after.cost.said += (self.counters.visits - said.0) * VISIT + (self.counters.compared - said.1) * COMPARED;
        if !after.status.is_empty() {
            // One for all who ask: it goes over every space and member.
            let status = Arc::new(self.status(now));
            let told: usize = status.spaces.iter().map(|space| 1 + space.members.len()).sum();
            after.cost.said += told as u64 * TOLD;
            let to = std::mem::take(&mut after.status).into_iter();
            after.replies.extend(to.map(|to| (to, Reply::Status(Arc::clone(&status)))));
        }
        // What goes furthest goes first.
        list.extend(after.outputs);
        // Before the replies: whoever is answered finds what it wrote, and the space that it founded.
        for space in after.moved.keys() {
            if let Some(space) = self.memory.spaces.get(space) {
                list.push(Output::Journal(space.id, space.row.journal));
            }
        }
        list.extend(after.replies.into_iter().map(|(to, reply)| Output::Reply(to, reply)));
        let store = &self.store;
        list.extend(self.looks.next(now.mono, || store.reader()).map(|look| Output::Look(Box::new(look))));
        if !after.acks.is_empty() {
            list.push(Output::Acknowledged(after.acks));
        }
        if std::mem::take(&mut self.aims.due) {
            list.extend(self.new_known().map(Output::Known));
            list.extend(self.new_targets().map(Output::Targets));
        }
        self.memory.spaces.settle();
        after.cost.what = if after.cost.said > after.cost.work { SAID } else { after.cost.what };
        self.counters.note(after.cost);
        Outputs { list, wake: self.wake(now), left: self.left(), cost: after.cost }
    }

    /// Asks whether writes can be taken. Whether there is room again where there was none: what was turned away is then
    /// asked for again, by acknowledging it as lacking.
    fn look_for_room(&mut self, now: Now) -> bool {
        let full = self.store.full();
        let was_full = self.health.full.is_some();
        if let Some(why) = full.as_deref().filter(|_| !was_full)
            && self.health.logged.is_none_or(|logged| logged + LOG_EVERY <= now.mono)
        {
            self.health.logged = Some(now.mono);
            tracing::warn!(why, "writes are refused; reads go on");
        }
        self.health.full = full;
        let has_room_again = was_full && self.health.full.is_none();
        if has_room_again {
            let sessions = self.memory.conns.values_mut().flat_map(|conn| conn.sessions.values_mut());
            sessions.for_each(|session| session.answering.hurry());
        }
        has_room_again
    }

    /// What there was no work left for.
    pub(super) fn left(&self) -> Left {
        if self.health.unloaded {
            // Nothing is done before the memory is that of the disk; that is tried again after a while.
            Left::Nothing
        } else if self.queue.rest.is_some() || !self.queue.later.is_empty() {
            Left::Inputs
        } else if self.queue.drain_due || !self.memory.backlog.is_empty() {
            Left::Ranges
        } else {
            Left::Nothing
        }
    }

    /// The inputs, in one transaction.
    fn work(&mut self, now: Now, after: &mut After) -> Result<(), StoreError> {
        after.touched_all |= self.look_for_room(now);
        let Self { store, own, memory, queue, health, pasts, looks, hlc_last, hlc_seen, counters, .. } = self;
        let batch = store.begin()?;
        looks.begin_step();
        let Health { full, poison, .. } = health;
        let mut work = Work {
            batch,
            rows: Rows::default(),
            entries: Entries::shared(),
            pasts,
            looks,
            poison,
            own,
            full: full.as_deref(),
            now,
            hlc_last,
            hlc_seen,
            counters,
            unsealed: BTreeSet::new(),
            budget: Budget::new(queue.step_work),
            undrained: false,
        };
        memory.share(&mut work, queue, after)?;
        work.seal_all(&mut memory.spaces)?;
        after.cost = work.budget.cost();
        let StepCost { work: done, largest, .. } = after.cost;
        debug_assert!(
            done < queue.step_work + largest.max(1) || defect::is(Defect::WorkUnbounded),
            "a step does one piece more than its work at most"
        );
        let Work { mut batch, rows, counters, poison, .. } = work;
        rows.flush(&mut batch, &mut memory.spaces, poison)?;
        write_back(&mut batch, &mut memory.spaces)?;
        let wait = if batch.is_dirty() { MEMORY_ALONG } else { MEMORY_FLUSH };
        if self.memory_since.is_some_and(|since| since + wait <= now.mono) {
            self.memory_since = None;
            write_memories(&mut batch, &mut memory.spaces)?;
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
        // What the step has not come to fails with it: nothing is done on a memory that is not the disk's.
        self.queue.later.drain(..).for_each(|input| after.begun.add(&input));
        after.begun.commands.extend(self.queue.rest.take().map(|rest| rest.to));
        let Begun { commands, connections, .. } = std::mem::take(after).begun;
        after.replies = commands.into_iter().map(|to| (to, Reply::Failed(refusal.clone()))).collect();
        self.memory.agenda = Agenda::default();
        self.memory.loads.forget();
        self.memory.strangers.clear();
        // What was not acknowledged comes again.
        self.memory.backlog = Backlog::default();
        let open: BTreeSet<ConnId> = std::mem::take(&mut self.memory.conns).ids().chain(connections).collect();
        let close = |conn| Output::Close(conn, CloseCode::Overloaded, "the store failed".to_owned());
        after.outputs.extend(open.into_iter().map(close));
        self.health.reopen |= error.needs_reopen();
        self.health.unloaded = true;
        if let Err(error) = self.reload() {
            tracing::error!(%error, "the store cannot be read again yet");
        }
    }

    /// Reads the memory again if a failed step has left it behind. Nothing is done on a memory that is not the disk's.
    fn reload(&mut self) -> Result<(), StoreError> {
        if self.health.reopen {
            self.store.reopen()?;
            self.health.reopen = false;
        }
        if self.health.unloaded {
            self.load()?;
            self.health.unloaded = false;
        }
        Ok(())
    }

    pub(super) fn wake(&self, now: Now) -> Option<(Duration, &'static str)> {
        if self.health.unloaded {
            // Nothing else can be done before; what is due stays due.
            return Some((now.mono + FULL_RETRY, "reload"));
        }
        let full = self.health.full.is_some().then(|| (now.mono + FULL_RETRY, "full"));
        let memory = self.memory_since.map(|since| (since + MEMORY_FLUSH, "memory"));
        let news = self.memory.spaces.first_news().map(|at| (at + have_wait(self.memory.conns.len()), "news"));
        let care = self.memory.spaces.first_care().map(|at| (at.max(now.mono), "care"));
        let looks = self.looks.due().map(|at| (at, "look"));
        let left = (self.left() != Left::Nothing).then_some((now.mono, "work left over"));
        [self.memory.agenda.first(), news, full, memory, care, looks, self.strangers_wake(), left]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Asks for what is remembered of peers to be stored soon.
    pub(super) fn flush_memory_soon(&mut self, now: Now) {
        self.memory_since.get_or_insert(now.mono);
    }
}

impl Memory {
    /// Everything that the step has work for. Inputs, and entries of others that came before, take turns in being
    /// first: who is first has half before the other, and does one piece at least.
    fn share(&mut self, work: &mut Work<'_>, queue: &mut Queue, after: &mut After) -> Result<(), StoreError> {
        self.spaces.settle();
        // Slices may spend all of a step's work. What they wait for is an input, and gets the next step.
        let due = if queue.tended { Vec::new() } else { self.spaces.care_due(work.now.mono, TENDED_AT_ONCE) };
        for id in due {
            if work.budget.is_spent() {
                break;
            }
            self.tend(work, id, after)?;
        }
        queue.tended = work.budget.is_spent();
        queue.theirs_first = !queue.theirs_first;
        let theirs_first = queue.theirs_first;
        work.budget.halve(true);
        self.turn(work, queue, theirs_first, after)?;
        work.budget.halve(false);
        self.turn(work, queue, !theirs_first, after)?;
        self.turn(work, queue, theirs_first, after)?;
        queue.drain_due |= std::mem::take(&mut work.undrained);
        Ok(())
    }

    /// The turn of entries of others, or of inputs.
    fn turn(
        &mut self,
        work: &mut Work<'_>,
        queue: &mut Queue,
        theirs: bool,
        after: &mut After,
    ) -> Result<(), StoreError> {
        if theirs { self.theirs(work, queue, after) } else { self.inputs(work, queue, after) }
    }

    /// What was held and is free now, and the entries of others that wait for their turn.
    fn theirs(&mut self, work: &mut Work<'_>, queue: &mut Queue, after: &mut After) -> Result<(), StoreError> {
        // What one call has left over the next goes on with: the budget may have been half of it.
        if std::mem::take(&mut queue.drain_due) | std::mem::take(&mut work.undrained) {
            let holding = self.spaces.values().filter(|space| !space.held.is_idle());
            for id in holding.map(|space| space.id).collect::<Vec<_>>() {
                self.drained(work, id, Taken::default(), after)?;
            }
        }
        self.work_off(work, after)
    }

    /// Takes inputs in, one after the other, as long as there is work left: what was begun before first.
    fn inputs(&mut self, work: &mut Work<'_>, queue: &mut Queue, after: &mut After) -> Result<(), StoreError> {
        while !work.budget.is_spent() {
            if let Some(rest) = queue.rest.take() {
                let to = rest.to;
                after.begun.commands.push(to);
                work.budget.begin();
                let reply = self.each(work, rest, after)?;
                after.replies.extend(reply.map(|reply| (to, reply)));
            } else if let Some(input) = queue.later.pop_front() {
                after.begun.add(&input);
                self.input(work, input, after)?;
            } else {
                break;
            }
            queue.rest = after.unfinished.take();
            assert!(queue.rest.is_none() || work.budget.is_spent(), "nothing is left over while there is work left");
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
            batch.put_head(space.row.space_no, feed, head);
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
        let space_no = space.row.space_no;
        for (node, memory) in &mut space.memory {
            if memory.take_dirty() {
                batch.put_peer(space_no, *node, &memory.to_row())?;
            }
        }
        Ok(())
    })
}
