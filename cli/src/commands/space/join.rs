//! `space join`.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::args::Context;
use crate::error::CliError;
use crate::model::{Joined, SpaceStatus};
use crate::target::space_path;
use crate::ui::Ui;
use crate::{duration, human, moment};

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
        return Err(waiting(&joined, moment::now_ms()));
    }
    if ui.is_json() {
        return Ok(());
    }
    ui.line(&joined.space)?;
    let name = human::plain(&joined.name);
    if !joined.already {
        ui.note(format!("Joined the space {name}. See `tombolo status`."));
        return Ok(());
    }
    let space: SpaceStatus = api.get(&space_path(&joined.space)).await?;
    let role = space.role.as_deref().unwrap_or("nothing at present");
    ui.note(format!(
        "This node is a member of {name} already, as {role}; the ticket changes nothing and is not used up."
    ));
    Ok(())
}

/// Nobody has let this node in. A ticket that looks over may be that, or the clock here is wrong: a member would tell.
fn waiting(joined: &Joined, now_ms: u64) -> CliError {
    let mut why = "none of the addresses in the ticket has let this node in so far; the node goes on trying".to_owned();
    if joined.expires > 0 && joined.expires <= now_ms {
        why.push_str(&format!(
            "\nthe ticket was good until {}, and the clock here says {}",
            moment::text(joined.expires),
            moment::text(now_ms)
        ));
    }
    CliError::failed(format!("no member of {} has answered yet", human::plain(&joined.name)))
        .cause(why)
        .hint("see `tombolo status`; check that the other node runs and that UDP reaches it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_looks_over_names_both_clocks() {
        let joined = Joined { name: "shop".to_owned(), expires: 1_796_000_000_000, ..Joined::default() };
        assert!(!waiting(&joined, 1_795_999_999_999).to_text().contains("clock"));
        let text = waiting(&joined, 1_830_560_000_000).to_text();
        assert!(text.contains("good until 2026-11-30 00:53:20 UTC") && text.contains("says 2028-01-04"), "{text}");
    }
}
