//! The views against plain loops over what is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ct_model::{CertId, EntryKind, Timestamp};
use differential_dataflow::input::InputSession;
use serde_json::json;
use timely::dataflow::operators::probe::Handle;

use super::counts::{Counted, Total};
use super::graph::{Inputs, graph};
use super::issuances::Figure;
use super::watch::Named;
use super::*;
use crate::modules::{Modules, Subject, WatchItem};

const K: usize = 3;

const NAMES: [&str; 16] = [
    "example.com",
    "www.example.com",
    "a.b.example.com",
    "*.example.com",
    "*w.example.com",
    "?.example.com",
    "*.com",
    "*.*",
    "?.b.?",
    "\u{fffd}.com",
    "com",
    "localhost",
    "shop.co.uk",
    "www.shop.co.uk",
    "example.org",
    "EXAMPLE.net",
];

const ITEMS: [&str; 14] = [
    ".",
    ".com",
    "com",
    "example.com",
    ".example.com",
    "www.example.com",
    ".b.example.com",
    "*.example.com",
    ".co.uk",
    "shop.co.uk",
    ".uk",
    "localhost",
    ".example.net",
    "nobody.example",
];

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }

    fn some<'a>(&mut self, of: &[&'a str], most: u64) -> BTreeSet<&'a str> {
        (0..self.below(most + 1)).map(|_| of[self.below(of.len() as u64) as usize]).collect()
    }

    fn certificate(&mut self, number: u64, about_ms: i64) -> Certificate {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let tbs_sha256 = (self.below(8) > 0).then(|| [self.below(40) as u8; 32]);
        let kind = [Some(EntryKind::Precert), Some(EntryKind::Final), None][self.below(20).min(2) as usize % 3];
        let kind = if kind.is_none() && self.below(4) > 0 { Some(EntryKind::Final) } else { kind };
        Certificate {
            seen_ms: about_ms + self.below(4_000) as i64 - 1_000,
            id: CertId::der(id),
            kind: if self.below(2) == 0 { Some(EntryKind::Precert) } else { kind },
            tbs_sha256,
            issuer: format!("CA {}", self.below(7)).into(),
            key: format!("rsa-{}", self.below(3)).into(),
            domains: Lines::of(self.some(&["a.com", "b.com", "c.com", "d.com", "e.com"], 3)),
            names: Lines::of(self.some(&NAMES, 3)),
        }
    }
}

fn items(texts: &BTreeSet<&str>) -> Vec<WatchItem> {
    watch_list(&texts.iter().copied().collect::<Vec<_>>().join("\n")).unwrap()
}

/// What the views are, by loops.
#[derive(Debug, Default, PartialEq)]
struct Loops {
    totals: BTreeSet<Total>,
    top: BTreeSet<(Counted, isize)>,
    figures: BTreeMap<Figure, isize>,
    matches: BTreeSet<(WatchItem, Named)>,
}

fn loops(held: &BTreeMap<Held, Certificate>, logs: &[Arc<str>], watched: &BTreeSet<&str>) -> Loops {
    let mut out = Loops::default();
    let mut counts: BTreeMap<Dimension, BTreeMap<Box<str>, isize>> = BTreeMap::new();
    let mut count = |dimension, text: &str| {
        *counts.entry(dimension).or_default().entry(text.into()).or_default() += 1;
    };
    logs.iter().for_each(|log| count(Dimension::Log, log));
    for ((seen_ms, _), certificate) in held {
        count(Dimension::Issuer, &certificate.issuer);
        count(Dimension::Key, &certificate.key);
        count(Dimension::Hour, &Timestamp(seen_ms * 1_000).hour_text());
        certificate.domains.iter().for_each(|domain| count(Dimension::Domain, domain));
    }
    for (dimension, counts) in counts {
        out.totals.insert(Total { dimension, sum: counts.values().sum(), things: counts.len() as isize });
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(text, count)| (-count, text.clone()));
        out.top.extend(counts.into_iter().take(K).map(|(text, count)| ((dimension, text), count)));
    }

    let mut add = |figure, by| *out.figures.entry(figure).or_default() += by;
    for tbs in held.values().filter_map(|one| one.tbs_sha256).collect::<BTreeSet<_>>() {
        let side = |kind| {
            let own = held.values().filter(|one| one.tbs_sha256 == Some(tbs) && one.kind == Some(kind));
            own.map(|one| one.seen_ms).min()
        };
        match (side(EntryKind::Precert), side(EntryKind::Final)) {
            (Some(precert), Some(last)) => {
                add(Figure::Pairs, 1);
                add(Figure::DelayMsSum, (last - precert) as isize);
                let class = DELAYS_MS.iter().filter(|most| last - precert > **most).count();
                add(Figure::Delay(class as u8), 1);
            }
            (Some(_), None) => add(Figure::UnpairedPrecerts, 1),
            (None, Some(_)) => add(Figure::UnpairedFinals, 1),
            (None, None) => {}
        }
    }
    out.figures.retain(|_, value| *value != 0);

    // Module `watchlist` walks a tree; the views join.
    let options = [("watchlist".to_owned(), json!({ "items": watched }).as_object().unwrap().clone())].into();
    let module = Modules::prepare(&["watchlist".to_owned()], &options).unwrap();
    for (held, certificate) in held {
        let names: Vec<Box<str>> = certificate.names.iter().map(Into::into).collect();
        let mut found = Vec::new();
        module.examine(&Subject::names_only(&names), &mut found);
        for finding in found {
            let detail: serde_json::Value = serde_json::from_str(&finding.detail).unwrap();
            let item = items(&[detail["item"].as_str().unwrap()].into()).remove(0);
            out.matches.insert((item, (*held, finding.name.unwrap())));
        }
    }
    out
}

