//! `rm`.

use reqwest::Method;

use crate::args::Context;
use crate::commands::put::{self, Conditions};
use crate::error::CliError;
use crate::target::EntityRef;
use crate::ui::Ui;

/// Delete an entity
///
/// A site that changes it at the same time brings it back: an update wins over a delete it has not seen.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo rm shop/orders/o-17")]
pub(crate) struct RmArgs {
    /// The entity: SPACE/COLLECTION/ID
    #[arg(value_name = "SPACE/COLLECTION/ID")]
    entity: EntityRef,
    #[command(flatten)]
    conditions: Conditions,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &RmArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let answer = api.answer(args.conditions.apply(api.request(Method::DELETE, &args.entity.path()))).await?;
    put::show(ui, &args.entity, &answer)
}
