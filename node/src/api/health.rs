//! Whether the process runs, and whether it can be used.

use std::time::Duration;

use axum::extract::State;
use serde_json::json;

use super::describe::Operation;
use super::problem::{Kind, Problem};
use super::write::Json;
use super::{SharedApp, status};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { path: "/healthz", summary: "Whether the process runs", is_open: true, ..Operation::PLAIN },
    Operation {
        path: "/readyz",
        summary: "Whether the store is open and takes writes",
        problems: &[Kind::Store, Kind::Stopping, Kind::Full],
        is_open: true,
        ..Operation::PLAIN
    },
];

/// How long the engine may take to answer before the node counts as not ready.
const READY_WAIT: Duration = Duration::from_secs(5);

/// `GET /healthz`
pub(super) async fn healthz() -> Json {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`
pub(super) async fn readyz(State(app): State<SharedApp>) -> Result<Json, Problem> {
    drop(app.reading()?);
    let asked = tokio::time::timeout(READY_WAIT, status::ask(&app)).await;
    let status = asked.map_err(|_| Problem::new(Kind::Store, "the engine does not answer"))??;
    match &status.full {
        Some(why) => Err(Problem::new(Kind::Full, why.clone())),
        None => Ok(Json(json!({ "status": "ready" }))),
    }
}
