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
    /// Print the id, the revision and what the entity takes beside its value (see docs/http.md), not the value alone
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
    /// Bytes of the value as it is printed without --meta.
    view_bytes: usize,
    #[serde(flatten)]
    size: Option<Size>,
    value: &'a RawValue,
}

/// What the entity takes. Of the past nothing is stored, so nothing is told.
#[derive(Serialize)]
struct Size {
    /// Bytes of what is stored of it.
    row_bytes: Option<u64>,
    /// What was removed and is still in there.
    removed_objects: Option<u64>,
    removed_elements: Option<u64>,
    /// Operations it may still take.
    numbers_left: Option<u64>,
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
    let query = match &at {
        Some(at) => format!("?at={}", encode(at)),
        None if args.meta => "?meta=true".to_owned(),
        None => String::new(),
    };
    let answer = api.answer(api.request(Method::GET, &format!("{}{query}", args.entity.path()))).await?;
    if args.meta {
        // The value's bytes stay as the node has sent them.
        let value: &RawValue = serde_json::from_slice(&answer.body)
            .map_err(|error| CliError::unexpected("the entity is no JSON", error))?;
        let size = Size {
            row_bytes: answer.number("tombolo-row-bytes"),
            removed_objects: answer.number("tombolo-removed-objects"),
            removed_elements: answer.number("tombolo-removed-elements"),
            numbers_left: answer.number("tombolo-numbers-left"),
        };
        let size = at.is_none().then_some(size);
        let (id, view_bytes) = (&args.entity.id, answer.body.trim_ascii_end().len());
        return ui.json(&WithMeta { id, revision: answer.revision(), view_bytes, size, value });
    }
    ui.raw(answer.body.trim_ascii_end())?;
    ui.raw(b"\n")
}
