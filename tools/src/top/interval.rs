//! How often is looked.
#![forbid(unsafe_code)]

use std::time::Duration;

use jiff::SignedDuration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_hours(1);

/// What the keys go through.
const STEPS_MS: [u64; 9] = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/// Reads an interval such as `500ms`, `2s` or `1m`.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
    let hint = "write a number and a unit, like 500ms, 2s or 1m";
    let signed: SignedDuration =
        text.trim().parse().map_err(|_| format!("{text:?} is not a time; {hint}"))?;
    let interval =
        Duration::try_from(signed).map_err(|_| format!("{text:?} is negative; {hint}"))?;
    if (SHORTEST..=LONGEST).contains(&interval) {
        return Ok(interval);
    }
    Err(format!("{text:?} is not between 100ms and 1h"))
}

/// The next longer one.
pub(super) fn longer(interval: Duration) -> Duration {
    let steps = STEPS_MS.into_iter().map(Duration::from_millis);
    steps.into_iter().find(|step| *step > interval).unwrap_or(interval)
}

/// The next shorter one.
pub(super) fn shorter(interval: Duration) -> Duration {
    let steps = STEPS_MS.into_iter().rev().map(Duration::from_millis);
    steps.into_iter().find(|step| *step < interval).unwrap_or(interval)
}

/// An interval as it is written.
pub(super) fn text(interval: Duration) -> String {
    if interval < Duration::from_secs(1) || interval.subsec_millis() > 0 {
        format!("{} ms", interval.as_millis())
    } else {
        format!("{} s", interval.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (written, ms) in [("500ms", 500), ("2s", 2000), ("1m", 60_000), (" 1.5s ", 1500)] {
            assert_eq!(parse_interval(written), Ok(Duration::from_millis(ms)), "{written}");
        }
        for (written, word) in
            [("2", "unit"), ("-2s", "negative"), ("", "unit"), ("0s", "between"), ("2h", "between")]
        {
            let error = parse_interval(written).unwrap_err();
            assert!(error.contains(word), "{written}: {error}");
        }
    }

    #[test]
    fn steps_end_at_both_ends_and_meet_what_was_given() {
        let of = Duration::from_millis;
        assert_eq!((longer(of(2000)), shorter(of(2000))), (of(5000), of(1000)));
        assert_eq!((longer(of(2500)), shorter(of(2500))), (of(5000), of(2000)));
        assert_eq!((longer(of(60_000)), shorter(of(100))), (of(60_000), of(100)));
        assert_eq!((text(of(1500)), text(of(2000))), ("1500 ms".to_owned(), "2 s".to_owned()));
    }
}
