//! The views, joined: collections in, collections out.

use differential_dataflow::VecCollection;

use super::counts::{Counted, Total, counts, totals};
use super::issuances::{Figure, Issued, issuances};
use super::top::top;
use super::watch::{Named, matches};
use super::{Step, counts::Dimension};
use crate::modules::WatchItem;

/// What is held, in the forms in which the views want it, and the watch list.
pub(super) struct Inputs<'s> {
    pub(super) counted: VecCollection<'s, Step, (Dimension, Box<str>)>,
    pub(super) issued: VecCollection<'s, Step, Issued>,
    pub(super) names: VecCollection<'s, Step, Named>,
    pub(super) items: VecCollection<'s, Step, WatchItem>,
}

/// Each record that is there is there once.
pub(super) struct Outputs<'s> {
    pub(super) totals: VecCollection<'s, Step, Total>,
    /// The largest of each dimension with their counts.
    pub(super) top: VecCollection<'s, Step, (Counted, isize)>,
    /// Figures that are not zero.
    pub(super) issuances: VecCollection<'s, Step, (Figure, isize)>,
    pub(super) matches: VecCollection<'s, Step, (WatchItem, Named)>,
}

/// `k`: how many of a dimension are shown.
pub(super) fn graph(inputs: Inputs<'_>, k: usize) -> Outputs<'_> {
    let counts = counts(inputs.counted);
    Outputs {
        totals: totals(counts.clone()),
        top: top(counts, k),
        issuances: issuances(inputs.issued),
        matches: matches(inputs.names, inputs.items),
    }
}
