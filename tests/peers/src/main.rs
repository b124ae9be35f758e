//! `tombolo-peers`: the same work for Tombolo, samod, iroh-docs and PouchDB; same machine, one run, interleaved.
//! Prints the table of figures and ratios. README.md says what every line means.

mod measure;
mod metric;
#[cfg_attr(
    not(any(feature = "samod", feature = "iroh")),
    expect(dead_code, reason = "this build has no peer that is spoken to from here")
)]
mod peer;
mod process;
mod relay;
mod report;
mod system;
mod talk;
mod versions;
mod work;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;

use crate::measure::{Group, Plan};
use crate::report::{Report, Table};
use crate::system::{Name, Programs};
use crate::versions::Versions;

/// One piece of work for Tombolo and for systems of its kind
///
/// Every system runs as two processes on this machine, with data in a temporary directory (in $TMPDIR: put it on the
/// disk that matters), each as durable as it is by default. "Tombolo ahead" is how many times better Tombolo is.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Examples:\n  tombolo-peers\n  tombolo-peers --entities 100000 --only iroh-docs,pouchdb --rounds 1\n  \
    tombolo-peers --only samod --samod-entities 10000 --limit 300\n  tombolo-peers --json > results.json"
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The program of Tombolo, a release build
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/tombolo"))]
    tombolo: PathBuf,
    /// The program of Node.js
    #[arg(long, value_name = "PATH", default_value = "node")]
    node: PathBuf,
    /// Entities
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    entities: u64,
    /// Entities beside samod, whose cost grows with the square of them
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    samod_entities: u64,
    /// Changes after the partition, at most one per entity
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    changes: u64,
    /// Live writes, one after the other
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    writes: u64,
    /// Rounds; the table has their medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Peers beside Tombolo [default: all in this build]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_enum)]
    only: Option<Vec<Name>>,
    /// Seconds that one measurement may take before it is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Print JSON, with the value of every round
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Be one peer; spoken to on standard input
    #[command(hide = true)]
    Peer { system: String, data: PathBuf },
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(Command::Peer { system, data }) = &args.command {
        return peer::run(system, data).await;
    }
    let mut out = std::io::stdout();
    let report = measured(&args).await?;
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report.markdown())?;
    }
    Ok(())
}

async fn measured(args: &Args) -> Result<Report> {
    if !args.tombolo.exists() {
        bail!(
            "{} does not exist: build it with `cargo build --release`, or name it with --tombolo",
            args.tombolo.display()
        );
    }
    let pouchdb = Path::new(env!("CARGO_MANIFEST_DIR")).join("pouchdb");
    let programs = Programs { tombolo: args.tombolo.canonicalize()?, node: args.node.clone(), pouchdb };
    let groups = groups(args);
    let systems: Vec<Name> = groups.iter().flat_map(|group| group.systems.clone()).collect();
    let versions = Versions::find(&programs, &systems)?;
    let (changes, limit) = (args.changes, Duration::from_secs(args.limit));
    let plan = Plan { programs, rounds: args.rounds as usize, changes, writes: args.writes, limit };
    let dir = tempfile::Builder::new().prefix("tombolo-peers-").tempdir()?;
    let (before, mut tables) = (versions::load(), Vec::new());
    for group in &groups {
        let outcomes = measure::group(&plan, group, dir.path()).await?;
        tables.push(Table::new(group, changes, &outcomes));
    }
    Ok(Report { versions, rounds: plan.rounds, load: [before, versions::load()], groups: tables })
}

/// samod has a size of its own, with Tombolo at the same one.
fn groups(args: &Args) -> Vec<Group> {
    let built = |name: &Name| match name {
        Name::Tombolo => false,
        Name::Samod => cfg!(feature = "samod"),
        Name::IrohDocs => cfg!(feature = "iroh"),
        Name::Pouchdb => true,
    };
    let all = || [Name::Samod, Name::IrohDocs, Name::Pouchdb].into_iter().filter(built).collect();
    let peers: Vec<Name> = args.only.clone().unwrap_or_else(all);
    let apart = args.samod_entities != args.entities && peers.contains(&Name::Samod);
    let with = |entities: u64, peers: Vec<Name>| Group { entities, systems: [vec![Name::Tombolo], peers].concat() };
    let others: Vec<Name> =
        peers.iter().copied().filter(|name| *name != Name::Tombolo && !(apart && *name == Name::Samod)).collect();
    let mut groups = Vec::new();
    if !others.is_empty() || !apart {
        groups.push(with(args.entities, others));
    }
    if apart {
        groups.push(with(args.samod_entities, vec![Name::Samod]));
    }
    groups
}
