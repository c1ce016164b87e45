//! Operators and the whole graph agree with plain loops, on any number of workers and in any order of arrival.
//!
//! `sets`, `memories`, `commit` and `graph` hold the tests. `run` runs dataflows, `world` is everything outside of them in memory,
//! `feed` makes input, and `oracle` is the loop that the graph has to agree with.

mod commit;
mod feed;
mod graph;
mod memories;
mod oracle;
mod random;
mod run;
mod sets;
mod world;
