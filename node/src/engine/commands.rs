//! What this site asks for: writes, spaces, joins, peers, and what is known of them.

use tombolo_crdt::rules::{Found, Invite, NAME_BYTES_MAX};
use tombolo_crdt::{NodeId, SpaceId};

use crate::engine::Work;
use crate::engine::after::After;
use crate::engine::interface::{Command, JoinState, Refusal, Reply, ReplyTo, WriteCommand, WriteOutcome};
use crate::engine::memory::{Memory, Rest};
use crate::engine::space::local::Fault;
use crate::engine::space::membership;
use crate::engine::space::planning::Planned;
use crate::engine::space::rows::RowFault;
use crate::store::StoreError;

/// Most nodes remembered from discovery.
const DISCOVERED_MAX: usize = 256;

impl Memory {
    /// Carries out a command of this site.
    pub(super) fn command(
        &mut self,
        work: &mut Work<'_>,
        command: Command,
        after: &mut After,
        to: ReplyTo,
    ) -> Result<Option<Reply>, StoreError> {
        if let Some(full) = work.full
            && let Some(reply) = refuse_full(&command, full)
        {
            return Ok(Some(reply));
        }
        after.retarget |= command.changes_targets();
        Ok(Some(match command {
            Command::Write(command) if !command.atomic => {
                return self.each(work, Rest { to, command, outcomes: Vec::new(), apart: Vec::new() }, after);
            }
            Command::Write(command) => Reply::Written(refused(self.write(work, command, after))?),
            Command::Offer(command, bytes) => self.offer(work, command, bytes, after)?,
            Command::Planned(planned) => self.planned(work, *planned, after)?,
            Command::CreateSpace { name, founder } => {
                Reply::Created(refused(self.create(work, name, &founder, after))?)
            }
            Command::Invite { space, role, key, expires } => {
                let invite = Invite { key, role, expires };
                let done = match self.spaces.get_mut(&space) {
                    None => Err(Refusal::UnknownSpace(space).into()),
                    Some(space) => {
                        after.moved.entry(space.id).or_default().insert(space.own_rules_feed);
                        work.invite(space, invite)
                    }
                };
                after.introduce.spaces.insert(space);
                Reply::Done(refused(done)?)
            }
            Command::Join(request) => Reply::Done(self.join(work, request, after)?),
            Command::JoinState(space) => Reply::JoinState(self.join_state(space)),
            Command::AddPeer(addr) => {
                membership::store_added(&mut work.batch, &addr, true)?;
                self.added.insert(addr);
                Reply::Done(Ok(()))
            }
            Command::RemovePeer(what) => Reply::Done(self.remove_peer(work, &what)?),
            Command::Discovered(node, addrs) => {
                if self.discovered.len() < DISCOVERED_MAX || self.discovered.contains_key(&node) {
                    self.discovered.insert(node, addrs);
                }
                Reply::Done(Ok(()))
            }
            Command::Addresses(addrs) => {
                work.own.contact.addrs = addrs;
                Reply::Done(Ok(()))
            }
            Command::Status => {
                after.status.push(to);
                return Ok(None);
            }
            Command::Damaged(space, collection, id) => {
                // Reports are cheap to make: only what is damaged indeed is a suspect.
                if let Some(space) = self.spaces.get_mut(&space)
                    && let Err(RowFault::Damaged(_)) =
                        work.rows.get(&mut work.batch, space.row.space_no, &collection, &id)
                {
                    space.care.damaged(&collection, &id);
                }
                Reply::Done(Ok(()))
            }
            Command::Receipt(receipt) => match super::report::receipt(self, work.own.node, receipt, &work.batch) {
                Err(StoreError::Corrupt { detail, .. }) => {
                    Reply::Failed(Refusal::Unreadable { what: format!("the entry {receipt}"), reason: detail })
                }
                state => {
                    let state = state?;
                    work.budget.told(state.as_ref().map_or(0, |state| state.peers.len()));
                    Reply::Receipt(state)
                }
            },
        }))
    }

    fn write(&mut self, work: &mut Work<'_>, command: WriteCommand, after: &mut After) -> Result<WriteOutcome, Fault> {
        let id = command.space;
        let space = self.spaces.get_mut(&id).ok_or(Refusal::UnknownSpace(id))?;
        let before = space.row.journal;
        let outcome = work.write(space, command)?;
        if space.row.journal != before {
            after.moved.entry(id).or_default().insert(space.own_data_feed);
        }
        Ok(outcome)
    }

    /// Carries out writes one by one. None: the step has no work left for all, and the next goes on with the rest.
    pub(super) fn each(
        &mut self,
        work: &mut Work<'_>,
        mut rest: Rest,
        after: &mut After,
    ) -> Result<Option<Reply>, StoreError> {
        if let Some(full) = work.full {
            return Ok(Some(Reply::Written(Err(Refusal::Full(full.to_owned())))));
        }
        let id = rest.command.space;
        let Some(space) = self.spaces.get_mut(&id) else {
            return Ok(Some(Reply::Written(Err(Refusal::UnknownSpace(id)))));
        };
        let (before, asked) = (space.row.journal, rest.command.writes.len() + rest.outcomes.len());
        let done = refused(work.each(space, &mut rest))?;
        if space.row.journal != before {
            after.moved.entry(id).or_default().insert(space.own_data_feed);
        }
        if let Err(refusal) = done {
            return Ok(Some(Reply::Written(Err(refusal))));
        }
        let Rest { command, outcomes, apart, .. } = &rest;
        assert_eq!(command.writes.len() + outcomes.len(), asked, "every write has an outcome, or is left");
        assert!(apart.len() <= outcomes.len(), "what is given back has an outcome");
        if !command.writes.is_empty() {
            after.unfinished = Some(rest);
            return Ok(None);
        }
        let Rest { outcomes, apart, .. } = rest;
        Ok(Some(match apart.is_empty() {
            true => Reply::Written(Ok(WriteOutcome { writes: outcomes, replayed: false })),
            false => Reply::InPart(outcomes, apart),
        }))
    }

