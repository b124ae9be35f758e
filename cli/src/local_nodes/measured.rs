//! What only `bench` asks of a node process: to stop and start again, its memory, its disk, its silence.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use super::{LocalNode, POLL, log_end, ready, spawn, until};
use crate::error::CliError;

/// Longest time that a node may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Polls in a row with the same figures before they are believed.
const STEADY: usize = 20;

impl LocalNode {
    /// Stops the process as an operator would (SIGTERM) and waits for its end.
    pub(crate) async fn stop(&mut self) -> Result<(), CliError> {
        terminate(&mut self.child.0);
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            match self.child.0.try_wait() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
                Ok(None) => {
                    return Err(CliError::failed(format!("the node {} does not stop", self.name)).cause(self.log()));
                }
                Err(error) => return Err(CliError::failed(format!("the node {} is lost", self.name)).cause(error)),
            }
        }
    }

    /// Starts a stopped node again; answers how long it took until it was ready.
    pub(crate) async fn start_again(&mut self) -> Result<Duration, CliError> {
        fs::remove_file(self.data.file("node.json")).ok();
        let begin = Instant::now();
        let child = spawn(&self.data, self.advertise.as_deref())?;
        (self.api, self.child) = ready(&self.data, &self.name, child).await?;
        Ok(begin.elapsed())
    }

    /// Bytes the store takes on disk: (allocated, length).
    pub(crate) fn store_bytes(&self) -> (u64, u64) {
        fs::metadata(self.data.file("store.redb")).map(|about| (allocated(&about), about.len())).unwrap_or_default()
    }

    fn log(&self) -> String {
        log_end(&self.data)
    }
}

/// Bytes of frames since the node's process began, in both directions, once they stand still.
pub(crate) async fn frames_at_rest(node: &LocalNode, limit: Duration) -> Result<u64, CliError> {
    let (mut last, mut steady) = (0, 0);
    until("silence on the connection", limit, async || {
        let now = node.status().await?.frame_bytes();
        steady = if now == last { steady + 1 } else { 0 };
        last = now;
        Ok((steady >= STEADY).then_some(now))
    })
    .await
}

#[cfg(unix)]
fn terminate(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    // Not yet reaped, so the number is still this child's. One that has ended needs no signal.
    if let Ok(Some(pid)) = i32::try_from(child.id()).map(Pid::from_raw) {
        kill_process(pid, Signal::TERM).ok();
    }
}

#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    child.kill().ok();
}

#[cfg(unix)]
fn allocated(about: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(about) * 512
}

#[cfg(not(unix))]
fn allocated(about: &fs::Metadata) -> u64 {
    about.len()
}
