//! What rules cost on a certificate. Input: 20,000 certificates of three names of 20 to 30 bytes made of words, seed 3,
//! each examined once a round on one thread. Prints nanoseconds a certificate, median of nine rounds.
//! Baseline: the set of one rule that is never asked, which is what a look at a certificate costs at least.
//!
//! `cargo run --release -p ct-dataflows --example rules`

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::disallowed_macros, reason = "a benchmark prints")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use ct_dataflows::modules::Subject;
use ct_dataflows::modules::rules::RuleSet;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn syllables(&mut self, count: usize) -> String {
        let mut word = String::new();
        for _ in 0..count {
            word.push(char::from(b"bcdfghjklmnprstvwz"[self.below(18)]));
            word.push(char::from(b"aeiou"[self.below(5)]));
        }
        word
    }

    fn name(&mut self) -> String {
        let host = ["www", "mail", "api", "shop", "dev-1"][self.below(5)];
        let suffix = ["com", "co.uk", "net", "example", "io"][self.below(5)];
        let syllables = 5 + self.below(4);
        format!("{host}.{}.{suffix}", self.syllables(syllables))
    }
}

fn rules(count: usize, detection: impl Fn(usize) -> String) -> RuleSet {
    let mut text = String::new();
    for number in 0..count {
        writeln!(
            text,
            "[[rule]]\nid = 'r{number}'\ntitle = 'x'\nlevel = 'low'\n[rule.detection]\n{}",
            detection(number)
        )
        .expect("text grows");
    }
    RuleSet::parse("bench", &text).unwrap_or_else(|error| panic!("{error}"))
}

fn measure(what: &str, set: &RuleSet, certificates: &[Vec<Box<str>>]) {
    let mut rounds: Vec<(f64, usize)> = (0..9)
        .map(|_| {
            let (start, mut matches) = (Instant::now(), 0);
            for names in certificates {
                matches += black_box(set.examine(&Subject::names_only(black_box(names)))).matches.len();
            }
            (start.elapsed().as_secs_f64() * 1e9 / certificates.len() as f64, matches)
        })
        .collect();
    rounds.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (nanoseconds, matches) = rounds[rounds.len() / 2];
    println!("{nanoseconds:>10.0} ns  {:>8.4} matches  {what}", matches as f64 / certificates.len() as f64);
}

fn main() {
    let mut random = Random(3);
    let certificates: Vec<Vec<Box<str>>> =
        (0..20_000).map(|_| (0..3).map(|_| random.name().into()).collect()).collect();
    let words: Vec<String> = (0..2_000).map(|_| random.syllables(4)).collect();
    let keyword = |number: usize| format!("condition = 'a'\na = {{ keyword = '{}' }}", words[number]);
    let regex = |number: usize| {
        let word = &words[number];
        format!("condition = 'a'\na = {{ regex = '^{}[a-z]*-?{}[0-9]*\\.' }}", &word[..3], &word[3..])
    };
    let rare = |number: usize| {
        let word = &words[number];
        format!(
            "condition_cel = \"cert.names.exists(n, n.contains('{word}') && n.endsWith('.com')) && cert.names.size() < 9\""
        )
    };
    let firing = |number: usize| {
        format!("condition_cel = \"cert.names.all(n, n.contains('.') && n != 'x{number}') && cert.names.size() < 9\"")
    };
    measure("1 keyword", &rules(1, keyword), &certificates);
    measure("10 keywords, a rule each", &rules(10, keyword), &certificates);
    measure("1,000 keywords, a rule each", &rules(1_000, keyword), &certificates);
    measure("100 expressions, a rule each", &rules(100, regex), &certificates);
    let both = |number: usize| if number < 1_000 { keyword(number) } else { regex(number) };
    measure("1,000 keywords and 100 expressions", &rules(1_100, both), &certificates);
    let all = |number: usize| if number < 1_100 { both(number) } else { rare(number) };
    measure("... and 50 CEL rules that hardly hit", &rules(1_150, all), &certificates);
    measure("50 CEL rules that hardly hit", &rules(50, rare), &certificates);
    measure("50 CEL rules that all fire", &rules(50, firing), &certificates);
    let suffix = |number: usize| format!("condition = 'a'\na = {{ suffix = '{}.com' }}", words[number]);
    measure("1,000 suffixes, a rule each", &rules(1_000, suffix), &certificates);
    let open = |number: usize| format!("condition = 'a'\na = {{ san_count_min = {} }}", 10 + number);
    measure("1,000 rules that have to be asked always", &rules(1_000, open), &certificates);

    let nested: Vec<String> = (1..64).map(|length| "a".repeat(length)).collect();
    let nested = |number: usize| format!("condition = 'a'\na = {{ keyword = '{}' }}", nested[number]);
    let hostile: Vec<Vec<Box<str>>> = vec![vec!["a".repeat(253).into(); 100]; 20];
    measure("hostile: 100 names of 253 a, keywords a, aa, … of 63 rules", &rules(63, nested), &hostile);
    let explosive = |number: usize| format!("condition = 'a'\na = {{ regex = '[a-m][^x]{{{}}}z' }}", 20 + number % 20);
    let mut noise = || (0..250).map(|_| char::from(b"abcmnyz"[random.below(7)])).collect::<String>();
    let noisy: Vec<Vec<Box<str>>> = (0..20).map(|_| (0..100).map(|_| noise().into()).collect()).collect();
    measure(
        "hostile: 100 names of 250 bytes, 100 expressions that explode as automata",
        &rules(100, explosive),
        &noisy,
    );
    let steps = "[[rule]]\nid = 'r'\ntitle = 'x'\nlevel = 'low'\n[rule.detection]\n\
                 condition_cel = 'cert.names.all(a, cert.names.all(b, a.size() == b.size()))'";
    let set = RuleSet::parse_all([("bench", steps)], 1_000_000).unwrap_or_else(|error| panic!("{error}"));
    measure("names by names, 100 names: about 400,000 steps", &set, &noisy);
}
