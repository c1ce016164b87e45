//! Whole jobs from outside: real processes of the binary, loopback only, lakes read back through `ct-sinks`.
//!
//! Each test works in a folder of its own ([`place::Place`]) on streams that `ct-stream generate` makes from a fixed
//! seed, beside which stands the truth about them. `scripts/acceptance` asks more, with a reader that shares no code
//! with the program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod check;
mod damage;
mod hostile;
mod hosts;
mod interrupted;
mod place;
mod rebuild_hot;
mod refusals;
mod rows;
mod same_rows;
mod truth;
