//! `sim ls` and `sim show`.

use serde_json::json;
use tombolo_sim::scenario::{Scenario, find, library};

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
#[command(after_help = "Example:\n  tombolo sim show two-shops > mine.toml")]
pub(crate) struct ShowArgs {
    /// Its name, as `sim ls` shows it
    name: String,
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
    if ui.is_json() { ui.json(&json!({ "name": args.name, "toml": text })) } else { ui.line(text.trim_end()) }
}

/// A scenario of the library that is there.
pub(super) fn of_library(name: &str) -> Result<Scenario, CliError> {
    let scenario = Scenario::of_library(name).ok_or_else(|| unknown(name))?;
    scenario.map_err(|error| CliError::failed("a scenario of the library is wrong").cause(error))
}
