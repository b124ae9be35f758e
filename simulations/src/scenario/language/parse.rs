//! One statement of a schedule.

use std::time::Duration;

use super::words::Word;
use super::{End, Place, Statement, What};
use crate::plan::Unsynced;
use crate::scenario::model::{Name, Who};
use crate::scenario::nearest::did_you_mean;
use crate::scenario::units::{self, When};

/// Every fault: its word, its options, and how it is written.
pub(in crate::scenario) const VERBS: &[(&str, &[&str], &str)] = &[
    ("heal", &[], "at T heal"),
    ("cut", &["for"], "at T cut A from B, or one way: at T cut A to B"),
    ("isolate", &["for"], "at T isolate A"),
    ("split", &["for"], "at T split 2"),
    ("bridge", &["for"], "at T bridge A"),
    ("ring", &["for"], "at T ring"),
    ("flap", &["for", "down", "up"], "at T..T2 flap A from B down 5m up 1m"),
    ("swizzle", &["for"], "at T swizzle A for 2m"),
    ("clog", &["for"], "at T clog A from B, or one way: at T clog A to B"),
    ("slow", &["for"], "at T slow A from B 20x"),
    ("lossy", &["for"], "at T lossy A from B 10%"),
    ("reset", &[], "at T reset A from B"),
    ("replay", &[], "at T replay A from B"),
    ("mass-reconnect", &[], "at T mass-reconnect"),
    ("half-open", &[], "at T half-open A"),
    ("readdress", &[], "at T readdress A"),
    ("slow-reader", &["for"], "at T slow-reader A 10KB/s"),
    ("crash", &["for", "kept", "lost", "subset", "torn", "in-commit", "in-repair"], "at T crash A for 30s torn"),
    (
        "rolling-restart",
        &["every", "down", "kept", "lost", "subset", "torn"],
        "at T rolling-restart A every 10m down 30s",
    ),
    ("pause", &["for"], "at T pause A for 5m"),
    ("clock", &["for"], "at T clock A +365d for 2h"),
    ("disk-full", &["for"], "at T disk-full A for 10m"),
    ("disk-error", &["after"], "at T disk-error A after 3"),
    ("disk-slow", &["for"], "at T disk-slow A 50x for 10m"),
    ("bit-flips", &["for", "in-rows"], "at T bit-flips A 3 for 1m"),
    ("restore", &["for", "taken"], "at T restore A taken T0 for 1m"),
    ("clone", &["for"], "at T clone A for 1h"),
    ("gone-bad", &["for"], "at T gone-bad A for 1h"),
];

/// What is wrong, and at which byte of the schedule.
pub(super) type Wrong = (usize, String);

struct Cursor<'w, 't> {
    words: &'w [Word<'t>],
    next: usize,
    /// The fault and how it is written, once known.
    verb: &'static str,
    usage: &'static str,
    place: &'w Place,
}

/// What follows the fault itself.
#[derive(Default)]
struct Options {
    lasts: Option<When>,
    every: Option<Duration>,
    down: Option<When>,
    up: Option<When>,
    taken: Option<When>,
    unsynced: Option<Unsynced>,
    in_commit: Option<u32>,
    in_repair: Option<u32>,
    after: Option<u32>,
    in_rows: bool,
}

