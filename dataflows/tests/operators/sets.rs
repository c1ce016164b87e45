//! `dedup`, `entries` and `once`: what is first is decided by position, never by arrival.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ct_dataflows::operators::{dedup, entries, once};
use ct_dataflows::records::{Candidate, EntryQuestion, EpochRows, KeyQuestion, News};
use ct_dataflows::{Epoch, Meter};
use ct_model::{CertId, EntryPlace, Finding, Horizon, Key, Severity};
use differential_dataflow::AsCollection;

use crate::random::Random;
use crate::run::{ARRIVALS, Arrival, WORKERS, feed, run, share};

/// A first sighting: its epoch, and what the answer says.
type First = (Epoch, u32, u32, News);

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

fn by_position(answers: Vec<First>) -> Vec<First> {
    let mut answers = answers;
    answers.sort_by_key(|(epoch, ordinal, to, news)| (*epoch, *ordinal, *to, *news as u8));
    answers
}

fn under_epoch_0<T: Clone>(known: &[T]) -> Vec<(Epoch, T)> {
    known.iter().map(|known| (0, known.clone())).collect()
}

fn of_generation_0<T: Clone>(known: &[T]) -> Vec<(u32, T)> {
    known.iter().map(|known| (0, known.clone())).collect()
}

fn key(number: u64) -> Key {
    CertId::entry("log.example", number).key()
}

fn key_question(epoch: Epoch, ordinal: u32, number: u64) -> (Epoch, KeyQuestion) {
    let news = if number.is_multiple_of(2) { News::Certificate } else { News::Rejected };
    (epoch, KeyQuestion { key: key(number), ordinal, from: ordinal + 100, generation: 0, news })
}

fn run_dedup(workers: usize, arrival: Arrival, known: &[Key], asked: &[(Epoch, KeyQuestion)]) -> Vec<First> {
    run_dedup_of(workers, arrival, &of_generation_0(known), asked)
}

fn run_dedup_of(workers: usize, arrival: Arrival, known: &[(u32, Key)], asked: &[(Epoch, KeyQuestion)]) -> Vec<First> {
    let (known, asked) = (under_epoch_0(known), asked.to_vec());
    by_position(run(workers, move |scope, answers| {
        let (index, peers) = (scope.index(), scope.peers());
        let asked = feed(scope, share(&asked, arrival, index, peers));
        let known = feed(scope, share(&known, arrival, index, peers));
        let first = dedup::dedup(asked, known, Arc::new(Meter::default()));
        answers.gather(first, |epoch, answer| (epoch, answer.ordinal, answer.to, answer.news));
    }))
}

fn dedup_by_loop(known: &[Key], asked: &[(Epoch, KeyQuestion)]) -> Vec<First> {
    let mut seen: HashSet<Key> = known.iter().copied().collect();
    let mut asked = asked.to_vec();
    asked.sort_by_key(|(epoch, question)| (*epoch, question.ordinal));
    asked.retain(|(_, question)| seen.insert(question.key));
    by_position(asked.iter().map(|(epoch, asked)| (*epoch, asked.ordinal, asked.from, asked.news)).collect())
}

/// `want`: epoch and ordinal of each first sighting.
#[track_caller]
fn check_dedup(known: &[u64], asked: &[(Epoch, u32, u64)], want: &[(Epoch, u32)]) {
    let known: Vec<Key> = known.iter().map(|number| key(*number)).collect();
    let asked: Vec<_> = asked.iter().map(|(epoch, ordinal, number)| key_question(*epoch, *ordinal, *number)).collect();
    let by_loop = dedup_by_loop(&known, &asked);
    assert_eq!(by_loop.iter().map(|(epoch, ordinal, ..)| (*epoch, *ordinal)).collect::<Vec<_>>(), want);
    for workers in WORKERS {
        for arrival in ARRIVALS {
            assert_eq!(run_dedup(workers, arrival, &known, &asked), by_loop, "workers={workers} {arrival:?}");
        }
    }
}

#[test]
fn dedup_of_new_keys() {
    check_dedup(&[], &[(1, 0, 1), (1, 1, 2), (2, 0, 3)], &[(1, 0), (1, 1), (2, 0)]);
}

