//! The handshake on a new link: both ends prove that they know the cluster's secret, then compare their settings.
//!
//! ```text
//! dialer                                listener
//!   hello ─────────────────────────────►          132 bytes: who I am, what I build, whom I mean, a nonce
//!         ◄───────────────────────────── hello    the same record
//!   proof ─────────────────────────────►          HMAC-SHA256 over both hellos
//!         ◄───────────────────────────── verdict  one byte, and HMAC-SHA256 over both hellos and the byte
//! ```
//!
//! What always holds: nothing a peer says is acted upon before its proof was checked; the listener proves nothing to a
//! dialer that has not; every length is fixed, so nothing is allocated by what a stranger claims; the handshake as a
//! whole has a deadline, however slowly the bytes drip in. After it the link carries timely's bytes as they are: the
//! peer is authenticated, the bytes are neither encrypted nor signed. Whoever can change packets between the hosts
//! needs a tunnel to be kept out.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use ct_model::id::to_hex;
use hmac::Mac;
use thiserror::Error;

use super::secret::Secret;
use super::wire::Wire;

const MAGIC: [u8; 8] = *b"ct-link\n";

/// Version of the record and of the exchange.
const FORMAT: u32 = 1;

const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;

/// Magic and format, the part that every version shares.
const HEAD_BYTES: usize = MAGIC.len() + 4;

/// Head, cluster, generation, four counts, graph, instance, nonce.
const HELLO_BYTES: usize = HEAD_BYTES + 16 + 8 + 4 * 4 + 32 + INSTANCE_BYTES + NONCE_BYTES;

const INSTANCE_BYTES: usize = 16;

/// Random, one for each process: tells a second try of one process from a second process.
pub(super) type Instance = [u8; INSTANCE_BYTES];

/// The proofs of the two roles differ, so neither can be played back as the other.
const DIALER_LABEL: &[u8] = b"ct-link dialer  ";
const LISTENER_LABEL: &[u8] = b"ct-link listener";

/// One process of a cluster, as its peers must know it. Two members of one cluster differ in `index` alone.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// The cluster's name, the same at every start.
    pub(crate) cluster: [u8; 16],
    /// Which start of the cluster this is. The lower one of two gives way.
    pub(crate) generation: u64,
    /// `-n`.
    pub(crate) processes: usize,
    /// `-w`.
    pub(crate) workers: usize,
    /// This process, below `processes`.
    pub(crate) index: usize,
    /// Hash of everything that shapes the dataflow. timely tells channels apart by the order in which they were built:
    /// two processes that build different graphs would mix up each other's records in silence.
    pub(crate) graph: [u8; 32],
    pub(crate) secret: Secret,
}

/// A setting in which two members of one cluster differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) what: Setting,
    pub(crate) here: String,
    pub(crate) there: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    Cluster,
    Generation,
    Processes,
    Workers,
    Index,
    Graph,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Setting::Cluster => "cluster",
            Setting::Generation => "generation",
            Setting::Processes => "processes (-n)",
            Setting::Workers => "workers (-w)",
            Setting::Index => "process at this address (-p, order of the hostfile)",
            Setting::Graph => "dataflow (version, modules, options)",
        };
        write!(f, "{what}: {} here, {} there", self.here, self.there)
    }
}

/// Why a connection did not become a link.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("it does not speak the link protocol")]
    NotALink,
    #[error("it speaks version {0} of the link protocol, this process version {FORMAT}")]
    Format(u32),
    #[error("it does not know the secret")]
    Unproven,
    #[error("it hung up after this process had proved itself: does it know the same secret?")]
    HungUpOnProof,
    #[error("it sent a verdict that does not exist")]
    Verdict,
    #[error("it did not finish the handshake in time")]
    TooSlow,
    #[error("it hung up during the handshake")]
    HungUp,
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("{0}")]
    Io(io::Error),
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// The peer knows the secret, but is no member of the same cluster with the same settings.
    #[error("{}", join(differences))]
    Differs { peer: Peer, differences: Vec<Difference> },
    /// The peer is what it should be, but another process was so before.
    #[error("another process {index} is linked already")]
    Taken { index: usize },
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        match error.kind() {
            TimedOut | WouldBlock => Refusal::TooSlow,
            UnexpectedEof | BrokenPipe | ConnectionReset | ConnectionAborted => Refusal::HungUp,
            _ => Refusal::Io(error),
        }
    }
}

pub(super) fn join(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// What a proven peer said about itself, as far as rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) index: usize,
    pub(super) generation: u64,
    pub(super) instance: Instance,
}

/// This process in every handshake it takes part in.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) member: Member,
    instance: Instance,
}

