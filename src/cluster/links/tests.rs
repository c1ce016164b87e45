use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread::JoinHandle;

use tempfile::TempDir;

use super::super::hello::tests::member;
use super::super::secret::Secret;
use super::super::wire::tests::own_host;
use super::*;

/// Far longer than anything here takes: a stranger that held up a start would make its test fail by this much.
const LONG: Duration = Duration::from_secs(60);
const LIMITS: Limits = Limits { handshake: LONG, half_open_max: 8 };

/// Listeners and addresses of a cluster on this host.
struct Site<S: Wire> {
    listeners: Vec<Option<S::Listener>>,
    addresses: Vec<S::Address>,
    folder: TempDir,
}

type Meets<S> = JoinHandle<Result<Vec<Option<S>>, LinkError>>;

impl<S: Loopback> Site<S> {
    fn meet_with(&mut self, member: Member, deadline: Duration, limits: Limits) -> Meets<S> {
        let listener = self.listeners[member.index].take();
        let addresses = self.addresses.clone();
        thread::spawn(move || meet_at(member, listener, &addresses, deadline, limits))
    }

    fn meet(&mut self, member: Member) -> Meets<S> {
        self.meet_with(member, LONG, LIMITS)
    }

    fn dial(&self, index: usize) -> S {
        let stream = S::dial(&self.addresses[index], Instant::now() + LONG).expect("it listens");
        stream.set_patience(Some(LONG)).expect("a socket option");
        stream
    }
}

trait Loopback: Wire {
    fn site(processes: usize) -> Site<Self>;

    /// A listener at an address that nobody knows.
    fn spare(folder: &TempDir) -> Self::Listener;
}

impl Loopback for UnixStream {
    fn site(processes: usize) -> Site<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let addresses: Vec<_> = (0..processes).map(|index| socket_path(folder.path(), index)).collect();
        let listeners = addresses.iter().map(|address| Some(Self::listen(address).expect("a new path"))).collect();
        Site { listeners, addresses, folder }
    }

    fn spare(folder: &TempDir) -> UnixListener {
        Self::listen(&folder.path().join("spare")).expect("a new path")
    }
}

impl Loopback for TcpStream {
    fn site(processes: usize) -> Site<Self> {
        let address = format!("{}:0", own_host());
        let listen = |_| Self::listen(&address).expect("a free port");
        let listeners: Vec<_> = (0..processes).map(listen).collect();
        let addresses = listeners.iter().map(|port| port.local_addr().expect("bound").to_string()).collect();
        let listeners = listeners.into_iter().map(Some).collect();
        Site { listeners, addresses, folder: tempfile::tempdir().expect("a folder") }
    }

    fn spare(_folder: &TempDir) -> TcpListener {
        Self::listen(&format!("{}:0", own_host())).expect("a free port")
    }
}

/// Runs a check over both kinds of socket.
macro_rules! on_both {
    ($($name:ident => $check:expr;)*) => { $(
        mod $name {
            use super::*;
            #[test] fn unix() { $check(<UnixStream as Loopback>::site) }
            #[test] fn tcp() { $check(<TcpStream as Loopback>::site) }
        }
    )* };
}

/// All links of a cluster carry a byte in both directions.
fn check_links<S: Loopback>(mut all: Vec<Vec<Option<S>>>) {
    let pairs = (0..all.len()).flat_map(|a| (0..all.len()).map(move |b| (a, b))).collect::<Vec<_>>();
    for (a, b) in pairs {
        assert_eq!(all[a][b].is_none(), a == b);
        if a != b {
            let byte = [u8::try_from(a * 16 + b).expect("few processes")];
            all[a][b].as_mut().expect("linked").write_all(&byte).expect("a link");
            let mut read = [0];
            all[b][a].as_mut().expect("linked").read_exact(&mut read).expect("a link");
            assert_eq!(read, byte, "{a} to {b}");
        }
    }
}

fn join<S: Loopback>(meets: Vec<Meets<S>>) -> Vec<Vec<Option<S>>> {
    meets.into_iter().map(|meets| meets.join().expect("no panic").expect("linked")).collect()
}

fn all_meet<S: Loopback>(site: fn(usize) -> Site<S>) {
    for processes in 1..=4 {
        let mut site = site(processes);
        // The last one first: those it dials are not there yet.
        let mut meets: Vec<_> = (0..processes).rev().map(|index| site.meet(member(index, processes))).collect();
        meets.reverse();
        check_links(join(meets));
    }
}

