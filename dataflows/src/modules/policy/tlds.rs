//! Top-level domains that are no more.
//!
//! The Public Suffix List knows those of today. A certificate of 2013 may be for one that was given up in 2015.

use ct_model::time::Day;

/// The domain, the day of its delegation and the day of its removal from the root zone, as YYYYMMDD; in order of the
/// domains. Countries that went after the first Baseline Requirements. Generic domains that companies gave up are not
/// here: `ignore` silences the check for whoever reads archives of their time.
const REMOVED: [(&str, u32, u32); 2] = [("an", 19930101, 20150731), ("tp", 19970101, 20150223)];

/// Whether a lower-case label was a top-level domain on that day, and is no more. With no day: whether it ever was.
pub(super) fn existed(label: &str, day: Option<Day>) -> bool {
    let Ok(at) = REMOVED.binary_search_by_key(&label, |(known, ..)| known) else { return false };
    let (_, delegated, removed) = REMOVED[at];
    day.is_none_or(|day| (number(delegated)..=number(removed)).contains(&day))
}

fn number(date: u32) -> Day {
    let date = i64::from(date);
    Day::from_civil(date / 10_000, date / 100 % 100, date % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted() {
        assert!(REMOVED.is_sorted_by(|a, b| a.0 < b.0));
        assert!(REMOVED.iter().all(|(_, delegated, removed)| delegated < removed));
    }
    #[test]
    fn days() {
        let check = |label, year, month, day, want| {
            assert_eq!(existed(label, Some(Day::from_civil(year, month, day))), want, "{label} {year}-{month}-{day}");
        };
        check("an", 1992, 12, 31, false);
        check("an", 1993, 1, 1, true);
        check("an", 2015, 7, 31, true);
        check("an", 2015, 8, 1, false);
        check("com", 2020, 1, 1, false);
        check("", 2020, 1, 1, false);
        assert!(existed("an", None) && !existed("local", None));
    }
}
