//! Many runs as numbers, and these in all their forms.

use std::collections::BTreeMap;
use std::time::Duration;

use super::made::{fault, outcome, plan, violation};
use crate::outcome::{Outcome, Verdict};
use crate::plan::Fault;
use crate::report::files::{self, REPORT_HTML, REPORT_JSON, capsule_name, quoted, write_report};
use crate::report::summary::{Histogram, SEEDS_KEPT_MAX, Summary, Worst, annotations, junit, page, text, warnings};

const EVIL: &str = "]]></failure><script>\u{1}\"'&\n::error::x,y%";

fn run(seed: u64, verdict: Verdict) -> Outcome {
    let mut outcome = outcome(verdict, Vec::new());
    let stats = &mut outcome.stats;
    (stats.inputs, stats.commits, stats.entries) = (1_000, 10, 35);
    (stats.bytes_sent, stats.bytes_missing) = (1_500 + seed, 1_000);
    (stats.convergence_us, stats.virtual_us, stats.queue_peak) = (1_000_000 + seed * 10_000, 60_000_000, seed);
    stats.conflicts = seed % 2;
    stats.hit("crash");
    if seed.is_multiple_of(3) {
        stats.hit("a crash in the middle of a commit");
    }
    outcome
}

/// Seeds of "two shops", one in 40 of them failing; and one of each other end.
fn campaign(seeds: impl Iterator<Item = u64>) -> Summary {
    let mut summary = Summary::default();
    let mut planned = plan(&["a", "b"]);
    planned.scenario = "two shops".to_owned();
    let crash = Fault::Crash { node: 0, unsynced: crate::plan::Unsynced::Kept, in_commit: None, in_repair: None };
    planned.faults = vec![
        fault(1, 1, 2, crash.clone()),
        fault(2, 3, 4, crash),
        fault(3, 5, 6, Fault::ClockJump { node: 1, by_ms: 5 }),
    ];
    summary.source("two shops", "scenarios/two shops.toml");
    for seed in seeds {
        summary.planned(&planned);
        let verdict = if seed % 40 == 39 { Verdict::Violated(violation(5, EVIL)) } else { Verdict::Held };
        summary.add("two shops", seed, &run(seed, verdict), Duration::from_millis(5));
        if seed % 40 == 39 {
            summary.capsule("two shops", seed, &format!("out/capsules/{}", capsule_name("two shops", seed)));
        }
        if seed.is_multiple_of(10) {
            summary.selftest("two shops", seed, true);
        }
    }
    summary
}

fn whole() -> Summary {
    let mut summary = campaign(0..200);
    summary.add("ferry", 1, &run(1, Verdict::Held), Duration::from_millis(5));
    summary.add("flapping", 2, &run(2, Verdict::Inconclusive("too many events".to_owned())), Duration::from_millis(5));
    summary.elapsed_us = 2_000_000;
    summary
}

#[test]
fn a_summary_counts_what_came() {
    let summary = whole();
    let shops = &summary.scenarios["two shops"];
    assert_eq!((shops.seeds, shops.held, shops.violated, shops.inconclusive), (200, 195, 5, 0));
    assert_eq!((shops.first_seed, shops.last_seed), (Some(0), Some(199)));
    assert_eq!((shops.totals.inputs, shops.totals.queue_peak, shops.wall_us), (200_000, 199, 1_000_000));
    assert_eq!((shops.planned["crash"].times, shops.planned["crash"].runs), (400, 200));
    assert_eq!((shops.hits["crash"].times, shops.hits["a crash in the middle of a commit"].runs), (200, 67));
    assert_eq!(shops.failures.iter().map(|failure| failure.seed).collect::<Vec<_>>(), [39, 79, 119, 159, 199]);
    assert_eq!((shops.convergence_us.count, shops.slowest), (195, Some((198, 2_980_000))));
    assert_eq!((shops.selftests, shops.conflicted), (20, 95));
    assert_eq!(summary.result(), Worst::Violated);
    assert_eq!(Summary::default().result(), Worst::Inconclusive, "nothing was run");
}