impl Identity {
    pub(super) fn new(member: Member) -> Result<Self, getrandom::Error> {
        let mut instance = [0; INSTANCE_BYTES];
        getrandom::fill(&mut instance)?;
        Ok(Self { member, instance })
    }

    fn hello(&self, to: u32) -> Result<Hello, Refusal> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(Refusal::Random)?;
        let Member { cluster, generation, processes, workers, index, graph, .. } = self.member;
        let narrow = |count: usize| u32::try_from(count).expect("links::connect admits counts of 32 bits only");
        Ok(Hello {
            cluster,
            generation,
            processes: narrow(processes),
            workers: narrow(workers),
            index: narrow(index),
            to,
            graph,
            instance: self.instance,
            nonce,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hello {
    cluster: [u8; 16],
    generation: u64,
    processes: u32,
    workers: u32,
    /// Who speaks.
    index: u32,
    /// To whom: a dialer names the process it means, a listener repeats the dialer's index.
    to: u32,
    graph: [u8; 32],
    instance: Instance,
    nonce: [u8; NONCE_BYTES],
}

impl Hello {
    fn encode(&self) -> [u8; HELLO_BYTES] {
        let parts: [&[u8]; 11] = [
            &MAGIC,
            &FORMAT.to_be_bytes(),
            &self.cluster,
            &self.generation.to_be_bytes(),
            &self.processes.to_be_bytes(),
            &self.workers.to_be_bytes(),
            &self.index.to_be_bytes(),
            &self.to.to_be_bytes(),
            &self.graph,
            &self.instance,
            &self.nonce,
        ];
        parts.concat().try_into().expect("the parts of a hello add up to its length")
    }

    /// Reads what follows the head.
    fn decode(record: &[u8; HELLO_BYTES]) -> Self {
        let mut rest = &record[HEAD_BYTES..];
        Hello {
            cluster: take(&mut rest),
            generation: u64::from_be_bytes(take(&mut rest)),
            processes: u32::from_be_bytes(take(&mut rest)),
            workers: u32::from_be_bytes(take(&mut rest)),
            index: u32::from_be_bytes(take(&mut rest)),
            to: u32::from_be_bytes(take(&mut rest)),
            graph: take(&mut rest),
            instance: take(&mut rest),
            nonce: take(&mut rest),
        }
    }

    fn peer(&self) -> Peer {
        Peer { index: self.index as usize, generation: self.generation, instance: self.instance }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (part, after) = rest.split_first_chunk().expect("a hello has the length of its parts");
    *rest = after;
    *part
}

/// Where two hellos of one link disagree, in the eyes of the sender of `mine`.
fn compare(mine: &Hello, theirs: &Hello) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut note = |what, same: bool, here: String, there: String| {
        if !same {
            differences.push(Difference { what, here, there });
        }
    };
    let short = |hash: &[u8]| to_hex(&hash[..8]);
    note(Setting::Cluster, mine.cluster == theirs.cluster, short(&mine.cluster), short(&theirs.cluster));
    let (here, there) = (mine.generation, theirs.generation);
    note(Setting::Generation, here == there, here.to_string(), there.to_string());
    let (here, there) = (mine.processes, theirs.processes);
    note(Setting::Processes, here == there, here.to_string(), there.to_string());
    let (here, there) = (mine.workers, theirs.workers);
    note(Setting::Workers, here == there, here.to_string(), there.to_string());
    // A listener repeats the index that the dialer gave, so only what the dialer expects can be wrong.
    let process = |index: u32| format!("process {index}");
    let expected = |index: u32| format!("process {index} expected");
    note(Setting::Index, mine.to == theirs.index, expected(mine.to), process(theirs.index));
    note(Setting::Index, mine.index == theirs.to, process(mine.index), expected(theirs.to));
    note(Setting::Graph, mine.graph == theirs.graph, short(&mine.graph), short(&theirs.graph));
    differences
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Linked = 1,
    Differs = 2,
    Taken = 3,
}

impl Verdict {
    fn from_byte(byte: u8) -> Option<Self> {
        [Verdict::Linked, Verdict::Differs, Verdict::Taken].into_iter().find(|verdict| *verdict as u8 == byte)
    }
}

/// The dialer's part: `Ok` when the process at the other end is `to` and has linked this one.
pub(super) fn introduce<S: Wire>(stream: &mut S, me: &Identity, to: usize, until: Instant) -> Result<(), Refusal> {
    let secret = &me.member.secret;
    let mine = me.hello(u32::try_from(to).expect("links::connect admits counts of 32 bits only"))?;
    let record = mine.encode();
    send(stream, &record, until)?;
    let answer = receive_hello(stream, until)?;
    let proof = secret.mac(&[DIALER_LABEL, &record, &answer]).finalize().into_bytes();
    send(stream, &proof, until)?;

    let mut reply = [0; 1 + PROOF_BYTES];
    receive(stream, &mut reply, until).map_err(|error| match error.into() {
        Refusal::HungUp => Refusal::HungUpOnProof,
        other => other,
    })?;
    let (verdict, proof) = reply.split_at(1);
    let expected = secret.mac(&[LISTENER_LABEL, &record, &answer, verdict]);
    expected.verify_slice(proof).map_err(|_| Refusal::Unproven)?;

    let theirs = Hello::decode(&answer);
    match Verdict::from_byte(verdict[0]).ok_or(Refusal::Verdict)? {
        Verdict::Linked => Ok(()),
        Verdict::Differs => Err(Refusal::Differs { peer: theirs.peer(), differences: compare(&mine, &theirs) }),
        Verdict::Taken => Err(Refusal::Taken { index: me.member.index }),
    }
}

/// The listener's part: `Ok` when the peer is linked and has been told so. `admit` is asked once the peer has proved
/// itself and its settings fit; it books the peer's place, or says false when that is taken.
pub(super) fn answer<S: Wire>(
    stream: &mut S,
    me: &Identity,
    until: Instant,
    admit: impl FnOnce(Peer) -> bool,
) -> Result<(), Refusal> {
    let secret = &me.member.secret;
    let record = receive_hello(stream, until).inspect_err(|refusal| {
        if let Refusal::Format(_) = refusal {
            // Lets the dialer say the same; it is refused whether or not it hears this.
            let _ = send(stream, &[&MAGIC[..], &FORMAT.to_be_bytes()].concat(), until);
        }
    })?;
    let theirs = Hello::decode(&record);
    let mine = me.hello(theirs.index)?;
    let answer = mine.encode();
    send(stream, &answer, until)?;

    let mut proof = [0; PROOF_BYTES];
    receive(stream, &mut proof, until)?;
    secret.mac(&[DIALER_LABEL, &record, &answer]).verify_slice(&proof).map_err(|_| Refusal::Unproven)?;

    let peer = theirs.peer();
    let mut differences = compare(&mine, &theirs);
    if differences.is_empty() && !(me.member.index < peer.index && peer.index < me.member.processes) {
        let (here, there) = (format!("process {}", mine.index), format!("process {}", theirs.index));
        differences.push(Difference { what: Setting::Index, here, there });
    }
    let verdict = match differences.is_empty() {
        true if admit(peer) => Verdict::Linked,
        true => Verdict::Taken,
        false => Verdict::Differs,
    };
    let verdict_byte = [verdict as u8];
    let proof = secret.mac(&[LISTENER_LABEL, &record, &answer, &verdict_byte]).finalize().into_bytes();
    let mut reply = [0; 1 + PROOF_BYTES];
    reply[..1].copy_from_slice(&verdict_byte);
    reply[1..].copy_from_slice(&proof);
    let sent = send(stream, &reply, until);
    // The reason of a refusal is worth more than the news that the peer did not wait for it.
    match verdict {
        Verdict::Linked => Ok(sent?),
        Verdict::Taken => Err(Refusal::Taken { index: peer.index }),
        Verdict::Differs => Err(Refusal::Differs { peer, differences }),
    }
}

/// Reads a whole hello, and of something else no more than the head.
fn receive_hello<S: Wire>(stream: &mut S, until: Instant) -> Result<[u8; HELLO_BYTES], Refusal> {
    let mut record = [0; HELLO_BYTES];
    receive(stream, &mut record[..MAGIC.len()], until)?;
    if record[..MAGIC.len()] != MAGIC {
        return Err(Refusal::NotALink);
    }
    receive(stream, &mut record[MAGIC.len()..HEAD_BYTES], until)?;
    let format = u32::from_be_bytes(take(&mut &record[MAGIC.len()..HEAD_BYTES]));
    if format != FORMAT {
        return Err(Refusal::Format(format));
    }
    receive(stream, &mut record[HEAD_BYTES..], until)?;
    Ok(record)
}

fn receive<S: Wire>(stream: &mut S, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_patience(Some(left(until)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = &mut buffer[read..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Handshake messages are smaller than any socket buffer, so one wait is all that a write can cost.
fn send<S: Wire>(stream: &mut S, bytes: &[u8], until: Instant) -> io::Result<()> {
    stream.set_patience(Some(left(until)?))?;
    stream.write_all(bytes)
}

/// The time that is left of a deadline; an error when it is over, because sockets take zero for "no limit".
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
pub(super) mod tests;
