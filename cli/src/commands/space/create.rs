//! `space create`.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde_json::json;
use tombolo_transport::Identity;

use crate::args::Context;
use crate::error::CliError;
use crate::human;
use crate::model::Created;
use crate::ui::Ui;

/// Create a space on this node
///
/// Prints the space's id. The founder key is written to a file of its own: it stands above every member, the node does
/// not need it, and whoever has it owns the space. Keep it offline.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo space create shop")]
pub(crate) struct CreateArgs {
    /// What people call the space
    name: String,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &CreateArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let path = key_path(context, &args.name)?;
    let created: Created = api.post("/v1/spaces", &json!({ "name": args.name })).await?;
    save(&path, &created)?;
    if ui.is_json() {
        return ui.json(&json!({ "space": created.space, "name": created.name, "founder_key_file": path }));
    }
    ui.line(&created.space)?;
    ui.note(format!(
        "Created the space {}.\nIts founder key is in {}\nMove that file to a place offline: whoever has it owns the \
         space, and this node does not need it.\nNext: `tombolo space invite {} --role writer`",
        human::plain(&created.name),
        path.display(),
        human::word(&created.name),
    ));
    Ok(())
}

/// Where the key will be. Looked at first: a key that has no place must not found anything.
fn key_path(context: &Context, name: &str) -> Result<PathBuf, CliError> {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let path = context.data.file(&format!("founder-{}.key", name.chars().map(safe).collect::<String>()));
    if path.exists() {
        return Err(CliError::failed(format!("there is already a founder key in {}", path.display()))
            .cause("it belongs to a space of this name that was created before")
            .hint("move that file to a place offline, or choose another name"));
    }
    Ok(path)
}

/// The key is nowhere else: if it cannot be written, it is shown.
fn save(path: &Path, created: &Created) -> Result<(), CliError> {
    let shown = |cause: String| {
        CliError::failed(format!("the founder key could not be written to {}", path.display())).cause(cause).hint(
            format!("the space {} exists; write its founder key down yourself: {}", created.space, created.founder_key),
        )
    };
    let seed = HEXLOWER_PERMISSIVE.decode(created.founder_key.as_bytes()).map_err(|error| shown(error.to_string()))?;
    let seed: [u8; 32] = seed.try_into().map_err(|_| shown("the node's answer holds no 32 bytes".to_owned()))?;
    Identity::from_seed(&seed).save(path).map_err(|error| shown(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_founder_key_is_written_once_and_can_be_read_again() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("founder-shop.key");
        let created = Created { space: "ab".to_owned(), name: "shop".to_owned(), founder_key: "07".repeat(32) };
        save(&path, &created).expect("saves");
        let node = Identity::load(&path).expect("loads").node_id();
        assert_eq!(node, Identity::from_seed(&[7; 32]).node_id());
        let error = save(&path, &created).expect_err("is not written over");
        assert!(error.hint.expect("hint").contains(&created.founder_key));
    }
}
