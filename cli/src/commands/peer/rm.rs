//! `peer rm`.

use reqwest::Method;
use serde_json::json;

use crate::args::Context;
use crate::error::CliError;
use crate::target::encode;
use crate::ui::Ui;

/// Stop dialling an address or a node
///
/// The member stays a member: it may still dial this node.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo peer rm berlin.example:7700")]
pub(crate) struct RmArgs {
    /// The address, or the node's id
    #[arg(value_name = "ADDR|NODE")]
    peer: String,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &RmArgs) -> Result<(), CliError> {
    let api = context.api()?;
    api.answer(api.request(Method::DELETE, &format!("/v1/peers/{}", encode(&args.peer)))).await?;
    if ui.is_json() {
        return ui.json(&json!({ "removed": args.peer }));
    }
    ui.note(format!("No longer dialling {}.", args.peer));
    Ok(())
}
