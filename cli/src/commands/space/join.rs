//! `space join`.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::args::Context;
use crate::duration;
use crate::error::CliError;
use crate::model::Joined;
use crate::ui::Ui;

/// Join a space with a ticket
///
/// Waits until a member has let this node in. When nobody answers in time the node keeps trying by itself.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo space join TICKET --timeout 30s")]
pub(crate) struct JoinArgs {
    /// The line that `space invite` printed
    ticket: String,
    /// How long to wait for a member's answer
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &JoinArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let path = format!("/v1/join?timeout={}ms", args.timeout.as_millis());
    let request = api.request(Method::POST, &path).timeout(args.timeout + Duration::from_secs(30));
    let answer = api.answer(request.json(&json!({ "ticket": args.ticket.trim() }))).await?;
    let joined: Joined = answer.json()?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        ui.raw(b"\n")?;
    }
    if joined.state == "waiting" {
        return Err(CliError::failed(format!("no member of {} has answered yet", joined.name))
            .cause("none of the addresses in the ticket has let this node in so far; the node goes on trying")
            .hint("see `tombolo status`; check that the other node runs and that UDP reaches it"));
    }
    if !ui.is_json() {
        ui.line(&joined.space)?;
        ui.note(format!("Joined the space {}. See `tombolo status`.", joined.name));
    }
    Ok(())
}
