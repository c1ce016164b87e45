//! The root of a tree from the leaves of one stretch of it and the hashes of the subtrees beside the stretch.
//!
//! Whoever reads a page of a large log can so tell that these are the entries that the log signed, without reading the
//! others. The hashes beside the stretch come from two inclusion proofs, or from hash tiles.

use super::proof::{ProofError, siblings};
use super::{EMPTY_ROOT, Span, node_hash};
use crate::ctlog::Hash;

/// Why there is no root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("the stretch reaches beyond the tree")]
    Beyond,
    #[error("no hash for the entries from {} up to {}, without the last", .0.lo, .0.hi)]
    Missing(Span),
}

/// The root of the tree of `size` leaves, of which those from `first` on have `leaf_hashes`.
///
/// `outside` is asked for the hashes of the others: for [`nodes_needed`], and where it has none for one at the ragged
/// edge of the tree, for the perfect subtrees that this one is made of. Answers are believed; comparing the root with
/// a signed one tells whether they were right.
pub fn range_root(
    size: u64,
    first: u64,
    leaf_hashes: &[Hash],
    outside: impl Fn(Span) -> Option<Hash>,
) -> Result<Hash, RangeError> {
    let end = end_of(size, first, leaf_hashes.len() as u64).ok_or(RangeError::Beyond)?;
    if size == 0 {
        return Ok(EMPTY_ROOT);
    }
    span_root(Span { lo: 0, hi: size }, first, end, leaf_hashes, &outside)
}

/// The deepest call is 64 calls down: each halves the width.
fn span_root(
    span: Span,
    first: u64,
    end: u64,
    leaf_hashes: &[Hash],
    outside: &impl Fn(Span) -> Option<Hash>,
) -> Result<Hash, RangeError> {
    if span.is_outside(first, end) {
        if let Some(hash) = outside(span) {
            return Ok(hash);
        }
        if span.level().is_some() {
            return Err(RangeError::Missing(span));
        }
    }
    let Some((left, right)) = span.split() else { return Ok(leaf_hashes[(span.lo - first) as usize]) };
    let left = span_root(left, first, end, leaf_hashes, outside)?;
    let right = span_root(right, first, end, leaf_hashes, outside)?;
    Ok(node_hash(&left, &right))
}

/// The subtrees beside the stretch of `len` leaves from `first` on, from left to right: the largest ones, at most 128.
/// Only the last may be ragged. Empty when the stretch is all of the tree, or reaches beyond it.
pub fn nodes_needed(size: u64, first: u64, len: u64) -> Vec<Span> {
    let mut needed = Vec::new();
    if let Some(end) = end_of(size, first, len).filter(|_| size > 0) {
        collect(Span { lo: 0, hi: size }, first, end, &mut needed);
    }
    needed
}

fn collect(span: Span, first: u64, end: u64, needed: &mut Vec<Span>) {
    if span.is_outside(first, end) {
        needed.push(span);
    } else if (first..end).contains(&span.lo) && span.hi <= end {
        // All of it is in the stretch.
    } else if let Some((left, right)) = span.split() {
        collect(left, first, end, needed);
        collect(right, first, end, needed);
    }
}

fn end_of(size: u64, first: u64, len: u64) -> Option<u64> {
    first.checked_add(len).filter(|end| *end <= size)
}

/// Hashes of the subtrees beside a stretch, for [`range_root`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    nodes: Vec<(Span, Hash)>,
}

impl Outside {
    pub fn get(&self, span: Span) -> Option<Hash> {
        self.nodes.iter().find(|(known, _)| *known == span).map(|(_, hash)| *hash)
    }
}

/// What the inclusion proofs of the `first` and the `last` leaf of a stretch say of the subtrees beside it: what is
/// left of the first, and what is right of the last. Nothing is checked but the lengths of the proofs.
pub fn outside_from_audit_paths(
    size: u64,
    (first, first_path): (u64, &[Hash]),
    (last, last_path): (u64, &[Hash]),
) -> Result<Outside, ProofError> {
    let left = along(size, first, first_path)?.filter(|(span, _)| span.hi <= first);
    let right = along(size, last, last_path)?.filter(|(span, _)| span.lo > last);
    if first > last {
        return Err(ProofError::Size);
    }
    Ok(Outside { nodes: left.chain(right).collect() })
}

fn along(size: u64, index: u64, path: &[Hash]) -> Result<impl Iterator<Item = (Span, Hash)>, ProofError> {
    let siblings = siblings(size, index).ok_or(ProofError::Size)?;
    if siblings.len() != path.len() {
        return Err(ProofError::Length);
    }
    Ok(siblings.into_iter().zip(path.iter().copied()))
}
