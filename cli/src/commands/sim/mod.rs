//! `sim`: the product's own code in a simulated world, over many seeds.

mod exhaust;
mod failures;
mod lane;
mod ls;
mod replay;
mod run;
mod sources;
mod stop;
mod writable;

#[cfg(feature = "bench")]
pub(in crate::commands) use run::cores;

use crate::error::CliError;
use crate::ui::Ui;

const EXAMPLES: &str = "\
Examples:
  tombolo sim ls                                        the scenarios that come with tombolo
  tombolo sim run two-shops swarm --seeds 0..2000
  tombolo sim run mine.toml --time-budget 5m --shard 3/8 --junit out.xml --report out
  tombolo sim replay out/capsules/mine-17
  tombolo sim exhaust

Exit codes: 0 everything held, 1 something was violated, 2 inconclusive,
3 the simulator itself was not deterministic, 64 wrong usage, scenario or capsule,
74 it could not do its work, 130 interrupted.
docs/simulation.md leads to a scenario of your own in ten minutes.";

/// Simulate partitions, crashes and clocks: several nodes in one process, in virtual time, the same for the same seed
#[derive(clap::Subcommand, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) enum SimCommand {
    Run(run::RunArgs),
    Ls(ls::LsArgs),
    Show(ls::ShowArgs),
    Replay(replay::ReplayArgs),
    Exhaust(exhaust::ExhaustArgs),
}

pub(crate) fn run(ui: &mut Ui, command: &SimCommand) -> Result<(), CliError> {
    match command {
        SimCommand::Run(args) => run::run(ui, args),
        SimCommand::Ls(args) => ls::run(ui, args),
        SimCommand::Show(args) => ls::show(ui, args),
        SimCommand::Replay(args) => replay::run(ui, args),
        SimCommand::Exhaust(args) => exhaust::run(ui, args),
    }
}
