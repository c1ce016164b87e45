//! The CertStream client against a feed that fails: the rows C1 to C8 of the fault table.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use ct_source::certstream::{Event, Feed, FeedOptions, Frame, Gap, Reason, State};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};

use crate::faulty_feed::{BINARY, CLOSE, FaultyFeed, PING, Step, TEXT, frame, header, refuse, text};

/// What does not come by then fails the test.
const PATIENCE: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

/// Waits that a test can afford.
fn quick(url: &str) -> FeedOptions {
    FeedOptions { backoff_first: 20 * MS, backoff_max: 200 * MS, ..FeedOptions::new("test feed", url) }
}

/// A client under test, and what it has said.
struct Session {
    events: mpsc::Receiver<Event>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    frames: Vec<Frame>,
    gaps: Vec<Gap>,
    states: Vec<State>,
    /// How many frames had come before each gap.
    gap_places: Vec<usize>,
}

impl Session {
    fn start(options: FeedOptions) -> Self {
        Self::with(options, 64, None)
    }

    fn with(options: FeedOptions, capacity: usize, last_ms: Option<i64>) -> Self {
        let feed = Feed::new(options).unwrap();
        let (out, events) = mpsc::channel(capacity);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(feed.run(out, stopped, last_ms));
        let (frames, gaps, states, gap_places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { events, stop, task, frames, gaps, states, gap_places }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Frames(frames) => {
                assert!(!frames.is_empty());
                self.frames.extend(frames);
            }
            Event::Gap(gap) => {
                self.gap_places.push(self.frames.len());
                self.gaps.push(gap);
            }
            Event::State(state) => self.states.push(state),
        }
    }

    /// Takes events until it is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wanted(self) {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => self.take(event),
                end => panic!("{what}: {end:?}; {:?} {:?} {} frames", self.gaps, self.states, self.frames.len()),
            }
        }
    }

    async fn frames(&mut self, count: usize) {
        self.until(&format!("{count} frames"), |session| session.frames.len() >= count).await;
    }

    /// Stops the run, and takes what it still says.
    async fn end(&mut self) -> Duration {
        let since = Instant::now();
        self.stop.send_replace(true);
        while let Some(event) = timeout(PATIENCE, self.events.recv()).await.unwrap() {
            self.take(event);
        }
        timeout(PATIENCE, &mut self.task).await.unwrap().unwrap();
        since.elapsed()
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.frames.iter().map(|frame| frame.bytes.to_vec()).collect()
    }

    fn reasons(&self) -> Vec<Reason> {
        self.gaps.iter().map(|gap| gap.reason).collect()
    }

    fn failures(&self) -> Vec<Reason> {
        let waiting = |state: &State| if let State::Waiting { reason, .. } = state { Some(*reason) } else { None };
        self.states.iter().filter_map(waiting).collect()
    }
}

/// Plays the scripts until `count` frames have come; checks that each delivery came once, in order, and that every gap lies
/// between the frames around it.
async fn play(scripts: Vec<Vec<Step>>, count: usize, change: impl FnOnce(&mut FeedOptions)) -> (FaultyFeed, Session) {
    let feed = FaultyFeed::start(scripts);
    let mut options = quick(&feed.url());
    change(&mut options);
    let mut session = Session::start(options);
    session.frames(count).await;
    session.end().await;
    // The client may be faster than the feed's own bookkeeping.
    feed.wait("the ledger", |ledger| ledger.delivered.len() >= count);
    assert_eq!(session.bodies(), feed.delivered());
    assert_eq!(session.reasons()[0], Reason::Started);
    for (gap, &place) in session.gaps.iter().zip(&session.gap_places) {
        let before = place.checked_sub(1).map(|at| session.frames[at].at_ms);
        assert_eq!((gap.from_ms, gap.to_ms), (before, session.frames[place].at_ms), "{gap:?}");
    }
    (feed, session)
}

// C1: refused, 429, 500, 503, wrong accept header at the handshake

#[tokio::test]
async fn c1_nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut session = Session::with(quick(&format!("ws://{free}/")), 64, Some(1234));
    session.until("three failures", |session| session.failures().len() >= 3).await;
    session.end().await;
    assert!(session.failures().iter().all(|reason| *reason == Reason::Refused));
    let [gap] = &session.gaps[..] else { panic!("{:?}", session.gaps) };
    assert_eq!((gap.from_ms, gap.reason), (Some(1234), Reason::Started));
    assert!(gap.to_ms > 1234 && gap.detail.contains("failures, the last: Connection refused"), "{}", gap.detail);
}

