//! How well scores tell phishing from other names, and how fast they are made.

use std::collections::BTreeMap;

use ct_dataflows::modules::phish::Phish;
use ct_dataflows::modules::phish::allow::Allow;
use ct_dataflows::modules::phish::features::Parts;

use crate::Rows;
use crate::data::{FOLDS, LISTS, Row};
use crate::train::{calibrate, train};

/// Other names that reach a score of 0.5, and of 0.9.
const HALF_RATE: f64 = 0.004;
const NINE_RATE: f64 = 0.000_5;
/// In certificate logs there is about one phishing name in so many (a guess of ours).
const OTHERS_PER_PHISHING: f64 = 1_000.0;

/// A name with its log odds by a model that did not see its registered domain.
pub(crate) struct Judged<'a> {
    pub row: &'a Row,
    pub log_odds: f64,
}

/// Every row by a model trained without its fold, and, if named, without the list `without`.
pub(crate) fn held_out<'a>(rows: &'a Rows, without: Option<usize>) -> Vec<Judged<'a>> {
    let is_without = |row: &Row| without.is_some_and(|source| LISTS[row.list].source == source);
    let mut judged = Vec::new();
    for fold in 0..FOLDS {
        let weights = train(&rows.select(|row| row.fold != fold && !is_without(row)));
        for (row, _) in rows.select(|row| row.fold == fold) {
            judged.push(Judged { row, log_odds: weights.log_odds(&Parts::of(&row.name), &rows.keywords) });
        }
    }
    judged
}

/// The log odds that become scores of 0.5 and 0.9, chosen by held-out names that are not the government's: those are
/// too easy.
pub(crate) fn cuts(judged: &[Judged<'_>]) -> (f64, f64) {
    let mut others = log_odds(judged, |row| !row.phishing && !is_government(row));
    others.sort_by(|left, right| right.total_cmp(left));
    let at = |rate: f64| others[(others.len() as f64 * rate) as usize];
    (at(HALF_RATE), at(NINE_RATE))
}

fn is_government(row: &Row) -> bool {
    LISTS[row.list].name.starts_with("gov")
}

fn log_odds(judged: &[Judged<'_>], wanted: impl Fn(&Row) -> bool) -> Vec<f64> {
    judged.iter().filter(|judged| wanted(judged.row)).map(|judged| judged.log_odds).collect()
}

/// A table for people: each phishing list against the other names, and what the threshold does.
pub(crate) fn report(judged: &[Judged<'_>], lists: &[usize], half: f64) {
    let negatives = [
        ("all others but gov", log_odds(judged, |row| !row.phishing && !is_government(row))),
        ("all others", log_odds(judged, |row| !row.phishing)),
        ("bounty", log_odds(judged, |row| LISTS[row.list].name == "bounty")),
        ("umbrella", log_odds(judged, |row| LISTS[row.list].name == "umbrella")),
        ("radar", log_odds(judged, |row| LISTS[row.list].name == "radar")),
    ];
    let mut groups: Vec<(&str, Vec<f64>)> =
        lists.iter().map(|list| (LISTS[*list].name, log_odds(judged, |row| row.list == *list))).collect();
    if lists.len() > 2 {
        groups.push(("all", log_odds(judged, |row| lists.contains(&row.list))));
    }
    println!(
        "list            names  against              names    AUC  R@1%  R@.1%     P     R    F1   F1 1:1  P 1:1000"
    );
    for (name, phishing) in &groups {
        for (against, others) in &negatives {
            let (tp, fp) = (reaching(phishing, half), reaching(others, half));
            let (recall, rate) = (tp / phishing.len() as f64, fp / others.len() as f64);
            println!(
                "{name:14} {:6}  {against:18} {:7}  {:.3} {:.3}  {:.3}  {:.3} {recall:.3} {:.3}    {:.3}     {:.3}",
                phishing.len(),
                others.len(),
                auc(phishing, others),
                recall_at(phishing, others, 0.01),
                recall_at(phishing, others, 0.001),
                tp / (tp + fp),
                2.0 * tp / (phishing.len() as f64 + tp + fp),
                2.0 * recall / (1.0 + recall + rate),
                recall / (recall + OTHERS_PER_PHISHING * rate),
            );
        }
    }
}

/// How many names of each list reach a score of 0.5 and 0.9, with and without the built-in allow list.
pub(crate) fn report_flagged(judged: &[Judged<'_>], (half, nine): (f64, f64), allow: &Allow) {
    let mut counts: BTreeMap<usize, [usize; 5]> = BTreeMap::new();
    for Judged { row, log_odds } in judged {
        let counts = counts.entry(row.list).or_default();
        let is_allowed = allow.find(&Parts::of(&row.name)).is_some();
        counts[0] += 1;
        counts[1] += usize::from(*log_odds >= half);
        counts[2] += usize::from(*log_odds >= half && !is_allowed);
        counts[3] += usize::from(*log_odds >= nine && !is_allowed);
        counts[4] += usize::from(is_allowed);
    }
    println!("list                    names  allowed   >= .5 unasked   >= .5     >= .9");
    for (list, [all, bare, half, nine, allowed]) in counts {
        let share = |count: usize| count as f64 * 100.0 / all as f64;
        println!(
            "{:22} {all:6}  {:6.2}%       {:6.3}%  {:6.3}%   {:6.3}%",
            LISTS[list].name,
            share(allowed),
            share(bare),
            share(half),
            share(nine)
        );
    }
}

fn reaching(log_odds: &[f64], cut: f64) -> f64 {
    log_odds.iter().filter(|log_odds| **log_odds >= cut).count() as f64
}

/// The chance that a phishing name scores above another one; ties count half.
fn auc(phishing: &[f64], others: &[f64]) -> f64 {
    let mut others = others.to_vec();
    others.sort_by(f64::total_cmp);
    let below = |cut: &f64| {
        others.partition_point(|other| other < cut) as f64 + others.partition_point(|other| other <= cut) as f64
    };
    phishing.iter().map(below).sum::<f64>() / 2.0 / (phishing.len() as f64 * others.len() as f64)
}

/// The share of phishing names above the cut that `rate` of the others are above.
fn recall_at(phishing: &[f64], others: &[f64], rate: f64) -> f64 {
    let mut others = others.to_vec();
    others.sort_by(|left, right| right.total_cmp(left));
    let cut = others[(others.len() as f64 * rate) as usize];
    phishing.iter().filter(|log_odds| **log_odds > cut).count() as f64 / phishing.len() as f64
}

/// Names a second on this thread, of all lists together, the best of five rounds; with reasons for those reported.
pub(crate) fn speed(rows: &Rows) {
    let phish = Phish::shipped();
    let names: Vec<Box<str>> = rows.all().map(|row| row.name.as_str().into()).collect();
    for (what, work) in [
        ("as the module does", Phish::find as fn(&Phish, &str) -> Option<_>),
        ("with reasons for all", |phish, name| Some(phish.score(name))),
    ] {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let found = names.iter().filter_map(|name| work(&phish, name)).count();
            assert!(std::hint::black_box(found) > 0);
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{what}: {:.0} names/s ({} names)", names.len() as f64 / best, names.len());
    }
}

/// The model of all rows, its scores set by held-out ones.
pub(crate) fn shipped(rows: &Rows) -> ct_dataflows::modules::phish::weights::Weights {
    let (half, nine) = cuts(&held_out(rows, None));
    let mut weights = train(&rows.select(|_| true));
    calibrate(&mut weights, half, nine);
    weights
}
