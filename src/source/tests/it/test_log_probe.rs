//! Asks a test log and reads what it says: a second, smaller understanding of the formats, for checks of the log alone.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::Value;

use crate::test_log::{Hash, Log, leaf_hash, sha256, submission_of};

/// A server that is silent for longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!((self.status, self.header("Content-Type")), (200, Some("application/json")));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A body as it was before gzip.
    pub(crate) fn decoded(&self) -> Vec<u8> {
        assert_eq!((self.status, self.header("Content-Encoding")), (200, Some("gzip")));
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut bytes).unwrap();
        bytes
    }
}

pub(crate) fn get(url: &str) -> Got {
    try_get(url, PATIENCE).unwrap()
}

/// One request on a connection of its own. A body that breaks off, or stands still for so long, is an error.
pub(crate) fn try_get(url: &str, patience: Duration) -> std::io::Result<Got> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: probe/1\r\nConnection: close\r\n\r\n")?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).ok_or(ErrorKind::UnexpectedEof)?.parse().unwrap();
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut got = Got { status, headers, body: Vec::new() };
    match got.header("Content-Length").map(|length| length.parse().unwrap()) {
        Some(length) => {
            got.body.resize(length, 0);
            stream.read_exact(&mut got.body)?;
        }
        None => drop(stream.take(1 << 20).read_to_end(&mut got.body)?),
    }
    Ok(got)
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(value.as_str().unwrap()).unwrap()
}

pub(crate) fn hash(value: &Value) -> Hash {
    bytes(value).try_into().unwrap()
}

/// MTH of RFC 6962 section 2.1 over leaf hashes.
pub(crate) fn merkle_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1], &merkle_root(left), &merkle_root(right)])
        }
    }
}

/// What a get-sth or a checkpoint says, and whether name and signature are right.
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) timestamp_ms: u64,
    pub(crate) root: Hash,
    pub(crate) valid: bool,
}

pub(crate) fn is_signed(log: &Log, head: &[u8], signature: &[u8]) -> bool {
    assert_eq!(signature[..2], [4, 3]);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &log.key().spki()[26..]).verify(head, &signature[4..]).is_ok()
}

pub(crate) fn head_bytes(timestamp_ms: u64, size: u64, root: &Hash) -> Vec<u8> {
    [&[0, 1][..], &timestamp_ms.to_be_bytes(), &size.to_be_bytes(), root].concat()
}

pub(crate) fn get_sth(log: &Log) -> Head {
    let sth = get(&format!("{}ct/v1/get-sth", log.url())).json();
    let (size, timestamp_ms) = (sth["tree_size"].as_u64().unwrap(), sth["timestamp"].as_u64().unwrap());
    let root = hash(&sth["sha256_root_hash"]);
    let signature = bytes(&sth["tree_head_signature"]);
    let valid = is_signed(log, &head_bytes(timestamp_ms, size, &root), &signature);
    Head { size, timestamp_ms, root, valid }
}

pub(crate) fn checkpoint(log: &Log) -> Head {
    let got = get(&format!("{}checkpoint", log.url()));
    assert_eq!(got.status, 200);
    let note = String::from_utf8(got.body).unwrap();
    let lines: Vec<&str> = note.split('\n').collect();
    let name = log.url().strip_prefix("http://").unwrap().strip_suffix('/').unwrap();
    let size = lines[1].parse().unwrap();
    let root: Hash = base64_simd::STANDARD.decode_to_vec(lines[2]).unwrap().try_into().unwrap();
    let signature = lines[4].strip_prefix(&format!("\u{2014} {name} ")).map(|line| bytes(&Value::from(line)));
    let signature = signature.unwrap_or_else(|| vec![0; 16]);
    let timestamp_ms = u64::from_be_bytes(*signature[4..].first_chunk().unwrap());
    let key_id = sha256(&[name.as_bytes(), b"\n\x05", &sha256(&[log.key().spki()])]);
    let valid = lines[0] == name
        && signature[..4] == key_id[..4]
        && is_signed(log, &head_bytes(timestamp_ms, size, &root), &signature[12..]);
    Head { size, timestamp_ms, root, valid }
}

/// All leaf inputs below `size`, by pages; gives their sizes too.
pub(crate) fn by_pages(log: &Log, size: u64) -> (Vec<Vec<u8>>, Vec<usize>) {
    let (mut leaves, mut pages) = (Vec::new(), Vec::new());
    while (leaves.len() as u64) < size {
        let url = format!("{}ct/v1/get-entries?start={}&end={}", log.url(), leaves.len(), size - 1);
        let page = get(&url).json();
        let page = page["entries"].as_array().unwrap();
        assert!(!page.is_empty());
        pages.push(page.len());
        for entry in page {
            let leaf_input = bytes(&entry["leaf_input"]);
            assert!(submission_of(&leaf_input, &bytes(&entry["extra_data"])).is_some());
            leaves.push(leaf_input);
        }
    }
    (leaves, pages)
}

pub(crate) fn tile_path(kind: &str, number: u64, width: u64) -> String {
    let number =
        if number < 1_000 { format!("{number:03}") } else { format!("x{:03}/{:03}", number / 1_000, number % 1_000) };
    if width == 256 { format!("tile/{kind}/{number}") } else { format!("tile/{kind}/{number}.p/{width}") }
}

/// All leaf inputs below `size`, by data tiles.
pub(crate) fn by_tiles(log: &Log, size: u64) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    for number in 0..size.div_ceil(256) {
        let width = 256.min(size - 256 * number);
        let tile = get(&format!("{}{}", log.url(), tile_path("data", number, width))).decoded();
        let mut rest = &tile[..];
        while !rest.is_empty() {
            let precert = rest[9] == 1;
            let at = if precert { 42 } else { 10 };
            let length = |at: usize| u32::from_be_bytes([0, rest[at], rest[at + 1], rest[at + 2]]) as usize;
            let extensions = at + 3 + length(at);
            // One extension, the index of the leaf.
            assert_eq!(rest[extensions..extensions + 5], [0, 8, 0, 0, 5]);
            let index = rest[extensions + 5..extensions + 10].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            assert_eq!(index, leaves.len() as u64);
            let end = extensions + 10;
            leaves.push([&[0, 0], &rest[..end]].concat());
            let chain = if precert { end + 3 + length(end) } else { end };
            let issuers = chain + 2 + usize::from(u16::from_be_bytes([rest[chain], rest[chain + 1]]));
            for issuer in rest[chain + 2..issuers].chunks(32) {
                let hex: String = issuer.iter().map(|byte| format!("{byte:02x}")).collect();
                if index.is_multiple_of(100) {
                    assert_eq!(sha256(&[&get(&format!("{}issuer/{hex}", log.url())).body]), issuer);
                }
            }
            rest = &rest[issuers..];
        }
    }
    leaves
}

pub(crate) fn root_of(leaves: &[Vec<u8>]) -> Hash {
    merkle_root(&leaves.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>())
}

/// The root that an audit path leads to: RFC 9162 section 2.1.3.2.
pub(crate) fn climb(leaf: Hash, index: u64, size: u64, path: &Value) -> Hash {
    let (mut at, mut last, mut root) = (index, size - 1, leaf);
    for step in path.as_array().unwrap() {
        if at % 2 == 1 || at == last {
            root = sha256(&[&[1], &hash(step), &root]);
            while at.is_multiple_of(2) && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            root = sha256(&[&[1], &root, &hash(step)]);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    assert_eq!(last, 0);
    root
}
