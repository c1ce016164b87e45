//! Module `rate-anomaly`: an issuer or a registered domain that suddenly gets many more certificates than it used to.
//!
//! Certificates are counted by windows of their `seen`. A window is compared with the windows before it: it is a
//! finding when its count is far above their mean, measured in their own deviation.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ct_model::{Finding, Severity, Timestamp};
use serde_json::{Map, json};

use super::event_time::EventTime;
use super::lowest::Lowest;
use super::options::type_name;
use super::{
    Claim, Examine, FACTS_MAX, Fact, Memory, ModuleDef, OptionDef, OptionError, OptionKind, Remember, Settings, Subject,
};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "rate-anomaly",
    by_default: false,
    doc: "issuers and registered domains that suddenly get many certificates",
    options: &[
        OptionDef {
            name: "by",
            kind: OptionKind::List,
            default: "[\"issuer\", \"domain\"]",
            doc: "what is counted: issuer, domain",
        },
        OptionDef {
            name: "window_minutes",
            kind: OptionKind::Integer { min: 1, max: 1_440 },
            default: "60",
            doc: "the length of a window",
        },
        OptionDef {
            name: "history",
            kind: OptionKind::Integer { min: 2, max: 1_000 },
            default: "48",
            doc: "windows that a window is compared with",
        },
        OptionDef {
            name: "learn_windows",
            kind: OptionKind::Integer { min: 1, max: 1_000 },
            default: "12",
            doc: "windows that must have been watched before one is judged",
        },
        OptionDef {
            name: "z",
            kind: OptionKind::Integer { min: 1, max: 1_000 },
            default: "6",
            doc: "deviations above the mean from which on a count is a finding",
        },
        OptionDef {
            name: "minimum_issuer",
            kind: OptionKind::Integer { min: 1, max: 1_000_000_000 },
            default: "500",
            doc: "a window of an issuer with fewer certificates is no finding",
        },
        OptionDef {
            name: "minimum_domain",
            kind: OptionKind::Integer { min: 1, max: 1_000_000_000 },
            default: "50",
            doc: "a window of a domain with fewer certificates is no finding",
        },
        OptionDef {
            name: "keys_max",
            kind: OptionKind::Integer { min: 256, max: 1_000_000_000 },
            default: "500000",
            doc: "issuers and domains that are counted in a window; of more, a sample by their hashes",
        },
    ],
    prepare: |settings| Ok(Box::new(RateAnomaly(Arc::new(Rules::new(settings)?)))),
};

/// What is counted. The number is in the facts.
const ISSUER: i64 = 0;
const DOMAIN: i64 = 1;

struct Rules {
    issuers: bool,
    domains: bool,
    window_us: i64,
    history: i64,
    learn_windows: usize,
    z: f64,
    /// Of issuers and of domains.
    minimum: [u32; 2],
    keys_of_bin: usize,
    /// By how many windows back: halves over half the history.
    weights: Vec<f64>,
}

impl Rules {
    fn new(settings: &Settings) -> Result<Self, OptionError> {
        let number = |name| u32::try_from(settings.integer(name)).expect("at most a thousand million");
        let history = number("history");
        let (mut issuers, mut domains) = (false, false);
        for (index, word) in settings.list("by").iter().enumerate() {
            let key = settings.key(&format!("by[{index}]"));
            match word.as_str() {
                Some("issuer") => issuers = true,
                Some("domain") => domains = true,
                Some(other) => {
                    let (value, allowed) = (format!("{other:?}"), "issuer, domain".to_owned());
                    return Err(OptionError::NotAllowed { key, value, allowed });
                }
                None => return Err(OptionError::WrongType { key, found: type_name(word), expected: "text" }),
            }
        }
        Ok(Self {
            issuers,
            domains,
            window_us: i64::from(number("window_minutes")) * 60_000_000,
            history: history.into(),
            learn_windows: number("learn_windows").min(history) as usize,
            z: number("z").into(),
            minimum: [number("minimum_issuer"), number("minimum_domain")],
            keys_of_bin: number("keys_max").div_ceil(256) as usize,
            weights: (0..=history).map(|age| 0.5_f64.powf(2.0 * f64::from(age) / f64::from(history))).collect(),
        })
    }
}

struct RateAnomaly(Arc<Rules>);

