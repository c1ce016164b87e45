//! Trees against the definitions of RFC 6962 section 2.1 written down as they stand there.

use super::compact::CompactRange;
use super::proof::{ProofError, siblings, verify_consistency, verify_inclusion};
use super::range::{RangeError, nodes_needed, outside_from_audit_paths, range_root};
use super::*;
use crate::ctlog::TREE_SIZE_MAX;
use crate::ctlog::leaf::leaf_hash;
use crate::ctlog::testing::{hash, leaves, mth, path, proof};

fn of(span: Span, leaves: &[Hash]) -> Hash {
    mth(&leaves[span.lo as usize..span.hi as usize])
}

// Computed with Python's hashlib, leaves "", 00, 10, 2021.
#[test]
fn known_roots() {
    let leaves: [&[u8]; 4] = [&[], &[0], &[0x10], &[0x20, 0x21]];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    let mut tree = CompactRange::new();
    assert_eq!(tree.root(), hash(roots[0]));
    for (leaf, root) in leaves.iter().zip(&roots[1..]) {
        tree.push(leaf_hash(leaf));
        assert_eq!(tree.root(), hash(root));
    }
}

#[test]
fn a_growing_tree_and_its_restoration() {
    let leaves = leaves(70);
    let mut tree = CompactRange::new();
    for n in 0..=leaves.len() {
        assert_eq!(tree.root(), mth(&leaves[..n]), "{n}");
        let hashes: Vec<Hash> = peaks(n as u64).map(|peak| of(peak, &leaves)).collect();
        assert_eq!(tree.hashes(), hashes);
        assert_eq!(CompactRange::restore(n as u64, hashes.clone()).as_ref(), Some(&tree));
        assert_eq!(CompactRange::restore(n as u64, [hashes, vec![[0; 32]]].concat()), None);
        if let Some(leaf) = leaves.get(n) {
            tree.push(*leaf);
        }
    }
    assert_eq!(CompactRange::restore(u64::MAX, vec![[0; 32]; 64]), None);
}

/// What stands left of a leaf in its inclusion proof is the tree before it.
#[test]
fn a_tree_restored_from_an_inclusion_proof() {
    let leaves = leaves(70);
    for index in 0..70 {
        let left = siblings(70, index).unwrap().into_iter().zip(path(index as usize, &leaves));
        let left: Vec<Hash> = left.filter(|(span, _)| span.hi <= index).map(|(_, hash)| hash).rev().collect();
        assert_eq!(CompactRange::restore(index, left).unwrap().root(), mth(&leaves[..index as usize]));
    }
}

#[test]
fn every_inclusion_proof_and_no_other() {
    let leaves = leaves(40);
    for n in 1..=40 {
        let (size, root) = (n as u64, mth(&leaves[..n]));
        for m in 0..n {
            let (index, leaf) = (m as u64, &leaves[m]);
            let path = path(m, &leaves[..n]);
            let spans = siblings(size, index).unwrap();
            assert!(path.iter().eq(spans.iter().map(|span| of(*span, &leaves)).collect::<Vec<_>>().iter()));
            let check = |index, leaf, path: &[Hash]| verify_inclusion(size, &root, index, leaf, path);
            assert_eq!(check(index, leaf, &path), Ok(()));
            assert_eq!(check(index, &[9; 32], &path), Err(ProofError::Root));
            assert_eq!(check(size, leaf, &path), Err(ProofError::Size));
            assert_eq!(check(index, leaf, &[&path[..], &[root]].concat()), Err(ProofError::Length));
            for at in 0..path.len() {
                let mut spoilt = path.clone();
                spoilt[at][at % 32] ^= 1;
                assert_eq!(check(index, leaf, &spoilt), Err(ProofError::Root));
                spoilt.remove(at);
                assert_eq!(check(index, leaf, &spoilt), Err(ProofError::Length));
            }
            for other in (0..size).filter(|other| *other != index) {
                assert!(check(other, leaf, &path).is_err());
            }
        }
    }
}

