//! The scenarios of a command line: names of the library and files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tombolo_sim::campaign::KnownBad;
use tombolo_sim::scenario::{Scenario, did_you_mean, files_of, find, library};

use super::lane::LaneArg;
use super::ls::of_library;
use crate::error::CliError;
use crate::human;
use crate::ui::Ui;

/// A scenario, and where it is from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) scenario: Scenario,
    /// As it was given.
    pub(super) toml: String,
    /// The files that it names: name and text.
    pub(super) files: BTreeMap<String, String>,
    /// How the command line names it.
    pub(super) named: String,
}

impl Source {
    fn of_library(name: &str, toml: &str) -> Result<Self, CliError> {
        let files = files_of(toml).map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Ok(Self { scenario: of_library(name)?, toml: toml.to_owned(), files, named: name.to_owned() })
    }
}

/// Those that are named; none: the whole library, as far as it may run on this lane.
pub(super) fn load(ui: &Ui, named: &[String], lane: LaneArg) -> Result<Vec<Source>, CliError> {
    let mut sources = Vec::new();
    if named.is_empty() {
        for (name, toml) in library() {
            sources.push(Source::of_library(name, toml)?);
        }
        let all = sources.len();
        sources.retain(|source| lane.takes(&source.scenario));
        if sources.len() < all {
            ui.note(format!(
                "not run, as not on the lane {1}: {0} of the library",
                human::some((all - sources.len()) as u64, "scenario"),
                lane.name().name()
            ));
        }
        return Ok(sources);
    }
    let mut names = BTreeSet::new();
    for named in named {
        let source = one(named)?;
        let name = source.scenario.name().to_owned();
        if !lane.takes(&source.scenario) {
            let lane = lane.name().name();
            return Err(CliError::usage(format!("{named} does not run on the lane {lane}"))
                .hint(format!("add \"{lane}\" to its `lanes`, or leave out --lane")));
        }
        let not = source.scenario.not_on_quic();
        if lane == LaneArg::Quic && !not.is_empty() {
            ui.warn(format!("{named}: {} is not carried out on the lane quic", not.join(", ")));
        }
        if !names.insert(name.clone()) {
            return Err(CliError::usage(format!("there are two scenarios `{name}`"))
                .hint("name each scenario once, and give files another `name`: results are told by it"));
        }
        sources.push(source);
    }
    Ok(sources)
}

fn one(named: &str) -> Result<Source, CliError> {
    let is_file = named.ends_with(".toml") || named.contains(['/', '\\']);
    if !is_file {
        let toml = find(named).ok_or_else(|| unknown(named))?;
        return Source::of_library(named, toml);
    }
    let path = Path::new(named);
    let wrong =
        |error: &dyn ToString| CliError::usage(format!("the scenario {named} cannot be run")).cause(error.to_string());
    if !path.is_file() {
        return Err(CliError::usage(format!("there is no file {named}")));
    }
    let loaded = Scenario::load_with_files(path);
    let (scenario, toml, files) = loaded.map_err(|error| {
        let unread = error.problems.iter().all(|problem| problem.place.line() == 0);
        if unread { wrong(&error) } else { wrong(&error).hint("docs/scenarios.md has all keys") }
    })?;
    Ok(Source { scenario, toml, files, named: named.to_owned() })
}

/// There is no such scenario.
pub(super) fn unknown(name: &str) -> CliError {
    let names: Vec<_> = library().iter().map(|(name, _)| *name).collect();
    let meant = did_you_mean(name, names.iter().copied());
    CliError::usage(format!("there is no scenario `{name}`{meant}"))
        .cause(format!("the library has {}", names.join(", ")))
        .hint("a file is named with its ending: `tombolo sim run mine.toml`")
}

/// What came of the known bad seeds that were run: nobody would know otherwise that they were.
pub(super) fn told_of_known_bad(
    known: &KnownBad,
    ran: &BTreeSet<(String, u64)>,
    failed: &BTreeSet<(String, u64)>,
) -> String {
    let pairs = || known.seeds.iter().map(|known| (known.scenario.clone(), known.seed));
    let (run, bad) =
        (pairs().filter(|pair| ran.contains(pair)).count(), pairs().filter(|pair| failed.contains(pair)).count());
    assert!(bad <= run && run <= known.seeds.len(), "seeds that failed were run, and those that ran are known");
    let passed = known.seeds.len() - run;
    let passed = if passed == 0 {
        String::new()
    } else {
        format!("; {passed} passed over: of other scenarios or shards, or not come to")
    };
    let held = if bad == 0 { "held".to_owned() } else { format!("{bad} did not hold") };
    format!("{} first: {held}{passed}", human::some(run as u64, "known bad seed"))
}

/// The known bad seeds; those of scenarios and lanes that are not to be run now are passed over.
pub(super) fn known_bad(path: Option<&Path>, sources: &[Source], lane: LaneArg) -> Result<KnownBad, CliError> {
    let Some(path) = path else { return Ok(KnownBad::default()) };
    let wrong = || CliError::usage("the file of known bad seeds cannot be used");
    let text = std::fs::read_to_string(path).map_err(|error| wrong().cause(format!("{}: {error}", path.display())))?;
    let named = sources.iter().map(|source| source.scenario.name());
    let scenarios = library().iter().map(|(name, _)| *name).chain(named).collect();
    KnownBad::parse(&path.display().to_string(), &text, &scenarios)
        .map(|known| known.on(lane.name()))
        .map_err(|error| wrong().cause(error))
}
