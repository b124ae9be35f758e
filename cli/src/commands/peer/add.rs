//! `peer add`.

use serde_json::{Value, json};
use tombolo_transport::dial::Address;

use crate::args::Context;
use crate::error::CliError;
use crate::ui::Ui;

/// Dial an address from now on, also after a restart
///
/// Only needed where nodes cannot find each other by ticket, roster or local network.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo peer add berlin.example:7700")]
pub(crate) struct AddArgs {
    /// host:port of the other node
    #[arg(value_name = "ADDR")]
    addr: Address,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &AddArgs) -> Result<(), CliError> {
    let added: Value = context.api()?.post("/v1/peers", &json!({ "addr": args.addr.to_string() })).await?;
    if ui.is_json() {
        return ui.json(&added);
    }
    ui.note(format!("Dialling {} from now on. See `tombolo status`.", args.addr));
    Ok(())
}
