//! Clients: they ask for the writes of the plan and wait for answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::{TypedOp, Write};
use tombolo_crdt::json::Json;
use tombolo_node::engine::{Command, EntityWrite, Expect, Idempotency, Input, Refusal, Reply, ReplyTo, WriteCommand};

use super::World;
use super::host::{Item, Pid};
use super::queue::Event;
use crate::oracle::trace_of;
use crate::outcome::Violation;
use crate::plan::{Action, Edit, Plan, PlannedWrite};
use crate::trace::What;

/// How long a client that retries waits before it asks again.
const RETRY: Duration = Duration::from_secs(5);
/// How often it asks in all.
const ATTEMPTS_MAX: u32 = 10;

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Clients {
    replies: u64,
    /// Asked and not answered: where, and which write by index.
    waiting: BTreeMap<ReplyTo, (Pid, usize)>,
    /// Will be asked again when the node is back.
    back: BTreeMap<Pid, Vec<usize>>,
    /// Will be asked again in a moment.
    soon: usize,
    attempts: BTreeMap<usize, u32>,
    by_number: BTreeMap<u32, usize>,
}

impl Clients {
    pub(super) fn new(plan: &Plan) -> Self {
        let by_number = plan.writes.iter().enumerate().map(|(index, write)| (write.no, index)).collect();
        Self { by_number, ..Self::default() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.soon == 0
    }

    pub(super) fn space_of(&self, no: u32, plan: &Plan, spaces: &[SpaceId]) -> Option<SpaceId> {
        let write = plan.writes.get(*self.by_number.get(&no)?)?;
        spaces.get(write.space).copied()
    }
}

/// What a client sends for an edit.
pub(crate) fn write_of(edit: &Edit) -> Result<Write, String> {
    let json = |value: &serde_json::Value| {
        let text = serde_json::to_vec(value).map_err(|error| error.to_string())?;
        Json::parse(&text).map_err(|error| error.to_string())
    };
    Ok(match &edit.action {
        Action::Put(value) => Write::Put { value: json(value)?, base: None },
        Action::Patch(value) => Write::MergePatch(json(value)?),
        Action::Increment { path, by } => Write::Ops(vec![TypedOp::Increment { path: path.clone(), by: *by }]),
        Action::Delete => Write::Delete,
    })
}

/// The command for a planned write.
pub(crate) fn command_of(write: &PlannedWrite, space: SpaceId) -> Result<WriteCommand, String> {
    let one = |edit: &Edit| {
        let (collection, id) = (edit.collection.clone(), edit.id.clone());
        write_of(edit).map(|write| EntityWrite { collection, id, expect: Expect::Any, write })
    };
    let writes = write.edits.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let number = u64::from(write.no).to_le_bytes();
    let idempotency = write.retried.then(|| {
        let body = format!("{:?}", write.edits);
        Idempotency { key: *blake3::hash(&number).as_bytes(), body: *blake3::hash(body.as_bytes()).as_bytes() }
    });
    Ok(WriteCommand { space, writes, atomic: true, idempotency, trace: Some(trace_of(write.no)) })
}

impl World<'_> {
    /// A client asks for a write.
    pub(super) fn ask(&mut self, index: usize) {
        let Some(write) = self.plan.writes.get(index) else { return };
        let pid = write.node;
        let first = !self.clients.attempts.contains_key(&index);
        if first {
            self.stats.writes += 1;
        } else {
            assert!(self.clients.soon > 0, "who asks again has said so");
            self.clients.soon -= 1;
        }
        let attempts = self.clients.attempts.entry(index).or_default();
        *attempts += 1;
        assert!(*attempts <= ATTEMPTS_MAX, "a client asks so often and no more");
        if self.healed && !self.survives(pid) {
            self.stats.unanswered += 1;
            return;
        }
        if self.hosts[pid].process.is_none() {
            // Nobody answers.
            return self.unanswered(pid, index);
        }
        let Some(space) = self.spaces.get(write.space).copied() else { return };
        let Ok(command) = command_of(write, space) else { return };
        self.clients.replies += 1;
        let to = ReplyTo(self.clients.replies);
        self.clients.waiting.insert(to, (pid, index));
        self.event(Some(write.node), What::Asked { write: write.no });
        let input = Input::Command(to, Command::Write(command));
        self.put(pid, Item { input, bytes: 256, entries: 1, write: Some(write.no) });
    }

    /// A node answers one.
    pub(super) fn answered(&mut self, pid: Pid, to: ReplyTo, reply: &Reply) -> Result<(), Violation> {
        let Some((_, index)) = self.clients.waiting.remove(&to) else { return Ok(()) };
        let Some(write) = self.plan.writes.get(index) else { return Ok(()) };
        let refusal = match reply {
            Reply::Written(Err(refusal)) | Reply::Failed(refusal) => Some(refusal),
            _ => None,
        };
        let refused = refusal.map(ToString::to_string);
        self.event(Some(self.hosts[pid].node), What::Answered { write: write.no, refused });
        match refusal {
            None => self.stats.acknowledged += 1,
            Some(Refusal::Full(_) | Refusal::Store(_)) => {
                self.stats.hit("a write met a disk that was full or failed");
                self.again(index);
            }
            Some(Refusal::Damaged { .. }) => {
                self.stats.hit("a write met a damaged row");
                self.again(index);
            }
            Some(_) => self.stats.refused += 1,
        }
        self.oracles.answered(self.now, write.no, self.hosts[pid].node, reply)
    }

    /// Asked again later, if the client does that.
    fn again(&mut self, index: usize) {
        let retried = self.plan.writes.get(index).is_some_and(|write| write.retried);
        let attempts = self.clients.attempts.get(&index).copied().unwrap_or(0);
        if retried && !self.healed && attempts < ATTEMPTS_MAX {
            self.ask_again(index);
        } else {
            self.stats.refused += 1;
        }
    }

    fn unanswered(&mut self, pid: Pid, index: usize) {
        let retried = self.plan.writes.get(index).is_some_and(|write| write.retried);
        let attempts = self.clients.attempts.get(&index).copied().unwrap_or(0);
        if retried && attempts < ATTEMPTS_MAX {
            self.clients.back.entry(pid).or_default().push(index);
        } else {
            self.stats.unanswered += 1;
        }
    }

    /// The node went down before it answered.
    pub(super) fn clients_wait(&mut self, pid: Pid) {
        let mut gone = Vec::new();
        self.clients.waiting.retain(|_, (at, index)| {
            if *at == pid {
                gone.push(*index);
            }
            *at != pid
        });
        for index in gone {
            self.unanswered(pid, index);
        }
    }

    /// The clients of a node that will not be healed go home.
    pub(super) fn clients_give_up(&mut self, pid: Pid) {
        let before = self.clients.waiting.len();
        self.clients.waiting.retain(|_, (at, _)| *at != pid);
        let waiting = before - self.clients.waiting.len();
        let back = self.clients.back.remove(&pid).map_or(0, |back| back.len());
        self.stats.unanswered += (waiting + back) as u64;
    }

    /// The node is back.
    pub(super) fn clients_return(&mut self, pid: Pid) {
        for index in self.clients.back.remove(&pid).unwrap_or_default() {
            self.ask_again(index);
        }
    }

    fn ask_again(&mut self, index: usize) {
        self.clients.soon += 1;
        self.queue.schedule(self.now + RETRY, Event::Ask(index));
    }
}
