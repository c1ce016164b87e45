//! Where results go: the Parquet lake with its commit protocol, and hot state.
//!
//! The lake is the state of the system; hot state is a function of the lake. Blocking calls here run on threads of
//! the job's own, never on a timely worker; encoding a file is pure computation and may run anywhere.

pub mod error;
pub mod hot;
pub mod lake;
pub mod manifest;
pub mod store;

pub use error::SinkError;
pub use lake::Lake;
pub use manifest::{FileEntry, Manifest, ResumePoint};
pub use store::Store;
