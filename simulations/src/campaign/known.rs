//! The file of known bad seeds.
//!
//! ```text
//! # scenario seed [lane]   # note
//! swarm 17                 # a restored node took its old epoch for its own
//! swarm 53 quic            # on this lane only
//! two-shops 4
//! ```

use std::collections::BTreeSet;
use std::fmt;

use crate::capsule::LaneName;
use crate::scenario::did_you_mean;

/// Most lines of the file: all of them run before anything else.
const LINES_MAX: usize = 10_000;

/// Seeds that failed once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownBad {
    /// In the order of the file, each once.
    pub seeds: Vec<KnownSeed>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSeed {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Where it failed; none: it is run on every lane.
    pub lane: Option<LaneName>,
    /// What stands behind it; may be empty.
    pub note: String,
    /// The line of the seed in its file, from 1.
    pub line: usize,
}

/// A line that says no seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBadError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it, and what is allowed.
    pub reason: String,
}

impl fmt::Display for KnownBadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}; allowed: `SCENARIO SEED # NOTE` or `SCENARIO SEED LANE # NOTE` with the lane world or quic, comments and empty lines",
            self.file, self.line, self.reason
        )
    }
}

impl std::error::Error for KnownBadError {}

impl KnownBad {
    /// Reads the text of a file; `scenarios` are the names that there are.
    ///
    /// # Errors
    /// The first line that says no seed, or one of an unknown scenario.
    pub fn parse(file: &str, text: &str, scenarios: &BTreeSet<&str>) -> Result<Self, KnownBadError> {
        let mut known = Self::default();
        for (line, content) in (1..).zip(text.lines()) {
            let wrong = |reason: String| KnownBadError { file: file.to_owned(), line, reason };
            if line > LINES_MAX {
                return Err(wrong(format!("more than {LINES_MAX} lines")));
            }
            let (said, note) = content.split_once('#').unwrap_or((content, ""));
            let words: Vec<&str> = said.split_whitespace().collect();
            let (scenario, seed, lane) = match *words.as_slice() {
                [] => continue,
                [_] => return Err(wrong("the seed is missing".to_owned())),
                [scenario, seed] => (scenario, seed, None),
                [scenario, seed, lane] => (scenario, seed, Some(lane)),
                _ => return Err(wrong(format!("{} words before the note", words.len()))),
            };
            let seed = seed.parse().map_err(|_| wrong(format!("`{seed}` is no seed: a whole number from 0 on")))?;
            if !scenarios.contains(scenario) {
                let meant = did_you_mean(scenario, scenarios.iter().copied());
                let names = scenarios.iter().copied().collect::<Vec<_>>().join(", ");
                return Err(wrong(format!("there is no scenario `{scenario}`{meant}; there are: {names}")));
            }
            let lane = match lane {
                None => None,
                Some("world") => Some(LaneName::World),
                Some("quic") => Some(LaneName::Quic),
                Some(other) => return Err(wrong(format!("there is no lane `{other}`"))),
            };
            let (scenario, note) = (scenario.to_owned(), note.trim().to_owned());
            let said = KnownSeed { scenario, seed, lane, note, line };
            if !known.seeds.iter().any(|known| known.is(&said.scenario, seed) && known.lane == lane) {
                known.seeds.push(said);
            }
        }
        Ok(known)
    }

    /// Those of a lane, each once.
    #[must_use]
    pub fn on(self, lane: LaneName) -> Self {
        let mut here = Self::default();
        for known in self.seeds {
            if known.lane.is_none_or(|of| of == lane) && !here.has(&known.scenario, known.seed) {
                here.seeds.push(known);
            }
        }
        here
    }

    /// Whether a seed is among them. O(seeds).
    #[must_use]
    pub fn has(&self, scenario: &str, seed: u64) -> bool {
        self.seeds.iter().any(|known| known.is(scenario, seed))
    }

    /// What stands behind a seed.
    #[must_use]
    pub fn note(&self, scenario: &str, seed: u64) -> Option<&str> {
        self.seeds.iter().find(|known| known.is(scenario, seed)).map(|known| known.note.as_str())
    }
}

impl KnownSeed {
    fn is(&self, scenario: &str, seed: u64) -> bool {
        self.seed == seed && self.scenario == scenario
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_seeds_comments_or_errors() {
        let there = BTreeSet::from(["swarm", "ferry"]);
        let known = KnownBad::parse("bad.txt", "# known\n\nswarm 17 # lost # twice\n ferry\t4\nswarm 17\n", &there)
            .expect("parses");
        assert_eq!(known.seeds.len(), 2);
        assert_eq!(known.note("swarm", 17), Some("lost # twice"));
        assert!(known.has("ferry", 4) && !known.has("ferry", 17));
        let text = "swarm 17 quic # a\nferry 4 world\nswarm 17\nferry 5 # b\nswarm 17 quic";
        let known = KnownBad::parse("bad.txt", text, &there).expect("parses");
        assert_eq!(known.seeds.len(), 4);
        let on = |lane| known.clone().on(lane).seeds.into_iter().map(|known| known.line).collect::<Vec<_>>();
        assert_eq!((on(LaneName::World), on(LaneName::Quic)), (vec![2, 3, 4], vec![1, 4]));
        for (text, line, part) in [
            ("swarm", 1, "the seed is missing; allowed: "),
            ("\nswarm x", 2, "`x` is no seed"),
            ("swarm 1\nswam 2", 2, "no scenario `swam` (did you mean `swarm`?); there are: ferry, swarm; allowed: "),
            ("swarm 1 moon # far", 1, "no lane `moon`"),
            ("swarm 1 quic 2", 1, "4 words"),
        ] {
            let error = KnownBad::parse("bad.txt", text, &there).expect_err(text);
            assert_eq!(error.line, line);
            let text = error.to_string();
            assert!(text.starts_with(&format!("bad.txt:{line}: ")) && text.contains(part), "{text}");
        }
    }
}
