//! The graph: which operator feeds which.
//!
//! ```text
//! read ─► peek ─┬─ items ───────────────► settle ─► decode ─► examine ─┬─ rows ────────────────┬─► tally ─┬─ rows ─► stage ─► publish ─► probe
//!               ├─ keys ────► dedup ──┐     ▲                          ├─ candidates ─┬─► once ┘          └─ weights ─► cut ─┴────┘
//!               └─ entries ─► entries ┴─ answers                       └─ facts ─► remember
//! known ─► dedup, entries, once, remember
//! ```
//!
//! timely identifies channels by the order of construction: every process must build the same graph, and the job
//! compares a digest of what shapes it before it connects processes.

use std::sync::Arc;

use timely::ExchangeData;
use timely::dataflow::Scope;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::probe::{Handle as ProbeHandle, Probe};
use timely::dataflow::operators::vec::Broadcast;

use crate::epoch::Epoch;
use crate::meter::Meter;
use crate::modules::Modules;
use crate::operators::cut::{CutRule, CutStart};
use crate::operators::decode::Der;
use crate::operators::read::Brake;
use crate::operators::stage::CutsWaiting;
use crate::operators::{
    cut, decode, dedup, entries, examine, known, once, peek, publish, read, remember, settle, stage, tally,
};
use crate::ports::{Blocks, Clock, KnownRows, Publish, Show, Stage};

/// What shapes a job's results.
#[derive(Clone)]
pub struct Settings {
    /// Rows carry the certificates' bytes.
    pub keep_der: bool,
    pub modules: Arc<Modules>,
    pub rule: CutRule,
    pub start: CutStart,
    /// Epochs a worker may have read and not settled.
    pub epochs_inflight: usize,
    /// Cuts that may wait to be published while reading goes on.
    pub cuts_inflight: usize,
}

/// A worker's ends of the graph.
pub struct Ports<B, K, S, P> {
    pub blocks: B,
    pub known: K,
    pub stage: S,
    pub publish: P,
    pub show: Show,
    pub clock: Clock,
}

/// Builds the graph on one worker. The probe passes an epoch when it is published.
pub fn build<'s, Part, B, K, S, P>(
    scope: Scope<'s, Epoch>,
    settings: &Settings,
    ports: Ports<B, K, S, P>,
    meter: &Arc<Meter>,
) -> ProbeHandle<Epoch>
where
    Part: ExchangeData + Clone,
    B: Blocks + 'static,
    K: KnownRows + 'static,
    S: Stage<Part> + 'static,
    P: Publish<Part> + 'static,
{
    let Settings { keep_der, modules, rule, start, epochs_inflight, cuts_inflight } = settings.clone();
    let (settled_probe, published_probe, waiting) = (ProbeHandle::new(), ProbeHandle::new(), CutsWaiting::default());
    let brake = Brake {
        settled: settled_probe.clone(),
        epochs_inflight,
        published: published_probe.clone(),
        cuts: waiting.clone(),
        cuts_inflight,
    };

    let known = known::known(scope, ports.known, modules.clone());
    let blocks = read::read(scope, ports.blocks, start.from, brake, ports.clock);
    let peeked = peek::peek(blocks, meter.clone());
    let first_keys = dedup::dedup(peeked.keys, known.keys, meter.clone());
    let first_entries = entries::entries(peeked.entries, known.entries, meter.clone());
    let settled = settle::settle(peeked.peeked, first_keys.concat(first_entries), meter.clone());
    let use_of_der = match keep_der {
        true => Der::Keep,
        false if modules.want_der() => Der::Examine,
        false => Der::Drop,
    };
    let decoded = decode::decode(settled, use_of_der);
    let examined = examine::examine(decoded, modules.clone(), ports.clock, meter.clone());
    let remembered = remember::remember(examined.facts, known.facts, modules);
    let late = once::once(examined.candidates.concat(remembered), known.findings, meter.clone());
    let (rows, weights) = tally::tally(examined.rows.concat(late), ports.show);
    let cuts = cut::cut(weights.probe_with(&settled_probe), rule, start).broadcast();
    let staged = stage::stage(rows, cuts.clone(), ports.stage, waiting);
    publish::publish(cuts, staged, ports.publish).probe_with(&published_probe);
    published_probe
}