/// Reads a statement; `place` is where it begins.
pub(super) fn statement(words: &[Word<'_>], place: Place) -> Result<Statement, Wrong> {
    let mut cursor = Cursor { words, next: 0, verb: "", usage: "at T cut A from B", place: &place };
    if cursor.take()?.text != "at" {
        return cursor.wrong_last("a fault begins with `at` and a time");
    }
    let time = cursor.take()?;
    let (begin, mut end) = match time.text.contains("..") {
        true => units::range(time.text).map(|(begin, end)| (begin, Some(End::At(end)))),
        false => {
            units::when(time.text).map(|begin| (begin, None)).map_err(|error| units::dashed(time.text).unwrap_or(error))
        }
    }
    .map_err(|message| (time.at, message))?;
    let verb = cursor.take()?;
    let Some((name, allowed, usage)) = VERBS.iter().find(|(name, ..)| *name == verb.text) else {
        let all: Vec<&str> = VERBS.iter().map(|(name, ..)| *name).collect();
        let meant = did_you_mean(verb.text, all.iter().copied());
        return Err((verb.at, format!("unknown fault `{}`{meant}; allowed: {}", verb.text, all.join(", "))));
    };
    (cursor.verb, cursor.usage) = (name, usage);
    let mut what = cursor.what()?;
    let options = cursor.options(allowed)?;
    if let Some(lasts) = options.lasts {
        match end {
            Some(_) => return Err((time.at, format!("`{name}` has two ends: `{}` and `for`", time.text))),
            None => end = Some(End::For(lasts)),
        }
    }
    apply(&mut what, &options).map_err(|missing| (verb.at, format!("`{name}` needs `{missing}`; write: {usage}")))?;
    let end = match (end, what.ending()) {
        (Some(_), Ending::Once) => {
            return Err((time.at, format!("`{name}` happens at once and has no end; write: {usage}")));
        }
        (None, Ending::Once) => End::Once,
        (None, Ending::Open) => End::Open,
        (None, Ending::Needed) => {
            return Err((verb.at, format!("`{name}` needs an end: `for` and a time, or `at T..T2`; write: {usage}")));
        }
        (Some(end), Ending::Open | Ending::Needed) => end,
    };
    Ok(Statement { place, begin, end, what })
}

/// Puts options where they belong; the name of one that is missing.
fn apply(what: &mut What, options: &Options) -> Result<(), &'static str> {
    match what {
        What::Flap { down, up, .. } => {
            *down = options.down.ok_or("down")?;
            *up = options.up.ok_or("up")?;
        }
        What::Crash { unsynced, in_commit, in_repair, .. } => {
            (*unsynced, *in_commit, *in_repair) = (options.unsynced, options.in_commit, options.in_repair);
        }
        What::RollingRestart { every, down, unsynced, .. } => {
            *every = options.every.ok_or("every")?;
            *down = options.down.ok_or("down")?;
            *unsynced = options.unsynced;
        }
        What::DiskError { after, .. } => *after = options.after.unwrap_or(0),
        What::BitFlips { in_rows, .. } => *in_rows = options.in_rows,
        What::Restore { taken, .. } => *taken = options.taken.ok_or("taken")?,
        _ => {}
    }
    Ok(())
}

/// What is known of a fault's end.
enum Ending {
    /// The fault has no end.
    Once,
    /// `heal` ends it, or the scenario.
    Open,
    /// An end must be said.
    Needed,
}

impl What {
    const fn ending(&self) -> Ending {
        match self {
            Self::Heal
            | Self::Reset { .. }
            | Self::Replay { .. }
            | Self::MassReconnect
            | Self::HalfOpen(_)
            | Self::Readdress(_)
            | Self::RollingRestart { .. }
            | Self::DiskError { .. } => Ending::Once,
            Self::Cut { .. }
            | Self::Isolate(_)
            | Self::Split(_)
            | Self::Bridge(_)
            | Self::Ring
            | Self::Clog { .. }
            | Self::Slow { .. }
            | Self::Lossy { .. }
            | Self::SlowReader { .. } => Ending::Open,
            _ => Ending::Needed,
        }
    }
}

