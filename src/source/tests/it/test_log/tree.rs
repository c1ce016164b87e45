//! Merkle trees as RFC 6962 section 2.1 defines them, by its own recursions.
//!
//! The roots of all full subtrees are kept, so a root or a proof of any size costs a few dozen hashes.

use ring::digest::{Context, SHA256};

pub(crate) type Hash = [u8; 32];

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

pub(crate) fn leaf_hash(leaf_input: &[u8]) -> Hash {
    sha256(&[&[0], leaf_input])
}

pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The tree over all leaves of a log, published or not. Sizes and indexes above its length panic.
pub(crate) struct Tree {
    /// `levels[l][i]` is the root over the leaves from `i << l` to before `(i + 1) << l`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    pub(crate) fn new(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)).collect();
            levels.push(above);
        }
        Self { levels }
    }

    pub(crate) fn size(&self) -> u64 {
        self.levels[0].len() as u64
    }

    pub(crate) fn leaves(&self) -> &[Hash] {
        &self.levels[0]
    }

    pub(crate) fn root(&self, size: u64) -> Hash {
        assert!(size <= self.size(), "{size} of {}", self.size());
        if size == 0 { sha256(&[]) } else { self.range(0, size) }
    }

    /// MTH(D[first:end]), of at least one leaf.
    fn range(&self, first: u64, end: u64) -> Hash {
        let count = end - first;
        if count.is_power_of_two() && first.is_multiple_of(count) {
            let level = count.trailing_zeros();
            return self.levels[level as usize][(first >> level) as usize];
        }
        let split = split(count);
        node_hash(&self.range(first, first + split), &self.range(first + split, end))
    }

    /// PATH(index, D[0:size]) of section 2.1.1.
    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        assert!(index < size && size <= self.size(), "{index} in {size} of {}", self.size());
        let mut path = Vec::new();
        let (mut first, mut end) = (0, size);
        while end - first > 1 {
            let middle = first + split(end - first);
            if index < middle {
                path.push(self.range(middle, end));
                end = middle;
            } else {
                path.push(self.range(first, middle));
                first = middle;
            }
        }
        path.reverse();
        path
    }

    /// PROOF(first, D[0:second]) of section 2.1.2; empty when there is nothing to prove.
    pub(crate) fn consistency(&self, first: u64, second: u64) -> Vec<Hash> {
        assert!(first <= second && second <= self.size(), "{first} to {second} of {}", self.size());
        let mut proof = Vec::new();
        if 0 < first && first < second {
            self.subproof(first, 0, second, true, &mut proof);
        }
        proof
    }

    /// SUBPROOF(old - start, D[start:end], known): `known` while the old tree's root is that of the range itself.
    fn subproof(&self, old: u64, start: u64, end: u64, known: bool, proof: &mut Vec<Hash>) {
        if old == end {
            if !known {
                proof.push(self.range(start, end));
            }
            return;
        }
        let middle = start + split(end - start);
        if old <= middle {
            self.subproof(old, start, middle, known, proof);
            proof.push(self.range(middle, end));
        } else {
            self.subproof(old, middle, end, false, proof);
            proof.push(self.range(start, middle));
        }
    }

    /// `width` hashes of a tile: roots of full subtrees of 256^level leaves (static-ct-api, "Merkle Tree").
    pub(crate) fn tile(&self, level: u32, number: u64, width: u64) -> Vec<u8> {
        let first = (number * 256) as usize;
        self.levels[8 * level as usize][first..first + width as usize].concat()
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
    }

    /// MTH of section 2.1, with nothing kept.
    fn brute(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [leaf] => *leaf,
            _ => {
                let mut split = 1;
                while split * 2 < leaves.len() {
                    split *= 2;
                }
                node_hash(&brute(&leaves[..split]), &brute(&leaves[split..]))
            }
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // The leaves and roots of the reference implementation's tests.
    #[test]
    fn known_roots() {
        let inputs: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let tree = Tree::new(inputs.iter().map(|input| leaf_hash(input)).collect());
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (size, root) in (0..).zip(roots) {
            assert_eq!(hex(&tree.root(size)), root, "size {size}");
        }
    }

    #[test]
    fn roots_of_all_sizes() {
        let leaves = leaves(300);
        let tree = Tree::new(leaves.clone());
        for size in 0..=300 {
            assert_eq!(tree.root(size as u64), brute(&leaves[..size]), "size {size}");
        }
    }

    /// The verifier of RFC 9162 section 2.1.3.2.
    fn included(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
        let (mut fn_, mut sn, mut root) = (index, size.checked_sub(1)?, leaf);
        for step in path {
            if sn == 0 {
                return None;
            }
            if fn_ & 1 == 1 || fn_ == sn {
                root = node_hash(step, &root);
                while fn_ & 1 == 0 && fn_ != 0 {
                    fn_ >>= 1;
                    sn >>= 1;
                }
            } else {
                root = node_hash(&root, step);
            }
            fn_ >>= 1;
            sn >>= 1;
        }
        (sn == 0).then_some(root)
    }

    /// The verifier of RFC 9162 section 2.1.4.2: the old and the new root that a proof speaks of.
    fn consistent(first: u64, second: u64, first_root: Hash, proof: &[Hash]) -> Option<(Hash, Hash)> {
        let mut steps = proof.iter();
        let (mut fn_, mut sn) = (first - 1, second - 1);
        while fn_ & 1 == 1 {
            fn_ >>= 1;
            sn >>= 1;
        }
        let start = if first.is_power_of_two() { first_root } else { *steps.next()? };
        let (mut old, mut new) = (start, start);
        for step in steps {
            if sn == 0 {
                return None;
            }
            if fn_ & 1 == 1 || fn_ == sn {
                (old, new) = (node_hash(step, &old), node_hash(step, &new));
                while fn_ & 1 == 0 && fn_ != 0 {
                    fn_ >>= 1;
                    sn >>= 1;
                }
            } else {
                new = node_hash(&new, step);
            }
            fn_ >>= 1;
            sn >>= 1;
        }
        (sn == 0).then_some((old, new))
    }

    #[test]
    fn proofs_hold() {
        let leaves = leaves(67);
        let tree = Tree::new(leaves.clone());
        for size in 1..=67 {
            for index in 0..size {
                let path = tree.inclusion(index, size);
                assert_eq!(
                    included(leaves[index as usize], index, size, &path),
                    Some(tree.root(size)),
                    "{index} {size}"
                );
            }
            for first in 1..size {
                let proof = tree.consistency(first, size);
                let roots = (tree.root(first), tree.root(size));
                assert_eq!(consistent(first, size, roots.0, &proof), Some(roots), "{first} {size}");
            }
            assert!(tree.consistency(size, size).is_empty() && tree.consistency(0, size).is_empty());
        }
    }

    #[test]
    fn tiles_are_roots_of_full_subtrees() {
        let leaves = leaves(70_000);
        let tree = Tree::new(leaves.clone());
        assert_eq!(tree.tile(0, 273, 112), leaves[273 * 256..].concat());
        let level_1: Vec<Hash> = (256..273).map(|tile| brute(&leaves[tile * 256..(tile + 1) * 256])).collect();
        assert_eq!(tree.tile(1, 1, 17), level_1.concat());
        assert_eq!(tree.tile(2, 0, 1), brute(&leaves[..65_536]));
    }
}
