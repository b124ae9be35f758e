//! `bench import`: NDJSON over HTTP.

use super::report::{Figure, Report};
use super::rows::Rows;
use super::{Load, raw, setup};
use crate::error::CliError;
use crate::local_nodes::temporary;
use crate::ui::Ui;

/// Rows per commit of redb alone.
const BATCH: u64 = 4_096;

pub(super) async fn run(ui: &Ui, load: &Load) -> Result<Report, CliError> {
    let dir = temporary("bench")?;
    let rows = Rows::prepare(dir.path(), load, load.entities.unwrap_or(limit(load)))?;
    let node = setup::empty(dir.path(), "node").await?;
    let before = node.store_bytes();
    let (counts, taken) = setup::import(ui, &node, &rows, &load.id).await?;
    if counts.created != rows.count || setup::entities(&node).await? != rows.count {
        return Err(CliError::failed(format!("{} rows were sent, {} were created", rows.count, counts.created)));
    }
    let (memory, disk) = (node.memory(), node.store_bytes());
    drop(node);
    ui.note("redb alone …");
    let redb = raw::commits(&dir.path().join("alone.redb"), rows.count.div_ceil(BATCH), BATCH.min(rows.count))?;
    let per_entity = |now: u64, before: u64| now.saturating_sub(before) / rows.count.max(1);
    Ok(Report::new(
        "import",
        rows.count,
        vec![
            Figure::rate("entities", rows.count, taken)
                .beside(format!("redb, {BATCH} rows a commit"), redb.rows_per_s())
                .reach("≥ 40,000/s"),
            Figure::bytes("peak memory", memory.peak).reach("≤ 200 MB"),
            Figure::bytes("disk per entity", per_entity(disk.0, before.0))
                .beside("its JSON", rows.bytes as f64 / rows.count.max(1) as f64)
                .reach("≤ 650 B"),
            Figure::bytes("store file, length", disk.1),
        ],
    ))
}

/// All of a file, else as many as there are cities.
pub(super) fn limit(load: &Load) -> u64 {
    if load.file.is_some() { u64::MAX } else { setup::CITIES }
}
