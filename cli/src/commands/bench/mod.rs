//! `bench`: figures through the real API and real sockets, each beside the raw limit measured in the same run.

mod catchup;
mod chained;
mod history;
mod import;
mod propagate;
mod raw;
mod read;
mod reconnect;
mod rejoin;
mod report;
mod rows;
mod setup;
mod sim;
mod write;

use std::path::PathBuf;

use crate::error::CliError;
use crate::interrupt::or_interrupted;
use crate::ui::Ui;

/// Measure this machine: writes, import, catch-up, reconnect, propagation, reads, history, simulation
///
/// Starts node processes of its own in a temporary directory (in $TMPDIR: put it on the disk that matters) and removes
/// them. Every figure stands beside the raw limit of the same run: redb alone, QUIC alone, Automerge alone.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo bench write --clients 64\n  tombolo bench import --file cities.ndjson.gz\n  \
    tombolo bench reconnect --entities 171075 --json"
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    which: Which,
}

/// What to measure.
#[derive(clap::Subcommand, Debug)]
enum Which {
    /// Durable writes: one client's latency, many clients' rate
    #[command(after_help = "Example:\n  tombolo bench write --entities 20000 --clients 64")]
    Write(Load),
    /// Import over HTTP: rate, peak memory, disk
    #[command(after_help = "Example:\n  tombolo bench import --file cities.ndjson.gz")]
    Import(Load),
    /// A node that lacks everything joins: rate, durable on arrival
    #[command(after_help = "Example:\n  tombolo bench catchup --file cities.ndjson.gz")]
    Catchup(Load),
    /// Bytes of frames of a reconnect with nothing new, at two sizes
    #[command(after_help = "Example:\n  tombolo bench reconnect --entities 171075")]
    Reconnect(Load),
    /// A node that was away comes back: a few entities have changed meanwhile, then one field of 10,000
    #[command(after_help = "Example:\n  tombolo bench rejoin --file cities.ndjson.gz")]
    Rejoin(Load),
    /// From a write on one node until it shows on another
    #[command(after_help = "Example:\n  tombolo bench propagate --entities 1000")]
    Propagate(Load),
    /// GET latency, memory at rest, time until ready after a restart
    #[command(after_help = "Example:\n  tombolo bench read --file cities.ndjson.gz")]
    Read(Load),
    /// A change to an entity with up to 100,000 changes of history, beside Automerge; the entity as it was
    #[command(after_help = "Example:\n  tombolo bench history --rounds 9")]
    History(history::HistoryLoad),
    /// Simulation: seeds per minute, events per second, memory, the QUIC lane, a hundred nodes
    #[command(after_help = "Example:\n  tombolo bench sim --seconds 30")]
    Sim(sim::SimLoad),
}

/// How much.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Load {
    /// Entities or writes [default: 20,000 for write, 1,000 for propagate, else 171,075 or all of FILE]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) entities: Option<u64>,
    /// Concurrent HTTP clients (write)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) clients: u64,
    /// Rows to use, NDJSON or a JSON array, gzip or not, instead of generated ones
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Field of these rows that is the id
    #[arg(long, value_name = "FIELD", default_value = "id")]
    pub(crate) id: String,
}

impl BenchArgs {
    /// Whether it is about the simulator alone.
    pub(crate) fn is_sim(&self) -> bool {
        matches!(self.which, Which::Sim(_))
    }
}

pub(crate) async fn run(ui: &mut Ui, args: &BenchArgs) -> Result<(), CliError> {
    if cfg!(debug_assertions) {
        ui.warn("This is a debug build: its figures mean nothing. Use `cargo run --release -- bench …`.");
    }
    // These hold nothing that must be cleaned up, and wait for nothing: a signal just ends them.
    let report = match &args.which {
        Which::Sim(load) => sim::run(ui, load)?,
        Which::History(load) => history::run(ui, load)?,
        which => or_interrupted(measure(ui, which)).await?,
    };
    report.show(ui)
}

async fn measure(ui: &Ui, which: &Which) -> Result<report::Report, CliError> {
    match which {
        Which::Write(load) => write::run(ui, load).await,
        Which::Import(load) => import::run(ui, load).await,
        Which::Catchup(load) => catchup::run(ui, load).await,
        Which::Reconnect(load) => reconnect::run(ui, load).await,
        Which::Rejoin(load) => rejoin::run(ui, load).await,
        Which::Propagate(load) => propagate::run(ui, load).await,
        Which::Read(load) => read::run(ui, load).await,
        Which::History(load) => history::run(ui, load),
        Which::Sim(load) => sim::run(ui, load),
    }
}
