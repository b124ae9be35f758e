//! `sim ls` and `sim show`.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;
use tombolo_sim::scenario::{Scenario, files_of, find, library};

use super::sources::unknown;
use crate::error::CliError;
use crate::human;
use crate::ui::Ui;

/// List the scenarios that come with tombolo
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo sim ls --json")]
pub(crate) struct LsArgs {}

/// Print a scenario of the library, to begin one of your own from it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo sim show two-shops --as mine > mine.toml\n  tombolo sim show transfers --as mine --to ."
)]
pub(crate) struct ShowArgs {
    /// The scenario's name, as `sim ls` shows it
    name: String,
    /// Give it this name: results are told by it, and two scenarios of one run must not have the same
    #[arg(long = "as", value_name = "NAME")]
    rename: Option<String>,
    /// Write it there as NAME.toml, with the files of data that it names, and never over a file
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(super) fn run(ui: &mut Ui, _: &LsArgs) -> Result<(), CliError> {
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for (name, _) in library() {
        let scenario = of_library(name)?;
        let lanes: Vec<_> = [(scenario.world(), "world"), (scenario.quic(), "quic")]
            .into_iter()
            .filter_map(|(there, name)| there.then_some(name))
            .collect();
        rows.push(vec![(*name).to_owned(), scenario.title().to_owned(), lanes.join(", ")]);
        let (title, about) = (scenario.title(), scenario.about().trim());
        documents.push(json!({ "name": name, "title": title, "about": about, "lanes": lanes }));
    }
    if ui.is_json() { ui.json(&documents) } else { ui.line(human::table("", &rows)) }
}

pub(super) fn show(ui: &mut Ui, args: &ShowArgs) -> Result<(), CliError> {
    let text = find(&args.name).ok_or_else(|| unknown(&args.name))?;
    let name = args.rename.as_ref().unwrap_or(&args.name);
    let (old, new) = (format!("name = \"{}\"", args.name), format!("name = \"{name}\""));
    let toml = text.replacen(&old, &new, 1);
    let files = || files_of(text);
    if let Some(dir) = &args.to {
        std::fs::create_dir_all(dir).map_err(|error| CliError::file("making", dir, &error))?;
        let scenario = (format!("{name}.toml"), toml.as_str());
        for (file, content) in std::iter::once(scenario).chain(files().map(|(name, text)| ((*name).to_owned(), *text)))
        {
            let path = dir.join(file);
            let failed = |error| CliError::file("writing", &path, &error);
            let mut file = File::create_new(&path).map_err(failed)?;
            file.write_all(content.as_bytes()).map_err(failed)?;
            ui.note(format!("written: {}", path.display()));
        }
        return Ok(());
    }
    for (file, _) in files() {
        ui.warn(format!("it needs {file} beside it: `tombolo sim show {} --to DIR` writes both", args.name));
    }
    if ui.is_json() { ui.json(&json!({ "name": name, "toml": toml })) } else { ui.line(toml.trim_end()) }
}

/// A scenario of the library that is there.
pub(super) fn of_library(name: &str) -> Result<Scenario, CliError> {
    let scenario = Scenario::of_library(name).ok_or_else(|| unknown(name))?;
    scenario.map_err(|error| CliError::failed("a scenario of the library is wrong").cause(error))
}
