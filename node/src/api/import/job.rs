//! The job of an import: from lines to batches, to the engine, and to what became of them.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::BodyDataStream;
use tombolo_crdt::SpaceId;
use tombolo_crdt::entry::Trace;

use super::outcomes::{End, Outcomes, concerns_all};
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
    /// Numbers and ids of its lines.
    lines: Vec<(u64, String)>,
    /// Lines up to its end, empty ones not counted.
    through: u64,
    reply: Pending,
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
        while self.under_way.len() >= BATCHES {
            self.collect().await?;
        }
        let lines = lines.into_iter().zip(writes.iter().map(|write| write.id.clone())).collect();
        let through = self.seen;
        let command = WriteCommand { space: self.space, writes, atomic: false, idempotency: None, trace: self.trace };
        match self.app.engine.submit(Command::Write(command), bytes).await {
            Ok(reply) => self.under_way.push_back(UnderWay { lines, through, reply }),
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
        let lines = lines.into_iter().zip(writes.iter().map(|write| write.id.clone())).collect();
        let command = WriteCommand { space: self.space, writes, atomic: true, idempotency: None, trace: self.trace };
        let reply = self.app.engine.write(command, bytes).await;
        let outcomes = match reply {
            // The line's fault, not that of all.
            Ok(Reply::Written(Err(refusal))) if !concerns_all(&refusal) => Ok(vec![Err(refusal)]),
            reply => self.made(reply).await,
        };
        self.outcomes.settle(lines, self.seen, outcomes?).await
    }

    /// Takes the oldest reply.
    async fn collect(&mut self) -> Result<(), End> {
        let Some(UnderWay { lines, through, reply }) = self.under_way.pop_front() else { return Ok(()) };
        let outcomes = self.made(reply.await).await?;
        self.outcomes.settle(lines, through, outcomes).await
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
