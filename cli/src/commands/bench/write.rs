//! `bench write`: PUT, durable when answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use reqwest::Method;
use tokio::task::JoinSet;

use super::report::{Figure, Report, Times};
use super::{Load, raw, rows, setup};
use crate::client::Api;
use crate::error::CliError;
use crate::local_nodes::temporary;
use crate::ui::Ui;

const WRITES: u64 = 20_000;
/// Writes of the lone client.
const LONE: u64 = 1_000;
const WARM_UP: u64 = 50;

pub(super) async fn run(ui: &Ui, load: &Load) -> Result<Report, CliError> {
    let (dir, writes) = (temporary("bench")?, load.entities.unwrap_or(WRITES));
    let node = setup::empty(dir.path(), "node").await?;
    for number in 0..WARM_UP {
        put(&node.api, number).await?;
    }
    ui.note("one client …");
    let lone = LONE.min(writes);
    let mut times = Times::default();
    for number in 0..lone {
        let begin = Instant::now();
        put(&node.api, WARM_UP + number).await?;
        times.add(begin.elapsed());
    }
    ui.note(format!("{} clients …", load.clients));
    let begin = Instant::now();
    many(&node.api, load.clients, WARM_UP + lone, writes).await?;
    let taken = begin.elapsed();
    let expected = WARM_UP + lone + writes;
    let found = setup::entities(&node).await?;
    if found != expected {
        return Err(CliError::failed(format!("{expected} writes were acknowledged and {found} entities are there")));
    }
    let memory = node.memory();
    drop(node);
    ui.note("redb alone …");
    let one = raw::commits(&dir.path().join("one.redb"), lone, 1)?;
    let group = raw::commits(&dir.path().join("group.redb"), writes.div_ceil(load.clients), load.clients)?;
    let clients = load.clients;
    Ok(Report::new(
        "write",
        writes,
        vec![
            Figure::time("1 client, p50", times.p50()).beside_time("redb commit, p50", one.times.p50()).reach("× ≤ 3"),
            Figure::time("1 client, p99", times.p99()).beside_time("redb commit, p99", one.times.p99()),
            Figure::rate(format!("{clients} clients"), writes, taken)
                .beside(format!("redb, {clients} rows a commit"), group.rows_per_s())
                .reach("≥ 15,000/s with 64"),
            Figure::bytes("peak memory", memory.peak),
        ],
    ))
}

async fn many(api: &Api, clients: u64, first: u64, writes: u64) -> Result<(), CliError> {
    let (next, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for _ in 0..clients {
        let (api, next) = (api.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= writes {
                    return Ok::<(), CliError>(());
                }
                put(&api, first + number).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| CliError::failed("a client ended").cause(error))??;
    }
    Ok(())
}

/// Writes one generated row under its own id.
pub(super) async fn put(api: &Api, number: u64) -> Result<(), CliError> {
    let request = api.request(Method::PUT, &setup::target().entity(&format!("c{number:06}")).path());
    let request = request.header("Content-Type", "application/json").body(rows::generated(number, "id"));
    api.answer(request).await.map(|_| ())
}
