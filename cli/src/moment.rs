//! Moments: read from what people type, written as they read them. All in UTC, as everything else that is shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

/// The clock of this machine, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `2027-01-15 08:00:00 UTC`.
pub(crate) fn text(millis: u64) -> String {
    let moment = i64::try_from(millis).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    moment
        .map_or_else(|| format!("{millis} ms after 1970"), |moment| moment.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// What somebody means by a moment, in RFC 3339: a date (its first moment), a date and a time with a space or a `T`,
/// `yesterday` (24 hours ago), `2h ago`. `None`: it is none of these, nor RFC 3339.
pub(crate) fn parse(typed: &str, now_ms: u64) -> Option<String> {
    let typed = typed.trim();
    let millis = match typed {
        "now" => now_ms,
        "yesterday" => now_ms.checked_sub(24 * 3_600_000)?,
        _ => match typed.strip_suffix("ago") {
            Some(span) => now_ms.checked_sub(span_ms(span.trim())?)?,
            None => return dated(typed),
        },
    };
    written(DateTime::from_timestamp_millis(i64::try_from(millis).ok()?)?)
}

fn written(moment: DateTime<Utc>) -> Option<String> {
    let text = moment.to_rfc3339_opts(SecondsFormat::Millis, true);
    debug_assert!(text.ends_with('Z'), "moments are told in UTC");
    Some(text)
}

/// A date, or a date and a time. Without a zone it is UTC.
fn dated(typed: &str) -> Option<String> {
    if let Ok(date) = NaiveDate::parse_from_str(typed, "%Y-%m-%d") {
        return written(date.and_hms_opt(0, 0, 0)?.and_utc());
    }
    let joined = typed.replacen(' ', "T", 1);
    if let Ok(moment) = DateTime::parse_from_rfc3339(&joined) {
        return written(moment.to_utc());
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(&joined, form).ok())
        .and_then(|moment| written(moment.and_utc()))
}

/// `2h`, `2 h`, `90 minutes`, `3 days`.
fn span_ms(span: &str) -> Option<u64> {
    let digits = span.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = span.split_at(digits);
    let unit_ms: u64 = match unit.trim() {
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 7 * 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15T08:00:00Z.
    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn what_people_type() {
        for (typed, meant) in [
            ("2026-11-30", "2026-11-30T00:00:00.000Z"),
            ("2026-11-30 15:04", "2026-11-30T15:04:00.000Z"),
            ("2026-11-30 15:04:20", "2026-11-30T15:04:20.000Z"),
            ("2026-11-30T15:04:20.5", "2026-11-30T15:04:20.500Z"),
            ("2026-11-30 15:04:20+02:00", "2026-11-30T13:04:20.000Z"),
            ("2026-11-30T15:04:20Z", "2026-11-30T15:04:20.000Z"),
            ("yesterday", "2027-01-14T08:00:00.000Z"),
            ("2 h ago", "2027-01-15T06:00:00.000Z"),
            ("90m ago", "2027-01-15T06:30:00.000Z"),
            ("3 days ago", "2027-01-12T08:00:00.000Z"),
        ] {
            assert_eq!(parse(typed, NOW).as_deref(), Some(meant), "{typed}");
        }
        for typed in
            ["", "ago", "2 ago", "2026-13-01", "99999999999999999999 h ago", "0123456789abcdef0123456789abcdef"]
        {
            assert_eq!(parse(typed, NOW), None, "{typed}");
        }
        assert_eq!(text(NOW), "2027-01-15 08:00:00 UTC");
    }
}
