//! The clock by which dedup forgets: for how long journals were written.
//!
//! It is told by the times in the marks of a journal, so it is the same for whoever reads the journal, and it stands in
//! the manifests. No message can move it. It goes on by at most [`STEP_MAX_MS`] from one batch to the next: a clock that
//! is wrong for a while, or a job that was away, costs no more than that.

use serde::{Deserialize, Serialize};

/// A journal is written at least every second.
const STEP_MAX_MS: u64 = 10_000;

/// How long journals were written up to some batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// In milliseconds.
    pub ms: u64,
    /// When that batch was written, Unix milliseconds; 0 is unknown.
    pub at_ms: u64,
}

impl Age {
    /// Goes on to the next batch, written at `at_ms`. A clock that was set back does not take back anything.
    pub fn reach(&mut self, at_ms: u64) {
        if self.at_ms > 0 {
            self.ms = self.ms.saturating_add(at_ms.saturating_sub(self.at_ms).min(STEP_MAX_MS));
        }
        self.at_ms = at_ms;
    }

    /// Nothing was read of any journal.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// How long dedup remembers, in milliseconds of [`Age`].
///
/// What is known is forgotten a *generation* at a time, an eighth of the horizon: what came less than a horizon ago is
/// known, what came more than nine eighths of it ago is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizon(pub u64);

impl Horizon {
    /// Whole generations that are remembered beside the newest.
    pub const GENERATIONS: u32 = 8;

    /// The generation of what came at `age`.
    pub fn generation(self, age: Age) -> u32 {
        let length = (self.0 / u64::from(Self::GENERATIONS)).max(1);
        u32::try_from(age.ms / length).unwrap_or(u32::MAX)
    }

    /// Whether what came in generation `first` is forgotten in generation `now`.
    pub const fn forgets(first: u32, now: u32) -> bool {
        now.saturating_sub(first) > Self::GENERATIONS
    }

    /// The same of ages.
    pub fn is_beyond(self, first: Age, now: Age) -> bool {
        Self::forgets(self.generation(first), self.generation(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(times: &[u64], want_ms: u64) {
        let mut age = Age::default();
        times.iter().for_each(|at_ms| age.reach(*at_ms));
        assert_eq!(age, Age { ms: want_ms, at_ms: times.last().copied().unwrap_or(0) });
    }

    #[test]
    fn time_goes_by() {
        check(&[], 0);
        check(&[5_000], 0);
        check(&[5_000, 6_000, 6_500], 1_500);
    }

    #[test]
    fn a_clock_that_is_wrong_moves_little() {
        let (now, year_2099) = (1_790_000_000_000, 4_070_908_800_000);
        check(&[now, year_2099, year_2099 + 1_000, now + 2_000, now + 3_000], 10_000 + 1_000 + 1_000);
        check(&[now, 1, now + 1_000], 10_000);
    }

    #[test]
    fn nothing_is_forgotten_before_the_horizon_and_all_after_nine_eighths() {
        let horizon = Horizon(8_000);
        let age = |ms| Age { ms, at_ms: 1 };
        for first in [0, 1, 999, 1_000, 7_777] {
            for now in first..first + 10_000 {
                let beyond = horizon.is_beyond(age(first), age(now));
                let passed = now - first;
                assert!(!beyond || passed > 8_000, "{first} {now}");
                assert!(beyond || passed < 9_000, "{first} {now}");
            }
        }
    }
}
