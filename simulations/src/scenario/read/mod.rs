//! The TOML form of a scenario.
//!
//! Every key is asked for by name; whatever else stands in a table is an error, with what is allowed. Reading goes on
//! after an error, so that one look shows all of them.

mod faults;
mod fields;
mod nodes;
mod tree;
mod values;
mod work;

use super::check::check;
use super::language::What;
use super::model::{Assert, Draft, Survivors};
use super::place::{Problem, ScenarioError, Source};
use fields::Fields;
use tree::{Desk, Kind, Tree};

/// Gives the text of a file that a scenario names, or why not.
pub type Files<'f> = &'f dyn Fn(&str) -> Result<String, String>;

/// Reads a text; `file` is its name in messages. If only faults are wrong, the rest is checked as well, so that one
/// look shows all; else what does not fit together might follow from what could not be read.
pub(super) fn read(file: &str, text: &str, files: Files<'_>) -> Result<Draft, ScenarioError> {
    let source = Source::new(file, text);
    let mut problems = Vec::new();
    let mut desk = Desk { source: &source, problems: &mut problems };
    let read = Tree::of_toml(&mut desk).and_then(|tree| scenario(&tree, &mut desk, files));
    match read {
        Some((draft, _)) if problems.is_empty() => Ok(draft),
        Some((mut draft, in_faults)) if in_faults == problems.len() => {
            // What it heals may be what could not be read.
            draft.faults.retain(|statement| !matches!(statement.what, What::Heal));
            problems.extend(check(&draft));
            Err(ScenarioError::of(problems).in_file(file))
        }
        _ => Err(ScenarioError::of(problems)),
    }
}

/// The scenario, and how many of the problems are problems of spelled out faults.
fn scenario(tree: &Tree, desk: &mut Desk<'_>, files: Files<'_>) -> Option<(Draft, usize)> {
    let mut fields = Fields::of(tree, "the scenario", desk)?;
    let name = fields.need("name", values::text, desk);
    let title = fields.need("title", values::text, desk);
    let about = fields.need("about", values::text, desk);
    let duration = fields.need("duration", values::duration, desk);
    let mut draft = Draft::new("", "", duration.unwrap_or_default());
    draft.name = name.unwrap_or_default();
    draft.title = title.unwrap_or_default();
    draft.about = about.unwrap_or_default();
    if let Some(patience) = fields.read("patience", values::duration, desk) {
        draft.patience = patience;
    }
    if let Some(lanes) = fields.get("lanes") {
        (draft.world, draft.quic) = read_lanes(lanes, desk).unwrap_or((true, true));
    }
    if let Some(survivors) = fields.get("survivors") {
        draft.survivors = read_survivors(survivors, desk).unwrap_or(Survivors::All);
    }
    nodes::nodes(&mut fields, &mut draft, desk);
    nodes::topology(&mut fields, &mut draft, desk);
    nodes::spaces(&mut fields, &mut draft, desk);
    work::initial(&mut fields, &mut draft, desk, files);
    work::workloads(&mut fields, &mut draft, desk);
    work::writes(&mut fields, &mut draft, desk, files);
    let before = desk.problems.len();
    faults::schedule(&mut fields, &mut draft, desk);
    let in_faults = desk.problems.len() - before;
    faults::random(&mut fields, &mut draft, desk);
    for tree in fields.tables("assert", desk) {
        draft.assertions.extend(assertion(tree, desk));
    }
    for key in ["name", "duration", "patience", "lanes", "nodes"] {
        let place = fields.place(key, desk);
        draft.keys.insert(key, place);
    }
    fields.finish(desk);
    Some((draft, in_faults))
}

fn read_lanes(tree: &Tree, desk: &mut Desk<'_>) -> Option<(bool, bool)> {
    let names = values::names(tree, "lanes", desk)?;
    let (mut world, mut quic) = (false, false);
    for name in &names {
        match name.text.as_str() {
            "world" => world = true,
            "quic" => quic = true,
            other => {
                let message = format!("`lanes` cannot have `{other}`; allowed: world, quic");
                desk.problems.push(Problem::new(&name.place, message));
            }
        }
    }
    if names.is_empty() {
        return desk.wrong(&tree.span, "`lanes` is empty; allowed: world, quic");
    }
    Some((world, quic))
}

fn read_survivors(tree: &Tree, desk: &mut Desk<'_>) -> Option<Survivors> {
    match &tree.kind {
        Kind::Text(text) if text == "random" => Some(Survivors::Random),
        Kind::Text(text) if text == "all" => Some(Survivors::All),
        Kind::List(_) => values::names(tree, "survivors", desk).map(Survivors::Named),
        _ => desk.wrong(&tree.span, "`survivors` must be \"random\", \"all\" or a list of names"),
    }
}

fn assertion(tree: &Tree, desk: &mut Desk<'_>) -> Option<Assert> {
    let mut fields = Fields::of(tree, "[[assert]]", desk)?;
    let name = fields.need("name", values::text, desk);
    let space = fields.read("space", values::name, desk);
    let collection = fields.read("collection", values::text, desk);
    let that = fields.need("that", values::text, desk);
    let span = fields.get("that").map_or_else(|| tree.span.clone(), |that| that.span.clone());
    let about = collection.is_some().then(|| fields.place("collection", desk));
    fields.finish(desk);
    let that = that?;
    let verbatim = desk.source.verbatim(&span, &that).map(|at| (desk.source.clone(), at));
    Some(Assert { place: desk.place(&span), name: name?, space, collection, that, verbatim, about })
}
