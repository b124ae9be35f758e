//! A space-time diagram of one run, as one HTML file that needs nothing else: a lane for each node, time going down.
//!
//! This side puts the run into a table of plain data ([`model`]); the script beside it (`assets/`) draws that table.
//! The page loads nothing and works from a `file://` address. It draws only what is in view, so thousands of events
//! stay quick.

mod model;

use std::ops::Range;

use super::html::{embed, escape, page};
use crate::outcome::{Outcome, Verdict};
use crate::plan::Plan;
use crate::trace::What;

pub use model::VERSION;

/// Most events in one page: about 1.5 MB of HTML, and quick to draw. Of more, timers and steps without effect go first;
/// of what remains the nearest to the violation are kept, or, if there is none, the last. The page says how many were
/// left out. Faults and dead processes are shown over the whole run regardless.
pub const DIAGRAM_EVENTS_MAX: usize = 30_000;

const STYLE: &str = include_str!("../assets/diagram.css");
/// In this order: each uses what comes before it.
const SCRIPTS: [&str; 6] = [
    include_str!("../assets/scale.js"),
    include_str!("../assets/data.js"),
    include_str!("../assets/canvas.js"),
    include_str!("../assets/margins.js"),
    include_str!("../assets/list.js"),
    include_str!("../assets/diagram.js"),
];
const BODY: &str = include_str!("../assets/diagram.html");

/// The page of a run with its events; `None` if they were not recorded. O(events).
#[must_use]
pub fn diagram(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let trace = outcome.trace.as_ref()?;
    // Only maps with keys that are no strings could fail, and there are none.
    let data = embed(&model::table(plan, outcome, &trace.events)).ok()?;
    let title = format!("{} · seed {}", plan.scenario, plan.seed);
    let parts = [
        BODY.replace("{{title}}", &escape(&title)).replace("{{verdict}}", &verdict(&outcome.verdict)),
        format!("<script type=\"application/json\" id=\"data\">{data}</script>\n"),
        format!("<script>\n\"use strict\";\n{}</script>\n", SCRIPTS.concat()),
    ];
    Some(page(&title, STYLE, &parts.concat()))
}

/// The verdict in HTML: readable without the script, too.
fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Held => "<p class=\"verdict held\"><b>Held.</b> Every oracle agreed.</p>".to_owned(),
        Verdict::Inconclusive(why) => {
            format!("<p class=\"verdict unsure\"><b>Inconclusive:</b> {}</p>", escape(why))
        }
        Verdict::Violated(violation) => format!(
            "<p class=\"verdict violated\"><a href=\"#violation\" id=\"to-violation\"><b>Violated: {}</b></a> \
             <span class=\"place\">{}</span><br><span class=\"detail\">{}</span></p>",
            violation.oracle.name(),
            escape(&violation.place),
            escape(&violation.detail),
        ),
    }
}

/// Whether nothing came of it: a timer, or a step that committed nothing.
pub(super) const fn is_idle(what: &What) -> bool {
    matches!(what, What::Woke | What::Stepped { committed: false, .. })
}

/// Which of `count` events to keep, at most `limit`: those nearest to `focus`, or the last. O(1).
pub(super) fn window(count: usize, focus: Option<usize>, limit: usize) -> Range<usize> {
    let focus = focus.unwrap_or(count);
    let last_start = count.saturating_sub(limit);
    let start = focus.saturating_sub(limit / 2).min(last_start);
    start..count.min(start + limit)
}