#[test]
fn dedup_without_questions() {
    check_dedup(&[1, 2], &[], &[]);
}

#[test]
fn dedup_of_known_keys() {
    check_dedup(&[1, 3], &[(1, 0, 1), (1, 1, 2), (2, 0, 3), (2, 1, 4)], &[(1, 1), (2, 1)]);
}

#[test]
fn dedup_of_an_epoch_of_repeats() {
    check_dedup(&[], &[(1, 0, 1), (1, 1, 2), (2, 0, 1), (2, 1, 2), (2, 2, 1), (3, 0, 3)], &[(1, 0), (1, 1), (3, 0)]);
}

#[test]
fn dedup_within_an_epoch_keeps_the_lower_ordinal() {
    check_dedup(&[], &[(1, 7, 1), (1, 3, 1), (1, 5, 1)], &[(1, 3)]);
}

#[test]
fn dedup_of_epochs_that_arrive_in_reverse_keeps_the_lower() {
    check_dedup(&[], &[(9, 0, 1), (5, 4, 1), (7, 2, 1), (9, 1, 2)], &[(5, 4), (9, 1)]);
}

#[test]
fn dedup_of_epochs_of_several_segments() {
    let second = (1 << 32) + 1;
    check_dedup(&[], &[(second, 0, 1), (2, 9, 1), (second, 1, 2), (second + 1, 0, 2)], &[(2, 9), (second, 1)]);
}

/// 3,000 questions about 700 keys in 60 epochs; 50 keys are known.
fn many_questions(seed: u64) -> (Vec<Key>, Vec<(Epoch, KeyQuestion)>) {
    let mut random = Random::new(seed);
    let asked = (0..3_000).map(|n| key_question(1 + random.below(60), n, random.below(700))).collect();
    ((0..50).map(key).collect(), asked)
}

#[test]
fn dedup_of_many_questions() {
    let (known, asked) = many_questions(1);
    let want = dedup_by_loop(&known, &asked);
    for workers in WORKERS {
        for arrival in ARRIVALS {
            assert_eq!(run_dedup(workers, arrival, &known, &asked), want, "workers={workers} {arrival:?}");
        }
    }
}

/// Generations of three epochs each; what is known came in generations 0 to 4.
#[test]
fn dedup_forgets_by_generations() {
    let mut random = Random::new(8);
    let known: Vec<(u32, Key)> = (0..200).map(|number| (number as u32 % 5, key(number))).collect();
    let generation = |epoch: Epoch| 5 + epoch as u32 / 3;
    let asked: Vec<(Epoch, KeyQuestion)> = (0..4_000)
        .map(|n| {
            let (epoch, question) = key_question(1 + random.below(60), n, random.below(900));
            (epoch, KeyQuestion { generation: generation(epoch), ..question })
        })
        .collect();

    let mut came: HashMap<Key, u32> = known.iter().map(|(generation, key)| (*key, *generation)).collect();
    let mut in_order = asked.clone();
    in_order.sort_by_key(|(epoch, question)| (*epoch, question.ordinal));
    let mut again = 0;
    in_order.retain(|(epoch, question)| {
        let now = generation(*epoch);
        let before = came.get(&question.key).copied();
        let is_new = before.is_none_or(|before| now - before > Horizon::GENERATIONS);
        if is_new {
            came.insert(question.key, now);
            again += usize::from(before.is_some());
        }
        is_new
    });
    assert!(again > 100, "{again}");
    let want = by_position(in_order.iter().map(|(epoch, q)| (*epoch, q.ordinal, q.from, q.news)).collect());
    for workers in WORKERS {
        for arrival in ARRIVALS {
            assert_eq!(run_dedup_of(workers, arrival, &known, &asked), want, "workers={workers} {arrival:?}");
        }
    }
}

