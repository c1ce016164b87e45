//! Connects the processes of one cluster, each with every other.
//!
//! The process with the lower index listens, the higher one dials, again and again until the deadline. Every accepted
//! connection gets a thread of its own for its handshake, so a stranger that says nothing holds up nobody; of
//! half-open ones the oldest goes when there are too many. What always holds: [`connect`] returns by its deadline, and
//! a stranger can neither end the start, nor take a process's place, nor use up more than a fixed number of threads.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{debug, info, warn};

use super::dialer::Dialer;
use super::door::{Door, Limits, Linked, Visit};
use super::hello::{self, Difference, Identity, Member, Peer, Refusal, Setting};
use super::wire::{Wire, socket_path};

/// How often a listener looks for new connections while it waits for handshakes to end.
const ACCEPT_EVERY: Duration = Duration::from_millis(5);

/// A port scanner may come for as long as the start lasts: after so many warnings strangers are only counted.
const STRANGERS_NAMED_MAX: usize = 20;

/// `sun_path` of `sockaddr_un` has 108 bytes on Linux, one of them the final zero.
pub(crate) const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where the processes of a cluster listen.
#[derive(Debug, Clone)]
pub(crate) enum Addresses {
    /// On one host: sockets in a folder that nobody but its owner can enter.
    Unix(PathBuf),
    /// `host:port` of each process, by index.
    Tcp(Vec<String>),
}

/// Links to the other processes by index, `None` at this one; proven, blocking and without time-outs.
#[derive(Debug)]
pub(crate) enum Links {
    Unix(Vec<Option<UnixStream>>),
    Tcp(Vec<Option<TcpStream>>),
}

#[derive(Debug, Error)]
pub(crate) enum LinkError {
    #[error("-p {index} is not below -n {processes}")]
    Index { index: usize, processes: usize },
    #[error("the hostfile names {have} processes, -n asks for {processes}")]
    Addresses { have: usize, processes: usize },
    #[error("{count} is too large a number of processes or workers")]
    TooLarge { count: usize },
    #[error("socket folder {} is open to others (mode {mode:o}, must be 700)", path.display())]
    OpenFolder { path: PathBuf, mode: u32 },
    #[error("socket folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("socket path {} has more than {SOCKET_PATH_BYTES_MAX} bytes", path.display())]
    LongPath { path: PathBuf },
    #[error("listening at {address}")]
    Listen { address: String, source: io::Error },
    #[error("no random bytes for the handshake")]
    Random { source: getrandom::Error },
    #[error("starting a thread that dials")]
    Thread { source: io::Error },
    #[error("process {peer} was started with other settings than this one: {}", hello::join(differences))]
    Settings { peer: usize, differences: Vec<Difference> },
    #[error("process {peer} already has a link with another process {index}: is it running twice?")]
    Taken { index: usize, peer: usize },
    #[error("{}", describe_missing(missing, *waited, *refused))]
    Missing { missing: Vec<Missing>, waited: Duration, refused: usize },
}

/// A process that did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) index: usize,
    /// What was last heard of it.
    pub(crate) reason: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.index, self.reason)
    }
}

fn describe_missing(missing: &[Missing], waited: Duration, refused: usize) -> String {
    let peers = missing.iter().map(Missing::to_string).collect::<Vec<_>>().join(", ");
    let mut text = format!("no link within {:.1} s with {peers}", waited.as_secs_f32());
    if refused > 0 {
        let _ = write!(text, "; {refused} other connections were refused");
    }
    text
}

