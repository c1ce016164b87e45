//! One operator, one file. Each file's page says how records are routed, what is kept, and what holds the frontier.

pub mod cut;
pub mod decode;
pub mod dedup;
pub mod entries;
pub mod examine;
pub mod known;
pub mod once;
pub mod peek;
pub mod publish;
pub mod read;
pub mod remember;
pub mod settle;
pub mod stage;
pub mod tally;
mod waiting;

use timely::container::CapacityContainerBuilder;

/// Records in vectors.
pub(crate) type VecBuilder<D> = CapacityContainerBuilder<Vec<D>>;