#[test]
fn halves_in_any_order_merge_into_the_whole() {
    let whole = campaign(0..200);
    let (mut odd, even) = (
        campaign((0..200).rev().filter(|seed| seed % 2 == 1)),
        campaign((0..200).filter(|seed: &u64| seed.is_multiple_of(2))),
    );
    odd.merge(&even);
    assert_eq!(odd, whole);
}

#[test]
fn what_is_kept_is_bounded_and_the_rest_is_counted() {
    let mut summary = Summary::default();
    for seed in (0..SEEDS_KEPT_MAX as u64 + 50).rev() {
        summary.add("x", seed, &run(seed, Verdict::Violated(violation(1, &"é".repeat(10_000)))), Duration::ZERO);
    }
    let x = &summary.scenarios["x"];
    assert_eq!((x.failures.len(), x.failures[0].seed, x.violated), (SEEDS_KEPT_MAX, 0, SEEDS_KEPT_MAX as u64 + 50));
    assert!(x.failures.iter().all(|failure| failure.detail.chars().count() <= 2_001));
}

#[test]
fn a_histogram_knows_its_quantiles_to_one_part_in_16() {
    let mut values = Histogram::default();
    (1..=10_000).for_each(|value| values.add(value * 37));
    for percent in [1, 25, 50, 90, 99] {
        let (exact, found) = (percent * 100 * 37, values.quantile(percent));
        assert!(found <= exact && exact - found <= exact / 16, "{percent} %: {found} for {exact}");
    }
    assert_eq!((values.quantile(0), values.quantile(100), values.mean()), (37, 370_000, 185_018));
    assert_eq!(Histogram::default().quantile(50), 0);
    let mut ends = Histogram::default();
    [0, u64::MAX, u64::MAX].into_iter().for_each(|value| ends.add(value));
    assert_eq!((ends.min, ends.quantile(100), ends.sum), (0, u64::MAX, u64::MAX));
}

#[test]
fn json_comes_back_as_it_was() {
    let summary = whole();
    let json = serde_json::to_string(&summary).expect("JSON");
    assert_eq!(serde_json::from_str::<Summary>(&json).expect("a report"), summary);
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["version"], 1);
    assert_eq!(value["scenarios"]["two shops"]["failures"][0]["oracle"], "convergence");
}

#[test]
fn text_is_aligned_and_ends_with_the_result() {
    let text = text(&whole());
    let lines: Vec<&str> = text.lines().collect();
    let widths: Vec<usize> = lines[..4].iter().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0] && *width <= 160), "{text}");
    assert!(
        text.contains("VIOLATED two shops: convergence: views differ (5 seeds: 39, 79, 119, 159, 199)\n"),
        "{text}"
    );
    assert!(text.contains("    seed 39 at 00:00:00.000005: ]]></failure>"), "{text}");
    assert!(text.contains("    again:   tombolo sim run 'scenarios/two shops.toml' --seeds 39\n"), "{text}");
    assert!(text.contains("    capsule: out/capsules/two-shops-39\n"), "{text}");
    assert!(text.contains("never hit two shops: clock was planned 200 times"), "{text}");
    assert!(text.contains("202 seeds, 202,000 events, 3 h 22 min of virtual time in 2 s: 101 seeds/s"), "{text}");
    assert_eq!(lines.last(), Some(&"VIOLATED"));
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn xml_parses_whatever_an_oracle_says() {
    let mut summary = whole();
    summary.source("not run", "");
    summary.selftest("ferry", 1, false);
    let xml = junit(&summary).expect("XML");
    let report = quick_junit::Report::deserialize_from_str(&xml).expect("XML");
    assert_eq!((report.tests, report.failures, report.errors), (4, 1, 2));
    let cases: BTreeMap<&str, _> =
        report.test_suites[0].test_cases.iter().map(|case| (case.name.as_str(), &case.status)).collect();
    let quick_junit::TestCaseStatus::NonSuccess { message, description, ty, .. } = cases["two shops"] else {
        panic!("{:?}", cases["two shops"])
    };
    assert_eq!(message.as_ref().expect("a message").as_str(), "5 of 200 seeds violated: convergence");
    assert_eq!(ty.as_ref().expect("a type").as_str(), "convergence");
    let description = description.as_ref().expect("a text").as_str();
    assert!(description.contains("]]></failure><script>"), "nothing breaks out and nothing is lost");
    assert!(description.contains("again:   tombolo sim run 'scenarios/two shops.toml' --seeds 199"));
    assert!(description.contains("capsule: out/capsules/two-shops-199"));
    assert!(matches!(cases["not run"], quick_junit::TestCaseStatus::Skipped { .. }));
    assert!(xml.contains("1 of 1 seed inconclusive"));
    assert!(xml.contains("not deterministic"));
}

