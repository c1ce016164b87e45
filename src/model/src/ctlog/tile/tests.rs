//! Names of tiles, entries in them, and their hashes against those of the tree.

use std::collections::HashMap;

use super::data::Entries;
use super::hashes::{HashTile, tile_of, tiles_needed};
use super::*;
use crate::ctlog::leaf::{Entry, Leaf, LeafError};
use crate::ctlog::merkle::Span;
use crate::ctlog::merkle::range::{nodes_needed, range_root};
use crate::ctlog::testing::{Random, leaves, mth};
use crate::ctlog::{Hash, leaf};

fn data(index: u64, width: u16) -> Tile {
    Tile::new(TileKind::Data, index, width).unwrap()
}

fn hashes(level: u8, index: u64, width: u16) -> Tile {
    Tile::new(TileKind::Hashes { level }, index, width).unwrap()
}

#[track_caller]
fn check(tile: Tile, path: &str) {
    assert_eq!(tile.to_string(), path);
    assert_eq!(Tile::from_path(path), Some(tile));
}

#[test]
fn paths() {
    check(hashes(0, 5, 256), "tile/0/005");
    check(hashes(5, 0, 1), "tile/5/000.p/1");
    check(data(0, 256), "tile/data/000");
    check(data(999, 255), "tile/data/999.p/255");
    check(data(1_000, 256), "tile/data/x001/000");
    check(hashes(0, 1_234_067, 256), "tile/0/x001/x234/067");
    check(data(4_294_967_295, 7), "tile/data/x004/x294/x967/295.p/7");
    let mut random = Random(11);
    for _ in 0..10_000 {
        let tile = data(random.next() >> 32 >> (random.next() % 32), random.next() as u16 % 256 + 1);
        check(tile, &tile.to_string());
    }
}

#[test]
fn other_paths() {
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/5",
        "tile/0/0005",
        "tile/00/005",
        "tile/+1/005",
        "tile/6/000",
        "tile/300/000",
        "tile/-1/000",
        "tile/names/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1/2",
        "tile/5/000",
        "tile/5/001.p/1",
        "tile/0/x1/000",
        "tile/0/x+01/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/data/x004/x294/x967/296",
        "tile/0/\u{661}\u{662}",
    ] {
        assert_eq!(Tile::from_path(path), None, "{path}");
    }
    assert_eq!(Tile::new(TileKind::Data, 0, 0), None);
    assert_eq!(Tile::new(TileKind::Data, 0, 257), None);
    assert_eq!(Tile::new(TileKind::Data, u64::MAX, 1), None);
    assert_eq!(Tile::new(TileKind::Hashes { level: 255 }, 0, 1), None);
}

#[test]
fn data_tiles_of_a_tree() {
    let tiles = |size, first| Tile::data_tiles(size, first).collect::<Vec<_>>();
    assert_eq!(tiles(0, 0), []);
    assert_eq!(tiles(256, 0), [data(0, 256)]);
    assert_eq!(tiles(600, 255), [data(0, 256), data(1, 256), data(2, 88)]);
    assert_eq!(tiles(600, 512), [data(2, 88)]);
    assert_eq!(tiles(600, 600), []);
    assert_eq!(tiles(u64::MAX, 0), []);
    assert_eq!(Tile::data_tiles(TREE_SIZE_MAX, TREE_SIZE_MAX - 1).next(), Some(data(u64::from(u32::MAX), 256)));
}

/// All hash tiles of a tree, made without the code under test.
fn all_tiles(leaves: &[Hash]) -> HashMap<Tile, Vec<u8>> {
    let mut tiles = HashMap::new();
    let (mut level, mut step) = (0, 1);
    while leaves.len() >= step {
        let roots: Vec<Hash> = leaves.chunks_exact(step).map(mth).collect();
        for (index, chunk) in roots.chunks(256).enumerate() {
            tiles.insert(hashes(level, index as u64, chunk.len() as u16), chunk.concat());
        }
        (level, step) = (level + 1, step * 256);
    }
    tiles
}

/// The root of a tree from the entries of a stretch and the tiles that are said to be needed, and no others.
#[test]
fn roots_from_tiles() {
    let leaves = leaves(66_000);
    let mut random = Random(12);
    for size in [1, 2, 255, 256, 257, 300, 511, 512, 1_000, 65_535, 65_536, 65_537, 66_000] {
        let leaves = &leaves[..size];
        let (root, tiles) = (mth(leaves), all_tiles(leaves));
        for round in 0..20 {
            let first = if round == 0 { 0 } else { random.next() as usize % size };
            let end = (first + [0, 1, 32, 256, 300][round % 5]).min(size);
            let needed = nodes_needed(size as u64, first as u64, (end - first) as u64);
            let names = tiles_needed(size as u64, &needed);
            assert!(names.len() <= 8, "{names:?}");
            let found: Vec<HashTile<'_>> =
                names.iter().map(|tile| HashTile::new(*tile, &tiles[tile]).unwrap()).collect();
            let outside = |span| found.iter().find_map(|tile| tile.node(span));
            assert_eq!(range_root(size as u64, first as u64, &leaves[first..end], outside), Ok(root), "{size} {first}");
        }
    }
}

