//! Points in time as values. Nothing in this crate reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Microseconds since 1970-01-01T00:00:00 UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// From fractional seconds as feeds write them; rounded to the nearest microsecond.
    /// `None` for anything that is not a time between the years 1 and 9999.
    pub fn from_seconds_f64(seconds: f64) -> Option<Self> {
        const YEAR_1: f64 = -62_135_596_800.0;
        const YEAR_10000: f64 = 253_402_300_800.0;
        (YEAR_1..YEAR_10000).contains(&seconds).then(|| Self((seconds * 1e6).round() as i64))
    }

    /// Reads `2026-11-23T09:41:00Z`, with optional fraction, in UTC.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let mut time = time.splitn(3, ':');
        let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
        let second = time.next()?.parse::<f64>().ok()?;
        let valid = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0.0..61.0).contains(&second);
        valid.then(|| {
            let whole = Day::from_civil(year, month, day).0 * SECONDS_PER_DAY + hour * 3_600 + minute * 60;
            Self(whole * MICROS_PER_SECOND + (second * 1e6).round() as i64)
        })
    }

    /// `None` after the year 9999.
    pub fn from_unix_ms(ms: u64) -> Option<Self> {
        const YEAR_10000: i64 = 253_402_300_800_000;
        i64::try_from(ms).ok().filter(|ms| *ms < YEAR_10000).map(|ms| Self(ms * 1_000))
    }

    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// The same time of day, `days` earlier.
    pub const fn minus_days(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days as i64 * SECONDS_PER_DAY * MICROS_PER_SECOND))
    }

    /// The UTC day this moment lies in.
    pub const fn day(self) -> Day {
        Day(self.seconds().div_euclid(SECONDS_PER_DAY))
    }

    /// The UTC hour this moment lies in, as `2026-11-23T09`.
    pub fn hour_text(self) -> String {
        format!("{}T{:02}", self.day(), self.seconds().rem_euclid(SECONDS_PER_DAY) / 3_600)
    }
}

/// RFC 3339 in UTC with microseconds, `2026-11-23T09:41:00.123456Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.seconds().rem_euclid(SECONDS_PER_DAY);
        let micros = self.0.rem_euclid(MICROS_PER_SECOND);
        write!(f, "{}T{:02}:{:02}:{:02}.{micros:06}Z", self.day(), second / 3_600, second / 60 % 60, second % 60)
    }
}

/// A UTC day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(pub i64);

impl Day {
    /// Days since 1970-01-01 of a proleptic Gregorian date ("days from civil", Howard Hinnant, 2013).
    pub const fn from_civil(year: i64, month: i64, day: i64) -> Self {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year - era * 400;
        let month_from_march = (month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
        Self(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
    }

    /// Year, month and day of the month, both from 1.
    pub const fn civil(self) -> (i64, i64, i64) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        (era * 400 + year_of_era + if month <= 2 { 1 } else { 0 }, month, day)
    }
}

/// `2026-11-23`
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: f64, text: &str) {
        assert_eq!(Timestamp::from_seconds_f64(seconds).map(|t| t.to_string()).as_deref(), Some(text));
    }

    // Expected texts are from `date -u -d @SECONDS`.
    #[test]
    fn epoch_start() {
        check(0.0, "1970-01-01T00:00:00.000000Z");
    }
    #[test]
    fn leap_day() {
        check(1_709_164_800.5, "2024-02-29T00:00:00.500000Z");
    }
    #[test]
    fn before_the_epoch() {
        check(-1.25, "1969-12-31T23:59:58.750000Z");
    }
    #[test]
    fn last_second_of_9999() {
        check(253_402_300_799.0, "9999-12-31T23:59:59.000000Z");
    }
    #[test]
    fn out_of_range() {
        assert_eq!(Timestamp::from_seconds_f64(1e30), None);
        assert_eq!(Timestamp::from_seconds_f64(f64::NAN), None);
    }
    #[test]
    fn rfc3339_round_trip() {
        for text in ["2026-11-23T09:41:00.250000Z", "1970-01-01T00:00:00.000000Z"] {
            assert_eq!(Timestamp::from_rfc3339(text).map(|t| t.to_string()).as_deref(), Some(text));
        }
        for text in ["2026-11-23", "2026-13-23T00:00:00Z", "2026-11-23T09:41:00+01:00", "", "T:Z"] {
            assert_eq!(Timestamp::from_rfc3339(text), None, "{text}");
        }
    }
    #[test]
    fn civil_round_trip() {
        for day in (-800_000..3_000_000).step_by(37) {
            let (y, m, d) = Day(day).civil();
            assert_eq!(Day::from_civil(y, m, d), Day(day));
        }
    }
}