    /// Has a write planned by the caller if that takes long, else carries it out.
    fn offer(
        &mut self,
        work: &mut Work<'_>,
        command: WriteCommand,
        bytes: usize,
        after: &mut After,
    ) -> Result<Reply, StoreError> {
        let command = match self.spaces.get(&command.space) {
            None => command,
            Some(space) => match refused(work.hand_out(space, command, bytes))? {
                Ok(Ok(plan)) => return Ok(Reply::Plan(Box::new(plan))),
                Ok(Err(command)) => command,
                Err(refusal) => return Ok(Reply::Written(Err(refusal))),
            },
        };
        Ok(Reply::Written(refused(self.write(work, command, after))?))
    }

    fn planned(&mut self, work: &mut Work<'_>, planned: Planned, after: &mut After) -> Result<Reply, StoreError> {
        let id = planned.space();
        let Some(space) = self.spaces.get_mut(&id) else {
            return Ok(Reply::Written(Err(Refusal::UnknownSpace(id))));
        };
        let before = space.row.journal;
        let taken = refused(work.take_plan(space, planned))?;
        if space.row.journal != before {
            after.moved.entry(id).or_default().insert(space.own_data_feed);
        }
        Ok(match taken {
            Ok(Ok(outcome)) => Reply::Written(Ok(outcome)),
            Ok(Err(command)) => Reply::Moved(command),
            Err(refusal) => Reply::Written(Err(refusal)),
        })
    }

    fn create(
        &mut self,
        work: &mut Work<'_>,
        name: String,
        founder: &ed25519_dalek::SigningKey,
        after: &mut After,
    ) -> Result<SpaceId, Fault> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('/') || name.chars().any(char::is_control) {
            let rule = "a space name has 1 to 128 bytes, no `/` and no control characters";
            return Err(Refusal::Argument(rule.to_owned()).into());
        }
        if let Some(known) = self.spaces.values().find(|space| space.row.name == name) {
            // Two spaces of one name on one node could no longer be called by it.
            return Err(Refusal::SpaceExists(known.id).into());
        }
        let nonce = work.own.nonce(founder);
        let founder_id = NodeId::from_bytes(founder.verifying_key().to_bytes());
        let found = Found { founder: founder_id, name, nonce };
        let id = found.space();
        if self.spaces.contains_key(&id) {
            return Err(Refusal::SpaceExists(id).into());
        }
        let space = work.create_space(&found, founder, self.spaces.next_no(), self.author)?;
        self.spaces.insert(id, space);
        after.moved.entry(id).or_default();
        after.introduce.spaces.insert(id);
        Ok(id)
    }

    fn join(
        &mut self,
        work: &mut Work<'_>,
        request: crate::engine::JoinRequest,
        after: &mut After,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let space = request.space;
        if self.spaces.get(&space).is_some_and(|space| space.role(work.own.node).is_some()) {
            return Ok(Ok(()));
        }
        self.joins.retain(|known, join| *known == space || !join.over);
        if self.joins.len() >= membership::JOINS_MAX && !self.joins.contains_key(&space) {
            return Ok(Err(Refusal::Argument(format!("{} joins already wait for a member", membership::JOINS_MAX))));
        }
        let join = membership::store_join(&mut work.batch, request)?;
        self.joins.insert(space, join);
        for conn in self.conns.values_mut() {
            conn.asked_to_join.remove(&space);
        }
        after.introduce.joins = true;
        Ok(Ok(()))
    }

    fn join_state(&self, space: SpaceId) -> JoinState {
        if self.spaces.contains_key(&space) {
            return JoinState::Joined;
        }
        match self.joins.get(&space) {
            None => JoinState::Unknown,
            Some(join) => join.refused.map_or(JoinState::Waiting, JoinState::Refused),
        }
    }

    fn remove_peer(&mut self, work: &mut Work<'_>, what: &str) -> Result<Result<(), Refusal>, StoreError> {
        if self.added.remove(what) {
            membership::store_added(&mut work.batch, what, false)?;
            return Ok(Ok(()));
        }
        let by_key = what.parse::<NodeId>().is_ok_and(|node| self.discovered.remove(&node).is_some());
        let known = "no such address was added; `peer ls` lists them";
        Ok(if by_key { Ok(()) } else { Err(Refusal::Argument(known.to_owned())) })
    }
}

/// Splits what goes to the client from what ends the step.
fn refused<T>(result: Result<T, Fault>) -> Result<Result<T, Refusal>, StoreError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Refused(refusal)) => Ok(Err(refusal)),
        Err(Fault::Store(error)) => Err(error),
    }
}

/// What a command that writes is answered while the disk is full.
fn refuse_full(command: &Command, full: &str) -> Option<Reply> {
    let refusal = || Refusal::Full(full.to_owned());
    match command {
        Command::Write(_) | Command::Offer(..) | Command::Planned(_) => Some(Reply::Written(Err(refusal()))),
        Command::CreateSpace { .. } => Some(Reply::Created(Err(refusal()))),
        Command::Invite { .. } | Command::Join(_) | Command::AddPeer(_) | Command::RemovePeer(_) => {
            Some(Reply::Done(Err(refusal())))
        }
        Command::JoinState(_) | Command::Discovered(..) | Command::Addresses(_) | Command::Status => None,
        Command::Receipt(_) | Command::Damaged(..) => None,
    }
}
