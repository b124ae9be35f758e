//! `bench rejoin`: a node that was away comes back, and a little or a lot has changed meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::report::{Figure, Report, Times};
use super::rows::Rows;
use super::{Load, import, raw, setup};
use crate::client::{Api, Lines};
use crate::error::CliError;
use crate::local_nodes::{LocalNode, frames_at_rest, in_step, temporary, until};
use crate::target::space_path;
use crate::ui::Ui;

/// How often a few have changed.
const ROUNDS: usize = 15;
const FEW: usize = 10;
const MANY: usize = 10_000;
/// Clients that write the many.
const CLIENTS: usize = 64;
/// Rows per commit of redb alone: what one step of the node takes.
const BATCH: u64 = 4_096;

/// What one return came to.
struct Returned {
    /// From when the connection stood.
    taken: Duration,
    /// Of frames, both ways.
    bytes: u64,
}

pub(super) async fn run(ui: &Ui, load: &Load) -> Result<Report, CliError> {
    let dir = temporary("bench")?;
    let rows = Rows::prepare(dir.path(), load, load.entities.unwrap_or(import::limit(load)))?;
    let first = setup::empty(dir.path(), "first").await?;
    setup::import(ui, &first, &rows, &load.id).await?;
    let mut second = LocalNode::start(dir.path(), "second", None).await?;
    setup::join(ui, &first, &second, rows.count).await?;
    ui.note(format!("second is away while {FEW} change, {ROUNDS} times …"));
    let (mut times, mut few_bytes) = (Times::default(), 0);
    for round in 0..ROUNDS {
        let returned = few(&first, &mut second, &rows, round).await?;
        times.add(returned.taken);
        few_bytes = few_bytes.max(returned.bytes);
    }
    let many = MANY.min(rows.ids.len());
    ui.note(format!("second is away while {} change …", crate::human::count(many as u64)));
    let returned = all(&first, &mut second, &rows, many).await?;
    drop((first, second));
    ui.note("redb alone …");
    let redb = raw::commits(&dir.path().join("alone.redb"), (many as u64).div_ceil(BATCH), BATCH.min(many as u64))?;
    Ok(Report::new(
        "rejoin",
        rows.count,
        vec![
            Figure::time(format!("{FEW} changed: connected to shown, p50"), times.p50()).reach("≤ 4 ms"),
            Figure::bytes(format!("{FEW} changed: frames both ways, most"), few_bytes).reach("≤ 4 KB"),
            Figure::rate(
                format!("{} changed: connected to in step", crate::human::count(many as u64)),
                many as u64,
                returned.taken,
            )
            .beside(format!("redb, {BATCH} rows a commit"), redb.rows_per_s())
            .reach("≥ 40,000/s"),
            Figure::bytes("frames per change", returned.bytes / many as u64).reach("≤ 250 B"),
        ],
    ))
}

/// Ten entities change while `second` is away; from its connection until the last of them shows on it.
async fn few(first: &LocalNode, second: &mut LocalNode, rows: &Rows, round: usize) -> Result<Returned, CliError> {
    let changes = format!("{}/changes", space_path(setup::SPACE));
    let from = second.api.answer(second.api.request(Method::GET, &format!("{changes}?since=now"))).await?;
    let cursor = from.headers.get("Tombolo-Cursor").and_then(|cursor| cursor.to_str().ok()).unwrap_or_default();
    let path = format!("{changes}?live=ndjson&since={cursor}");
    second.stop().await?;
    let chosen: Vec<&String> = rows.ids.iter().skip(round * FEW).take(FEW).collect();
    for id in &chosen {
        change(&first.api, id, round).await?;
    }
    second.start_again().await?;
    let mut events = second.api.lines(second.api.stream(Method::GET, &path)).await?;
    let at = shown(&mut events, chosen.into_iter().cloned().collect()).await?;
    returned(second, at).await
}

/// Reads events until all of these were told; answers when.
async fn shown(events: &mut Lines, mut ids: BTreeSet<String>) -> Result<SystemTime, CliError> {
    while !ids.is_empty() {
        let line = events.next().await?.ok_or_else(|| CliError::failed("the stream of changes ended"))?;
        let event: Value =
            serde_json::from_slice(&line).map_err(|error| CliError::unexpected("an event is no JSON", error))?;
        ids.remove(event["data"]["id"].as_str().unwrap_or_default());
    }
    Ok(SystemTime::now())
}

/// One field of many entities changes while `second` is away; from its connection until both are in step.
async fn all(first: &LocalNode, second: &mut LocalNode, rows: &Rows, many: usize) -> Result<Returned, CliError> {
    second.stop().await?;
    let ids: Arc<[String]> = rows.ids.iter().take(many).cloned().collect();
    let (next, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..CLIENTS {
        let (api, next, ids) = (first.api.clone(), Arc::clone(&next), Arc::clone(&ids));
        tasks.spawn(async move {
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                change(&api, id, ROUNDS).await?;
            }
            Ok::<(), CliError>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| CliError::failed("a client ended").cause(error))??;
    }
    second.start_again().await?;
    in_step(&[second, first], setup::SPACE, Some(rows.count), setup::LIMIT).await?;
    returned(second, SystemTime::now()).await
}

/// Changes one field of an entity that is there.
async fn change(api: &Api, id: &str, round: usize) -> Result<(), CliError> {
    let request = api.request(Method::PATCH, &setup::target().entity(id).path());
    let request = request.header("Content-Type", "application/merge-patch+json");
    api.answer(request.body(json!({ "name": format!("changed {round}") }).to_string())).await.map(|_| ())
}

/// What it took from the connection that stands (told to the millisecond, rounded down) until `at`.
async fn returned(node: &LocalNode, at: SystemTime) -> Result<Returned, CliError> {
    let since = until("a connection", setup::LIMIT, async || Ok(node.status().await?.connected_since())).await?;
    let taken = at.duration_since(UNIX_EPOCH + Duration::from_millis(since));
    let taken = taken.map_err(|error| CliError::unexpected("what was shown came before the connection", error))?;
    Ok(Returned { taken, bytes: frames_at_rest(node, setup::LIMIT).await? })
}
