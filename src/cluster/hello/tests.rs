use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub(crate) fn member(index: usize, processes: usize) -> Member {
    let secret = Secret::new(vec![42; 32]).expect("long enough");
    Member { cluster: [1; 16], generation: 5, processes, workers: 4, index, graph: [2; 32], secret }
}

fn identity(member: Member) -> Identity {
    Identity::new(member).expect("random bytes")
}

/// One handshake: what the dialer and the listener make of it.
fn shake(dialer: Member, to: usize, listener: Member) -> (Result<(), Refusal>, Result<(), Refusal>) {
    let (mut dials, mut listens) = UnixStream::pair().expect("a pair");
    thread::scope(|scope| {
        let listening = scope.spawn(move || answer(&mut listens, &identity(listener), soon(), |_| true));
        let dialled = introduce(&mut dials, &identity(dialer), to, soon());
        drop(dials);
        (dialled, listening.join().expect("no panic"))
    })
}

#[test]
fn members_link() {
    let (dialled, listened) = shake(member(1, 2), 0, member(0, 2));
    dialled.expect("linked");
    listened.expect("linked");
}

/// Both ends say what differs, each from its own side.
#[track_caller]
fn check_differs(change: impl FnOnce(&mut Member), to: usize, want: &[(Setting, &str, &str)]) {
    let mut dialer = member(1, 3);
    change(&mut dialer);
    let (dialled, listened) = shake(dialer, to, member(0, 3));
    let differences = |result| match result {
        Err(Refusal::Differs { differences, .. }) => differences,
        other => panic!("not a difference: {other:?}"),
    };
    let show = |d: &Difference| (d.what, d.here.clone(), d.there.clone());
    let listener_sees: Vec<_> = differences(listened).iter().map(show).collect();
    let want: Vec<_> =
        want.iter().map(|(what, here, there)| (*what, (*here).to_owned(), (*there).to_owned())).collect();
    assert_eq!(listener_sees, want);
    let dialer_sees: Vec<_> = differences(dialled).iter().map(show).collect();
    if want.iter().all(|(what, ..)| *what != Setting::Index) {
        let turned: Vec<_> = want.into_iter().map(|(what, here, there)| (what, there, here)).collect();
        assert_eq!(dialer_sees, turned);
    }
}

#[test]
fn other_workers() {
    check_differs(|m| m.workers = 2, 0, &[(Setting::Workers, "4", "2")]);
}

#[test]
fn other_processes() {
    check_differs(|m| m.processes = 4, 0, &[(Setting::Processes, "3", "4")]);
}

#[test]
fn other_graph() {
    let (here, there) = ("0202020202020202", "0303030303030303");
    check_differs(|m| m.graph = [3; 32], 0, &[(Setting::Graph, here, there)]);
}

#[test]
fn other_generation() {
    check_differs(|m| m.generation = 4, 0, &[(Setting::Generation, "5", "4")]);
}

#[test]
fn other_cluster() {
    let (here, there) = ("0101010101010101", "0909090909090909");
    check_differs(|m| m.cluster = [9; 16], 0, &[(Setting::Cluster, here, there)]);
}

#[test]
fn several_at_once() {
    let change = |m: &mut Member| (m.workers, m.generation) = (8, 6);
    check_differs(change, 0, &[(Setting::Generation, "5", "6"), (Setting::Workers, "4", "8")]);
}

#[test]
fn another_process_than_the_one_dialled() {
    let change = |m: &mut Member| m.index = 2;
    check_differs(change, 1, &[(Setting::Index, "process 0", "process 1 expected")]);
}

#[test]
fn index_that_cannot_dial() {
    // Beyond the last, the listener's own, and one that should have been dialled.
    for index in [3, 0, u32::MAX as usize] {
        let there = format!("process {index}");
        check_differs(|m| m.index = index, 0, &[(Setting::Index, "process 0", &there)]);
    }
    let (_, listened) = shake(member(1, 3), 2, member(2, 3));
    assert!(matches!(listened, Err(Refusal::Differs { .. })), "{listened:?}");
}

#[test]
fn taken_place() {
    let (mut dials, mut listens) = UnixStream::pair().expect("a pair");
    let listening = thread::spawn(move || answer(&mut listens, &identity(member(0, 2)), soon(), |_| false));
    let dialled = introduce(&mut dials, &identity(member(1, 2)), 0, soon());
    assert!(matches!(dialled, Err(Refusal::Taken { index: 1 })), "{dialled:?}");
    let listened = listening.join().expect("no panic");
    assert!(matches!(listened, Err(Refusal::Taken { index: 1 })), "{listened:?}");
}

