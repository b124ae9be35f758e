//! `tombolo`: the command line of a local-first sync node.
//!
//! `docs/architecture.md` has the map of all crates.
//!
//! # Where to start
//! * [`args`] has the global options; [`commands`] has one file per subcommand and nothing else.
//! * [`client`] talks to the node over its HTTP API; [`error`] decides what people read when something fails.
//! * [`local_nodes`] starts real node processes for `demo` and `bench`.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 ok, 1 failed, 2 wrong usage; `tombolo sim` has its
//! own.

#![allow(
    clippy::disallowed_methods,
    reason = "outside the engine clocks are read: the ban is for what must be deterministic"
)]

mod args;
mod client;
mod commands;
mod data_dir;
mod duration;
mod error;
mod human;
mod import;
mod interrupt;
mod local_nodes;
mod logging;
mod model;
mod moment;
mod node_process;
mod target;
mod ui;
mod verify_store;

use std::process::ExitCode;

use clap::FromArgMatches as _;

use crate::args::{Cli, Context};
use crate::error::CliError;
use crate::ui::Ui;

/// Steps make and drop many small buffers: a seventh of the time of the simulator with the system's allocator goes
/// there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match args::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if args::is_for_sim(std::env::args_os()) { error::SIM_USAGE } else { 2 };
            return error::usage(&error, std::env::args_os().any(|arg| arg == "--json"), code);
        }
    };
    let mut ui = Ui::new(cli.globals.json);
    match run(&mut ui, &cli).and_then(|()| ui.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            if cli.command.is_sim() { error.exit_code_of_sim() } else { error.exit_code() }
        }
    }
}

fn run(ui: &mut Ui, cli: &Cli) -> Result<(), CliError> {
    logging::start(cli.globals.log_format, cli.command.default_log_filter())?;
    let context = Context::new(&cli.globals)?;
    commands::run(ui, &context, &cli.command)
}
