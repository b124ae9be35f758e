//! `[[initial]]`, `[[workload]]`, `[[write]]`, `[[script]]`, and the NDJSON files they name.

use serde_json::Value;

use super::Files;
use super::fields::Fields;
use super::tree::{Desk, Kind, Tree};
use super::values;
use crate::plan::Action;
use crate::scenario::model::{Amount, ContentShape, Draft, Initial, Mix, Name, Pick, Workload, Write};
use crate::scenario::place::{Problem, Source};

/// An object: an inline table, or JSON as a text (TOML has no null, and a patch needs it).
fn object(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Value> {
    let value = match &tree.kind {
        Kind::Text(text) => match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => return desk.wrong(&tree.span, format!("`{key}` is not JSON: {error}")),
        },
        _ => tree.to_json(desk)?,
    };
    if value.is_object() {
        return Some(value);
    }
    desk.wrong(&tree.span, format!("`{key}` must be an object, or a text with a JSON object"))
}

/// Every line of an NDJSON file, as a table of its own.
fn lines(
    name: (String, &Tree),
    desk: &mut Desk<'_>,
    files: Files<'_>,
    what: &'static str,
    read: &mut dyn FnMut(&mut Fields<'_>, &mut Desk<'_>),
) {
    let (name, tree) = name;
    let text = match files(&name) {
        Ok(text) => text,
        Err(reason) => return desk.wrong::<()>(&tree.span, format!("file `{name}`: {reason}")).unwrap_or(()),
    };
    if text.trim().is_empty() {
        let message = format!("file `{name}` is empty: there must be {what} in it");
        return desk.wrong::<()>(&tree.span, message).unwrap_or(());
    }
    let source = Source::new(&desk.source.beside(&name), &text);
    let mut desk = Desk { source: &source, problems: desk.problems };
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let span = offset..offset + line.len();
        offset = span.end;
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Value>(line).and_then(|_| Tree::of_json(line, span.start)) {
            Ok(tree) => {
                if let Some(mut fields) = Fields::of(&tree, what, &mut desk) {
                    read(&mut fields, &mut desk);
                    fields.finish(&mut desk);
                }
            }
            Err(error) => {
                let place = source.place_within(span.start, 1, error.column());
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                desk.problems.push(Problem::new(&place, format!("not JSON: {message}")));
            }
        }
    }
}

pub(super) fn initial(fields: &mut Fields<'_>, draft: &mut Draft, desk: &mut Desk<'_>, files: Files<'_>) {
    for tree in fields.tables("initial", desk) {
        let Some(mut fields) = Fields::of(tree, "[[initial]]", desk) else { continue };
        let space = fields.read("space", values::name, desk);
        if let Some(file) = fields.get("file") {
            if let Some(name) = values::text(file, "file", desk) {
                lines((name, file), desk, files, "a line of initial data", &mut |line, desk| {
                    draft.initial.extend(entity(line, space.clone(), desk));
                });
            }
        } else {
            draft.initial.extend(entity(&mut fields, space, desk));
        }
        fields.finish(desk);
    }
}

fn entity(fields: &mut Fields<'_>, space: Option<Name>, desk: &mut Desk<'_>) -> Option<Initial> {
    let place = desk.place(&fields.span);
    let collection = fields.need("collection", values::text, desk);
    let id = fields.need("id", values::text, desk);
    let value = fields.need("value", object, desk);
    Some(Initial { place, space, collection: collection?, id: id?, value: value? })
}

pub(super) fn writes(fields: &mut Fields<'_>, draft: &mut Draft, desk: &mut Desk<'_>, files: Files<'_>) {
    for tree in fields.tables("write", desk) {
        let Some(mut fields) = Fields::of(tree, "[[write]]", desk) else { continue };
        let space = fields.read("space", values::name, desk);
        draft.writes.extend(write(&mut fields, space, desk));
        fields.finish(desk);
    }
    for tree in fields.tables("script", desk) {
        let Some(mut fields) = Fields::of(tree, "[[script]]", desk) else { continue };
        let space = fields.read("space", values::name, desk);
        let name = fields.need("file", values::text, desk);
        if let (Some(name), Some(file)) = (name, fields.get("file")) {
            lines((name, file), desk, files, "a line of a script", &mut |line, desk| {
                draft.writes.extend(write(line, space.clone(), desk));
            });
        }
        fields.finish(desk);
    }
}

fn write(fields: &mut Fields<'_>, space: Option<Name>, desk: &mut Desk<'_>) -> Option<Write> {
    let place = desk.place(&fields.span);
    let at = fields.need("at", values::when, desk);
    let node = fields.need("node", values::who, desk);
    let retried = fields.read("retried", values::bool, desk).unwrap_or(false);
    let edits = match fields.get("edits") {
        None => edit(fields, desk).into_iter().collect(),
        Some(Tree { kind: Kind::List(items), .. }) => {
            let mut edits = Vec::new();
            for item in items {
                let Some(mut fields) = Fields::of(item, "an edit", desk) else { continue };
                edits.extend(edit(&mut fields, desk));
                fields.finish(desk);
            }
            edits
        }
        Some(tree) => return desk.wrong(&tree.span, format!("`edits` must be a list, not {}", tree.is_a())),
    };
    Some(Write { place, at: at?, node: node?, space, edits, retried })
}

