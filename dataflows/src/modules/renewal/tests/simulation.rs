//! A thousand names whose alerts are known, because each is made to get them: no rule of the module is used here.
//!
//! Whatever happens keeps more than [`MARGIN`] from any moment at which the answer changes: so much can facts be late,
//! and so far the time is behind.

use super::*;

const END: i64 = 400 * DAY;
/// How much later than its `seen` a fact may come.
const LATE_MAX: i64 = 6 * HOUR;
const MARGIN: i64 = 8 * HOUR;
const CLOCK_EVERY: i64 = 10 * 60_000_000;

/// splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: i64) -> i64 {
        (self.next() % end as u64) as i64
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as i64 + 1) as usize);
        }
    }
}

struct World {
    random: Random,
    stream: Vec<CertRecord>,
    names: BTreeSet<String>,
    known: BTreeSet<Said>,
}

const ALL: &[&str] = &["renewal-due", "renewal-urgent", "expired"];

impl World {
    fn issue(&mut self, names: &[&str], valid: (i64, i64)) {
        self.names.extend(names.iter().map(|name| (*name).to_owned()));
        // Seen within an hour.
        let mut sha256 = [1; 32];
        sha256[1..9].copy_from_slice(&self.random.next().to_be_bytes());
        let at = valid.0 + self.random.below(HOUR);
        self.stream.push(CertRecord { sha256: Some(sha256), ..seen(at, names, valid) });
    }

    /// A certificate of so many days after the other, each issued when `left` of the one before is left, from `from`
    /// on until nothing would be said before the end.
    fn keep(&mut self, names: &[&str], mut from: i64, lifetime: i64, left: i64) {
        loop {
            let end = from + lifetime;
            self.issue(names, (from, end));
            if end - left > END {
                return;
            }
            from = end - left;
        }
    }

    fn expect(&mut self, name: &str, end: i64, checks: &[&str]) {
        let end = Timestamp(START + end).to_string();
        self.known.extend(checks.iter().map(|check| (name.to_owned(), (*check).to_owned(), end.clone())));
    }

    fn story(&mut self, kind: i64, n: i64) {
        let from = DAY + self.random.below(100 * DAY);
        let host = &*format!("h{n}.s{n}.example.com");
        let second = &*format!("i{n}.s{n}.example.com");
        let wildcard = &*format!("*.s{n}.example.com");
        // Due with 27 or 60 days left, urgent with 9 or 20.
        let lifetime = [90 * DAY, 200 * DAY][self.random.below(2) as usize];
        let (due, urgent) = (lifetime * 3 / 10, lifetime / 10);
        let in_time = due + MARGIN + self.random.below(5 * DAY);
        let end = from + lifetime;
        match kind {
            0 => self.keep(&[host], from, lifetime, in_time),
            1 => {
                self.issue(&[host], (from, end));
                self.expect(host, end, ALL);
            }
            2 => {
                // Late by one, two or three levels.
                let levels = self.random.below(3) as usize;
                let left = [urgent + MARGIN, MARGIN, -10 * DAY][levels] + self.random.below(7 * DAY);
                self.issue(&[host], (from, end));
                self.keep(&[host], end - left, lifetime, in_time);
                self.expect(host, end, &ALL[..=levels]);
            }
            3 => {
                // A wildcard takes over and is kept, or lapses: for the name too. Or it comes when all is over.
                self.issue(&[host], (from, end));
                match self.random.below(3) {
                    0 => self.keep(&[wildcard], end - in_time, lifetime, in_time),
                    way => {
                        let wild_from = if way == 1 { end - in_time } else { end + 10 * DAY };
                        let wild_end = wild_from + 89 * DAY;
                        self.issue(&[wildcard], (wild_from, wild_end));
                        if way == 2 || wild_end < end {
                            self.expect(host, end, ALL);
                        }
                        if wild_end > end {
                            self.expect(host, wild_end, ALL);
                        }
                        self.expect(wildcard, wild_end, ALL);
                    }
                }
            }
            4 => {
                // The next certificate has another set of names.
                self.issue(&[host, second], (from, end));
                self.keep(&[host, &format!("new.{host}")], end - in_time, lifetime, in_time);
                self.expect(second, end, ALL);
            }
            5 => {
                // Six days: due with 43 hours left, urgent with 14.
                let last = from + 6 * DAY + self.random.below(50) * 3 * DAY;
                for from in (from..=last - 6 * DAY).step_by(3 * DAY as usize) {
                    self.issue(&[host], (from, from + 6 * DAY));
                }
                self.expect(host, last, ALL);
            }
            6 => {
                // Another key long before it is due; the former certificate's end is of no interest.
                let again = from + 10 * DAY + self.random.below(10 * DAY);
                self.issue(&[host], (from, end));
                self.issue(&[host], (again, again + lifetime));
                self.expect(host, again + lifetime, ALL);
            }
            7 => {
                // Another key, and not a day more: nothing changes.
                self.issue(&[host], (from, end));
                let mut again = self.stream.last().expect("just issued").clone();
                again.seen = Some(Timestamp(START + end - due / 2));
                again.sha256 = Some([2 + (n % 100) as u8 * 2; 32]);
                self.stream.push(again);
                self.expect(host, end, ALL);
            }
            8 => {
                // Every certificate with its precertificate.
                let first = self.stream.len();
                match self.random.below(2) {
                    0 => self.keep(&[host, wildcard], from, lifetime, in_time),
                    _ => {
                        self.issue(&[host, wildcard], (from, end));
                        self.expect(host, end, ALL);
                        self.expect(wildcard, end, ALL);
                    }
                }
                let finals: Vec<_> = self.stream[first..].to_vec();
                for mut last in finals {
                    let digest = self.random.next().to_be_bytes();
                    last.sha256 = last.sha256.map(|mut sha256| {
                        sha256[1..9].copy_from_slice(&digest);
                        sha256
                    });
                    last.seen = last.seen.map(|seen| Timestamp(seen.0 + self.random.below(40 * DAY)));
                    self.stream.push(last);
                }
            }
            _ => {
                // Comes up when it is over: for long, or since yesterday.
                let days = [60, 1][self.random.below(2) as usize];
                self.issue(&[host], (from, end));
                self.stream.last_mut().expect("just issued").seen = Some(Timestamp(START + end + days * DAY));
                if days == 1 {
                    self.expect(host, end, &ALL[2..]);
                }
            }
        }
    }
}

