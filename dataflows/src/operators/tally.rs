//! Weighs rows on their way to staging.
//!
//! Route: none; weights leave by a second output. State: none. Frontier: holds nothing back.

use ct_model::{CertRecord, Counts, Finding, Rows};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::epoch::Epoch;
use crate::ports::Show;
use crate::records::{EpochRows, Weight};

/// `show` sees the rows of each epoch on the way.
pub fn tally<'s>(
    rows: StreamVec<'s, Epoch, EpochRows>,
    mut show: Show,
) -> (StreamVec<'s, Epoch, Rows>, StreamVec<'s, Epoch, Weight>) {
    let mut builder = OperatorBuilder::new("tally".to_owned(), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (rows_out, rows) = builder.new_output::<Vec<Rows>>();
    let (weights_out, weights) = builder.new_output::<Vec<Weight>>();
    let (mut rows_out, mut weights_out) = (OutputBuilder::from(rows_out), OutputBuilder::from(weights_out));
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let (mut rows, mut weights) = (rows_out.activate(), weights_out.activate());
            input.for_each_stamp(|capability, data| {
                let (mut rows, mut weights) = (rows.session(&capability), weights.session(&capability));
                for epoch in data.flat_map(|list| list.drain(..)) {
                    show(&epoch.rows);
                    weights.give(weigh(&epoch));
                    rows.give(epoch.rows);
                }
            });
        }
    });
    (rows, weights)
}

fn weigh(epoch: &EpochRows) -> Weight {
    let Rows { certificates, entries, findings, rejected, gaps, coverage } = &epoch.rows;
    let mut counts = Counts { findings: findings.len() as u64, ..Counts::default() };
    for finding in findings {
        *counts.findings_by_module.entry(finding.module.to_string()).or_default() += 1;
    }
    let bytes = certificates.iter().map(certificate_bytes).sum::<usize>()
        + std::mem::size_of_val(&entries[..])
        + findings.iter().map(finding_bytes).sum::<usize>()
        + rejected.iter().map(|row| size_of_val(row) + row.raw.len() + row.detail.len()).sum::<usize>()
        + gaps.iter().map(|row| size_of_val(row) + row.reason.len() + row.detail.len()).sum::<usize>()
        + std::mem::size_of_val(&coverage[..]);
    let newest_seen = (certificates.iter().map(|row| row.seen))
        .chain(entries.iter().map(|row| row.seen))
        .chain(findings.iter().map(|row| row.seen))
        .chain(rejected.iter().map(|row| row.seen))
        .flatten()
        .max();
    Weight {
        bytes: bytes as u64,
        newest_seen: newest_seen.map(|seen| seen.0),
        numbered: !rejected.is_empty(),
        counts,
        tail: epoch.tail.clone(),
    }
}

/// What an allocation costs beside its bytes.
const ALLOCATION_BYTES: usize = 16;

fn certificate_bytes(row: &CertRecord) -> usize {
    let texts = |list: &[Box<str>]| {
        list.iter().map(|text| text.len() + size_of::<Box<str>>() + ALLOCATION_BYTES).sum::<usize>()
    };
    let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len() + ALLOCATION_BYTES);
    size_of_val(row)
        + texts(&row.names)
        + texts(&row.registered_domains)
        + texts(&row.ips)
        + text(&row.serial)
        + text(&row.subject_dn)
        + text(&row.subject_cn)
        + text(&row.parse_error)
        + row.der.as_ref().map_or(0, |der| der.len() + ALLOCATION_BYTES)
}

fn finding_bytes(row: &Finding) -> usize {
    size_of_val(row) + row.detail.len() + row.name.as_ref().map_or(0, |name| name.len()) + 4 * ALLOCATION_BYTES
}
