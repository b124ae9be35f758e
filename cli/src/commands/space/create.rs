//! `space create`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

use crate::args::Context;
use crate::error::CliError;
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
    // The file first: a key that cannot be saved must not found anything.
    let mut key_file = KeyFile::create(context, &args.name)?;
    let created: Created = match api.post("/v1/spaces", &json!({ "name": args.name })).await {
        Ok(created) => created,
        Err(error) => {
            std::fs::remove_file(&key_file.path).ok();
            return Err(error);
        }
    };
    key_file.save(&created)?;
    if ui.is_json() {
        return ui.json(&json!({ "space": created.space, "name": created.name, "founder_key_file": key_file.path }));
    }
    ui.line(&created.space)?;
    ui.note(format!(
        "Created the space {}.\nIts founder key is in {}\nMove that file to a place offline: whoever has it owns the \
         space, and this node does not need it.\nNext: `tombolo space invite {} --role writer`",
        created.name,
        key_file.path.display(),
        created.name
    ));
    Ok(())
}

struct KeyFile {
    path: PathBuf,
    file: File,
}

impl KeyFile {
    fn create(context: &Context, name: &str) -> Result<Self, CliError> {
        let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        let path = context.data.file(&format!("founder-{}.key", name.chars().map(safe).collect::<String>()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(CliError::failed(format!("there is already a founder key in {}", path.display()))
                    .cause("it belongs to a space of this name that was created before")
                    .hint("move that file to a place offline, or choose another name"))
            }
            Err(error) => Err(CliError::file("making", &path, &error)),
        }
    }

    /// The key is nowhere else: if it cannot be written, it is shown.
    fn save(&mut self, created: &Created) -> Result<(), CliError> {
        let text = format!("tombolo-founder 1\nspace {}\nsecret {}\n", created.space, created.founder_key);
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all()).map_err(|error| {
            CliError::file("writing the founder key to", &self.path, &error)
                .hint(format!("the space exists; write its founder key down yourself: {}", created.founder_key))
        })
    }
}