#[test]
fn nodes_of_a_tile() {
    let leaves = leaves(300);
    let tiles = all_tiles(&leaves);
    let tile = HashTile::new(hashes(0, 1, 44), &tiles[&hashes(0, 1, 44)]).unwrap();
    for level in 0..10 {
        for index in 0..300 {
            let span = Span::perfect(level, index).unwrap();
            let inside = span.lo >= 256 && span.hi <= 300;
            let want = inside.then(|| mth(&leaves[span.lo as usize..span.hi as usize]));
            assert_eq!(tile.node(span), want, "{span:?}");
        }
    }
    assert_eq!(tile.node(Span { lo: 256, hi: 300 }), None);
    assert_eq!(tile_of(300, Span { lo: 256, hi: 300 }), None);
    assert_eq!(tile_of(300, Span { lo: 0, hi: 256 }), Some(hashes(1, 0, 1)));
    assert_eq!(tile_of(300, Span { lo: 296, hi: 304 }), None);
    assert_eq!(tile_of(TREE_SIZE_MAX, Span { lo: 0, hi: TREE_SIZE_MAX }), Some(hashes(5, 0, 1)));
    assert_eq!(tile_of(u64::MAX, Span { lo: 0, hi: 1 << 50 }), None);
    assert!(HashTile::new(hashes(0, 0, 2), &[0; 96]).is_none());
    assert!(HashTile::new(hashes(0, 0, 2), &[0; 65]).is_none());
    assert!(HashTile::new(data(0, 2), &[0; 64]).is_none());
}

/// A data tile's bytes for one entry.
fn final_entry(index: Option<u64>, der: &[u8], issuers: &[u8]) -> Vec<u8> {
    let extensions = index.map_or_else(Vec::new, |index| [&[0, 0, 5], &index.to_be_bytes()[3..]].concat());
    [
        &7_u64.to_be_bytes(),
        &[0, 0, 0, 0, der.len() as u8][..],
        der,
        &[0, extensions.len() as u8],
        &extensions,
        &(issuers.len() as u16).to_be_bytes(),
        issuers,
    ]
    .concat()
}

fn precert_entry(index: u64) -> Vec<u8> {
    let index = &index.to_be_bytes()[3..];
    [&[0; 7], &[9, 0, 1][..], &[5; 32], b"\0\0\x03tbs", &[0, 8, 0, 0, 5], index, b"\0\0\x04prec", &[0, 32], &[6; 32]]
        .concat()
}

#[test]
fn entries_of_a_tile() {
    let bytes = [final_entry(Some(512), b"one", &[1; 64]), precert_entry(513), final_entry(None, b"", &[])].concat();
    let entries: Vec<_> = Entries::of(data(2, 3), &bytes).map(Result::unwrap).collect();
    assert_eq!(entries[0].leaf.entry, Entry::Final { der: b"one" });
    assert_eq!((entries[0].index, entries[0].precertificate, entries[0].issuers), (512, None, &[[1; 32]; 2][..]));
    assert_eq!(entries[1].leaf.entry, Entry::Precert { issuer_key_hash: &[5; 32], tbs: b"tbs" });
    assert_eq!((entries[1].leaf.timestamp_ms, entries[1].precertificate), (9, Some(&b"prec"[..])));
    for entry in &entries {
        assert_eq!(entry.check_index(), Ok(()));
        let leaf_input = [&[0, 0], entry.timestamped_entry()].concat();
        assert_eq!(Leaf::parse(&leaf_input), Ok(entry.leaf));
        assert_eq!(leaf::leaf_hash(&leaf_input), entry.leaf_hash());
    }
}

#[test]
fn an_entry_that_claims_another_place() {
    let bytes = [precert_entry(1), precert_entry(1)].concat();
    let checks: Vec<_> = Entries::of(data(0, 2), &bytes).map(|entry| entry.unwrap().check_index()).collect();
    assert_eq!(checks, [Err(LeafError::Index), Ok(())]);
}

#[track_caller]
fn check_broken(width: u16, bytes: &[u8], want: LeafError, at: u64) {
    let mut entries = Entries::of(data(0, width), bytes);
    let results: Vec<_> = entries.by_ref().collect();
    let (last, good) = results.split_last().unwrap();
    assert!(good.iter().all(Result::is_ok));
    assert_eq!(*last, Err(want));
    assert_eq!((good.len() as u64, entries.next_index()), (at, at));
}

#[test]
fn broken_tiles() {
    let one = final_entry(Some(0), b"one", &[]);
    check_broken(1, &one[..one.len() - 1], LeafError::Short, 0);
    check_broken(2, &one, LeafError::Short, 1);
    check_broken(1, &[&one[..], &one].concat(), LeafError::Trailing, 0);
    check_broken(1, &final_entry(Some(0), b"one", &[1; 33]), LeafError::Fingerprints, 0);
    check_broken(1, &[&[0; 8][..], &[0, 2]].concat(), LeafError::EntryType, 0);
    for end in 0..precert_entry(0).len() {
        check_broken(1, &precert_entry(0)[..end], LeafError::Short, 0);
    }
}

#[test]
fn noise_is_survived() {
    let mut random = Random(13);
    let good: Vec<u8> = (0..6).flat_map(|n| if n % 2 == 0 { precert_entry(n) } else { vec![] }).collect();
    for _ in 0..20_000 {
        for bytes in [random.bytes(200), random.spoil(&good)] {
            let entries = Entries::of(data(0, 3), &bytes);
            let hashes: Vec<_> =
                entries.map(|entry| entry.map(|entry| (entry.leaf_hash(), entry.check_index()))).collect();
            assert!(hashes.len() <= 3);
        }
        let path = [b"tile/", &random.bytes(12)[..]].concat();
        Tile::from_path(&String::from_utf8_lossy(&path));
    }
}
