//! What time it is by the facts that came.

/// Facts that must have come from a moment or later before it counts as reached. One wrong clock moves nothing.
const WITNESSES: usize = 8;

/// The newest moment that [`WITNESSES`] facts have reached: a function of the set of facts, whatever their order.
#[derive(Default)]
pub(super) struct EventTime {
    /// The newest moments, ascending.
    newest: Vec<i64>,
}

impl EventTime {
    pub(super) fn see(&mut self, moment: i64) {
        let full = self.newest.len() == WITNESSES;
        if full && moment <= self.newest[0] {
            return;
        }
        let place = self.newest.partition_point(|other| *other < moment);
        self.newest.insert(place, moment);
        if full {
            self.newest.remove(0);
        }
    }

    /// `None` while there are too few facts to tell.
    pub(super) fn now(&self) -> Option<i64> {
        self.newest.first().copied().filter(|_| self.newest.len() == WITNESSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_wrong_clocks_move_nothing() {
        let mut time = EventTime::default();
        (0..7).for_each(|_| time.see(i64::MAX));
        assert_eq!(time.now(), None);
        (0..20).for_each(|moment| time.see(moment));
        assert_eq!(time.now(), Some(19));
        time.see(5);
        assert_eq!(time.now(), Some(19), "time never goes back");
    }
}
