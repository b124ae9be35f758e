//! `get`.

use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::Context;
use crate::error::CliError;
use crate::moment;
use crate::target::{EntityRef, encode};
use crate::ui::Ui;

/// Print an entity, as it is or as it was
///
/// --at takes a revision this node had, a receipt (the entity as its author had it after that entry) or a moment
/// (everything whose author's clock was not later, and what that was made on). A moment is RFC 3339, `2027-01-15`
/// (its first second), `2027-01-15 08:00`, `2 h ago` or `yesterday` (24 hours ago); without a zone it is UTC.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo get shop/orders/o-17\n  tombolo get shop/orders/o-17 --meta\n  \
    tombolo get shop/orders/o-17 --at 2027-01-15T08:00:00Z\n  tombolo get shop/orders/o-17 --at '2 h ago'")]
pub(crate) struct GetArgs {
    /// The entity: SPACE/COLLECTION/ID
    #[arg(value_name = "SPACE/COLLECTION/ID")]
    entity: EntityRef,
    /// Print {"id","revision","value"} instead of the value alone
    #[arg(long)]
    meta: bool,
    /// Not as it is now, but as it was: see `tombolo history`
    #[arg(long, value_name = "TIME|REVISION|RECEIPT")]
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
    let at = args.at.as_deref().map(|typed| match moment::parse(typed, moment::now_ms()) {
        Some(moment) => {
            if moment != typed {
                ui.note(format!("As it was at {moment}:"));
            }
            moment
        }
        None => typed.to_owned(),
    });
    let at = at.map(|at| format!("?at={}", encode(&at))).unwrap_or_default();
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
