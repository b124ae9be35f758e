//! `space`: lists and dispatches.

mod create;
mod invite;
mod join;
mod ls;
mod members;
mod show;

use crate::args::Context;
use crate::error::CliError;
use crate::ui::Ui;

/// Create, list and join spaces, and invite others
#[derive(clap::Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  tombolo space create shop\n  tombolo space invite shop --role writer\n  tombolo space join TICKET"
)]
pub(crate) enum SpaceCommand {
    Create(create::CreateArgs),
    Ls(ls::LsArgs),
    Show(show::ShowArgs),
    Invite(invite::InviteArgs),
    Join(join::JoinArgs),
    Members(members::MembersArgs),
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, command: &SpaceCommand) -> Result<(), CliError> {
    match command {
        SpaceCommand::Create(args) => create::run(ui, context, args).await,
        SpaceCommand::Ls(args) => ls::run(ui, context, args).await,
        SpaceCommand::Show(args) => show::run(ui, context, args).await,
        SpaceCommand::Invite(args) => invite::run(ui, context, args).await,
        SpaceCommand::Join(args) => join::run(ui, context, args).await,
        SpaceCommand::Members(args) => members::run(ui, context, args).await,
    }
}
