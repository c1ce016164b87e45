//! Module `phish`: names that read like those of phishing sites.
//!
//! A linear model over the characters of a name gives a score, and the parts of the sum that weigh most are its
//! reasons. What the model knows is in `phish/weights.txt`, the words and suffixes it counts are in
//! `phish/keywords.yaml`, and both can be replaced. Popular domains, which the weights file holds as hashes, are let
//! through first. The score is of the name alone: a site that was broken into, and a page on somebody's platform, look
//! like what they are.

use ct_model::{Finding, Severity};
use serde_json::{Map, Value};

use super::{Claim, Examine, ModuleDef, OptionDef, OptionError, OptionKind, Settings, Subject};

pub mod allow;
mod catcher;
pub mod features;
pub mod keywords;
pub mod popular;
pub mod weights;

use allow::Allow;
use features::{Parts, SHAPES};
use keywords::Keywords;
use weights::Weights;

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "phish",
    by_default: true,
    doc: "names that read like those of phishing sites",
    options: &[
        OptionDef {
            name: "threshold",
            kind: OptionKind::Fraction,
            default: "0.5",
            doc: "the score from which a name is reported: of real host names that the model never saw, about one in \
                  250 scores 0.5 and one in 2,000 scores 0.9",
        },
        OptionDef {
            name: "allow",
            kind: OptionKind::List,
            default: "[]",
            doc: "domains that are never reported, with all below them, besides the popular ones that are built in",
        },
        OptionDef {
            name: "keywords",
            kind: OptionKind::File,
            default: "\"\"",
            doc: "words with points and suffixes, in the format of phishing_catcher, in place of those built in; 70 \
                  points or more name a brand",
        },
        OptionDef {
            name: "model",
            kind: OptionKind::File,
            default: "\"\"",
            doc: "a weights file, in place of the one built in and of its popular domains",
        },
        OptionDef {
            name: "compat",
            kind: OptionKind::Choice(&["off", "phishing_catcher"]),
            default: "\"off\"",
            doc: "phishing_catcher: score by its rules alone, without the model and the built-in popular domains; \
                  the 75 points from which it logs are a score of 0.5",
        },
    ],
    prepare: |settings| Ok(Box::new(Phish::new(settings)?)),
};

const WEIGHTS: &str = include_str!("phish/weights.txt");
const KEYWORDS: &str = include_str!("phish/keywords.yaml");

/// A name that scores so much is likely to be phishing.
const LIKELY: f64 = 0.9;
/// A name that scores so much is worth a look.
const SUSPICIOUS: f64 = 0.5;
const REASONS_MAX: usize = 5;
/// A part of the sum that weighs less explains nothing. In units of the model's sum (log odds).
const REASON_WEIGHT_MIN: f64 = 0.1;
/// By the number of the shape `brand_and_lure`.
const WORDS_TOGETHER: [&str; 4] =
    ["neither brand nor lure words", "lure words, no brand", "brand words, no lure", "brand and lure words together"];
/// Findings about one subject.
const FINDINGS_MAX: usize = 1_000;

/// Scores names. Pure: the same name always gets the same score, for the same reasons in the same order.
pub struct Phish {
    rater: Rater,
    keywords: Keywords,
    allow: Allow,
    threshold: f64,
}

enum Rater {
    Model(Box<Weights>),
    PhishingCatcher,
}

/// What there is to say about a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// 0 to 1, in thousandths.
    pub score: f64,
    pub level: Level,
    /// What weighed most towards phishing, the heaviest first; at most five.
    pub reasons: Vec<Reason>,
    /// The member of the allow list that let the name through, with a score of 0.
    pub allowed_by: Option<Box<str>>,
    /// With `compat = "phishing_catcher"`: its points.
    pub points: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Clear,
    /// From 0.5 on.
    Suspicious,
    /// From 0.9 on.
    Likely,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// For people.
    pub what: String,
    /// How much it added to the model's sum (log odds, in hundredths), or in points.
    pub weight: f64,
}

impl Level {
    fn of(score: f64) -> Self {
        match score {
            LIKELY.. => Self::Likely,
            SUSPICIOUS.. => Self::Suspicious,
            _ => Self::Clear,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Suspicious => "suspicious",
            Self::Likely => "likely",
        }
    }
}

