//! A connection to a server that speaks RESP2, with bounds.
//!
//! The client library's own connection trusts its server: a wrong length in an answer makes it reserve that much memory,
//! which ends the process, and a server that sends a byte now and then is waited for without end. Here a silence lasts
//! one time-out at most, an exchange [`EXCHANGE_TIMEOUTS`], and an answer has [`ANSWER_BYTES_MAX`].
//! RESP2, because every server speaks it and nothing here needs more.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, Value};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How many time-outs a server may take for everything that was sent at once, be it ever so lively.
const EXCHANGE_TIMEOUTS: u32 = 10;
/// Of the answers to everything that was sent at once.
const ANSWER_BYTES_MAX: u64 = 128 << 20;
/// Of a line: a length, a status, an error.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Lists in lists. What is asked for here has two.
const DEPTH_MAX: u32 = 8;
/// Room that is made before anything has arrived.
const RESERVED_MAX: usize = 1 << 10;

pub(crate) struct Wire {
    io: BufReader<Io>,
    timeout: Duration,
}

enum Io {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A socket whose calls end in time.
struct Timed {
    socket: Socket,
    silence: Duration,
    deadline: Instant,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    /// Connects and authenticates, all within `timeout`, the name's resolution excepted.
    pub(crate) fn open(info: &ConnectionInfo, timeout: Duration) -> Result<Self, RedisError> {
        let mut timed = Timed::connect(info.addr(), timeout)?;
        let io = match info.addr() {
            ConnectionAddr::TcpTls { host, .. } => {
                let server = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(|_| wrong("the host is no name that a certificate can have"))?;
                let mut session = ClientConnection::new(tls()?, server).map_err(io::Error::other)?;
                while session.is_handshaking() {
                    session.complete_io(&mut timed).map_err(in_time)?;
                }
                Io::Tls(Box::new(StreamOwned::new(session, timed)))
            }
            _ => Io::Plain(timed),
        };
        let mut wire = Self { io: BufReader::with_capacity(64 << 10, io), timeout };
        let settings = info.redis_settings();
        let mut commands = Vec::new();
        if let Some(password) = settings.password() {
            commands.push(redis::cmd("AUTH").arg(settings.username()).arg(password).to_owned());
        }
        if settings.db() != 0 {
            commands.push(redis::cmd("SELECT").arg(settings.db()).to_owned());
        }
        let packed: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
        // The deadline of connecting is still on.
        for answer in wire.answers(&packed, commands.len())? {
            answer.extract_error()?;
        }
        Ok(wire)
    }

    /// Sends packed commands and takes the answer to each, errors of the server among them. After an error of its own
    /// the connection is of no use any more: what is still on its way would be taken for the answer to the next command.
    pub(crate) fn exchange(&mut self, packed: &[u8], answers: usize) -> Result<Vec<Value>, RedisError> {
        let timeout = self.timeout;
        let timed = self.io.get_mut().timed();
        timed.deadline = Instant::now() + timeout.saturating_mul(EXCHANGE_TIMEOUTS);
        self.answers(packed, answers)
    }

