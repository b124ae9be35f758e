//! The way to the engine: bounded queues in, one-shot replies out, watches for what moved.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tombolo_crdt::SpaceId;
use tombolo_crdt::feed::VerifiedRange;
use tombolo_crdt::hash::Tagged;

use crate::acks::AckBoard;
pub use crate::acks::{Topic, Waiter};
use crate::engine::{Command, Input, PlanOutcome, Refusal, Reply, WriteCommand};

/// Items that wait for the engine or are being taken, per source (local, network).
pub const QUEUE_ITEMS: usize = 4_096;
/// Kibibytes of memory that the same may take: two full frames of entries that were verified and read ahead. A longer
/// queue makes nothing faster: what is verified ahead has left the processor's caches when it is taken.
const QUEUE_KIB: usize = 24 * 1_024;
/// Bytes of memory that a byte of what came counts for at least: a field of a few bytes is a key, a value, an operation
/// and their allocations. Verified ranges count for more if they take more.
const MEMORY_PER_BYTE: usize = 20;

/// Frames of strangers that wait for the engine or are being taken: a step takes no more, and each costs microseconds.
const STRANGE_ITEMS: usize = 64;

/// Bytes as they came that fit the queue at once, where they take no more memory than they count for at least.
pub const QUEUE_BYTES: usize = QUEUE_KIB * 1_024 / MEMORY_PER_BYTE;

const _: () = assert!(QUEUE_KIB <= Semaphore::MAX_PERMITS, "a semaphore has as many places as the queue");
const _: () = assert!(STRANGE_ITEMS * 8 <= QUEUE_ITEMS, "strangers take a small part of a queue");

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
    /// Places in the queue; given back after the step.
    pub(super) places: Places,
}

/// What something for the engine holds until its step is over.
#[derive(Debug)]
pub(super) struct Places {
    _room: OwnedSemaphorePermit,
    _stranger: Option<OwnedSemaphorePermit>,
}

/// The sending end of one source.
#[derive(Clone, Debug)]
pub(super) struct Inbox {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Inbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Item>) {
        let (items, receiver) = mpsc::channel(QUEUE_ITEMS);
        let room = Arc::new(Semaphore::new(QUEUE_KIB));
        (Self { items, room, strangers: Arc::new(Semaphore::new(STRANGE_ITEMS)) }, receiver)
    }

    /// Queues something; waits while the queue is full.
    pub(super) async fn put(&self, what: What, size: Size) -> Result<(), Stopped> {
        self.put_within(what, size, None).await
    }

    async fn put_within(&self, what: What, size: Size, stranger: Option<OwnedSemaphorePermit>) -> Result<(), Stopped> {
        let Size { bytes, memory, entries } = size;
        let room = Arc::clone(&self.room).acquire_many_owned(places(memory)).await.map_err(|_| Stopped)?;
        let places = Places { _room: room, _stranger: stranger };
        self.items.send(Item { what, bytes, entries, places }).await.map_err(|_| Stopped)
    }

    /// Queues what a stranger said; waits its turn among strangers first. So few of them are in a step that members do
    /// not feel it.
    pub(super) async fn strange_input(&self, input: Input, size: Size) -> Result<(), Stopped> {
        let turn = Arc::clone(&self.strangers).acquire_owned().await.map_err(|_| Stopped)?;
        self.put_within(What::Input(input), size, Some(turn)).await
    }

    /// Takes all places, so that nothing more can be queued; waits its turn. `None`: nobody takes from this queue any
    /// more.
    pub(super) async fn occupy(&self) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(QUEUE_KIB).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(all).await.ok()
    }

    pub(super) async fn input(&self, input: Input, size: Size) -> Result<(), Stopped> {
        self.put(What::Input(input), size).await
    }
}

/// Places that something with so many bytes in memory takes. What is larger than the queue takes all of it.
fn places(memory: usize) -> u32 {
    let places = (memory / 1_024 + 1).min(QUEUE_KIB);
    assert!(places > 0 && places <= QUEUE_KIB, "whatever waits has a place, and fits the queue");
    u32::try_from(places).unwrap_or(u32::MAX)
}

/// How large something for the engine is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Bytes as they came.
    pub(super) bytes: usize,
    /// Bytes it takes in memory, about.
    pub(super) memory: usize,
    pub(super) entries: usize,
}

impl Size {
    /// Of what came in so many bytes.
    pub(super) const fn of(bytes: usize, entries: usize) -> Self {
        Self { bytes, memory: bytes.saturating_mul(MEMORY_PER_BYTE), entries }
    }