impl Phish {
    fn new(settings: &Settings) -> Result<Self, OptionError> {
        let invalid = |name: &str, source| OptionError::Invalid { key: settings.key(name), source };
        let keywords = match settings.text("keywords") {
            "" => Keywords::shipped(),
            text => Keywords::parse(text).map_err(|why| invalid("keywords", why.into()))?,
        };
        let weights = match settings.text("model") {
            "" => shipped_weights(),
            text => Weights::parse(text).map_err(|why| invalid("model", why.into()))?,
        };
        let (rater, mut allow) = match settings.text("compat") {
            "phishing_catcher" => (Rater::PhishingCatcher, Allow::default()),
            _ => by_model(weights),
        };
        allow.extend(settings)?;
        Ok(Self { rater, keywords, allow, threshold: settings.fraction("threshold") })
    }

    /// As the module is when nothing is set.
    pub fn shipped() -> Self {
        let (rater, allow) = by_model(shipped_weights());
        Self { rater, keywords: Keywords::shipped(), allow, threshold: SUSPICIOUS }
    }

    /// Any text is taken for a name. A leading `*.` or `www.` counts for nothing.
    pub fn score(&self, name: &str) -> Scored {
        self.score_with(name, 0)
    }

    /// [`Phish::score`] if that reaches the threshold. Faster, because most names do not and need no reasons.
    pub fn find(&self, name: &str) -> Option<Scored> {
        self.find_with(name, 0)
    }

    fn find_with(&self, name: &str, extra_points: i64) -> Option<Scored> {
        if let Rater::Model(weights) = &self.rater
            && rounded(weights.score(&Parts::of(name), &self.keywords)) < self.threshold
        {
            return None;
        }
        let scored = self.score_with(name, extra_points);
        (scored.score >= self.threshold && scored.allowed_by.is_none()).then_some(scored)
    }

    /// `extra_points`: what phishing_catcher adds for the certificate; the model knows only the name.
    fn score_with(&self, name: &str, extra_points: i64) -> Scored {
        let parts = Parts::of(name);
        if let Some(allowed_by) = self.allow.find(&parts) {
            let allowed_by = Some(allowed_by.into());
            return Scored { score: 0.0, level: Level::Clear, reasons: Vec::new(), allowed_by, points: None };
        }
        let (score, mut reasons, points) = match &self.rater {
            Rater::Model(weights) => {
                (rounded(weights.score(&parts, &self.keywords)), weights.reasons(&parts, &self.keywords), None)
            }
            Rater::PhishingCatcher => {
                let (reasons, points): (Vec<Reason>, Vec<i64>) =
                    catcher::points(name, &self.keywords).into_iter().unzip();
                let points = points.iter().sum::<i64>() + extra_points;
                (catcher::score(points), reasons, Some(points))
            }
        };
        // Stable: equal weights keep the order in which they were found.
        reasons.sort_by(|left, right| right.weight.total_cmp(&left.weight));
        reasons.truncate(REASONS_MAX);
        Scored { score, level: Level::of(score), reasons, allowed_by: None, points }
    }
}

/// A model rates names, and lets its popular domains through.
fn by_model(weights: Weights) -> (Rater, Allow) {
    let allow = Allow::built_in(weights.popular.clone());
    (Rater::Model(Box::new(weights)), allow)
}

fn shipped_weights() -> Weights {
    Weights::parse(WEIGHTS).expect("the built-in weights file is checked by a test")
}

impl Keywords {
    pub fn shipped() -> Self {
        Self::parse(KEYWORDS).expect("the built-in keyword file is checked by a test")
    }
}

/// To thousandths: what is written down is the same wherever the last bit of an exponential differs.
fn rounded(score: f64) -> f64 {
    (score * 1_000.0).round() / 1_000.0
}

impl Weights {
    /// The sum of all that speaks for phishing less what speaks against it, as log odds.
    pub fn log_odds(&self, parts: &Parts<'_>, keywords: &Keywords) -> f64 {
        let (mut steps, mut runs) = (0_i64, 0_u32);
        features::visit_runs(parts, |slot, _| {
            steps += i64::from(self.runs[slot]);
            runs += 1;
        });
        let mut sum = f64::from(self.bias) + steps as f64 * self.run_weight(runs);
        features::visit_shapes(parts, &keywords.hits(parts), |index, _| sum += f64::from(self.shapes[index]));
        sum
    }

    /// 0 to 1.
    fn score(&self, parts: &Parts<'_>, keywords: &Keywords) -> f64 {
        1.0 / (1.0 + (-self.log_odds(parts, keywords)).exp())
    }

    /// What one step weighs in a name with so many runs. Long names have more of them, not more to say with each.
    fn run_weight(&self, runs: u32) -> f64 {
        f64::from(self.scale) / f64::from(runs.max(1)).sqrt()
    }

