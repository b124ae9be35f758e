//! The report as one HTML page with charts, which needs nothing else.

use super::charts::{Bar, bars, distribution};
use super::hits::{Line, compare, together};
use super::text::{bytes, conflicts, converged, number, per_second, ratio, some, time};
use super::warnings::{assertions, of_scenario};
use super::{Count, ScenarioSummary, Summary, Worst, repro};
use crate::report::files::{CAPSULES, DIAGRAM_HTML, capsule_name};
use crate::report::html::{self, escape};

const STYLE: &str = include_str!("../assets/report.css");

/// The page. Links to capsules are relative: it lies beside their directory, as in [`crate::report::files`].
#[must_use]
pub fn page(summary: &Summary) -> String {
    let (class, result) = match summary.result() {
        Worst::Held => ("held", "Held"),
        Worst::Violated => ("violated", "Violated"),
        Worst::Inconclusive => ("unsure", "Inconclusive"),
        Worst::NotDeterministic => ("violated", "Not deterministic: the simulator itself is at fault"),
    };
    let mut body = format!(
        "<header><h1>Simulation report</h1><p class=\"verdict {class}\"><b>{result}</b></p></header>\n<main>\n"
    );
    body.push_str(&cards(summary));
    body.push_str(&failures(summary));
    body.push_str(&scenarios(summary));
    body.push_str(&overview(summary));
    for (name, scenario) in &summary.scenarios {
        body.push_str(&details(name, scenario));
    }
    body.push_str(&format!(
        "</main>\n<footer>tombolo {}, report version {}</footer>\n",
        escape(&summary.tombolo),
        summary.version
    ));
    html::page("Simulation report", STYLE, &body)
}

fn cards(summary: &Summary) -> String {
    let sum = |of: fn(&ScenarioSummary) -> u64| summary.scenarios.values().map(of).fold(0, u64::saturating_add);
    let (seeds, events) = (sum(|scenario| scenario.seeds), sum(|scenario| scenario.totals.events()));
    let (entries, commits) = (sum(|scenario| scenario.totals.entries), sum(|scenario| scenario.totals.commits));
    let cards = [
        ("seeds", number(seeds)),
        ("violated", number(sum(|scenario| scenario.violated))),
        ("inconclusive", number(sum(|scenario| scenario.inconclusive))),
        ("events", number(events)),
        ("of virtual time", time(sum(|scenario| scenario.totals.virtual_us))),
        ("of the machine", time(summary.elapsed_us)),
        ("events per second", number(per_second(events, summary.elapsed_us))),
        ("entries per commit", ratio(entries, commits)),
        ("seeds run twice", number(sum(|scenario| scenario.selftests))),
        ("of them differed", number(sum(|scenario| scenario.unequal.len() as u64))),
    ];
    let card = |(name, value): (&str, String)| format!("<li><b>{}</b> {name}</li>", escape(&value));
    format!("<ul class=\"cards\">{}</ul>\n", cards.into_iter().map(card).collect::<String>())
}