#[tokio::test]
async fn c1_a_server_that_refuses_half_of_its_handshakes() {
    let mut scripts = Vec::new();
    for at in 0..3 {
        scripts.push(vec![refuse(["429 Too Many", "500 Oops", "503 Away"][at], "")]);
        scripts.push(vec![text(format!("{at} a")), text(format!("{at} b")), Step::Sync, Step::Fin]);
    }
    scripts.push(vec![Step::WrongAccept, text("never read")]);
    scripts.push(vec![text("end")]);
    let feed = FaultyFeed::start(scripts);
    let mut session = Session::start(quick(&feed.url()));
    session.frames(7).await;
    session.end().await;
    feed.wait("the ledger", |ledger| ledger.delivered.iter().any(|(_, body)| body == b"end"));
    let good = |body: &Vec<u8>| body != b"never read";
    assert_eq!(session.bodies(), feed.delivered().into_iter().filter(good).collect::<Vec<_>>());
    use Reason::{Closed, HttpStatus, Protocol, Started};
    assert_eq!(session.failures(), [HttpStatus, Closed, HttpStatus, Closed, HttpStatus, Closed, Protocol]);
    assert_eq!(session.reasons(), [Started, Closed, Closed, Closed]);
    assert!(session.gaps[3].detail.contains("then 1 failures, the last: the handshake's answer has a wrong"));
}

#[tokio::test]
async fn c1_retry_after_is_honoured() {
    let feed = FaultyFeed::start(vec![vec![refuse("429 Too Many", "Retry-After: 1\r\n")], vec![text("a")]]);
    let since = Instant::now();
    let mut session = Session::start(quick(&feed.url()));
    session.frames(1).await;
    assert!(since.elapsed() >= Duration::from_secs(1));
    let State::Waiting { wait, .. } = session.states[1] else { panic!("{:?}", session.states) };
    assert!(wait >= Duration::from_secs(1) && wait < Duration::from_secs(2), "{wait:?}");
}

#[tokio::test]
async fn c1_what_looks_lasting_is_tried_again_slowly() {
    for status in ["401 No", "403 No", "404 No", "302 Elsewhere"] {
        let feed = FaultyFeed::start(vec![vec![refuse(status, "Location: /other\r\n")], vec![text("a")]]);
        let mut session = Session::start(quick(&feed.url()));
        session.frames(1).await;
        let State::Waiting { wait, .. } = session.states[1] else { panic!("{:?}", session.states) };
        assert!(wait >= 100 * MS, "{wait:?}");
        assert!(feed.ledger().clients[1].request.starts_with("GET / HTTP/1.1\r\n"));
    }
}

#[tokio::test]
async fn c1_a_handshake_without_an_answer_is_given_up() {
    let (_, session) =
        play(vec![vec![Step::NoAnswer], vec![text("a")]], 1, |options| options.connect_timeout = 200 * MS).await;
    assert_eq!(session.failures(), [Reason::Timeout]);
}

#[tokio::test]
async fn c1_a_name_that_does_not_exist() {
    let mut session = Session::start(FeedOptions { allow_plaintext: true, ..quick("ws://feed.invalid/") });
    session.until("a failure", |session| !session.failures().is_empty()).await;
    assert_eq!(session.failures()[0], Reason::Dns);
}

#[tokio::test]
async fn c1_one_log_line_per_change_of_state() {
    let log = Log::start();
    let feed = FaultyFeed::start(vec![vec![refuse("503 Away", "")], vec![refuse("503 Away", "")], vec![text("a")]]);
    let mut session = Session::start(quick(&feed.url()));
    session.frames(1).await;
    session.end().await;
    let lines = log.lines_with(&feed.url());
    let kinds: Vec<_> = lines.iter().map(|line| line.trim_start().split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["DEBUG", "WARN", "DEBUG", "DEBUG", "DEBUG", "INFO"], "{lines:?}");
    assert!(lines[1].contains("no connection: the server answered 503 Service Unavailable"), "{}", lines[1]);
    assert!(lines[1].contains("feed=\"test feed\"") && lines[1].contains("reason=\"http_status\""), "{}", lines[1]);
}

