//! Entities as readers see them.

use axum::http::HeaderValue;
use tombolo_crdt::Revision;
use tombolo_crdt::entity::EntityState;

use super::problem::{Kind, Problem};
use crate::store::Snapshot;

/// Decodes a row.
pub(super) fn decode(collection: &str, id: &str, row: &[u8]) -> Result<EntityState, Problem> {
    EntityState::decode(row).map_err(|error| {
        Problem::new(Kind::Damaged, format!("{collection}/{id} is damaged on this node: {error}"))
            .with("collection", collection)
            .with("id", id)
    })
}

/// An entity; `None`: it was never written.
pub(super) fn read(
    snapshot: &Snapshot,
    space_no: u32,
    collection: &str,
    id: &str,
) -> Result<Option<EntityState>, Problem> {
    let row = snapshot.row(space_no, collection, id)?;
    row.map(|row| decode(collection, id, &row)).transpose()
}

/// Canonical bytes of the view.
pub(super) fn view(state: &EntityState) -> Vec<u8> {
    state.view_bytes()
}

pub(super) fn absent(collection: &str, id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("{collection}/{id} is not here: never written, or deleted"))
}

/// The revision as an entity tag.
pub(super) fn etag(revision: Revision) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("hexadecimal digits are a header value")
}

/// Text as JSON.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
