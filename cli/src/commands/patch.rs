//! `patch`.

use reqwest::Method;

use crate::args::Context;
use crate::commands::put::{self, Conditions};
use crate::error::CliError;
use crate::target::EntityRef;
use crate::ui::Ui;

/// Change parts of an entity
///
/// By default VALUE is a merge patch (RFC 7396): fields that are named are written, null deletes.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo patch shop/items/i-1 '{\"price\":9}'\n  \
    tombolo patch shop/items/i-1 --ops '[{\"op\":\"increment\",\"path\":\"/stock\",\"by\":-1}]'")]
pub(crate) struct PatchArgs {
    /// The entity: SPACE/COLLECTION/ID
    #[arg(value_name = "SPACE/COLLECTION/ID")]
    entity: EntityRef,
    /// The patch as JSON, @FILE, or - for stdin
    #[arg(value_name = "JSON|@FILE|-", default_value = "-")]
    value: String,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    conditions: Conditions,
}

/// What VALUE is.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
pub(crate) struct Form {
    /// VALUE is a merge patch, RFC 7396 (default)
    #[arg(long)]
    merge: bool,
    /// VALUE is a JSON patch, RFC 6902
    #[arg(long)]
    json_patch: bool,
    /// VALUE is a list of typed operations: increment, insert, delete, splice
    #[arg(long)]
    ops: bool,
}

impl Form {
    fn media_type(&self) -> &'static str {
        match (self.json_patch, self.ops) {
            (true, _) => "application/json-patch+json",
            (_, true) => "application/tombolo-ops+json",
            _ => "application/merge-patch+json",
        }
    }
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &PatchArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let body = put::read_value(ui, &args.value)?;
    let request = args.conditions.apply(api.request(Method::PATCH, &args.entity.path()));
    let answer = api.answer(request.header("Content-Type", args.form.media_type()).body(body)).await?;
    put::show(ui, &args.entity, &answer)
}