/// While `stranger` is there, and after it was, the peer that was waited for links at once.
fn links_despite<S: Loopback, K>(site: fn(usize) -> Site<S>, stranger: impl FnOnce(&Site<S>) -> K) {
    let mut site = site(2);
    let started = Instant::now();
    let first = site.meet(member(0, 2));
    let kept = stranger(&site);
    assert!(!first.is_finished(), "a stranger ended the start");
    let second = site.meet(member(1, 2));
    check_links(join(vec![first, second]));
    assert!(started.elapsed() < LONG / 2, "a stranger held up the start");
    drop(kept);
}

/// What a stranger sends is refused: it is hung up on.
fn refuses<S: Loopback>(site: fn(usize) -> Site<S>, bytes: &[u8]) {
    links_despite(site, |site| {
        let mut stream = site.dial(0);
        // Being hung up on in the middle of it is as good as after it.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() <= 132, "it got {} bytes", answer.len());
    });
}

/// A hello that is right in every setting but those that `change` sets; whoever sends it knows no secret.
fn hello_record(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let Member { cluster, generation, graph, .. } = member(1, 2);
    let mut record = [&b"ct-link\n\0\0\0\x01"[..], &cluster, &generation.to_be_bytes()].concat();
    [2u32, 4, 1, 0].iter().for_each(|count| record.extend(count.to_be_bytes()));
    record.extend(graph);
    record.extend([7; 16 + 32]);
    change(&mut record);
    record
}

