//! How large rule files, and what they hold, may be.

/// Of one file.
pub(super) const FILE_BYTES_MAX: usize = 16 << 20;
/// Of all files together.
pub(super) const RULES_MAX: usize = 10_000;
/// Of all rules together: members of the lists that rules look for.
pub(super) const VALUES_MAX: usize = 1_000_000;
pub(super) const REGEXES_MAX: usize = 2_000;
pub(super) const SELECTIONS_MAX: usize = 100;
/// Tables of one selection.
pub(super) const TABLES_MAX: usize = 100;
pub(super) const TESTS_MAX: usize = 1_000;
pub(super) const ID_BYTES_MAX: usize = 64;
/// A title, a description, a tag.
pub(super) const PROSE_BYTES_MAX: usize = 4 << 10;
pub(super) const PROSE_LIST_MAX: usize = 100;
/// A keyword is no longer than a label, so that at most so many end at one byte of a name.
pub(super) const KEYWORD_BYTES_MAX: usize = 63;
pub(super) const TEXT_BYTES_MAX: usize = 256;
pub(super) const REGEX_BYTES_MAX: usize = 1_000;
pub(super) const CEL_BYTES_MAX: usize = 4 << 10;
