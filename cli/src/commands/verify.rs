//! `verify`.

use crate::args::Context;
use crate::error::CliError;
use crate::ui::Ui;
use crate::{human, verify_store};

/// Check everything in the data directory, offline
///
/// Recomputes every chain, seal and hash and folds every entity again from its history. The node must be stopped.
/// Exit 1 and a precise list on any difference. Changes nothing.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo --data ./berlin verify")]
pub(crate) struct VerifyArgs {}

pub(crate) fn run(ui: &mut Ui, context: &Context, _: &VerifyArgs) -> Result<(), CliError> {
    let path = context.data.path();
    if !context.data.is_initialised() {
        return Err(CliError::failed(format!("{} holds no node", path.display()))
            .hint("name the node's data directory with --data DIR"));
    }
    let bar = ui.count_bar(0, "checked");
    let verified = verify_store::run(path, &mut |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    if ui.is_json() {
        ui.json(&verified)?;
    } else {
        for difference in &verified.differences {
            ui.line(difference)?;
        }
        ui.note(format!(
            "{} spaces, {} entries, {} entities checked",
            human::count(verified.spaces),
            human::count(verified.entries),
            human::count(verified.entities)
        ));
    }
    match verified.differences.len() {
        0 => Ok(()),
        differences => Err(CliError::failed(format!("{differences} difference(s) in {}", path.display()))
            .cause("what is stored is not what its chains and hashes say")
            .hint("keep a copy of the directory; let the node fetch the space again from another member")),
    }
}
