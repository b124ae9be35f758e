//! `get`.

use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::Context;
use crate::error::CliError;
use crate::target::{EntityRef, encode};
use crate::ui::Ui;

/// Print an entity, as it is or as it was
///
/// --at takes a revision this node had, a receipt (the entity as its author had it after that entry) or a moment in
/// RFC 3339 (everything whose author's clock was not later, and what that was made on).
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo get shop/orders/o-17\n  tombolo get shop/orders/o-17 --meta\n  \
    tombolo get shop/orders/o-17 --at 2027-01-15T08:00:00Z")]
pub(crate) struct GetArgs {
    /// The entity: SPACE/COLLECTION/ID
    #[arg(value_name = "SPACE/COLLECTION/ID")]
    entity: EntityRef,
    /// Print {"id","revision","value"} instead of the value alone
    #[arg(long)]
    meta: bool,
    /// Not as it is now, but as it was: see `tombolo history`
    #[arg(long, value_name = "REVISION|TIME|RECEIPT")]
    at: Option<String>,
}

#[derive(Serialize)]
struct WithMeta<'a> {
    id: &'a str,
    revision: Option<String>,
    value: &'a RawValue,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &GetArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let at = args.at.as_deref().map(|at| format!("?at={}", encode(at))).unwrap_or_default();
    let answer = api.answer(api.request(Method::GET, &format!("{}{at}", args.entity.path()))).await?;
    if args.meta {
        // The value's bytes stay as the node has sent them.
        let value: &RawValue = serde_json::from_slice(&answer.body)
            .map_err(|error| CliError::unexpected("the entity is no JSON", error))?;
        return ui.json(&WithMeta { id: &args.entity.id, revision: answer.revision(), value });
    }
    ui.raw(answer.body.trim_ascii_end())?;
    ui.raw(b"\n")
}
