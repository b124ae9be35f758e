//! Ctrl-C and SIGTERM for commands that must clean up: their work is dropped where it stands, and with it what it
//! holds.

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

    signalled_on(io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal())
}

#[cfg(unix)]
fn signalled_on(terminal: bool) -> Result<impl Future<Output = ()>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};

    let listen = |kind| signal(kind).map_err(|error| CliError::failed("signals cannot be listened to").cause(error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv(), if terminal => (),
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hangup_ends_what_runs_on_the_terminal_that_goes_away() {
        let on_terminal = signalled_on(true).expect("listens");
        let mut elsewhere = std::pin::pin!(signalled_on(false).expect("listens"));
        let hangup = std::process::Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();
        assert!(hangup.expect("kill runs").success());
        tokio::time::timeout(std::time::Duration::from_secs(20), on_terminal).await.expect("it ends");
        tokio::select! {
            biased;
            () = &mut elsewhere => panic!("it means nothing there"),
            () = std::future::ready(()) => {}
        }
    }
}
