//! The views on one thread: a timely worker that is stepped by its owner, and what came out of it so far.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ct_model::{CertId, Timestamp};
use differential_dataflow::VecCollection;
use differential_dataflow::consolidation::consolidate;
use differential_dataflow::input::InputSession;
use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::Thread;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

use super::counts::{Counted, Total};
use super::graph::{Inputs, Outputs, graph};
use super::held::Queue;
use super::issuances::{Figure, Issued};
use super::watch::Named;
use super::{Certificate, Dimension, Entry, Held, Issuances, Step};
use crate::modules::WatchItem;

/// How much the views hold and show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Event time that a certificate is held.
    pub horizon_ms: i64,
    /// Largest things of a dimension, and newest matches of an item, that are shown.
    pub top: usize,
    /// Beyond this the oldest expire early.
    pub certificates_max: usize,
    /// Whether there may be a watch list; without, names are not held.
    pub watch: bool,
}

/// What the views hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub certificates: u64,
    pub entries: u64,
    /// The views are whole for what was seen after this moment; `None` before the first `advance`.
    pub whole_after_ms: Option<i64>,
    /// Certificates and entries that expired early, from the start on.
    pub early: u64,
}

/// A dimension, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Over all things, and how many different ones there are.
    pub sum: u64,
    pub things: u64,
    /// The largest, largest first; of equal ones by text.
    pub top: Vec<(Box<str>, u64)>,
}

/// A name of a certificate that an item matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub id: CertId,
    pub seen_ms: i64,
    pub name: Box<str>,
}

/// An item of the watch list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Matches with certificates that are held.
    pub open: u64,
    /// The newest of them, newest first.
    pub newest: Vec<Match>,
}

/// What changed, each part absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub counts: BTreeMap<Dimension, Counts>,
    pub issuances: Option<Issuances>,
    /// `None` for an item that is no longer watched.
    pub watched: BTreeMap<WatchItem, Option<Watched>>,
}

type Session<D> = InputSession<Step, D, isize>;
/// What came out and was not taken so far.
type Out<D> = Rc<RefCell<Vec<(D, isize)>>>;

/// The views, and all they hold. Not `Send`: it lives on the thread that made it.
pub struct Views {
    options: Options,
    worker: Worker,
    probe: Handle<Step>,
    step: Step,
    counted: Session<Counted>,
    issued: Session<Issued>,
    names: Session<Named>,
    items: Session<WatchItem>,
    totals: Out<Total>,
    top: Out<(Counted, isize)>,
    figures: Out<(Figure, isize)>,
    matches: Out<(WatchItem, Named)>,
    queue: Queue,
    horizon_ms: Option<i64>,
    watched: BTreeSet<WatchItem>,
    shown: Shown,
}

/// The views as they are, and what of them changed since it was last asked for.
#[derive(Default)]
struct Shown {
    totals: BTreeMap<Dimension, (isize, isize)>,
    top: BTreeMap<Dimension, BTreeMap<Box<str>, isize>>,
    issuances: Issuances,
    matches: BTreeMap<WatchItem, BTreeSet<Named>>,
    changed: BTreeSet<Dimension>,
    issuances_changed: bool,
    items_changed: BTreeSet<WatchItem>,
}

