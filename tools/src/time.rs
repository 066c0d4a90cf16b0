//! Moments as text.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::Timestamp;

/// RFC 3339 in UTC with milliseconds, always the same length, so that text sorts as time does.
/// `None` for a moment after the year 9999, which only a damaged record holds.
pub fn rfc3339(moment: Timestamp) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(moment.0).ok()?).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// The same to the second, for tables.
pub(crate) fn short(moment: Timestamp) -> String {
    match rfc3339(moment) {
        Some(text) => text.split('.').next().unwrap_or_default().replace('T', " "),
        None => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_utc_with_milliseconds() {
        assert_eq!(rfc3339(Timestamp(0)).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        let leap = Timestamp(1_709_210_096_007);
        assert_eq!(rfc3339(leap).as_deref(), Some("2024-02-29T12:34:56.007Z"));
        assert_eq!(short(leap), "2024-02-29 12:34:56");
        assert_eq!(rfc3339(Timestamp(u64::MAX)), None);
    }
}
