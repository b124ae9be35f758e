//! Ctrl-C during a campaign: it ends between two runs and its results are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;

use crate::error::CliError;
use crate::interrupt::signalled;

/// Listens for signals as long as it lives.
#[derive(Debug)]
pub(super) struct Stop {
    flag: Arc<AtomicBool>,
    _listening: Runtime,
}

impl Stop {
    /// From now on a first signal sets the flag, and a second one ends the process.
    pub(super) fn listen() -> Result<Self, CliError> {
        let failed = |error| CliError::failed("the async runtime could not be started").cause(error);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(failed)?;
        let flag = Arc::new(AtomicBool::new(false));
        let first = {
            let _inside = runtime.enter();
            signalled()?
        };
        let set = flag.clone();
        runtime.spawn(async move {
            first.await;
            set.store(true, Ordering::Relaxed);
            if let Ok(second) = signalled() {
                second.await;
                std::process::exit(130);
            }
        });
        Ok(Self { flag, _listening: runtime })
    }

    pub(super) fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    pub(super) fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}
