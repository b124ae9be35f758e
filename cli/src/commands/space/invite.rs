//! `space invite`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Context;
use crate::error::CliError;
use crate::target::space_path;
use crate::ui::Ui;
use crate::{duration, human};

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Reads, writes, invites
    Admin,
    /// Reads and writes
    Writer,
    /// Reads
    Reader,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Writer => "writer",
            Self::Reader => "reader",
        }
    }
}

/// Print a ticket with which another node can join the space
///
/// The ticket is one line on stdout. It works once and until it expires: give it only to whom it is for.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo space invite shop --role writer --expires 2h")]
pub(crate) struct InviteArgs {
    /// Name or id of the space
    space: String,
    /// What the new member may do
    #[arg(long, value_enum, default_value = "writer")]
    role: Role,
    /// How long the ticket is good for
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration::parse)]
    expires: Duration,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &InviteArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let body = json!({ "role": args.role.name(), "expires_in_s": args.expires.as_secs() });
    let invited: Value = api.post(&format!("{}/invites", space_path(&args.space)), &body).await?;
    if ui.is_json() {
        return ui.json(&invited);
    }
    let ticket = invited["ticket"].as_str().ok_or_else(|| CliError::unexpected("it has no ticket", &invited))?;
    ui.line(ticket)?;
    let expires = human::duration(args.expires);
    ui.note(format!(
        "Lets one {} in, within {expires} from now: `tombolo space join TICKET` on the other machine.",
        args.role.name()
    ));
    Ok(())
}
