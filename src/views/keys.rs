//! The views as keys of hot state, and those keys as one document.

use std::collections::BTreeMap;

use ct_dataflows::modules::WatchItem;
use ct_dataflows::views::{Changes, Counts, DELAYS_MS, Dimension, Issuances, Match, Standing, Watched};
use ct_model::IdKind;
use ct_sinks::hot::{Fields, VIEW_STATE, ViewValue, WindowState};
use serde_json::{Map, Value, json};

/// Dimensions with a sorted set of their own.
const TOP_DIMENSIONS: [Dimension; 3] = [Dimension::Issuer, Dimension::Domain, Dimension::Log];
const COUNTS: &str = "view:counts:";
const TOP: &str = "top:";
const ISSUANCES: &str = "issuances";
const WATCHED: &str = "view:watch";
const WATCH: &str = "watch:";

/// The key of the matches of an item.
pub fn item_key(item: &str) -> String {
    format!("{WATCH}{item}")
}

/// The key of the largest counts of a dimension.
pub fn top_key(dimension: &str) -> String {
    format!("{TOP}{dimension}")
}

/// What keys that speak of several views have to know of them all.
#[derive(Default)]
pub struct Told {
    /// By dimension: the sum of all counts, and how many there are.
    totals: BTreeMap<Dimension, (u64, u64)>,
    /// Items with the number of their open matches.
    watched: BTreeMap<WatchItem, u64>,
}

impl Told {
    /// Values of keys that changed; an empty one is no more.
    pub fn values(&mut self, changes: Changes) -> BTreeMap<String, ViewValue> {
        let mut values = BTreeMap::new();
        for (dimension, Counts { sum, things, top }) in changes.counts {
            let name = dimension.as_str();
            if TOP_DIMENSIONS.contains(&dimension) {
                let members = top.iter().map(|(text, count)| (text.to_string(), *count as i64));
                values.insert(top_key(name), ViewValue::Set(members.collect()));
            }
            let fields = top.iter().map(|(text, count)| (text.to_string(), count.to_string()));
            values.insert(format!("{COUNTS}{name}"), ViewValue::Hash(fields.collect()));
            self.totals.insert(dimension, (sum, things));
        }
        if let Some(issuances) = changes.issuances {
            values.insert(ISSUANCES.to_owned(), ViewValue::Hash(fields_of(&issuances)));
        }
        if changes.watched.is_empty() {
            return values;
        }
        for (item, found) in changes.watched {
            let key = item_key(&item.text());
            match &found {
                Some(found) => self.watched.insert(item, found.open),
                None => self.watched.remove(&item),
            };
            let Watched { newest, .. } = found.unwrap_or_default();
            let members = newest.iter().map(|found| (member(found), found.seen_ms));
            values.insert(key, ViewValue::Set(members.collect()));
        }
        let fields = self.watched.iter().map(|(item, open)| (item.text().into(), open.to_string()));
        values.insert(WATCHED.to_owned(), ViewValue::Hash(fields.collect()));
        values
    }

    /// The fields of `view:state`.
    pub fn state(&self, state: &WindowState, standing: &Standing) -> Fields {
        let WindowState { lake, published, horizon_ms } = state;
        let Standing { certificates, entries, whole_after_ms, early } = standing;
        let mut fields = Fields::new();
        let mut put = |name: &str, value: String| fields.insert(name.to_owned(), value);
        put("lake", lake.clone());
        put("published", published.to_string());
        put("certificates", certificates.to_string());
        put("entries", entries.to_string());
        put("expired_early", early.to_string());
        for (name, ms) in [("horizon_ms", horizon_ms), ("whole_after_ms", whole_after_ms)] {
            if let Some(ms) = ms {
                put(name, ms.to_string());
            }
        }
        for (dimension, (sum, things)) in &self.totals {
            put(&format!("total:{}", dimension.as_str()), sum.to_string());
            put(&format!("different:{}", dimension.as_str()), things.to_string());
        }
        fields
    }
}

/// `<sha256> <name>`; a certificate without one is named by its id and what kind of id that is.
fn member(found: &Match) -> String {
    let Match { id, name, .. } = found;
    match id.kind {
        IdKind::Der | IdKind::Sha256 => format!("{} {name}", id.hex()),
        kind => format!("{}:{} {name}", kind.as_str(), id.hex()),
    }
}

fn fields_of(issuances: &Issuances) -> Fields {
    let Issuances { pairs, unpaired_precerts, unpaired_finals, delay_ms_sum, delays } = issuances;
    let mut fields = Fields::from(
        [
            ("pairs", pairs.to_string()),
            ("unpaired_precerts", unpaired_precerts.to_string()),
            ("unpaired_finals", unpaired_finals.to_string()),
            ("delay_ms_sum", delay_ms_sum.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let classes = DELAYS_MS.iter().map(|most| format!("delay_ms_le_{most}")).chain(["delay_ms_longer".to_owned()]);
    fields.extend(classes.zip(delays.iter().map(u64::to_string)));
    fields
}

/// All views as one object.
pub fn document(values: &BTreeMap<String, ViewValue>) -> Value {
    let (mut state, mut issuances) = (Map::new(), Map::new());
    let (mut counts, mut top, mut watch) = (Map::new(), Map::new(), Map::new());
    for (name, value) in values {
        match value {
            ViewValue::Hash(fields) if name == VIEW_STATE => state = numbers(fields),
            ViewValue::Hash(fields) if name == ISSUANCES => issuances = numbers(fields),
            ViewValue::Hash(fields) if name == WATCHED => {
                for (item, open) in numbers(fields) {
                    let matches = values.get(&item_key(&item)).map_or_else(|| json!([]), matches);
                    watch.insert(item, json!({ "open": open, "newest": matches }));
                }
            }
            ViewValue::Hash(fields) => {
                if let Some(dimension) = name.strip_prefix(COUNTS) {
                    counts.insert(dimension.to_owned(), numbers(fields).into());
                }
            }
            ViewValue::Set(_) => {
                if let Some(dimension) = name.strip_prefix(TOP) {
                    top.insert(dimension.to_owned(), ranks(value));
                }
            }
        }
    }
    json!({ "state": state, "counts": counts, "top": top, "issuances": issuances, "watch": watch })
}

fn numbers(fields: &Fields) -> Map<String, Value> {
    let value = |text: &String| text.parse::<i64>().map_or_else(|_| text.clone().into(), Value::from);
    fields.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

/// `top:<dimension>`, largest first.
pub fn ranks(value: &ViewValue) -> Value {
    by_score(value).into_iter().map(|(name, count)| json!({ "name": name, "count": count })).collect()
}

/// `watch:<item>`, newest first.
pub fn matches(value: &ViewValue) -> Value {
    let told = |(member, seen_ms): (&str, i64)| {
        let (certificate, name) = member.split_once(' ').unwrap_or((member, ""));
        json!({ "certificate": certificate, "name": name, "seen_ms": seen_ms })
    };
    by_score(value).into_iter().map(told).collect()
}

fn by_score(value: &ViewValue) -> Vec<(&str, i64)> {
    let ViewValue::Set(members) = value else { return Vec::new() };
    let mut members: Vec<_> = members.iter().map(|(member, score)| (member.as_str(), *score)).collect();
    members.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
    members
}
