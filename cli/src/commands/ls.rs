//! `ls`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::args::Context;
use crate::client::Api;
use crate::error::CliError;
use crate::human;
use crate::model::SpaceStatus;
use crate::target::{ScopeRef, encode, space_path};
use crate::ui::Ui;

/// Most entities the node puts on one page.
const PAGE: u64 = 1_000;

/// List the collections of a space, or the entities of a collection ordered by id
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo ls shop\n  tombolo ls shop/orders --prefix 2024/ --limit 20\n  tombolo ls shop/orders --values"
)]
pub(crate) struct LsArgs {
    /// The space, or one collection of it: SPACE[/COLLECTION]
    #[arg(value_name = "SPACE[/COLLECTION]")]
    scope: ScopeRef,
    /// Only ids that begin with this
    #[arg(long, default_value = "")]
    prefix: String,
    /// At most this many [default: all]
    #[arg(long)]
    limit: Option<u64>,
    /// Print {"id","revision","value"} per line instead of the ids (always so with --json)
    #[arg(long)]
    values: bool,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Item {
    id: String,
    revision: String,
    value: Box<RawValue>,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &LsArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let Some(collection) = &args.scope.collection else { return collections(ui, &api, &args.scope.space).await };
    let route = format!("{}/{}", space_path(&args.scope.space), encode(collection));
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut shown = 0;
    let mut cursor = Some(String::new());
    // A page may be empty and yet not the last: where many rows are deleted the node looks at so many and no more.
    while let Some(from) = cursor.take().filter(|_| left > 0) {
        let (limit, prefix) = (left.min(PAGE), encode(&args.prefix));
        let from = if from.is_empty() { from } else { format!("&cursor={}", encode(&from)) };
        let page: Page = api.get(&format!("{route}?limit={limit}&prefix={prefix}{from}")).await?;
        left = left.saturating_sub(page.items.len() as u64);
        shown += page.items.len();
        for item in &page.items {
            if args.values || ui.is_json() {
                ui.json(item)?;
            } else {
                ui.line(human::plain(&item.id))?;
            }
        }
        cursor = page.cursor;
    }
    if shown == 0 && args.limit != Some(0) {
        let (space, prefix) = (&args.scope.space, &args.prefix);
        let which = if prefix.is_empty() { String::new() } else { format!(" whose id begins with `{prefix}`") };
        ui.note(format!("{space}/{collection} has no entity{which}; `tombolo ls {space}` lists the collections"));
    }
    Ok(())
}

/// The names of a space's collections that hold an entity.
async fn collections(ui: &mut Ui, api: &Api, space: &str) -> Result<(), CliError> {
    let space: SpaceStatus = api.get(&space_path(space)).await?;
    if ui.is_json() {
        return ui.json(&space.collections);
    }
    if space.collections.is_empty() {
        ui.note(format!("{} has no entities yet: `tombolo put {0}/COLLECTION/ID JSON`", space.name));
    }
    space.collections.iter().try_for_each(|name| ui.line(format!("{}/{name}", space.name)))
}
