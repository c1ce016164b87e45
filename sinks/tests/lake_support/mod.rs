//! Rows made from a seed, shaped like those of public logs, for the tests of the lake.

use std::sync::Arc;

use ct_model::id::digest;
use ct_model::{
    CertId, CertRecord, Coverage, EntryKind, EntryRecord, Finding, Gap, ParseState, Rejected, Rows, Severity, Timestamp,
};

/// 2026-11-23T00:00:00Z
pub(crate) const DAY: i64 = 1_795_392_000_000_000;

/// SplitMix64: a few lines, and the same numbers everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn hash(&mut self) -> [u8; 32] {
        digest(&[&self.next().to_be_bytes()])
    }
}

pub(crate) fn certificate(random: &mut Random, der: bool) -> CertRecord {
    let sha256 = random.hash();
    let words = ["shop", "mail", "cloud", "vpn", "api", "login", "news", "bank", "dev", "static"];
    let word = |random: &mut Random| words[random.below(words.len() as u64) as usize];
    let tld = ["com", "net", "org", "de", "co.uk", "io"][random.below(6) as usize];
    let domain = format!("{}-{}{}.{tld}", word(random), word(random), random.below(900_000));
    let names: Vec<Box<str>> = match random.below(4) {
        0 => vec![domain.clone().into(), format!("www.{domain}").into(), format!("*.{domain}").into()],
        1 => vec![format!("{}.{domain}", word(random)).into()],
        _ => vec![domain.clone().into(), format!("www.{domain}").into()],
    };
    let authority = random.below(8);
    let start = DAY / 1_000_000 - random.below(7_200) as i64;
    CertRecord {
        id: CertId::der(sha256),
        sha256: Some(sha256),
        sha1: Some(random.hash()[..20].try_into().unwrap()),
        tbs_sha256: Some(random.hash()),
        spki_sha256: Some(random.hash()),
        kind: Some(if random.below(2) == 0 { EntryKind::Precert } else { EntryKind::Final }),
        serial: Some(ct_model::id::to_hex(&random.hash()[..18]).into()),
        issuer_dn: Some(format!("CN=Test Authority R{authority},O=Test Authority,C=US").into()),
        issuer_cn: Some(format!("Test Authority R{authority}").into()),
        issuer_org: Some("Test Authority".into()),
        subject_dn: Some(format!("CN={}", names[0]).into()),
        subject_cn: Some(names[0].clone()),
        not_before: Some(Timestamp::from_seconds(start)),
        not_after: Some(Timestamp::from_seconds(start + 90 * 86_400)),
        names,
        registered_domains: vec![domain.into()],
        ips: Vec::new(),
        key_algorithm: Some(if random.below(3) == 0 { "RSA" } else { "EC" }.into()),
        key_bits: Some(256),
        signature_algorithm: Some("sha256WithRSAEncryption".into()),
        is_ca: Some(false),
        sct_count: Some(2),
        scts: Vec::new(),
        parse: ParseState::Ok,
        parse_error: None,
        der_bytes: Some(1_200 + random.below(600) as u32),
        seen: Some(Timestamp(DAY + random.below(300_000_000) as i64)),
        log: Some(format!("log{}.example/2026h2", random.below(12)).into()),
        log_index: Some(1_000_000_000 + random.below(100_000_000)),
        feed: "certstream".into(),
        der: der.then(|| (0..40).flat_map(|_| random.hash()).collect()),
    }
}

pub(crate) fn entry(random: &mut Random) -> EntryRecord {
    let sha256 = random.hash();
    let seen = DAY + random.below(300_000_000) as i64;
    EntryRecord {
        log: Some(format!("log{}.example/2026h2", random.below(12)).into()),
        log_index: Some(1_000_000_000 + random.below(100_000_000)),
        kind: Some(EntryKind::Precert),
        id: CertId::der(sha256),
        sha256: Some(sha256),
        submitted: Some(Timestamp(seen / 1_000 * 1_000 - 4_000_000)),
        seen: Some(Timestamp(seen)),
        feed: "certstream".into(),
    }
}

pub(crate) fn finding(random: &mut Random) -> Finding {
    let sha256 = random.hash();
    let once = random.below(3) == 0;
    Finding {
        id: random.hash()[..16].try_into().unwrap(),
        module: "lookalike".into(),
        check: "edit-distance".into(),
        severity: Severity::High,
        score: Some(0.93),
        name: Some(format!("exampl{}.com", random.below(1_000)).into()),
        sha256: (!once).then_some(sha256),
        tbs_sha256: (!once).then_some(sha256),
        seen: Some(Timestamp(DAY + random.below(300_000_000) as i64)),
        detail: r#"{"of":"example.com"}"#.into(),
        once,
    }
}

pub(crate) fn rejected(random: &mut Random, line: u64) -> Rejected {
    let segment: Arc<str> = "part-1.jsonl".into();
    Rejected {
        feed: "replay".into(),
        segment,
        line,
        offset: line * 100,
        reason: "json",
        detail: "expected value at column 1".into(),
        seen: None,
        raw: random.hash().into(),
    }
}

pub(crate) fn gap(random: &mut Random) -> Gap {
    let to = DAY + random.below(3_600_000_000) as i64;
    Gap {
        feed: "argon".into(),
        from: Some(Timestamp(to - 5_000_000)),
        to: Timestamp(to),
        reason: "closed".into(),
        detail: random.next().to_string().into(),
    }
}

pub(crate) fn stretch(random: &mut Random) -> Coverage {
    let first = random.below(1_000_000_000);
    let last = first + random.below(65_536);
    Coverage {
        log: "ct.example.com/2026h2".into(),
        first,
        last,
        tree_size: last + 1 + random.below(1_000),
        root: random.hash(),
        head_at: Timestamp(DAY + random.below(3_600_000_000) as i64 / 1_000 * 1_000),
        verified: random.below(2) == 0,
        feed: "logs".into(),
        since: None,
    }
}

/// `count` rows of each table, a tenth of that rejected, no gaps and no coverage.
pub(crate) fn rows(seed: u64, count: u64) -> Rows {
    let random = &mut Random(seed);
    Rows {
        certificates: (0..count).map(|_| certificate(random, false)).collect(),
        entries: (0..count).map(|_| entry(random)).collect(),
        findings: (0..count).map(|_| finding(random)).collect(),
        rejected: (0..count.div_ceil(10)).map(|line| rejected(random, seed * 1_000_000 + line + 1)).collect(),
        gaps: Vec::new(),
        coverage: Vec::new(),
    }
}