#[test]
fn every_consistency_proof_and_no_other() {
    let leaves = leaves(40);
    for n in 1..=40 {
        for m in 1..=n {
            let (old, new) = (mth(&leaves[..m]), mth(&leaves[..n]));
            let path = proof(m, &leaves[..n]);
            let (old_size, new_size) = (m as u64, n as u64);
            let check = |old, new, path: &[Hash]| verify_consistency(old_size, old, new_size, new, path);
            assert_eq!(check(&old, &new, &path), Ok(()), "{m} {n}");
            assert_eq!(check(&[9; 32], &new, &path), Err(ProofError::Root));
            assert_eq!(check(&old, &[9; 32], &path), Err(ProofError::Root));
            assert_eq!(check(&old, &new, &[&path[..], &[new]].concat()), Err(ProofError::Length), "{m} {n}");
            for at in 0..path.len() {
                let mut spoilt = path.clone();
                spoilt[at][at % 32] ^= 0x80;
                assert_eq!(check(&old, &new, &spoilt), Err(ProofError::Root));
                spoilt.remove(at);
                assert!(check(&old, &new, &spoilt).is_err());
            }
            for other in (0..=45).filter(|other| *other != old_size) {
                assert!(verify_consistency(other, &old, new_size, &new, &path).is_err(), "{m} {n} {other}");
            }
            assert!(verify_consistency(new_size, &new, old_size, &old, &path).is_err() || m == n);
        }
        assert_eq!(verify_consistency(0, &EMPTY_ROOT, n as u64, &mth(&leaves[..n]), &[]), Ok(()));
        assert_eq!(verify_consistency(0, &[9; 32], n as u64, &mth(&leaves[..n]), &[]), Err(ProofError::Root));
    }
    let long = vec![[0; 32]; 10_000];
    assert_eq!(verify_consistency(3, &[0; 32], u64::MAX, &[0; 32], &long), Err(ProofError::Length));
}

#[test]
fn every_stretch_of_every_tree() {
    let leaves = leaves(70);
    for n in 0..=leaves.len() {
        let (size, root) = (n as u64, mth(&leaves[..n]));
        for first in 0..=n {
            for end in first..=n {
                let stretch = &leaves[first..end];
                let needed = nodes_needed(size, first as u64, stretch.len() as u64);
                // What is needed and the stretch are all of the tree, without a gap and once.
                let beside: u64 = needed.iter().map(|span| span.hi - span.lo).sum();
                assert_eq!(beside + stretch.len() as u64, size);
                assert!(needed.iter().rev().skip(1).all(|span| span.level().is_some()));
                let answer = |span: Span| needed.contains(&span).then(|| of(span, &leaves));
                assert_eq!(range_root(size, first as u64, stretch, answer), Ok(root), "{n} {first} {end}");
                // Perfect subtrees do as well.
                let perfect = |span: Span| span.level().map(|_| of(span, &leaves));
                assert_eq!(range_root(size, first as u64, stretch, perfect), Ok(root));
                // A false answer, and none.
                for without in &needed {
                    let answer = |span: Span| if span == *without { Some([9; 32]) } else { answer(span) };
                    assert_ne!(range_root(size, first as u64, stretch, answer), Ok(root));
                }
                if let Some(span) = needed.iter().find(|span| span.level().is_some()) {
                    assert_eq!(range_root(size, first as u64, stretch, |_| None), Err(RangeError::Missing(*span)));
                }
                if let [.., _] = stretch {
                    let last = end - 1;
                    let (first_path, last_path) = (path(first, &leaves[..n]), path(last, &leaves[..n]));
                    let outside =
                        outside_from_audit_paths(size, (first as u64, &first_path), (last as u64, &last_path));
                    let outside = outside.unwrap();
                    assert_eq!(range_root(size, first as u64, stretch, |span| outside.get(span)), Ok(root));
                }
            }
        }
        assert_eq!(range_root(size, 1, &leaves[..n], |_| None), Err(RangeError::Beyond));
    }
}

#[test]
fn odd_arguments() {
    assert_eq!(nodes_needed(5, 4, 2), []);
    assert_eq!(nodes_needed(u64::MAX, u64::MAX, 1), []);
    assert!(nodes_needed(u64::MAX, u64::MAX / 3, 256).len() <= 128);
    assert!(range_root(u64::MAX, 7, &leaves(3), |_| Some([1; 32])).is_ok());
    assert_eq!(siblings(3, 3), None);
    assert_eq!(siblings(u64::MAX, 0).map(|spans| spans.len()), Some(64));
    assert_eq!(outside_from_audit_paths(8, (3, &[[0; 32]; 3]), (2, &[[0; 32]; 3])), Err(ProofError::Size));
    assert_eq!(outside_from_audit_paths(8, (3, &[[0; 32]; 3]), (4, &[[0; 32]; 2])), Err(ProofError::Length));
    assert_eq!(Span::perfect(40, 1), Some(Span { lo: TREE_SIZE_MAX, hi: 2 * TREE_SIZE_MAX }));
    assert_eq!(Span::perfect(64, 0), None);
    assert_eq!(Span::perfect(63, 2), None);
    assert_eq!(Span { lo: 4, hi: 8 }.level(), Some(2));
    assert_eq!(Span { lo: 2, hi: 6 }.level(), None);
}
