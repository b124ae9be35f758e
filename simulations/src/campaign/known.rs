//! The file of known bad seeds.
//!
//! ```text
//! # scenario seed   # note
//! swarm 17          # a restored node took its old epoch for its own
//! two-shops 4
//! ```

use std::fmt;

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
    /// What stands behind it; may be empty.
    pub note: String,
    /// Its line, from 1.
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
            "{}:{}: {}; allowed: `SCENARIO SEED # NOTE`, comments and empty lines",
            self.file, self.line, self.reason
        )
    }
}

impl std::error::Error for KnownBadError {}

impl KnownBad {
    /// Reads the text of a file; `is_scenario` says which names there are.
    ///
    /// # Errors
    /// The first line that says no seed, or one of an unknown scenario.
    pub fn parse(file: &str, text: &str, is_scenario: &dyn Fn(&str) -> bool) -> Result<Self, KnownBadError> {
        let mut known = Self::default();
        for (line, content) in (1..).zip(text.lines()) {
            let wrong = |reason: String| KnownBadError { file: file.to_owned(), line, reason };
            if line > LINES_MAX {
                return Err(wrong(format!("more than {LINES_MAX} lines")));
            }
            let (said, note) = content.split_once('#').unwrap_or((content, ""));
            let words: Vec<&str> = said.split_whitespace().collect();
            let (scenario, seed) = match *words.as_slice() {
                [] => continue,
                [scenario, seed] => (scenario, seed),
                _ => return Err(wrong(format!("{} words before the note", words.len()))),
            };
            let seed = seed.parse().map_err(|_| wrong(format!("`{seed}` is no seed: a whole number from 0 on")))?;
            if !is_scenario(scenario) {
                return Err(wrong(format!("there is no scenario `{scenario}`")));
            }
            if !known.has(scenario, seed) {
                known.seeds.push(KnownSeed { scenario: scenario.to_owned(), seed, note: note.trim().to_owned(), line });
            }
        }
        Ok(known)
    }

    /// Whether a seed is among them. O(seeds).
    #[must_use]
    pub fn has(&self, scenario: &str, seed: u64) -> bool {
        self.seeds.iter().any(|known| known.seed == seed && known.scenario == scenario)
    }

    /// What stands behind a seed.
    #[must_use]
    pub fn note(&self, scenario: &str, seed: u64) -> Option<&str> {
        self.seeds
            .iter()
            .find(|known| known.seed == seed && known.scenario == scenario)
            .map(|known| known.note.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_seeds_comments_or_errors() {
        let there = |name: &str| ["swarm", "ferry"].contains(&name);
        let known = KnownBad::parse("bad.txt", "# known\n\nswarm 17 # lost # twice\n ferry\t4\nswarm 17\n", &there)
            .expect("parses");
        assert_eq!(known.seeds.len(), 2);
        assert_eq!(known.note("swarm", 17), Some("lost # twice"));
        assert!(known.has("ferry", 4) && !known.has("ferry", 17));
        for (text, line, part) in [
            ("swarm", 1, "1 words"),
            ("\nswarm x", 2, "`x` is no seed"),
            ("swarm 1\nswam 2", 2, "no scenario `swam`"),
            ("swarm 1 2", 1, "3 words"),
        ] {
            let error = KnownBad::parse("bad.txt", text, &there).expect_err(text);
            assert_eq!(error.line, line);
            let text = error.to_string();
            assert!(text.starts_with(&format!("bad.txt:{line}: ")) && text.contains(part), "{text}");
        }
    }
}
