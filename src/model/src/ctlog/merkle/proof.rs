//! Proofs that a log gives: an entry is in a tree, and a tree is the beginning of another.

use super::{EMPTY_ROOT, Span, node_hash};
use crate::ctlog::Hash;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("the tree has no such entry, or is not the larger one")]
    Size,
    #[error("a proof of another length")]
    Length,
    #[error("the proof leads to another root")]
    Root,
}

/// Siblings of the nodes between leaf `index` and the root of a tree of `size` leaves, from the leaf up: the nodes
/// whose hashes an inclusion proof lists (RFC 6962 section 2.1.1). `None` when the tree has no such leaf.
pub fn siblings(size: u64, index: u64) -> Option<Vec<Span>> {
    if index >= size {
        return None;
    }
    let mut node = Span { lo: 0, hi: size };
    let mut found = Vec::with_capacity(64);
    while let Some((left, right)) = node.split() {
        let (sibling, child) = if index < right.lo { (right, left) } else { (left, right) };
        found.push(sibling);
        node = child;
    }
    found.reverse();
    Some(found)
}

/// Checks that leaf `index` of the tree of `size` leaves with `root` has `leaf_hash` (RFC 6962 section 2.1.1).
pub fn verify_inclusion(
    size: u64,
    root: &Hash,
    index: u64,
    leaf_hash: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    let siblings = siblings(size, index).ok_or(ProofError::Size)?;
    if siblings.len() != proof.len() {
        return Err(ProofError::Length);
    }
    let mut hash = *leaf_hash;
    for (sibling, other) in siblings.iter().zip(proof) {
        hash = if sibling.lo > index { node_hash(&hash, other) } else { node_hash(other, &hash) };
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `old_size` leaves with `old_root` is the beginning of the tree of `new_size` leaves with
/// `new_root` (RFC 9162 section 2.1.4.2, the same proof as in RFC 6962 section 2.1.2).
///
/// No proof is needed, nor accepted, between trees of one size and from a tree without leaves.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    let same = |a: &Hash, b: &Hash| if a == b { Ok(()) } else { Err(ProofError::Root) };
    if old_size > new_size {
        return Err(ProofError::Size);
    }
    if old_size == 0 || old_size == new_size {
        if !proof.is_empty() {
            return Err(ProofError::Length);
        }
        return if old_size == new_size { same(old_root, new_root) } else { same(old_root, &EMPTY_ROOT) };
    }
    // A whole power of two is a node of the new tree, and the proof leaves its hash out.
    let mut nodes = proof.iter();
    let start = if old_size.is_power_of_two() { Some(old_root) } else { nodes.next() };
    let start = start.ok_or(ProofError::Length)?;
    // The paths of the last leaf of either tree, up from the first node that the trees have in common.
    let skipped = (old_size - 1).trailing_ones();
    let (mut old_place, mut new_place) = ((old_size - 1) >> skipped, (new_size - 1) >> skipped);
    let (mut old_hash, mut new_hash) = (*start, *start);
    for node in nodes {
        if new_place == 0 {
            return Err(ProofError::Length);
        }
        if old_place & 1 == 1 || old_place == new_place {
            old_hash = node_hash(node, &old_hash);
            new_hash = node_hash(node, &new_hash);
            // A last node without a sibling moves up as it is.
            while old_place & 1 == 0 && old_place != 0 {
                old_place >>= 1;
                new_place >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, node);
        }
        old_place >>= 1;
        new_place >>= 1;
    }
    if new_place != 0 {
        return Err(ProofError::Length);
    }
    same(&old_hash, old_root)?;
    same(&new_hash, new_root)
}
