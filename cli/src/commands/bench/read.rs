//! `bench read`: GET, and a node at rest.

use std::time::Instant;

use reqwest::Method;

use super::report::{Figure, Report, Times};
use super::rows::{Rows, mix};
use super::{Load, import, setup};
use crate::error::CliError;
use crate::local_nodes::{LocalNode, temporary};
use crate::ui::Ui;

const READS: u64 = 10_000;

pub(super) async fn run(ui: &Ui, load: &Load) -> Result<Report, CliError> {
    let dir = temporary("bench")?;
    let rows = Rows::prepare(dir.path(), load, load.entities.unwrap_or(import::limit(load)))?;
    let mut node = setup::empty(dir.path(), "node").await?;
    setup::import(ui, &node, &rows, &load.id).await?;
    node.stop().await?;
    let ready = node.start_again().await?;
    let found = setup::entities(&node).await?;
    if found != rows.count {
        return Err(CliError::failed(format!(
            "{} entities were imported, {found} are there after the restart",
            rows.count
        )));
    }
    let rest = node.memory();
    ui.note("reading …");
    let mut reads = Times::default();
    for number in 0..READS {
        let id = &rows.ids[(mix(number) % rows.ids.len() as u64) as usize];
        reads.add(timed(&node, &setup::target().entity(id).path()).await?);
    }
    let mut nothing = Times::default();
    for _ in 0..READS {
        nothing.add(timed(&node, "/healthz").await?);
    }
    Ok(Report::new(
        "read",
        rows.count,
        vec![
            Figure::time("GET, p50", reads.p50())
                .beside_time("GET /healthz: HTTP alone, p50", nothing.p50())
                .reach("≤ 0.3 ms"),
            Figure::time("GET, p99", reads.p99()).beside_time("GET /healthz, p99", nothing.p99()),
            Figure::bytes("resident at rest, after restart", rest.resident).reach("≤ 80 MB"),
            Figure::bytes("resident after the reads", node.memory().resident),
            Figure::time("ready after restart", ready).reach("≤ 1 s"),
        ],
    ))
}

async fn timed(node: &LocalNode, path: &str) -> Result<std::time::Duration, CliError> {
    let begin = Instant::now();
    node.api.answer(node.api.request(Method::GET, path)).await?;
    Ok(begin.elapsed())
}
