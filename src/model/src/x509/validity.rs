//! Dates of a certificate, as far as they can be understood.

use super::walk::{Element, GENERALIZED_TIME, UTC_TIME};
use crate::time::{Day, Timestamp};

/// A UTCTime or GeneralizedTime. RFC 5280 section 4.1.2.5 wants seconds and `Z`; X.680 also has times without
/// seconds, with fractions and with an offset from UTC, and such certificates exist. A time without a zone is taken
/// as UTC.
pub(super) fn time(element: Element<'_>) -> Option<Timestamp> {
    let mut text = Digits { rest: element.content };
    let year = match element.tag {
        // RFC 5280 section 4.1.2.5.1: 50 to 99 are of the last century.
        UTC_TIME => text.pair().map(|year| if year < 50 { 2000 + year } else { 1900 + year })?,
        GENERALIZED_TIME => text.pair()? * 100 + text.pair()?,
        _ => return None,
    };
    let (month, day, hour) = (text.pair()?, text.pair()?, text.pair()?);
    let minute = text.pair_if_any(59)?;
    let second = text.pair_if_any(60)?;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) || hour > 23 {
        return None;
    }
    text.skip_fraction()?;
    let offset = text.zone()?;
    Some(Timestamp::from_seconds(
        Day::from_civil(year, month, day).0 * 86_400 + hour * 3_600 + minute * 60 + second - offset,
    ))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

struct Digits<'a> {
    rest: &'a [u8],
}

impl Digits<'_> {
    fn pair(&mut self) -> Option<i64> {
        let (&[tens, ones], rest) = self.rest.split_first_chunk()?;
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return None;
        }
        self.rest = rest;
        Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    }

    /// Two digits up to `max`, or 0 where none follow.
    fn pair_if_any(&mut self, max: i64) -> Option<i64> {
        if self.rest.first().is_some_and(u8::is_ascii_digit) {
            self.pair().filter(|pair| *pair <= max)
        } else {
            Some(0)
        }
    }

    fn skip_fraction(&mut self) -> Option<()> {
        if let [b'.' | b',', fraction @ ..] = self.rest {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.rest = &fraction[digits..];
            return (digits > 0).then_some(());
        }
        Some(())
    }

    /// Seconds east of UTC, at the end of the text.
    fn zone(&mut self) -> Option<i64> {
        let (sign, rest) = match self.rest {
            [] | [b'Z'] => return Some(0),
            [b'+', rest @ ..] => (1, rest),
            [b'-', rest @ ..] => (-1, rest),
            _ => return None,
        };
        self.rest = rest;
        let (hours, minutes) = (self.pair()?, self.pair_if_any(59)?);
        (self.rest.is_empty() && hours <= 23).then_some(sign * (hours * 3_600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tag: u8, text: &str, want: Option<&str>) {
        let got = time(Element { tag, content: text.as_bytes(), whole: &[] }).map(|time| time.to_string());
        assert_eq!(got, want.map(|want| format!("{want}.000000Z")), "{text}");
    }

    #[test]
    fn strict() {
        check(UTC_TIME, "260301120000Z", Some("2026-03-01T12:00:00"));
        check(UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00"));
        check(UTC_TIME, "491231235959Z", Some("2049-12-31T23:59:59"));
        check(GENERALIZED_TIME, "20500101000000Z", Some("2050-01-01T00:00:00"));
        check(GENERALIZED_TIME, "99991231235959Z", Some("9999-12-31T23:59:59"));
    }
    #[test]
    fn tolerated() {
        check(UTC_TIME, "2603011200Z", Some("2026-03-01T12:00:00"));
        check(UTC_TIME, "260301120000+0130", Some("2026-03-01T10:30:00"));
        check(UTC_TIME, "260301120000-0100", Some("2026-03-01T13:00:00"));
        check(GENERALIZED_TIME, "20260301120000.5Z", Some("2026-03-01T12:00:00"));
        check(GENERALIZED_TIME, "20260301120000", Some("2026-03-01T12:00:00"));
        check(GENERALIZED_TIME, "20240229235960Z", Some("2024-03-01T00:00:00"));
    }
    #[test]
    fn refused() {
        for text in ["", "26", "260229120000Z", "261301120000Z", "260001120000Z", "260132120000Z", "260101240000Z"] {
            check(UTC_TIME, text, None);
        }
        for text in ["260101006000Z", "2601010000:0Z", "260101000000Zx", "260101000000+", "260101000000+01300"] {
            check(UTC_TIME, text, None);
        }
        check(GENERALIZED_TIME, "20260101000000.Z", None);
        check(0x0c, "260101000000Z", None);
    }
}
