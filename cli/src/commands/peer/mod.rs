//! `peer`: lists and dispatches.

mod add;
mod ls;
mod rm;

use crate::args::Context;
use crate::error::CliError;
use crate::ui::Ui;

/// Say by hand where other nodes are
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Example:\n  tombolo peer add berlin.example:7700")]
pub(crate) enum PeerCommand {
    Ls(ls::LsArgs),
    Add(add::AddArgs),
    Rm(rm::RmArgs),
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, command: &PeerCommand) -> Result<(), CliError> {
    match command {
        PeerCommand::Ls(args) => ls::run(ui, context, args).await,
        PeerCommand::Add(args) => add::run(ui, context, args).await,
        PeerCommand::Rm(args) => rm::run(ui, context, args).await,
    }
}
