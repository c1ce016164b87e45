//! How long to wait before the next attempt.

use std::time::{Duration, SystemTime};

/// A server's wish is heard up to here.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// A connection counts as good once it has lived, and delivered, for so many first waits.
const GOOD_AFTER_WAITS: u32 = 10;

/// What an attempt ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Passing,
    /// Trying again soon will not help.
    Lasting,
    /// The server asked to be left alone for so long.
    SentAway(Duration),
}

/// Exponential, with full jitter: the wait is random between nothing and a ceiling that doubles with each failure
/// ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    /// Attempts and connections that failed since the last good one.
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// A connection that delivered has ended after `lived`.
    ///
    /// One that ended at once is a failure like any other: a server that accepts, sends a frame and cuts is not to be
    /// asked every half second for ever.
    pub(crate) fn delivered(&mut self, lived: Duration) {
        if lived >= self.first * GOOD_AFTER_WAITS {
            self.failures = 0;
        }
    }

    /// Counts a failure; gives the wait before the next attempt. `random` is uniform over its range.
    pub(crate) fn next(&mut self, failure: Failure, random: u64) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        match failure {
            // Whoever was sent away with us comes back spread over a first wait.
            Failure::SentAway(wait) => wait.min(RETRY_AFTER_MAX) + fraction(self.first, random),
            Failure::Lasting => self.max / 2 + fraction(self.max / 2, random),
            Failure::Passing => fraction(doubled.min(self.max), random),
        }
    }
}

fn fraction(of: Duration, random: u64) -> Duration {
    Duration::from_nanos(((of.as_nanos() * u128::from(random)) >> 64) as u64)
}

/// Reads `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date, which may be past.
pub(crate) fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[track_caller]
    fn near(is: Duration, want: Duration) {
        assert!(is.abs_diff(want) < Duration::from_millis(1), "{is:?} instead of {want:?}");
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let mut backoff = Backoff::new(S, 60 * S);
        for ceiling in [1, 2, 4, 8, 16, 32, 60, 60] {
            near(backoff.next(Failure::Passing, u64::MAX), ceiling * S);
        }
        for _ in 0..100 {
            near(backoff.next(Failure::Passing, u64::MAX), 60 * S);
        }
        assert_eq!(backoff.next(Failure::Passing, 0), Duration::ZERO);
        near(backoff.next(Failure::Passing, u64::MAX / 4), 15 * S);
    }

    #[test]
    fn a_first_failure_waits_a_second_at_most() {
        near(Backoff::new(S, 60 * S).next(Failure::Passing, u64::MAX), S);
    }

    #[test]
    fn only_a_connection_that_lasted_resets() {
        let mut backoff = Backoff::new(S, 60 * S);
        for _ in 0..5 {
            backoff.next(Failure::Passing, 0);
        }
        backoff.delivered(9 * S);
        near(backoff.next(Failure::Passing, u64::MAX), 32 * S);
        backoff.delivered(10 * S);
        near(backoff.next(Failure::Passing, u64::MAX), S);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn what_looks_lasting_waits_long_from_the_start() {
        let mut backoff = Backoff::new(S, 60 * S);
        near(backoff.next(Failure::Lasting, 0), 30 * S);
        near(backoff.next(Failure::Lasting, u64::MAX), 60 * S);
    }

    #[test]
    fn a_server_that_names_a_time_is_heard() {
        let mut backoff = Backoff::new(S, 60 * S);
        let mut asked = |seconds| backoff.next(Failure::SentAway(seconds * S), 0);
        near(asked(0), Duration::ZERO);
        near(asked(90), 90 * S);
        near(asked(86_400), 600 * S);
    }

    #[track_caller]
    fn check(value: &[u8], want: Option<Duration>) {
        // 1994-11-06T08:49:37Z, the example of RFC 9110 section 5.6.7.
        let now = SystemTime::UNIX_EPOCH + 784_111_777 * S;
        assert_eq!(retry_after(value, now), want, "{}", value.escape_ascii());
    }

    #[test]
    fn retry_after_in_seconds() {
        check(b"120", Some(120 * S));
        check(b" 0 ", Some(Duration::ZERO));
        check(b"99999999999999999999999999", Some(Duration::MAX));
    }

    #[test]
    fn retry_after_as_a_date() {
        check(b"Sun, 06 Nov 1994 08:51:37 GMT", Some(120 * S));
        check(b"Sunday, 06-Nov-94 08:51:37 GMT", Some(120 * S));
        check(b"Sun, 06 Nov 1994 08:00:00 GMT", Some(Duration::ZERO));
    }

    #[test]
    fn retry_after_of_no_use() {
        for value in [&b""[..], b"-1", b"1.5", b"soon", b"\xff", b"1e3"] {
            check(value, None);
        }
    }
}
