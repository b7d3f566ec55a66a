//! Times as a person writes them.

use entail::{Edit, now_ms, quoted};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::error::CliError;

/// Parses a point in time: `2027-01-31T12:00:00Z` as in RFC 3339, or `2027-01-31`, the start
/// of that day in UTC. Returns milliseconds since 1970-01-01T00:00:00Z.
fn point_ms(text: &str) -> Option<u64> {
    let point = match text.parse::<Timestamp>() {
        Ok(point) => point,
        // A date and nothing else.
        Err(_) if text.len() == "2027-01-31".len() => {
            let date: Date = text.parse().ok()?;
            format!("{date}T00:00:00Z").parse().ok()?
        }
        Err(_) => return None,
    };
    u64::try_from(point.as_millisecond()).ok()
}

/// Parses `90s`, `12h`, `30d` or `2w`. Returns milliseconds.
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

/// Parses when something expires: `12h` or `30d` from now, a point in time, or `never`.
///
/// # Errors
///
/// Fails if the text has another form, or names a time in the past.
pub fn expiry(text: Option<&str>) -> Result<Edit<u64>, CliError> {
    let Some(text) = text else {
        return Ok(Edit::Keep);
    };
    if text == "never" {
        return Ok(Edit::Clear);
    }
    let invalid = || {
        CliError::invalid(format!(
            "{} is not a time: give 12h, 30d, 2027-01-31 (the start of that day in UTC), 2027-01-31T12:00:00Z or never",
            quoted(text)
        ))
    };
    let end = match point_ms(text) {
        Some(end) => end,
        None => now_ms().saturating_add(span_ms(text).ok_or_else(invalid)?),
    };
    if end <= now_ms() {
        return Err(CliError::invalid(format!(
            "{} is in the past",
            quoted(text)
        )));
    }
    // A time that has no date is a typing error.
    i64::try_from(end)
        .ok()
        .and_then(|end| Timestamp::from_millisecond(end).ok())
        .ok_or_else(invalid)?;
    Ok(Edit::Set(end))
}

/// Parses a time in the past: `2h` or `7d` ago, or a point in time.
///
/// # Errors
///
/// Fails if the text has another form.
pub fn past(text: &str) -> Result<u64, CliError> {
    point_ms(text)
        .or_else(|| Some(now_ms().saturating_sub(span_ms(text)?)))
        .ok_or_else(|| {
            CliError::invalid(format!(
                "{} is not a time: give 2h, 7d, 2027-01-31 (the start of that day in UTC) or 2027-01-31T12:00:00Z",
                quoted(text)
            ))
        })
}

/// Parses a duration: `12h`, `7d`, or `0`.
///
/// # Errors
///
/// Fails if the text has another form.
pub fn duration_ms(text: &str) -> Result<u64, CliError> {
    if text == "0" {
        return Ok(0);
    }
    span_ms(text).ok_or_else(|| {
        CliError::invalid(format!(
            "{} is not a duration: give 12h, 7d or 0",
            quoted(text)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_start_of_that_day_and_part_of_a_date_is_not_a_time() {
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
