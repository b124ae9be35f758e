//! The HTTP API: `docs/http.md` is its contract, one file per resource.
//!
//! Reads go to the store directly, in short readings; whatever writes goes through the engine. `serve` keeps
//! connections in bounds, [`guard`] stands before everything, [`turns`] keep long reads from standing in the way of
//! short requests; [`problem`] says what went wrong.

mod app;
mod blame;
mod changes;
mod describe;
mod entities;
mod export;
mod guard;
mod health;
mod history;
mod import;
mod lines;
mod listing;
mod members;
mod metrics;
mod problem;
mod receipts;
mod refusals;
mod request;
mod rows;
mod serve;
mod spaces;
mod status;
mod transactions;
mod turns;
mod write;

use std::sync::Arc;

use app::SharedApp;
pub(crate) use app::{App, AppConfig};
use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use problem::{Kind, Problem};
pub(crate) use serve::{listen, serve};

/// Bytes of the body of a write: the largest entry (4 MiB) with room for its envelope. One entity has no smaller bound:
/// what merging made larger than 1 MiB comes back as it was read.
pub(crate) const WRITE_BODY_MAX: usize = (4 << 20) + (256 << 10);
/// Bytes of every other body: a ticket is the longest of them.
pub(crate) const SMALL_BODY_MAX: usize = 64 << 10;

/// Every path with its handlers. `describe` tells the same of each; a test compares them.
fn routes() -> [(&'static str, MethodRouter<SharedApp>); 22] {
    let entity = get(entities::read).put(entities::put).patch(entities::patch).delete(entities::remove);
    [
        ("/healthz", get(health::healthz)),
        ("/readyz", get(health::readyz)),
        ("/openapi.json", get(describe::openapi)),
        ("/metrics", get(metrics::metrics)),
        ("/v1/status", get(status::status)),
        ("/v1/join", post(members::join)),
        ("/v1/peers", get(members::peers).post(members::add_peer)),
        ("/v1/peers/{peer}", delete(members::remove_peer)),
        ("/v1/receipts/{receipt}", get(receipts::receipt)),
        ("/v1/spaces", get(spaces::list).post(spaces::create)),
        ("/v1/spaces/{space}", get(spaces::show)),
        ("/v1/spaces/{space}/invites", post(members::invite)),
        ("/v1/spaces/{space}/members", get(members::members)),
        ("/v1/spaces/{space}/transactions", post(transactions::transact)),
        ("/v1/spaces/{space}/changes", get(changes::changes)),
        ("/v1/spaces/{space}/export", get(export::export)),
        ("/v1/spaces/{space}/import", post(import::import)),
        ("/v1/spaces/{space}/{collection}", get(listing::list).post(entities::create)),
        // An entity may be called `import`.
        ("/v1/spaces/{space}/{collection}/import", entity.clone().post(import::import)),
        ("/v1/spaces/{space}/{collection}/{id}", entity),
        ("/v1/spaces/{space}/{collection}/{id}/history", get(history::history)),
        ("/v1/spaces/{space}/{collection}/{id}/blame", get(blame::blame)),
    ]
}

/// The routes with everything that stands before them.
fn router(app: App) -> Router {
    let app = Arc::new(app);
    let routed = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    routed
        .fallback(async || Problem::new(Kind::NotFound, "there is no such path; /openapi.json lists them all"))
        .method_not_allowed_fallback(async || {
            Problem::new(Kind::MethodNotAllowed, "the path is known, the method is not one of its own")
        })
        // Every handler bounds its body itself, by a limit that it can name.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::check))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), count))
        .with_state(app)
}

/// Counts requests by method, route and status.
async fn count(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let started = app.clock.mono();
    let response = next.run(request).await;
    let bytes = response.body().size_hint().exact();
    let elapsed = app.clock.mono().saturating_sub(started);
    app.http.count(&method, route.as_deref().unwrap_or("none"), response.status(), elapsed);
    tracing::debug!(%method, route, status = response.status().as_u16(), bytes, ?elapsed, "served");
    response
}
