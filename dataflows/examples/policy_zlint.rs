//! How well module `policy` agrees with zlint, and how fast it is.
//!
//! Input: `$CT_STREAM_DATA/detect/zlint`: certificates, what zlint's own unit tests expect of them (`expected.jsonl`),
//! and zlint's verdicts on all of them (`matrix.jsonl`), for the lints of `policy_lints.txt`. A verdict counts as
//! found if it is notice, info, warn or error. Prints true positives, false positives and false negatives by lint and
//! in total, and with `--wrong` every certificate on which the two disagree. Then the time for all checks on all
//! certificates, one thread, CPU time where Linux tells it: median of 21 runs.
//!
//! `cargo run --release --example policy_zlint [-- --wrong]`

#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a program that measures, not a dataflow")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ct_dataflows::modules::policy::{Policy, Verdict};
use ct_model::x509::Decoder;
use serde_json::{Value, json};

/// What a lint of zlint is here: ids of checks, and what else must be so for the two to mean the same.
struct Counterpart {
    lint: &'static str,
    ids: &'static [&'static str],
    when: Option<fn(&Facts) -> bool>,
    /// The lint is asked of every leaf, the rule is for TLS servers: rows of other certificates are counted apart.
    tls_only: bool,
}

/// What tells apart the regimes that are one check here.
struct Facts {
    /// Seconds from notBefore to notAfter, both included.
    seconds: i64,
    /// Seconds since 1970.
    not_before: i64,
}