/// What is done before a step ends.
#[derive(Clone, Default)]
struct Doings {
    certificates: Vec<(Held, Certificate, isize)>,
    logs: Vec<(Arc<str>, isize)>,
    items: Vec<(WatchItem, isize)>,
}

fn run_graph(workers: usize, doings: Vec<Doings>) -> Vec<Loops> {
    type Given<D> = Arc<Mutex<Vec<(D, Step, isize)>>>;
    fn give<D: Clone + Send + 'static>(
        collection: differential_dataflow::VecCollection<'_, Step, D>,
        given: &Given<D>,
        probe: &Handle<Step>,
    ) {
        let given = given.clone();
        collection.inspect(move |update| given.lock().unwrap().push(update.clone())).probe_with(probe);
    }
    fn at<D: Ord + Clone + std::fmt::Debug>(given: &Given<D>, step: Step) -> BTreeSet<D> {
        let given = given.lock().unwrap();
        let mut there: Vec<_> =
            given.iter().filter(|update| update.1 <= step).map(|update| (update.0.clone(), update.2)).collect();
        differential_dataflow::consolidation::consolidate(&mut there);
        assert!(there.iter().all(|(_, times)| *times == 1), "{there:?}");
        there.into_iter().map(|(record, _)| record).collect()
    }
    let (totals, top, figures, matches) =
        (Given::<Total>::default(), Given::default(), Given::default(), Given::default());
    let outs = (totals.clone(), top.clone(), figures.clone(), matches.clone());
    let steps = doings.len() as Step;
    timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers, probe) = (worker.index(), worker.peers(), Handle::new());
        let (mut counted, mut issued) = (InputSession::new(), InputSession::new());
        let (mut names, mut watched) = (InputSession::new(), InputSession::new());
        worker.dataflow::<Step, _, _>(|scope| {
            let (counted, issued) = (counted.to_collection(scope), issued.to_collection(scope));
            let (names, items) = (names.to_collection(scope), watched.to_collection(scope));
            let out = graph(Inputs { counted, issued, names, items }, K);
            give(out.totals, &outs.0, &probe);
            give(out.top, &outs.1, &probe);
            give(out.issuances, &outs.2, &probe);
            give(out.matches, &outs.3, &probe);
        });
        for (step, doings) in (1..).zip(&doings) {
            for (held, certificate, change) in doings.certificates.iter().skip(index).step_by(peers) {
                live::update(&mut counted, &mut issued, Some(&mut names), *held, certificate, *change);
            }
            for (log, change) in doings.logs.iter().skip(index).step_by(peers) {
                counted.update((Dimension::Log, (&**log).into()), *change);
            }
            for (item, change) in doings.items.iter().skip(index).step_by(peers) {
                watched.update(item.clone(), *change);
            }
            counted.advance_to(step);
            issued.advance_to(step);
            names.advance_to(step);
            watched.advance_to(step);
            counted.flush();
            issued.flush();
            names.flush();
            watched.flush();
            while probe.less_than(&step) {
                worker.step();
            }
        }
    })
    .unwrap();
    let loops = |step| Loops {
        totals: at(&totals, step),
        top: at(&top, step),
        figures: at(&figures, step).into_iter().collect(),
        matches: at(&matches, step),
    };
    (0..steps).map(loops).collect()
}

