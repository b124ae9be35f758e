//! `verify`.

use std::path::Path;

use crate::args::Context;
use crate::error::CliError;
use crate::target::EntityRef;
use crate::ui::Ui;
use crate::{human, verify_store};

/// Check everything in the data directory, offline
///
/// Recomputes every chain, seal and hash and folds every entity again from its history. The node must be stopped.
/// Exit 1 and a precise list on any difference. Changes nothing, and reads a volume that cannot be written, too, if the
/// node was stopped in order. With --entity only that one is folded again.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo --data ./berlin verify\n  tombolo --data ./berlin verify --entity shop/orders/o-17"
)]
pub(crate) struct VerifyArgs {
    /// Only fold this entity again and compare it with its row
    #[arg(long, value_name = "SPACE/COLLECTION/ID")]
    entity: Option<EntityRef>,
}

pub(crate) fn run(ui: &mut Ui, context: &Context, args: &VerifyArgs) -> Result<(), CliError> {
    let path = context.data.path();
    if !context.data.is_initialised() {
        return Err(CliError::failed(format!("{} holds no node", path.display()))
            .hint("name the node's data directory with --data DIR"));
    }
    if let Some(target) = &args.entity {
        return one(ui, path, target);
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
            "{}, {}, {} checked",
            human::some(verified.spaces, "space"),
            human::many(verified.entries, "entry", "entries"),
            human::many(verified.entities, "entity", "entities")
        ));
    }
    differing(path, verified.differences.len())
}

fn one(ui: &mut Ui, path: &Path, target: &EntityRef) -> Result<(), CliError> {
    let bar = ui.count_bar(0, "read");
    let verified = verify_store::entity(path, target, &mut |done, of| {
        bar.set_length(of.max(done));
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let verified = verified?;
    if ui.is_json() {
        ui.json(&verified)?;
    } else {
        for difference in &verified.differences {
            ui.line(difference)?;
        }
        let leads = match &verified.revision {
            Some(revision) if verified.present => format!("folded again: revision {revision}"),
            Some(revision) => format!("folded again: deleted, revision {revision}"),
            None => "not to be folded".to_owned(),
        };
        ui.note(format!("{target}: {} changes, {leads}", human::count(verified.changes)));
    }
    differing(path, verified.differences.len())
}

fn differing(path: &Path, differences: usize) -> Result<(), CliError> {
    match differences {
        0 => Ok(()),
        differences => {
            Err(CliError::failed(format!("{} in {}", human::some(differences as u64, "difference"), path.display()))
                .cause("what is stored is not what its chains and hashes say")
                .hint("keep a copy of the directory; let the node fetch the space again from another member"))
        }
    }
}
