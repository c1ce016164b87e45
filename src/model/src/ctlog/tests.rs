//! Real entries, heads and lists, and whole generated logs, each from its files to its signed root.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::head::SignedHead;
use super::leaf::{Entry, ExtraData, Leaf, leaf_hash};
use super::list::{Log, LogList, State, Urls};
use super::merkle::compact::CompactRange;
use super::merkle::node_hash;
use super::merkle::range::{nodes_needed, range_root};
use super::testing::{bytes, generated_logs, mth, real_data};
use super::tile::data::Entries;
use super::tile::hashes::{HashTile, tiles_needed};
use super::tile::{Tile, TileKind};
use super::*;
use crate::record::EntryKind;
use crate::x509::Decoder;

fn json(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).expect("JSON")
}

#[expect(clippy::disallowed_methods, reason = "tests read files that are not part of the crate")]
fn read(path: &str) -> Option<Vec<u8>> {
    Some(std::fs::read(real_data()?.join("ct").join(path)).expect(path))
}

/// A leaf and what is beside it agree with each other.
fn check_entry(leaf_input: &[u8], extra_data: &[u8], decoder: &mut Decoder) -> EntryKind {
    let leaf = Leaf::parse(leaf_input).unwrap();
    let extra = ExtraData::parse(leaf.entry.kind(), extra_data).unwrap();
    match leaf.entry {
        Entry::Final { der } => {
            assert_eq!(decoder.decode(der).kind, Some(EntryKind::Final));
            assert_eq!(extra.precertificate, None);
        }
        Entry::Precert { issuer_key_hash, tbs } => {
            let submitted = decoder.decode(extra.precertificate.unwrap());
            assert_eq!(submitted.kind, Some(EntryKind::Precert));
            // The TBS of the leaf is that of the precertificate without its poison.
            assert_eq!(submitted.tbs_sha256, Some(Sha256::digest(tbs).into()));
            let issuer = decoder.decode({ extra.chain }.next().unwrap());
            assert_eq!(issuer.spki_sha256.as_ref(), Some(issuer_key_hash));
        }
    }
    for issuer in extra.chain {
        assert!(crate::x509::is_certificate(issuer));
    }
    leaf.entry.kind()
}

#[test]
fn real_entries() {
    let Some(text) = read("entries.jsonl") else { return };
    let mut decoder = Decoder::new();
    let mut kinds = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let entry = json(line);
        let [leaf, extra] = ["leaf_input", "extra_data"].map(|key| bytes(entry[key].as_str().unwrap()));
        assert_eq!(Some(Leaf::parse(&leaf).unwrap().timestamp_ms), entry["timestamp"].as_u64());
        kinds.push(check_entry(&leaf, &extra, &mut decoder));
    }
    assert_eq!((kinds.len(), kinds.iter().filter(|kind| **kind == EntryKind::Precert).count()), (20, 5));
}

#[test]
fn real_heads() {
    let Some(sth) = read("files/cloudflare__azul/get-sth") else { return };
    assert_eq!(SignedHead::from_sth(&sth).unwrap().head.size, 961_984_011);
    let description = json(&read("files/FiloSottile__sunlight/tree/log.v3.json").unwrap());
    let (key, id) = (&description["key"], &description["log_id"]);
    let log_id: Hash = Sha256::digest(bytes(key.as_str().unwrap())).into();
    assert_eq!(log_id[..], bytes(id.as_str().unwrap()));
    let note = read("files/FiloSottile__sunlight/tree/checkpoint").unwrap();
    let signed = SignedHead::from_checkpoint(&note, "rome2026h1.example.org", &log_id).unwrap();
    let head = &description["final_tree_head"];
    assert_eq!(Some(signed.head.size), head["tree_size"].as_u64());
    assert_eq!(Some(signed.head.timestamp_ms), head["timestamp"].as_u64());
    assert_eq!(signed.head.root[..], bytes(head["sha256_root_hash"].as_str().unwrap()));
}

/// The hash tiles of a mirror: entries 0 to 299, and the root that its checkpoint has.
#[test]
fn a_real_mirror() {
    const FOLDER: &str =
        "files/FiloSottile__sunlight/witness/mirror/000de184301123b9278c086a7d9f68c9577e83872224c197058fd90784ea9706";
    let Some(note) = read(&format!("{FOLDER}/checkpoint")) else { return };
    let root = bytes(std::str::from_utf8(&note).unwrap().lines().nth(2).unwrap());
    let tile = |path: &str| (Tile::from_path(path).unwrap(), read(&format!("{FOLDER}/{path}")).unwrap());
    let (full, full_bytes) = tile("tile/0/000");
    let (partial, partial_bytes) = tile("tile/0/001.p/44");
    let (top, top_bytes) = tile("tile/1/000.p/1");
    let [full, partial, top] = [(full, &full_bytes), (partial, &partial_bytes), (top, &top_bytes)]
        .map(|(tile, bytes)| HashTile::new(tile, bytes).unwrap());
    let whole = merkle::Span { lo: 0, hi: 256 };
    assert_eq!(top.node(whole), full.node(whole));
    assert_eq!(node_hash(&top.hashes()[0], &mth(partial.hashes()))[..], root);
    let needed = nodes_needed(300, 256, 44);
    assert_eq!(tiles_needed(300, &needed), [Tile::from_path("tile/1/000.p/1").unwrap()]);
    assert_eq!(range_root(300, 256, partial.hashes(), |span| top.node(span)).unwrap()[..], root);
}

