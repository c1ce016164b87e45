//! Bytes that mean harm: nothing panics, and nothing takes long.

use super::made::{self, Made, der, rsa_key, sequence};
use super::*;

/// xorshift64*, so that a failure can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }
}

fn mutate(random: &mut Random, original: &[u8]) -> Vec<u8> {
    let mut der = original.to_vec();
    for _ in 0..random.below(6) + 1 {
        let at = random.below(der.len());
        match random.below(4) {
            0 => der[at] = random.next() as u8,
            1 => der[at] ^= 1 << random.below(8),
            2 if der.len() > 1 => drop(der.remove(at)),
            _ => der.insert(at, random.next() as u8),
        }
    }
    der
}

fn everything() -> Policy {
    policy(json!({"profiles": ALL, "log_list": super::browsers::log_list(), "blocklist": "00".repeat(32)}))
}

#[test]
fn changes_are_survived() {
    let mut random = Random(0xc0ffee);
    let policy = everything();
    let rsa = Made { spki: rsa_key(&[0xa5; 256], &[1, 0, 1]), ..Made::new() };
    let originals =
        [Made::new().promised(&[(1, Timestamp(0)), (2, Timestamp(0))]).der(), rsa.der(), Made::root().der()];
    for round in 0..20_000 {
        policy.judge(&mutate(&mut random, &originals[round % originals.len()]), None);
    }
    for original in &originals {
        for length in 0..original.len() {
            policy.judge(&original[..length], None);
        }
    }
}
#[test]
fn changes_of_real_certificates_are_survived() {
    let Some(folder) = std::env::var_os("CT_STREAM_DATA") else { return };
    let mut random = Random(0x7a6c_696e);
    let policy = everything();
    for file in files(&std::path::PathBuf::from(folder).join("detect/zlint/certs")) {
        for _ in 0..100 {
            policy.judge(&mutate(&mut random, &file), None);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "data that is not part of the crate")]
fn files(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut all = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            all.extend(files(&path));
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned();
        let body =
            text.split_once("-----BEGIN CERTIFICATE-----").expect("PEM").1.split_once("-----END").expect("PEM").0;
        all.push(decode_base64(body));
    }
    all
}

fn decode_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}

#[test]
fn many_and_long_things() {
    let policy = everything();
    let name = der(0x82, &[b"xn--a.example.com"]);
    let names = Made::new().with(made::SAN, false, sequence(&vec![name; 50_000]));
    assert!(failures(&policy, &names.der(), None).contains(&"san.duplicate"));

    let overlong = format!("xn--{}.com", "a".repeat(200_000));
    assert!(failures(&policy, &Made::new().dns(&[&overlong]).der(), None).contains(&"name.long_label"));
    assert!(failures(&policy, &Made::new().dns(&[&"a.".repeat(100_000)]).der(), None).contains(&"name.long"));

    for bytes in [1, 31, 255, 2_048, 2_049, 100_000] {
        let made = Made { spki: rsa_key(&vec![0xa5; bytes], &vec![0xff; bytes]), ..Made::new() };
        let mut itself = made.clone();
        itself.issuer.clone_from(&itself.subject);
        policy.judge(&made.der(), None);
        policy.judge(&itself.der(), None);
    }
    let empty = Made { spki: rsa_key(&[], &[]), serial: Vec::new(), ..Made::new() };
    assert!(failures(&policy, &empty.der(), None).contains(&"key.rsa_small"));

    let mut extensions = Made::new();
    extensions
        .extensions
        .extend((0..5_000_u32).map(|at| (at.to_be_bytes().map(|byte| byte & 0x7f).to_vec(), true, vec![])));
    assert!(failures(&policy, &extensions.der(), None).contains(&"parse.partial"));
}
#[test]
fn what_is_shown_is_harmless() {
    let policy = everything();
    let made = Made::new().named(&[(0x82, b"\x1b[2J\n\xe2\x80\xae\"evil\".example")]);
    for judgement in policy.judge(&made.der(), None) {
        if let Verdict::Fail(detail) = judgement.verdict {
            assert!(detail.chars().all(|c| (' '..='~').contains(&c)), "{}: {detail:?}", judgement.check.id);
            assert!(detail.len() < 2_000);
        }
    }
}
