//! Moments as text.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use tombolo_crdt::Hlc;

/// A clock reading as RFC 3339 in UTC, to the millisecond. Readings beyond the calendar show its last moment.
pub(crate) fn rfc3339(hlc: Hlc) -> String {
    let moment = i64::try_from(hlc.millis()).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    let moment = moment.unwrap_or(DateTime::<Utc>::MAX_UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        moment.year(),
        moment.month(),
        moment.day(),
        moment.hour(),
        moment.minute(),
        moment.second(),
        moment.timestamp_subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_text() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_800_000_000_000, "2027-01-15T08:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(Hlc::from_millis(millis)), text);
        }
    }
}
