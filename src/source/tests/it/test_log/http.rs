//! HTTP/1.1, the server's side, as little as clients of logs need, and as badly as a test wants it.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::entries::Bytes;

const HEAD_BYTES_MAX: u64 = 16 << 10;
/// How often a thread that waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the slash that it starts with.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) user_agent: String,
    close: bool,
}

impl Request {
    /// The next one of the connection; none at its end.
    pub(crate) fn read(connection: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = connection.take(HEAD_BYTES_MAX);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/').ok_or(ErrorKind::InvalidData)?;
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            user_agent: String::new(),
            close: version == "HTTP/1.0",
        };
        loop {
            let mut line = String::new();
            if head.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                return Ok(Some(request));
            }
            let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
            if name.eq_ignore_ascii_case("user-agent") {
                request.user_agent = value.trim().to_owned();
            } else if name.eq_ignore_ascii_case("connection") {
                request.close = value.trim().eq_ignore_ascii_case("close");
            }
        }
    }

    /// The first parameter of this name, decoded as a form is.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).and_then(|(_, value)| form_decode(value))
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.param(name)?.parse().ok()
    }
}

fn form_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
                rest = after;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// How the body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    /// RST after so many bytes of the body.
    Reset(usize),
    /// FIN after so many bytes of the body.
    Cut(usize),
    /// So many bytes a second.
    Drip(u64),
    /// Again and again.
    Endless,
    /// Nothing is sent, not even a head.
    Hang,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) delivery: Delivery,
    /// Before the first byte.
    pub(crate) delay: Duration,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type,
            headers: Vec::new(),
            body: body.into(),
            delivery: Delivery::Whole,
            delay: Duration::ZERO,
        }
    }

    pub(crate) fn json(body: String) -> Self {
        Self::new(200, "application/json", body.into_bytes())
    }

    pub(crate) fn refusal(status: u16, why: &str) -> Self {
        Self::new(status, "text/plain", why.as_bytes().to_vec())
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The bytes of a connection, perhaps under TLS, and the socket below.
pub(crate) struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) socket: Arc<TcpStream>,
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Connection {
    /// Sends the answer; false when the connection is over. `under_way` is dropped before the last byte goes out, so
    /// that a client's next request cannot overtake it.
    pub(crate) fn send<T>(
        &mut self,
        request: &Request,
        answer: &Answer,
        stop: &AtomicBool,
        under_way: T,
    ) -> io::Result<bool> {
        wait(answer.delay, stop)?;
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        head += &format!("Content-Type: {}\r\n", answer.content_type);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match answer.delivery {
            Delivery::Endless => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
            _ => format!("Content-Length: {}\r\n\r\n", answer.body.len()),
        };
        let part = |bytes: usize| &answer.body[..bytes.min(answer.body.len())];
        match answer.delivery {
            Delivery::Whole => {
                let (last, before) = match answer.body.split_last() {
                    Some((last, before)) => (last, [head.as_bytes(), before]),
                    None => (&b'\n', [&head.as_bytes()[..head.len() - 1], &[]]),
                };
                self.write(&before)?;
                drop(under_way);
                self.write(&[&[*last]])?;
                return Ok(!request.close);
            }
            Delivery::Reset(bytes) => {
                self.write(&[head.as_bytes(), part(bytes)])?;
                socket2::SockRef::from(&*self.socket).set_linger(Some(Duration::ZERO))?;
            }
            Delivery::Cut(bytes) => {
                self.write(&[head.as_bytes(), part(bytes)])?;
                self.socket.shutdown(Shutdown::Both)?;
            }
            Delivery::Drip(bytes_per_second) => {
                self.write(&[head.as_bytes()])?;
                let piece = (bytes_per_second / 100).max(1) as usize;
                let pause = Duration::from_secs_f64(piece as f64 / bytes_per_second as f64);
                for piece in answer.body.chunks(piece) {
                    wait(pause, stop)?;
                    self.write(&[piece])?;
                }
                return Ok(!request.close);
            }
            Delivery::Endless => {
                self.write(&[head.as_bytes()])?;
                let mut chunk = format!("{:x}\r\n", answer.body.len().max(1)).into_bytes();
                chunk.extend_from_slice(if answer.body.is_empty() { b" " } else { &answer.body });
                chunk.extend_from_slice(b"\r\n");
                while !stop.load(Ordering::Relaxed) {
                    self.write(&[&chunk])?;
                }
            }
            Delivery::Hang => {
                self.socket.set_read_timeout(Some(LOOK))?;
                while !stop.load(Ordering::Relaxed) {
                    match self.socket.peek(&mut [0]) {
                        Ok(0) => break,
                        Ok(_) => wait(LOOK, stop)?,
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(false)
    }

    fn write(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        parts.iter().try_for_each(|part| self.stream.write_all(part))?;
        self.stream.flush()
    }
}

/// Sleeps, but not beyond the server's end.
fn wait(pause: Duration, stop: &AtomicBool) -> io::Result<()> {
    let mut left = pause;
    while !left.is_zero() {
        if stop.load(Ordering::Relaxed) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let nap = left.min(LOOK);
        std::thread::sleep(nap);
        left -= nap;
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