/// differential-dataflow's `distinct` has each key once, from the first epoch that shows it.
#[test]
fn dedup_agrees_with_distinct() {
    let (_, asked) = many_questions(2);
    for workers in WORKERS {
        // A record of differential-dataflow carries its own time.
        let keys: Vec<_> = asked.iter().map(|(epoch, question)| (*epoch, (question.key, *epoch, 1_isize))).collect();
        let distinct: Vec<(Key, Epoch, isize)> = run(workers, move |scope, updates| {
            let keys = feed(scope, share(&keys, Arrival::Reversed, scope.index(), scope.peers())).as_collection();
            updates.gather(keys.distinct().inner, |_, update| update);
        });
        let mut of_key = HashMap::new();
        for (epoch, question) in &asked {
            of_key.insert((*epoch, question.ordinal), question.key);
        }
        let first = run_dedup(workers, Arrival::Reversed, &[], &asked);
        let first = first.into_iter().map(|(epoch, ordinal, ..)| (of_key[&(epoch, ordinal)], epoch, 1)).collect();
        assert_eq!(sorted::<(Key, Epoch, isize)>(first), sorted(distinct), "workers={workers}");
    }
}

fn entry_question(epoch: Epoch, ordinal: u32, place: EntryPlace, tag: u32) -> (Epoch, EntryQuestion) {
    (epoch, EntryQuestion { place, tag, ordinal, from: ordinal + 100, generation: 0 })
}

fn run_entries(
    workers: usize,
    arrival: Arrival,
    known: &[(EntryPlace, u32)],
    asked: &[(Epoch, EntryQuestion)],
) -> Vec<First> {
    let known: Vec<_> = known.iter().map(|(place, tag)| (0, *place, *tag)).collect();
    let (known, asked) = (under_epoch_0(&known), asked.to_vec());
    by_position(run(workers, move |scope, answers| {
        let (index, peers) = (scope.index(), scope.peers());
        let asked = feed(scope, share(&asked, arrival, index, peers));
        let known = feed(scope, share(&known, arrival, index, peers));
        let first = entries::entries(asked, known, Arc::new(Meter::default()));
        answers.gather(first, |epoch, answer| (epoch, answer.ordinal, answer.to, answer.news));
    }))
}

fn entries_by_loop(known: &[(EntryPlace, u32)], asked: &[(Epoch, EntryQuestion)]) -> Vec<First> {
    let mut standing: HashMap<EntryPlace, HashSet<u32>> = HashMap::new();
    for (place, tag) in known {
        standing.entry(*place).or_default().insert(*tag);
    }
    let mut asked = asked.to_vec();
    asked.sort_by_key(|(epoch, question)| (*epoch, question.ordinal));
    let mut first = Vec::new();
    for (epoch, question) in asked {
        let tags = standing.entry(question.place).or_default();
        let news = if tags.is_empty() { News::Entry } else { News::Conflict };
        if tags.insert(question.tag) {
            first.push((epoch, question.ordinal, question.from, news));
        }
    }
    by_position(first)
}

/// Places as (log, index). `want`: epoch, ordinal and news of each first sighting.
#[track_caller]
fn check_entries(known: &[(u64, u64, u32)], asked: &[(Epoch, u32, u64, u64, u32)], want: &[(Epoch, u32, News)]) {
    let known: Vec<_> = known.iter().map(|(log, index, tag)| (EntryPlace { log: *log, index: *index }, *tag)).collect();
    let asked: Vec<_> = asked
        .iter()
        .map(|(epoch, ordinal, log, index, tag)| {
            entry_question(*epoch, *ordinal, EntryPlace { log: *log, index: *index }, *tag)
        })
        .collect();
    let by_loop = entries_by_loop(&known, &asked);
    assert_eq!(by_loop.iter().map(|first| (first.0, first.1, first.3)).collect::<Vec<_>>(), want);
    for workers in WORKERS {
        for arrival in ARRIVALS {
            assert_eq!(run_entries(workers, arrival, &known, &asked), by_loop, "workers={workers} {arrival:?}");
        }
    }
}

#[test]
fn entries_of_two_logs_at_one_index() {
    check_entries(&[], &[(1, 0, 1, 5, 9), (1, 1, 2, 5, 9)], &[(1, 0, News::Entry), (1, 1, News::Entry)]);
}

#[test]
fn entries_that_repeat() {
    check_entries(&[], &[(2, 0, 1, 5, 9), (1, 4, 1, 5, 9), (2, 1, 1, 5, 9)], &[(1, 4, News::Entry)]);
}

