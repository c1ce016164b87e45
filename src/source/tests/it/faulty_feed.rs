//! A CertStream feed that fails as it is told, and a ledger of what it delivered. Loopback only.
//!
//! Connection `k` plays script `k`, and the last script is played again by all that follow. Threads, std and socket2 only,
//! so that every test binary can include this file. Frames are written by hand, as a good server would not.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// A condition that does not come about by then fails the test.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a thread that waits for bytes looks whether it is to end.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;

/// What a connection does, in turn. At the end of its script it stays open and answers pings.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Answers the handshake with this, and closes. Comes first.
    Answer(String),
    /// Accepts with a wrong key, and goes on. Comes first.
    WrongAccept,
    /// Never answers the handshake. Comes first, and last.
    NoAnswer,
    /// A message in one frame; counts as delivered when written.
    Text(Vec<u8>),
    Binary(Vec<u8>),
    /// A text message in so many frames.
    Fragments(Vec<u8>, usize),
    /// A text message, byte by byte.
    Drip(Vec<u8>, Duration),
    /// The same text message many times; the ledger only counts it.
    Flood(Vec<u8>, usize),
    /// So many pings with these payload bytes.
    Pings(Vec<u8>, usize),
    Raw(Vec<u8>),
    /// Bytes of no meaning, as payload behind a raw header.
    Filler(u64),
    /// Sends a ping and waits for its pong: the client has read everything until here.
    Sync,
    Pause(Duration),
    /// Reads no more.
    Deaf,
    /// Waits until the client has sent so many pings.
    AwaitPings(usize),
    /// Waits for the client to close or leave.
    AwaitEnd,
    /// A close frame; then waits for the client's.
    Close(u16, String),
    /// Ends the connection without a close frame.
    Fin,
    /// Ends it with RST.
    Reset,
}

pub(crate) fn text(body: impl Into<String>) -> Step {
    Step::Text(body.into().into_bytes())
}

/// A refusal with this status line's end, such as `429 Too Many`, and header lines that each end with CR LF.
pub(crate) fn refuse(status: &str, headers: &str) -> Step {
    Step::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n{headers}\r\nno"))
}

/// A whole frame as a server sends it.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, body.len() as u64);
    bytes.extend_from_slice(body);
    bytes
}

/// RFC 6455 section 5.2, unmasked; the length need not be true.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(length as u8),
        126..=0xffff => {
            bytes.push(126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes
}

/// What one connection has seen of its client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// The head of the handshake, if it came.
    pub(crate) request: String,
    pub(crate) pings: usize,
    pub(crate) pongs: Vec<Vec<u8>>,
    /// The code of its close frame, 1005 when there was none in it.
    pub(crate) close: Option<u16>,
    /// The connection has ended.
    pub(crate) gone: bool,
}

/// Everything that has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) clients: Vec<Client>,
    /// Messages written in full, with their connection.
    pub(crate) delivered: Vec<(usize, Vec<u8>)>,
    /// Messages of floods written in full.
    pub(crate) flooded: usize,
}

#[derive(Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    changed: Condvar,
    sockets: Mutex<Vec<Weak<TcpStream>>>,
    stop: Mutex<bool>,
}

