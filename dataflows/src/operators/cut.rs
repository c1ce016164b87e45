//! Decides what is published together.
//!
//! Route: all weights go to worker 0. State: the sums since the last cut. Frontier: an epoch is added when no more of
//! it, and nothing before it, can come; the newest added epoch stays held until a cut is made. A cut is made when
//! enough has gathered, when what gathered is old enough, before a new generation, and at the end of the input. It covers a gapless stretch of
//! the input: when a worker stopped early, the cut in front of the gap tells the others to stop, too, and what they
//! read beyond it is read again by the next job.

use ct_model::{Age, Counts, Timestamp};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use super::VecBuilder;
use super::waiting::Waiting;
use crate::epoch::{Epoch, Position};
use crate::records::{Cut, Decision, Weight};

/// When enough has gathered.
#[derive(Clone, Copy, Debug)]
pub struct CutRule {
    /// Memory that the gathered rows take, over all workers.
    pub bytes: u64,
    /// Messages read, whatever became of them: bounds what a crash makes a job read again.
    pub messages: u64,
    /// Microseconds between the arrivals of the oldest and the newest message; bounds how late rows become visible.
    pub interval: Option<i64>,
}

/// Where the first cut begins.
#[derive(Clone, Copy, Debug)]
pub struct CutStart {
    /// Number of the first manifest.
    pub sequence: u64,
    pub from: Position,
    /// Lines of that segment before that position.
    pub lines: u64,
    /// Segments of the whole input.
    pub segments: u32,
    /// The last segment of which lines of logs are lost.
    pub damaged: Option<u32>,
}

pub fn cut<'s>(
    weights: StreamVec<'s, Epoch, Weight>,
    rule: CutRule,
    start: CutStart,
) -> StreamVec<'s, Epoch, Decision> {
    weights.unary_frontier::<VecBuilder<Decision>, _, _, _>(Exchange::new(|_: &Weight| 0), "cut", |initial, _info| {
        drop(initial);
        let mut open = Waiting::default();
        let mut sum = Sum::new(start);
        let mut newest: Option<Capability<Epoch>> = None;
        let mut stopped = false;
        move |(input, frontier), output| {
            input.for_each(|capability, weights| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                open.add(capability, weights);
            });
            while let Some((capability, weights)) = open.next_closed(|epoch| frontier.less_equal(epoch)) {
                let epoch = *capability.time();
                if stopped {
                    continue;
                }
                // A manifest is of one generation, so that dedup remembers the same when it is read back.
                if sum.ends_before(&weights)
                    && let Some(newest) = newest.take()
                {
                    output.session(&newest).give(Decision::Cut(sum.take()));
                }
                if !sum.add(epoch, weights) {
                    stopped = true;
                    if let Some(newest) = newest.take() {
                        output.session(&newest).give(Decision::Cut(sum.take()));
                    }
                    output.session(&capability).give(Decision::Stop);
                } else if sum.is_due(&rule) {
                    output.session(&capability).give(Decision::Cut(sum.take()));
                    newest = None;
                } else {
                    newest = Some(capability);
                }
            }
            if frontier.is_empty()
                && let Some(capability) = newest.take()
            {
                output.session(&capability).give(Decision::Cut(sum.take()));
            }
        }
    })
}

/// What has gathered since the last cut.
struct Sum {
    segments: u32,
    bytes: u64,
    /// When the oldest message arrived.
    since: Option<Timestamp>,
    /// When the newest input arrived.
    at: Option<Timestamp>,
    /// What has gathered is of this generation.
    generation: u32,
    cut: Cut,
}

impl Sum {
    fn new(start: CutStart) -> Self {
        let cut = Cut {
            sequence: start.sequence,
            epoch: 0,
            next: start.from,
            lines: start.lines,
            complete: false,
            counts: Counts::default(),
            newest_seen: None,
            age: Age::default(),
            broken: Vec::new(),
            lines_before: Vec::new(),
            damage: start.damaged.map(|damaged| (0, damaged)).into_iter().collect(),
        };
        Self { segments: start.segments, bytes: 0, since: None, at: None, generation: 0, cut }
    }

    fn is_due(&self, rule: &CutRule) -> bool {
        let age = self.at.zip(self.since).map(|(at, since)| at.0.saturating_sub(since.0));
        self.bytes >= rule.bytes
            || self.cut.counts.messages >= rule.messages
            || age.zip(rule.interval).is_some_and(|(age, interval)| age >= interval)
    }

    /// Whether what comes next is of another generation than what has gathered.
    fn ends_before(&self, weights: &[Weight]) -> bool {
        let mut tails = weights.iter().filter_map(|weight| weight.tail.as_ref());
        tails.any(|tail| tail.generation != self.generation)
    }

    /// Adds an epoch; false if it does not follow what was added before.
    fn add(&mut self, epoch: Epoch, weights: Vec<Weight>) -> bool {
        if epoch != self.cut.next.epoch() {
            return false;
        }
        self.cut.epoch = epoch;
        let mut ends = false;
        for weight in weights {
            self.bytes += weight.bytes;
            self.cut.counts += &weight.counts;
            self.cut.newest_seen = self.cut.newest_seen.max(weight.newest_seen);
            if weight.numbered {
                self.cut.lines_before.push((epoch, self.cut.lines));
            }
            if let Some(tail) = weight.tail {
                self.at = tail.at.or(self.at);
                (self.cut.age, self.generation) = (tail.age, tail.generation);
                ends |= tail.last;
                if tail.lost_of_logs {
                    self.cut.damage.push((epoch, tail.position.segment));
                }
                let denied = tail.covered_since.iter().filter(|since| !self.cut.believes(epoch, Some(**since)));
                let denied = denied.count() as u64;
                self.cut.counts += &tail.counts;
                self.cut.counts.coverage -= denied;
                self.cut.broken.extend(tail.broken);
                self.cut.next = tail.next.unwrap_or_else(|| tail.position.next(tail.last));
                self.cut.lines = if tail.last { 0 } else { self.cut.lines + tail.lines };
            }
        }
        // Behind the end of a segment, the segment is needed no more: that counts like a message.
        if ends || self.bytes > 0 || self.cut.counts.messages > 0 {
            // A clock that was set back starts the interval anew.
            self.since = self.since.min(self.at).or(self.at);
        }
        true
    }

