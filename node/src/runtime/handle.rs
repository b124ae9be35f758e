//! The way to the engine: bounded queues in, one-shot replies out, watches for what moved.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tombolo_crdt::SpaceId;

use crate::engine::{Command, Input, Reply};

/// Items that wait for the engine or are being taken, per source (local, network).
const QUEUE_ITEMS: usize = 4_096;
/// Kibibytes of the same. Entries that were verified and read take some eight times their bytes in memory, and a longer
/// queue makes nothing faster: what is verified ahead has left the processor's caches when it is taken.
const QUEUE_KIB: usize = 1_024;

/// The engine has stopped: the node is shutting down, or failed. Nothing was written for the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node is stopping")]
pub struct Stopped;

/// Something for the engine.
#[derive(Debug)]
pub(super) enum What {
    Command(Command, oneshot::Sender<Reply>),
    Input(Input),
}

/// Something for the engine, with what it weighs.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) what: What,
    pub(super) bytes: usize,
    pub(super) entries: usize,
    /// Its place in the queue; given back after the step.
    pub(super) place: OwnedSemaphorePermit,
}

/// The sending end of one source.
#[derive(Clone, Debug)]
pub(super) struct Inbox {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
}

impl Inbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Item>) {
        let (items, receiver) = mpsc::channel(QUEUE_ITEMS);
        (Self { items, room: Arc::new(Semaphore::new(QUEUE_KIB)) }, receiver)
    }

    /// Queues something; waits while the queue is full.
    pub(super) async fn put(&self, what: What, bytes: usize, entries: usize) -> Result<(), Stopped> {
        let weight = (bytes / 1_024 + 1).min(QUEUE_KIB);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.room).acquire_many_owned(weight).await.map_err(|_| Stopped)?;
        self.items.send(Item { what, bytes, entries, place }).await.map_err(|_| Stopped)
    }

    /// Takes all places, so that nothing more can be queued; waits its turn. `None`: nobody takes from this queue any more.
    pub(super) async fn occupy(&self) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(QUEUE_KIB).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(all).await.ok()
    }

    pub(super) async fn input(&self, input: Input, bytes: usize, entries: usize) -> Result<(), Stopped> {
        self.put(What::Input(input), bytes, entries).await
    }
}

/// Journal positions by space.
pub type Journals = BTreeMap<SpaceId, u64>;

/// Talks to the engine from any task. Clones share the queue.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    pub(super) inbox: Inbox,
    pub(super) journal: watch::Receiver<Journals>,
    pub(super) acks: watch::Receiver<u64>,
}

impl EngineHandle {
    /// Has a command carried out and waits for the reply. What it wrote is durable then.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn call(&self, command: Command) -> Result<Reply, Stopped> {
        self.submit(command, 0).await?.await
    }

    /// Queues a command of about `bytes` bytes and returns once it is queued: commands are carried out in the order in
    /// which they are queued, so several may be on their way at once.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn submit(&self, command: Command, bytes: usize) -> Result<Pending, Stopped> {
        let entries = match &command {
            Command::Write(write) if !write.atomic => write.writes.len(),
            _ => 1,
        };
        let (sender, reply) = oneshot::channel();
        self.inbox.put(What::Command(command, sender), bytes, entries).await?;
        Ok(Pending(reply))
    }

    /// Positions of the journals; changes when one grows. A space that has not moved since the start is not in it.
    #[must_use]
    pub fn journal(&self) -> watch::Receiver<Journals> {
        self.journal.clone()
    }

    /// Changes when receipts or joins may have changed.
    #[must_use]
    pub fn acks(&self) -> watch::Receiver<u64> {
        self.acks.clone()
    }
}

/// A reply on its way.
#[derive(Debug)]
#[must_use = "the reply is the outcome"]
pub struct Pending(oneshot::Receiver<Reply>);

impl Future for Pending {
    type Output = Result<Reply, Stopped>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|reply| reply.map_err(|_| Stopped))
    }
}