impl Views {
    pub fn new(options: Options) -> Self {
        let mut worker = Worker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), None);
        let probe = Handle::new();
        let (mut counted, mut issued) = (Session::new(), Session::new());
        let (mut names, mut items) = (Session::new(), Session::new());
        let k = options.top;
        let (totals, top, figures, matches) = worker.dataflow::<Step, _, _>(|scope| {
            let inputs = Inputs {
                counted: counted.to_collection(scope),
                issued: issued.to_collection(scope),
                names: names.to_collection(scope),
                items: items.to_collection(scope),
            };
            let Outputs { totals, top, issuances, matches } = graph(inputs, k);
            (out(totals, &probe), out(top, &probe), out(issuances, &probe), out(matches, &probe))
        });
        let queue = Queue::new(options.certificates_max);
        let mut shown = Shown::default();
        shown.mark_all(&BTreeSet::new());
        let (horizon_ms, watched) = (None, BTreeSet::new());
        Self {
            options,
            worker,
            probe,
            step: 0,
            counted,
            issued,
            names,
            items,
            totals,
            top,
            figures,
            matches,
            queue,
            horizon_ms,
            watched,
            shown,
        }
    }

    /// Takes a certificate; the views show it after the next [`Views::advance`].
    pub fn insert(&mut self, certificate: Certificate) {
        self.queue.push(certificate);
        self.expire();
    }

    /// Takes an entry, likewise.
    pub fn insert_entry(&mut self, entry: Entry) {
        let log = self.queue.push_entry(entry);
        self.counted.update((Dimension::Log, (&*log).into()), 1);
        self.expire();
    }

    /// Replaces the watch list.
    pub fn set_items(&mut self, items: impl IntoIterator<Item = WatchItem>) {
        let items: BTreeSet<_> = items.into_iter().collect();
        for item in items.symmetric_difference(&self.watched) {
            self.items.update(item.clone(), if items.contains(item) { 1 } else { -1 });
            self.shown.items_changed.insert(item.clone());
        }
        self.watched = items;
    }

    /// Moves the horizon on, and brings the views up to all that was said before. What was seen a horizon's length
    /// before `horizon_ms`, or earlier, is no longer held. The horizon does not go back.
    pub fn advance(&mut self, horizon_ms: Option<i64>) {
        self.horizon_ms = self.horizon_ms.max(horizon_ms);
        self.expire();
        let (counted, issued, names) = (&mut self.counted, &mut self.issued, &mut self.names);
        let watch = self.options.watch;
        self.queue
            .show(|held, certificate| update(counted, issued, watch.then_some(&mut *names), held, certificate, 1));

        self.step += 1;
        self.counted.advance_to(self.step);
        self.issued.advance_to(self.step);
        self.names.advance_to(self.step);
        self.items.advance_to(self.step);
        self.counted.flush();
        self.issued.flush();
        self.names.flush();
        self.items.flush();
        while self.probe.less_than(&self.step) {
            self.worker.step();
        }
        self.shown.take(&self.totals, &self.top, &self.figures, &self.matches);
    }

    /// The `seen` (milliseconds) up to which everything has expired.
    pub fn expired_ms(&self) -> i64 {
        self.horizon_ms.map_or(i64::MIN, |horizon_ms| horizon_ms.saturating_sub(self.options.horizon_ms))
    }

    fn expire(&mut self) {
        let expired_ms = self.expired_ms();
        while let Some(gone) = self.queue.pop(expired_ms) {
            if let Some((held, certificate)) = gone {
                let names = self.options.watch.then_some(&mut self.names);
                update(&mut self.counted, &mut self.issued, names, held, &certificate, -1);
            }
        }
        while let Some(log) = self.queue.pop_entry(expired_ms) {
            self.counted.update((Dimension::Log, (&*log).into()), -1);
        }
    }

    pub fn standing(&self) -> Standing {
        Standing {
            certificates: self.queue.certificates() as u64,
            entries: self.queue.entries() as u64,
            whole_after_ms: self.horizon_ms.map(|_| self.queue.early_ms.unwrap_or(i64::MIN).max(self.expired_ms())),
            early: self.queue.early,
        }
    }

    /// What changed since this was last called, as of the last [`Views::advance`]; all of it at first.
    pub fn take_changes(&mut self) -> Changes {
        let (shown, top) = (&mut self.shown, self.options.top);
        let changed = std::mem::take(&mut shown.changed);
        let counts = changed.into_iter().map(|dimension| (dimension, shown.counts(dimension))).collect();
        let issuances = std::mem::take(&mut shown.issuances_changed).then_some(shown.issuances);
        let items = std::mem::take(&mut shown.items_changed);
        let told = |item: &WatchItem| {
            let matches = shown.matches.get(item);
            let newest = matches.into_iter().flat_map(|matches| matches.iter().rev()).take(top);
            let newest = newest.map(|(held, name)| {
                let id = self.queue.id(*held).expect("what a match is about is held");
                Match { id, seen_ms: held.0, name: name.clone() }
            });
            Watched { open: matches.map_or(0, BTreeSet::len) as u64, newest: newest.collect() }
        };
        let watched = items.into_iter().map(|item| {
            let watched = self.watched.contains(&item).then(|| told(&item));
            (item, watched)
        });
        Changes { counts, issuances, watched: watched.collect() }
    }

    /// Everything counts as changed.
    pub fn touch(&mut self) {
        self.shown.mark_all(&self.watched);
    }
}