const fn same(lint: &'static str, ids: &'static [&'static str]) -> Counterpart {
    Counterpart { lint, ids, when: None, tls_only: false }
}

const fn only(lint: &'static str, ids: &'static [&'static str], when: fn(&Facts) -> bool) -> Counterpart {
    Counterpart { lint, ids, when: Some(when), tls_only: false }
}

const SINCE_2020_09: i64 = 1_598_918_400;
const SINCE_2026_03: i64 = 1_773_532_800;
const SINCE_2027_03: i64 = 1_805_068_800;
const SINCE_2029_03: i64 = 1_868_227_200;
const MAX: &[&str] = &["validity.max_days"];
const MAX_OR_NEAR: &[&str] = &["validity.max_days", "validity.near_max"];

fn days(facts: &Facts, days: i64) -> bool {
    facts.seconds > days * 86_400
}

fn within(facts: &Facts, from: i64, to: i64) -> bool {
    (from..to).contains(&facts.not_before)
}

/// The rules of 825, 398 and 397 days have no end in zlint; here the next rule takes over.
const COUNTERPARTS: &[Counterpart] = &[
    only("e_tls_server_cert_valid_time_longer_than_398_days", MAX, |f| days(f, 398) && f.not_before >= SINCE_2020_09),
    only("w_tls_server_cert_valid_time_longer_than_397_days", MAX_OR_NEAR, |f| {
        days(f, 397) && f.not_before >= SINCE_2020_09
    }),
    only("e_sub_cert_valid_time_longer_than_825_days", MAX, |f| days(f, 825) && f.not_before >= 1_519_948_800),
    only("e_server_cert_valid_time_longer_than_200_days", MAX, |f| within(f, SINCE_2026_03, SINCE_2027_03)),
    only("w_server_cert_valid_time_longer_than_199_days", MAX_OR_NEAR, |f| within(f, SINCE_2026_03, SINCE_2027_03)),
    only("e_server_cert_valid_time_longer_than_100_days", MAX, |f| within(f, SINCE_2027_03, SINCE_2029_03)),
    only("e_server_cert_valid_time_longer_than_47_days", MAX, |f| f.not_before >= SINCE_2029_03),
    same("e_validity_time_not_positive", &["validity.not_positive"]),
    same("e_rsa_mod_less_than_2048_bits", &["key.rsa_small"]),
    same("e_rsa_public_exponent_not_odd", &["key.rsa_exponent_even"]),
    same("e_rsa_public_exponent_too_small", &["key.rsa_exponent_small"]),
    same("w_rsa_public_exponent_not_in_range", &["key.rsa_exponent_range"]),
    same("w_rsa_mod_not_odd", &["key.rsa_even"]),
    same("w_rsa_mod_factors_smaller_than_752", &["key.rsa_small_factor"]),
    same("e_rsa_fermat_factorization", &["key.fermat"]),
    same("e_ec_improper_curves", &["key.ec_curve"]),
    same("e_br_prohibit_dsa_usage", &["key.dsa"]),
    same("e_sub_cert_or_sub_ca_using_sha1", &["sig.sha1"]),
    same("e_cert_sig_alg_not_match_tbs_sig_alg", &["sig.tbs_mismatch"]),
    same("e_ext_san_missing", &["san.missing"]),
    same("e_subject_common_name_not_from_san", &["cn.not_in_san"]),
    same("w_extra_subject_common_names", &["cn.extra"]),
    same("e_dnsname_bad_character_in_label", &["name.bad_char"]),
    same("e_dnsname_empty_label", &["name.empty_label"]),
    same("e_dnsname_label_too_long", &["name.long_label"]),
    same("e_dnsname_not_valid_tld", &["name.unknown_tld"]),
    same("e_dnsname_left_label_wildcard_correct", &["wildcard.partial"]),
    same("e_dnsname_wildcard_only_in_left_label", &["wildcard.position"]),
    same("n_dnsname_wildcard_left_of_public_suffix", &["wildcard.left_of_suffix"]),
    same("e_dnsname_contains_bare_iana_suffix", &["name.bare_suffix"]),
    same("e_dnsname_underscore_in_sld", &["name.underscore_in_registrable"]),
    same("e_underscore_not_permissible_in_dnsname", &["name.underscore"]),
    same("e_international_dns_name_not_nfc", &["name.idn_not_nfc"]),
    same("e_international_dns_name_not_unicode", &["name.idn_not_decodable"]),
    same("e_ext_san_contains_reserved_ip", &["ip.reserved"]),
    same("e_ext_san_dns_not_ia5_string", &["name.not_ia5"]),
    same("e_ext_san_space_dns_name", &["name.space"]),
    same("e_arpa_domain_not_allowed", &["name.arpa"]),
    same("n_san_dns_name_duplicate", &["san.duplicate"]),
    same("e_serial_number_not_positive", &["serial.not_positive"]),
    same("e_serial_number_longer_than_20_octets", &["serial.long"]),
    same("e_sub_cert_eku_missing", &["eku.missing"]),
    same("e_sub_cert_eku_server_auth_client_auth_missing", &["eku.no_tls_auth"]),
    same("e_sub_cert_eku_check", &["eku.no_server_auth", "eku.forbidden", "eku.extra"]),
    same("e_basic_constraints_not_critical", &["bc.not_critical"]),
    same("e_sub_cert_not_is_ca", &["bc.ca"]),
    same("e_sub_cert_key_usage_cert_sign_bit_set", &["ku.cert_sign"]),
    same("e_ext_authority_key_identifier_no_key_identifier", &["aki.no_keyid"]),
    same("w_ext_subject_key_identifier_missing_sub_cert", &["ski.missing"]),
    same("e_sub_cert_aia_missing", &["aia.missing"]),
    same("e_missing_crl_distrib_point", &["crldp.missing"]),
    same("e_ext_duplicate_extension", &["ext.duplicate"]),
    same("e_sub_cert_cert_policy_empty", &["policies.empty"]),
    Counterpart { tls_only: true, ..same("w_ct_sct_policy_count_unsatisfied", &["ct.apple_sct_count"]) },
    same("e_empty_sct_list", &["ct.empty_list"]),
    same("e_precert_with_sct_list", &["ct.precert_with_scts"]),
];

#[derive(Clone, Copy, Default)]
struct Score {
    true_positive: usize,
    false_positive: usize,
    false_negative: usize,
}

impl Score {
    fn add(&mut self, want: bool, got: bool) {
        match (want, got) {
            (true, true) => self.true_positive += 1,
            (false, true) => self.false_positive += 1,
            (true, false) => self.false_negative += 1,
            (false, false) => {}
        }
    }

    fn f1(self) -> f64 {
        let wrong = (self.false_positive + self.false_negative) as f64;
        match self.true_positive {
            0 if wrong == 0.0 => 1.0,
            hits => 2.0 * hits as f64 / (2.0 * hits as f64 + wrong),
        }
    }
}

fn main() {
    let data = PathBuf::from(std::env::var_os("CT_STREAM_DATA").expect("CT_STREAM_DATA names the data folder"));
    let folder = data.join("detect/zlint");
    let all = json!({"profiles": ["br", "chrome-ct", "apple-ct", "hygiene"]});
    let policy = Policy::prepare(all.as_object().expect("a table")).expect("known profiles");
    let show_wrong = std::env::args().any(|argument| argument == "--wrong");

    let lints = std::fs::read_to_string(folder.join("policy_lints.txt")).expect("the list of lints");
    let lints: Vec<&str> =
        lints.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').nth(1)).collect();
    let counterparts: BTreeMap<&str, &Counterpart> = COUNTERPARTS.iter().map(|one| (one.lint, one)).collect();
    assert!(lints.iter().all(|lint| counterparts.contains_key(lint)), "every lint has its counterpart");

    let matrix = rows(&folder.join("matrix.jsonl"));
    let certificates: BTreeMap<&str, Vec<u8>> = matrix
        .iter()
        .map(|row| row["file"].as_str().expect("a name"))
        .map(|file| (file, pem(&folder.join("certs").join(file))))
        .collect();
    let judged: BTreeMap<&str, BTreeSet<&str>> =
        certificates.iter().map(|(file, der)| (*file, judge(&policy, der, &counterparts))).collect();

    let mut of_matrix = BTreeMap::<&str, Score>::new();
    let mut apart = Score::default();
    for row in &matrix {
        let file = row["file"].as_str().expect("a name");
        for lint in &lints {
            let verdict = row["results"][lint].as_str().unwrap_or("NA");
            let (want, got) = (["info", "warn", "error"].contains(&verdict), judged[file].contains(lint));
            // zlint holds the Baseline Requirements, this lint of them always, against certificates for TLS only.
            let is_tls = row["results"].get("e_br_prohibit_dsa_usage").is_some();
            if counterparts[lint].tls_only && !is_tls {
                apart.add(want, got);
                continue;
            }
            of_matrix.entry(lint).or_default().add(want, got);
            if show_wrong && want != got {
                println!("matrix  {lint}  {file}  zlint {verdict}, policy {}", if got { "fails" } else { "does not" });
            }
        }
    }
    let mut of_tests = BTreeMap::<&str, Score>::new();
    for row in rows(&folder.join("expected.jsonl")) {
        let (file, lint) = (row["file"].as_str().expect("a name"), row["lint"].as_str().expect("a lint"));
        let Some(lint) = lints.iter().find(|known| **known == lint) else { continue };
        if row["config"] == true {
            continue;
        }
        let expected = row["expected"].as_str().expect("a status");
        let (want, got) = (["Notice", "Warn", "Error"].contains(&expected), judged[file].contains(lint));
        of_tests.entry(lint).or_default().add(want, got);
        if show_wrong && want != got {
            println!("unit  {lint}  {file}  expected {expected}, policy {}", if got { "fails" } else { "does not" });
        }
    }
    print("unit tests", &lints, &of_tests);
    let total = print("matrix", &lints, &of_matrix);
    let with_apart = Score {
        true_positive: total.true_positive + apart.true_positive,
        false_positive: total.false_positive + apart.false_positive,
        false_negative: total.false_negative + apart.false_negative,
    };
    println!(
        "{:6} {:4} {:4}  with rows of certificates that are not for TLS, F1 {:.4}",
        with_apart.true_positive,
        with_apart.false_positive,
        with_apart.false_negative,
        with_apart.f1()
    );
    time(&policy, &certificates.values().map(Vec::as_slice).collect::<Vec<_>>());
}

/// The lints whose counterparts fail.
fn judge<'l>(policy: &Policy, der: &[u8], counterparts: &BTreeMap<&'l str, &Counterpart>) -> BTreeSet<&'l str> {
    let certificate = Decoder::new().decode(der);
    let (start, end) =
        (certificate.not_before.map_or(0, |t| t.seconds()), certificate.not_after.map_or(0, |t| t.seconds()));
    let facts = Facts { seconds: end - start + 1, not_before: start };
    let judgements = policy.judge(der, None);
    let failed: BTreeSet<&str> = judgements
        .iter()
        .filter(|judgement| matches!(judgement.verdict, Verdict::Fail(_)))
        .map(|judgement| judgement.check.id)
        .collect();
    let fails =
        |one: &Counterpart| one.ids.iter().any(|id| failed.contains(id)) && one.when.is_none_or(|when| when(&facts));
    counterparts.iter().filter(|(_, one)| fails(one)).map(|(lint, _)| *lint).collect()
}

