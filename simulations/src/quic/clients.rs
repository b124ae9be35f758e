//! Clients: each asks for one write of the plan and waits for the answer.

use std::time::Duration;

use tombolo_node::engine::{Command, Refusal};

use super::sites::Shared;
use super::watch::refusal_of;
use crate::trace::What;
use crate::world::command_of;

/// How long a client that retries waits before it asks again.
const RETRY: Duration = Duration::from_secs(5);
/// How often it asks in all.
const ATTEMPTS_MAX: u32 = 10;
/// About what a request weighs in the engine's queue, in bytes.
const REQUEST_BYTES: usize = 256;

/// What came of asking once.
enum Answer {
    Acknowledged,
    Refused,
    /// The disk is full or failed, or the row is damaged: another time, perhaps.
    NotNow,
    /// The node is down, or went down before it answered.
    None,
}

/// Asks for a write by its index until it is answered or given up.
pub(super) async fn ask(shared: Shared, index: usize) {
    let Some(write) = shared.lock().plan.writes.get(index).cloned() else { return };
    {
        let mut sites = shared.lock();
        sites.stats.writes += 1;
        sites.asking += 1;
    }
    let mut attempts = 0;
    let last = loop {
        let answer = once(&shared, index).await;
        let is_over = matches!(answer, Answer::Acknowledged | Answer::Refused);
        attempts += 1;
        if is_over || !write.retried || attempts >= ATTEMPTS_MAX {
            break answer;
        }
        tokio::time::sleep(RETRY).await;
        // A client that waits for a node that is down does not give up before it is back.
        while shared.lock().list[write.node].handle.is_none() && !shared.lock().healed {
            tokio::time::sleep(RETRY).await;
        }
        if shared.lock().healed {
            break answer;
        }
    };
    let mut sites = shared.lock();
    sites.asking -= 1;
    match last {
        Answer::Acknowledged => sites.stats.acknowledged += 1,
        Answer::Refused | Answer::NotNow => sites.stats.refused += 1,
        Answer::None => sites.stats.unanswered += 1,
    }
}

async fn once(shared: &Shared, index: usize) -> Answer {
    let (handle, command) = {
        let mut sites = shared.lock();
        let Some(write) = sites.plan.writes.get(index).cloned() else { return Answer::Refused };
        let Some(space) = sites.spaces.get(write.space).copied() else { return Answer::Refused };
        let Some(handle) = sites.list[write.node].handle.clone() else { return Answer::None };
        let Ok(command) = command_of(&write, space) else { return Answer::Refused };
        let at = shared.now();
        sites.event(at, Some(write.node), What::Asked { write: write.no });
        (handle, command)
    };
    let answered = async { handle.submit(Command::Write(command), REQUEST_BYTES).await?.await }.await;
    let mut sites = shared.lock();
    let Ok(reply) = answered else { return Answer::None };
    match refusal_of(&reply) {
        None => Answer::Acknowledged,
        Some(Refusal::Full(_) | Refusal::Store(_)) => {
            sites.stats.hit("a write met a disk that was full or failed");
            Answer::NotNow
        }
        Some(Refusal::Damaged { .. }) => {
            sites.stats.hit("a write met a damaged row");
            Answer::NotNow
        }
        Some(_) => Answer::Refused,
    }
}
