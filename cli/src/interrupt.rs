//! Ctrl-C and SIGTERM for commands that must clean up: their work is dropped where it stands, and with it what it holds.

use std::future::Future;

use crate::error::{CliError, Kind};

/// Runs `work` until it ends or a signal arrives.
pub(crate) async fn or_interrupted<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::select! {
        result = work => result,
        () = signalled() => Err(CliError::new(Kind::Interrupted, "interrupted")),
    }
}

#[cfg(unix)]
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
}

#[cfg(not(unix))]
async fn signalled() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