impl Examine for RateAnomaly {
    fn examine(&self, _subject: &Subject<'_>, _out: &mut Vec<Finding>) {}

    fn remember(&self) -> Option<&dyn Remember> {
        Some(self)
    }
}

impl Remember for RateAnomaly {
    /// `text` is the issuer or the domain, the first number says which.
    fn facts(&self, subject: &Subject<'_>, out: &mut Vec<Fact>) {
        let Some(certificate) = subject.certificate.filter(|certificate| certificate.seen.is_some()) else { return };
        let issuer = certificate.issuer_org.as_deref().or(certificate.issuer_cn.as_deref());
        if let Some(issuer) = issuer.filter(|_| self.0.issuers) {
            let fact = Fact::about(certificate, Fact::key_of(&["issuer", issuer]));
            out.push(Fact { text: issuer.into(), numbers: [ISSUER, 0, 0], ..fact });
        }
        let domains = certificate.registered_domains.iter().filter(|_| self.0.domains);
        out.extend(domains.take(FACTS_MAX - 1).map(|domain| {
            let fact = Fact::about(certificate, Fact::key_of(&["domain", domain]));
            Fact { text: domain.clone(), numbers: [DOMAIN, 0, 0], ..fact }
        }));
    }

    fn memory(&self) -> Box<dyn Memory> {
        let (windows, time, judged) = (BTreeMap::new(), EventTime::default(), HashMap::new());
        Box::new(Windows { rules: self.0.clone(), windows, time, judged })
    }

    /// Two stretches of history are kept, and a third is for bins whose newest fact is older than the lake's.
    fn reach_days(&self) -> Option<u32> {
        u32::try_from(3 * self.0.history * self.0.window_us / 86_400_000_000 + 1).ok()
    }
}

/// Counts of one bin.
struct Windows {
    rules: Arc<Rules>,
    /// By number of the window since 1970, then by key.
    windows: BTreeMap<i64, Lowest<u64, u32>>,
    /// In windows.
    time: EventTime,
    /// The window of a key that was judged last. Saves work only.
    judged: HashMap<u64, Judged>,
}

struct Judged {
    window: i64,
    usual: Option<Usual>,
    said: bool,
}

/// What is usual for a key before a window.
#[derive(Clone, Copy)]
struct Usual {
    mean: f64,
    deviation: f64,
}

impl Windows {
    /// Counts the fact. Gives its window and the count there, if it is not too late to be judged.
    fn take(&mut self, fact: &Fact) -> Option<(i64, u32)> {
        let window = fact.seen?.0.div_euclid(self.rules.window_us);
        self.time.see(window);
        let now = self.time.now();
        let oldest = now.map_or(i64::MIN, |now| now - 2 * self.rules.history);
        while self.windows.first_key_value().is_some_and(|(first, _)| *first < oldest) {
            self.windows.pop_first();
            self.judged.clear();
        }
        if window < oldest {
            return None;
        }
        if self.judged.get(&fact.key).is_some_and(|judged| window < judged.window) {
            self.judged.remove(&fact.key);
        }
        let counts = self.windows.entry(window).or_insert_with(|| Lowest::new(self.rules.keys_of_bin));
        let count: &mut u32 = counts.entry(fact.key)?;
        *count = count.saturating_add(1);
        now.is_none_or(|now| window >= now - self.rules.history).then_some((window, *count))
    }

    /// `None` while too few windows were watched. A window in which nothing at all was seen was not watched.
    fn usual(&self, key: u64, window: i64) -> Option<Usual> {
        let (mut watched, mut weights, mut sum, mut squares) = (0, 0.0, 0.0, 0.0);
        for (past, counts) in self.windows.range(window - self.rules.history..window) {
            if counts.covers(key) {
                let weight = usize::try_from(window - past).ok().and_then(|age| self.rules.weights.get(age));
                let weight = weight.copied().unwrap_or_default();
                let count = f64::from(counts.get(key).copied().unwrap_or_default());
                watched += 1;
                weights += weight;
                sum += weight * count;
                squares += weight * count * count;
            }
        }
        if watched < self.rules.learn_windows {
            return None;
        }
        let mean = sum / weights;
        let variance = squares / weights - mean * mean;
        // Even what always comes at the same rate varies by the root of its mean.
        Some(Usual { mean, deviation: variance.max(mean).max(1.0).sqrt() })
    }
}

impl Memory for Windows {
    fn recall(&mut self, fact: Fact) {
        self.take(&fact);
    }

