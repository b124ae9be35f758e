//! Readers of single values.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fields::Fields;
use super::tree::{Desk, Kind, Tree};
use crate::plan::Spread;
use crate::scenario::NODES_MAX;
use crate::scenario::model::{Name, Who};
use crate::scenario::nearest::did_you_mean;
use crate::scenario::units::{self, Rate, When};

fn must<T>(tree: &Tree, key: &str, be: &str, desk: &mut Desk<'_>) -> Option<T> {
    desk.wrong(&tree.span, format!("`{key}` must be {be}, not {}", tree.is_a()))
}

/// A text that a unit's reader takes.
fn unit<T>(
    tree: &Tree,
    key: &str,
    be: &str,
    desk: &mut Desk<'_>,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    match &tree.kind {
        Kind::Text(text) => {
            read(text).map_or_else(|message| desk.wrong(&tree.span, format!("`{key}`: {message}")), Some)
        }
        _ => must(tree, key, be, desk),
    }
}

pub(super) fn text(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<String> {
    match &tree.kind {
        Kind::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Kind::Text(_) => desk.wrong(&tree.span, format!("`{key}` is empty")),
        _ => must(tree, key, "a text", desk),
    }
}

pub(super) fn bool(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<bool> {
    match tree.kind {
        Kind::Bool(value) => Some(value),
        _ => must(tree, key, "true or false", desk),
    }
}

pub(super) fn integer(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<i64> {
    match &tree.kind {
        Kind::Number(number) if number.is_i64() => number.as_i64(),
        Kind::Number(number) => {
            desk.wrong(&tree.span, format!("`{key}` must be a whole number of 64 bits, not {number}"))
        }
        _ => must(tree, key, "a whole number", desk),
    }
}

/// 1 to a million.
pub(super) fn count(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<u32> {
    within(tree, key, desk, 1..=1_000_000)
}

/// 1 to as many as there may be nodes.
pub(super) fn nodes(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<u32> {
    within(tree, key, desk, 1..=NODES_MAX as u32)
}

/// 0 to a million.
pub(super) fn weight(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<u32> {
    within(tree, key, desk, 0..=1_000_000)
}

fn within(tree: &Tree, key: &str, desk: &mut Desk<'_>, allowed: RangeInclusive<u32>) -> Option<u32> {
    let number = integer(tree, key, desk)?;
    match u32::try_from(number) {
        Ok(number) if allowed.contains(&number) => Some(number),
        _ => {
            let (least, most) = (allowed.start(), allowed.end());
            desk.wrong(&tree.span, format!("`{key}` must be {least} to {most}, not {number}"))
        }
    }
}

pub(super) fn duration(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Duration> {
    unit(tree, key, "a time such as \"1h30m\"", desk, units::duration)
}

pub(super) fn when(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<When> {
    unit(tree, key, "a time such as \"2h\" or \"2h~10m\"", desk, units::when)
}

pub(super) fn range(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<(When, When)> {
    unit(tree, key, "a range of times such as \"2h..50h\"", desk, units::range)
}

pub(super) fn lengths(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<(Duration, Duration)> {
    unit(tree, key, "a time or a range of times such as \"5s..2m\"", desk, units::lengths)
}

pub(super) fn share(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<u32> {
    unit(tree, key, "a share such as \"1%\"", desk, units::share_ppm)
}

pub(super) fn rate(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Rate> {
    unit(tree, key, "a rate such as \"6/h\"", desk, units::rate)
}

pub(super) fn bytes(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<u64> {
    unit(tree, key, "a size such as \"64 KiB\"", desk, units::bytes)
}

/// Bytes per second; 0 for `unlimited`.
pub(super) fn bandwidth(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<u64> {
    unit(tree, key, "a rate of bytes such as \"64 KB/s\", or \"unlimited\"", desk, |text| match text {
        "unlimited" => Ok(0),
        _ => match units::bytes_per_second(text)? {
            0 => Err("no bytes per second; cut the link instead, or write \"unlimited\"".into()),
            bytes => Ok(bytes),
        },
    })
}

/// A time, or a table of quantiles.
pub(super) fn spread(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Spread> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    if !matches!(tree.kind, Kind::Table(_)) {
        let be = "a time such as \"5ms\", or a table with p50 and, if you like, min, p99 and max";
        return unit(tree, key, be, desk, units::duration).map(|time| Spread::fixed(micros(time)));
    }
    let mut fields = Fields::of(tree, "a table of times", desk)?;
    let p50 = fields.need("p50", duration, desk).map(micros);
    let mut time = |name| fields.read(name, duration, desk).map(micros);
    let (min, p99, max) = (time("min"), time("p99"), time("max"));
    fields.finish(desk);
    let p50 = p50?;
    let p99_us = p99.or(max).unwrap_or(p50);
    let spread = Spread { min_us: min.unwrap_or(p50 / 2), p50_us: p50, p99_us, max_us: max.unwrap_or(p99_us) };
    if spread.min_us <= spread.p50_us && spread.p50_us <= spread.p99_us && spread.p99_us <= spread.max_us {
        return Some(spread);
    }
    desk.wrong(&tree.span, format!("`{key}` must have min ≤ p50 ≤ p99 ≤ max"))
}

/// A time with a sign, or `{ min, max }` of them, in milliseconds.
pub(super) fn clock_offset(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<(i64, i64)> {
    let one = |tree: &Tree, key: &str, desk: &mut Desk<'_>| {
        unit(tree, key, "a time such as \"-5s\", or a table with min and max", desk, units::signed_millis)
    };
    between(tree, key, desk, one)
}

/// Parts per million, or `{ min, max }` of them.
pub(super) fn clock_drift(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<(i32, i32)> {
    let one = |tree: &Tree, key: &str, desk: &mut Desk<'_>| match integer(tree, key, desk)? {
        ppm @ -100_000..=100_000 => i32::try_from(ppm).ok(),
        ppm => desk.wrong(&tree.span, format!("`{key}` must be -100000 to 100000 parts per million, not {ppm}")),
    };
    between(tree, key, desk, one)
}

fn between<T: Copy + Ord>(tree: &Tree, key: &str, desk: &mut Desk<'_>, one: Reader2<T>) -> Option<(T, T)> {
    if !matches!(tree.kind, Kind::Table(_)) {
        return one(tree, key, desk).map(|same| (same, same));
    }
    let mut fields = Fields::of(tree, "a table with min and max", desk)?;
    let (min, max) = (fields.need("min", one, desk), fields.need("max", one, desk));
    fields.finish(desk);
    let (min, max) = (min?, max?);
    if min <= max { Some((min, max)) } else { desk.wrong(&tree.span, format!("`{key}` must have min ≤ max")) }
}

type Reader2<T> = super::fields::Reader<T>;

/// The name of a node, a zone or a space.
pub(super) fn name(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Name> {
    let text = text(tree, key, desk)?;
    Some(Name { text, place: desk.place(&tree.span) })
}

pub(super) fn names(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Vec<Name>> {
    match &tree.kind {
        Kind::List(items) => items.iter().map(|item| name(item, key, desk)).collect(),
        _ => must(tree, key, "a list of names", desk),
    }
}

/// `"*"`, `"any"`, a name or a list of names.
pub(super) fn who(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<Who> {
    match &tree.kind {
        Kind::Text(text) if text == "*" => Some(Who::All),
        Kind::Text(text) if text == "any" => Some(Who::Any),
        Kind::Text(_) => name(tree, key, desk).map(|name| Who::These(vec![name])),
        Kind::List(_) => names(tree, key, desk).map(Who::These),
        _ => must(tree, key, "a name, a list of names, \"*\" or \"any\"", desk),
    }
}

/// One of some words.
pub(super) fn word<T: Copy>(tree: &Tree, key: &str, desk: &mut Desk<'_>, words: &[(&str, T)]) -> Option<T> {
    let said = text(tree, key, desk)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == said) {
        return Some(*value);
    }
    let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let meant = did_you_mean(&said, allowed.iter().copied());
    desk.wrong(&tree.span, format!("`{key}` cannot be `{said}`{meant}; allowed: {}", allowed.join(", ")))
}
