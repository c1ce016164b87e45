//! Certificates that are not written as they should be.

use super::check::Check;
use super::view::{Context, View, any};

/// Fails for bytes that no other check can look at.
pub(super) const NO_CERTIFICATE: &str = "parse.failed";

pub(super) const CHECKS: &[Check] = &[
    Check::error(NO_CERTIFICATE, "RFC 5280 4.1", any, |_, _| None),
    Check::error("parse.partial", "RFC 5280 4.1", any, partial),
];

/// The word of the decoder where it has one, since it looks more closely.
fn partial(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    context.parse_error.or(view.raw.fault).map(str::to_owned)
}