    /// The cut at the newest epoch; what comes next starts from there.
    fn take(&mut self) -> Cut {
        let start = CutStart {
            sequence: self.cut.sequence + 1,
            from: self.cut.next,
            lines: self.cut.lines,
            segments: self.segments,
            damaged: self.cut.damage.last().map(|(_, segment)| *segment),
        };
        let mut cut = std::mem::replace(self, Self::new(start)).cut;
        cut.complete = cut.next.segment >= start.segments;
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Tail;

    fn weight(segment: u32, chunk: u32, lines: u64, last: bool, numbered: bool) -> (Epoch, Vec<Weight>) {
        let position = Position { segment, chunk };
        let tail = Tail { position, lines, last, ..Tail::default() };
        let counts = Counts::default();
        (position.epoch(), vec![Weight { bytes: 10, newest_seen: None, numbered, counts, tail: Some(tail) }])
    }

    #[test]
    fn lines_are_counted_over_chunks_and_start_anew_with_a_segment() {
        let start = CutStart { sequence: 5, from: Position::default(), lines: 0, segments: 2, damaged: None };
        let mut sum = Sum::new(start);
        for (epoch, weights) in
            [weight(0, 0, 10, false, true), weight(0, 1, 7, true, true), weight(1, 0, 3, false, true)]
        {
            assert!(sum.add(epoch, weights));
        }
        let cut = sum.take();
        let epoch = |segment, chunk| Position { segment, chunk }.epoch();
        assert_eq!(cut.lines_before, [(epoch(0, 0), 0), (epoch(0, 1), 10), (epoch(1, 0), 0)]);
        assert_eq!((cut.sequence, cut.next, cut.lines, cut.complete), (5, Position { segment: 1, chunk: 1 }, 3, false));

        let (at, weights) = weight(1, 1, 2, true, true);
        assert!(sum.add(at, weights));
        let cut = sum.take();
        assert_eq!(cut.lines_before, [(at, 3)]);
        assert_eq!((cut.sequence, cut.complete), (6, true));
    }

    #[test]
    fn a_stretch_that_cannot_be_read_is_one_epoch() {
        let mut sum =
            Sum::new(CutStart { sequence: 1, from: Position::default(), lines: 0, segments: 9, damaged: None });
        let after = [(0, 4), (2, 1)].map(|(segment, chunk)| Position { segment, chunk });
        for ((epoch, mut weights), after) in
            [weight(0, 0, 3, false, true), weight(0, 4, 2, true, true)].into_iter().zip(after)
        {
            weights[0].tail.as_mut().expect("it has one").next = Some(after);
            assert!(sum.add(epoch, weights));
            assert_eq!(sum.cut.next, after);
        }
        assert!(!sum.add(Position { segment: 1, chunk: 0 }.epoch(), Vec::new()));
        let (epoch, weights) = weight(2, 1, 1, false, true);
        assert!(sum.add(epoch, weights));
        assert_eq!(sum.take().lines, 1);
    }

    #[test]
    fn what_lies_behind_a_gap_is_left_out() {
        let mut sum =
            Sum::new(CutStart { sequence: 1, from: Position::default(), lines: 0, segments: 1, damaged: None });
        let (epoch, weights) = weight(0, 1, 7, true, false);
        assert!(!sum.add(epoch, weights));
        assert_eq!(sum.cut.next, Position::default());
    }

    /// Rows of coverage whose entries lie before damage are not believed, in this cut and later ones.
    #[test]
    fn what_damage_may_have_taken_is_not_covered() {
        let mut sum =
            Sum::new(CutStart { sequence: 1, from: Position::default(), lines: 0, segments: 9, damaged: Some(1) });
        let mut add = |segment: u32, chunk: u32, last: bool, lost_of_logs: bool, covered_since: &[u32]| {
            let position = Position { segment, chunk };
            let counts = Counts { coverage: covered_since.len() as u64, ..Counts::default() };
            let covered_since = covered_since.to_vec();
            let tail = Tail { position, last, lost_of_logs, covered_since, counts, ..Tail::default() };
            let weight =
                Weight { bytes: 1, newest_seen: None, numbered: false, counts: Counts::default(), tail: Some(tail) };
            sum.cut.next = position;
            assert!(sum.add(position.epoch(), vec![weight]));
            sum.cut.counts.coverage
        };
        assert_eq!(add(3, 0, false, false, &[1, 2]), 1);
        assert_eq!(add(3, 1, false, true, &[2, 3, 4]), 2);
        assert_eq!(add(3, 2, false, false, &[3]), 2);
        assert_eq!(add(4, 0, false, false, &[3, 4]), 3);
        let cut = sum.take();
        let epoch = |segment, chunk| Position { segment, chunk }.epoch();
        assert_eq!(cut.damage, [(0, 1), (epoch(3, 1), 3)]);
        assert!(cut.believes(epoch(3, 0), Some(2)) && !cut.believes(epoch(3, 0), Some(1)));
        assert!(!cut.believes(epoch(3, 1), Some(3)) && cut.believes(epoch(4, 0), Some(4)));
        assert!(cut.believes(epoch(3, 2), None));
        assert_eq!(sum.cut.damage, [(0, 3)]);
    }
}
