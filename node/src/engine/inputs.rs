//! Inputs of a step, one by one, inside its transaction: frames and ranges of peers here, commands of this site in
//! `commands.rs`.

use std::collections::VecDeque;

use tombolo_crdt::SpaceId;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::feed::VerifiedRange;
use tombolo_crdt::verdict::Wait;
use tombolo_transport::frame::{Frame, Join, JoinRefusal};

use crate::chain::Looked;
use crate::engine::Work;
use crate::engine::after::After;
use crate::engine::backlog::Pending;
use crate::engine::interface::{ConnId, Input, Output};
use crate::engine::memory::Memory;
use crate::engine::peers::conn::Conn;
use crate::engine::space::Space;
use crate::engine::space::local::Fault;
use crate::engine::space::looks::Answered;
use crate::engine::space::membership;
use crate::engine::space::offer::{self, Offer};
use crate::engine::space::settle::Taken;
use crate::store::StoreError;

impl Memory {
    /// Takes an input in. Entries that it brings are worked off afterwards ([`Memory::work_off`]).
    pub(super) fn input(&mut self, work: &mut Work<'_>, input: Input, after: &mut After) -> Result<(), StoreError> {
        work.budget.input(&input);
        self.carry_out(work, input, after)?;
        work.charge_reads();
        Ok(())
    }

