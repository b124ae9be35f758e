//! The report for a terminal: a line for each scenario, then what needs attention.

use std::time::Duration;

use super::hits::compare;
use super::warnings::{assertions, of_scenario};
use super::{Failure, ScenarioSummary, Summary, Worst, repro};
use crate::report::words::{clip, moment, span};

/// Most failures of different kinds that are told of one scenario.
const FAILURES_TOLD_MAX: usize = 5;

/// Most seeds that are named of one kind.
const SEEDS_TOLD_MAX: usize = 10;

/// Most characters of what an oracle said.
const DETAIL_CHARS_MAX: usize = 160;

/// The text, without colours, ending in a line break. The last line is the result.
#[must_use]
pub fn text(summary: &Summary) -> String {
    let head =
        ["scenario", "seeds", "held", "violated", "unsure", "events", "virtual", "wall", "converged ½", "99 %", "most"];
    let lost = |of: fn(&ScenarioSummary) -> u64| summary.scenarios.values().any(|scenario| of(scenario) > 0);
    // Columns that say that something is wrong, or nothing.
    let mut extra: Vec<Extra> =
        vec![("refused", |scenario| scenario.totals.refused), ("unanswered", |scenario| scenario.totals.unanswered)];
    extra.retain(|(_, of)| lost(*of));
    let heads = head.into_iter().chain(["sent/missing", "batch", "conflicts"]);
    let heads = heads.chain(extra.iter().map(|(head, _)| *head));
    let mut rows = vec![heads.map(str::to_owned).collect()];
    rows.extend(summary.scenarios.iter().map(|(name, scenario)| {
        let more = extra.iter().map(|(_, of)| number(of(scenario)));
        row(name, scenario).into_iter().chain(more).collect()
    }));
    let mut out = table(&rows);
    out.push('\n');
    for (name, scenario) in &summary.scenarios {
        attention(name, scenario, &mut out);
    }
    out.push_str(&effort(summary));
    if summary.unfinished > 0 {
        out.push_str(&format!("unfinished: the time was up, {} left\n", some(summary.unfinished, "run")));
    }
    out.push_str(match summary.result() {
        Worst::Held => "held\n",
        Worst::Violated => "VIOLATED\n",
        Worst::Inconclusive => "inconclusive\n",
        Worst::NotDeterministic => "NOT DETERMINISTIC: the simulator itself is at fault\n",
    });
    out
}

