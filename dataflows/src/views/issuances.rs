//! Precertificates and final certificates, joined by what they have in common.
//!
//! The two certificates of an issuance have one TBSCertificate but for poison and SCT list (RFC 6962 section 3.2);
//! `tbs_sha256` is its hash. An issuance whose two sides are held is a pair; with one side it is unpaired. When the older
//! side expires, the other one is unpaired from then on.

use ct_model::EntryKind;
use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;
use serde::{Deserialize, Serialize};

use super::Step;

/// Upper ends (inclusive) of the delays that are counted together, in milliseconds; what is longer comes last.
pub const DELAYS_MS: [i64; 7] = [0, 1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000];

/// 400 days. `seen` is somebody's word, and sums must not overflow.
const DELAY_MS_MAX: i64 = 400 * 86_400_000;

/// A certificate as the join sees it: half of `tbs_sha256`, which side it is, and `seen` in milliseconds.
pub(super) type Issued = (u128, (Side, i64));

/// One side of an issuance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Side {
    Precert,
    Final,
}

impl From<EntryKind> for Side {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Precert => Self::Precert,
            EntryKind::Final => Self::Final,
        }
    }
}

/// How issuances stand, absolute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Issuances {
    pub pairs: u64,
    pub unpaired_precerts: u64,
    pub unpaired_finals: u64,
    /// Over all pairs, from the first precertificate to the first final certificate; negative where that came first.
    pub delay_ms_sum: i64,
    /// Pairs by delay, see [`DELAYS_MS`].
    pub delays: [u64; DELAYS_MS.len() + 1],
}

/// What is added up over issuances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Figure {
    Pairs,
    UnpairedPrecerts,
    UnpairedFinals,
    DelayMsSum,
    Delay(u8),
}

impl Issuances {
    /// Takes a figure's new value.
    pub(super) fn set(&mut self, figure: Figure, value: isize) {
        let count = value.max(0) as u64;
        match figure {
            Figure::Pairs => self.pairs = count,
            Figure::UnpairedPrecerts => self.unpaired_precerts = count,
            Figure::UnpairedFinals => self.unpaired_finals = count,
            Figure::DelayMsSum => self.delay_ms_sum = value as i64,
            Figure::Delay(class) => self.delays[usize::from(class)] = count,
        }
    }
}

/// How one issuance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Stand {
    Pair { delay_ms: i64 },
    Precert,
    Final,
}

/// The figures that are not zero.
pub(super) fn issuances(issued: VecCollection<'_, Step, Issued>) -> VecCollection<'_, Step, (Figure, isize)> {
    let stands = issued.reduce(|_tbs, sides, out| {
        // Sorted by side, then by time.
        let first = |side| sides.iter().map(|(one, _)| **one).find(|one| one.0 == side).map(|one| one.1);
        let stand = match (first(Side::Precert), first(Side::Final)) {
            (Some(precert_ms), Some(final_ms)) => {
                Stand::Pair { delay_ms: final_ms.saturating_sub(precert_ms).clamp(-DELAY_MS_MAX, DELAY_MS_MAX) }
            }
            (Some(_), None) => Stand::Precert,
            _ => Stand::Final,
        };
        out.push((stand, 1_isize));
    });
    let figures = stands.explode(|(_tbs, stand)| {
        let one = |figure| vec![(figure, 1)];
        match stand {
            Stand::Pair { delay_ms } => {
                let class = DELAYS_MS.partition_point(|most| *most < delay_ms) as u8;
                vec![(Figure::Pairs, 1), (Figure::DelayMsSum, delay_ms as isize), (Figure::Delay(class), 1)]
            }
            Stand::Precert => one(Figure::UnpairedPrecerts),
            Stand::Final => one(Figure::UnpairedFinals),
        }
    });
    figures.count_total()
}