/// Meets all other processes of `member`'s cluster, or says who did not come by `deadline` and why.
pub(crate) fn connect(member: Member, addresses: &Addresses, deadline: Duration) -> Result<Links, LinkError> {
    let Member { processes, workers, index, .. } = member;
    if index >= processes {
        return Err(LinkError::Index { index, processes });
    }
    // The handshake sends counts in 32 bits.
    if let Some(&count) = [processes, workers].iter().find(|count| u32::try_from(**count).is_err()) {
        return Err(LinkError::TooLarge { count });
    }
    match addresses {
        Addresses::Unix(folder) => {
            check_folder(folder, processes)?;
            let paths: Vec<PathBuf> = (0..processes).map(|index| socket_path(folder, index)).collect();
            meet::<UnixStream>(member, &paths, deadline, Limits::for_cluster(processes)).map(Links::Unix)
        }
        Addresses::Tcp(hosts) => {
            if hosts.len() != processes {
                return Err(LinkError::Addresses { have: hosts.len(), processes });
            }
            meet::<TcpStream>(member, hosts, deadline, Limits::for_cluster(processes)).map(Links::Tcp)
        }
    }
}

fn check_folder(folder: &Path, processes: usize) -> Result<(), LinkError> {
    let meta = fs::metadata(folder).map_err(|source| LinkError::Folder { path: folder.to_owned(), source })?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(LinkError::OpenFolder { path: folder.to_owned(), mode });
    }
    let path = socket_path(folder, processes - 1);
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(LinkError::LongPath { path });
    }
    Ok(())
}

/// What the other threads of a start report to the one that waits.
enum Event<S> {
    /// A try to reach `peer`.
    Dialled {
        peer: usize,
        outcome: Result<S, Refusal>,
    },
    Visited(Visit<S>),
}

impl<S> From<Visit<S>> for Event<S> {
    fn from(visit: Visit<S>) -> Self {
        Event::Visited(visit)
    }
}

fn meet<S: Wire>(
    member: Member,
    addresses: &[S::Address],
    deadline: Duration,
    limits: Limits,
) -> Result<Vec<Option<S>>, LinkError> {
    // The last process has nobody to wait for.
    let listener = if member.index + 1 < member.processes {
        let address = &addresses[member.index];
        let failed = |source| LinkError::Listen { address: S::describe(address), source };
        Some(S::listen(address).map_err(failed)?)
    } else {
        None
    };
    meet_at(member, listener, addresses, deadline, limits)
}

fn meet_at<S: Wire>(
    member: Member,
    listener: Option<S::Listener>,
    addresses: &[S::Address],
    deadline: Duration,
    limits: Limits,
) -> Result<Vec<Option<S>>, LinkError> {
    let started = Instant::now();
    let until = started + deadline;
    let processes = member.processes;
    let me = Arc::new(Identity::new(member).map_err(|source| LinkError::Random { source })?);
    let (report, events) = mpsc::sync_channel(limits.half_open_max + processes);
    let over = Arc::new(AtomicBool::new(false));
    let _over = SetOnDrop(Arc::clone(&over));

    for (peer, address) in addresses.iter().enumerate().take(me.member.index) {
        let (me, address, over) = (Arc::clone(&me), address.clone(), Arc::clone(&over));
        let dialer = Dialer::<S> { me, peer, address, until, handshake: limits.handshake, over };
        let report = report.clone();
        thread::Builder::new()
            .name(format!("link-{peer}"))
            .spawn(move || dialer.run(|outcome| report.send(Event::Dialled { peer, outcome }).is_ok()))
            .map_err(|source| LinkError::Thread { source })?;
    }
    let heard = |peer| if peer < me.member.index { "it was not dialled yet" } else { "it never dialled" };
    Meeting {
        door: listener.map(|listener| Door::new(listener, Arc::clone(&me), limits, report)),
        events,
        started,
        until,
        links: (0..processes).map(|_| None).collect(),
        heard: (0..processes).map(|peer| heard(peer).to_owned()).collect(),
        refused: 0,
        me,
    }
    .run()
}

/// Tells threads that still dial when nobody waits for them any more.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The waiting side of [`connect`]: one loop that opens the door and collects links.
struct Meeting<S: Wire> {
    me: Arc<Identity>,
    door: Option<Door<S, Event<S>>>,
    events: Receiver<Event<S>>,
    started: Instant,
    until: Instant,
    links: Vec<Option<Linked<S>>>,
    /// What was last heard of each peer.
    heard: Vec<String>,
    /// Visitors that were turned away.
    refused: usize,
}

