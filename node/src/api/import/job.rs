//! The job of an import: from lines to batches, to the engine, and to what became of them.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::BodyDataStream;
use tombolo_crdt::SpaceId;
use tombolo_crdt::entry::Trace;

use super::outcomes::{End, Outcomes, Sent, concerns_all};
use super::reading::{Came, Form, Lines};
use crate::api::SharedApp;
use crate::api::lines::Line;
use crate::api::spaces::unexpected;
use crate::api::turns::StreamPlace;
use crate::engine::{Command, EntityWrite, PLANNED_HERE_BYTES, Refusal, Reply, WriteCommand, Written};
use crate::handle::{Pending, Stopped};

/// Writes in a batch.
const BATCH_WRITES: usize = 512;
/// Bytes of lines in a batch.
const BATCH_BYTES: usize = 1 << 20;
/// Batches on their way to the disk: one being committed, one waiting, one being filled.
const BATCHES: usize = 3;

/// Lines that go to the engine together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    writes: Vec<EntityWrite>,
    lines: Vec<u64>,
    bytes: usize,
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct UnderWay {
    lines: Vec<Sent>,
    /// Lines up to its end, empty ones not counted.
    through: u64,
    answer: Answer,
}

/// The engine's answer to a batch.
#[derive(Debug)]
enum Answer {
    Pending(Pending),
    Here(Result<Reply, Stopped>),
}

impl Answer {
    /// Waits until it is here.
    async fn wait(&mut self) {
        if let Self::Pending(reply) = self {
            *self = Self::Here(reply.await);
        }
    }

    /// What became of each write, as far as it is here.
    fn outcomes(&self) -> &[Result<Written, Refusal>] {
        match self {
            Self::Here(Ok(Reply::Written(Ok(outcome)))) => &outcome.writes,
            Self::Here(Ok(Reply::InPart(outcomes, _))) => outcomes,
            Self::Here(_) | Self::Pending(_) => &[],
        }
    }
}

/// An import under way.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) app: SharedApp,
    pub(super) space: SpaceId,
    pub(super) form: Arc<Form>,
    pub(super) trace: Option<Trace>,
    pub(super) outcomes: Outcomes,
    /// Lines taken so far, empty ones not counted.
    pub(super) seen: u64,
    pub(super) batch: Batch,
    /// Batches on their way, oldest first.
    pub(super) under_way: VecDeque<UnderWay>,
    pub(super) _place: StreamPlace,
}

/// Lines of a batch as they are told of later.
fn sent(lines: &[u64], writes: &[EntityWrite]) -> Vec<Sent> {
    let lines = lines.iter().zip(writes);
    lines.map(|(&number, write)| Sent { number, collection: write.collection.clone(), id: write.id.clone() }).collect()
}

impl Import {
    pub(super) async fn run(mut self, body: BodyDataStream) {
        let mut lines = Lines::of(body);
        let read = self.read(&mut lines).await;
        let flushed = match read {
            Ok(()) | Err(End::Stopped) => self.finish().await,
            Err(End::ClientGone) => return,
        };
        let stopped = matches!(read, Err(End::Stopped)) || matches!(flushed, Err(End::Stopped));
        // The client may have gone by now.
        let _ = self.outcomes.done(stopped).await;
        lines.drain(&self.app).await;
    }

    async fn read(&mut self, lines: &mut Lines) -> Result<(), End> {
        loop {
            match lines.next(&self.app, !self.batch.writes.is_empty()).await {
                Ok(Came::Lines(lines)) => {
                    for line in lines {
                        self.line(line).await?;
                    }
                }
                Ok(Came::Nothing) => {
                    self.dispatch().await?;
                    while !self.under_way.is_empty() {
                        self.collect().await?;
                    }
                }
                Ok(Came::End(None)) => return Ok(()),
                Ok(Came::End(Some(line))) => return self.line(line).await,
                Err(problem) => return self.outcomes.fail(&problem).await,
            }
        }
    }

    async fn line(&mut self, line: Line) -> Result<(), End> {
        let number = line.number;
        let bytes = line.bytes.as_ref().map_or(0, Vec::len);
        if line.bytes.as_ref().is_some_and(|bytes| bytes.iter().all(u8::is_ascii_whitespace)) {
            return Ok(());
        }
        self.seen += 1;
        let write = match self.form.read(&self.app.turns, line).await {
            Ok(Ok(write)) => write,
            Ok(Err((id, problem))) => return self.outcomes.bad(number, id.as_deref(), &problem).await,
            Err(problem) => return self.outcomes.fail(&problem).await,
        };
        let is_large = bytes > PLANNED_HERE_BYTES;
        if is_large {
            self.dispatch().await?;
        }
        self.batch.writes.push(write);
        self.batch.lines.push(number);
        self.batch.bytes += bytes;
        if is_large {
            return self.alone().await;
        }
        if self.batch.writes.len() >= BATCH_WRITES || self.batch.bytes >= BATCH_BYTES {
            self.dispatch().await?;
        }
        Ok(())
    }