impl<'t> Cursor<'_, 't> {
    fn take(&mut self) -> Result<Word<'t>, Wrong> {
        let word = self.words.get(self.next).copied();
        self.next += 1;
        word.ok_or_else(|| (self.end(), format!("the fault ends too early; write: {}", self.usage)))
    }

    /// Where the statement ends.
    fn end(&self) -> usize {
        self.words.last().map_or(0, |last| last.at + last.text.len())
    }

    fn wrong_last<T>(&self, message: &str) -> Result<T, Wrong> {
        let at = self.words.get(self.next.saturating_sub(1)).map_or_else(|| self.end(), |word| word.at);
        Err((at, format!("{message}; write: {}", self.usage)))
    }

    /// The next word as a reader takes it.
    fn value<T>(&mut self, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Wrong> {
        let word = self.take()?;
        read(word.text).map_err(|message| (word.at, message))
    }

    fn who(&mut self) -> Result<Who, Wrong> {
        let mut names: Vec<Name> = Vec::new();
        let first = self.next;
        loop {
            let word = self.take()?;
            match word.text {
                "*" | "any" if self.next - 1 == first && !self.comma() => {
                    return Ok(if word.text == "*" { Who::All } else { Who::Any });
                }
                "*" | "any" => return self.wrong_last("`*` and `any` stand alone"),
                "," | "from" | "to" | "for" | "at" => return self.wrong_last("a name of a node or zone is missing"),
                name => names.push(Name { text: name.to_owned(), place: self.place_of(word) }),
            }
            if !self.comma() {
                return Ok(Who::These(names));
            }
            self.next += 1;
        }
    }

    fn comma(&self) -> bool {
        self.words.get(self.next).is_some_and(|word| word.text == ",")
    }

    /// Words of a statement stand in one line.
    fn place_of(&self, word: Word<'_>) -> Place {
        self.place.right_of(word.at - self.words.first().map_or(0, |first| first.at))
    }

    /// `A from B`, or `A to B` if it may be one way.
    fn sides(&mut self, may_be_one_way: bool) -> Result<(Who, Who, bool), Wrong> {
        let a = self.who()?;
        self.next += 1;
        let one_way = match self.words.get(self.next - 1).map_or("", |word| word.text) {
            "from" => false,
            "to" if may_be_one_way => true,
            _ if may_be_one_way => return self.wrong_last("`from` or `to` is missing"),
            _ => return self.wrong_last("`from` is missing"),
        };
        Ok((a, self.who()?, one_way))
    }

    fn what(&mut self) -> Result<What, Wrong> {
        let zero = When::default();
        Ok(match self.verb {
            "heal" => What::Heal,
            "cut" => self.sides(true).map(|(a, b, one_way)| What::Cut { a, b, one_way })?,
            "isolate" => What::Isolate(self.who()?),
            "split" => What::Split(self.value(|text| match text.parse() {
                Ok(parts @ 2..=16) => Ok(parts),
                _ => Err(format!("`{text}` is not a number of parts from 2 to 16")),
            })?),
            "bridge" => What::Bridge(self.who()?),
            "ring" => What::Ring,
            "flap" => self.sides(false).map(|(a, b, _)| What::Flap { a, b, down: zero, up: zero })?,
            "swizzle" => What::Swizzle(self.who()?),
            "clog" => self.sides(true).map(|(a, b, one_way)| What::Clog { a, b, one_way })?,
            "slow" => {
                let (a, b, _) = self.sides(false)?;
                What::Slow { a, b, factor: self.value(factor)? }
            }
            "lossy" => {
                let (a, b, _) = self.sides(false)?;
                What::Lossy { a, b, loss_ppm: self.value(units::share_ppm)? }
            }
            "reset" => self.sides(false).map(|(a, b, _)| What::Reset { a, b })?,
            "replay" => self.sides(false).map(|(a, b, _)| What::Replay { a, b })?,
            "mass-reconnect" => What::MassReconnect,
            _ => self.at_nodes()?,
        })
    }

    /// Faults of nodes: all begin with who.
    fn at_nodes(&mut self) -> Result<What, Wrong> {
        let who = self.who()?;
        let zero = When::default();
        Ok(match self.verb {
            "half-open" => What::HalfOpen(who),
            "readdress" => What::Readdress(who),
            "slow-reader" => What::SlowReader { who, bytes_per_second: self.value(units::bytes_per_second)? },
            "crash" => What::Crash { who, unsynced: None, in_commit: None, in_repair: None },
            "rolling-restart" => What::RollingRestart { who, every: Duration::ZERO, down: zero, unsynced: None },
            "pause" => What::Pause(who),
            "clock" => What::Clock { who, by_ms: self.value(units::signed_millis)? },
            "disk-full" => What::DiskFull(who),
            "disk-error" => What::DiskError { who, after: 0 },
            "disk-slow" => What::DiskSlow { who, factor: self.value(factor)? },
            "bit-flips" => What::BitFlips { who, count: self.value(number)?, in_rows: false },
            "restore" => What::Restore { who, taken: zero },
            "gone-bad" => What::GoneBad(who),
            _ => What::Clone(who),
        })
    }

    fn options(&mut self, allowed: &[&str]) -> Result<Options, Wrong> {
        let mut options = Options::default();
        while self.next < self.words.len() {
            let word = self.take()?;
            if !allowed.contains(&word.text) {
                let meant = did_you_mean(word.text, allowed.iter().copied());
                let allowed = if allowed.is_empty() { "nothing".into() } else { allowed.join(", ") };
                let message = format!("`{}` does not take `{}` here{meant}; allowed: {allowed}", self.verb, word.text);
                return Err((word.at, format!("{message}; write: {}", self.usage)));
            }
            match word.text {
                "for" => options.lasts = Some(self.length()?),
                "every" => options.every = Some(self.value(units::duration)?),
                "down" => options.down = Some(self.length()?),
                "up" => options.up = Some(self.length()?),
                "taken" => options.taken = Some(self.value(units::when)?),
                "in-commit" => options.in_commit = Some(self.value(number)?),
                "in-repair" => options.in_repair = Some(self.value(number)?),
                "after" => options.after = Some(self.value(number)?),
                "in-rows" => options.in_rows = true,
                "kept" => options.unsynced = Some(Unsynced::Kept),
                "lost" => options.unsynced = Some(Unsynced::Lost),
                "subset" => options.unsynced = Some(Unsynced::Subset),
                _ => options.unsynced = Some(Unsynced::Torn),
            }
        }
        Ok(options)
    }

    /// A time that is not nothing.
    fn length(&mut self) -> Result<When, Wrong> {
        self.value(|text| match units::when(text)? {
            When { base: Duration::ZERO, .. } => Err(format!("`{text}` is no time at all")),
            when => Ok(when),
        })
    }
}

fn factor(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a factor from 2x to 1000000x");
    let factor = text.strip_suffix('x').and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    if (2..=1_000_000).contains(&factor) { Ok(factor) } else { Err(wrong()) }
}

fn number(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number <= 1_000_000);
    number.ok_or_else(|| format!("`{text}` is not a whole number up to 1000000"))
}