#[test]
fn wrong_secret() {
    let mut other = member(1, 2);
    other.secret = Secret::new(vec![43; 32]).expect("long enough");
    let (dialled, listened) = shake(other, 0, member(0, 2));
    assert!(matches!(listened, Err(Refusal::Unproven)), "{listened:?}");
    assert!(matches!(dialled, Err(Refusal::HungUpOnProof)), "{dialled:?}");
}

/// Plays `script` at a listener and returns what it says to that.
fn answer_to(script: impl FnOnce(&mut UnixStream)) -> Result<(), Refusal> {
    let (mut stranger, mut listens) = UnixStream::pair().expect("a pair");
    let listening =
        thread::spawn(move || answer(&mut listens, &identity(member(0, 2)), soon(), |_| panic!("admitted a stranger")));
    script(&mut stranger);
    drop(stranger);
    listening.join().expect("no panic")
}

#[test]
fn every_cut_of_a_hello_is_refused() {
    let record = identity(member(1, 2)).hello(0).expect("random").encode();
    for cut in 0..=record.len() {
        let listened = answer_to(|stream| stream.write_all(&record[..cut]).expect("it listens"));
        assert!(matches!(listened, Err(Refusal::HungUp)), "cut={cut}: {listened:?}");
    }
}

#[test]
fn every_changed_bit_is_refused() {
    let me = identity(member(1, 2));
    for bit in 0..HELLO_BYTES * 8 {
        let listened = answer_to(|stream| {
            let record = me.hello(0).expect("random").encode();
            let mut changed = record;
            changed[bit / 8] ^= 1 << (bit % 8);
            stream.write_all(&changed).expect("it listens");
            let mut theirs = [0; HELLO_BYTES];
            if stream.read_exact(&mut theirs).is_ok() {
                let proof = me.member.secret.mac(&[DIALER_LABEL, &record, &theirs]).finalize().into_bytes();
                stream.write_all(&proof).expect("it listens");
            }
        });
        let refused = matches!(listened, Err(Refusal::NotALink | Refusal::Format(_) | Refusal::Unproven));
        assert!(refused, "bit={bit}: {listened:?}");
    }
}

#[test]
fn a_recorded_handshake_is_worth_nothing() {
    let (mut dials, mut near) = UnixStream::pair().expect("a pair");
    let (mut far, mut listens) = UnixStream::pair().expect("a pair");
    thread::spawn(move || answer(&mut listens, &identity(member(0, 2)), soon(), |_| true));
    let recorded = thread::spawn(move || {
        let (mut hello, mut proof) = ([0; HELLO_BYTES], [0; PROOF_BYTES]);
        near.read_exact(&mut hello).expect("the dialer speaks");
        far.write_all(&hello).expect("the listener hears");
        let mut theirs = [0; HELLO_BYTES];
        far.read_exact(&mut theirs).expect("the listener speaks");
        near.write_all(&theirs).expect("the dialer hears");
        near.read_exact(&mut proof).expect("the dialer speaks");
        far.write_all(&proof).expect("the listener hears");
        let mut verdict = [0; 1 + PROOF_BYTES];
        far.read_exact(&mut verdict).expect("the listener speaks");
        near.write_all(&verdict).expect("the dialer hears");
        (hello, proof)
    });
    introduce(&mut dials, &identity(member(1, 2)), 0, soon()).expect("a relay alone changes nothing");
    let (hello, proof) = recorded.join().expect("no panic");
    let listened = answer_to(|stream| {
        stream.write_all(&hello).expect("it listens");
        stream.read_exact(&mut [0; HELLO_BYTES]).expect("it answers a hello");
        stream.write_all(&proof).expect("it listens");
    });
    assert!(matches!(listened, Err(Refusal::Unproven)), "{listened:?}");
}

/// Plays `script` at a dialer and returns what it says to that.
fn introduction_to(script: impl FnOnce(&mut UnixStream) + Send) -> Result<(), Refusal> {
    let (mut dials, mut stranger) = UnixStream::pair().expect("a pair");
    thread::scope(|scope| {
        scope.spawn(move || script(&mut stranger));
        introduce(&mut dials, &identity(member(1, 2)), 0, soon())
    })
}

