//! Times as a person writes them, and as the program shows them.

use entail::{Edit, now_ms, quoted};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::failure::Failure;

/// A point in time: `2027-01-31T12:00:00Z` as RFC 3339 has it, or `2027-01-31`, which is
/// the start of that day in UTC. In milliseconds since 1970-01-01T00:00:00Z.
fn point_ms(text: &str) -> Option<u64> {
    let point = match text.parse::<Timestamp>() {
        Ok(point) => point,
        // Nothing that has more to it than a date.
        Err(_) if text.len() == "2027-01-31".len() => {
            let date: Date = text.parse().ok()?;
            format!("{date}T00:00:00Z").parse().ok()?
        }
        Err(_) => return None,
    };
    u64::try_from(point.as_millisecond()).ok()
}

/// `90s`, `12h`, `30d`, `2w`, in milliseconds.
fn span_ms(text: &str) -> Option<u64> {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let whole = |suffix: char, length_ms: u64| {
        let count: u64 = text.strip_suffix(suffix)?.parse().ok()?;
        count.checked_mul(length_ms)
    };
    whole('d', DAY_MS)
        .or_else(|| whole('w', 7 * DAY_MS))
        .or_else(|| {
            let span: SignedDuration = text.parse().ok()?;
            u64::try_from(span.as_millis()).ok()
        })
}

/// When something ends: `12h` and `30d` from now on, a point in time, or `never`.
pub fn expiry(text: Option<&str>) -> Result<Edit<u64>, Failure> {
    let Some(text) = text else {
        return Ok(Edit::Keep);
    };
    if text == "never" {
        return Ok(Edit::Clear);
    }
    let invalid = || {
        Failure::invalid(format!(
            "{} is no time to expire: give 12h, 30d, 2027-01-31 (the start of that day in UTC), 2027-01-31T12:00:00Z or never",
            quoted(text)
        ))
    };
    let end = match point_ms(text) {
        Some(end) => end,
        None => now_ms().saturating_add(span_ms(text).ok_or_else(invalid)?),
    };
    if end <= now_ms() {
        return Err(Failure::invalid(format!("{} is in the past", quoted(text))));
    }
    // What cannot be written as a date cannot be meant.
    i64::try_from(end)
        .ok()
        .and_then(|end| Timestamp::from_millisecond(end).ok())
        .ok_or_else(invalid)?;
    Ok(Edit::Set(end))
}

/// A time that has passed: `2h` and `7d` ago, or a point in time.
pub fn past(text: &str) -> Result<u64, Failure> {
    point_ms(text)
        .or_else(|| Some(now_ms().saturating_sub(span_ms(text)?)))
        .ok_or_else(|| {
            Failure::invalid(format!(
                "{} is no time: give 2h, 7d, 2027-01-31 (the start of that day in UTC) or 2027-01-31T12:00:00Z",
                quoted(text)
            ))
        })
}

/// A length of time: `12h`, `7d`, or `0`.
pub fn duration_ms(text: &str) -> Result<u64, Failure> {
    if text == "0" {
        return Ok(0);
    }
    span_ms(text).ok_or_else(|| {
        Failure::invalid(format!(
            "{} is no length of time: give 12h, 7d or 0",
            quoted(text)
        ))
    })
}

/// The time as RFC 3339 has it.
pub fn time(at_ms: u64) -> String {
    i64::try_from(at_ms)
        .ok()
        .and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok())
        .map_or_else(|| format!("{at_ms} ms"), |time| format!("{time:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_start_of_that_day_and_part_of_one_is_no_time() {
        assert_eq!(point_ms("1970-01-02"), Some(86_400_000));
        assert_eq!(point_ms("1970-01-02T00:00:00Z"), Some(86_400_000));
        assert_eq!(point_ms("1970-01-02T01:00:00+01:00"), Some(86_400_000));
        for bad in [
            "1970-13-02",
            "1970-01",
            "19700102",
            "1970-01-02T",
            "1970-01-02T01:00",
            "1969-12-31",
            "tomorrow",
            "",
        ] {
            assert_eq!(point_ms(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span_ms("2d"), Some(172_800_000));
        assert_eq!(span_ms("1w"), Some(604_800_000));
        assert_eq!(span_ms("90s"), Some(90_000));
        assert_eq!(span_ms("12"), None);
        assert_eq!(span_ms("-1h"), None);
    }
}
