//! An entity's past: its history, and how it was.
//!
//! What may take longer than a page runs on threads of its own, a few at a time, in steps with a reading each.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tombolo_crdt::Receipt;
use tombolo_crdt::entity::EntityState;
use tombolo_crdt::json::pointer;

use super::describe::{Operation, Parameter, RECEIPT, Shape, TEXT};
use super::problem::{Kind, Problem};
use super::request::{PLUS_HINT, Params, PathParts, clip};
use super::turns::Lane;
use super::write::Json;
use super::{SharedApp, rows};
use crate::chain::{EntityKey, FOLD_CHANGES_MAX, Past, PastError, Until};
use crate::history::{self, Asked, HistoryError, Item};
use crate::moment::rfc3339;
use crate::store::StoreError;

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    path: "/v1/spaces/{space}/{collection}/{id}/history",
    summary: "A page of the entity's changes, the newest first",
    query: &[
        Parameter(
            "limit",
            "Changes on the page",
            Shape::Whole(1, history::PAGE_CHANGES as u64, Some(HISTORY_LIMIT as u64)),
        ),
        Parameter("before", "What the page before said", RECEIPT),
        Parameter("path", "A JSON Pointer: only changes that wrote there", TEXT),
    ],
    problems: &[Kind::NotFound],
    ..Operation::PLAIN
}];

/// Changes on a page, unless the request says otherwise.
const HISTORY_LIMIT: usize = 100;

/// A moment, a revision or a receipt.
pub(super) fn until(text: &str) -> Result<Until, Problem> {
    if let Ok(revision) = text.trim_matches('"').parse() {
        return Ok(Until::Revision { revision, among: FOLD_CHANGES_MAX });
    }
    if let Ok(receipt) = text.parse() {
        return Ok(Until::Entry(receipt));
    }
    let moment = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| {
        let detail = format!("at is `{}`; it must be a revision, a receipt or a moment", clip(text));
        // An unescaped `+` has become a blank.
        let hint = if text.contains(' ') { PLUS_HINT } else { "write a moment as 2027-01-15T08:00:00Z" };
        Problem::argument(detail).hint(hint)
    })?;
    // Nothing was written before 1970.
    Ok(Until::Time { millis: u64::try_from(moment.timestamp_millis()).unwrap_or(0) })
}

/// An entity as it was; `present` is its row.
pub(super) async fn state_at(
    app: &SharedApp,
    (space_no, collection, id): (u32, &str, &str),
    present: EntityState,
    until: Until,
) -> Result<EntityState, Problem> {
    if let Until::Revision { revision, .. } = until
        && present.revision() == revision
    {
        return Ok(present);
    }
    let newest = present.journal();
    drop(present);
    fold(app, (space_no, collection, id), newest, until).await?.map_err(|error| match error {
        PastError::Store(error) => error.into(),
        PastError::Unknown => {
            let what = match until {
                Until::Revision { revision, .. } => format!("revision {revision}"),
                Until::Entry(receipt) => format!("a change in entry {receipt}"),
                _ => "any change".to_owned(),
            };
            Problem::new(Kind::RevisionUnknown, format!("{collection}/{id} never had {what} here"))
        }
        PastError::NotYet => Problem::new(Kind::NotFound, format!("{collection}/{id} had not been written then")),
        PastError::TooLong { limit, .. } => {
            let hint = "its history can be read page by page: `tombolo history`";
            Problem::new(Kind::TooLarge, error.to_string()).with("limit", limit as u64).hint(hint)
        }
    })
}

/// Folds the changes of a state of the past, the newest of which is at a journal position or before.
pub(super) async fn fold(
    app: &SharedApp,
    (space_no, collection, id): (u32, &str, &str),
    newest: u64,
    until: Until,
) -> Result<Result<EntityState, PastError>, Problem> {
    let names = (collection.to_owned(), id.to_owned());
    on_a_thread(app, move |app, wanted| {
        let key = EntityKey { space_no, collection: &names.0, id: &names.1 };
        let mut past = Past::new(key, newest, until);
        while wanted() {
            if let ControlFlow::Break(state) = past.step(&app.reader.reading()?)? {
                return Ok(state);
            }
        }
        Err(PastError::Store(StoreError::Closed))
    })
    .await
}

/// Runs what may take a while off the threads that serve requests. `wanted` turns false when nobody waits any more.
pub(super) async fn on_a_thread<T: Send + 'static>(
    app: &SharedApp,
    work: impl FnOnce(&SharedApp, &dyn Fn() -> bool) -> T + Send + 'static,
) -> Result<T, Problem> {
    let waiting = Arc::new(());
    let (shared, still) = (Arc::clone(app), Arc::downgrade(&waiting));
    let wanted = move || still.strong_count() > 0;
    app.turns.run(Lane::Folds, move || work(&shared, &|| wanted() && !*shared.closing.borrow())).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    limit: Option<usize>,
    before: Option<String>,
    path: Option<String>,
}

/// `GET /v1/spaces/{space}/{collection}/{id}/history`
pub(super) async fn history(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<HistoryQuery>,
) -> Result<Json, Problem> {
    let (collection, id) = (path.collection()?, path.id()?);
    let limit = limited(query.limit, HISTORY_LIMIT, history::PAGE_CHANGES)?;
    let before = query.before.as_deref().map(str::parse::<Receipt>).transpose();
    let before = before.map_err(|error| Problem::argument(error.to_string()).hint("`before` is what a page said"))?;
    let asked = Asked { before, path: query.path.as_deref().map(steps).transpose()?, limit };
    let space = app.space(path.space())?;
    let present = rows::read(&app, (space.space_no, collection, id)).await;
    let present = rows::cared(&app, space.id, present).await?.ok_or_else(|| rows::never(collection, id))?;
    let (reader, names, space_no) = (app.reader.clone(), (collection.to_owned(), id.to_owned()), space.space_no);
    // A page may take milliseconds, and some hundred of them where others made it long.
    let page = app.turns.run(Lane::Values, move || {
        let key = EntityKey { space_no, collection: &names.0, id: &names.1 };
        history::page(&reader.reading()?, key, &present, &asked)
    });
    let page = page.await??;
    let mut answer = Map::new();
    answer.insert("items".to_owned(), page.items.iter().map(item).collect());
    answer.extend(page.before.map(|before| ("before".to_owned(), before.to_string().into())));
    Ok(Json(answer.into()))
}

pub(super) fn limited(asked: Option<usize>, default: usize, most: usize) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(default);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::argument(format!("limit is {limit}; it must be 1 to {most}")))
}

pub(super) fn steps(text: &str) -> Result<Vec<String>, Problem> {
    pointer::parse(text).map_err(|error| Problem::argument(error.to_string()))
}

pub(super) fn item(item: &Item) -> Value {
    let touched = &item.touched;
    let mut value = json!({
        "receipt": item.receipt.to_string(),
        "node": item.node.to_string(),
        "time": rfc3339(item.hlc),
        "revision": item.revision.to_string(),
        "bytes": item.bytes,
        "entities": item.entities,
        "paths": touched.paths,
    });
    for (name, is) in [("more_paths", touched.more), ("unknown_paths", touched.unplaced), ("deleted", touched.deletes)]
    {
        if is {
            value[name] = true.into();
        }
    }
    value
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Store(error) => error.into(),
            HistoryError::NotHere(_) => Self::argument(error.to_string()).hint("`before` is what a page said"),
        }
    }
}
