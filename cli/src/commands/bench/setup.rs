//! Nodes with rows in them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::rows::Rows;
use crate::error::CliError;
use crate::import::{Counts, Event, Job, Key, Source, upload};
use crate::local_nodes::{LocalNode, in_step};
use crate::target::CollectionRef;
use crate::ui::Ui;

pub(super) const SPACE: &str = "bench";
pub(super) const COLLECTION: &str = "rows";
/// As many as there are cities with more than 1,000 inhabitants.
pub(super) const CITIES: u64 = 171_075;
/// Nothing takes longer unless it does not work.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

pub(super) fn target() -> CollectionRef {
    CollectionRef::new(SPACE, COLLECTION)
}

/// A node with the space and nothing in it.
pub(super) async fn empty(dir: &Path, name: &str) -> Result<LocalNode, CliError> {
    let node = LocalNode::start(dir, name, None).await?;
    node.create_space(SPACE).await?;
    Ok(node)
}

/// Imports the rows as `tombolo import` does; answers how long it took.
pub(super) async fn import(ui: &Ui, node: &LocalNode, rows: &Rows, id: &str) -> Result<(Counts, Duration), CliError> {
    let job = Job { target: target(), key: Key::Field(id.to_owned()), skip_bad: false };
    let source = Source::file(&rows.path).map_err(|error| CliError::failed("the rows are gone").cause(error))?;
    let (bar, begin) = (ui.count_bar(rows.count, "rows imported"), Instant::now());
    let counts = upload(&node.api, &job, source, &mut |event| {
        if let Event::Durable(counts, _) = event {
            bar.set_position(counts.lines);
        }
        Ok(())
    })
    .await?;
    let taken = begin.elapsed();
    bar.finish_and_clear();
    Ok((counts, taken))
}

/// A second node joins and catches up; answers how long it took from the join until it had everything, durable.
pub(super) async fn join(ui: &Ui, first: &LocalNode, second: &LocalNode, entities: u64) -> Result<Duration, CliError> {
    ui.note(format!("{} joins {} …", second.name, first.name));
    let ticket = first.invite(SPACE).await?;
    let begin = Instant::now();
    second.join(&ticket).await?;
    in_step(&[second, first], SPACE, Some(entities), LIMIT).await?;
    Ok(begin.elapsed())
}

/// The number of present entities.
pub(super) async fn entities(node: &LocalNode) -> Result<u64, CliError> {
    Ok(node.space(SPACE).await?.entities)
}