/// Seeds that need attention, of all scenarios.
fn failures(summary: &Summary) -> String {
    let mut rows = String::new();
    for (name, scenario) in &summary.scenarios {
        let mut row = |seed: u64, what: &str, detail: &str, link: &str| {
            rows.push_str(&format!(
                "<tr><td>{}</td><td class=\"n\">{seed}</td><td>{}</td><td class=\"detail\">{}</td><td><code>{}</code></td><td>{link}</td></tr>\n",
                escape(name),
                escape(what),
                escape(detail),
                escape(&repro(name, scenario, seed)),
            ));
        };
        for seed in &scenario.unequal {
            row(*seed, "not deterministic", "two runs of this seed differ", "");
        }
        for failure in &scenario.failures {
            let directory = capsule_name(name, failure.seed);
            let link = format!(
                "<a href=\"{CAPSULES}/{directory}/{DIAGRAM_HTML}\">diagram</a> · <a href=\"{CAPSULES}/{directory}/\">capsule</a>"
            );
            let what = format!("{}: {}", failure.oracle.name(), failure.place);
            row(failure.seed, &what, &failure.detail, if failure.capsule.is_some() { &link } else { "" });
        }
        for undecided in &scenario.undecided {
            row(undecided.seed, "inconclusive", &undecided.reason, "");
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<section><h2>Seeds that need attention</h2><div class=\"wide\"><table><thead><tr><th>scenario</th><th>seed</th><th>what</th>\
         <th>in words</th><th>again</th><th>capsule</th></tr></thead><tbody>\n{rows}</tbody></table></div></section>\n"
    )
}

fn scenarios(summary: &Summary) -> String {
    let mut rows = String::new();
    for (name, scenario) in &summary.scenarios {
        let (totals, convergence) = (&scenario.totals, &scenario.convergence_us);
        let numbers = [
            number(scenario.seeds),
            number(scenario.held),
            number(scenario.violated),
            number(scenario.inconclusive),
            number(totals.events()),
            time(totals.virtual_us),
            time(scenario.wall_us),
            number(totals.writes),
            number(totals.refused),
            conflicts(scenario),
            converged(scenario, convergence.quantile(50)),
            converged(scenario, convergence.quantile(99)),
            converged(scenario, convergence.max),
            ratio(totals.bytes_sent, totals.bytes_missing),
            ratio(totals.entries, totals.commits),
        ];
        let cells: String = numbers.iter().map(|number| format!("<td class=\"n\">{number}</td>")).collect();
        let class = if scenario.result() == Worst::Held { "" } else { " class=\"bad\"" };
        rows.push_str(&format!("<tr{class}><td><a href=\"#{0}\">{0}</a></td>{cells}</tr>\n", escape(name)));
    }
    let heads = [
        "seeds",
        "held",
        "violated",
        "unsure",
        "events",
        "virtual",
        "wall",
        "writes",
        "refused",
        "conflicts",
        "converged ½",
        "99 %",
        "most",
        "sent/missing",
        "batch",
    ];
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    format!(
        "<section><h2>Scenarios</h2><div class=\"wide\"><table><thead><tr><th>scenario</th>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div></section>\n"
    )
}

fn overview(summary: &Summary) -> String {
    let bar = |(name, scenario): (&String, &ScenarioSummary)| {
        let totals = &scenario.totals;
        let value = totals.bytes_sent.saturating_mul(100).checked_div(totals.bytes_missing)?;
        Some(Bar { name: name.clone(), value, told: ratio(totals.bytes_sent, totals.bytes_missing), class: "" })
    };
    let traffic: Vec<Bar> = summary.scenarios.iter().filter_map(bar).collect();
    let (lines, others) = compare(&together(summary));
    let runs = summary.scenarios.values().map(|scenario| scenario.seeds).sum();
    format!(
        "<section><h2>All scenarios</h2><div class=\"charts\">{}{}</div></section>\n",
        faults(&lines, &others, runs),
        bars("Bytes sent for each byte that was missing", &traffic),
    )
}

/// In how many runs each kind of fault was planned, and in how many it did what.
fn faults(lines: &[Line], others: &[(String, Count)], runs: u64) -> String {
    let told = |count: &Count| match count.times {
        times if times == count.runs => some(count.runs, "run"),
        times => format!("{}, {}", some(count.runs, "run"), some(times, "time")),
    };
    let mut rows = Vec::new();
    for line in lines {
        let never = match line.skipped.times {
            0 if line.missed => ", never hit",
            0 => "",
            _ => ", not carried out on this lane",
        };
        let class = if line.missed || line.skipped.times > 0 { "missed" } else { "planned" };
        rows.push(Bar {
            name: format!("{} planned", line.kind),
            value: line.planned.runs,
            told: told(&line.planned) + never,
            class,
        });
        let hit = |(what, count): &(String, Count)| Bar {
            name: what.clone(),
            value: count.runs,
            told: told(count),
            class: "hit",
        };
        rows.extend(line.hits.iter().map(hit));
    }
    rows.extend(others.iter().map(|(what, count)| Bar {
        name: what.clone(),
        value: count.runs,
        told: told(count),
        class: "hit",
    }));
    bars(&format!("Faults planned and what really hit, of {}", some(runs, "run")), &rows)
}

fn details(name: &str, scenario: &ScenarioSummary) -> String {
    let (lines, others) = compare(scenario);
    let totals = &scenario.totals;
    let seeds = match (scenario.first_seed, scenario.last_seed) {
        (Some(first), Some(last)) => format!("seeds {first} to {last}"),
        _ => "no seed was run".to_owned(),
    };
    let slowest = scenario.slowest.map_or(String::new(), |(seed, us)| {
        format!(
            "; slowest to converge: seed {seed}, {}: <code>{}</code>",
            time(us),
            escape(&repro(name, scenario, seed))
        )
    });
    let bytes = format!(
        "{} sent, {} of it entries, {} were missing; {}; {} ended in conflict; at most {} waited on one connection",
        bytes(totals.bytes_sent),
        bytes(totals.bytes_transferred),
        bytes(totals.bytes_missing),
        some(totals.connections, "connection"),
        some(scenario.conflicted, "run"),
        bytes(totals.queue_peak),
    );
    let assertions = assertions(scenario).map_or(String::new(), |told| format!("Assertions evaluated: {told}."));
    let warnings: String =
        of_scenario(name, scenario).iter().map(|told| format!(" <b>{}.</b>", escape(told))).collect();
    let checked = format!("<p>{}{warnings}</p>", escape(&assertions));
    format!(
        "<section id=\"{0}\"><h2>{0}</h2><p>{seeds}{slowest}</p><p>{bytes}</p>{checked}<div class=\"charts\">{1}{2}{3}</div></section>\n",
        escape(name),
        distribution("Time to converge, of the runs that held", &scenario.convergence_us, time),
        distribution("Bytes sent for each byte missing", &scenario.traffic_percent, |percent| ratio(percent, 100)),
        faults(&lines, &others, scenario.seeds),
    )
}