// C2: RST, FIN, close 1012, a frame cut off

#[track_caller]
fn check_cut(cut: Vec<Step>, reason: Reason, detail: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut first = vec![text("a"), text("b"), Step::Sync];
        first.extend(cut);
        let since = Instant::now();
        // The waits are those of a real job. The feed resumes with an overlap.
        let usual = |options: &mut FeedOptions| *options = FeedOptions::new("test feed", options.url.clone());
        let (_, session) = play(vec![first, vec![text("b"), text("c")]], 4, usual).await;
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        assert_eq!(session.reasons(), [Reason::Started, reason]);
        assert!(session.gaps[1].detail.contains(detail), "{}", session.gaps[1].detail);
        let [State::Connecting, State::Connected, State::Waiting { wait, failures: 1, .. }, ..] = session.states[..]
        else {
            panic!("{:?}", session.states)
        };
        assert!(wait <= Duration::from_secs(1));
    });
}

#[test]
fn c2_rst() {
    check_cut(vec![Step::Reset], Reason::Reset, "reset");
}

#[test]
fn c2_fin() {
    check_cut(vec![Step::Fin], Reason::Closed, "without a close frame");
}

#[test]
fn c2_close_1012() {
    check_cut(
        vec![Step::Close(1012, "restart\u{1b}[2J".to_owned())],
        Reason::Closed,
        "the server closed with 1012: restart\\u{1b}[2J",
    );
}

#[test]
fn c2_a_frame_cut_off() {
    check_cut(vec![Step::Raw(header(TEXT, 100)), Step::Filler(50), Step::Fin], Reason::Closed, "without a close frame");
}

#[tokio::test]
async fn c2_a_close_frame_is_answered() {
    let (feed, _) = play(vec![vec![text("a"), Step::Close(1012, String::new())], vec![text("b")]], 2, |_| {}).await;
    assert_eq!(feed.ledger().clients[0].close, Some(1012));
}

#[tokio::test]
async fn c2_frames_right_behind_the_handshake_and_right_before_the_end() {
    let many: Vec<_> = (0..500).map(|at| text(format!("{at}"))).chain([Step::Fin]).collect();
    let (_, session) = play(vec![many, vec![text("end")]], 501, |_| {}).await;
    assert_eq!(session.reasons(), [Reason::Started, Reason::Closed]);
}

