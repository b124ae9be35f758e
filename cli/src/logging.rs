//! Logs: to stderr, as text or JSON, filtered by `RUST_LOG`.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging for this process. `default` holds where `RUST_LOG` is not set.
pub(crate) fn start(format: LogFormat, default: &str) -> Result<(), CliError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|error| {
            CliError::usage(format!("RUST_LOG={text} is no log filter"))
                .cause(error)
                .hint("for example RUST_LOG=info,tombolo_node=debug")
        })?,
        _ => EnvFilter::new(default),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| CliError::failed("logging could not be started").cause(error))
}
