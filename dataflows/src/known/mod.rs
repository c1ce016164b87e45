//! What is known already: the state behind every "is this the first time?".
//!
//! Both sets are exact up to the collisions that [`ct_model::Key`] and [`ct_model::CertId::tag`] document, grow in
//! small steps so that a step never doubles the memory of a worker, and say how many bytes they take.

mod entry_set;
mod generations;
mod key_set;

pub use entry_set::{EntrySet, Sight};
pub use generations::Generations;
pub use key_set::KeySet;
