//! What a stream holds, as its generator knows it: the answer that a reader of the stream has to come to.

use std::io::{self, Write};

use ct_model::id::to_hex;
use serde::Serialize;

/// One certificate that appeared, as far as a reader can tell certificates apart.
///
/// A certificate that is shown with its hash in one log and without in another appears as two: a claim and a proof are
/// different identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateTruth {
    /// Of the DER; `None` where no message told it, so that issuer, serial and kind are all there is.
    pub sha256: Option<[u8; 32]>,
    /// Entries of all logs that were sent, redeliveries not counted.
    pub log_entries: u64,
    /// The line of the first of them, counted from 1.
    pub first_line: u64,
    pub precert: bool,
    /// Distinct DNS names.
    pub names: usize,
}

impl CertificateTruth {
    pub const HEADER: &'static str = "sha256,log_entries,first_line,kind,names";

    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { sha256, log_entries, first_line, precert, names } = self;
        let sha256 = sha256.map_or_else(String::new, |hash| to_hex(&hash));
        let kind = if *precert { "precert" } else { "final" };
        writeln!(out, "{sha256},{log_entries},{first_line},{kind},{names}")
    }
}

/// `messages = heartbeats + other + rejected + redelivered + entries + names_only`, and blank lines are no messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub messages: u64,
    pub heartbeats: u64,
    pub other: u64,
    pub rejected: u64,
    pub redelivered: u64,
    pub entries: u64,
    /// Rows of the truth file.
    pub certificates: u64,
    pub names_only: u64,
    /// Names in the messages of names alone.
    pub names: u64,
    /// Lines that are no messages.
    pub blank: u64,
    /// Bytes before compression, line ends included.
    pub bytes: u64,
}
