//! The engine's thread: take what waits, step, release.
//!
//! While a commit waits for the disk the next batch gathers in the queues, so group commit needs no timer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tombolo_transport::Endpoint;

use super::clock::Clock;
use super::links::Links;
use super::steps::StepTimes;
use crate::acks::AckBoard;
use crate::chain::Looked;
use crate::engine::{Engine, Input, Left, Now, Output, Outputs, Reply, ReplyTo, Target};
use crate::handle::{Item, Journals, Places, What};
use crate::outgoing::{Load, Loaded};

/// Bytes of input one step takes, about what fills both queues: the batch is held in memory until its commit.
pub const STEP_BYTES: usize = 2 << 20;
/// Entries one step takes: with twice as many a commit writes hardly fewer pages for each.
pub const STEP_ENTRIES: usize = 8_192;

/// What makes the steps: an engine, or whoever watches one.
pub trait Stepper: Send + 'static {
    /// [`Engine::step`]. What it returns is released when it is ready: a watcher may let a commit take its time.
    fn step(&mut self, now: Now, inputs: Vec<Input>) -> impl Future<Output = Outputs> + Send;
}

impl Stepper for Engine {
    async fn step(&mut self, now: Now, inputs: Vec<Input>) -> Outputs {
        Self::step(self, now, inputs)
    }
}

/// One of the queues, with the item that did not fit into the last step.
#[derive(Debug)]
pub(super) struct Source {
    items: mpsc::Receiver<Item>,
    held: Option<Item>,
    /// Ranges that wait until the engine has worked off what it has. They keep their places in the queue, which bounds
    /// them.
    aside: VecDeque<Item>,
}

impl Source {
    pub(super) const fn new(items: mpsc::Receiver<Item>) -> Self {
        Self { items, held: None, aside: VecDeque::new() }
    }

    /// The next item; while there is a `backlog` the next that is not ranges.
    fn take(&mut self, backlog: bool) -> Option<Item> {
        let waits =
            |item: &Item| backlog && matches!(item.what, What::Input(Input::Ranges { .. } | Input::RulesRanges { .. }));
        match self.held.take() {
            Some(item) if waits(&item) => self.aside.push_front(item),
            Some(item) => return Some(item),
            None => {}
        }
        if !backlog && let Some(item) = self.aside.pop_front() {
            return Some(item);
        }
        loop {
            let item = self.items.try_recv().ok()?;
            if !waits(&item) {
                return Some(item);
            }
            self.aside.push_back(item);
        }
    }

    /// Waits until something can be taken. `false`: nothing will ever come.
    async fn ready(&mut self) -> bool {
        if self.held.is_none() && self.aside.is_empty() {
            self.held = self.items.recv().await;
        }
        self.held.is_some() || !self.aside.is_empty()
    }
}

/// Where outputs go.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) links: Arc<Links>,
    pub(super) endpoint: Endpoint,
    pub(super) journal: watch::Sender<Journals>,
    pub(super) acks: AckBoard,
    pub(super) targets: watch::Sender<Vec<Target>>,
    pub(super) times: StepTimes,
}

/// The engine with its queues.
#[derive(Debug)]
pub(super) struct Driver<S> {
    engine: S,
    clock: Clock,
    local: Source,
    net: Source,
    outlets: Outlets,
    waiting: BTreeMap<ReplyTo, oneshot::Sender<Reply>>,
    replies: u64,
    wake: Option<Instant>,
    /// Inputs that follow from the last step's outputs.
    next: Vec<Input>,
    /// Which source is asked first.
    local_first: bool,
    /// The look under way: its number, and the task that makes it.
    looking: Option<(u64, JoinHandle<Looked>)>,
    /// What is read to be sent.
    loading: JoinSet<Loaded>,
    /// What the engine has left over, and the places of its inputs.
    left: Left,
    places: Vec<Places>,
}

/// Why waiting ended.
enum Woken {
    Inputs,
    Timer,
    Stop,
}

impl<S: Stepper> Driver<S> {
    pub(super) fn new(engine: S, clock: Clock, local: Source, net: Source, outlets: Outlets) -> Self {
        Self {
            engine,
            clock,
            local,
            net,
            outlets,
            waiting: BTreeMap::new(),
            replies: 0,
            wake: None,
            // The first step says whom to dial and when to wake.
            next: vec![Input::Timer],
            local_first: true,
            looking: None,
            loading: JoinSet::new(),
            left: Left::Nothing,
            places: Vec::new(),
        }
    }

