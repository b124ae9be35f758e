//! One file per subcommand; this one only lists and dispatches.

#[cfg(feature = "bench")]
pub(crate) mod bench;
mod blame;
mod demo;
mod export;
mod get;
mod history;
mod import;
mod init;
mod ls;
mod patch;
mod peer;
mod put;
mod receipt;
mod rm;
mod run;
mod sim;
mod space;
mod status;
mod verify;
mod watch;

use std::future::Future;

use crate::args::Context;
use crate::error::CliError;
use crate::ui::Ui;

/// What to do.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Run(run::RunArgs),
    Status(status::StatusArgs),
    #[command(subcommand)]
    Space(space::SpaceCommand),
    #[command(subcommand)]
    Peer(peer::PeerCommand),
    Put(put::PutArgs),
    Get(get::GetArgs),
    Patch(patch::PatchArgs),
    Rm(rm::RmArgs),
    Ls(ls::LsArgs),
    Watch(watch::WatchArgs),
    History(history::HistoryArgs),
    Blame(blame::BlameArgs),
    Receipt(receipt::ReceiptArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Verify(verify::VerifyArgs),
    #[cfg(feature = "bench")]
    Bench(bench::BenchArgs),
    #[command(subcommand)]
    Sim(sim::SimCommand),
}

impl Command {
    /// What is logged where `RUST_LOG` does not say.
    pub(crate) fn default_log_filter(&self) -> &'static str {
        match self {
            // quinn says once a minute that a network is unreachable; who cannot be reached is in the status.
            Self::Run(_) => "info,quinn_udp=error",
            // Engines in trouble are what a simulation is about; what they log is no news.
            Self::Sim(_) => "off",
            #[cfg(feature = "bench")]
            Self::Bench(args) if args.is_sim() => "off",
            _ => "warn",
        }
    }

    /// Whether it has the exit codes of simulations.
    pub(crate) fn is_sim(&self) -> bool {
        matches!(self, Self::Sim(_))
    }
}

/// Carries the command out.
pub(crate) fn run(ui: &mut Ui, context: &Context, command: &Command) -> Result<(), CliError> {
    match command {
        Command::Demo(args) => wait(demo::run(ui, args)),
        Command::Init(args) => init::run(ui, context, args),
        Command::Run(args) => run::run(ui, context, args),
        Command::Status(args) => wait(status::run(ui, context, args)),
        Command::Space(command) => wait(space::run(ui, context, command)),
        Command::Peer(command) => wait(peer::run(ui, context, command)),
        Command::Put(args) => wait(put::run(ui, context, args)),
        Command::Get(args) => wait(get::run(ui, context, args)),
        Command::Patch(args) => wait(patch::run(ui, context, args)),
        Command::Rm(args) => wait(rm::run(ui, context, args)),
        Command::Ls(args) => wait(ls::run(ui, context, args)),
        Command::Watch(args) => wait(watch::run(ui, context, args)),
        Command::History(args) => wait(history::run(ui, context, args)),
        Command::Blame(args) => wait(blame::run(ui, context, args)),
        Command::Receipt(args) => wait(receipt::run(ui, context, args)),
        Command::Import(args) => wait(import::run(ui, context, args)),
        Command::Export(args) => wait(export::run(ui, context, args)),
        Command::Verify(args) => verify::run(ui, context, args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => wait(bench::run(ui, args)),
        Command::Sim(command) => sim::run(ui, command),
    }
}

/// Commands that talk to a node need no threads of their own.
fn wait(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed("the async runtime could not be started").cause(error))?;
    let result = runtime.block_on(work);
    // A thread that waits on stdin would hold the process back.
    runtime.shutdown_background();
    result
}
