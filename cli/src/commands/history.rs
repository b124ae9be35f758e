//! `history`, and the names of those who wrote it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::args::Context;
use crate::client::Api;
use crate::error::CliError;
use crate::human;
use crate::target::{EntityRef, encode, space_path};
use crate::ui::Ui;

/// Most changes the node puts on one page.
const PAGE: u64 = 1_000;
const _: () = assert!(PAGE as usize <= tombolo_node::history::PAGE_CHANGES, "a node gives a page as it is asked for");
/// Paths that a line names; --json has more.
const PATHS: usize = 4;

/// Show the changes of an entity, the newest first
///
/// Every change has the author's time, the author, the revision it led to on this node, its receipt and the fields it
/// wrote to; on a narrow terminal receipt and revision stand on a second line. Either can be given to
/// `tombolo get --at`. With --json a document per line.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo history shop/orders/o-17\n  tombolo history shop/orders/o-17 --path /status --limit 1\n  \
    tombolo history shop/orders/o-17 --before RECEIPT"
)]
pub(crate) struct HistoryArgs {
    /// The entity: SPACE/COLLECTION/ID
    #[arg(value_name = "SPACE/COLLECTION/ID")]
    entity: EntityRef,
    /// At most this many changes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limit: u64,
    /// Only changes before this entry's
    #[arg(long, value_name = "RECEIPT")]
    before: Option<String>,
    /// Only changes that wrote to this field or within it (a JSON Pointer)
    #[arg(long, value_name = "POINTER")]
    path: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    #[serde(default)]
    before: Option<String>,
}

/// A change as the node tells it.
#[derive(Deserialize, Serialize)]
pub(super) struct Item {
    pub(super) receipt: String,
    pub(super) node: String,
    pub(super) time: String,
    revision: String,
    bytes: u64,
    entities: u64,
    paths: Vec<String>,
    #[serde(default, skip_serializing_if = "is_not")]
    more_paths: bool,
    #[serde(default, skip_serializing_if = "is_not")]
    unknown_paths: bool,
    #[serde(default, skip_serializing_if = "is_not")]
    deleted: bool,
}

fn is_not(flag: &bool) -> bool {
    !*flag
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &HistoryArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let names = if ui.is_json() { BTreeMap::new() } else { names(&api, &args.entity.collection.space).await? };
    let mut left = args.limit;
    let mut before = args.before.clone();
    let path = args.path.as_deref().map(|path| format!("&path={}", encode(path))).unwrap_or_default();
    while left > 0 {
        let from = before.as_deref().map(|before| format!("&before={}", encode(before))).unwrap_or_default();
        let route = format!("{}/history?limit={}{from}{path}", args.entity.path(), left.min(PAGE));
        let page: Page = api.get(&route).await?;
        left = left.saturating_sub(page.items.len() as u64);
        if ui.is_json() {
            page.items.iter().try_for_each(|item| ui.json(item))?;
        } else if !page.items.is_empty() {
            ui.line(shown(&page.items, &names, ui.width()))?;
        }
        before = page.before;
        if before.is_none() {
            return Ok(());
        }
    }
    if let Some(before) = before {
        ui.note(format!("there are older changes: --before {before}"));
    }
    Ok(())
}

/// A line per change; where that is wider than the terminal, two: what is to be read, and what is to be copied.
fn shown(items: &[Item], names: &BTreeMap<String, String>, width: Option<usize>) -> String {
    let table = human::table("", &items.iter().map(|item| row(item, names)).collect::<Vec<_>>());
    let Some(width) = width.filter(|width| table.lines().any(|line| line.chars().count() > *width)) else {
        return table;
    };
    let two = |item: &Item| {
        let line = format!("{}  {}  {}", item.time, author(&item.node, names), what(item));
        format!("{}\n  {}  {}", human::clip(&human::plain(&line), width), item.receipt, item.revision)
    };
    items.iter().map(two).collect::<Vec<_>>().join("\n")
}

fn row(item: &Item, names: &BTreeMap<String, String>) -> Vec<String> {
    vec![item.time.clone(), author(&item.node, names), item.revision.clone(), item.receipt.clone(), what(item)]
}

/// What a change did, in a few words.
fn what(item: &Item) -> String {
    let mut words: Vec<String> = item.paths.iter().take(PATHS).cloned().collect();
    if item.deleted {
        words.push("deleted".to_owned());
    }
    if item.more_paths || item.paths.len() > PATHS {
        words.push("…".to_owned());
    }
    if item.unknown_paths {
        words.push("(within an array that is gone)".to_owned());
    }
    if item.entities > 1 {
        words.push(format!("(with {} other entities)", human::count(item.entities - 1)));
    }
    words.join(" ")
}

/// The name of a node, or the beginning of its id.
pub(super) fn author(node: &str, names: &BTreeMap<String, String>) -> String {
    names.get(node).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| human::short(node).to_owned())
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    node: String,
    #[serde(default)]
    name: String,
}

/// What the members of a space are called.
pub(super) async fn names(api: &Api, space: &str) -> Result<BTreeMap<String, String>, CliError> {
    let answer = api.answer(api.request(Method::GET, &format!("{}/members", space_path(space)))).await?;
    Ok(answer.json::<Members>()?.members.into_iter().map(|member| (member.node, member.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_change_did() {
        let text = r#"{"receipt":"ab-1","node":"abcdef0123","time":"2027-01-15T08:00:00.000Z","revision":"cd","bytes":9,
            "entities":3,"paths":["/a","/b","/c","/d","/e"]}"#;
        let item: Item = serde_json::from_str(text).expect("parses");
        assert_eq!(what(&item), "/a /b /c /d … (with 2 other entities)");
        let names = BTreeMap::from([("abcdef0123".to_owned(), "berlin".to_owned())]);
        assert_eq!(row(&item, &names)[..4], ["2027-01-15T08:00:00.000Z", "berlin", "cd", "ab-1"]);
        assert_eq!(shown(std::slice::from_ref(&item), &names, None).lines().count(), 1);
        let narrow = shown(&[item], &names, Some(50));
        assert_eq!(narrow, "2027-01-15T08:00:00.000Z  berlin  /a /b /c /d … (…\n  ab-1  cd");
        let item: Item = serde_json::from_str(text).expect("parses");
        assert_eq!(author("abcdef0123", &BTreeMap::new()), "abcdef01");
        assert!(!serde_json::to_string(&item).expect("JSON").contains("deleted"));
    }
}