impl<S: Wire> Meeting<S> {
    fn run(mut self) -> Result<Vec<Option<S>>, LinkError> {
        while self.missing().next().is_some() {
            if let Some(door) = &mut self.door
                && let Err(error) = door.open()
            {
                self.turn_away("a connection", &Refusal::Io(error));
            }
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.somebody_is_missing());
            }
            let wait = if self.door.is_some() { left.min(ACCEPT_EVERY) } else { left };
            match self.events.recv_timeout(wait) {
                Ok(Event::Dialled { peer, outcome }) => self.after_dial(peer, outcome)?,
                Ok(Event::Visited(visit)) => self.after_visit(visit)?,
                Err(RecvTimeoutError::Timeout) => {}
                // Without a door, when the last dialer has come to the deadline.
                Err(RecvTimeoutError::Disconnected) => return Err(self.somebody_is_missing()),
            }
        }
        let Member { index, processes, generation, .. } = self.me.member;
        let waited_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(process = index, processes, generation, waited_ms, refused = self.refused, "linked with every process");
        Ok(self.links.into_iter().map(|link| Some(link?.stream)).collect())
    }

    fn missing(&self) -> impl Iterator<Item = usize> {
        let me = self.me.member.index;
        self.links.iter().enumerate().filter(move |(peer, link)| link.is_none() && *peer != me).map(|(peer, _)| peer)
    }

    fn somebody_is_missing(&self) -> LinkError {
        let missing = self.missing().map(|index| Missing { index, reason: self.heard[index].clone() }).collect();
        LinkError::Missing { missing, waited: self.started.elapsed(), refused: self.refused }
    }

    fn after_dial(&mut self, peer: usize, outcome: Result<S, Refusal>) -> Result<(), LinkError> {
        match outcome {
            Ok(stream) => self.links[peer] = Some(Linked { peer, turn: 0, stream }),
            Err(Refusal::Taken { index }) => return Err(LinkError::Taken { index, peer }),
            Err(Refusal::Differs { peer: whom, differences }) if self.ends_start(whom, &differences, true) => {
                return Err(LinkError::Settings { peer: whom.index, differences });
            }
            Err(refusal) => {
                debug!(peer, "no link yet: {refusal}");
                self.heard[peer] = refusal.to_string();
            }
        }
        Ok(())
    }

    fn after_visit(&mut self, visit: Visit<S>) -> Result<(), LinkError> {
        if let Some(door) = &mut self.door {
            door.see_off(&visit);
        }
        match visit.outcome {
            Ok(linked) => {
                let place = &mut self.links[linked.peer];
                if place.as_ref().is_none_or(|earlier| earlier.turn < linked.turn) {
                    *place = Some(linked);
                }
            }
            Err(Refusal::Differs { peer, differences }) if self.ends_start(peer, &differences, false) => {
                return Err(LinkError::Settings { peer: peer.index, differences });
            }
            Err(refusal) => self.turn_away(&visit.from, &refusal),
        }
        Ok(())
    }

    /// Whether a proven peer with other settings ends the start, or is only refused.
    fn ends_start(&self, peer: Peer, differences: &[Difference], dialled: bool) -> bool {
        let differ_in = |setting| differences.iter().any(|difference| difference.what == setting);
        if differ_in(Setting::Cluster) {
            // Whoever dialled has the wrong address; whoever was dialled by mistake has not.
            dialled
        } else if differ_in(Setting::Generation) {
            // One of the two is left over from an earlier start, and about to be followed by its successor.
            self.me.member.generation < peer.generation
        } else {
            true
        }
    }

    fn turn_away(&mut self, from: &str, refusal: &Refusal) {
        self.refused += 1;
        if self.refused <= STRANGERS_NAMED_MAX {
            warn!(from, "refused a connection on the worker links: {refusal}");
        } else if self.refused == STRANGERS_NAMED_MAX + 1 {
            warn!("more connections are refused on the worker links; they are counted, not named");
        }
    }
}

#[cfg(test)]
mod tests;
