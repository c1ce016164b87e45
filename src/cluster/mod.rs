//! The processes of one job: how they start, find each other, run one timely cluster, and end.
//!
//! A cluster is `n` processes with `w` timely workers each. timely is fail-stop: when one process dies, all end, and
//! the whole cluster starts again from the resume point as the next *generation*. What always holds:
//!
//! * timely sees only streams whose other end has proved that it knows the secret of this start, that it builds the
//!   same dataflow, and that it is the process it claims to be ([`hello`], [`links`]). timely's own listener believes
//!   anybody, and later every length and target that a peer sends, so it is never used.
//! * A worker process ends with a code that says whether it is the cause or a victim ([`exit`]).
//! * No worker process outlives its supervisor ([`child`]), and none is left behind by it ([`supervisor`]).

pub(crate) mod child;
mod dialer;
mod door;
pub(crate) mod execute;
pub(crate) mod exit;
pub(crate) mod hello;
pub(crate) mod links;
pub(crate) mod secret;
pub(crate) mod signals;
pub(crate) mod supervisor;
mod wire;
