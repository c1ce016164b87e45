//! What the stages are measured on: lines of the generator, in blocks and as rows.

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use ct_dataflows::operators::{decode, peek};
use ct_dataflows::records::{Block, Item};
use ct_model::message::{Body, Reader, Sighting};
use ct_model::x509::Decoder;
use ct_model::{CertRecord, Rows};

pub(crate) const SEED: u64 = 7;
pub(crate) const MESSAGES: u64 = 30_000;
const BLOCK_BYTES: usize = 4 << 20;

/// 30,000 messages of the Go server's full stream, in blocks of 4 MiB.
pub(crate) fn blocks() -> Vec<Block> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stream.jsonl");
    let made = Command::new(env!("CARGO_BIN_EXE_ct-stream"))
        .args(["generate", "--messages", &MESSAGES.to_string(), "--seed", &SEED.to_string(), "--out"])
        .arg(&path)
        .status();
    assert!(made.expect("the program starts").success(), "the stream was not written");
    let text = std::fs::read(&path).expect("it was written");
    let (mut blocks, mut rest) = (Vec::new(), &text[..]);
    while !rest.is_empty() {
        let lines = rest.iter().enumerate().skip(BLOCK_BYTES).find(|(_, byte)| **byte == b'\n');
        let (block, behind) = rest.split_at(lines.map_or(rest.len(), |(end, _)| end + 1));
        blocks.push(Block { text: Bytes::copy_from_slice(block), ..Block::default() });
        rest = behind;
    }
    blocks
}

pub(crate) fn sightings(blocks: &[Block]) -> Vec<Sighting> {
    let mut reader = Reader::default();
    let items = blocks.iter().flat_map(|block| peek::read_block(&mut reader, block.clone()).items);
    items.filter_map(|item| if let Item::Sighting(sighting) = item { Some(sighting) } else { None }).collect()
}

/// The first sighting of each certificate.
pub(crate) fn first_sightings(sightings: &[Sighting]) -> Vec<Sighting> {
    let mut ids = HashSet::new();
    sightings.iter().filter(|sighting| ids.insert(sighting.id)).cloned().collect()
}

/// The certificates that came with their bytes.
pub(crate) fn ders(sightings: &[Sighting]) -> Vec<&[u8]> {
    let ders = sightings.iter().map(|sighting| match &sighting.body {
        Body::Der(der) => Some(&der[..]),
        Body::Text(_) => None,
    });
    ders.flatten().collect()
}

/// So many rows of certificates, repeated if there are not enough.
pub(crate) fn rows(sightings: Vec<Sighting>, count: usize) -> Rows {
    let (mut decoder, feed) = (Decoder::default(), Arc::from("bench"));
    let records: Vec<CertRecord> = sightings
        .into_iter()
        .map(|sighting| decode::subject(&mut decoder, sighting, &feed, decode::Der::Drop).record)
        .collect();
    Rows { certificates: records.iter().cycle().take(count).cloned().collect(), ..Rows::default() }
}