/// The facts in the order of `seen`, with the clock's, and what is known of them.
fn world() -> (Arc<Modules>, Vec<Fact>, World) {
    let mut world = World { random: Random(1), stream: Vec::new(), names: BTreeSet::new(), known: BTreeSet::new() };
    let mut number = 0;
    while world.names.len() < 1_000 {
        world.story(number % 10, number);
        number += 1;
    }
    for at in (0..END + 100 * DAY).step_by(CLOCK_EVERY as usize) {
        world.stream.push(clock(at).remove(0));
    }
    let modules = prepared(watch());
    let mut facts = facts(&modules, &world.stream);
    assert_eq!(facts.len(), world.stream.len());
    facts.retain(|fact| fact.seen.is_some_and(|seen| seen.0 < START + END));
    facts.sort_by_key(|fact| fact.seen);
    (modules, facts, world)
}

/// In another order, none later than [`LATE_MAX`].
fn late(facts: &[Fact], random: &mut Random) -> Vec<Fact> {
    let mut keyed: Vec<_> =
        facts.iter().map(|fact| (fact.seen.unwrap().0 + random.below(LATE_MAX), fact.clone())).collect();
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(_, fact)| fact).collect()
}

/// Each of `known` under one id, nothing else, and no id twice in one step.
#[track_caller]
fn check_known<'a>(steps: impl Iterator<Item = &'a Vec<Finding>>, known: &BTreeSet<Said>) {
    let mut by_id = BTreeMap::new();
    for step in steps {
        let ids: BTreeSet<_> = step.iter().map(|finding| finding.id).collect();
        assert_eq!(ids.len(), step.len());
        by_id.extend(step.iter().map(|finding| (finding.id, said(finding))));
    }
    let got: BTreeSet<_> = by_id.values().cloned().collect();
    let of = |a: &BTreeSet<Said>, b| a.difference(b).take(5).cloned().collect::<Vec<_>>();
    assert_eq!((of(&got, known), of(known, &got)), (vec![], vec![]), "false, and missed");
    assert_eq!(by_id.len(), known.len());
}

#[test]
fn a_thousand_names_get_the_alerts_they_are_made_for() {
    let (modules, facts, World { mut random, known, .. }) = world();
    assert!(known.len() > 1_000);
    for order in [facts.clone(), late(&facts, &mut random), late(&facts, &mut random)] {
        check_known(learn(&modules, &[], &order).iter(), &known);
    }
}

