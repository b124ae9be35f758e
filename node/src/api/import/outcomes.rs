//! What became of lines: counted, and told to the client.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::api::problem::Problem;
use crate::engine::{Refusal, Written};
use crate::runtime::Clock;

/// How often the counters are told.
const PROGRESS: Duration = Duration::from_secs(1);
/// Pieces of the answer that the client has not taken; the import waits beyond that.
pub(super) const ANSWERS: usize = 64;

/// Why an import ends before its input.
#[derive(Debug)]
pub(super) enum End {
    /// A bad line, or the engine takes no more; it has been told.
    Stopped,
    /// Nobody listens.
    ClientGone,
}

#[derive(Debug, Default)]
struct Counters {
    /// Lines that are settled with all before them: written durably, or told as errors. Whoever resumes goes on behind
    /// them.
    lines: u64,
    created: u64,
    updated: u64,
    unchanged: u64,
    errors: u64,
}

impl Counters {
    fn to_json(&self) -> Value {
        json!({
            "lines": self.lines, "created": self.created, "updated": self.updated,
            "unchanged": self.unchanged, "errors": self.errors,
        })
    }
}

/// A line that was sent to the engine.
#[derive(Debug)]
pub(super) struct Sent {
    /// The line's number.
    pub(super) number: u64,
    /// The collection of its entity.
    pub(super) collection: String,
    /// The id of its entity.
    pub(super) id: String,
}

/// What became of an import's lines so far.
#[derive(Debug)]
pub(super) struct Outcomes {
    clock: Clock,
    answers: mpsc::Sender<std::io::Result<Bytes>>,
    /// Bad lines do not end the import.
    skip_bad: bool,
    counters: Counters,
    /// Why nothing more is taken: the slug of the problem, or `bad-line`.
    ended: Option<&'static str>,
    /// Something that concerns no single line was met.
    is_broken: bool,
    /// When the counters were told last.
    told: Duration,
}

impl Outcomes {
    /// Of an import that has taken nothing yet.
    pub(super) fn new(clock: Clock, answers: mpsc::Sender<std::io::Result<Bytes>>, skip_bad: bool) -> Self {
        let counters = Counters::default();
        Self { clock, answers, skip_bad, counters, ended: None, is_broken: false, told: clock.mono() }
    }

    /// Tells what became of lines, and counts them. `through`: how many lines there are up to their end.
    pub(super) async fn settle(
        &mut self,
        lines: Vec<Sent>,
        through: u64,
        outcomes: Vec<Result<Written, Refusal>>,
    ) -> Result<(), End> {
        let mut ended = Ok(());
        for (Sent { number, id, .. }, outcome) in lines.into_iter().zip(outcomes) {
            if let Err(end) = self.outcome(number, &id, outcome).await {
                ended = Err(end);
            }
        }
        self.settled(through);
        if self.clock.mono().saturating_sub(self.told) >= PROGRESS {
            self.told = self.clock.mono();
            let progress = json!({ "progress": self.counters.to_json() });
            self.say(&progress).await?;
        }
        ended
    }

    /// So many lines are settled. What follows a batch that was not written does not count, written or not: it has to
    /// come once more.
    pub(super) fn settled(&mut self, through: u64) {
        if !self.is_broken {
            debug_assert!(through >= self.counters.lines, "batches are settled in order");
            self.counters.lines = through;
        }
    }

    async fn outcome(&mut self, line: u64, id: &str, outcome: Result<Written, Refusal>) -> Result<(), End> {
        match outcome {
            Ok(Written { created: true, .. }) => self.counters.created += 1,
            Ok(Written { changed: true, .. }) => self.counters.updated += 1,
            Ok(_) => self.counters.unchanged += 1,
            Err(refusal) if concerns_all(&refusal) => return self.fail(&refusal.into()).await,
            Err(refusal) => return self.bad(line, Some(id), &refusal.into()).await,
        }
        Ok(())
    }

    /// A line that cannot be taken.
    pub(super) async fn bad(&mut self, line: u64, id: Option<&str>, problem: &Problem) -> Result<(), End> {
        self.counters.errors += 1;
        self.say(&json!({ "line": line, "id": id, "status": "error", "error": problem.to_json() })).await?;
        if self.skip_bad {
            return Ok(());
        }
        self.ended.get_or_insert("bad-line");
        Err(End::Stopped)
    }

    /// Something that concerns no single line: nothing more is taken. It is told once; batches behind it meet it as
    /// well.
    pub(super) async fn fail(&mut self, problem: &Problem) -> Result<(), End> {
        let reason = problem.kind.facts().0;
        self.is_broken = true;
        if self.ended.replace(reason) != Some(reason) {
            self.say(&json!({ "status": "stopped", "reason": reason, "error": problem.to_json() })).await?;
        }
        Err(End::Stopped)
    }

    /// The last line of the answer. `stopped`: not everything was taken.
    pub(super) async fn done(&self, stopped: bool) -> Result<(), End> {
        let mut counters = self.counters.to_json();
        if stopped {
            counters["stopped"] = true.into();
            counters["reason"] = self.ended.into();
        }
        self.say(&json!({ "done": counters })).await
    }

    async fn say(&self, value: &Value) -> Result<(), End> {
        let line = format!("{value}\n");
        self.answers.send(Ok(line.into())).await.map_err(|_| End::ClientGone)
    }
}

/// Whether every other line would meet it as well.
pub(super) fn concerns_all(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Full(_) | Refusal::Role(_) | Refusal::Store(_) | Refusal::UnknownSpace(_))
}
