//! Ctrl-C and SIGTERM for commands that must clean up: their work is dropped where it stands, and with it what it holds.

use std::future::Future;

use crate::error::{CliError, Kind};

/// Runs `work` until it ends or a signal arrives.
pub(crate) async fn or_interrupted<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let signalled = signalled()?;
    tokio::select! {
        result = work => result,
        () = signalled => Err(CliError::new(Kind::Interrupted, "interrupted")),
    }
}

/// From the moment this is called, in a tokio runtime, signals end the process no longer but complete what it returns.
/// SIGHUP does so where a terminal goes away with it; elsewhere, as under a supervisor or `nohup`, it means nothing.
#[cfg(unix)]
pub(crate) fn signalled() -> Result<impl Future<Output = ()>, CliError> {
    use std::io::{self, IsTerminal as _};

    use tokio::signal::unix::{SignalKind, signal};

    let listen = |kind| signal(kind).map_err(|error| CliError::failed("signals cannot be listened to").cause(error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let on_terminal = io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv(), if on_terminal => (),
        }
    })
}

/// As on Unix, where there is only Ctrl-C, and from the first poll on.
#[cfg(not(unix))]
pub(crate) fn signalled() -> Result<impl Future<Output = ()>, CliError> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