    fn carry_out(&mut self, work: &mut Work<'_>, input: Input, after: &mut After) -> Result<(), StoreError> {
        match input {
            Input::Command(to, command) => {
                let reply = self.command(work, command, after, to)?;
                after.replies.extend(reply.map(|reply| (to, reply)));
            }
            Input::Connected { conn, peer, dialled, address } => {
                self.dials += u64::from(dialled);
                let mut known = Conn::new(peer, dialled, address, work.now.wall_millis, self.dials);
                known.door.opened = work.now.mono;
                self.strangers.insert(conn);
                let hello = crate::engine::peers::introduce::hello(
                    &work.own.contact,
                    work.own.process,
                    known.counter,
                    work.now,
                );
                self.conns.insert(conn, known);
                after.outputs.push(Output::Control(conn, hello));
            }
            Input::Frame(conn, frame) => self.frame(work, conn, frame, after)?,
            Input::Ranges { conn, space, number, ranges } => self.ranges(conn, space, number, ranges),
            Input::RulesRanges { conn, space, ranges, last } => {
                self.rules_ranges(work, conn, space, ranges, last, after)?;
            }
            Input::Writable(conn, space, bytes) => {
                after.touched.insert((conn, space));
                if let Some(conn) = self.conns.get_mut(&conn) {
                    match conn.sessions.get_mut(&space) {
                        Some(session) => session.sending.room = bytes,
                        None => drop(conn.room.insert(space, bytes)),
                    }
                }
            }
            Input::Room(id, bytes) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.door.room = bytes;
                    after.roomy.insert(id);
                }
            }
            Input::Twin(address) => self.contacts.twin(work.own.node, address, work.now.wall_millis),
            Input::Closed(id, reason) => {
                self.strangers.remove(&id);
                if let Some(conn) = self.conns.remove(&id) {
                    self.agenda.forget(id, &conn);
                    let flying = conn.sessions.values().any(|session| !session.sending.in_flight.is_empty());
                    let empty = !flying || !defect::is(Defect::PartingAsserted);
                    assert!(empty, "nothing is on its way when a connection ends");
                    tracing::info!(peer = %conn.peer, %reason, "disconnected");
                    after.parted.push(conn);
                }
            }
            Input::Looked(looked) => self.looked(work, *looked, after)?,
            Input::Loaded(loaded) => after.touched.extend(self.loads.loaded(*loaded, &mut self.conns)),
            Input::Timer => {}
        }
        Ok(())
    }

    /// An entity's past has been looked at: who waited for that is tried again.
    fn looked(&mut self, work: &mut Work<'_>, looked: Looked, after: &mut After) -> Result<(), StoreError> {
        let Some(answered) = work.looks.answered(looked, work.now.mono, work.pasts) else { return Ok(()) };
        let (Answered::Entries(space_no, _) | Answered::Care(space_no, _)) = answered;
        let Some(space) = self.spaces.by_no_mut(space_no) else { return Ok(()) };
        let id = space.id;
        match answered {
            Answered::Entries(_, feeds) => {
                for feed in feeds {
                    // An entry that asks for many is tried again after the last of them.
                    if let Some(Wait::Looked(collection, id)) = space.held.blocker(feed)
                        && !work.looks.expects(&(space_no, collection.clone(), id.clone()))
                    {
                        space.held.wake(feed);
                    }
                }
                self.drained(work, id, Taken::default(), after)
            }
            Answered::Care(_, found) => {
                space.care.answered(found);
                self.tend(work, id, after)
            }
        }
    }

    fn frame(&mut self, work: &mut Work<'_>, conn: ConnId, frame: Frame, after: &mut After) -> Result<(), StoreError> {
        match frame {
            Frame::Join(join) => self.asked_to_join(work, conn, join, after),
            Frame::JoinRefused(space, refusal) => self.join_refused(work, conn, space, refusal, after),
            frame => {
                let Some(known) = self.conns.get_mut(&conn) else { return Ok(()) };
                if let Frame::Hello(hello) = &frame
                    && self.spaces.values().any(|space| space.role(known.peer).is_some())
                {
                    let wall = work.now.wall_millis;
                    after.retarget |= self.contacts.hear(known, hello, &mut work.batch, wall)?;
                }
                if let Frame::Rules(space, _) = &frame {
                    known.door.names |= self.spaces.contains_key(space) || self.joins.contains_key(space);
                }
                after.touched.extend(crate::engine::peers::hearing::concerns(&frame).map(|space| (conn, space)));
                crate::engine::peers::hearing::note(conn, known, frame, &mut self.spaces, work.now, after);
                Ok(())
            }
        }
    }

    /// A peer that was asked says no. Only the inviter's word is final; others may not know better, or be strangers.
    fn join_refused(
        &mut self,
        work: &mut Work<'_>,
        conn: ConnId,
        space: SpaceId,
        refusal: JoinRefusal,
        after: &mut After,
    ) -> Result<(), StoreError> {
        let (Some(known), Some(join)) = (self.conns.get_mut(&conn), self.joins.get_mut(&space)) else { return Ok(()) };
        if !known.asked_to_join.contains(&space) || refusal == JoinRefusal::Busy {
            return Ok(());
        }
        join.refused = Some(refusal);
        after.acks.space(space);
        after.retarget = true;
        if known.peer == join.inviter {
            join.over = true;
            membership::forget_join(&mut work.batch, space)?;
        }
        Ok(())
    }

    fn asked_to_join(
        &mut self,
        work: &mut Work<'_>,
        conn: ConnId,
        join: Join,
        after: &mut After,
    ) -> Result<(), StoreError> {
        let id = join.space;
        let (Some(known), Some(space)) = (self.conns.get(&conn), self.spaces.get_mut(&id)) else { return Ok(()) };
        if space.role(work.own.node).is_none() {
            return Ok(());
        }
        if work.full.is_some() {
            after.outputs.push(Output::Control(conn, Frame::JoinRefused(id, JoinRefusal::Busy)));
            return Ok(());
        }
        match work.admit(space, known.peer, &join) {
            Ok(Ok(true)) => {
                after.moved.entry(id).or_default().insert(space.own_rules_feed);
                after.owed.push((conn, id));
                after.introduce.spaces.insert(id);
            }
            Ok(Ok(false)) | Err(Fault::Refused(_)) => {}
            Ok(Err(refusal)) => after.outputs.push(Output::Control(conn, Frame::JoinRefused(id, refusal))),
            Err(Fault::Store(error)) => return Err(error),
        }
        Ok(())
    }

    fn ranges(&mut self, conn: ConnId, id: SpaceId, number: u64, ranges: Vec<VerifiedRange>) {
        let (Some(known), Some(space)) = (self.conns.get_mut(&conn), self.spaces.get_mut(&id)) else { return };
        // Membership of the peer under the rules known here: nobody else is listened to.
        if space.role(known.peer).is_none() || !known.sessions.contains_key(&id) {
            return;
        }
        let ranges: VecDeque<VerifiedRange> = ranges.into_iter().filter(|range| range.opening().space == id).collect();
        self.backlog.push(Pending { conn, space: id, number: Some(number), ranges });
    }

    /// Settles what was held for what has just come.
    pub(super) fn drained(
        &mut self,
        work: &mut Work<'_>,
        id: SpaceId,
        mut taken: Taken,
        after: &mut After,
    ) -> Result<(), StoreError> {
        let Some(space) = self.spaces.get_mut(&id) else { return Ok(()) };
        work.drain_held(space, &mut taken)?;
        if !taken.moved.is_empty() {
            after.moved.entry(id).or_default().extend(taken.moved);
        }
        if taken.rules {
            after.introduce.spaces.insert(id);
            after.acks.space(id);
        }
        Ok(())
    }

    /// A page of rules entries that a peer offers. What it brings is taken when the last page has come.
    fn rules_ranges(
        &mut self,
        work: &mut Work<'_>,
        conn: ConnId,
        id: SpaceId,
        ranges: Vec<VerifiedRange>,
        last: bool,
        after: &mut After,
    ) -> Result<(), StoreError> {
        if work.full.is_some() || !self.hears_rules(conn, id, work.now) {
            return Ok(());
        }
        let Some(known) = self.conns.get_mut(&conn) else { return Ok(()) };
        let begun = known.door.offers.remove(&id);
        let something = ranges.iter().any(|range| offer::belongs(range, id));
        if !something && begun.is_none() {
            // An offer begins with a page that has something in it.
            return Ok(());
        }
        let space = self.spaces.get(&id);
        let mut offer = begun.unwrap_or_else(|| space.map_or_else(|| Offer::of(id), Offer::onto));
        let bytes = ranges.iter().map(VerifiedRange::memory).sum();
        let taken = offer.page(ranges);
        work.budget.offered(offer.take_judged(), bytes, offer.len());
        if let Err(error) = taken {
            tracing::warn!(peer = %known.peer, space = %id, %error, "rules that were offered are not taken");
            known.door.fault = Some(error.to_string());
            return Ok(());
        }
        if something {
            known.door.page_at = Some(work.now.mono);
        }
        if !last {
            known.door.offers.insert(id, offer);
            return Ok(());
        }
        let peer = known.peer;
        if let Some(space) = self.spaces.get_mut(&id) {
            // From a stranger only what makes it a member by these very rules.
            if space.role(peer).is_none() && !offer.admits(peer) {
                known.door.fault = Some("by the rules it offered it is no member".to_owned());
                return Ok(());
            }
            let ranges = offer.into_parts().1.into();
            self.backlog.push(Pending { conn, space: id, number: None, ranges });
            return Ok(());
        }
        if let Some(space) = work.enter(offer, self.spaces.next_no(), self.author)? {
            tracing::info!(space = %id, name = %space.row.name, "joined");
            after.moved.entry(id).or_default().extend(space.feeds.keys());
            self.spaces.insert(id, space);
            self.joins.remove(&id);
            membership::forget_join(&mut work.batch, id)?;
            after.introduce.spaces.insert(id);
            after.acks.space(id);
        }
        Ok(())
    }

    /// One slice of care for a space. What was held for what is whole now is settled.
    pub(super) fn tend(&mut self, work: &mut Work<'_>, id: SpaceId, after: &mut After) -> Result<(), StoreError> {
        let Some(space) = self.spaces.get_mut(&id) else { return Ok(()) };
        let (repaired, frozen) = (space.care.counters.repaired, space.care.frozen().len());
        if work.tend(space)? {
            // All sessions of the space are visited.
            after.moved.entry(id).or_default();
        }
        if space.care.counters.repaired == repaired && space.care.frozen().len() >= frozen {
            return Ok(());
        }
        let Space { held, care, .. } = space;
        held.healed(|collection, id| care.rests(collection, id));
        self.drained(work, id, Taken::default(), after)
    }
}