    /// Steps until told to stop, or until nobody is left who could say anything; then takes what still waits.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let woken = if self.next.is_empty() { self.wait(&mut stop).await } else { Woken::Inputs };
            let mut inputs = self.gather();
            match woken {
                Woken::Stop if inputs.is_empty() => return self.outlets.acks.close(),
                Woken::Timer => inputs.push(Input::Timer),
                Woken::Stop | Woken::Inputs => {}
            }
            let began = self.clock.mono();
            let outputs = self.engine.step(self.clock.now(), inputs).await;
            self.outlets.times.note(self.clock.mono().saturating_sub(began), outputs.cost.what);
            if outputs.left != Left::Inputs {
                self.places.clear();
            }
            self.release(outputs, &stop);
        }
    }

    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Woken {
        if *stop.borrow() {
            return Woken::Stop;
        }
        let wake = self.wake;
        let timer = async move {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            looked = looked(&mut self.looking) => {
                self.next.push(Input::Looked(Box::new(looked)));
                Woken::Inputs
            }
            Some(Ok(loaded)) = self.loading.join_next() => {
                self.next.push(Input::Loaded(Box::new(loaded)));
                Woken::Inputs
            }
            ready = self.local.ready() => if ready { Woken::Inputs } else { Woken::Stop },
            true = self.net.ready() => Woken::Inputs,
            () = timer => Woken::Timer,
            _ = stop.changed() => Woken::Stop,
        }
    }

    /// What waits, the sources in turn, as far as a step takes it. The places in the queues are free once the engine
    /// has taken in all of it.
    fn gather(&mut self) -> Vec<Input> {
        let mut inputs = std::mem::take(&mut self.next);
        if self.left == Left::Inputs {
            return inputs;
        }
        assert!(self.places.is_empty(), "places in the queues are given back once the inputs are taken in");
        let backlog = self.left == Left::Ranges;
        let (mut bytes, mut entries) = (0, 0);
        loop {
            let (first, second) = match self.local_first {
                true => (&mut self.local, &mut self.net),
                false => (&mut self.net, &mut self.local),
            };
            let (item, from) = match first.take(backlog) {
                Some(item) => (item, first),
                None => match second.take(backlog) {
                    Some(item) => (item, second),
                    None => break,
                },
            };
            let is_over = bytes + item.bytes > STEP_BYTES || entries + item.entries > STEP_ENTRIES;
            if is_over && !self.places.is_empty() {
                from.held = Some(item);
                break;
            }
            bytes += item.bytes;
            entries += item.entries;
            self.places.push(item.places);
            self.local_first = !self.local_first;
            inputs.push(match item.what {
                What::Input(input) => input,
                What::Command(command, reply) => {
                    self.replies += 1;
                    let to = ReplyTo(self.replies);
                    let before = self.waiting.insert(to, reply);
                    assert!(before.is_none(), "every command has a number of its own");
                    Input::Command(to, command)
                }
            });
        }
        inputs
    }

    /// Carries out what a step said, in order.
    fn release(&mut self, outputs: Outputs, stop: &watch::Receiver<bool>) {
        for output in outputs.list {
            match output {
                Output::Reply(to, reply) => {
                    if let Some(waiting) = self.waiting.remove(&to) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(reply);
                    }
                }
                Output::Control(conn, frame) => {
                    let room = self.outlets.links.control(conn, &frame);
                    self.next.extend(room.map(|(space, bytes)| Input::Writable(conn, space, bytes)));
                }
                Output::Transfer(conn, space, frame) => self.outlets.links.transfer(conn, space, frame),
                Output::Close(conn, code, reason) => self.outlets.links.close(conn, code, &reason),
                Output::Standing(conn, standing) => self.outlets.links.stand(conn, standing),
                Output::Known(known) => self.outlets.endpoint.set_known(known),
                Output::Journal(space, position) => {
                    self.outlets.journal.send_modify(|journals| {
                        journals.insert(space, position);
                    });
                }
                Output::Acknowledged(acks) => self.outlets.acks.tell(&acks),
                Output::Targets(targets) => drop(self.outlets.targets.send_replace(targets)),
                Output::Look(look) => {
                    // One look at a time. One from before a failed commit may still be made: nobody waits for
                    // its answer.
                    let (number, stop) = (look.number, stop.clone());
                    let task = tokio::task::spawn_blocking(move || look.answer(&|| !*stop.borrow()));
                    self.looking = Some((number, task));
                }
                Output::Load(load) => drop(self.loading.spawn(loaded(*load))),
            }
        }
        self.left = outputs.left;
        if self.left != Left::Nothing && self.next.is_empty() {
            // Nothing is waited for.
            self.next.push(Input::Timer);
        }
        self.wake = outputs.wake.map(|(at, why)| {
            tracing::trace!(why, "the engine wants to wake");
            self.clock.instant(at)
        });
    }
}

/// The answer to a load, read on a thread that may wait for the disk.
async fn loaded(load: Load) -> Loaded {
    let number = load.number;
    let task = tokio::task::spawn_blocking(move || load.answer());
    task.await.unwrap_or_else(|error| Loaded::failed(number, &error.to_string()))
}

/// The answer of the look under way; never, if there is none.
///
/// # Cancel safety
/// Safe: the look goes on.
async fn looked(looking: &mut Option<(u64, JoinHandle<Looked>)>) -> Looked {
    let Some((number, task)) = looking else { return std::future::pending().await };
    let looked = match task.await {
        Ok(looked) => looked,
        Err(error) => Looked::failed(*number, &error.to_string()),
    };
    *looking = None;
    looked
}
