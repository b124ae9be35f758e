//! Who made the fields of an entity what they are.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use tombolo_crdt::Receipt;
use tombolo_crdt::entity::{Blamed, ConflictValue, EntityState, Step};
use tombolo_crdt::json::pointer;

use super::describe::{Operation, Parameter, Shape, TEXT};
use super::history::{item, limited, on_a_thread, steps};
use super::problem::{Kind, Problem};
use super::request::{Params, PathParts, clip};
use super::turns::Lane;
use super::{SharedApp, rows, write};
use crate::chain::EntityKey;
use crate::history::{self, Asked, Authors, Item};
use crate::moment::rfc3339;
use crate::store::Reader;

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    path: "/v1/spaces/{space}/{collection}/{id}/blame",
    summary: "Which entry made each of the entity's fields what it is",
    query: &[
        Parameter("path", "A JSON Pointer: only what is there and within", TEXT),
        Parameter("limit", "Fields that are told", Shape::Whole(1, LIMIT_MAX as u64, Some(LIMIT as u64))),
    ],
    problems: &[Kind::NotFound],
    ..Operation::PLAIN
}];

/// Fields that are told, unless the request says otherwise.
const LIMIT: usize = 1_000;
/// Most fields that are told at once.
const LIMIT_MAX: usize = 10_000;
/// Pages of history in which the removal of a field is looked for: 100,000 changes, half a second.
const REMOVAL_PAGES: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    path: Option<String>,
    limit: Option<usize>,
}

/// `GET /v1/spaces/{space}/{collection}/{id}/blame`
pub(super) async fn blame(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let (collection, id) = (path.collection()?, path.id()?);
    let limit = limited(query.limit, LIMIT, LIMIT_MAX)?;
    let asked = query.path.unwrap_or_default();
    let under = steps(&asked)?;
    let space = app.space(path.space())?;
    let present = rows::read(&app, (space.space_no, collection, id)).await;
    let present = rows::cared(&app, space.id, present).await?.filter(EntityState::is_present);
    let present = present.ok_or_else(|| {
        rows::absent(collection, id).hint("if it was there once, its history says who deleted it: `tombolo history`")
    })?;
    let (reader, quoted, within) = (app.reader.clone(), rows::quote(id), under.clone());
    let told = app.turns.run(Lane::Values, move || fields(&present, &quoted, &within, limit, &reader)).await??;
    let (mut out, nothing) = told;
    if nothing {
        let removed = removal(&app, (space.space_no, collection, id), under).await;
        let removed = rows::cared(&app, space.id, removed).await?;
        let nowhere = || {
            let detail = format!("{collection}/{id} has nothing at `{}`, and had nothing there", clip(&asked));
            Problem::new(Kind::NotFound, detail).hint("a path is a JSON Pointer: `/field/0`, `~1` for `/`")
        };
        let removed = item(&removed.ok_or_else(nowhere)?);
        out.extend_from_slice(format!(",\"removed\":{removed}").as_bytes());
    }
    out.push(b'}');
    Ok(write::json_response(out))
}

/// The answer but for its closing brace, and whether there is nothing at the path.
fn fields(
    present: &EntityState,
    id: &str,
    under: &[String],
    limit: usize,
    reader: &Reader,
) -> Result<(Vec<u8>, bool), Problem> {
    let reading = reader.reading()?;
    let (fields, more) = present.blame(under, limit);
    let mut authors = Authors::new(&reading);
    let mut out = format!("{{\"id\":{id},\"revision\":\"{}\"", present.revision()).into_bytes();
    out.extend_from_slice(if more { b",\"more\":true,\"fields\":[" } else { b",\"fields\":[" });
    for (at, field) in fields.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b"," } else { b"" });
        write_field(&mut out, &mut authors, field)?;
    }
    out.push(b']');
    Ok((out, fields.is_empty() && !under.is_empty()))
}

fn write_field(out: &mut Vec<u8>, authors: &mut Authors<'_>, field: &Blamed) -> Result<(), Problem> {
    let steps: Vec<String> = field.path.iter().map(step).collect();
    out.extend_from_slice(format!("{{\"path\":{}", rows::quote(&pointer::write(&steps))).as_bytes());
    if field.counter {
        out.extend_from_slice(b",\"counter\":true");
    }
    for (at, value) in field.values.iter().enumerate() {
        match at {
            0 => out.push(b','),
            1 => out.extend_from_slice(b",\"others\":[{"),
            _ => out.extend_from_slice(b"},{"),
        }
        write_value(out, authors, value)?;
    }
    if field.values.len() > 1 {
        out.extend_from_slice(b"}]");
    }
    if field.unlisted > 0 {
        out.extend_from_slice(format!(",\"unlisted\":{}", field.unlisted).as_bytes());
    }
    out.push(b'}');
    Ok(())
}

fn step(step: &Step) -> String {
    match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    }
}

/// A value, exact, and the entry it comes from.
fn write_value(out: &mut Vec<u8>, authors: &mut Authors<'_>, value: &ConflictValue) -> Result<(), Problem> {
    let feed = value.id.actor();
    out.extend_from_slice(b"\"value\":");
    out.extend_from_slice(&value.value.to_bytes());
    out.extend_from_slice(format!(",\"node\":\"{}\"", authors.of(feed)?).as_bytes());
    if value.came_back {
        out.extend_from_slice(b",\"came_back\":true");
    }
    if let Some(provenance) = value.provenance {
        let receipt = Receipt { feed, seq: provenance.entry_seq };
        let time = rfc3339(provenance.hlc);
        out.extend_from_slice(format!(",\"receipt\":\"{receipt}\",\"time\":\"{time}\"").as_bytes());
    }
    Ok(())
}

/// The last change that wrote to a field that is not there.
async fn removal(
    app: &SharedApp,
    (space_no, collection, id): (u32, &str, &str),
    path: Vec<String>,
) -> Result<Option<Item>, Problem> {
    let names = (collection.to_owned(), id.to_owned());
    let found = on_a_thread(app, move |app, wanted| {
        let key = EntityKey { space_no, collection: &names.0, id: &names.1 };
        let mut asked = Asked { before: None, path: Some(path), limit: 1 };
        for _ in 0..REMOVAL_PAGES {
            let reading = app.reader.reading()?;
            let row = reading.row(space_no, key.collection, key.id)?;
            let present = row.map(|row| rows::decode(key.collection, key.id, &row)).transpose()?;
            let Some(present) = present.filter(|_| wanted()) else { break };
            let page = history::page(&reading, key, &present, &asked)?;
            asked.before = page.before;
            match page.items.into_iter().next() {
                // A deletion leaves the fields; the write that brings the entity back removes them.
                Some(item) if item.touched.deletes => {}
                Some(item) => return Ok(Some(item)),
                None => {}
            }
            if asked.before.is_none() {
                break;
            }
        }
        Ok::<_, Problem>(None)
    });
    found.await?
}
