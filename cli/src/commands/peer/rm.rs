//! `peer rm`.

use reqwest::Method;
use serde_json::json;

use super::add::address;
use crate::args::Context;
use crate::error::{CliError, Kind};
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

/// Digits of a node's id.
const NODE_DIGITS: usize = 64;
const _: () = assert!(NODE_DIGITS == 2 * tombolo_crdt::NodeId::LEN, "an id is written in hexadecimal digits");

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &RmArgs) -> Result<(), CliError> {
    let api = context.api()?;
    // A node's id is no host name: it is longer than a part of one may be.
    let peer = match address(&args.peer) {
        Ok(address) if args.peer.len() < NODE_DIGITS => address.to_string(),
        _ => args.peer.clone(),
    };
    api.answer(api.request(Method::DELETE, &format!("/v1/peers/{}", encode(&peer)))).await.map_err(
        |error| match &error.kind {
            Kind::Refused(slug, _) if slug == "not-found" => {
                CliError { message: format!("`{peer}` is not dialled by hand"), cause: None, ..error }
            }
            _ => error,
        },
    )?;
    if ui.is_json() {
        return ui.json(&json!({ "removed": peer }));
    }
    ui.note(format!("No longer dialling {peer}."));
    Ok(())
}
