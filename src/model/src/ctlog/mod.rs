//! Certificate Transparency logs: entries, tiles, trees, tree heads and lists of logs (RFC 6962, static-ct-api).
//!
//! What a log sends is bytes from outside. Each reader here takes time and memory linear in its input, and an error is
//! a fixed word about what is wrong; the caller knows which log and which index. Signatures are only read here;
//! checking them takes cryptography, which this crate does without.

pub mod head;
pub mod leaf;
pub mod list;
pub mod merkle;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tile;
mod wire;

/// A SHA-256: of a leaf, a node or a root of a log's tree.
pub type Hash = [u8; 32];

/// No log has more entries: an index has 40 bits (static-ct-api, "Merkle Tree Leaf"), and the largest logs are
/// less than a hundredth of that.
pub const TREE_SIZE_MAX: u64 = 1 << 40;