#[test]
fn real_lists() {
    for (path, logs, followed, skipped) in [
        ("appmattus__certificatetransparency/log_list.json", 29, 22, 0),
        ("google__certificate-transparency-go/loglist3.json", 6, 4, 0),
        ("reloading01__certstream-server-rust/google_v3_log_list.json", 56, 52, 0),
    ] {
        let Some(text) = read(&format!("files/{path}")) else { return };
        let list = LogList::parse(&text).unwrap();
        let is_followed = list.logs.iter().filter(|log| log.is_followed()).count();
        assert_eq!((list.logs.len(), is_followed, list.skipped.len()), (logs, followed, skipped), "{path}");
        for log in list.logs.iter().filter(|log| matches!(log.state, Some(State::Readonly { .. }))) {
            assert!(matches!(log.state, Some(State::Readonly { size: 1.., .. })));
        }
    }
}

/// The root of a log by its get-entries pages.
fn root_of_pages(folder: &str, files: &BTreeMap<String, Vec<u8>>) -> CompactRange {
    let mut tree = CompactRange::new();
    let mut decoder = Decoder::new();
    let prefix = format!("{folder}/ct/v1/get-entries/");
    let mut pages: Vec<(u64, &Vec<u8>)> = files
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(&prefix)?.split('-').next()?.parse().ok()?, text)))
        .collect();
    pages.sort_unstable_by_key(|(first, _)| *first);
    for (first, page) in pages {
        assert_eq!(first, tree.size());
        for entry in json(page)["entries"].as_array().unwrap() {
            let [leaf, extra] = ["leaf_input", "extra_data"].map(|key| bytes(entry[key].as_str().unwrap()));
            check_entry(&leaf, &extra, &mut decoder);
            tree.push(leaf_hash(&leaf));
        }
    }
    tree
}

/// The root of a log by its data tiles, each of which is also compared with the root by hash tiles alone.
fn root_of_tiles(folder: &str, files: &BTreeMap<String, Vec<u8>>, head: &head::TreeHead) -> CompactRange {
    let mut tree = CompactRange::new();
    let mut decoder = Decoder::new();
    for tile in Tile::data_tiles(head.size, 0) {
        let mut hashes = Vec::new();
        for entry in Entries::of(tile, &files[&format!("{folder}/{tile}")]) {
            let entry = entry.unwrap();
            assert_eq!((entry.check_index(), entry.index), (Ok(()), tree.size()));
            if let (Entry::Precert { tbs, .. }, Some(der)) = (entry.leaf.entry, entry.precertificate) {
                assert_eq!(decoder.decode(der).tbs_sha256, Some(Sha256::digest(tbs).into()));
            }
            for issuer in entry.issuers {
                let der = &files[&format!("{folder}/issuer/{}", crate::id::to_hex(issuer))];
                assert_eq!(Sha256::digest(der)[..], *issuer);
            }
            hashes.push(entry.leaf_hash());
            tree.push(entry.leaf_hash());
        }
        assert_eq!(hashes.len(), usize::from(tile.width()));
        let names = tiles_needed(head.size, &nodes_needed(head.size, tile.first(), u64::from(tile.width())));
        let beside: Vec<HashTile<'_>> =
            names.iter().map(|name| HashTile::new(*name, &files[&format!("{folder}/{name}")]).unwrap()).collect();
        let outside = |span| beside.iter().find_map(|tile| tile.node(span));
        assert_eq!(range_root(head.size, tile.first(), &hashes, outside), Ok(head.root));
        let level0 = Tile::new(TileKind::Hashes { level: 0 }, tile.index(), tile.width()).unwrap();
        assert_eq!(files[&format!("{folder}/{level0}")], hashes.concat());
    }
    tree
}

#[test]
fn generated_logs_to_their_roots() {
    let Some(files) = generated_logs() else { return };
    let list = LogList::parse(&files["log_list.json"]).unwrap();
    let mut entries = 0;
    for Log { name, urls, id, .. } in &list.logs {
        let folder = name.split_once('/').unwrap().1;
        let (signed, tree) = match urls {
            Urls::Rfc6962 { .. } => {
                let signed = SignedHead::from_sth(&files[&format!("{folder}/ct/v1/get-sth")]).unwrap();
                (signed, root_of_pages(folder, &files))
            }
            Urls::Tiled { .. } => {
                let note = &files[&format!("{folder}/checkpoint")];
                let signed = SignedHead::from_checkpoint(note, urls.origin(), id).unwrap();
                let tree = root_of_tiles(folder, &files, &signed.head);
                (signed, tree)
            }
        };
        assert_eq!((tree.size(), tree.root()), (signed.head.size, signed.head.root), "{name}");
        entries += tree.size();
    }
    assert_eq!((list.logs.len(), entries), (23, 4_000));
}
