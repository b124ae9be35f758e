//! `sim exhaust`.

use std::thread;

use serde_json::json;
use tombolo_sim::crashes::{Report, Workload, Wrong, exhaust, exhaust_errors, exhaust_quotas};

use crate::error::{CliError, Kind};
use crate::human;
use crate::ui::Ui;

const EXAMPLES: &str = "\
Examples:
  tombolo sim exhaust
  tombolo sim exhaust --seed 7 --thorough

Exit codes: 0 everything held, 1 something was violated, 64 wrong usage,
74 it could not do its work.";

/// Crash at every single disk operation of a small workload, and let each one fail once
///
/// Two nodes write, exchange and write again. The power is cut after every write and sync of one of them, and the node
/// is started on what may be left then; each operation fails once; the disk is full at each block.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExhaustArgs {
    /// Where keys and all choices come from
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = seed)]
    seed: u64,
    /// Every operation of every part, four images each, and every repair cut as well: takes an hour
    #[arg(long)]
    thorough: bool,
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

type Part = (&'static str, fn(&Workload) -> Result<Report, Wrong>, Workload);

pub(super) fn run(ui: &mut Ui, args: &ExhaustArgs) -> Result<(), CliError> {
    let thorough = |every, repairs_every, workload: Workload| match args.thorough {
        true => Workload { draws: 4, every: 1, repairs_every: 1, ..workload },
        false => Workload { every, repairs_every, ..workload },
    };
    let seed = args.seed;
    let parts: [Part; 5] = [
        ("power cut, founder of a space", exhaust, thorough(1, 24, Workload::founder(seed))),
        ("power cut, member of a space", exhaust, thorough(1, 0, Workload::member(seed))),
        ("power cut, growing file", exhaust, thorough(7, 0, Workload::growing(seed))),
        ("an operation fails once", exhaust_errors, thorough(1, 0, Workload::founder(seed))),
        ("the disk is full for a while", exhaust_quotas, thorough(2, 0, Workload::founder(seed))),
    ];
    let bar = ui.count_bar(parts.len() as u64, "parts");
    bar.tick();
    let reports: Vec<(&str, Result<Report, Wrong>)> = thread::scope(|scope| {
        let run = |(name, part, workload): &Part| {
            let (name, part, workload, bar) = (*name, *part, workload.clone(), bar.clone());
            let work = move || {
                let report = part(&workload);
                bar.inc(1);
                report
            };
            (name, scope.spawn(work))
        };
        let running: Vec<_> = parts.iter().map(run).collect();
        let panicked = || Err(Wrong { place: "panic", detail: "see above".to_owned() });
        running.into_iter().map(|(name, thread)| (name, thread.join().unwrap_or_else(|_| panicked()))).collect()
    });
    bar.finish_and_clear();
    assert_eq!(reports.len(), parts.len(), "what is told as held was carried out");
    let failed = |report: &Result<Report, Wrong>| report.as_ref().map_or(1, |report| report.failed_points);
    let failed = reports.iter().map(|(_, report)| failed(report)).sum();
    tell(ui, seed, &reports, failed == 0)?;
    match failed {
        0 => Ok(()),
        failed => Err(CliError::new(Kind::Violated, format!("{} failed", human::some(failed, "point")))
            .hint(format!("see it again with `tombolo sim exhaust --seed {seed}`"))),
    }
}

fn tell(ui: &mut Ui, seed: u64, reports: &[(&str, Result<Report, Wrong>)], held: bool) -> Result<(), CliError> {
    if ui.is_json() {
        let parts: Vec<_> = reports.iter().map(|(name, report)| document(name, report)).collect();
        return ui.json(&json!({ "seed": seed, "parts": parts }));
    }
    for (name, report) in reports {
        match report {
            Ok(report) => ui.line(format!("{name}: {report}"))?,
            Err(wrong) => ui.line(format!("{name}: without any trouble: {wrong}"))?,
        }
    }
    // As `sim run` ends.
    ui.line(if held { "held" } else { "VIOLATED" })
}

fn document(name: &str, report: &Result<Report, Wrong>) -> serde_json::Value {
    match report {
        Ok(report) => json!({
            "part": name,
            "operations": report.operations,
            "points": report.points,
            "images": report.images,
            "failed": report.failed_points,
            "failures": report
                .failures
                .iter()
                .map(|(point, wrong)| json!({ "point": point.to_string(), "wrong": wrong.to_string() }))
                .collect::<Vec<_>>(),
        }),
        Err(wrong) => json!({ "part": name, "failed": 1, "wrong": wrong.to_string() }),
    }
}
