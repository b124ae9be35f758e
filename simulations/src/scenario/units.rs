//! Times, shares, sizes and rates as people write them.
//!
//! Each reader takes the whole text or says what is wrong with it and what is allowed; none guesses.

use std::time::Duration;

/// The longest time a scenario may name: 100 years.
const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A moment or a length that may differ per seed: from `base` to `base + spread`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// The least.
    pub base: Duration,
    /// How much more it may be, drawn per seed.
    pub spread: Duration,
}

impl When {
    /// A value that is equal in every seed.
    #[must_use]
    pub const fn exactly(base: Duration) -> Self {
        Self { base, spread: Duration::ZERO }
    }

    /// The most it can be.
    #[must_use]
    pub fn latest(&self) -> Duration {
        self.base.saturating_add(self.spread)
    }
}

impl From<Duration> for When {
    fn from(base: Duration) -> Self {
        Self::exactly(base)
    }
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

impl Rate {
    /// The mean time between two; nothing for a rate of 0.
    #[must_use]
    pub fn gap(&self) -> Option<Duration> {
        self.per.checked_div(self.count)
    }
}

/// Splits `12ms…` into 12, `ms` and the rest.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    Some((number.parse().ok()?, unit, rest))
}

/// `90s`, `1h30m`, `250ms`, `0s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is not a time; write whole numbers with us, ms, s, m, h or d, such as 250ms, 90s, 1h30m or 2d"
        )
    };
    let (mut rest, mut total) = (text, Duration::ZERO);
    loop {
        let (number, unit, after) = number_and_unit(rest).ok_or_else(wrong)?;
        let micros = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(micros).map(Duration::from_micros);
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= TIME_MAX)
            .ok_or_else(|| format!("`{text}` is too long; a time is at most 36500d"))?;
        rest = after;
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

