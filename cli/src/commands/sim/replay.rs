//! `sim replay`.

use std::path::PathBuf;

use serde_json::json;
use tombolo_sim::capsule::minimise::Size;
use tombolo_sim::capsule::{Capsule, Divergence, Replay, Sameness};
use tombolo_sim::outcome::Verdict;
use tombolo_sim::report::words::moment;
use tombolo_sim::trace::Event;

use super::failures::size;
use super::lane::lane;
use crate::args::version;
use crate::error::{CliError, Kind};
use crate::ui::Ui;

const EXAMPLES: &str = "\
Example:
  tombolo sim replay tombolo-sim/capsules/two-shops-17

Exit codes: 0 it holds, 1 it fails (alike or otherwise), 2 inconclusive,
3 two replays were not equal, 64 wrong usage or capsule, 74 it could not do its work.";

/// Carry out the plan of a capsule again, and say whether it still fails and where events differ
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// The directory of the capsule
    #[arg(value_name = "CAPSULE")]
    capsule: PathBuf,
}

pub(super) fn run(ui: &mut Ui, args: &ReplayArgs) -> Result<(), CliError> {
    let capsule = Capsule::read(&args.capsule).map_err(|error| {
        let text = CliError::usage(format!("{} is no capsule that can be replayed", args.capsule.display()));
        text.cause(error)
    })?;
    let header = &capsule.header;
    let (scenario, seed, lane_name) = (&header.scenario, header.seed, header.lane.name());
    ui.note(format!("scenario {scenario}, seed {seed}, lane {lane_name}: {}", size(Size::of(&capsule.plan))));
    if let Some(other) = header.other_version(version()) {
        ui.warn(other);
    }
    let replay = capsule.replay(lane(capsule.header.lane));
    if ui.is_json() {
        ui.json(&document(&capsule, &replay))?;
    } else {
        tell(ui, &capsule, &replay)?;
    }
    verdict(&replay)
}

fn word(sameness: Sameness) -> &'static str {
    match sameness {
        Sameness::FailsAlike => "fails-alike",
        Sameness::FailsOtherwise => "fails-otherwise",
        Sameness::Holds => "holds",
        Sameness::Inconclusive => "inconclusive",
    }
}

fn document(capsule: &Capsule, replay: &Replay) -> serde_json::Value {
    let divergence = replay.divergence.as_ref().map(
        |divergence| json!({ "line": divergence.line, "expected": divergence.expected, "found": divergence.found }),
    );
    json!({
        "capsule": capsule.header,
        "other_version": capsule.header.other_version(version()),
        "result": word(replay.sameness),
        "verdict": replay.outcome.verdict,
        "divergence": divergence,
        "deterministic": replay.deterministic,
    })
}

fn tell(ui: &mut Ui, capsule: &Capsule, replay: &Replay) -> Result<(), CliError> {
    let was = format!("{}: {}", capsule.violation.oracle.name(), capsule.violation.place);
    match (&replay.outcome.verdict, replay.sameness) {
        (Verdict::Violated(now), Sameness::FailsAlike) => {
            ui.line(format!("it fails as it did, at {}: {was}\n  {}", moment(now.at), now.detail))?;
        }
        (Verdict::Violated(now), _) => {
            let (oracle, place) = (now.oracle.name(), &now.place);
            ui.line(format!("it fails otherwise: {oracle}: {place}\n  {}\n  it was: {was}", now.detail))?;
        }
        (Verdict::Held, _) => ui.line(format!("it holds; it was: {was}"))?,
        (Verdict::Inconclusive(why), _) => ui.line(format!("inconclusive: {why}; it was: {was}"))?,
    }
    match &replay.divergence {
        None => ui.line(format!("all {} events are the same", capsule.events.len())),
        Some(Divergence { line, expected, found }) => ui.line(format!(
            "events differ from line {line} of events.jsonl on\n  there: {}\n  now:   {}",
            show(expected.as_ref()),
            show(found.as_ref())
        )),
    }
}

fn show(event: Option<&Event>) -> String {
    event.map_or_else(|| "nothing more".to_owned(), |event| serde_json::to_string(event).unwrap_or_default())
}

fn verdict(replay: &Replay) -> Result<(), CliError> {
    if !replay.deterministic {
        return Err(CliError::new(Kind::NotDeterministic, "two replays of the same plan were not equal"));
    }
    match replay.sameness {
        Sameness::FailsAlike => Err(CliError::new(Kind::Violated, "it still fails")),
        Sameness::FailsOtherwise => Err(CliError::new(Kind::Violated, "it fails, but otherwise")),
        Sameness::Inconclusive => Err(CliError::new(Kind::Inconclusive, "nothing can be said")),
        Sameness::Holds => Ok(()),
    }
}