/// Says to the views that a certificate is there (1), or no longer (-1).
pub(super) fn update(
    counted: &mut Session<Counted>,
    issued: &mut Session<Issued>,
    names: Option<&mut Session<Named>>,
    held: Held,
    certificate: &Certificate,
    change: isize,
) {
    let hour = Timestamp::from_seconds(held.0.div_euclid(1_000)).hour_text();
    counted.update((Dimension::Issuer, (&*certificate.issuer).into()), change);
    counted.update((Dimension::Key, (&*certificate.key).into()), change);
    counted.update((Dimension::Hour, hour.into()), change);
    for domain in certificate.domains.iter() {
        counted.update((Dimension::Domain, domain.into()), change);
    }
    if let (Some(tbs), Some(kind)) = (certificate.tbs_sha256, certificate.kind) {
        let head: [u8; 16] = tbs[..16].try_into().expect("a digest has 32 bytes");
        issued.update((u128::from_be_bytes(head), (kind.into(), held.0)), change);
    }
    if let Some(session) = names {
        for name in certificate.names.iter() {
            session.update((held, name.into()), change);
        }
    }
}

fn out<D: Clone + 'static>(collection: VecCollection<'_, Step, D>, probe: &Handle<Step>) -> Out<D> {
    let out = Out::default();
    let given = out.clone();
    collection.inspect(move |(record, _, change)| given.borrow_mut().push((record.clone(), *change))).probe_with(probe);
    out
}

fn taken<D: Ord>(out: &Out<D>) -> Vec<(D, isize)> {
    let mut changes = std::mem::take(&mut *out.borrow_mut());
    consolidate(&mut changes);
    // What is taken back goes first: its place may be taken again.
    changes.sort_by_key(|(_, change)| *change);
    changes
}

impl Shown {
    fn mark_all(&mut self, watched: &BTreeSet<WatchItem>) {
        self.changed.extend(Dimension::ALL);
        self.issuances_changed = true;
        self.items_changed.extend(watched.iter().cloned());
    }

    fn take(
        &mut self,
        totals: &Out<Total>,
        top: &Out<(Counted, isize)>,
        figures: &Out<(Figure, isize)>,
        matches: &Out<(WatchItem, Named)>,
    ) {
        for (Total { dimension, sum, things }, change) in taken(totals) {
            self.totals.insert(dimension, if change > 0 { (sum, things) } else { (0, 0) });
            self.changed.insert(dimension);
        }
        for (((dimension, text), count), change) in taken(top) {
            let counts = self.top.entry(dimension).or_default();
            if change > 0 {
                counts.insert(text, count);
            } else {
                counts.remove(&text);
            }
            self.changed.insert(dimension);
        }
        for ((figure, value), change) in taken(figures) {
            self.issuances.set(figure, if change > 0 { value } else { 0 });
            self.issuances_changed = true;
        }
        for ((item, named), change) in taken(matches) {
            let matches = self.matches.entry(item.clone()).or_default();
            if change > 0 {
                matches.insert(named);
            } else {
                matches.remove(&named);
            }
            if matches.is_empty() {
                self.matches.remove(&item);
            }
            self.items_changed.insert(item);
        }
    }

    fn counts(&self, dimension: Dimension) -> Counts {
        let (sum, things) = self.totals.get(&dimension).copied().unwrap_or_default();
        let top = self.top.get(&dimension).into_iter().flatten();
        let mut top: Vec<_> = top.map(|(text, count)| (text.clone(), *count as u64)).collect();
        // By text already.
        top.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Counts { sum: sum as u64, things: things as u64, top }
    }
}
