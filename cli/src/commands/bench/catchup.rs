//! `bench catchup`: a node that lacks everything joins.

use super::report::{Figure, Report};
use super::rows::Rows;
use super::{Load, import, raw, setup};
use crate::error::CliError;
use crate::local_nodes::{LocalNode, temporary};
use crate::ui::Ui;

/// Entities for Automerge alone; the rate does not depend on how many.
const ALONE: u64 = 20_000;
const BULK_BYTES: usize = 64 * 1024 * 1024;

pub(super) async fn run(ui: &Ui, load: &Load) -> Result<Report, CliError> {
    let dir = temporary("bench")?;
    let rows = Rows::prepare(dir.path(), load, load.entities.unwrap_or(import::limit(load)))?;
    let first = setup::empty(dir.path(), "first").await?;
    setup::import(ui, &first, &rows, &load.id).await?;
    let second = LocalNode::start(dir.path(), "second", None).await?;
    let taken = setup::join(ui, &first, &second, rows.count).await?;
    let wire = second.status().await?.frame_bytes();
    let (memory, sender, disk) = (second.memory(), first.memory(), second.store_bytes());
    drop((first, second));
    ui.note("redb, Automerge and QUIC alone …");
    let redb = raw::commits(&dir.path().join("alone.redb"), rows.count.div_ceil(1_000), 1_000)?;
    let automerge = raw::automerge_applies(ALONE)?;
    let quic = raw::quic_bulk(BULK_BYTES).await?;
    let per_entity = |bytes: u64| bytes / rows.count.max(1);
    let seconds = taken.as_secs_f64().max(1e-9);
    Ok(Report::new(
        "catchup",
        rows.count,
        vec![
            Figure::rate("entities", rows.count, taken)
                .beside("Automerge, apply and save", automerge)
                .reach("≥ 50,000/s"),
            Figure::rate("entities", rows.count, taken).beside("redb, 1,000 rows a commit", redb.rows_per_s()),
            Figure::new("bytes of frames per second", wire as f64 / seconds, super::report::Unit::Bytes)
                .beside("QUIC, bulk", quic),
            Figure::bytes("frames per entity", per_entity(wire)),
            Figure::bytes("disk per entity", per_entity(disk.0)),
            Figure::bytes("peak memory, receiver", memory.peak),
            Figure::bytes("peak memory, sender", sender.peak),
        ],
    ))
}