#[tokio::test]
async fn c2_a_server_that_cuts_after_each_frame_is_not_hammered() {
    let (_, session) = play(vec![vec![text("a"), Step::Sync, Step::Fin]], 5, |options| {
        options.backoff_max = Duration::from_secs(60);
    })
    .await;
    let failures = session.states.iter().filter_map(|state| match state {
        State::Waiting { failures, .. } => Some(*failures),
        _ => None,
    });
    assert_eq!(failures.take(4).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

// C3: half-open, silent

#[test]
fn c3_a_dead_feed_is_found_within_30_s() {
    let usual = FeedOptions::new("f", "ws://[::1]/");
    assert!(usual.ping_interval <= Duration::from_secs(15) && usual.idle_timeout <= Duration::from_secs(30));
}

#[tokio::test]
async fn c3_half_open() {
    let since = Instant::now();
    let (_, session) = play(vec![vec![text("a"), Step::Deaf], vec![text("b")]], 2, |options| {
        options.ping_interval = 100 * MS;
        options.idle_timeout = 300 * MS;
    })
    .await;
    assert_eq!(session.reasons(), [Reason::Started, Reason::Idle]);
    assert!(since.elapsed() >= 300 * MS);
}

#[tokio::test]
async fn c3_a_quiet_feed_that_answers_pings_is_alive() {
    let (feed, session) = play(vec![vec![text("a"), Step::AwaitPings(10), text("b")]], 2, |options| {
        options.ping_interval = 100 * MS;
        options.idle_timeout = 600 * MS;
    })
    .await;
    assert_eq!(session.reasons(), [Reason::Started]);
    assert_eq!(feed.ledger().clients.len(), 1);
}

// C4: slow feed; slow us

#[tokio::test]
async fn c4_a_drip_is_alive() {
    let (feed, session) = play(vec![vec![Step::Drip(vec![b'x'; 60], 20 * MS), text("b")]], 2, |options| {
        options.ping_interval = 100 * MS;
        options.idle_timeout = 500 * MS;
    })
    .await;
    assert_eq!(session.reasons(), [Reason::Started]);
    assert_eq!(feed.ledger().clients.len(), 1);
}

/// More than the socket buffers and the channel hold.
const FLOOD: usize = 40_000;

async fn slow_us(after: Vec<Step>) -> (FaultyFeed, Session) {
    let mut script = vec![Step::Flood(vec![b'x'; 1500], FLOOD)];
    script.extend(after);
    let feed = FaultyFeed::start(vec![script, vec![text("b")]]);
    let options = FeedOptions { ping_interval: 100 * MS, idle_timeout: 300 * MS, ..quick(&feed.url()) };
    let session = Session::with(options, 1, None);
    // It takes nothing for at least three times `idle_timeout`, and the feed hears from it all the same.
    feed.wait("pings of a client that does not read", |ledger| ledger.clients.first().is_some_and(|c| c.pings >= 9));
    assert!(feed.ledger().flooded < FLOOD, "the feed felt no pressure");
    (feed, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn c4_when_nobody_takes_the_frames_the_feed_waits() {
    let (feed, mut session) = slow_us(vec![Step::Sync, text("end")]).await;
    session.frames(FLOOD + 1).await;
    session.end().await;
    assert_eq!(session.reasons(), [Reason::Started]);
    assert_eq!(feed.ledger().clients.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn c4_a_server_that_drops_a_slow_client_leaves_a_gap_that_says_so() {
    let (_feed, mut session) = slow_us(vec![Step::Fin]).await;
    // Our pings, which it has not read, make a reset of its end: what its kernel still held is lost.
    session.until("the feed is back", |session| session.frames.last().is_some_and(|frame| frame.bytes == "b")).await;
    assert_eq!(session.reasons(), [Reason::Started, Reason::StalledByUs]);
    assert!(session.gaps[1].detail.contains("nothing was read for"), "{}", session.gaps[1].detail);
}

#[tokio::test]
async fn c4_a_stopped_process_does_not_blame_the_server() {
    let script = vec![text("a"), Step::AwaitPings(1), text("b"), Step::AwaitPings(3), text("c")];
    let feed = FaultyFeed::start(vec![script]);
    let options = FeedOptions { ping_interval: 100 * MS, idle_timeout: 300 * MS, ..quick(&feed.url()) };
    let mut session = Session::start(options);
    session.frames(1).await;
    // The runtime has one thread, so nothing of the client moves meanwhile: as if by SIGSTOP.
    std::thread::sleep(1000 * MS);
    session.frames(3).await;
    session.end().await;
    assert_eq!(session.reasons(), [Reason::Started]);
    assert_eq!(feed.ledger().clients.len(), 1);
}

// C5: repeated, reordered messages

#[tokio::test]
async fn c5_repeated_and_reordered_messages_are_handed_on_as_they_came() {
    let script = [0, 1, 1, 3, 2, 2, 4, 0].map(|at| text(format!("{{\"n\":{at}}}"))).to_vec();
    let (feed, _) = play(vec![script], 8, |_| {}).await;
    assert_eq!(feed.ledger().clients.len(), 1);
}

// C6: messages that are no good

#[tokio::test]
async fn c6_bad_messages_are_handed_on_and_the_connection_stays() {
    let deep = "[".repeat(100_000);
    let mut wide = String::from("{");
    for at in 0..50_000 {
        write!(wide, "\"{at}\":null,").unwrap();
    }
    let mut script = Vec::new();
    for bad in ["", "{", "null", "{\"message_type\":7}", "\0\u{1b}[2J", "\u{feff}{}", &deep, &wide] {
        script.push(text(bad));
        script.push(text("good"));
    }
    script.extend([Step::Binary(vec![0xff, 0, 0xfe]), Step::Binary(Vec::new()), text("good")]);
    let count = script.len();
    let (feed, session) = play(vec![script], count, |_| {}).await;
    assert_eq!(session.reasons(), [Reason::Started]);
    assert_eq!(feed.ledger().clients.len(), 1);
}

// C7: frames that break RFC 6455

/// `code` is what the client says; afterwards it connects again, and what arrived in full before is not lost.
#[track_caller]
fn check_illegal(illegal: Vec<Step>, code: u16, reason: Reason) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut script = vec![text("a")];
        script.extend(illegal);
        script.push(Step::AwaitEnd);
        let (feed, session) = play(vec![script, vec![text("b")]], 2, |_| {}).await;
        feed.wait("a close frame", |ledger| ledger.clients[0].close.is_some());
        assert_eq!(feed.ledger().clients[0].close, Some(code));
        assert_eq!(session.reasons(), [Reason::Started, reason], "{:?}", session.gaps);
    });
}

#[track_caller]
fn check_raw(frames: &[Vec<u8>], code: u16, reason: Reason) {
    check_illegal(vec![Step::Raw(frames.concat())], code, reason);
}

#[test]
fn c7_invalid_utf8() {
    check_raw(&[frame(TEXT, b"a\xff")], 1007, Reason::Protocol);
}

#[test]
fn c7_invalid_utf8_in_fragments() {
    check_raw(&[frame(0x01, "€".as_bytes().split_at(1).0), frame(0x80, b"a")], 1007, Reason::Protocol);
}

#[test]
fn c7_bad_opcodes() {
    for opcode in [0x83, 0x87, 0x8b, 0x8f] {
        check_raw(&[frame(opcode, b"x")], 1002, Reason::Protocol);
    }
}

#[test]
fn c7_rsv_bits() {
    for bit in [0x40, 0x20, 0x10] {
        check_raw(&[frame(TEXT | bit, b"x")], 1002, Reason::Protocol);
    }
}

#[test]
fn c7_masked() {
    check_raw(&[vec![TEXT, 0x81, 1, 2, 3, 4, b'x' ^ 1]], 1002, Reason::Protocol);
}

#[test]
fn c7_length_2_to_62() {
    check_raw(&[header(TEXT, 1 << 62)], 1009, Reason::TooLarge);
    check_raw(&[header(BINARY, u64::MAX)], 1009, Reason::TooLarge);
}

#[test]
fn c7_long_control_frame() {
    check_raw(&[frame(PING, &[0; 126])], 1002, Reason::Protocol);
}

#[test]
fn c7_control_frame_in_fragments() {
    check_raw(&[frame(0x09, b"x")], 1002, Reason::Protocol);
}

#[test]
fn c7_interleaved_fragments() {
    check_raw(&[frame(0x01, b"a"), frame(TEXT, b"b")], 1002, Reason::Protocol);
    check_raw(&[frame(0x80, b"a")], 1002, Reason::Protocol);
}

#[test]
fn c7_bad_close() {
    check_raw(&[frame(CLOSE, &[3])], 1002, Reason::Protocol);
    check_raw(&[frame(CLOSE, &[3, 0xe8, 0xff])], 1007, Reason::Protocol);
    for code in [0_u16, 999, 1005, 1006, 1015, 2999] {
        check_raw(&[frame(CLOSE, &code.to_be_bytes())], 1002, Reason::Closed);
    }
}

#[tokio::test]
async fn c7_a_ping_between_fragments_is_legal() {
    let script =
        vec![Step::Raw([frame(0x01, b"a"), frame(PING, b"p"), frame(0x80, b"b")].concat()), Step::Sync, text("c")];
    let feed = FaultyFeed::start(vec![script]);
    let mut session = Session::start(quick(&feed.url()));
    session.frames(2).await;
    assert_eq!(session.bodies(), [b"ab".to_vec(), b"c".to_vec()]);
    assert_eq!(feed.ledger().clients[0].pongs[0], b"p");
}

// C8: large, and many

#[test]
fn c8_a_frame_of_64_mib() {
    check_illegal(vec![Step::Raw(header(TEXT, 64 << 20)), Step::Filler(64 << 20)], 1009, Reason::TooLarge);
}

#[test]
fn c8_a_message_over_the_limit_in_fragments() {
    let part = frame(0x00, &vec![b'a'; 1 << 20]);
    check_raw(&[frame(0x01, b""), part.repeat(4), frame(0x80, b"a")], 1009, Reason::TooLarge);
}

#[tokio::test]
async fn c8_a_message_at_the_limit() {
    let body = vec![b'a'; 4 << 20];
    let script = vec![Step::Text(body.clone()), Step::Fragments(body, 4), text("c")];
    let (feed, _) = play(vec![script], 3, |_| {}).await;
    assert_eq!(feed.ledger().clients.len(), 1);
}

#[tokio::test]
async fn c8_5000_fragments() {
    let script = vec![Step::Fragments("€".repeat(20_000).into_bytes(), 5000), text("b")];
    play(vec![script], 2, |_| {}).await;
}

#[test]
fn c8_a_zip_bomb_cannot_be_negotiated() {
    // permessage-deflate marks its frames with RSV1 (RFC 7692 section 6).
    check_raw(&[frame(TEXT | 0x40, &[0; 1000])], 1002, Reason::Protocol);
}

#[tokio::test]
async fn c8_a_ping_flood_is_answered() {
    let (feed, session) =
        play(vec![vec![Step::Pings(vec![b'p'; 125], 20_000), Step::Sync, text("a")]], 1, |_| {}).await;
    assert_eq!(session.reasons(), [Reason::Started]);
    assert!(!feed.ledger().clients[0].pongs.is_empty());
}

#[tokio::test]
async fn c8_a_ping_flood_of_a_server_that_reads_no_pong() {
    let script = vec![Step::Deaf, Step::Pings(vec![b'p'; 125], 400_000), text("a")];
    let (feed, session) = play(vec![script], 1, |_| {}).await;
    assert_eq!(session.reasons(), [Reason::Started]);
    assert_eq!(feed.ledger().clients.len(), 1);
}

/// The worst of the above in a process of its own, whose largest resident size is then read.
#[test]
fn c8_memory() {
    const ROLE: &str = "CERTSTREAM_MEMORY_TEST";
    const MESSAGE_KIB: u64 = 4096;
    const SLACK_KIB: u64 = 2048;
    if std::env::var_os(ROLE).is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "certstream::c8_memory", "--nocapture"])
            .env(ROLE, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let part = [Step::Raw(header(0x00, 1 << 19)), Step::Filler(1 << 19)];
        let mut fragments = vec![Step::Raw(frame(0x01, b""))];
        fragments.extend(part.iter().cycle().take(18).cloned().chain([Step::AwaitEnd]));
        let scripts = vec![
            vec![Step::Raw(header(TEXT, 1 << 62)), Step::AwaitEnd],
            vec![Step::Raw(header(TEXT, 64 << 20)), Step::Filler(64 << 20), Step::AwaitEnd],
            fragments,
            vec![text("a"), Step::Sync, Step::Fin],
            vec![
                Step::Raw(header(0x01, 4 << 20)),
                Step::Filler(4 << 20),
                Step::Raw(header(0x00, 4 << 20)),
                Step::Filler(4 << 20),
                Step::AwaitEnd,
            ],
            vec![Step::Deaf, Step::Pings(vec![b'p'; 125], 400_000), text("b")],
        ];
        let feed = FaultyFeed::start(scripts);
        let mut session = Session::start(quick(&feed.url()));
        session.until("the first connection", |session| session.states.len() > 1).await;
        let before = status_kib("VmRSS:");
        let grown = || status_kib("VmHWM:").saturating_sub(before);
        session.frames(1).await;
        assert!(grown() < 2 * MESSAGE_KIB + SLACK_KIB, "{} KiB", grown());
        // Fragments as large as a message may be: the library holds the message, the fragment and its read buffer.
        session.frames(2).await;
        assert!(grown() < 3 * MESSAGE_KIB + SLACK_KIB, "{} KiB", grown());
        assert_eq!(session.failures()[..3], [Reason::TooLarge; 3]);
        assert_eq!(session.failures().last(), Some(&Reason::TooLarge));
    });
}

