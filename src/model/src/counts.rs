//! Counters of a job. They add up, so that those of an epoch, a manifest and a run are the same thing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// These cross worker links in a format that knows no missing fields: none may be skipped.
        /// `messages = heartbeats + other + rejected + redelivered + entries + names_only` always holds.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Findings by module.
            pub findings_by_module: BTreeMap<String, u64>,
            /// Rejected messages by reason.
            pub rejected_by_reason: BTreeMap<String, u64>,
        }

        impl Counts {
            /// What was added since `earlier`.
            pub fn since(&self, earlier: &Counts) -> Counts {
                let less = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
                    let rest = |name: &String, count: u64| count - then.get(name).copied().unwrap_or_default().min(count);
                    let rest = now.iter().map(|(name, count)| (name.clone(), rest(name, *count)));
                    rest.filter(|(_, count)| *count > 0).collect()
                };
                Counts {
                    $($name: self.$name.saturating_sub(earlier.$name),)*
                    findings_by_module: less(&self.findings_by_module, &earlier.findings_by_module),
                    rejected_by_reason: less(&self.rejected_by_reason, &earlier.rejected_by_reason),
                }
            }
        }

        impl std::ops::AddAssign<&Counts> for Counts {
            fn add_assign(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
                for (module, count) in &other.findings_by_module {
                    *self.findings_by_module.entry(module.clone()).or_default() += count;
                }
                for (reason, count) in &other.rejected_by_reason {
                    *self.rejected_by_reason.entry(reason.clone()).or_default() += count;
                }
            }
        }
    };
}

counts! {
    /// Lines that are not blank.
    messages,
    heartbeats,
    /// Messages of a type this version does not know.
    other,
    /// Messages that could not be used.
    rejected,
    /// Rows of `rejected`: those of `rejected` that the lake did not have.
    rejected_new,
    /// Messages that repeat an entry the lake or this run already has.
    redelivered,
    /// Messages that brought a new entry.
    entries,
    /// Certificates new to the lake.
    certificates,
    /// Entries whose certificate was already known.
    known,
    /// Rows of `findings`.
    findings,
    /// Messages of host names alone.
    names_only,
    /// Names in them.
    names,
    /// Bytes of input, decompressed.
    bytes,
    /// Entries at an index where another certificate stands already.
    conflicts,
    /// Messages whose claimed fingerprint is not that of their certificate.
    wrong_claims,
    /// Certificates read only in part, or not at all.
    parse_partial,
    parse_failed,
    /// Segments that could not be read to their end.
    unreadable,
    /// Rows of `gaps`.
    gaps,
    /// Rows of `coverage`.
    coverage,
}

impl Counts {
    /// The identity every summary keeps.
    pub fn add_up(&self) -> bool {
        self.messages
            == self.heartbeats + self.other + self.rejected + self.redelivered + self.entries + self.names_only
    }
}
