//! `bench propagate`: from a write on one node until it shows on another, durable on both.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::report::{Figure, Report, Times};
use super::{Load, raw, setup, write};
use crate::client::Lines;
use crate::error::CliError;
use crate::local_nodes::{LocalNode, temporary};
use crate::target::space_path;
use crate::ui::Ui;

const WRITES: u64 = 1_000;
const WARM_UP: u64 = 20;

pub(super) async fn run(ui: &Ui, load: &Load) -> Result<Report, CliError> {
    let (dir, writes) = (temporary("bench")?, load.entities.unwrap_or(WRITES));
    let first = setup::empty(dir.path(), "first").await?;
    let second = LocalNode::start(dir.path(), "second", None).await?;
    setup::join(ui, &first, &second, 0).await?;
    let path = format!("{}/changes?live=ndjson", space_path(setup::SPACE));
    let mut events = second.api.lines(second.api.stream(Method::GET, &path)).await?;
    let mut times = Times::default();
    for number in 0..WARM_UP + writes {
        let begin = Instant::now();
        let (shown, ()) = tokio::try_join!(shown(&mut events, number, begin), write::put(&first.api, number))?;
        if number >= WARM_UP {
            times.add(shown);
        }
    }
    drop((first, second));
    ui.note("QUIC and redb alone …");
    let redb = raw::commits(&dir.path().join("alone.redb"), writes, 1)?;
    let quic = raw::quic_round_trips(writes).await?;
    let limit = redb.times.p50() * 2 + quic.p50() / 2;
    Ok(Report::new(
        "propagate",
        writes,
        vec![
            Figure::time("write to shown, p50", times.p50())
                .beside_time("two redb commits and one way of QUIC", limit)
                .reach("≤ 1.2 ms"),
            Figure::time("write to shown, p99", times.p99()),
            Figure::time("redb commit, p50", redb.times.p50()),
            Figure::time("QUIC round trip, p50", quic.p50()),
        ],
    ))
}

/// Reads events until the one about this row; answers the time since `begin`.
async fn shown(events: &mut Lines, number: u64, begin: Instant) -> Result<Duration, CliError> {
    let id = format!("c{number:06}");
    loop {
        let line = events.next().await?.ok_or_else(|| CliError::failed("the stream of changes ended"))?;
        let event: Value =
            serde_json::from_slice(&line).map_err(|error| CliError::unexpected("an event is no JSON", error))?;
        if event["data"]["id"] == id.as_str() {
            return Ok(begin.elapsed());
        }
    }
}
