//! Processes under measurement: started, asked for their memory, stopped; and what they leave on disk.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// A process that has not ended by then is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.as_std().get_program().to_owned();
        let child = command.kill_on_drop(true).spawn();
        child.map(Self).with_context(|| format!("{} could not be started", program.display()))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.0.id()
    }

    /// Peak resident memory in bytes (VmHWM). It includes what the process has mapped of its files.
    pub(crate) fn peak(&self) -> Result<u64> {
        let id = self.0.id().context("the process has ended")?;
        let text = std::fs::read_to_string(format!("/proc/{id}/status")).context("peak memory is read from /proc")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Asks it to end, as an operator would.
    pub(crate) fn terminate(&self) {
        // Not yet reaped, so the number is still this child's. One that has ended needs no signal.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            kill_process(id, Signal::TERM).ok();
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Result<()> {
        let ended = tokio::time::timeout(STOP_LIMIT, self.0.wait()).await;
        ended.map_err(|_| anyhow!("a process does not stop"))?.map(|_| ()).context("a process is lost")
    }
}

/// Bytes that the files of a directory take on disk.
pub(crate) fn disk(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = std::fs::metadata(dir)?.blocks() * 512;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let about = std::fs::symlink_metadata(&path)?;
        bytes += if about.is_dir() { disk(&path)? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}