fn status_kib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

// TLS

struct Authority {
    dir: tempfile::TempDir,
    tls: tokio_rustls::TlsAcceptor,
}

/// A server with a certificate that nobody but its own file vouches for.
fn self_signed(host: &str) -> Authority {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    Authority { dir, tls: Arc::new(config).into() }
}

impl Authority {
    fn ca_file(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A TLS front for a plain feed; gives its port.
    async fn front(&self, feed: &FaultyFeed) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, tls, feed) = (listener.local_addr().unwrap().port(), self.tls.clone(), feed.address());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let mut session = tls.accept(socket).await?;
                    let mut plain = tokio::net::TcpStream::connect(feed).await?;
                    tokio::io::copy_bidirectional(&mut session, &mut plain).await
                });
            }
        });
        port
    }
}

#[tokio::test]
async fn tls_a_self_signed_certificate_is_refused() {
    let authority = self_signed("localhost");
    let feed = FaultyFeed::start(vec![vec![text("a")]]);
    let port = authority.front(&feed).await;
    let mut session = Session::start(quick(&format!("wss://localhost:{port}/")));
    session.until("a failure", |session| !session.failures().is_empty()).await;
    session.end().await;
    assert_eq!(session.failures()[0], Reason::Tls);
    assert!(session.frames.is_empty() && feed.ledger().clients.is_empty());
    assert!(session.gaps[0].detail.contains("invalid peer certificate"), "{}", session.gaps[0].detail);
}

