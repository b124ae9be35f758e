//! `export`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::json;

use crate::args::Context;
use crate::client::Lines;
use crate::error::CliError;
use crate::human;
use crate::target::{ScopeRef, encode, space_path};
use crate::ui::Ui;

/// Write a space or collection out as NDJSON
///
/// One {"collection","id","value"} per line, ordered: equal states give equal bytes. To stdout, or to FILE, which only
/// appears when it is complete.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo export shop > shop.ndjson\n  tombolo export shop/orders orders.ndjson")]
pub(crate) struct ExportArgs {
    /// The space, or one collection of it: SPACE[/COLLECTION]
    #[arg(value_name = "SPACE[/COLLECTION]")]
    scope: ScopeRef,
    /// Where to write it [default: stdout]
    file: Option<PathBuf>,
}

/// How the line begins that an export ends with if it met an error.
const ERROR: &[u8] = b"{\"error\":";

/// The route of an export.
pub(crate) fn path(scope: &ScopeRef) -> String {
    let collection =
        scope.collection.as_deref().map(|name| format!("?collection={}", encode(name))).unwrap_or_default();
    format!("{}/export{collection}", space_path(&scope.space))
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &ExportArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let mut lines = api.lines(api.stream(Method::GET, &path(&args.scope))).await?;
    let Some(target) = &args.file else {
        while let Some(line) = entity(&mut lines).await? {
            ui.raw(&line)?;
            ui.raw(b"\n")?;
        }
        return ui.flush();
    };
    let failed = |error: io::Error| CliError::file("writing", target, &error);
    let mut file = unfinished(target).map_err(failed)?;
    let mut out = io::BufWriter::new(file.as_file_mut());
    let (mut hasher, mut entities, mut bytes) = (blake3::Hasher::new(), 0_u64, 0_u64);
    let bar = ui.byte_bar(None);
    while let Some(mut line) = entity(&mut lines).await? {
        line.push(b'\n');
        out.write_all(&line).map_err(failed)?;
        hasher.update(&line);
        entities += 1;
        bytes += line.len() as u64;
        if entities.is_multiple_of(1_000) {
            bar.set_message(format!("{} entities, {}", human::count(entities), human::bytes(bytes)));
            bar.tick();
        }
    }
    out.flush().map_err(failed)?;
    drop(out);
    bar.finish_and_clear();
    file.as_file().sync_all().map_err(failed)?;
    file.persist(target).map_err(|error| CliError::file("writing", target, &error.error))?;
    let hash = hasher.finalize().to_hex();
    if ui.is_json() {
        return ui.json(&json!({ "file": target, "entities": entities, "bytes": bytes, "blake3": hash.as_str() }));
    }
    ui.note(format!("{} entities, {}, blake3 {hash}", human::count(entities), human::bytes(bytes)));
    Ok(())
}

/// The next entity. An export that met an error ends with a line that says which.
async fn entity(lines: &mut Lines) -> Result<Option<Vec<u8>>, CliError> {
    let line = lines.next().await?;
    let Some(error) = line.as_deref().filter(|line| line.starts_with(ERROR)) else { return Ok(line) };
    let error: serde_json::Value =
        serde_json::from_slice(error).map_err(|error| CliError::unexpected("an export's last line", error))?;
    Err(CliError::problem(&error["error"]))
}

/// An ordinary file (tempfile's own default is for its owner alone), not yet under its name.
fn unfinished(target: &Path) -> io::Result<tempfile::NamedTempFile> {
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.prefix(".tombolo-export").tempfile_in(dir)
}
