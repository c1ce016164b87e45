//! Live views: what the certificates within a horizon of event time add up to, kept up to date change by change.
//!
//! ```text
//! certificates, entries ─► held ─┬─► counted ─► counts ─► totals, top      differential-dataflow,
//! horizon ─► expiry ─────────────┼─► issued ──► issuances                  a computation of its own
//! watch list ────────────────────┴─► names ───► watch ◄─ items
//! ```
//!
//! `graph` joins the views as functions over collections, for any number of workers. [`Views`] runs them on the
//! thread of its owner, with one worker that is stepped and never waits. There is no clock: certificates, horizon and
//! watch list come in as values, and the same values in the same order give the same views.
//!
//! Expiry is a retraction like any other. What is held waits in a queue by `seen`, and [`Views::advance`] retracts what
//! the horizon has passed. Updates at future logical times would say the same; but an arrangement goes through all of
//! those it holds whenever time advances, and none can be called back when memory asks for an early end.
//!
//! What always holds, after `advance`: every view is a function of what is held and of the watch list, whatever way led
//! there.

mod graph;

mod counts;
mod held;
mod issuances;
mod live;
mod top;
mod watch;

#[cfg(test)]
mod tests;

pub use self::counts::Dimension;
pub use self::held::{Certificate, Entry, Lines};
pub use self::issuances::{DELAYS_MS, Issuances};
pub use self::live::{Changes, Counts, Match, Options, Standing, Views, Watched};
pub use self::watch::{ListError, watch_list};

/// The logical time of the views: a number of changes, not a moment.
pub type Step = u64;

/// A certificate that is held: `seen` in milliseconds, then a number of its own. Ordered as they expire.
pub type Held = (i64, u64);
