//! `blame`.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::history::{Item, author, names};
use crate::args::Context;
use crate::error::CliError;
use crate::human;
use crate::target::{EntityRef, encode};
use crate::ui::Ui;

/// Characters of a value that a line shows.
const VALUE_CHARS: usize = 60;

/// Show which entry made each field of an entity what it is, by whom and when
///
/// A line per field: path, time, author, receipt, value; below it, indented, the values it is in conflict with. A
/// counter is blamed on the entry that made it: `tombolo history --path` lists its increments. Of a field that is gone
/// the change that removed it is shown. With --json the node's answer as it is.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo blame shop/orders/o-17\n  tombolo blame shop/orders/o-17 /lines/a/qty")]
pub(crate) struct BlameArgs {
    /// The entity: SPACE/COLLECTION/ID
    #[arg(value_name = "SPACE/COLLECTION/ID")]
    entity: EntityRef,
    /// Only this field and what is within it (a JSON Pointer)
    #[arg(value_name = "POINTER")]
    path: Option<String>,
    /// At most this many fields
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
}

#[derive(Deserialize)]
struct Answer {
    fields: Vec<Field>,
    #[serde(default)]
    more: bool,
    #[serde(default)]
    removed: Option<Item>,
}

#[derive(Deserialize)]
struct Field {
    path: String,
    #[serde(flatten)]
    shown: Source,
    #[serde(default)]
    counter: bool,
    #[serde(default)]
    others: Vec<Source>,
}

/// A value and where it comes from.
#[derive(Deserialize)]
struct Source {
    value: serde_json::Value,
    node: String,
    #[serde(default)]
    receipt: String,
    #[serde(default)]
    time: String,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &BlameArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let path = args.path.as_deref().map(|path| format!("&path={}", encode(path))).unwrap_or_default();
    let route = format!("{}/blame?limit={}{path}", args.entity.path(), args.limit);
    let answer = api.answer(api.request(Method::GET, &route)).await?;
    if ui.is_json() {
        let whole: &RawValue = serde_json::from_slice(&answer.body)
            .map_err(|error| CliError::unexpected("the answer is no JSON", error))?;
        return ui.json(&whole);
    }
    let names = names(&api, &args.entity.collection.space).await?;
    let Answer { fields, more, removed } = answer.json()?;
    if let Some(removed) = removed {
        let asked = args.path.as_deref().unwrap_or_default();
        let who = author(&removed.node, &names);
        return ui.line(format!("{asked} is gone: {} by {who}, entry {}", removed.time, removed.receipt));
    }
    let rows: Vec<Vec<String>> = fields.iter().flat_map(|field| rows(field, &names)).collect();
    match rows.is_empty() {
        true => ui.note(format!("{} has no fields", args.entity)),
        false => ui.line(shown(&rows, ui.width()))?,
    }
    if more {
        ui.note("there are more fields: name a path, or raise --limit");
    }
    Ok(())
}

/// A line per field; where that is wider than the terminal, two: field and value, and where it comes from.
fn shown(rows: &[Vec<String>], width: Option<usize>) -> String {
    let table = human::table("", rows);
    let Some(width) = width.filter(|width| table.lines().any(|line| line.chars().count() > *width)) else {
        return table;
    };
    let two = |row: &Vec<String>| match row.as_slice() {
        [path, time, author, receipt, value @ ..] => {
            let line = format!("{path}  {}", value.join(" "));
            let indent = path.len() - path.trim_start().len();
            let source = format!("{:indent$}  {time}  {author}  {receipt}", "");
            format!("{}\n{}", human::clip(&human::plain(&line), width), human::clip(&human::plain(&source), width))
        }
        other => other.join("  "),
    };
    rows.iter().map(two).collect::<Vec<_>>().join("\n")
}

fn rows(field: &Field, names: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let row = |path: String, source: &Source| {
        let value = clip(&source.value.to_string());
        vec![path, source.time.clone(), author(&source.node, names), source.receipt.clone(), value]
    };
    let mut shown = row(field.path.clone(), &field.shown);
    if field.counter {
        shown.push("(counter)".to_owned());
    }
    let others = field.others.iter().map(|other| row("  in conflict with".to_owned(), other));
    std::iter::once(shown).chain(others).collect()
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_has_a_line_per_value() {
        let text = r#"{"path":"/a","value":"xyz","node":"n1","receipt":"f-1","time":"t","counter":true,
            "others":[{"value":5,"node":"n2","receipt":"g-2","time":"u"}]}"#;
        let field: Field = serde_json::from_str(text).expect("parses");
        let lines = rows(&field, &BTreeMap::new());
        assert_eq!(lines[0], ["/a", "t", "n1", "f-1", "\"xyz\"", "(counter)"]);
        assert_eq!(lines[1], ["  in conflict with", "u", "n2", "g-2", "5"]);
        assert_eq!(shown(&lines[..1], Some(80)), "/a  t  n1  f-1  \"xyz\"  (counter)");
        let narrow = "/a  \"xyz\" (counter)\n  t  n1  f-1\n  in conflict with  5\n    u  n2  g-2";
        assert_eq!(shown(&lines, Some(30)), narrow);
        assert_eq!(clip(&"ä".repeat(100)).chars().count(), VALUE_CHARS + 1);
    }
}