pub(crate) struct FaultyFeed {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl FaultyFeed {
    pub(crate) fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for (index, socket) in listener.incoming().enumerate() {
                if *lock(&served.stop) {
                    break;
                }
                let socket = Arc::new(socket.unwrap());
                lock(&served.sockets).push(Arc::downgrade(&socket));
                lock(&served.ledger).clients.push(Client::default());
                let script = scripts[index.min(scripts.len() - 1)].clone();
                let connection = Connection { index, socket, shared: Arc::clone(&served) };
                thread::spawn(move || connection.play(script));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    pub(crate) fn ledger(&self) -> Ledger {
        lock(&self.shared.ledger).clone()
    }

    /// The bodies that were delivered in full, in order.
    pub(crate) fn delivered(&self) -> Vec<Vec<u8>> {
        self.ledger().delivered.into_iter().map(|(_, body)| body).collect()
    }

    /// Waits until the ledger is as wanted.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Ledger) -> bool) {
        assert!(self.shared.wait(wanted), "not within {PATIENCE:?}: {what}; {:?}", self.ledger().clients);
    }
}

impl Drop for FaultyFeed {
    fn drop(&mut self) {
        *lock(&self.shared.stop) = true;
        for socket in lock(&self.shared.sockets).iter().filter_map(Weak::upgrade) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn wait(&self, wanted: impl Fn(&Ledger) -> bool) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut ledger = lock(&self.ledger);
        while !wanted(&ledger) {
            if *lock(&self.stop) || Instant::now() > until {
                return false;
            }
            ledger = self.changed.wait_timeout(ledger, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Connection {
    index: usize,
    socket: Arc<TcpStream>,
    shared: Arc<Shared>,
}

impl Connection {
    fn play(self, script: Vec<Step>) {
        let (index, shared) = (self.index, Arc::clone(&self.shared));
        // A client that leaves in the middle of a script is not the feed's fault.
        let _ = self.try_play(script);
        lock(&shared.ledger).clients[index].gone = true;
        shared.changed.notify_all();
    }

    fn try_play(self, script: Vec<Step>) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        self.socket.set_read_timeout(Some(LOOK))?;
        let head = self.read_head()?;
        self.note(|client| client.request.clone_from(&head));
        let mut steps = script.into_iter().peekable();
        match steps.next_if(|step| matches!(step, Step::Answer(_) | Step::WrongAccept | Step::NoAnswer)) {
            Some(Step::Answer(answer)) => {
                self.write(answer.as_bytes())?;
                return self.socket.shutdown(Shutdown::Both);
            }
            Some(Step::NoAnswer) => return self.listen(&Mutex::new(()), &Mutex::new(Reading::Deaf)),
            early => {
                let key = head
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
                    .map_or("", |(_, value)| value.trim());
                let accept = if early.is_some() { "wrong".to_owned() } else { accept_key(key) };
                self.write(
                    format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {accept}\r\n\r\n"
                    )
                    .as_bytes(),
                )?;
            }
        }
        // Frames of the script and pongs of the listener do not mix.
        let (writing, reading) = (Mutex::new(()), Mutex::new(Reading::On));
        thread::scope(|scope| {
            let listener = scope.spawn(|| self.listen(&writing, &reading));
            let mut reset = false;
            let mut played = Ok(());
            for step in steps {
                reset = matches!(step, Step::Reset);
                played = self.step(step, &writing, &reading);
                if played.is_err() || reset {
                    break;
                }
            }
            if reset || played.is_err() {
                *lock(&reading) = Reading::Ended;
            }
            let _ = listener.join();
            played
        })
    }

    fn step(&self, step: Step, writing: &Mutex<()>, reading: &Mutex<Reading>) -> io::Result<()> {
        let send = |bytes: &[u8]| {
            let _writing = lock(writing);
            self.write(bytes)
        };
        let deliver = |body: Vec<u8>| {
            lock(&self.shared.ledger).delivered.push((self.index, body));
            self.shared.changed.notify_all();
        };
        let wait = |wanted: &dyn Fn(&Client) -> bool| {
            if self.shared.wait(|ledger| wanted(&ledger.clients[self.index])) {
                Ok(())
            } else {
                Err(io::Error::from(ErrorKind::TimedOut))
            }
        };
        match step {
            Step::Answer(_) | Step::WrongAccept | Step::NoAnswer => panic!("{step:?} comes first"),
            Step::Text(body) => send(&frame(TEXT, &body)).map(|()| deliver(body)),
            Step::Binary(body) => send(&frame(BINARY, &body)).map(|()| deliver(body)),
            Step::Fragments(body, count) => {
                let size = body.len().div_ceil(count).max(1);
                let mut bytes = Vec::new();
                for at in 0..count {
                    let first = if at == 0 { 0x01 } else { 0x00 } | if at + 1 == count { 0x80 } else { 0x00 };
                    let part = (at * size).min(body.len())..((at + 1) * size).min(body.len());
                    bytes.extend_from_slice(&frame(first, &body[part]));
                }
                send(&bytes).map(|()| deliver(body))
            }
            Step::Drip(body, gap) => {
                // A pong in the middle of a frame would break it, so the drip holds the pen.
                let _writing = lock(writing);
                for byte in frame(TEXT, &body) {
                    self.write(&[byte])?;
                    thread::sleep(gap);
                }
                deliver(body);
                Ok(())
            }
            Step::Flood(body, count) => {
                let one = frame(TEXT, &body);
                let at_once = (64_usize << 10).div_ceil(one.len()).min(count);
                let many = one.repeat(at_once);
                let mut left = count;
                let _writing = lock(writing);
                while left > 0 {
                    let now = left.min(at_once);
                    self.write(&many[..now * one.len()])?;
                    lock(&self.shared.ledger).flooded += now;
                    left -= now;
                }
                self.shared.changed.notify_all();
                Ok(())
            }
            Step::Pings(body, count) => {
                let many = frame(PING, &body).repeat(count.min(1000));
                (0..count.div_ceil(1000)).try_for_each(|_| send(&many))
            }
            Step::Raw(bytes) => send(&bytes),
            Step::Filler(count) => {
                let block = vec![b'a'; 64 << 10];
                let mut left = count;
                while left > 0 {
                    let now = left.min(block.len() as u64);
                    send(&block[..now as usize])?;
                    left -= now;
                }
                Ok(())
            }
            Step::Sync => {
                let mark = format!("sync {}", lock(&self.shared.ledger).delivered.len()).into_bytes();
                send(&frame(PING, &mark))?;
                wait(&|client| client.gone || client.pongs.contains(&mark))
            }
            Step::Pause(time) => {
                thread::sleep(time);
                Ok(())
            }
            Step::Deaf => {
                *lock(reading) = Reading::Deaf;
                Ok(())
            }
            Step::AwaitPings(count) => wait(&|client| client.gone || client.pings >= count),
            Step::AwaitEnd => wait(&|client| client.gone || client.close.is_some()),
            Step::Close(code, reason) => {
                send(&frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat()))?;
                wait(&|client| client.gone || client.close.is_some())?;
                self.socket.shutdown(Shutdown::Both)
            }
            Step::Fin => self.socket.shutdown(Shutdown::Both),
            // RST is sent when the socket is dropped.
            Step::Reset => socket2::SockRef::from(&*self.socket).set_linger(Some(Duration::ZERO)),
        }
    }

    /// Reads what the client sends, answers pings and its close frame, until the connection or the feed ends.
    fn listen(&self, writing: &Mutex<()>, reading: &Mutex<Reading>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut block = [0; 4096];
        let result = loop {
            match *lock(reading) {
                Reading::On => {}
                Reading::Deaf if *lock(&self.shared.stop) => break Ok(()),
                Reading::Deaf => {
                    thread::sleep(LOOK);
                    continue;
                }
                Reading::Ended => break Ok(()),
            }
            if *lock(&self.shared.stop) {
                break Ok(());
            }
            match (&*self.socket).read(&mut block) {
                Ok(0) => break Ok(()),
                Ok(count) => bytes.extend_from_slice(&block[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => break Err(error),
            }
            while let Some((opcode, body)) = take_frame(&mut bytes) {
                match opcode {
                    0x8 => {
                        let code = body.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                        self.note(|client| client.close = Some(code));
                        // Behind a frame that was cut off the answer is noise, and the client reads no more.
                        let _ = self.write(&frame(CLOSE, &body));
                        let _ = self.socket.shutdown(Shutdown::Write);
                    }
                    0x9 => {
                        self.note(|client| client.pings += 1);
                        // While the script writes, the client has other signs of life, and this thread must not get stuck.
                        if let Ok(_writing) = writing.try_lock() {
                            let _ = self.write(&frame(0x8a, &body));
                        }
                    }
                    0xa => self.note(|client| client.pongs.push(body)),
                    _ => {}
                }
            }
        };
        self.note(|client| client.gone = true);
        result
    }

    fn note(&self, change: impl FnOnce(&mut Client)) {
        change(&mut lock(&self.shared.ledger).clients[self.index]);
        self.shared.changed.notify_all();
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.socket).write_all(bytes)
    }

    fn read_head(&self) -> io::Result<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match (&*self.socket).read(&mut byte) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => head.push(byte[0]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if *lock(&self.shared.stop) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        String::from_utf8(head).map_err(io::Error::other)
    }
}

enum Reading {
    On,
    Deaf,
    Ended,
}

/// Takes a whole masked frame off the front: opcode and payload.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second] = *bytes.first_chunk()?;
    assert!(second & 0x80 != 0, "a client must mask (RFC 6455 section 5.1)");
    let (length, at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    let mask: [u8; 4] = *bytes.get(at..at + 4)?.first_chunk()?;
    let end = at + 4 + usize::try_from(length).ok()?;
    let body = bytes.get(at + 4..end)?.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    bytes.drain(..end);
    Some((first & 0x0f, body))
}

/// RFC 6455 section 4.2.2.
fn accept_key(key: &str) -> String {
    base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()))
}

/// RFC 3174 section 6.1.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut words: Vec<u32> =
            block.chunks_exact(4).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))).collect();
        for t in 16..80 {
            words.push((words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (t, word) in words.into_iter().enumerate() {
            let (f, k) = match t / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc_u32),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, add) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(add);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain([0, 0].iter()).take(3).fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        for at in 0..4 {
            text.push(if at <= chunk.len() { DIGITS[group >> (18 - 6 * at) & 63] as char } else { '=' });
        }
    }
    text
}

#[test]
fn the_accept_key_of_the_rfc() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