#[tokio::test]
async fn tls_a_certificate_of_the_ca_file_is_accepted() {
    let authority = self_signed("localhost");
    let feed = FaultyFeed::start(vec![
        vec![text("a"), Step::Sync, Step::Close(1012, String::new())],
        vec![Step::Raw(frame(TEXT, b"\xff")), Step::AwaitEnd],
        vec![Step::Flood(vec![b'x'; 1500], 1000), Step::Sync, Step::Fin],
        vec![text("b")],
    ]);
    let port = authority.front(&feed).await;
    let ca_file = Some(authority.ca_file());
    let mut session = Session::start(FeedOptions { ca_file, ..quick(&format!("wss://localhost:{port}/")) });
    session.frames(1002).await;
    assert_eq!(session.reasons(), [Reason::Started, Reason::Closed, Reason::Closed]);
    assert_eq!(session.failures(), [Reason::Closed, Reason::Protocol, Reason::Closed]);
    assert_eq!(feed.ledger().clients[1].close, Some(1007));
}

#[tokio::test]
async fn tls_a_certificate_of_another_host_is_refused() {
    let authority = self_signed("feed.example");
    let feed = FaultyFeed::start(vec![vec![text("a")]]);
    let port = authority.front(&feed).await;
    let ca_file = Some(authority.ca_file());
    let mut session = Session::start(FeedOptions { ca_file, ..quick(&format!("wss://localhost:{port}/")) });
    session.until("a failure", |session| !session.failures().is_empty()).await;
    assert_eq!(session.failures()[0], Reason::Tls);
    assert!(feed.ledger().clients.is_empty());
}

