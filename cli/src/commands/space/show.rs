//! `space show`.

use reqwest::Method;

use crate::args::Context;
use crate::commands::status;
use crate::error::CliError;
use crate::model::SpaceStatus;
use crate::moment;
use crate::target::space_path;
use crate::ui::Ui;

/// Show one space: its digests, collections, members and what is not in step
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo space show shop")]
pub(crate) struct ShowArgs {
    /// Name or id of the space
    space: String,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &ShowArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let answer = api.answer(api.request(Method::GET, &space_path(&args.space))).await?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        return ui.raw(b"\n");
    }
    let space: SpaceStatus = answer.json()?;
    ui.line(status::render_space(&space, moment::now_ms(), ui.width()))?;
    ui.line(format!("  id           {}", space.space))?;
    ui.line(format!("  state        {}", space.state))?;
    ui.line(format!("  frontier     {}", space.frontier))?;
    ui.line(format!("  collections  {}", space.collections.join(" ")))
}