#[test]
fn any_number_of_workers_agrees_with_loops() {
    let mut random = Random(7);
    let (mut held, mut logs, mut watched) = (BTreeMap::new(), Vec::<Arc<str>>::new(), BTreeSet::new());
    let (mut doings, mut want) = (Vec::new(), Vec::new());
    for step in 0..40 {
        let mut doing = Doings::default();
        for number in 0..random.below(40) {
            let number = step * 100 + number;
            let certificate = random.certificate(number, 1_790_000_000_000 + step as i64 * 600_000);
            held.insert((certificate.seen_ms, number), certificate.clone());
            doing.certificates.push(((certificate.seen_ms, number), certificate, 1));
            logs.push(format!("log {}", random.below(5)).into());
            doing.logs.extend(logs.last().map(|log| (log.clone(), 1)));
        }
        for _ in 0..random.below(20) {
            let at = random.below(held.len().max(1) as u64) as usize;
            if let Some(key) = held.keys().nth(at).copied() {
                doing.certificates.push((key, held.remove(&key).unwrap(), -1));
                doing.logs.push((logs.swap_remove(at % logs.len()), -1));
            }
        }
        let next = if random.below(4) == 0 { random.some(&ITEMS, 8) } else { watched.clone() };
        doing.items.extend(items(&(&next - &watched)).into_iter().map(|item| (item, 1)));
        doing.items.extend(items(&(&watched - &next)).into_iter().map(|item| (item, -1)));
        watched = next;
        doings.push(doing);
        want.push(loops(&held, &logs, &watched));
    }
    assert!(want.iter().map(|want| want.matches.len()).sum::<usize>() > 1_000);
    for workers in [1, 2, 4] {
        for (step, (got, want)) in run_graph(workers, doings.clone()).iter().zip(&want).enumerate() {
            assert_eq!(got, want, "{workers} workers, step {step}");
        }
    }
}

/// All that views say, kept by someone who hears of changes only.
#[derive(Default)]
struct Mirror(Changes);

impl Mirror {
    fn hear(&mut self, changes: Changes) {
        self.0.counts.extend(changes.counts);
        self.0.issuances = changes.issuances.or(self.0.issuances);
        self.0.watched.extend(changes.watched);
        self.0.watched.retain(|_, watched| watched.is_some());
    }
}

fn expected(held: &BTreeMap<Held, Certificate>, logs: &[Arc<str>], watched: &BTreeSet<&str>) -> Changes {
    let found = loops(held, logs, watched);
    let mut counts: BTreeMap<_, Counts> = Dimension::ALL.into_iter().map(|one| (one, Counts::default())).collect();
    for Total { dimension, sum, things } in found.totals {
        counts.insert(dimension, Counts { sum: sum as u64, things: things as u64, top: Vec::new() });
    }
    for ((dimension, text), count) in found.top {
        counts.get_mut(&dimension).unwrap().top.push((text, count as u64));
    }
    for counts in counts.values_mut() {
        counts.top.sort_by_key(|(text, count)| (std::cmp::Reverse(*count), text.clone()));
    }
    let mut issuances = Issuances::default();
    found.figures.into_iter().for_each(|(figure, value)| issuances.set(figure, value));
    let about = |item: &WatchItem| {
        let own: Vec<&Named> = found.matches.iter().filter(|found| found.0 == *item).map(|found| &found.1).collect();
        let newest = own.iter().rev().take(K).map(|(key, name)| {
            let id = held[key].id;
            Match { id, seen_ms: key.0, name: name.clone() }
        });
        Watched { open: own.len() as u64, newest: newest.collect() }
    };
    let watched = items(watched).into_iter().map(|item| (item.clone(), Some(about(&item)))).collect();
    Changes { counts, issuances: Some(issuances), watched }
}

