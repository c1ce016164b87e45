//! Logs, read and proven.
