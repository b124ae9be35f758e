//! Whether the process runs, and whether it can be used.

use std::time::Duration;

use axum::Json as AxumJson;
use axum::extract::State;
use serde_json::{Value, json};

use super::problem::{Kind, Problem};
use super::{SharedApp, status};

/// How long the engine may take to answer before the node counts as not ready.
const READY_WAIT: Duration = Duration::from_secs(5);

/// `GET /healthz`
pub(super) async fn healthz() -> AxumJson<Value> {
    AxumJson(json!({ "status": "ok" }))
}

/// `GET /readyz`
pub(super) async fn readyz(State(app): State<SharedApp>) -> Result<AxumJson<Value>, Problem> {
    drop(app.snapshot()?);
    let asked = tokio::time::timeout(READY_WAIT, status::ask(&app)).await;
    let status = asked.map_err(|_| Problem::new(Kind::Store, "the engine does not answer"))??;
    match status.full {
        Some(why) => Err(Problem::new(Kind::Full, why)),
        None => Ok(AxumJson(json!({ "status": "ready" }))),
    }
}
