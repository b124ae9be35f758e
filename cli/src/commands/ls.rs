//! `ls`.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::args::Context;
use crate::error::CliError;
use crate::target::{CollectionRef, encode};
use crate::ui::Ui;

/// Most entities the node puts on one page.
const PAGE: u64 = 1_000;

/// List the entities of a collection, ordered by id
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo ls shop/orders --prefix 2024/ --limit 20\n  tombolo ls shop/orders --values"
)]
pub(crate) struct LsArgs {
    /// The collection: SPACE/COLLECTION
    #[arg(value_name = "SPACE/COLLECTION")]
    collection: CollectionRef,
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
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut cursor = String::new();
    while left > 0 {
        let (path, limit, prefix) = (args.collection.path(), left.min(PAGE), encode(&args.prefix));
        let from = if cursor.is_empty() { String::new() } else { format!("&cursor={}", encode(&cursor)) };
        let answer =
            api.answer(api.request(Method::GET, &format!("{path}?limit={limit}&prefix={prefix}{from}"))).await?;
        let page: Page = answer.json()?;
        left = left.saturating_sub(page.items.len() as u64);
        for item in &page.items {
            if args.values || ui.is_json() {
                ui.json(item)?;
            } else {
                ui.line(&item.id)?;
            }
        }
        match page.cursor {
            Some(next) if !page.items.is_empty() => cursor = next,
            _ => break,
        }
    }
    Ok(())
}
