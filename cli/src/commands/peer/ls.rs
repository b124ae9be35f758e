//! `peer ls`.

use reqwest::Method;
use serde_json::Value;

use crate::args::Context;
use crate::error::CliError;
use crate::human;
use crate::ui::Ui;

/// List connections and the addresses that were added by hand
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo peer ls")]
pub(crate) struct LsArgs {}

pub(crate) async fn run(ui: &mut Ui, context: &Context, _: &LsArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let answer = api.answer(api.request(Method::GET, "/v1/peers")).await?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        return ui.raw(b"\n");
    }
    let rows = rows(&answer.json()?);
    if rows.is_empty() {
        ui.note("no connections and no addresses: members of a space find each other by themselves");
        return Ok(());
    }
    ui.line(human::table("", &rows))
}

/// A row for everything that looks like a peer.
fn rows(value: &Value) -> Vec<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().flat_map(rows).collect(),
        Value::String(address) => vec![vec![address.clone(), "added by hand".to_owned()]],
        Value::Object(fields) if fields.contains_key("node") || fields.contains_key("addr") => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let address = if fields.contains_key("address") { text("address") } else { text("addr") };
            vec![vec![address, text("name"), text("node")]]
        }
        Value::Object(fields) => fields.values().flat_map(rows).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}