/// `+5m`, `-90s`, `365d`: milliseconds.
pub(super) fn signed_millis(text: &str) -> Result<i64, String> {
    let (sign, rest) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let time =
        duration(rest).map_err(|_| format!("`{text}` is not a time with a sign; write such as +5m, -90s or +365d"))?;
    if time.subsec_micros() % 1_000 != 0 {
        return Err(format!("`{text}` is finer than a clock's millisecond"));
    }
    Ok(sign * i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// `2h`, or `2h~10m`: from 2h to 2h10m, drawn per seed.
pub(super) fn when(text: &str) -> Result<When, String> {
    let (base, spread) = text.split_once('~').unwrap_or((text, "0s"));
    Ok(When { base: duration(base.trim())?, spread: duration(spread.trim())? })
}

/// `2h..50h`.
pub(super) fn range(text: &str) -> Result<(When, When), String> {
    let Some((from, to)) = text.split_once("..") else {
        return Err(format!("`{text}` is not a range of times; write such as 2h..50h"));
    };
    let (from, to) = (when(from.trim())?, when(to.trim())?);
    if to.base <= from.latest() {
        return Err(format!("the range `{text}` ends before it begins"));
    }
    Ok((from, to))
}

/// What is wrong with `5s-3m`, if a text is like that.
pub(super) fn dashed(text: &str) -> Option<String> {
    let (from, to) = text.split_once('-')?;
    let both = when(from.trim()).and(when(to.trim()));
    both.ok().map(|_| format!("`{text}` is not a time; ranges are written {}..{}", from.trim(), to.trim()))
}

/// `5s..2m`: a length from 5 s to 2 min.
pub(super) fn lengths(text: &str) -> Result<(Duration, Duration), String> {
    let Some((from, to)) = text.split_once("..") else {
        return duration(text).map(|same| (same, same)).map_err(|error| dashed(text).unwrap_or(error));
    };
    let (from, to) = (duration(from.trim())?, duration(to.trim())?);
    if to < from {
        return Err(format!("the range `{text}` ends before it begins"));
    }
    Ok((from, to))
}

/// `10%`, `0.25%`, `40ppm`: parts of a million.
pub(super) fn share_ppm(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a share; write such as 10%, 0.25% or 40ppm, at most 100%");
    let ppm = if let Some(number) = text.strip_suffix("ppm") {
        number.trim().parse().map_err(|_| wrong())?
    } else {
        let number = text.strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let fraction: u32 = format!("{fraction:0<4}").parse().map_err(|_| wrong())?;
        whole.checked_mul(10_000).and_then(|w| w.checked_add(fraction)).ok_or_else(wrong)?
    };
    if ppm <= 1_000_000 { Ok(ppm) } else { Err(wrong()) }
}

/// `500 B`, `64 KiB`, `2 MB`: bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write whole numbers with B, KB, KiB, MB or MiB, such as 64 KiB");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim_start() {
        "B" => 1,
        "KB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

/// `64 KB/s`, `2 Mbit/s`: bytes per second.
pub(super) fn bytes_per_second(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("`{text}` is not a rate of bytes; write such as 500 B/s, 64 KB/s, 1 MB/s, 256 kbit/s or 2 Mbit/s");
    let amount = text.strip_suffix("/s").ok_or_else(wrong)?;
    let split = amount.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = amount.split_at(split);
    let bits = match unit.trim_start() {
        "kbit" => 1_000,
        "Mbit" => 1_000_000,
        "Gbit" => 1_000_000_000,
        _ => return bytes(amount).map_err(|_| wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(bits)).map(|bits| bits / 8).ok_or_else(wrong)
}

/// `6/h`, `30/m`, `2/s`, `1/d`.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("`{text}` is not a rate; write such as 2/s, 30/m, 6/h or 1/d");
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let per = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    Ok(Rate { count: count.trim().parse().map_err(|_| wrong())?, per: Duration::from_secs(per) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn what_is_written_well_is_read() {
        assert_eq!(duration("1h30m"), Ok(secs(5_400)));
        assert_eq!(duration("2d"), Ok(secs(172_800)));
        assert_eq!(duration("1s5ms7us"), Ok(Duration::from_micros(1_005_007)));
        assert_eq!(signed_millis("-90s"), Ok(-90_000));
        assert_eq!(signed_millis("+365d"), Ok(31_536_000_000));
        assert_eq!(when("2h~10m"), Ok(When { base: secs(7_200), spread: secs(600) }));
        assert_eq!(range("1s..2s"), Ok((secs(1).into(), secs(2).into())));
        assert_eq!(lengths("5s"), Ok((secs(5), secs(5))));
        assert_eq!(share_ppm("0.25%"), Ok(2_500));
        assert_eq!(share_ppm("100%"), Ok(1_000_000));
        assert_eq!(share_ppm("40ppm"), Ok(40));
        assert_eq!(bytes("64 KiB"), Ok(65_536));
        assert_eq!(bytes_per_second("64KB/s"), Ok(64_000));
        assert_eq!(bytes_per_second("256 kbit/s"), Ok(32_000));
        assert_eq!(rate("30/m").map(|rate| rate.gap()), Ok(Some(secs(2))));
    }

    #[test]
    fn what_is_not_is_refused_with_what_is_allowed() {
        for wrong in ["", "5", "5 s", "h", "1.5h", "5min", "-5s", "5s ", "~"] {
            let said = duration(wrong).expect_err(wrong);
            assert!(said.starts_with(&format!("`{wrong}` is not a time; write whole numbers")), "{said}");
        }
        assert_eq!(duration("40000d"), Err("`40000d` is too long; a time is at most 36500d".into()));
        assert_eq!(range("2h..1h"), Err("the range `2h..1h` ends before it begins".into()));
        assert_eq!(lengths("5s-3m"), Err("`5s-3m` is not a time; ranges are written 5s..3m".into()));
        assert_eq!(range("2h"), Err("`2h` is not a range of times; write such as 2h..50h".into()));
        for wrong in ["10", "101%", "1.23456%", "-1%", "%", ".5%", "x ppm", "1000001ppm"] {
            assert!(share_ppm(wrong).is_err(), "{wrong}");
        }
        for wrong in ["64", "64 kb", "KB", "1.5 MB", "64 KB/s"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["64 KB", "64", "fast", "1 GB/s"] {
            assert!(bytes_per_second(wrong).is_err(), "{wrong}");
        }
        for wrong in ["6", "6/w", "-1/s", "1.5/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