    /// The parts of [`Weights::log_odds`] that speak for phishing.
    fn reasons(&self, parts: &Parts<'_>, keywords: &Keywords) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let mut add = |weight: f64, what: &dyn Fn() -> String| {
            if weight >= REASON_WEIGHT_MIN {
                reasons.push(Reason { what: what(), weight: (weight * 100.0).round() / 100.0 });
            }
        };
        let mut words = self.word_weights(parts);
        let (suffix, suffix_weight) = words.pop().expect("the suffix is the last word");
        for (word, weight) in words.iter().filter(|(word, _)| !word.is_empty()) {
            add(*weight, &|| format!("characters of {word:?}"));
        }
        let (mut brands, mut lures) = (Vec::new(), Vec::new());
        keywords.find(&parts.name[..parts.suffix_at], |word, points| match points {
            keywords::BRAND_POINTS.. => brands.push(format!("{word:?}")),
            1.. => lures.push(format!("{word:?}")),
            _ => {}
        });
        let mut shapes = SHAPES.iter();
        features::visit_shapes(parts, &keywords.hits(parts), |index, value| {
            let shape = shapes.next().expect("one call for each shape");
            let weight = f64::from(self.shapes[index]);
            let say = |what: &str| shape.text.replace("{}", what);
            match shape.name {
                "suffix" => add(weight + suffix_weight, &|| say(suffix)),
                "brands" => add(weight, &|| say(&brands.join(", "))),
                "lures" => add(weight, &|| say(&lures.join(", "))),
                "brand_and_lure" => add(weight, &|| say(WORDS_TOGETHER[value])),
                _ => add(weight, &|| say(&value.to_string())),
            }
        });
        reasons
    }

    /// How much the runs of each word of the name weigh; the public suffix is one word, and a dot or a dash belongs to
    /// the word before it. A run that covers several words counts for each by its bytes there.
    fn word_weights<'a>(&self, parts: &Parts<'a>) -> Vec<(&'a str, f64)> {
        let mut bytes = vec![0.0; parts.name.len()];
        let mut runs = 0;
        features::visit_runs(parts, |slot, range| {
            runs += 1;
            let share = f64::from(self.runs[slot]) / range.len() as f64;
            bytes[range].iter_mut().for_each(|weight| *weight += share);
        });
        let (front, suffix) = parts.name.split_at(parts.suffix_at);
        let mut bytes = bytes.as_slice();
        let weigh = |word: &'a str| {
            let (covered, rest) = bytes.split_at(word.len());
            bytes = rest;
            (word.trim_end_matches(['.', '-']), covered.iter().sum::<f64>() * self.run_weight(runs))
        };
        front.split_inclusive(['.', '-']).chain([suffix]).map(weigh).collect()
    }
}

impl Examine for Phish {
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
        let issuer = subject.certificate.and_then(|certificate| certificate.issuer_org.as_deref());
        let extra_points = if issuer == Some("Let's Encrypt") { catcher::LETS_ENCRYPT_POINTS } else { 0 };
        let start = out.len();
        for (index, name) in subject.names.iter().enumerate() {
            let Some(scored) = self.find_with(name, extra_points) else { continue };
            if out.len() - start == FINDINGS_MAX {
                out.push(unfinished(subject, index, name));
                return;
            }
            out.push(reported(subject, name, &scored));
        }
    }
}

fn reported(subject: &Subject<'_>, name: &str, scored: &Scored) -> Finding {
    let reason = |reason: &Reason| {
        Value::Object(Map::from_iter([
            ("what".to_owned(), reason.what.as_str().into()),
            ("weight".to_owned(), reason.weight.into()),
        ]))
    };
    let mut detail = Map::from_iter([
        ("level".to_owned(), scored.level.as_str().into()),
        ("reasons".to_owned(), scored.reasons.iter().map(reason).collect()),
    ]);
    if let Some(points) = scored.points {
        detail.insert("points".to_owned(), points.into());
    }
    let severity = match scored.level {
        Level::Likely => Severity::High,
        Level::Suspicious => Severity::Medium,
        Level::Clear => Severity::Low,
    };
    // A name and its `www.` are one to the model, and one finding.
    let key = Parts::of(name).name;
    let claim = Claim { check: "suspicious-name", severity, key, name: Some(name), once: false, detail };
    Finding { score: Some(scored.score), ..subject.finding(MODULE.name, claim) }
}

/// More names would be reported than are; from `name` on, none was.
fn unfinished(subject: &Subject<'_>, index: usize, name: &str) -> Finding {
    let counts = [("names", subject.names.len()), ("names_finished", index)];
    let detail = counts.into_iter().map(|(key, count)| (key.to_owned(), count.into())).collect();
    let (check, severity) = ("unfinished", Severity::High);
    subject.finding(MODULE.name, Claim { check, severity, key: name, name: Some(name), once: false, detail })
}

#[cfg(test)]
mod tests;