    fn learn(&mut self, fact: Fact, out: &mut Vec<Finding>) {
        let Some((window, count)) = self.take(&fact) else { return };
        let of_domain = fact.numbers[0] == DOMAIN;
        if count < self.rules.minimum[usize::from(of_domain)] {
            return;
        }
        if self.judged.get(&fact.key).is_none_or(|judged| judged.window != window) {
            let usual = self.usual(fact.key, window);
            self.judged.insert(fact.key, Judged { window, usual, said: false });
        }
        let Some(Judged { usual: Some(usual), said, .. }) = self.judged.get_mut(&fact.key) else { return };
        let limit = usual.mean + self.rules.z * usual.deviation;
        if *said || f64::from(count) <= limit {
            return;
        }
        *said = true;
        let (by, check) = if of_domain { ("domain", "domain-rate") } else { ("issuer", "issuer-rate") };
        let from = Timestamp(window * self.rules.window_us).to_string();
        let tenths = |number: f64| (number * 10.0).round() / 10.0;
        let detail = Map::from_iter([
            (by.to_owned(), json!(fact.text)),
            ("from".to_owned(), from.as_str().into()),
            ("minutes".to_owned(), (self.rules.window_us / 60_000_000).into()),
            ("count".to_owned(), count.into()),
            ("mean".to_owned(), tenths(usual.mean).into()),
            ("deviation".to_owned(), tenths(usual.deviation).into()),
        ]);
        let (key, name) = (format!("{from} {}", fact.text), of_domain.then_some(&*fact.text));
        let claim = Claim { check, severity: Severity::Medium, key: &key, name, once: true, detail };
        out.push(fact.finding(MODULE.name, claim));
    }
}

#[cfg(test)]
mod tests {
    use ct_model::CertRecord;
    use serde_json::Value;

    use super::super::memory::tests::{certificate, learn, said};
    use super::super::tests::module;
    use super::*;

    /// So many certificates of one domain and issuer in each window of a minute.
    fn stream(counts: &[u32]) -> Vec<CertRecord> {
        let of_window = |(window, count): (i64, &u32)| (0..*count).map(move |n| (window, n));
        let all = (0..).zip(counts).flat_map(of_window).zip(0..);
        all.map(|((window, n), number)| {
            let seen = Some(Timestamp(1_795_392_000_000_000 + window * 60_000_000 + i64::from(n)));
            CertRecord { seen, issuer_org: Some("CA".into()), ..certificate(number, &["a.com"]) }
        })
        .collect()
    }

    fn options(by: &str) -> Value {
        json!({"by": [by], "window_minutes": 1, "history": 4, "learn_windows": 2, "z": 3,
               "minimum_issuer": 10, "minimum_domain": 10})
    }

    #[track_caller]
    fn check(counts: &[u32], want: &[(u32, f64, f64)]) {
        for by in ["domain", "issuer"] {
            let found = learn("rate-anomaly", options(by), &stream(counts));
            let told = found.iter().map(|finding| {
                let detail: Value = serde_json::from_str(&finding.detail).unwrap();
                let number = |name: &str| detail[name].as_f64().unwrap();
                (number("count") as u32, number("mean"), number("deviation"))
            });
            assert_eq!(told.collect::<Vec<_>>(), want, "{by}");
        }
    }

    // Weights of the four windows before, newest first: 2^(-1/2), 1/2, 2^(-3/2), 1/4. Worked out by hand.
    #[test]
    fn a_jump_is_told_once_when_it_passes_the_limit() {
        // The mean is 4 and the deviation its root, so the limit is 10.
        check(&[4, 4, 4, 4, 30], &[(11, 4.0, 2.0)]);
    }

    #[test]
    fn newer_windows_weigh_more() {
        // Two windows of 2 and then 8: (0.707 * 8 + 0.5 * 2) / 1.207 = 5.51; the limit is 5.51 + 3 * 2.95 = 14.4.
        check(&[2, 8, 40], &[(15, 5.5, 3.0)]);
    }

    #[test]
    fn nothing_is_said_while_learning_or_below_the_minimum() {
        check(&[1, 30], &[]);
        check(&[1, 1, 9], &[]);
        check(&[4, 4, 10], &[]);
    }

    #[test]
    fn what_varies_may_vary() {
        check(&[2, 30, 2, 30, 2, 30], &[]);
    }

    #[test]
    fn each_window_is_told() {
        let found = learn("rate-anomaly", options("domain"), &stream(&[1, 1, 1, 1, 20, 200]));
        assert_eq!(said(&found), [("domain-rate", "a.com"), ("domain-rate", "a.com")]);
        assert_ne!(found[0].id, found[1].id);
    }

    #[test]
    fn a_window_of_long_ago_is_not_judged() {
        let mut certificates = stream(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        let late = certificates[3].seen;
        certificates.extend((100..160).map(|n| CertRecord { seen: late, ..certificate(n, &["a.com"]) }));
        assert_eq!(learn("rate-anomaly", options("domain"), &certificates), []);
    }

    #[test]
    fn mistakes_name_the_key() {
        let error = module("rate-anomaly", json!({"by": ["issuer", "key"]})).err().unwrap();
        assert_eq!(error.to_string(), "modules.rate-anomaly.by[1]: \"key\" is not allowed (issuer, domain)");
        let error = module("rate-anomaly", json!({"by": [7]})).err().unwrap();
        assert_eq!(error.to_string(), "modules.rate-anomaly.by[0]: a number where text is expected");
    }
}