fn http<S: Loopback>(site: fn(usize) -> Site<S>) {
    refuses(site, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nUser-Agent: probe\r\n\r\n");
}

fn connect_and_close<S: Loopback>(site: fn(usize) -> Site<S>) {
    links_despite(site, |site| drop(site.dial(0)));
}

fn silence<S: Loopback>(site: fn(usize) -> Site<S>) {
    links_despite(site, |site| site.dial(0));
}

fn fake_index<S: Loopback>(site: fn(usize) -> Site<S>) {
    // What a timely process would say, and a right hello without a proof.
    refuses(site, &1u64.to_be_bytes());
    links_despite(site, |site| {
        let mut stream = site.dial(0);
        stream.write_all(&hello_record(|_| ())).expect("it listens");
        stream.read_exact(&mut [0; 132]).expect("it answers a hello");
        stream
    });
}

fn fake_index_and_junk<S: Loopback>(site: fn(usize) -> Site<S>) {
    refuses(site, &[&1u64.to_be_bytes()[..], &[0xa5; 4096]].concat());
    refuses(site, &[&hello_record(|_| ())[..], &[0xa5; 4096]].concat());
}

fn fake_index_and_huge_length<S: Loopback>(site: fn(usize) -> Site<S>) {
    refuses(site, &[&1u64.to_be_bytes()[..], &[0xff; 48]].concat());
    refuses(site, &[&hello_record(|record| record[36..52].fill(0xff))[..], &[0xff; 64]].concat());
}

fn wrong_secret<S: Loopback>(site: fn(usize) -> Site<S>) {
    links_despite(site, |site| {
        let mut liar = member(1, 2);
        liar.secret = Secret::new(vec![43; 32]).expect("long enough");
        let addresses = site.addresses.clone();
        let met = meet_at::<S>(liar, None, &addresses, Duration::from_millis(300), LIMITS);
        let error = met.expect_err("it does not know the secret");
        assert!(matches!(&error, LinkError::Missing { missing, .. } if missing[0].index == 0), "{error}");
        assert!(error.to_string().contains("does it know the same secret?"), "{error}");
    });
}

fn second_copy<S: Loopback>(site: fn(usize) -> Site<S>) {
    let mut site = site(3);
    let first = site.meet(member(0, 3));
    let dial = |me: &Identity| {
        let mut stream = site.dial(0);
        hello::introduce(&mut stream, me, 0, Instant::now() + LONG).map(|()| stream)
    };
    let [one, copy, two] = [1, 1, 2].map(|index| Identity::new(member(index, 3)).expect("random bytes"));
    let earlier = dial(&one).expect("the place is free");
    let refused = dial(&copy).expect_err("the place is taken");
    assert!(matches!(refused, Refusal::Taken { index: 1 }), "{refused}");
    // The same process may come again: it has given up its first try.
    drop(earlier);
    let mut later = dial(&one).expect("its own place");
    assert!(!first.is_finished());
    let _two = dial(&two).expect("the place is free");
    let mut links = first.join().expect("no panic").expect("linked");
    links[1].as_mut().expect("linked").write_all(b"!").expect("a link");
    later.read_exact(&mut [0]).expect("the later link counts");
}

/// Two starts of one process at the same time: one of them ends with an error that says so.
fn twins<S: Loopback>(site: fn(usize) -> Site<S>) {
    let mut site = site(3);
    let _first = site.meet(member(0, 3));
    let one = site.meet(member(1, 3));
    site.listeners[1] = Some(S::spare(&site.folder));
    let mut twins = [one, site.meet(member(1, 3))];
    while twins.iter().all(|twin| !twin.is_finished()) {
        thread::sleep(Duration::from_millis(1));
    }
    twins.sort_by_key(JoinHandle::is_finished);
    let [waiting, refused] = twins;
    let error = refused.join().expect("no panic").expect_err("the index is taken");
    assert_eq!(error.to_string(), "process 0 already has a link with another process 1: is it running twice?");
    assert!(!waiting.is_finished());
}

fn flood_of_silence<S: Loopback>(site: fn(usize) -> Site<S>) {
    links_despite(site, |site| (0..LIMITS.half_open_max * 3).map(|_| site.dial(0)).collect::<Vec<_>>());
}

fn silent_listener<S: Loopback>(site: fn(usize) -> Site<S>) {
    // Something takes connections at the address of process 0, and never says a word.
    let mut site = site(2);
    let limits = Limits { handshake: Duration::from_millis(50), ..LIMITS };
    let met = site.meet_with(member(1, 2), Duration::from_millis(400), limits).join().expect("no panic");
    let error = met.expect_err("nobody answers");
    assert!(error.to_string().contains("process 0 (it did not finish the handshake in time)"), "{error}");
}

/// Both sides end with an error that names the setting.
fn differ<S: Loopback>(site: fn(usize) -> Site<S>, change: impl Fn(&mut Member), names: &str) {
    let mut site = site(2);
    let mut other = member(1, 2);
    change(&mut other);
    let (first, second) = (site.meet(member(0, 2)), site.meet(other));
    for (meets, peer) in [(first, 1), (second, 0)] {
        let error = meets.join().expect("no panic").expect_err("settings differ");
        assert!(matches!(error, LinkError::Settings { peer: p, .. } if p == peer), "{error}");
        assert!(error.to_string().contains(names), "{error}");
    }
}

fn other_settings<S: Loopback>(site: fn(usize) -> Site<S>) {
    differ(site, |member| member.workers = 9, "workers (-w)");
    differ(site, |member| member.graph = [9; 32], "dataflow (version, modules, options)");
}

fn other_process_count<S: Loopback>(site: fn(usize) -> Site<S>) {
    let mut site = site(3);
    let first = site.meet(member(0, 2));
    let second = site.meet(member(1, 3));
    for meets in [first, second] {
        let error = meets.join().expect("no panic").expect_err("settings differ");
        assert!(error.to_string().contains("processes (-n)"), "{error}");
    }
}

fn older_generation<S: Loopback>(site: fn(usize) -> Site<S>) {
    links_despite(site, |site| {
        let mut old = member(1, 2);
        old.generation -= 1;
        let error = meet_at::<S>(old, None, &site.addresses.clone(), LONG, LIMITS).expect_err("it is old");
        assert!(matches!(error, LinkError::Settings { peer: 0, .. }), "{error}");
        assert!(error.to_string().contains("generation: 4 here, 5 there"), "{error}");
    });
}

fn newer_generation<S: Loopback>(site: fn(usize) -> Site<S>) {
    let mut site = site(2);
    let old = site.meet(member(0, 2));
    let mut new = member(1, 2);
    new.generation += 1;
    let new = site.meet_with(new, Duration::from_millis(300), LIMITS);
    let error = old.join().expect("no panic").expect_err("it is old");
    assert!(error.to_string().contains("generation: 5 here, 6 there"), "{error}");
    // The newer one waits for a process 0 of its own generation.
    let error = new.join().expect("no panic").expect_err("nobody else came");
    assert!(matches!(error, LinkError::Missing { .. }), "{error}");
}

fn other_cluster<S: Loopback>(site: fn(usize) -> Site<S>) {
    links_despite(site, |site| {
        let mut lost = member(1, 2);
        lost.cluster = [9; 16];
        let error = meet_at::<S>(lost, None, &site.addresses.clone(), LONG, LIMITS).expect_err("a wrong address");
        assert!(error.to_string().contains("cluster: "), "{error}");
    });
}

fn missing_is_named<S: Loopback>(site: fn(usize) -> Site<S>) {
    let mut site = site(3);
    let address = site.addresses[0].clone();
    site.listeners[0] = None;
    let error = site.meet_with(member(1, 3), Duration::from_millis(100), LIMITS).join().expect("no panic");
    let error = error.expect_err("nobody came");
    let LinkError::Missing { missing, refused: 0, .. } = &error else { panic!("{error}") };
    assert_eq!(missing.iter().map(|m| m.index).collect::<Vec<_>>(), [0, 2], "{error} ({address:?})");
    assert!(missing[0].reason.starts_with("it cannot be reached"), "{error}");
    assert_eq!(missing[1].reason, "it never dialled");
}

on_both! {
    meeting => all_meet;
    stranger_http => http;
    stranger_connects_and_closes => connect_and_close;
    stranger_is_silent => silence;
    stranger_fakes_an_index => fake_index;
    stranger_fakes_an_index_and_sends_junk => fake_index_and_junk;
    stranger_fakes_an_index_and_a_length => fake_index_and_huge_length;
    stranger_with_a_wrong_secret => wrong_secret;
    stranger_is_a_second_copy => second_copy;
    one_process_twice => twins;
    strangers_come_in_numbers => flood_of_silence;
    stranger_listens => silent_listener;
    settings_differ => other_settings;
    process_counts_differ => other_process_count;
    generation_is_older => older_generation;
    generation_is_newer => newer_generation;
    cluster_is_another => other_cluster;
    peers_are_missing => missing_is_named;
}

const ROLE: &str = "CT_STREAM_TEST_STRANGERS";

/// Does nothing in a normal run; the test below starts it in a process of its own, whose log then is its log alone.
#[test]
fn role() {
    let Ok(strangers) = std::env::var(ROLE) else { return };
    tracing_subscriber::fmt().with_ansi(false).with_writer(io::stderr).init();
    let mut site = TcpStream::site(2);
    let first = site.meet(member(0, 2));
    for _ in 0..strangers.parse().expect("a number") {
        let mut stream = site.dial(0);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it listens");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let second = site.meet(member(1, 2));
    join(vec![first, second]);
}

#[test]
fn strangers_are_logged_up_to_a_number() {
    for strangers in [1, STRANGERS_NAMED_MAX, STRANGERS_NAMED_MAX * 3] {
        let output = Command::new(std::env::current_exe().expect("the test binary has a path"))
            .args(["--exact", "cluster::links::tests::role", "--nocapture"])
            .env(ROLE, strangers.to_string())
            .output()
            .expect("the test binary starts");
        let log = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{log}");
        let named = log.lines().filter(|line| line.contains("it does not speak the link protocol")).count();
        assert_eq!(named, strangers.min(STRANGERS_NAMED_MAX), "{log}");
        let summed_up = log.contains("they are counted, not named");
        assert_eq!(summed_up, strangers > STRANGERS_NAMED_MAX, "{log}");
        assert!(log.contains(&format!("refused={strangers}")), "{log}");
        assert!(!log.contains("GET") && !log.contains(&"2a".repeat(8)), "{log}");
    }
}

#[test]
fn impossible_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let unix = |mode| {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("an own folder");
        Addresses::Unix(folder.path().to_owned())
    };
    let refused = |member, addresses: &Addresses| connect(member, addresses, LONG).expect_err("refused").to_string();
    assert_eq!(refused(member(2, 2), &unix(0o700)), "-p 2 is not below -n 2");
    assert!(refused(member(0, 2), &unix(0o755)).contains("is open to others (mode 755"));
    let tcp = Addresses::Tcp(vec!["127.0.0.1:1".into()]);
    assert_eq!(refused(member(0, 2), &tcp), "the hostfile names 1 processes, -n asks for 2");
    let long = folder.path().join("x".repeat(SOCKET_PATH_BYTES_MAX));
    fs::create_dir(&long).expect("a new folder");
    fs::set_permissions(&long, fs::Permissions::from_mode(0o700)).expect("an own folder");
    assert!(refused(member(0, 2), &Addresses::Unix(long)).contains("has more than 107 bytes"));
    let gone = Addresses::Unix(folder.path().join("gone"));
    assert!(matches!(connect(member(0, 2), &gone, LONG), Err(LinkError::Folder { .. })));
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let busy = Addresses::Tcp(vec![held.local_addr().expect("bound").to_string(), "127.0.0.1:1".into()]);
    assert!(matches!(connect(member(0, 2), &busy, LONG), Err(LinkError::Listen { .. })));
}
