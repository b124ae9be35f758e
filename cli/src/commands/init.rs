//! `init`.

use serde_json::json;

use crate::args::Context;
use crate::error::CliError;
use crate::human;
use crate::node_process;
use crate::ui::Ui;

/// Make a node's key, store and API token
///
/// Prints the node's id. `run` does this by itself where it has not been done; `init` is for giving the node a name.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo --data ./berlin init --name berlin")]
pub(crate) struct InitArgs {
    /// What people call this node [default: the host's name]
    #[arg(long)]
    name: Option<String>,
}

pub(crate) fn run(ui: &mut Ui, context: &Context, args: &InitArgs) -> Result<(), CliError> {
    if context.data.is_initialised() && context.data.has_store() {
        return Err(CliError::failed(format!("{} already holds a node", context.data.path().display()))
            .hint(format!("start it with `tombolo --data {} run`", human::path(context.data.path()))));
    }
    let node = node_process::init(&context.data, args.name.as_deref())?;
    if ui.is_json() {
        return ui.json(&json!({ "node": node, "data": context.data.path() }));
    }
    ui.line(&node)?;
    ui.note(format!("Made a node in {0}. Start it with `tombolo --data {0} run`.", human::path(context.data.path())));
    Ok(())
}