fn edit(fields: &mut Fields<'_>, desk: &mut Desk<'_>) -> Option<(String, String, Action)> {
    let collection = fields.need("collection", values::text, desk);
    let id = fields.need("id", values::text, desk);
    let (key, tree) = fields.one_of(&["put", "patch", "increment", "delete"], desk)?;
    let action = match key {
        "put" => Action::Put(object(tree, key, desk)?),
        "patch" => Action::Patch(object(tree, key, desk)?),
        "increment" => {
            let mut fields = Fields::of(tree, "`increment`", desk)?;
            let (path, by) = (fields.need("path", values::text, desk), fields.need("by", values::integer, desk));
            fields.finish(desk);
            Action::Increment { path: path?, by: by? }
        }
        _ => match values::bool(tree, key, desk)? {
            true => Action::Delete,
            false => return desk.wrong(&tree.span, "`delete` can only be true"),
        },
    };
    Some((collection?, id?, action))
}

pub(super) fn workloads(fields: &mut Fields<'_>, draft: &mut Draft, desk: &mut Desk<'_>) {
    for tree in fields.tables("workload", desk) {
        draft.workloads.extend(workload(tree, desk));
    }
}

fn workload(tree: &Tree, desk: &mut Desk<'_>) -> Option<Workload> {
    const PICKS: &[(&str, Pick)] = &[("uniform", Pick::Uniform), ("zipf", Pick::Zipf), ("hot", Pick::Hot)];
    const SHAPES: &[(&str, ContentShape)] = &[
        ("flat", ContentShape::Flat),
        ("nested", ContentShape::Nested),
        ("arrays", ContentShape::Arrays),
        ("mixed", ContentShape::Mixed),
    ];
    let mut fields = Fields::of(tree, "[[workload]]", desk)?;
    let mut load = Workload { place: desk.place(&tree.span), ..Workload::new("items", 0) };
    if let Some((key, tree)) = fields.one_of(&["count", "rate"], desk) {
        load.amount = match key {
            "count" => Amount::Count(values::count(tree, key, desk).unwrap_or(1)),
            _ => match values::rate(tree, key, desk) {
                Some(rate) if rate.count == 0 => desk.wrong(&tree.span, "`rate` must be at least 1")?,
                Some(rate) => Amount::Rate(rate),
                None => load.amount,
            },
        };
    }
    load.space = fields.read("space", values::name, desk);
    load.during = fields.read("during", values::range, desk);
    set(&mut load.nodes, fields.read("nodes", values::who, desk));
    set(&mut load.collection, fields.read("collection", values::text, desk));
    set(&mut load.prefix, fields.read("prefix", values::text, desk));
    let ids = fields.read("ids", values::count, desk);
    set(&mut load.ids, ids.and_then(|ids| usize::try_from(ids).ok()));
    set(&mut load.existing, fields.read("existing", values::bool, desk));
    set(&mut load.pick, fields.read("pick", |tree, key, desk| values::word(tree, key, desk, PICKS), desk));
    set(&mut load.shape, fields.read("shape", |tree, key, desk| values::word(tree, key, desk, SHAPES), desk));
    set(&mut load.mix, fields.read("mix", mix, desk));
    set(&mut load.by, fields.read("by", integers, desk));
    let padding = fields.read("padding", values::bytes, desk);
    set(&mut load.padding, padding.and_then(|bytes| usize::try_from(bytes).ok()));
    set(&mut load.burst, fields.read("burst", values::count, desk));
    set(&mut load.twins_ppm, fields.read("twins", values::share, desk));
    set(&mut load.retried_ppm, fields.read("retried", values::share, desk));
    fields.finish(desk);
    Some(load)
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn integers(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Vec<i64>> {
    match &tree.kind {
        Kind::List(items) if !items.is_empty() => items.iter().map(|item| values::integer(item, key, desk)).collect(),
        _ => desk.wrong(&tree.span, format!("`{key}` must be a list of whole numbers, not {}", tree.is_a())),
    }
}

/// Weights: what is not named is not done.
fn mix(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Mix> {
    let mut fields = Fields::of(tree, "`mix`", desk)?;
    let mut weight = |kind| fields.read(kind, values::weight, desk).unwrap_or(0);
    let mix = Mix {
        put: weight("put"),
        patch: weight("patch"),
        increment: weight("increment"),
        delete: weight("delete"),
        transaction: weight("transaction"),
    };
    fields.finish(desk);
    if mix.put + mix.patch + mix.increment + mix.delete == 0 {
        return desk.wrong(&tree.span, format!("`{key}` needs a weight above 0 for put, patch, increment or delete"));
    }
    Some(mix)
}