/// Certificates that come in any order, late ones among them, and leave by the horizon or because they are too many.
fn check_horizon(seed: u64, certificates_max: usize) {
    const HORIZON_MS: i64 = 5_000;
    let mut random = Random(seed);
    let mut views = Views::new(Options { horizon_ms: HORIZON_MS, top: K, certificates_max, watch: true });
    let (mut mirror, mut horizon_ms) = (Mirror::default(), 1_790_000_000_000_i64);
    let mut held: BTreeMap<Held, Certificate> = BTreeMap::new();
    let (mut entries, mut watched) = (Vec::<(i64, Arc<str>)>::new(), BTreeSet::new());
    let mut number = 0;
    for step in 0..60 {
        for _ in 0..random.below(25) {
            let certificate = random.certificate(number, horizon_ms);
            let log: Arc<str> = format!("log {}", random.below(5)).into();
            entries.push((certificate.seen_ms, log.clone()));
            views.insert_entry(Entry { seen_ms: certificate.seen_ms, log });
            held.insert((certificate.seen_ms, number), certificate.clone());
            views.insert(certificate);
            number += 1;
        }
        horizon_ms += random.below(3_000) as i64;
        if random.below(3) == 0 {
            watched = random.some(&ITEMS, 8);
            views.set_items(items(&watched));
        }
        views.advance(Some(horizon_ms));
        held.retain(|_, one| one.seen_ms > horizon_ms - HORIZON_MS);
        entries.retain(|(seen_ms, _)| *seen_ms > horizon_ms - HORIZON_MS);
        while held.len() > certificates_max {
            held.pop_first();
        }
        mirror.hear(views.take_changes());
        let logs: Vec<_> = entries.iter().map(|(_, log)| log.clone()).collect();
        assert_eq!(mirror.0, expected(&held, &logs, &watched), "seed {seed}, step {step}");
        assert_eq!(views.take_changes(), Changes::default());
        assert_eq!(views.standing().certificates, held.len() as u64);
        let whole_after_ms = views.standing().whole_after_ms.unwrap();
        assert!(whole_after_ms >= horizon_ms - HORIZON_MS);
    }
    views.touch();
    let all = views.take_changes();
    assert_eq!(all, mirror.0);
}

#[test]
fn what_the_horizon_passes_leaves() {
    (1..=4).for_each(|seed| check_horizon(seed, 1_000));
}

#[test]
fn too_many_leave_early() {
    (5..=8).for_each(|seed| check_horizon(seed, 30));
}

#[test]
fn an_item_meets_what_is_held_at_once() {
    let options = Options { horizon_ms: 10_000, top: K, certificates_max: 100, watch: true };
    let mut views = Views::new(options);
    let mut one = Random(1).certificate(1, 1_790_000_000_000);
    one.names = Lines::of(["www.example.com"]);
    views.insert(one.clone());
    views.advance(Some(one.seen_ms));
    views.take_changes();
    let item = items(&[".example.com"].into()).remove(0);
    views.set_items([item.clone()]);
    views.advance(None);
    let found = Match { id: one.id, seen_ms: one.seen_ms, name: "www.example.com".into() };
    let want = Some(Watched { open: 1, newest: vec![found] });
    assert_eq!(views.take_changes().watched, [(item.clone(), want)].into());
    views.advance(Some(one.seen_ms + 10_000));
    assert_eq!(views.take_changes().watched, [(item.clone(), Some(Watched::default()))].into());
    views.set_items([]);
    views.advance(None);
    assert_eq!(views.take_changes().watched, [(item, None)].into());
}

#[test]
fn times_at_the_ends_of_the_calendar() {
    let mut views = Views::new(Options { horizon_ms: i64::MAX, top: K, certificates_max: 10, watch: false });
    for seen_ms in [i64::MIN, -1, 0, i64::MAX] {
        for kind in [EntryKind::Precert, EntryKind::Final] {
            let seen_ms = seen_ms / 1_000;
            let one = Random(1).certificate(1, 0);
            views.insert(Certificate { seen_ms, kind: Some(kind), tbs_sha256: Some([seen_ms as u8; 32]), ..one });
        }
    }
    views.advance(Some(i64::MAX / 1_000));
    assert_eq!(views.take_changes().issuances.unwrap().pairs, 3);
}

#[test]
fn a_list_says_which_line_is_wrong() {
    assert_eq!(watch_list("# mine\n\n.example.com\nexample.org valid_at:2020-01-01T00:00:00Z\n").unwrap().len(), 2);
    assert_eq!(watch_list("a.example\n\na..example\n").unwrap_err().line, 3);
}
