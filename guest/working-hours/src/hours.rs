//! Times of the day and days of the week.

use serde::{Deserialize, Deserializer, de};

const MS_A_MINUTE: u64 = 60 * 1000;
const MINUTES_AN_HOUR: u16 = 60;
const MINUTES_A_DAY: i64 = 24 * 60;
const DAYS_A_WEEK: i64 = 7;
/// The first day of 1970 was a Thursday, three days after a Monday.
const DAYS_SINCE_A_MONDAY: i64 = 3;

/// A time of the day, in minutes since midnight: `09:00`, up to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let two_digits = |text: &str| match text.len() {
            2 => text.parse::<u16>().ok(),
            _ => None,
        };
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        let time = TimeOfDay(hours * MINUTES_AN_HOUR + minutes);
        let is_valid = minutes < MINUTES_AN_HOUR && i64::from(time.0) <= MINUTES_A_DAY;
        is_valid.then_some(time)
    }
}

impl<'a> Deserialize<'a> for TimeOfDay {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        TimeOfDay::parse(&text).ok_or_else(|| de::Error::custom("a time of the day is like 09:00"))
    }
}

/// A day of the week, Monday first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    pub const WEEK: [Day; 7] = [
        Day::Mon,
        Day::Tue,
        Day::Wed,
        Day::Thu,
        Day::Fri,
        Day::Sat,
        Day::Sun,
    ];

    /// Returns the day this many days after 1970-01-01.
    fn at(days: i64) -> Self {
        let [mon, tue, wed, thu, fri, sat, sun] = Day::WEEK;
        match (days + DAYS_SINCE_A_MONDAY).rem_euclid(DAYS_A_WEEK) {
            0 => mon,
            1 => tue,
            2 => wed,
            3 => thu,
            4 => fri,
            5 => sat,
            _ => sun,
        }
    }
}

/// A range of hours: includes `from`, excludes `to`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    pub from: TimeOfDay,
    pub to: TimeOfDay,
}

impl Hours {
    /// Whether this time is within the hours of one of the days. Hours that end before
    /// they begin continue past midnight, and belong to the day on which they
    /// began.
    pub fn contain(self, now_ms: u64, utc_offset_minutes: i16, days: &[Day]) -> bool {
        let utc = i64::try_from(now_ms / MS_A_MINUTE).unwrap_or(i64::MAX / 2);
        let local = utc + i64::from(utc_offset_minutes);
        let minute = local.rem_euclid(MINUTES_A_DAY);
        let today = local.div_euclid(MINUTES_A_DAY);
        let begun = minute >= i64::from(self.from.0);
        let not_over = minute < i64::from(self.to.0);
        let on = |day| days.contains(&Day::at(day));
        match self.from < self.to {
            true => on(today) && begun && not_over,
            false => (on(today) && begun) || (on(today - 1) && not_over),
        }
    }
}
