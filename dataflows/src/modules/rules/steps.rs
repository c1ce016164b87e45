//! The budget of a rule on one certificate, in steps: the same in every run, as time is not.

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OverBudget;

/// A step is about what looking at one name for one value takes, a few nanoseconds.
#[derive(Debug)]
pub(super) struct Steps {
    left: u64,
}

impl Steps {
    pub(super) const fn new(budget: u64) -> Self {
        Self { left: budget }
    }

    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn take(&mut self, steps: usize) -> Result<(), OverBudget> {
        match self.left.checked_sub(steps as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(OverBudget)
            }
        }
    }
}
