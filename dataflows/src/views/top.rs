//! The largest counts of each dimension.
//!
//! Counts are classed by size, a class for each power of two. The number of things in each class tells which classes
//! the largest `k` lie in, and only those classes are ordered: among 100,000 registered domains that are some hundreds,
//! and a domain that goes from one certificate to two touches no order at all. Where most counts are equal and small,
//! the class at the edge is large, and all of it is ordered at each change in it.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;

use super::Step;
use super::counts::Counted;

/// The `k` largest of each dimension with their counts; of equal ones those that come first as text.
pub(super) fn top(
    counts: VecCollection<'_, Step, (Counted, isize)>,
    k: usize,
) -> VecCollection<'_, Step, (Counted, isize)> {
    // Smaller is larger, so that the order of texts decides among equals.
    let classed = counts.map(|((dimension, text), count)| ((dimension, class(count)), (-count, text)));
    let sizes = classed.clone().map(|(class, _)| class).count_total();
    let needed = sizes.map(|((dimension, class), things)| (dimension, (class, things))).reduce(
        move |_dimension, classes, out| {
            let mut found = 0;
            for &(&(class, things), _) in classes {
                out.push((class, 1_isize));
                found += things;
                if usize::try_from(found).is_ok_and(|found| found >= k) {
                    break;
                }
            }
        },
    );
    let candidates = classed.semijoin(needed).map(|((dimension, _), thing)| (dimension, thing));
    let largest = candidates.reduce(move |_dimension, things, out| {
        out.extend(things.iter().take(k).map(|(thing, _)| ((*thing).clone(), 1_isize)));
    });
    largest.map(|(dimension, (count, text))| ((dimension, text), -count))
}

/// Largest counts first.
fn class(count: isize) -> i8 {
    -(count.max(1).ilog2() as i8)
}