#[test]
fn entries_that_conflict() {
    check_entries(
        &[],
        &[(3, 0, 1, 5, 8), (2, 0, 1, 5, 9), (3, 1, 1, 5, 8), (4, 0, 1, 5, 9), (4, 1, 1, 5, 7)],
        &[(2, 0, News::Entry), (3, 0, News::Conflict), (4, 1, News::Conflict)],
    );
}

#[test]
fn entries_that_are_known() {
    check_entries(
        &[(1, 5, 9), (1, 6, 9), (1, 6, 8)],
        &[(1, 0, 1, 5, 9), (1, 1, 1, 5, 8), (1, 2, 1, 6, 8), (1, 3, 1, 6, 9), (1, 4, 1, 7, 9)],
        &[(1, 1, News::Conflict), (1, 4, News::Entry)],
    );
}

/// 6,000 questions about 2 logs of 2,500 indexes in 60 epochs, so that pages of both kinds come about.
#[test]
fn entries_of_many_questions() {
    let mut random = Random::new(3);
    let mut place = |indexes: u64| (EntryPlace { log: random.below(2), index: random.below(indexes) }, random.number());
    let known: Vec<_> = (0..300).map(|_| place(400)).map(|(place, number)| (place, number as u32 % 2 + 1)).collect();
    let asked: Vec<_> = (0..6_000)
        .map(|n| {
            let (place, number) = place(2_500);
            entry_question(1 + number % 60, n, place, (number >> 32) as u32 % 3 + 1)
        })
        .collect();
    let want = entries_by_loop(&known, &asked);
    for workers in WORKERS {
        for arrival in ARRIVALS {
            assert_eq!(run_entries(workers, arrival, &known, &asked), want, "workers={workers} {arrival:?}");
        }
    }
}

/// A finding without a certificate; `told` tells apart findings of one id.
fn finding(number: u64, told: u64) -> Finding {
    let name = format!("host{number}.example");
    Finding {
        id: Finding::id_of("names", "first-seen", &name, None),
        module: "names".into(),
        check: "first-seen".into(),
        severity: Severity::Info,
        score: None,
        name: Some(name.into()),
        sha256: None,
        tbs_sha256: None,
        seen: None,
        detail: told.to_string().into(),
        once: true,
    }
}

#[test]
fn once_keeps_the_first_in_the_input() {
    let mut random = Random::new(4);
    let candidates: Vec<(Epoch, Candidate)> = (0..2_000)
        .map(|n| {
            let finding = finding(random.below(500), u64::from(n));
            (1 + random.below(40), Candidate { finding, ordinal: n, generation: 0 })
        })
        .collect();
    let known: Vec<Key> = (0..60).map(|number| Key::finding(&finding(number, 0).id)).collect();

    let mut seen: HashSet<Key> = known.iter().copied().collect();
    let mut in_order = candidates.clone();
    in_order.sort_by_key(|(epoch, candidate)| (*epoch, candidate.ordinal));
    in_order.retain(|(_, candidate)| seen.insert(Key::finding(&candidate.finding.id)));
    let want: BTreeSet<(Epoch, String)> =
        in_order.into_iter().map(|(epoch, candidate)| (epoch, candidate.finding.detail.into())).collect();

    for workers in WORKERS {
        for arrival in ARRIVALS {
            let (known, candidates) = (under_epoch_0(&of_generation_0(&known)), candidates.clone());
            let kept: Vec<(Epoch, EpochRows)> = run(workers, move |scope, kept| {
                let (index, peers) = (scope.index(), scope.peers());
                let candidates = feed(scope, share(&candidates, arrival, index, peers));
                let known = feed(scope, share(&known, arrival, index, peers));
                kept.gather(once::once(candidates, known, Arc::new(Meter::default())), |epoch, rows| (epoch, rows));
            });
            assert!(kept.iter().all(|(_, rows)| rows.tail.is_none() && !rows.rows.findings.is_empty()));
            let kept: Vec<(Epoch, String)> = kept
                .into_iter()
                .flat_map(|(epoch, rows)| rows.rows.findings.into_iter().map(move |f| (epoch, f.detail.into())))
                .collect();
            assert_eq!(kept.len(), want.len(), "workers={workers} {arrival:?}");
            assert_eq!(BTreeSet::from_iter(kept), want, "workers={workers} {arrival:?}");
        }
    }
}