#[test]
fn annotations_are_one_line_each_and_few() {
    let mut summary = whole();
    let lines = annotations(&summary);
    assert_eq!(lines.len(), 6, "five seeds and a warning");
    assert!(lines.iter().all(|line| !line.contains('\n') && line.starts_with("::")), "{lines:?}");
    assert!(
        lines[0].starts_with("::error title=two shops%3A seed 39 violated convergence::views differ: "),
        "{}",
        lines[0]
    );
    assert!(lines[0].contains("%0A::error::x,y%25%0Aagain with: tombolo sim run"), "{}", lines[0]);
    assert!(lines[5].starts_with("::warning title=flapping"));
    summary.merge(&campaign((1_000..2_000).filter(|seed| seed % 40 == 39)));
    assert_eq!(annotations(&summary).iter().filter(|line| line.starts_with("::error")).count(), 10);
    assert_eq!(annotations(&campaign(0..10)), Vec::<String>::new());
}

#[test]
fn the_page_holds_its_text_and_links_its_capsules() {
    let html = page(&whole());
    assert!(html.contains("href=\"capsules/two-shops-39/diagram.html\""));
    assert!(!html.contains("<script"), "charts need no script, and data makes none");
    assert!(html.contains("]]&gt;&lt;/failure&gt;&lt;script&gt;"));
    assert!(html.contains("clock planned") && html.contains("never hit"));
    for tag in ["svg", "figure", "section", "table", "main"] {
        assert_eq!(html.matches(&format!("<{tag}")).count(), html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(html.matches("<svg").count() >= 6, "{}", html.matches("<svg").count());
}

#[test]
fn files_lie_where_they_should() {
    let out = tempfile::tempdir().expect("a directory");
    let summary = whole();
    write_report(out.path(), &summary).expect("written");
    let json = std::fs::read(out.path().join(REPORT_JSON)).expect("there");
    assert_eq!(serde_json::from_slice::<Summary>(&json).expect("a report"), summary);
    let file = out.path().join(REPORT_HTML);
    let failed = write_report(&file, &summary).expect_err("a file is no directory").to_string();
    assert!(failed.contains("report.html"), "{failed}");
    assert_eq!(capsule_name("../two shops/α", 7), "-two-shops---7");
    assert_eq!(files::capsule_dir("out".as_ref(), "ferry", 3), std::path::Path::new("out/capsules/ferry-3"));
    assert_eq!((quoted("a/b.toml"), quoted("it's"), quoted("")), ("a/b.toml".into(), r"'it'\''s'".into(), "''".into()));
}

#[test]
fn what_a_lane_cannot_do_is_no_hit_and_what_was_left_out_is_told() {
    let mut planned = plan(&["a", "b"]);
    planned.scenario = "twins".to_owned();
    planned.faults =
        vec![fault(1, 1, 2, Fault::Clone { node: 0 }), fault(2, 3, 3, Fault::DiskError { node: 0, after: 1 })];
    planned.left_out = 7;
    let run = |hits: &[&str]| {
        let mut outcome = outcome(Verdict::Held, Vec::new());
        hits.iter().for_each(|hit| outcome.stats.hit(hit));
        let mut summary = Summary::default();
        summary.planned(&planned);
        summary.add("twins", 1, &outcome, Duration::ZERO);
        (text(&summary), page(&summary))
    };
    let (said, page) = run(&["skipped clone"]);
    assert!(said.contains("not carried out on this lane twins: clone, 1 of 1 time planned\n"), "{said}");
    assert!(said.contains("never hit twins: disk-error was planned 1 time and"), "{said}");
    assert!(!said.contains("never hit twins: clone"), "{said}");
    assert!(said.contains("too many twins: 7 random faults were drawn and left out\n"), "{said}");
    assert!(page.contains("not carried out on this lane") && !page.contains("skipped"), "a hit on the page");
    let (said, _) = run(&["clone", "a disk error hit"]);
    assert!(!said.contains("not carried out") && !said.contains("never hit"), "{said}");
}

#[test]
fn a_failure_can_be_doubted_and_seeds_can_be_left() {
    let mut summary = Summary::default();
    summary.add("x", 1, &run(1, Verdict::Violated(violation(1, "gone"))), Duration::ZERO);
    summary.add("x", 2, &run(2, Verdict::Held), Duration::ZERO);
    assert_eq!(summary.result(), Worst::Violated);
    summary.doubt("x", 2, "it held");
    assert_eq!(summary.result(), Worst::Violated, "that was no failure");
    summary.doubt("x", 1, "not again");
    let x = &summary.scenarios["x"];
    assert_eq!((x.violated, x.inconclusive, x.held, x.failures.len()), (0, 1, 1, 0));
    assert_eq!((summary.result(), x.undecided[0].reason.as_str()), (Worst::Inconclusive, "not again"));

    let mut summary = Summary::default();
    summary.add("x", 2, &run(2, Verdict::Held), Duration::ZERO);
    assert_eq!(summary.result(), Worst::Held);
    summary.unfinished = 3;
    assert_eq!(summary.result(), Worst::Inconclusive);
    assert!(text(&summary).ends_with("unfinished: the time was up, 3 runs left\ninconclusive\n"), "{}", text(&summary));
}

#[test]
fn what_tests_nothing_is_told() {
    let ended = |seed: u64, evaluated: u64, refused: &[&str]| {
        let mut outcome = run(seed, Verdict::Held);
        outcome.stats.refused = refused.len() as u64;
        outcome.stats.assertions.insert("no room has two guests".to_owned(), evaluated);
        let mut summary = Summary::default();
        summary.add("hotel", seed, &outcome, Duration::ZERO);
        summary.judged("hotel", || refused.iter().map(|line| (*line).to_owned()).collect());
        summary
    };
    let mut summary = ended(0, 0, &["w:1", "w:2"]);
    assert!(warnings(&summary)[1].ends_with("the write at w:1 was refused in the run"), "{:?}", warnings(&summary));
    summary.merge(&Summary::default());
    summary.merge(&ended(1, 0, &["w:3", "w:2"]));
    let told = warnings(&summary);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("`no room has two guests` was never evaluated"), "{told:?}");
    assert!(told[1].ends_with("the write at w:2 was refused in all 2 runs"), "{told:?}");
    let shown = text(&summary);
    assert!(shown.contains("refused\n") && !shown.contains("unanswered"), "{shown}");
    assert!(told.iter().all(|told| shown.contains(told) && page(&summary).contains(told)), "{shown}");
    assert_eq!(annotations(&summary).len(), 2);
    summary.merge(&ended(2, 7, &[]));
    assert_eq!(warnings(&summary), Vec::<String>::new());
    assert!(text(&summary).contains("assertions hotel: evaluated: `no room has two guests` 7 times\n"));
}

#[test]
fn of_runs_that_failed_nothing_is_said_that_nobody_knows() {
    let mut summary = Summary::default();
    summary.add("hotel", 0, &run(0, Verdict::Violated(violation(5, "no"))), Duration::ZERO);
    let xml = junit(&summary).expect("XML");
    assert!(xml.contains("converged in - (half), - (99 of 100)"), "{xml}");
    assert!(text(&summary).lines().nth(1).is_some_and(|row| row.ends_with(" -")), "{}", text(&summary));
}
