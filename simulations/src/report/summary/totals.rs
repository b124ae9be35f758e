//! Sums of the numbers of runs.

use crate::outcome::Stats;

/// Adds the numbers of a run. Every field is named, so that a new one is not forgotten here. `hits`, assertions and
/// refused writes are counted elsewhere, by run.
pub(super) fn accumulate(totals: &mut Stats, stats: &Stats) {
    let Stats {
        frames,
        timers,
        inputs,
        steps,
        commits,
        entries,
        writes,
        acknowledged,
        refused,
        unanswered,
        bytes_sent,
        bytes_transferred,
        bytes_missing,
        connections,
        conflicts,
        entities,
        queue_peak,
        virtual_us,
        convergence_us,
        hits: _,
        assertions: _,
        refused_writes: _,
    } = stats;
    let sums = [
        (&mut totals.frames, frames),
        (&mut totals.timers, timers),
        (&mut totals.inputs, inputs),
        (&mut totals.steps, steps),
        (&mut totals.commits, commits),
        (&mut totals.entries, entries),
        (&mut totals.writes, writes),
        (&mut totals.acknowledged, acknowledged),
        (&mut totals.refused, refused),
        (&mut totals.unanswered, unanswered),
        (&mut totals.bytes_sent, bytes_sent),
        (&mut totals.bytes_transferred, bytes_transferred),
        (&mut totals.bytes_missing, bytes_missing),
        (&mut totals.connections, connections),
        (&mut totals.conflicts, conflicts),
        (&mut totals.entities, entities),
        (&mut totals.virtual_us, virtual_us),
        (&mut totals.convergence_us, convergence_us),
    ];
    for (total, more) in sums {
        *total = total.saturating_add(*more);
    }
    totals.queue_peak = totals.queue_peak.max(*queue_peak);
}