#[test]
fn a_mirror_is_no_peer() {
    let dialled = introduction_to(|stream| {
        let mut hello = [0; HELLO_BYTES];
        stream.read_exact(&mut hello).expect("the dialer speaks");
        stream.write_all(&hello).expect("the dialer hears");
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof).expect("the dialer speaks");
        stream.write_all(&[&[Verdict::Linked as u8], &proof[..]].concat()).expect("the dialer hears");
    });
    assert!(matches!(dialled, Err(Refusal::Unproven)), "{dialled:?}");
}

#[test]
fn a_changed_verdict_is_not_believed() {
    let me = identity(member(0, 2));
    for said in 0..=u8::MAX {
        let dialled = introduction_to(|stream| {
            let mut hello = [0; HELLO_BYTES];
            stream.read_exact(&mut hello).expect("the dialer speaks");
            let mine = me.hello(1).expect("random").encode();
            stream.write_all(&mine).expect("the dialer hears");
            stream.read_exact(&mut [0; PROOF_BYTES]).expect("the dialer speaks");
            let proof = me.member.secret.mac(&[LISTENER_LABEL, &hello, &mine, &[Verdict::Differs as u8]]);
            stream.write_all(&[&[said], &proof.finalize().into_bytes()[..]].concat()).expect("the dialer hears");
        });
        match said {
            2 => assert!(matches!(dialled, Err(Refusal::Differs { .. })), "{dialled:?}"),
            _ => assert!(matches!(dialled, Err(Refusal::Unproven)), "said={said}: {dialled:?}"),
        }
    }
}

#[test]
fn other_format_is_named_on_both_sides() {
    let next = [&MAGIC[..], &(FORMAT + 1).to_be_bytes(), &[0; 200]].concat();
    let mut reply = Vec::new();
    let listened = answer_to(|stream| {
        stream.write_all(&next[..HEAD_BYTES]).expect("it listens");
        stream.read_to_end(&mut reply).expect("it answers");
    });
    assert!(matches!(listened, Err(Refusal::Format(2))), "{listened:?}");
    assert_eq!(reply, [&MAGIC[..], &FORMAT.to_be_bytes()].concat());
    let dialled = introduction_to(|stream| {
        stream.read_exact(&mut [0; HELLO_BYTES]).expect("the dialer speaks");
        stream.write_all(&next).expect("the dialer hears");
    });
    assert!(matches!(dialled, Err(Refusal::Format(2))), "{dialled:?}");
}

#[test]
fn dripping_does_not_stretch_the_deadline() {
    let (mut stranger, mut listens) = UnixStream::pair().expect("a pair");
    let (ended_tx, ended) = mpsc::channel();
    thread::spawn(move || {
        let until = Instant::now() + Duration::from_millis(200);
        let _ = ended_tx.send(answer(&mut listens, &identity(member(0, 2)), until, |_| true));
    });
    // A byte whenever 20 ms passed without an end: 2.6 s for the whole hello.
    for byte in identity(member(1, 2)).hello(0).expect("random").encode() {
        let _ = stranger.write_all(&[byte]);
        if let Ok(listened) = ended.recv_timeout(Duration::from_millis(20)) {
            assert!(matches!(listened, Err(Refusal::TooSlow)), "{listened:?}");
            return;
        }
    }
    panic!("the handshake outlived its deadline");
}

/// The record on the wire: a change here is a new [`FORMAT`].
#[test]
fn golden_hello() {
    let hello = Hello {
        cluster: [0xaa; 16],
        generation: 0x0102_0304_0506_0708,
        processes: 3,
        workers: 4,
        index: 2,
        to: 1,
        graph: [0xbb; 32],
        instance: [0xcc; 16],
        nonce: [0xdd; 32],
    };
    let golden = [
        "63742d6c696e6b0a",
        "00000001",
        &"aa".repeat(16),
        "0102030405060708",
        "00000003",
        "00000004",
        "00000002",
        "00000001",
        &"bb".repeat(32),
        &"cc".repeat(16),
        &"dd".repeat(32),
    ];
    let record = hello.encode();
    assert_eq!(to_hex(&record), golden.concat());
    assert_eq!(record.len(), 132);
    assert_eq!(Hello::decode(&record), hello);
}
