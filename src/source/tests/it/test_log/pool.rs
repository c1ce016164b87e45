//! Where the certificates of a log come from: a file of JSON lines, or nowhere.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::der::{key_hash, without_poison};
use super::entries::{Bytes, Certificate, Submission, submission_of};
use super::synthetic::Synthetic;
use super::tree::{Hash, sha256};

/// The issuer key hash of a precertificate whose feed did not send its issuer.
pub(crate) const NO_ISSUER: Hash = [0; 32];

/// Certificates in the order in which a log takes them.
pub(crate) enum Pool {
    Given(Vec<Submission>),
    Synthetic { made: Synthetic, count: u64 },
}

impl Pool {
    pub(crate) fn synthetic(seed: u64, count: u64) -> Self {
        Self::Synthetic { made: Synthetic::new(seed), count }
    }

    /// Reads JSON lines, each a CertStream message with `as_der` or an entry with `leaf_input` and `extra_data`. Other
    /// lines are passed over; gives their number too.
    pub(crate) fn read(path: &Path) -> io::Result<(Self, u64)> {
        let (mut pool, mut chains, mut passed_over) = (Vec::new(), HashMap::new(), 0);
        for line in BufReader::new(File::open(path)?).lines() {
            match submission(&line?) {
                Some(mut submission) => {
                    share(&mut submission.chain, &mut chains);
                    pool.push(submission);
                }
                None => passed_over += 1,
            }
        }
        Ok((Self::Given(pool), passed_over))
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Given(pool) => pool.len() as u64,
            Self::Synthetic { count, .. } => *count,
        }
    }

    /// Panics above the length.
    pub(crate) fn get(&self, index: u64) -> Submission {
        match self {
            Self::Given(pool) => pool[index as usize].clone(),
            Self::Synthetic { made, .. } => made.submission(index),
        }
    }

    /// The distinct issuers by their SHA-256, and which of them end a chain.
    pub(crate) fn issuers(&self) -> (HashMap<Hash, Bytes>, Vec<Bytes>) {
        let mut roots = HashMap::new();
        let mut issuers = HashMap::new();
        let mut add = |chain: &[Bytes]| {
            issuers.extend(chain.iter().map(|issuer| (sha256(&[issuer]), Bytes::clone(issuer))));
            roots.extend(chain.last().map(|root| (sha256(&[root]), Bytes::clone(root))));
        };
        match self {
            Self::Given(pool) => pool.iter().for_each(|submission| add(&submission.chain)),
            Self::Synthetic { made, .. } => add(made.chain()),
        }
        (issuers, roots.into_values().collect())
    }
}

/// Chains repeat: one copy of each issuer is enough.
fn share(chain: &mut [Bytes], chains: &mut HashMap<Bytes, ()>) {
    for issuer in chain {
        match chains.get_key_value(issuer) {
            Some((known, ())) => *issuer = Bytes::clone(known),
            None => drop(chains.insert(Bytes::clone(issuer), ())),
        }
    }
}

fn submission(line: &str) -> Option<Submission> {
    let line: Value = serde_json::from_str(line).ok()?;
    if let Some(leaf_input) = line.get("leaf_input") {
        return submission_of(&decode(leaf_input)?, &decode(&line["extra_data"])?);
    }
    let data = line.get("data")?;
    let der = Bytes::from(decode(&data["leaf_cert"]["as_der"])?);
    let links = data["chain"].as_array().map_or(&[][..], Vec::as_slice);
    let chain: Option<Vec<Bytes>> = links.iter().map(|link| decode(&link["as_der"]).map(Bytes::from)).collect();
    let chain = chain.unwrap_or_default();
    let certificate = match without_poison(&der) {
        Some(tbs) => {
            let issuer_key_hash = chain.first().and_then(|issuer| key_hash(issuer)).unwrap_or(NO_ISSUER);
            Certificate::Precert { issuer_key_hash, tbs: tbs.into(), submitted: der }
        }
        None => Certificate::Final(der),
    };
    Some(Submission { certificate, chain, timestamp_ms: None })
}

fn decode(text: &Value) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(text.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::entries::Entry;
    use super::super::signing::base64;
    use super::*;

    fn read(lines: &[String]) -> (Pool, u64) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        Pool::read(file.path()).unwrap()
    }

    fn message(submission: &Submission) -> String {
        let chain: Vec<_> =
            submission.chain.iter().map(|issuer| serde_json::json!({ "as_der": base64(issuer) })).collect();
        let leaf = serde_json::json!({ "as_der": base64(submission.certificate.submitted()) });
        let data = serde_json::json!({ "leaf_cert": leaf, "chain": chain, "cert_index": 5 });
        serde_json::json!({ "message_type": "certificate_update", "data": data }).to_string()
    }

    #[test]
    fn messages_and_entries() {
        let made = Synthetic::new(3);
        let want: Vec<Submission> = (0..4).map(|index| made.submission(index)).collect();
        let mut lines: Vec<String> = want[..2].iter().map(message).collect();
        lines.extend(want[2..].iter().map(|submission| {
            let Submission { certificate, chain, .. } = submission.clone();
            let entry = Entry { certificate, chain, timestamp_ms: 9, extensions: vec![1, 2, 3] };
            let (leaf, extra) = (base64(&entry.leaf_input()), base64(&entry.extra_data()));
            serde_json::json!({ "leaf_input": leaf, "extra_data": extra }).to_string()
        }));
        lines.extend([r#"{"message_type":"heartbeat"}"#.to_owned(), "no JSON".to_owned()]);
        let (pool, passed_over) = read(&lines);
        assert_eq!((pool.len(), passed_over), (4, 2));
        for (index, want) in (0..).zip(want) {
            let timestamp_ms = (index >= 2).then_some(9);
            assert_eq!(pool.get(index), Submission { timestamp_ms, ..want });
        }
        let (issuers, roots) = pool.issuers();
        assert_eq!((issuers.len(), roots), (2, vec![Bytes::clone(&made.chain()[1])]));
    }
}
