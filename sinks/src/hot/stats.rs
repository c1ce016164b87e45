//! Counters that hot state shows: absolute values, a function of the lake alone.

use std::collections::{BTreeMap, HashMap};

use arrow_array::{Array, RecordBatch};
use ct_model::{Counts, Timestamp};
use serde_json::Value;

use crate::error::SinkError;
use crate::hot::row::{text_column, time_column};

/// One set of counters, by name.
pub type Counters = BTreeMap<String, u64>;

/// Issuers with a counter of their own; those met later share `other`.
const ISSUERS_MAX: usize = 10_000;
/// Longer names are cut: what a certificate says of its issuer has no bound of its own.
const ISSUER_BYTES_MAX: usize = 256;
const OTHER: &str = "other";
const UNKNOWN: &str = "unknown";
/// A week.
const HOURS_MAX: usize = 168;

/// The counters after some manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// [`Counts`] of the whole lake.
    totals: Counters,
    /// Findings by module.
    modules: Counters,
    /// Certificates by the organisation, else the common name, of their issuer.
    issuers: HashMap<String, u64>,
    /// Certificates by the UTC hour in which they were seen, newest hours only.
    hours: Counters,
}

impl Stats {
    pub const NAMES: [&'static str; 4] = ["totals", "modules", "issuers", "hours"];

    /// The columns of `certificates` that [`Stats::add`] reads.
    pub(crate) const COLUMNS: &'static [&'static str] = &["issuer_org", "issuer_cn", "seen"];

    /// Reads back what [`Stats::named`] gave.
    pub(crate) fn load(mut read: impl FnMut(&str) -> Result<Counters, SinkError>) -> Result<Self, SinkError> {
        Ok(Self {
            totals: read("totals")?,
            modules: read("modules")?,
            issuers: read("issuers")?.into_iter().collect(),
            hours: read("hours")?,
        })
    }

    /// Every set of counters with its name.
    pub(crate) fn named(&self) -> [(&'static str, Counters); 4] {
        let issuers = self.issuers.iter().map(|(name, count)| (name.clone(), *count)).collect();
        [
            ("totals", self.totals.clone()),
            ("modules", self.modules.clone()),
            ("issuers", issuers),
            ("hours", self.hours.clone()),
        ]
    }

    /// Tells whether a set was lost or touched: everything added up.
    pub(crate) fn sum(&self) -> u64 {
        let sets = [&self.totals, &self.modules, &self.hours];
        let ordered = sets.into_iter().flat_map(BTreeMap::values);
        ordered.chain(self.issuers.values()).fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Counts the certificates of a batch.
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        let [org, cn] = ["issuer_org", "issuer_cn"].map(|name| text_column(batch, name));
        let seen = time_column(batch, "seen");
        let mut hour = (i64::MIN, 0_u64);
        for row in 0..batch.num_rows() {
            let issuer = [org, cn].into_iter().flatten().find(|array| array.is_valid(row));
            self.count_issuer(issuer.map_or(UNKNOWN, |array| array.value(row)));
            if let Some(seen) = seen.filter(|array| array.is_valid(row)) {
                let this = Timestamp(seen.value(row)).seconds().div_euclid(3_600);
                if this != hour.0 {
                    self.count_hour(hour);
                    hour = (this, 0);
                }
                hour.1 += 1;
            }
        }
        self.count_hour(hour);
    }

    /// Takes over what a manifest says of the whole lake.
    pub(crate) fn set_totals(&mut self, totals: &Counts) {
        self.modules.clone_from(&totals.findings_by_module);
        let Ok(Value::Object(fields)) = serde_json::to_value(totals) else {
            unreachable!("counts are a JSON object");
        };
        self.totals = fields.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect();
    }

    fn count_issuer(&mut self, name: &str) {
        let name = &name[..name.floor_char_boundary(ISSUER_BYTES_MAX)];
        if let Some(count) = self.issuers.get_mut(name) {
            *count += 1;
        } else if self.issuers.len() < ISSUERS_MAX {
            self.issuers.insert(name.to_owned(), 1);
        } else {
            *self.issuers.entry(OTHER.to_owned()).or_default() += 1;
        }
    }

    fn count_hour(&mut self, (hour, count): (i64, u64)) {
        if count == 0 {
            return;
        }
        *self.hours.entry(Timestamp::from_seconds(hour * 3_600).hour_text()).or_default() += count;
        while self.hours.len() > HOURS_MAX {
            self.hours.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_bounded() {
        let mut stats = Stats::default();
        for issuer in 0..ISSUERS_MAX + 50 {
            stats.count_issuer(&issuer.to_string());
        }
        stats.count_issuer("7");
        assert_eq!(stats.issuers.len(), ISSUERS_MAX + 1);
        assert_eq!((stats.issuers[OTHER], stats.issuers["7"]), (50, 2));
    }

    #[test]
    fn long_issuers_are_cut_between_characters() {
        let mut stats = Stats::default();
        stats.count_issuer(&format!("x{}", "\u{20ac}".repeat(1_000)));
        assert_eq!(stats.issuers.keys().next().unwrap().len(), 256);
    }

    #[test]
    fn the_newest_hours_stay_whatever_the_order() {
        let (mut forth, mut back) = (Stats::default(), Stats::default());
        for hour in 0..500 {
            forth.count_hour((hour, 1));
            back.count_hour((499 - hour, 1));
        }
        assert_eq!(forth, back);
        assert_eq!(forth.hours.len(), HOURS_MAX);
        assert_eq!(forth.hours.first_key_value().unwrap().0, "1970-01-14T20");
    }

    #[test]
    fn what_is_named_loads_back() {
        let mut stats = Stats::default();
        stats.count_issuer("Example CA");
        stats.count_hour((7, 3));
        stats.set_totals(&Counts {
            certificates: 4,
            findings_by_module: [("punycode".to_owned(), 2)].into(),
            ..Counts::default()
        });
        let sets: BTreeMap<_, _> = stats.named().into();
        let loaded = Stats::load(|name| Ok(sets[name].clone())).unwrap();
        assert_eq!((loaded.sum(), &loaded), (stats.sum(), &stats));
    }
}