    /// Sends the batch on its way; waits for the oldest if too many are.
    async fn dispatch(&mut self) -> Result<(), End> {
        let Batch { writes, lines, bytes } = std::mem::take(&mut self.batch);
        if writes.is_empty() {
            return Ok(());
        }
        // What is here already may have writes that are to be made before what follows.
        let is_here = |batch: &UnderWay| matches!(batch.answer, Answer::Here(_));
        while self.under_way.len() >= BATCHES || self.under_way.front().is_some_and(is_here) {
            self.collect().await?;
        }
        let lines = sent(&lines, &writes);
        let through = self.seen;
        let command = WriteCommand { space: self.space, writes, atomic: false, idempotency: None, trace: self.trace };
        match self.app.engine.submit(Command::Write(command), bytes).await {
            Ok(reply) => self.under_way.push_back(UnderWay { lines, through, answer: Answer::Pending(reply) }),
            Err(stopped) => return self.outcomes.fail(&stopped.into()).await,
        }
        Ok(())
    }

    /// Has a batch of one large line planned beside the engine, after all that is under way and before all that
    /// follows.
    async fn alone(&mut self) -> Result<(), End> {
        while !self.under_way.is_empty() {
            self.collect().await?;
        }
        let Batch { writes, lines, bytes } = std::mem::take(&mut self.batch);
        let lines = sent(&lines, &writes);
        let outcomes = self.offer(writes, bytes).await?;
        self.outcomes.settle(lines, self.seen, outcomes).await
    }

    /// Has writes planned beside the engine if that takes long.
    async fn offer(&mut self, writes: Vec<EntityWrite>, bytes: usize) -> Result<Vec<Result<Written, Refusal>>, End> {
        let command = WriteCommand { space: self.space, writes, atomic: true, idempotency: None, trace: self.trace };
        match self.app.engine.write(command, bytes).await {
            // The line's fault, not that of all.
            Ok(Reply::Written(Err(refusal))) if !concerns_all(&refusal) => Ok(vec![Err(refusal)]),
            reply => self.made(reply).await,
        }
    }

    /// Takes the oldest answer.
    async fn collect(&mut self) -> Result<(), End> {
        let Some(UnderWay { lines, through, mut answer }) = self.under_way.pop_front() else { return Ok(()) };
        answer.wait().await;
        let outcomes = match answer {
            Answer::Here(Ok(Reply::InPart(outcomes, apart))) => self.apart(&lines, outcomes, apart).await?,
            Answer::Here(reply) => self.made(reply).await?,
            Answer::Pending(reply) => self.made(reply.await).await?,
        };
        self.outcomes.settle(lines, through, outcomes).await
    }

    /// Makes the writes of the oldest batch that go to large entities, one by one, when all batches under way are done.
    async fn apart(
        &mut self,
        lines: &[Sent],
        mut outcomes: Vec<Result<Written, Refusal>>,
        apart: Vec<EntityWrite>,
    ) -> Result<Vec<Result<Written, Refusal>>, End> {
        for batch in &mut self.under_way {
            batch.answer.wait().await;
        }
        let mut apart = apart.into_iter();
        for at in 0..outcomes.len() {
            if outcomes.get(at) != Some(&Err(Refusal::Large)) {
                continue;
            }
            let Some(write) = apart.next() else { break };
            let made = match self.overtaken(&write, lines.iter().zip(&outcomes).skip(at + 1)) {
                Some(written) => Some(Ok(written)),
                None => self.offer(vec![write], PLANNED_HERE_BYTES).await?.pop(),
            };
            if let (Some(outcome), Some(made)) = (outcomes.get_mut(at), made) {
                *outcome = made;
            }
        }
        Ok(outcomes)
    }

    /// What a later line wrote to the entity of a write that was not made: somebody else had made the entity small
    /// between the two. Made now, the write would put an old value in the place of a new one.
    fn overtaken<'a>(
        &'a self,
        write: &EntityWrite,
        behind: impl Iterator<Item = (&'a Sent, &'a Result<Written, Refusal>)>,
    ) -> Option<Written> {
        let later = self.under_way.iter().flat_map(|batch| batch.lines.iter().zip(batch.answer.outcomes()));
        let mut later =
            behind.chain(later).filter(|(line, _)| (&line.collection, &line.id) == (&write.collection, &write.id));
        let written = later.find_map(|(_, outcome)| outcome.as_ref().ok())?;
        Some(Written { created: false, changed: false, ..written.clone() })
    }

    /// What became of each write of a batch.
    async fn made(&mut self, reply: Result<Reply, Stopped>) -> Result<Vec<Result<Written, Refusal>>, End> {
        let problem = match reply {
            Ok(Reply::Written(Ok(outcome))) => return Ok(outcome.writes),
            Ok(Reply::Written(Err(refusal)) | Reply::Failed(refusal)) => refusal.into(),
            Ok(other) => unexpected(&other),
            Err(stopped) => stopped.into(),
        };
        self.outcomes.fail(&problem).await.map(|()| Vec::new())
    }

    /// Sends what is left and takes all replies.
    async fn finish(&mut self) -> Result<(), End> {
        let mut ended = self.dispatch().await;
        while !self.under_way.is_empty() {
            match self.collect().await {
                Err(End::ClientGone) => return Err(End::ClientGone),
                Err(End::Stopped) => ended = Err(End::Stopped),
                Ok(()) => {}
            }
        }
        // Bad lines behind the last batch have been told.
        self.outcomes.settled(self.seen);
        ended
    }
}
