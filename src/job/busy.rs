//! How long operators were at work, told by timely's own log of when it schedules them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

/// Stands for all operators that timely brings along: probes, concatenations, broadcasts.
const TIMELYS_OWN: &str = "timely";

/// Time by operator, over all workers of this process.
#[derive(Default)]
pub struct Busy(Mutex<BTreeMap<String, Duration>>);

impl Busy {
    /// From here on adds what the operators of `worker` do; called before it builds its dataflow.
    pub fn watch(self: &Arc<Self>, worker: &Worker) {
        let Some(mut logs) = worker.log_register() else { return };
        let (busy, mut seen) = (self.clone(), Seen::default());
        logs.insert::<TimelyEventBuilder, _>("timely", move |_, events| match events {
            Some(events) => events.drain(..).for_each(|(at, event)| seen.take(at, &event)),
            // The worker has taken a turn.
            None => busy.add(&mut seen.spent),
        });
    }

    fn add(&self, spent: &mut BTreeMap<String, Duration>) {
        if spent.is_empty() {
            return;
        }
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, time) in &mut *spent {
            match sums.get_mut(name) {
                Some(sum) => *sum += std::mem::take(time),
                None => drop(sums.insert(name.clone(), std::mem::take(time))),
            }
        }
    }

    /// Seconds by operator.
    pub fn seconds(&self) -> BTreeMap<String, f64> {
        let sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.iter().map(|(name, time)| (name.clone(), time.as_secs_f64())).collect()
    }
}

/// What the log of one worker said.
#[derive(Default)]
struct Seen {
    /// Names of operators by timely's number, and when they were last begun.
    operators: HashMap<usize, (String, Duration)>,
    /// Since the last turn.
    spent: BTreeMap<String, Duration>,
}

impl Seen {
    fn take(&mut self, at: Duration, event: &TimelyEvent) {
        match event {
            // A dataflow as a whole has an address of one number, and is busy while any of its operators is.
            TimelyEvent::Operates(operator) if operator.addr.len() > 1 => {
                // Names of timely's own begin with a capital.
                let ours = operator.name.starts_with(|first: char| first.is_ascii_lowercase());
                let name = if ours { operator.name.clone() } else { TIMELYS_OWN.to_owned() };
                self.spent.entry(name.clone()).or_default();
                self.operators.insert(operator.id, (name, at));
            }
            TimelyEvent::Schedule(turn) => {
                let Some((name, since)) = self.operators.get_mut(&turn.id) else { return };
                match turn.start_stop {
                    StartStop::Start => *since = at,
                    StartStop::Stop => {
                        if let Some(spent) = self.spent.get_mut(name) {
                            *spent += at.saturating_sub(*since);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use timely::dataflow::operators::{Inspect, Probe, ToStream};

    use super::*;

    #[test]
    fn an_operator_at_work_is_seen() {
        const WORK: Duration = Duration::from_millis(20);
        let busy = Arc::new(Busy::default());
        let watched = busy.clone();
        timely::execute(timely::Config::process(2), move |worker| {
            watched.watch(worker);
            let probe = worker.dataflow::<u64, _, _>(|scope| {
                use timely::container::CapacityContainerBuilder;
                use timely::dataflow::channels::pact::Pipeline;
                use timely::dataflow::operators::generic::Operator;
                let numbers = (0..3_u64).to_stream(scope).container::<Vec<_>>();
                let slow = numbers.unary::<CapacityContainerBuilder<Vec<u64>>, _, _, _>(Pipeline, "slow", |_, _| {
                    move |input, output| {
                        input.for_each(|capability, numbers| {
                            sleep(WORK);
                            output.session(&capability).give_iterator(numbers.drain(..));
                        });
                    }
                });
                slow.inspect(|_| {}).probe().0
            });
            while !probe.done() {
                worker.step_or_park(None);
            }
        })
        .unwrap();
        let seconds = busy.seconds();
        let least = 2.0 * WORK.as_secs_f64();
        assert!(seconds["slow"] >= least, "{seconds:?}");
        assert!(seconds[TIMELYS_OWN] < seconds["slow"], "{seconds:?}");
        assert_eq!(seconds.len(), 2, "{seconds:?}");
    }
}
