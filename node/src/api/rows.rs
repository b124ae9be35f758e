//! Entities as readers see them.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tombolo_crdt::entity::{EntityState, Removed};
use tombolo_crdt::{Revision, SpaceId};

use super::App;
use super::problem::{Kind, Problem};
use crate::engine::Command;

/// Number of the space, collection, id.
pub(super) type EntityAt<'a> = (u32, &'a str, &'a str);

/// Decodes a row.
pub(super) fn decode(collection: &str, id: &str, row: &[u8]) -> Result<EntityState, Problem> {
    EntityState::decode(row).map_err(|error| {
        Problem::new(Kind::Damaged, format!("{collection}/{id} is damaged on this node: {error}"))
            .with("collection", collection)
            .with("id", id)
    })
}

/// Has the engine look after a row that a reader found damaged. Answers with the problem.
pub(super) async fn report(app: &App, space: SpaceId, problem: Problem) -> Problem {
    let name = |key| problem.member(key).and_then(Value::as_str).map(str::to_owned);
    if let (Kind::Damaged, Some(collection), Some(id)) = (problem.kind, name("collection"), name("id")) {
        // Whether it is stopping or not, the answer is the same.
        drop(app.engine.submit(Command::Damaged(space, collection, id), 0).await);
    }
    problem
}

/// What a reader answers. If it met a damaged row, the engine looks after that.
pub(super) async fn cared<T>(app: &App, space: SpaceId, answer: Result<T, Problem>) -> Result<T, Problem> {
    match answer {
        Err(problem) => Err(report(app, space, problem).await),
        answer => answer,
    }
}

/// An entity; `None`: it was never written. A large row is decoded in a turn.
pub(super) async fn read(app: &App, (space_no, collection, id): EntityAt<'_>) -> Result<Option<EntityState>, Problem> {
    let Some(row) = app.reading()?.row(space_no, collection, id)? else { return Ok(None) };
    let names = (collection.to_owned(), id.to_owned());
    app.turns.value(row.len(), move || decode(&names.0, &names.1, &row)).await?.map(Some)
}

/// Canonical bytes of the view.
pub(super) fn view(state: &EntityState) -> Vec<u8> {
    state.view_bytes()
}

/// An entity as it is shown: its revision and the canonical bytes of its view.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) revision: Revision,
    pub(super) view: Vec<u8>,
    /// If it was asked for.
    pub(super) size: Option<Size>,
}

/// What an entity takes beside its view.
#[derive(Debug)]
pub(super) struct Size {
    /// Bytes of its row.
    pub(super) row_bytes: usize,
    /// What was removed from it and is still in the row.
    pub(super) removed: Removed,
    /// Operations that it may still take.
    pub(super) numbers_left: u64,
}

impl Size {
    /// As headers: the body stays the view's bytes.
    pub(super) fn headers(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            ("tombolo-row-bytes", self.row_bytes as u64),
            ("tombolo-removed-objects", self.removed.objects as u64),
            ("tombolo-removed-elements", self.removed.elements as u64),
            ("tombolo-numbers-left", self.numbers_left),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
}

impl Shown {
    /// `None`: the entity is absent.
    pub(super) fn of(state: &EntityState) -> Option<Self> {
        state.is_present().then(|| Self { revision: state.revision(), view: state.view_bytes(), size: None })
    }
}

/// An entity as it is shown; `None`: absent. A large row is decoded in a turn.
/// With `meta` its size is counted, too: O(the entity).
pub(super) async fn shown(app: &App, entity: EntityAt<'_>, meta: bool) -> Result<Option<Shown>, Problem> {
    let (space_no, collection, id) = entity;
    let Some(row) = app.reading()?.row(space_no, collection, id)? else { return Ok(None) };
    let (row_bytes, names) = (row.len(), (collection.to_owned(), id.to_owned()));
    let work = move || {
        let state = decode(&names.0, &names.1, &row)?;
        let size = || Size { row_bytes, removed: state.removed(), numbers_left: state.numbers_left() };
        Ok(Shown::of(&state).map(|shown| Shown { size: meta.then(size), ..shown }))
    };
    app.turns.value(row_bytes, work).await?
}

pub(super) fn absent(collection: &str, id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("{collection}/{id} is not here: never written, or deleted"))
}

/// A deleted one has a past.
pub(super) fn never(collection: &str, id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("{collection}/{id} was never written here"))
}

/// The revision as an entity tag.
pub(super) fn etag(revision: Revision) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("hexadecimal digits are a header value")
}

/// Text as JSON.
pub(super) fn quote(text: &str) -> String {
    Value::from(text).to_string()
}
