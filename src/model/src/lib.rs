//! The words of ct-stream: identities, times, messages, certificates and the rows of the lake.
//!
//! Everything here is a pure function of its input. No clock, no file, no network, no thread: whatever is decided
//! here is decided the same way by every worker, in every process, in every later run.

pub mod age;
pub mod counts;
pub mod ctlog;
pub mod id;
pub mod message;
pub mod message_id;
pub mod name;
pub mod record;
pub mod time;
pub mod x509;

pub use age::{Age, Horizon};
pub use counts::Counts;
pub use id::{CertId, EntryPlace, IdKind, Key};
pub use message_id::MessageId;
pub use record::{
    CertRecord, Coverage, EntryKind, EntryRecord, Finding, Gap, ParseState, Rejected, Rows, Severity, Table,
};
pub use time::Timestamp;