    /// Of ranges that came in a frame of so many bytes.
    pub(super) fn of_ranges(bytes: usize, ranges: &[VerifiedRange]) -> Self {
        let memory: usize = ranges.iter().map(VerifiedRange::memory).sum();
        let size = Self::of(bytes, ranges.iter().map(|range| range.entries().len()).sum());
        Self { memory: memory.max(size.memory), ..size }
    }
}

/// Plans made of one write before the engine plans it itself.
const PLANS_MAX: usize = 8;
/// Writes planned at once: each takes a thread, and memory for its rows and operations.
const PLANS_AT_ONCE: usize = 4;
/// Turns that large writes take, by their first entity; entities of one turn wait for each other, too.
const TURNS: usize = 64;

/// The places where writes are planned, and the turns of those that had to be planned again.
#[derive(Debug)]
pub(super) struct Planning {
    places: Semaphore,
    turns: Vec<Arc<tokio::sync::Mutex<()>>>,
}

impl Planning {
    pub(super) fn new() -> Self {
        let turns = std::iter::repeat_with(Arc::default).take(TURNS).collect();
        Self { places: Semaphore::new(PLANS_AT_ONCE), turns }
    }

    /// The turn of a write's first entity.
    fn turn(&self, command: &WriteCommand) -> Arc<tokio::sync::Mutex<()>> {
        let first = command.writes.first();
        let hash = Tagged::new("tombolo/1 turn").bytes(command.space.as_bytes());
        let hash = first
            .into_iter()
            .fold(hash, |hash, write| hash.sized(write.collection.as_bytes()).sized(write.id.as_bytes()));
        let [low, ..] = hash.finish();
        self.turns.get(usize::from(low) % TURNS).map(Arc::clone).unwrap_or_default()
    }
}

/// Journal positions by space.
pub type Journals = BTreeMap<SpaceId, u64>;

/// Talks to the engine from any task. Clones share the queue.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    pub(super) inbox: Inbox,
    pub(super) journal: watch::Receiver<Journals>,
    pub(crate) acks: AckBoard,
    pub(super) planning: Arc<Planning>,
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
        self.inbox.put(What::Command(command, sender), Size::of(bytes, entries)).await?;
        Ok(Pending(reply))
    }

    /// Has a write with a body of about `bytes` bytes carried out. One that takes long to plan is planned on a thread
    /// of its own, and again if the entities have been written meanwhile; from the second time on in turn with others
    /// of the same entity. After eight plans the engine plans it itself: small writes cannot keep a large one out for
    /// ever.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn write(&self, command: WriteCommand, bytes: usize) -> Result<Reply, Stopped> {
        let turn = self.planning.turn(&command);
        let mut held = None;
        let mut command = command;
        for _ in 0..PLANS_MAX {
            let plan = match self.submit(Command::Offer(command, bytes), bytes).await?.await? {
                Reply::Plan(plan) => plan,
                reply => return Ok(reply),
            };
            let place = self.planning.places.acquire().await.map_err(|_| Stopped)?;
            let made = tokio::task::spawn_blocking(move || plan.make()).await;
            drop(place);
            let planned = match made {
                Ok(PlanOutcome::Planned(planned)) => planned,
                Ok(PlanOutcome::Refused(refusal)) => return Ok(Reply::Written(Err(refusal))),
                Ok(PlanOutcome::Back(back)) => {
                    command = back;
                    break;
                }
                Err(failed) => {
                    let reason = format!("its planning failed: {failed}");
                    return Ok(Reply::Failed(Refusal::Unreadable { what: "the write".to_owned(), reason }));
                }
            };
            command = match self.submit(Command::Planned(planned), bytes).await?.await? {
                Reply::Moved(command) => command,
                reply => return Ok(reply),
            };
            if held.is_none() {
                held = Some(turn.lock().await);
            }
        }
        self.submit(Command::Write(command), bytes).await?.await
    }

    /// Positions of the journals; changes when one grows. A space that has not moved since the start is not in it.
    #[must_use]
    pub fn journal(&self) -> watch::Receiver<Journals> {
        self.journal.clone()
    }

    /// Waits for changes of receipts or joins.
    #[must_use]
    pub fn acks(&self, topics: &[Topic]) -> Waiter {
        self.acks.waiter(topics)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_full_frames_fit_the_queue_and_nothing_is_too_large_for_it() {
        // A frame is closed at 512 KiB, so it may have an entry more.
        let full = Size::of(520 * 1_024, 2_900).memory;
        assert!(places(full) as usize * 2 <= QUEUE_KIB, "{} places of {QUEUE_KIB}", places(full));
        assert!(places(full) as usize * 3 > QUEUE_KIB, "a longer queue is not faster");
        assert_eq!((places(0), places(usize::MAX) as usize), (1, QUEUE_KIB));
    }
}
