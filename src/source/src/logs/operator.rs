//! The right to ask an operator's logs for something.
//!
//! Operators limit clients by address, over all their logs, so that all logs of one share a budget: so many requests at
//! a time, more while all goes well, half as many after a refusal, and none before the time the operator names.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// A process that nobody shares a budget with.
pub(super) const ALONE: (usize, usize) = (0, 1);
/// Requests at a time, at first; of all who share the budget.
const START: f64 = 2.0;
/// What a refusal without `Retry-After` asks for.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// What any refusal asks for at least, whatever it says: a time in the past would be asked again without end.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// What any refusal may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Operator {
    /// Requests at a time that are never exceeded.
    most: f64,
    pace: Mutex<Pace>,
    changed: Notify,
}

#[derive(Debug)]
struct Pace {
    limit: f64,
    in_flight: usize,
    not_before: Instant,
}

/// The right to one request, until it is dropped.
pub(super) struct Turn<'a>(&'a Operator);

impl Operator {
    /// The part of this one of `sharers`, by its number, in a budget of so many requests. It is 1 at least.
    pub(super) fn new(requests_max: usize, (sharer, sharers): (usize, usize)) -> Self {
        let sharers = sharers.max(1);
        let part = requests_max / sharers + usize::from(sharer < requests_max % sharers);
        let most = part.max(1) as f64;
        let start = (START / sharers as f64).clamp(1.0, most);
        let pace = Pace { limit: start, in_flight: 0, not_before: Instant::now() };
        Self { most, pace: Mutex::new(pace), changed: Notify::new() }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may be made.
    pub(super) async fn turn(&self) -> Turn<'_> {
        loop {
            // Asked for before the look, so that no change in between is missed.
            let changed = self.changed.notified();
            let not_before = {
                let mut pace = self.pace();
                if pace.not_before <= Instant::now() && (pace.in_flight as f64) < pace.limit.floor().max(1.0) {
                    pace.in_flight += 1;
                    return Turn(self);
                }
                pace.not_before
            };
            if not_before > Instant::now() {
                sleep_until(not_before).await;
            } else {
                changed.await;
            }
        }
    }

    /// A request was answered: one more at a time after as many answers as there are requests at a time.
    pub(super) fn answered(&self) {
        let mut pace = self.pace();
        pace.limit = (pace.limit + 1.0 / pace.limit).min(self.most);
    }

    /// A request was refused for being one too many. Those that were under way with it are refused for the same reason.
    pub(super) fn refused(&self, pause: Option<Duration>) {
        let mut pace = self.pace();
        let now = Instant::now();
        if pace.not_before <= now {
            pace.limit = (pace.limit / 2.0).max(1.0);
        }
        pace.not_before = pace.not_before.max(now + pause.unwrap_or(REFUSED_PAUSE).clamp(PAUSE_MIN, PAUSE_MAX));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pace().in_flight -= 1;
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn limit(operator: &Operator) -> f64 {
        operator.pace().limit
    }

    #[tokio::test]
    async fn answers_raise_the_limit_and_a_refusal_halves_it_once() {
        let operator = Operator::new(8, ALONE);
        for _ in 0..200 {
            operator.answered();
        }
        assert_eq!(limit(&operator), 8.0);
        for _ in 0..5 {
            operator.refused(Some(Duration::from_secs(60)));
        }
        assert_eq!(limit(&operator), 4.0);
    }

    #[test]
    fn parts_of_a_budget_add_up() {
        for (requests_max, sharers, want) in
            [(8, 1, vec![8]), (8, 3, vec![3, 3, 2]), (5, 4, vec![2, 1, 1, 1]), (2, 2, vec![1, 1]), (1, 2, vec![1, 1])]
        {
            let parts = (0..sharers).map(|sharer| Operator::new(requests_max, (sharer, sharers)));
            let (most, start): (Vec<f64>, Vec<f64>) = parts.map(|part| (part.most, limit(&part))).unzip();
            assert_eq!(most, want.iter().map(|part| f64::from(*part)).collect::<Vec<_>>());
            assert!(start.iter().sum::<f64>() <= START.max(sharers as f64));
        }
    }

    #[tokio::test]
    async fn no_more_at_a_time_than_the_limit() {
        let operator = Operator::new(2, ALONE);
        let (first, _second) = (operator.turn().await, operator.turn().await);
        let mut third = Box::pin(operator.turn());
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_some());
    }

    #[tokio::test]
    async fn nothing_before_the_time_the_operator_names() {
        let operator = Operator::new(2, ALONE);
        operator.refused(Some(Duration::from_secs(3_600)));
        assert!(operator.turn().now_or_never().is_none());
    }
}
