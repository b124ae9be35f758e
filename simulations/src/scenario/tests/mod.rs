//! The library, plans, and what is said of bad input.

mod docs;
mod errors;
mod plans;

use super::*;

/// Reads a scenario that names no files.
fn read(toml: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse("test.toml", toml, &|_| Err("no such file".into()))
}

/// A scenario that is fine, and a piece of TOML after its head.
fn with(piece: &str) -> String {
    format!(
        "name = \"t\"\ntitle = \"T\"\nabout = \"A\"\nduration = \"1h\"\n{piece}\n[nodes]\nnames = [\"berlin\", \"rome\", \"oslo\"]\n"
    )
}
