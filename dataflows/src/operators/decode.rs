//! Parses the certificates of first sightings.
//!
//! Route: none. State: the decoder's table of issuers. Frontier: holds nothing back.

use std::sync::Arc;

use ct_model::message::{Body, Sighting, claimed};
use ct_model::x509::{Certificate, Decoder};
use ct_model::{CertRecord, Counts, ParseState};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use tracing::debug;

use super::VecBuilder;
use crate::epoch::Epoch;
use crate::guard::guarded;
use crate::records::{Decoded, Settled, Subject};

/// What becomes of a certificate's bytes once they are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Der {
    Drop,
    /// Modules look at them.
    Examine,
    /// They stay in the row, where modules find them too.
    Keep,
}

pub fn decode<'s>(settled: StreamVec<'s, Epoch, Settled>, use_of_der: Der) -> StreamVec<'s, Epoch, Decoded> {
    settled.unary::<VecBuilder<Decoded>, _, _, _>(Pipeline, "decode", move |_capability, _info| {
        let mut decoder = Decoder::default();
        move |input, output| {
            input.for_each_stamp(|capability, data| {
                let mut session = output.session(&capability);
                for settled in data.flat_map(|list| list.drain(..)) {
                    let Settled { feed, certificates, ids, entries, rejected, gaps, coverage, names, mut tail } =
                        settled;
                    let certificates: Vec<Subject> = certificates
                        .into_iter()
                        .map(|sighting| subject(&mut decoder, sighting, &feed, use_of_der))
                        .inspect(|subject| count(&mut tail.counts, subject.record.parse))
                        .collect();
                    for (message_id, subject) in ids.iter().zip(&certificates) {
                        let parse = subject.record.parse;
                        debug!(%message_id, id = %subject.record.id, ?parse, "a certificate was parsed");
                    }
                    session.give(Decoded { certificates, ids, entries, rejected, gaps, coverage, names, tail });
                }
            });
        }
    })
}

fn count(counts: &mut Counts, parse: ParseState) {
    counts.parse_partial += u64::from(parse == ParseState::Partial);
    counts.parse_failed += u64::from(parse == ParseState::Failed);
}

/// The row of a certificate. A certificate on which a parser panics is one that could not be parsed.
pub fn subject(decoder: &mut Decoder, sighting: Sighting, feed: &Arc<str>, use_of_der: Der) -> Subject {
    let Sighting { id, log, index, kind, seen, tbs_sha256, body, .. } = sighting;
    let (mut record, odd_names, der) = match body {
        Body::Der(der) => {
            let decoded = guarded(|| decoder.decode(&der)).unwrap_or_else(|panic| {
                *decoder = Decoder::default();
                Certificate::failed(&der, &format!("the parser failed: {panic}"))
            });
            from_der(decoded, id, der, use_of_der)
        }
        Body::Text(text) => {
            let claimed::Claimed { record, odd_names } = claimed::record(&text, id, kind);
            (record, odd_names, None)
        }
    };
    (record.seen, record.log, record.log_index) = (seen, log.map(|log| log.name), index);
    record.feed = feed.clone();
    record.tbs_sha256 = tbs_sha256.or(record.tbs_sha256);
    record.kind = record.kind.or(kind);
    Subject { record, odd_names, der }
}

fn from_der(
    certificate: Certificate,
    id: ct_model::CertId,
    der: Vec<u8>,
    use_of_der: Der,
) -> (CertRecord, Vec<Box<str>>, Option<Vec<u8>>) {
    let issuer = certificate.issuer;
    let der_bytes = u32::try_from(der.len()).ok();
    let (kept, examined) = match use_of_der {
        Der::Drop => (None, None),
        Der::Examine => (None, Some(der)),
        Der::Keep => (Some(der.into_boxed_slice()), None),
    };
    let record = CertRecord {
        id,
        sha256: id.bytes().try_into().ok(),
        sha1: Some(certificate.sha1),
        tbs_sha256: certificate.tbs_sha256,
        spki_sha256: certificate.spki_sha256,
        kind: certificate.kind,
        serial: certificate.serial,
        issuer_dn: issuer.as_ref().map(|issuer| issuer.dn.clone()),
        issuer_cn: issuer.as_ref().and_then(|issuer| issuer.cn.clone()),
        issuer_org: issuer.as_ref().and_then(|issuer| issuer.org.clone()),
        subject_dn: certificate.subject_dn,
        subject_cn: certificate.subject_cn,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        names: certificate.names,
        registered_domains: certificate.registered_domains,
        ips: certificate.ips,
        key_algorithm: certificate.key_algorithm,
        key_bits: certificate.key_bits,
        signature_algorithm: certificate.signature_algorithm,
        is_ca: certificate.is_ca,
        sct_count: certificate.sct_count,
        scts: certificate.scts,
        parse: certificate.parse,
        parse_error: certificate.parse_error,
        der_bytes,
        seen: None,
        log: None,
        log_index: None,
        feed: Arc::from(""),
        der: kept,
    };
    (record, certificate.odd_names, examined)
}