/// A column: its head and its number.
type Extra = (&'static str, fn(&ScenarioSummary) -> u64);

fn row(name: &str, scenario: &ScenarioSummary) -> Vec<String> {
    let (totals, convergence) = (&scenario.totals, &scenario.convergence_us);
    let quantile = |percent| converged(scenario, convergence.quantile(percent));
    vec![
        name.to_owned(),
        number(scenario.seeds),
        number(scenario.held),
        number(scenario.violated),
        number(scenario.inconclusive),
        number(totals.events()),
        time(totals.virtual_us),
        time(scenario.wall_us),
        quantile(50),
        quantile(99),
        converged(scenario, convergence.max),
        ratio(totals.bytes_sent, totals.bytes_missing),
        ratio(totals.entries, totals.commits),
        conflicts(scenario),
    ]
}

/// Conflicts in the end; `-` if no run came to it, as runs that fail do not.
pub(super) fn conflicts(scenario: &ScenarioSummary) -> String {
    if scenario.held == 0 { "-".to_owned() } else { number(scenario.totals.conflicts) }
}

/// Of the runs that held, a time to converge; `-` if none did.
pub(super) fn converged(scenario: &ScenarioSummary, us: u64) -> String {
    if scenario.convergence_us.count == 0 { "-".to_owned() } else { time(us) }
}

fn attention(name: &str, scenario: &ScenarioSummary, out: &mut String) {
    for seed in scenario.unequal.iter().take(FAILURES_TOLD_MAX) {
        let again = repro(name, scenario, *seed);
        out.push_str(&format!("NOT DETERMINISTIC {name} seed {seed}: two runs differ\n    again:   {again}\n"));
    }
    let alike = alike(&scenario.failures);
    for failures in alike.iter().take(FAILURES_TOLD_MAX) {
        out.push_str(&told(name, scenario, failures));
    }
    let left = alike.len().saturating_sub(FAILURES_TOLD_MAX);
    if left > 0 {
        out.push_str(&format!("VIOLATED {name}: in {left} more ways, in the report\n"));
    }
    if let Some(first) = scenario.undecided.first() {
        let (count, again) = (some(scenario.inconclusive, "seed"), repro(name, scenario, first.seed));
        let reason = clip(first.reason.replace('\n', " "), DETAIL_CHARS_MAX);
        out.push_str(&format!("inconclusive {name}: {count}; the first: {reason}\n    again:   {again}\n"));
    }
    if scenario.left_out > 0 {
        let (left_out, was) =
            (some(scenario.left_out, "random fault"), if scenario.left_out == 1 { "was" } else { "were" });
        out.push_str(&format!("too many {name}: {left_out} {was} drawn and left out\n"));
    }
    if let Some(told) = assertions(scenario) {
        out.push_str(&format!("assertions {name}: evaluated: {told}\n"));
    }
    for warning in of_scenario(name, scenario) {
        out.push_str(&format!("warning {warning}\n"));
    }
    let lines = compare(scenario).0;
    for line in lines.iter().filter(|line| line.skipped.times > 0) {
        let (skipped, planned) = (number(line.skipped.times), some(line.planned.times, "time"));
        let kind = &line.kind;
        out.push_str(&format!("not carried out on this lane {name}: {kind}, {skipped} of {planned} planned\n"));
    }
    for line in lines.iter().filter(|line| line.missed) {
        let planned = some(line.planned.times, "time");
        out.push_str(&format!("never hit {name}: {} was planned {planned} and had no effect\n", line.kind));
    }
}

/// Failures of one oracle at one place together: most likely one defect. By their least seed.
fn alike(failures: &[Failure]) -> Vec<Vec<&Failure>> {
    let mut groups: Vec<Vec<&Failure>> = Vec::new();
    for failure in failures {
        let like = |first: &&Failure| first.oracle == failure.oracle && first.place == failure.place;
        match groups.iter_mut().find(|group| group.first().is_some_and(like)) {
            Some(group) => group.push(failure),
            None => groups.push(vec![failure]),
        }
    }
    groups
}

/// Failures that are alike, with the words of the first.
fn told(name: &str, scenario: &ScenarioSummary, failures: &[&Failure]) -> String {
    let Some(first) = failures.first() else { return String::new() };
    let mut seeds: Vec<String> = failures.iter().take(SEEDS_TOLD_MAX).map(|failure| failure.seed.to_string()).collect();
    if failures.len() > SEEDS_TOLD_MAX {
        seeds.push("…".to_owned());
    }
    let (oracle, at) = (first.oracle.name(), moment(Duration::from_micros(first.at_us)));
    let detail = clip(first.detail.replace('\n', " "), DETAIL_CHARS_MAX);
    let again = repro(name, scenario, first.seed);
    let capsule = first.capsule.as_ref().map_or(String::new(), |path| format!("    capsule: {path}\n"));
    format!(
        "VIOLATED {name}: {oracle}: {} ({}: {})\n    seed {} at {at}: {detail}\n    again:   {again}\n{capsule}",
        first.place,
        some(failures.len() as u64, "seed"),
        seeds.join(", "),
        first.seed,
    )
}

fn effort(summary: &Summary) -> String {
    let sum = |of: fn(&ScenarioSummary) -> u64| summary.scenarios.values().map(of).fold(0, u64::saturating_add);
    let (seeds, events) = (sum(|scenario| scenario.seeds), sum(|scenario| scenario.totals.events()));
    let per_second = |count: u64| number(per_second(count, summary.elapsed_us));
    format!(
        "{}, {}, {} of virtual time in {}: {} seeds/s, {} events/s; {} run twice, {} differed\n",
        some(seeds, "seed"),
        some(events, "event"),
        time(sum(|scenario| scenario.totals.virtual_us)),
        time(summary.elapsed_us),
        per_second(seeds),
        per_second(events),
        some(sum(|scenario| scenario.selftests), "seed"),
        number(sum(|scenario| scenario.unequal.len() as u64)),
    )
}

/// So many in so many microseconds, as a rate per second; 0 if no time went by.
pub(super) fn per_second(count: u64, us: u64) -> u64 {
    count.saturating_mul(1_000_000).checked_div(us).unwrap_or(0)
}

/// Columns side by side: the first to the left, the others to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column| row.get(column).map_or(0, |text: &String| text.chars().count());
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        for (column, (text, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - text.chars().count());
            let parts = if column == 0 { ["", text.as_str(), &padding] } else { ["  ", &padding, text.as_str()] };
            out.push_str(&parts.concat());
        }
        out.push('\n');
    }
    out
}

/// `1 seed`, `2 seeds`.
pub(super) fn some(value: u64, what: &str) -> String {
    format!("{} {what}{}", number(value), if value == 1 { "" } else { "s" })
}

/// A number with its thousands apart, from ten millions on as millions.
pub(super) fn number(value: u64) -> String {
    if value >= 10_000_000 {
        return format!("{}.{} M", value / 1_000_000, value / 100_000 % 10);
    }
    let digits = value.to_string();
    let mut out = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes, in the greatest unit of which there is one; units are thousands.
pub(super) fn bytes(value: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", value / size, value % size * 10 / size),
        None => format!("{value} B"),
    }
}

/// Microseconds, short enough for a column.
pub(super) fn time(us: u64) -> String {
    let rounded = match us {
        0..10_000 => us,
        10_000..1_000_000 => us / 1_000 * 1_000,
        1_000_000..60_000_000 => us / 10_000 * 10_000,
        _ => us,
    };
    span(Duration::from_micros(rounded))
}

/// Two decimals; `-` where there is nothing to divide by.
pub(super) fn ratio(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 100;
    match hundredths.checked_div(u128::from(whole)) {
        Some(value) => format!("{}.{:02}", value / 100, value % 100),
        None => "-".to_owned(),
    }
}