fn rows(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a file of rows");
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// The first certificate of a PEM file.
fn pem(path: &Path) -> Vec<u8> {
    let text = String::from_utf8_lossy(&std::fs::read(path).expect("a certificate")).into_owned();
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").expect("a certificate begins");
    let (body, _) = rest.split_once("-----END").expect("a certificate ends");
    base64(body)
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u32> = text.bytes().filter_map(digit).collect();
    let group = |group: &[u32]| {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

fn print(what: &str, lints: &[&str], scores: &BTreeMap<&str, Score>) -> Score {
    println!("\n{what}: true positives, false positives, false negatives");
    let mut total = Score::default();
    for lint in lints {
        let score = scores.get(lint).copied().unwrap_or_default();
        println!("{:6} {:4} {:4}  {lint}", score.true_positive, score.false_positive, score.false_negative);
        total.true_positive += score.true_positive;
        total.false_positive += score.false_positive;
        total.false_negative += score.false_negative;
    }
    println!(
        "{:6} {:4} {:4}  total, F1 {:.4}",
        total.true_positive,
        total.false_positive,
        total.false_negative,
        total.f1()
    );
    total
}

fn time(policy: &Policy, certificates: &[&[u8]]) {
    let mut runs: Vec<f64> = (0..21)
        .map(|_| {
            let (start, clock) = (cpu_seconds(), Instant::now());
            let judgements: usize = certificates.iter().map(|der| policy.judge(der, None).len()).sum();
            assert!(judgements > 0);
            let cpu = start.and_then(|start| Some(cpu_seconds()? - start));
            cpu.unwrap_or_else(|| clock.elapsed().as_secs_f64()) * 1e6 / certificates.len() as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("\n{:.1} µs a certificate for {} checks", runs[10], policy.judge(certificates[0], None).len());
}

/// What this thread spent on a processor.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}
