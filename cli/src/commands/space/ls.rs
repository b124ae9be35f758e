//! `space ls`.

use reqwest::Method;
use serde::Deserialize;

use crate::args::Context;
use crate::error::CliError;
use crate::human;
use crate::model::SpaceStatus;
use crate::ui::Ui;

/// List the spaces of this node
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo space ls")]
pub(crate) struct LsArgs {}

#[derive(Deserialize)]
struct Spaces {
    spaces: Vec<SpaceStatus>,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, _: &LsArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let answer = api.answer(api.request(Method::GET, "/v1/spaces")).await?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        return ui.raw(b"\n");
    }
    let spaces = answer.json::<Spaces>()?.spaces;
    if spaces.is_empty() {
        ui.note("no spaces yet: `tombolo space create NAME`, or `tombolo space join TICKET`");
        return Ok(());
    }
    let row = |space: &SpaceStatus| {
        let entities = human::many(space.entities, "entity", "entities");
        vec![space.name.clone(), space.role.clone().unwrap_or_default(), entities, space.space.clone()]
    };
    ui.line(human::table("", &spaces.iter().map(row).collect::<Vec<_>>()))
}
