//! `bench reconnect`: what it costs to find out that there is nothing new.

use std::time::Duration;

use super::report::{Figure, Report};
use super::rows::Rows;
use super::{Load, import, setup};
use crate::error::CliError;
use crate::local_nodes::{LocalNode, frames_at_rest, in_step, temporary, until};
use crate::ui::Ui;

/// The size that the other is compared with.
const SMALL: u64 = 1_000;

struct Measured {
    entities: u64,
    bytes: u64,
    ready: Duration,
    settled: Duration,
}

pub(super) async fn run(ui: &Ui, load: &Load) -> Result<Report, CliError> {
    let small = measure(ui, load, SMALL).await?;
    let large = measure(ui, load, load.entities.unwrap_or(import::limit(load))).await?;
    let figures = [&small, &large].into_iter().flat_map(|measured| {
        let entities = crate::human::count(measured.entities);
        [
            Figure::bytes(format!("frames both ways, {entities} entities"), measured.bytes).reach("≤ 1,500 B"),
            Figure::time(format!("start until in step, {entities} entities"), measured.settled)
                .beside_time("of it until ready", measured.ready),
        ]
    });
    let mut figures: Vec<Figure> = figures.collect();
    figures.push(
        Figure::bytes("frames, larger", large.bytes).beside("frames, smaller", small.bytes as f64).reach("× 1.00"),
    );
    Ok(Report::new("reconnect", large.entities, figures))
}

async fn measure(ui: &Ui, load: &Load, limit: u64) -> Result<Measured, CliError> {
    let dir = temporary("bench")?;
    let rows = Rows::prepare(dir.path(), load, limit)?;
    let first = setup::empty(dir.path(), "first").await?;
    setup::import(ui, &first, &rows, &load.id).await?;
    let mut second = LocalNode::start(dir.path(), "second", None).await?;
    setup::join(ui, &first, &second, rows.count).await?;
    frames_at_rest(&second, setup::LIMIT).await?;
    ui.note(format!("second restarts with {} entities …", crate::human::count(rows.count)));
    second.stop().await?;
    let begin = std::time::Instant::now();
    let ready = second.start_again().await?;
    in_step(&[&first, &second], setup::SPACE, Some(rows.count), setup::LIMIT).await?;
    agreed(&second).await?;
    let settled = begin.elapsed();
    // Its counters began with its process: whatever they say is the reconnect's, in both directions.
    let bytes = frames_at_rest(&second, setup::LIMIT).await?;
    if bytes == 0 {
        return Err(CliError::unexpected("status counts no bytes of frames", "two nodes cannot agree in silence"));
    }
    Ok(Measured { entities: rows.count, bytes, ready, settled })
}

/// Waits until the node knows that it is in step, not only is.
async fn agreed(node: &LocalNode) -> Result<(), CliError> {
    until("agreement after the restart", setup::LIMIT, async || {
        let seen = node.space(setup::SPACE).await?;
        let agreed = !seen.members.is_empty() && seen.members.iter().all(|member| member.connected && member.in_step);
        Ok(agreed.then_some(()))
    })
    .await
}