    fn answers(&mut self, packed: &[u8], answers: usize) -> Result<Vec<Value>, RedisError> {
        self.io.get_mut().write_all(packed).and_then(|()| self.io.get_mut().flush()).map_err(in_time)?;
        let mut bounded = (&mut self.io).take(ANSWER_BYTES_MAX);
        (0..answers).map(|_| read_value(&mut bounded, 0).map_err(|error| in_time(error).into())).collect()
    }
}

impl Io {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Self::Plain(timed) => timed,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Io {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buf),
            Self::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Io {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(buf),
            Self::Tls(stream) => stream.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Timed {
    fn connect(addr: &ConnectionAddr, timeout: Duration) -> io::Result<Self> {
        let started = Instant::now();
        let socket = match addr {
            ConnectionAddr::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                let addresses: Vec<_> = (host.trim_matches(['[', ']']), *port).to_socket_addrs()?.collect();
                let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                let connected = addresses.iter().find_map(|address| {
                    TcpStream::connect_timeout(address, share.max(Duration::from_millis(1)))
                        .map_err(|error| last = in_time(error))
                        .ok()
                });
                let socket = connected.ok_or(last)?;
                socket.set_nodelay(true)?;
                Socket::Tcp(socket)
            }
            _ => return Err(wrong("this kind of address is not known here")),
        };
        Ok(Self { socket, silence: timeout, deadline: started + timeout })
    }

    /// How long the next call may take.
    fn patience(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(self.silence);
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let patience = Some(self.patience()?);
        match &mut self.socket {
            Socket::Tcp(socket) => socket.set_read_timeout(patience).and_then(|()| socket.read(buf)),
            Socket::Unix(socket) => socket.set_read_timeout(patience).and_then(|()| socket.read(buf)),
        }
    }
}

impl Write for Timed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let patience = Some(self.patience()?);
        match &mut self.socket {
            Socket::Tcp(socket) => socket.set_write_timeout(patience).and_then(|()| socket.write(buf)),
            Socket::Unix(socket) => socket.set_write_timeout(patience).and_then(|()| socket.write(buf)),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Trusts what the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name other certificates.
fn tls() -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(wrong("this system has no root certificates; install them (ca-certificates) or set SSL_CERT_FILE"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A socket's time-out has another name and a text that says nothing.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "the server did not answer in time (hot.timeout_ms)")
        }
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the server ended the connection"),
        _ => error,
    }
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads one value. Room is made as bytes arrive, whatever lengths say.
fn read_value(input: &mut impl BufRead, depth: u32) -> io::Result<Value> {
    let line = read_line(input)?;
    let (kind, text) = line.split_first().ok_or_else(|| wrong("an answer is an empty line"))?;
    match kind {
        b'+' if text == b"OK" => Ok(Value::Okay),
        b'+' => Ok(Value::SimpleString(String::from_utf8_lossy(text).into_owned())),
        b':' => Ok(Value::Int(number(text)?)),
        b'$' => {
            let Ok(bytes) = u64::try_from(number(text)?) else { return Ok(Value::Nil) };
            if bytes > ANSWER_BYTES_MAX {
                return Err(wrong("an answer is too long"));
            }
            let mut value = Vec::with_capacity(RESERVED_MAX.min(bytes as usize + 2));
            input.take(bytes + 2).read_to_end(&mut value)?;
            if value.len() as u64 != bytes + 2 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if value.split_off(bytes as usize) != b"\r\n" {
                return Err(wrong("a text in an answer has another length than it says"));
            }
            Ok(Value::BulkString(value))
        }
        b'*' => {
            let Ok(items) = usize::try_from(number(text)?) else { return Ok(Value::Nil) };
            if depth >= DEPTH_MAX {
                return Err(wrong("an answer is nested too deeply"));
            }
            let mut values = Vec::with_capacity(RESERVED_MAX.min(items));
            for _ in 0..items {
                values.push(read_value(input, depth + 1)?);
            }
            Ok(Value::Array(values))
        }
        b'-' => {
            let mut line = line;
            line.extend(b"\r\n");
            // The library knows the servers' kinds of errors.
            redis::parse_redis_value(&line).map_err(|_| wrong("an error in an answer is not legible"))
        }
        _ => Err(wrong("an answer is not RESP: something else than a Redis server listens there")),
    }
}

/// A line without its end.
fn read_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.as_slice() {
        [.., b'\r', b'\n'] => line.truncate(line.len() - 2),
        [.., b'\n'] => return Err(wrong("a line of an answer does not end as RESP wants")),
        line if line.len() as u64 == LINE_BYTES_MAX => return Err(wrong("a line of an answer is too long")),
        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    Ok(line)
}

fn number(text: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("an answer has no number where one belongs"))
}

/// Where a Sentinel says the server is that takes writes.
pub(crate) fn master_of(sentinel: &ConnectionInfo, name: &str, timeout: Duration) -> Result<(String, u16), RedisError> {
    let mut wire = Wire::open(sentinel, timeout)?;
    let question = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).get_packed_command();
    let answer = wire.exchange(&question, 1)?.pop().expect("one answer was taken").extract_error()?;
    let place: Option<(String, u16)> = redis::from_redis_value(answer)?;
    place.ok_or_else(|| (ErrorKind::InvalidClientConfig, "the Sentinel knows no server of this name").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Value, String> {
        read_value(&mut &bytes[..], 0).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(bytes: &[u8], want: Value) {
        assert_eq!(read(bytes), Ok(want));
        for short in 0..bytes.len() {
            assert!(read(&bytes[..short]).is_err(), "{short} bytes");
        }
    }
    #[test]
    fn values() {
        let text = |text: &str| Value::BulkString(text.into());
        check(b"+OK\r\n", Value::Okay);
        check(b"+QUEUED\r\n", Value::SimpleString("QUEUED".to_owned()));
        check(b":-7\r\n", Value::Int(-7));
        check(b"$-1\r\n", Value::Nil);
        check(b"$0\r\n\r\n", text(""));
        check(b"$4\r\n\r\n\0x\r\n", text("\r\n\0x"));
        check(b"*-1\r\n", Value::Nil);
        check(b"*0\r\n", Value::Array(vec![]));
        check(b"*2\r\n$1\r\na\r\n*1\r\n:5\r\n", Value::Array(vec![text("a"), Value::Array(vec![Value::Int(5)])]));
    }

    #[test]
    fn errors_of_the_server_are_values() {
        let Ok(Value::ServerError(error)) = read(b"-READONLY You can't write\r\n") else { panic!("an error") };
        assert_eq!((error.code(), error.details()), ("READONLY", Some("You can't write")));
        let error = read(b"-MOVED 3999 127.0.0.1:6381\r\n").unwrap().extract_error().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server(redis::ServerErrorKind::Moved));
        assert!(matches!(read(b"-\r\n"), Ok(Value::ServerError(_)) | Err(_)));
    }

    #[test]
    fn garbage_is_refused_in_little_memory() {
        let nested = b"*1\r\n".repeat(100_000);
        let endless = [b"+".to_vec(), b"x".repeat(1 << 20)].concat();
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"\r\n",
            b"$9223372036854775807\r\n",
            b"*9223372036854775807\r\n",
            b"*4611686018427387904\r\n:1\r\n",
            b"$99999999999999999999\r\n",
            b"$3\r\nabcd\r\n",
            b"$x\r\n",
            b":1\n",
            b"%1\r\n:1\r\n:2\r\n",
            b"\xff\xfe\r\n",
            &nested,
            &endless,
        ] {
            assert!(read(bytes).is_err(), "{}", bytes[..bytes.len().min(40)].escape_ascii());
        }
    }
}
