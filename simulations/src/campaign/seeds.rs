//! Which seeds: ranges, and a share of them.

use std::fmt;
use std::str::FromStr;

/// Most ranges in a list of them.
const RANGES_MAX: usize = 1_000;
/// What may be written.
const ALLOWED: &str = "allowed: a seed (`7`), a range without its end (`0..2000`), with it (`0..=1999`), without end (`500..`), \
                       several with commas (`7,100..200`)";

/// Ascending, disjoint ranges of seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Vec<Span>);

/// From one seed to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    first: u64,
    last: u64,
}

/// A text that says no seeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {reason}; {ALLOWED}")]
pub struct SeedsError {
    /// The part that is wrong.
    pub text: String,
    /// Why.
    pub reason: &'static str,
}

impl Seeds {
    /// One seed alone.
    #[must_use]
    pub fn one(seed: u64) -> Self {
        Self(vec![Span { first: seed, last: seed }])
    }

    /// This one and all that follow.
    #[must_use]
    pub fn from(first: u64) -> Self {
        Self(vec![Span { first, last: u64::MAX }])
    }

    /// The seeds, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|span| span.first..=span.last)
    }

    /// Whether a seed is among them. O(ranges).
    #[must_use]
    pub fn has(&self, seed: u64) -> bool {
        self.0.iter().any(|span| (span.first..=span.last).contains(&seed))
    }

    /// How many; none if they go on to the last number there is.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        let endless = self.0.last().is_some_and(|span| span.last == u64::MAX);
        if endless { None } else { Some(self.0.iter().map(|span| span.last - span.first + 1).sum()) }
    }

    fn of(mut spans: Vec<Span>) -> Self {
        spans.sort_unstable();
        let mut joined: Vec<Span> = Vec::new();
        for span in spans {
            match joined.last_mut() {
                Some(before) if span.first <= before.last.saturating_add(1) => before.last = before.last.max(span.last),
                _ => joined.push(span),
            }
        }
        let apart = |pair: &[Span]| matches!(pair, [one, next] if one.last < next.first);
        debug_assert!(joined.windows(2).all(apart), "ranges ascend, and none touches another");
        Self(joined)
    }
}

impl FromStr for Seeds {
    type Err = SeedsError;

    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let parts: Vec<&str> = text.split(',').collect();
        if parts.len() > RANGES_MAX {
            return Err(SeedsError { text: format!("{} ranges", parts.len()), reason: "there may be 1,000" });
        }
        parts.into_iter().map(|part| span(part.trim())).collect::<Result<_, _>>().map(Self::of)
    }
}

fn span(text: &str) -> Result<Span, SeedsError> {
    let wrong = |reason| SeedsError { text: text.to_owned(), reason };
    let number = |part: &str| part.parse().map_err(|_| wrong("not a whole number from 0 to 18446744073709551615"));
    let Some((first, last)) = text.split_once("..") else {
        let seed = number(text)?;
        return Ok(Span { first: seed, last: seed });
    };
    let first: u64 = number(first)?;
    let last = match (last, last.strip_prefix('=')) {
        ("", _) => u64::MAX,
        (_, Some(last)) => number(last)?,
        (end, None) => number(end)?.checked_sub(1).ok_or_else(|| wrong("the range is empty"))?,
    };
    if first > last {
        return Err(wrong("the range is empty: it ends before it begins"));
    }
    Ok(Span { first, last })
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, span) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match span.last {
                u64::MAX => write!(f, "{comma}{}..", span.first)?,
                last if last == span.first => write!(f, "{comma}{last}")?,
                last => write!(f, "{comma}{}..{}", span.first, last + 1)?,
            }
        }
        Ok(())
    }
}

/// The kth of n parts: seeds with `seed % n == k - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    part: u64,
    of: u64,
}

/// A text that says no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no part; allowed: K/N with 1 ≤ K ≤ N, as in 3/8")]
pub struct ShardError(String);

impl Shard {
    /// The share that is everything.
    pub const ALL: Self = Self { part: 1, of: 1 };

    /// Whether a seed belongs to it.
    #[must_use]
    pub const fn has(self, seed: u64) -> bool {
        assert!(self.part >= 1 && self.part <= self.of, "a part is one of the parts");
        seed % self.of == self.part - 1
    }

    /// How many of these seeds belong to it; none if they have no end. O(ranges).
    #[must_use]
    pub fn count(self, seeds: &Seeds) -> Option<u64> {
        seeds.count()?;
        // Seeds below `end` that belong to it.
        let below = |end: u64| (end + self.of - self.part) / self.of;
        let count = seeds.0.iter().map(|span| below(span.last + 1) - below(span.first)).sum();
        assert!(seeds.count().is_some_and(|all| count <= all), "a part is not more than all");
        Some(count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let wrong = || ShardError(text.to_owned());
        let (part, of) = text.split_once('/').ok_or_else(wrong)?;
        let number = |part: &str| part.parse::<u32>().map(u64::from).map_err(|_| wrong());
        let shard = Self { part: number(part)?, of: number(of)? };
        if shard.part == 0 || shard.part > shard.of { Err(wrong()) } else { Ok(shard) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(text: &str) -> Result<Vec<u64>, String> {
        text.parse::<Seeds>().map(|seeds| seeds.iter().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn ranges_are_read_joined_and_shown() {
        assert_eq!(seeds("3"), Ok(vec![3]));
        assert_eq!(seeds("2..5,9..=10, 4..6"), Ok(vec![2, 3, 4, 5, 9, 10]));
        let joined: Seeds = "2..5,5,7".parse().expect("seeds");
        assert_eq!(joined.to_string(), "2..6,7");
        let endless: Seeds = "5..".parse().expect("seeds");
        assert_eq!((endless.count(), endless.iter().nth(2), endless.to_string()), (None, Some(7), "5..".to_owned()));
        for text in ["", "x", "5..5", "5..4", "0..0", "-1", "1..2..3", "1,,2", "18446744073709551616"] {
            let error = seeds(text).expect_err(text);
            assert!(error.contains("allowed: "), "{error}");
        }
    }

    #[test]
    fn shards_part_the_seeds() {
        let all: Seeds = "3..40,50,60..=67".parse().expect("seeds");
        let mut met = Vec::new();
        for part in 1..=8 {
            let shard: Shard = format!("{part}/8").parse().expect("a shard");
            let here: Vec<u64> = all.iter().filter(|seed| shard.has(*seed)).collect();
            assert_eq!(shard.count(&all), Some(here.len() as u64), "{shard}");
            met.extend(here);
        }
        met.sort_unstable();
        assert_eq!(met, all.iter().collect::<Vec<_>>());
        for text in ["", "3", "0/8", "9/8", "1/0", "a/b", "1/8/2", "-1/8"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
