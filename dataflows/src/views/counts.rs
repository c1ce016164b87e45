//! How many certificates are held, by what they have in common.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;
use serde::{Deserialize, Serialize};

use super::Step;

/// What is counted. A certificate counts once in each, but for `Domain` (once for each of its registered domains) and
/// `Log` (an entry counts, not a certificate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dimension {
    /// Organisation, else common name.
    Issuer,
    Domain,
    /// Algorithm and bits.
    Key,
    Log,
    /// UTC hour of `seen`.
    Hour,
}

impl Dimension {
    pub const ALL: [Self; 5] = [Self::Issuer, Self::Domain, Self::Key, Self::Log, Self::Hour];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Domain => "domain",
            Self::Key => "key",
            Self::Log => "log",
            Self::Hour => "hour",
        }
    }
}

/// Something that is counted: `(Domain, "example.com")`.
pub(super) type Counted = (Dimension, Box<str>);

/// The number of each thing that is there at least once.
pub(super) fn counts(counted: VecCollection<'_, Step, Counted>) -> VecCollection<'_, Step, (Counted, isize)> {
    counted.count_total()
}

/// By dimension: the sum over all things, and how many different ones there are.
pub(super) fn totals(counts: VecCollection<'_, Step, (Counted, isize)>) -> VecCollection<'_, Step, Total> {
    counts
        .explode(|((dimension, _), count)| [(dimension, (count, 1))])
        .count_total()
        .map(|(dimension, (sum, things))| Total { dimension, sum, things })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Total {
    pub(super) dimension: Dimension,
    pub(super) sum: isize,
    pub(super) things: isize,
}
