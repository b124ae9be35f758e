//! `status`.

mod page;
mod troubles;

use reqwest::Method;

use crate::args::Context;
use crate::error::CliError;
use crate::moment;
use crate::ui::Ui;

pub(super) use page::render_space;

/// Show spaces, members, lag, and what needs a human
///
/// A line per member: name, role, whether it is connected, and what it lacks of what this node holds. What needs a
/// human follows, each line with a `!`. With --json everything the node knows about itself.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo status\n  tombolo status --json")]
pub(crate) struct StatusArgs {}

pub(crate) async fn run(ui: &mut Ui, context: &Context, _: &StatusArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let answer = api.answer(api.request(Method::GET, "/v1/status")).await?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        return ui.raw(b"\n");
    }
    ui.line(page::render(&answer.json()?, moment::now_ms(), ui.width()))
}