#[tokio::test]
async fn tls_plain_text_where_tls_was_asked_for() {
    let feed = FaultyFeed::start(vec![vec![text("a")]]);
    let options = FeedOptions { connect_timeout: 300 * MS, ..quick(&feed.url().replace("ws:", "wss:")) };
    let mut session = Session::start(options);
    session.until("a failure", |session| !session.failures().is_empty()).await;
    assert!(session.frames.is_empty());
}

// Stopping

#[tokio::test]
async fn stopped_while_connected_it_says_goodbye() {
    let (feed, session) = play(vec![vec![text("a")]], 1, |_| {}).await;
    feed.wait("a close frame", |ledger| ledger.clients[0].close.is_some());
    assert_eq!(feed.ledger().clients[0].close, Some(1001));
    assert_eq!(session.reasons(), [Reason::Started]);
}

#[tokio::test]
async fn stopped_while_disconnected_it_reports_the_gap() {
    let feed = FaultyFeed::start(vec![vec![text("a"), Step::Sync, Step::Fin], vec![refuse("500 Oops", "")]]);
    let mut session = Session::start(quick(&feed.url()));
    session.until("a failure", |session| session.failures().contains(&Reason::HttpStatus)).await;
    session.end().await;
    assert_eq!(session.reasons(), [Reason::Started, Reason::Closed]);
    let gap = &session.gaps[1];
    assert_eq!(gap.from_ms, Some(session.frames[0].at_ms));
    assert!(gap.to_ms >= session.frames[0].at_ms && gap.detail.contains("500 Internal Server Error"), "{}", gap.detail);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn stopped_while_connecting() {
    let feed = FaultyFeed::start(vec![vec![Step::NoAnswer]]);
    let mut session = Session::with(quick(&feed.url()), 64, Some(7));
    feed.wait("a request", |ledger| ledger.clients.first().is_some_and(|client| !client.request.is_empty()));
    session.end().await;
    let [Gap { from_ms: Some(7), reason: Reason::Started, .. }] = session.gaps[..] else {
        panic!("{:?}", session.gaps)
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn stopped_while_the_channel_is_full() {
    let feed = FaultyFeed::start(vec![vec![Step::Flood(vec![b'x'; 1500], FLOOD)]]);
    let options = FeedOptions { ping_interval: 100 * MS, ..quick(&feed.url()) };
    let Session { stop, task, events, .. } = Session::with(options, 1, None);
    feed.wait("back-pressure", |ledger| ledger.clients.first().is_some_and(|client| client.pings >= 2));
    let since = Instant::now();
    stop.send_replace(true);
    timeout(PATIENCE, task).await.unwrap().unwrap();
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    drop(events);
}

#[tokio::test]
async fn it_ends_when_nobody_receives_and_when_nobody_can_stop_it() {
    let feed = FaultyFeed::start(vec![vec![text("a"), Step::Pause(50 * MS), text("b")]]);
    let mut session = Session::start(quick(&feed.url()));
    session.frames(1).await;
    drop(session.events);
    timeout(PATIENCE, session.task).await.unwrap().unwrap();
    let Session { stop, task, mut events, .. } = Session::start(quick(&feed.url()));
    drop(stop);
    while timeout(PATIENCE, events.recv()).await.unwrap().is_some() {}
    task.await.unwrap();
}

// Secrets

/// What was written to the log at TRACE, by `tracing` and by `log`, by all tests of the process.
#[derive(Clone)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn start() -> Self {
        static START: Once = Once::new();
        static LOG: Mutex<Option<Log>> = Mutex::new(None);
        START.call_once(|| {
            let log = Self(Arc::default());
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .without_time()
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            log::set_boxed_logger(Box::new(log.clone())).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            *LOG.lock().unwrap() = Some(log);
        });
        LOG.lock().unwrap().clone().unwrap()
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn lines_with(&self, part: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // Of each frame several lines, and of what the server says, not of what we know.
        if !record.target().starts_with("tungstenite::protocol") && !record.target().starts_with("tokio_tungstenite") {
            let line = format!("log {} {}\n", record.target(), record.args());
            self.0.lock().unwrap().push_str(&line);
        }
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let log = Log::start();
    let authority = self_signed("localhost");
    let feed = FaultyFeed::start(vec![
        vec![refuse("401 No", "X-Echo: canary-header\r\nLocation: ws://canary-user@x/\r\n")],
        vec![Step::WrongAccept],
        vec![Step::Raw(frame(TEXT, b"\xff")), Step::AwaitEnd],
        vec![text("a"), Step::Reset],
        vec![text("b")],
    ]);
    let port = authority.front(&feed).await;
    let mut said = String::new();
    for url in [format!("{}x?token=canary-query", feed.url()), format!("wss://localhost:{port}/x?token=canary-query")] {
        let headers = vec![("Authorization".to_owned(), "Bearer canary-header".to_owned())];
        let options = FeedOptions { headers, ca_file: Some(authority.ca_file()), ..quick(&url) };
        write!(said, "{options:?}").unwrap();
        write!(said, "{:?}", Feed::new(options.clone()).unwrap()).unwrap();
        let frames = if url.starts_with("wss") { 1 } else { 2 };
        let mut session = Session::start(options);
        session.frames(frames).await;
        session.end().await;
        write!(said, "{:?} {:?}", session.gaps, session.states).unwrap();
    }
    for request in feed.ledger().clients.iter().map(|client| &client.request) {
        assert!(request.contains("authorization: Bearer canary-header\r\n") && request.contains("?token=canary-query"));
    }
    let log = log.text();
    assert!(log.contains("no connection") && log.contains("log rustls"), "the log is not caught");
    assert!(
        !said.contains("canary") && !log.contains("canary"),
        "{said}\n{}",
        log.lines().find(|l| l.contains("canary")).unwrap_or("")
    );
}

#[test]
fn a_missing_ca_file_is_said_at_once() {
    let ca_file = Some(Path::new("/nonexistent/ca.pem").to_owned());
    let error = Feed::new(FeedOptions { ca_file, ..quick("wss://localhost/?t=canary") }).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}