#[test]
fn a_job_that_starts_again_anywhere_says_the_same() {
    let (modules, facts, World { mut random, known, .. }) = world();
    let facts = late(&facts, &mut random);
    let whole = learn(&modules, &[], &facts);
    let mut cuts: Vec<usize> = (0..20).map(|_| random.below(facts.len() as i64) as usize).collect();
    cuts.extend([0, 1, 7, 8, 9, facts.len() - 1, facts.len()]);
    for cut in cuts {
        let mut recalled = facts[..cut].to_vec();
        random.shuffle(&mut recalled);
        let rest = learn(&modules, &recalled, &facts[cut..]);
        check_known(whole[..cut].iter().chain(&rest), &known);
        // Word for word the same, but for what is said again with the first fact.
        assert_eq!(rest.get(1..), whole.get(cut + 1..), "{cut}");
    }
}

/// What one must hear if, at every step, every name is looked at anew: a plain loop over all certificates so far.
fn by_plain_loop(certificates: &[CertRecord]) -> BTreeSet<Said> {
    const WATCHED: [&str; 5] = ["a.x.test", "b.x.test", "*.x.test", "x.test", "i.x.test"];
    const ITEMS: [&str; 2] = ["x.test", "i.x.test"];
    let stands =
        |has: &str, name: &str| has == name || name.split_once('.').is_some_and(|(_, up)| has == format!("*.{up}"));
    let now = |count: usize| {
        let mut seen: Vec<i64> = certificates[..count].iter().map(|one| one.seen.unwrap().0).collect();
        seen.sort_unstable_by_key(|seen| -seen);
        seen.get(7).copied()
    };
    let mut all = BTreeSet::new();
    for count in 1..=certificates.len() {
        let Some(at) = now(count) else { continue };
        for name in WATCHED {
            let has = |one: &&CertRecord| one.names.iter().any(|has| stands(has, name));
            let covers: Vec<&CertRecord> = certificates[..count].iter().filter(has).collect();
            let is_known = ITEMS.contains(&name) || covers.iter().any(|one| one.names.contains(&name.into()));
            let ends = covers.iter().map(|one| (one.not_after.unwrap().0, one.not_before.unwrap().0));
            let Some((end, start)) = ends.max().filter(|_| is_known) else { continue };
            let week = 7 * DAY;
            let due = if end - start > 10 * DAY { week.max((end - start) / 10 * 3) } else { (end - start) / 10 * 3 };
            let check = match end - at {
                left if left <= 0 => "expired",
                left if left <= (end - start) / 10 => "renewal-urgent",
                left if left <= due => "renewal-due",
                _ => continue,
            };
            if end > now(count - 1).unwrap_or(at) - week {
                all.insert((name.to_owned(), check.to_owned(), Timestamp(end).to_string()));
            }
        }
    }
    all
}

#[test]
fn small_worlds_of_any_kind_are_as_a_plain_loop_says() {
    const NAMES: [&str; 7] = ["a.x.test", "b.x.test", "*.x.test", "x.test", "i.x.test", "*.test", "y.test"];
    let modules = prepared(json!({"items": [".x.test", "i.x.test"]}));
    let mut random = Random(2);
    let mut findings = 0;
    for _ in 0..2_000 {
        let certificates: Vec<_> = (0..40)
            .map(|step| {
                let names: Vec<&str> = NAMES.into_iter().filter(|_| random.below(4) == 0).collect();
                let at = (step * 5 + random.below(30)) * DAY + random.below(DAY);
                let from = at - random.below(60) * DAY;
                let lifetime = [6, 10, 20, 90][random.below(4) as usize] * DAY;
                // Every certificate moves the time.
                let sha256 = Some([0, 16, 32][random.below(3) as usize]).map(|byte| [byte; 32]);
                CertRecord { sha256, ..seen(at, &names, (from, from + lifetime)) }
            })
            .collect();
        let known = by_plain_loop(&certificates);
        findings += known.len();
        let facts = facts(&modules, &certificates);
        let cut = random.below(41) as usize;
        let first = learn(&modules, &[], &facts[..cut]);
        let mut recalled = facts[..cut].to_vec();
        random.shuffle(&mut recalled);
        let rest = learn(&modules, &recalled, &facts[cut..]);
        check_known(first.iter().chain(&rest), &known);
        check_known(learn(&modules, &[], &facts).iter(), &known);
    }
    assert!(findings > 10_000, "{findings}");
}
