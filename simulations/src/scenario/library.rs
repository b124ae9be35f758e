//! The scenarios that come with the product, and the files they name.

use super::{Scenario, ScenarioError};

/// Name and TOML of a scenario.
pub type Entry = (&'static str, &'static str);

macro_rules! scenarios {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml"))),)*]
    };
}

const LIBRARY: &[Entry] = scenarios![
    "clock-ahead",
    "cloned-node",
    "delete-against-update",
    "ferry",
    "full-disk",
    "hot-document",
    "mass-reconnect",
    "member-gone-bad",
    "one-way",
    "power-loss",
    "reader-only",
    "restored-backup",
    "roaming-phones",
    "rolling-upgrade",
    "rotten-row",
    "satellite",
    "swarm",
    "thin-link",
    "transfers",
    "two-day-outage",
    "two-shops",
    "two-spaces",
];

const FILES: &[Entry] = &[("transfers.ndjson", include_str!("../../scenarios/transfers.ndjson"))];

/// All of them, by name.
#[must_use]
pub const fn library() -> &'static [Entry] {
    LIBRARY
}

/// The TOML of one.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|(known, _)| *known == name).map(|(_, toml)| *toml)
}

/// The files of data that a TOML of the library names.
pub fn files_of(toml: &str) -> impl Iterator<Item = &'static Entry> {
    FILES.iter().filter(move |(name, _)| toml.contains(&format!("file = \"{name}\"")))
}

impl Scenario {
    /// One of the [`library`]; none if there is none of this name.
    ///
    /// # Errors
    /// As [`Scenario::parse`]: never, for what is in the library.
    pub fn of_library(name: &str) -> Option<Result<Self, ScenarioError>> {
        let file = |wanted: &str| {
            let found = FILES.iter().find(|(known, _)| *known == wanted);
            found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| String::from("it is not in the library"))
        };
        find(name).map(|toml| Self::parse(&format!("{name}.toml"), toml, &file))
    }
}
