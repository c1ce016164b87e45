//! From a target to an open WebSocket: name, TCP, TLS, handshake (RFC 6455 section 4.1).
//!
//! The handshake is our own, since the library's writes the whole request, with its secrets, to the log at trace level.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::StatusCode;

use super::cut::{Cut, Reason};
use super::options::Target;
use super::text::shown;
use crate::retry::retry_after;

/// Of the answer to a handshake.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// A socket, plain or TLS.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A socket that knows when it last heard something.
pub(super) struct Wire {
    io: Box<dyn Io>,
    heard: Instant,
}

impl Wire {
    /// When the last byte arrived: a message that takes long counts as life, too.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard = Instant::now();
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Opens a connection within `limit`; gives it with what has already arrived behind the handshake.
pub(super) async fn connect(target: &Target, limit: Duration) -> Result<(Wire, Vec<u8>), Cut> {
    let attempt = async {
        let socket = dial(target, limit).await?;
        let io: Box<dyn Io> = match &target.tls {
            None => Box::new(socket),
            Some((tls, server)) => {
                let session = tls.connect(server.clone(), socket).await;
                Box::new(session.map_err(|error| Cut::io(&error))?)
            }
        };
        let mut wire = Wire { io, heard: Instant::now() };
        let early = upgrade(&mut wire, target).await?;
        Ok((wire, early))
    };
    match timeout(limit, attempt).await {
        Ok(done) => done,
        Err(_) => Err(Cut::new(Reason::Timeout, format!("no connection within {limit:?}"))),
    }
}

/// Tries the addresses of the host in turn, none for longer than its share of `limit`.
async fn dial(target: &Target, limit: Duration) -> Result<TcpStream, Cut> {
    let found = lookup_host((target.host.as_str(), target.port)).await;
    let addresses: Vec<_> = found.map_err(|error| Cut::new(Reason::Dns, shown(&error.to_string())))?.collect();
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = Cut::new(Reason::Dns, "the name has no address");
    for address in addresses {
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Pongs and close frames are small and must not wait for each other.
                socket.set_nodelay(true).map_err(|error| Cut::io(&error))?;
                return Ok(socket);
            }
            Ok(Err(error)) => match Cut::io(&error) {
                cut @ Cut { reason: Reason::Refused | Reason::Timeout, .. } => cut,
                cut => Cut { reason: Reason::Unreachable, ..cut },
            },
            Err(_) => Cut::new(Reason::Timeout, format!("{address} did not answer within {share:?}")),
        };
    }
    Err(last)
}

/// Asks for a WebSocket, without any extension or subprotocol.
async fn upgrade(wire: &mut Wire, target: &Target) -> Result<Vec<u8>, Cut> {
    let key = generate_key();
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n",
        target.path_and_query, target.authority
    )
    .into_bytes();
    if !target.headers.iter().any(|(name, _)| name == "user-agent") {
        request.extend_from_slice(concat!("User-Agent: ct-stream/", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes());
    }
    for (name, value) in &target.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            request.extend_from_slice(part);
        }
    }
    request.extend_from_slice(b"\r\n");
    wire.write_all(&request).await.map_err(|error| Cut::io(&error))?;
    wire.flush().await.map_err(|error| Cut::io(&error))?;

    let mut answer = Vec::with_capacity(1 << 10);
    loop {
        if answer.len() >= HEAD_BYTES_MAX {
            return Err(Cut::protocol(format!("the handshake's answer is longer than {HEAD_BYTES_MAX} bytes")));
        }
        let room = HEAD_BYTES_MAX - answer.len();
        if (&mut *wire).take(room as u64).read_buf(&mut answer).await.map_err(|error| Cut::io(&error))? == 0 {
            return Err(Cut::new(Reason::Closed, "the server ended the connection during the handshake"));
        }
        if let Some(head_bytes) = judge(&answer, &key)? {
            return Ok(answer.split_off(head_bytes));
        }
    }
}

/// The length of the answer's head when it is complete and says yes; `None` when it is not complete.
fn judge(answer: &[u8], key: &str) -> Result<Option<usize>, Cut> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(answer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Cut::protocol(format!("the handshake's answer is not HTTP: {error}"))),
    };
    let code = response.code.unwrap_or_default();
    let values = |name: &'static str| {
        response.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    if code != 101 {
        return Err(refusal(code, values("Retry-After").next()));
    }
    let lists = |name, wanted: &str| {
        values(name)
            .any(|value| value.split(|b| *b == b',').any(|v| v.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())))
    };
    if !lists("Upgrade", "websocket") || !lists("Connection", "Upgrade") {
        return Err(Cut::protocol("the handshake's answer does not upgrade to websocket"));
    }
    if !values("Sec-WebSocket-Accept").map(<[u8]>::trim_ascii).eq([derive_accept_key(key.as_bytes()).as_bytes()]) {
        return Err(Cut::protocol("the handshake's answer has a wrong Sec-WebSocket-Accept"));
    }
    if values("Sec-WebSocket-Extensions").chain(values("Sec-WebSocket-Protocol")).next().is_some() {
        return Err(Cut::protocol("the handshake's answer has an extension or subprotocol that was not asked for"));
    }
    Ok(Some(head_bytes))
}

fn refusal(code: u16, wait: Option<&[u8]>) -> Cut {
    let known =
        StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason()).unwrap_or("unknown status");
    let mut cut = Cut::new(Reason::HttpStatus, format!("the server answered {code} {known}"));
    match code {
        300..400 => cut.detail.push_str("; redirects are not followed, name the place itself"),
        429 | 503 => {
            cut.retry_after = wait.and_then(|value| retry_after(value, SystemTime::now()));
            if let Some(wait) = cut.retry_after {
                cut.detail.push_str(&format!(" and asks for {} s", wait.as_secs()));
            }
        }
        _ => {}
    }
    // What a person must put right: a moved or closed feed, missing or wrong credentials. 408, 425 and 429 pass.
    cut.lasting = matches!(code, 300..500) && !matches!(code, 408 | 425 | 429);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and accept of RFC 6455 section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[track_caller]
    fn check(answer: &str, want: Result<Option<usize>, &str>) {
        match (judge(answer.as_bytes(), KEY), want) {
            (Ok(is), Ok(want)) => assert_eq!(is, want),
            (Err(cut), Err(want)) => assert!(cut.detail.contains(want), "{}", cut.detail),
            (is, _) => panic!("{is:?}"),
        }
    }

    #[test]
    fn accepted() {
        check(GOOD, Ok(Some(GOOD.len())));
        check(&format!("{GOOD}\u{1}"), Ok(Some(GOOD.len())));
        for bytes in 0..GOOD.len() {
            check(&GOOD[..bytes], Ok(None));
        }
    }

    #[test]
    fn refused() {
        check(&GOOD.replace("s3p", "S3p"), Err("wrong Sec-WebSocket-Accept"));
        check(&GOOD.replace("Sec-WebSocket-Accept", "X"), Err("wrong Sec-WebSocket-Accept"));
        check(&GOOD.replace("WebSocket\r", "h2c\r"), Err("does not upgrade"));
        check(&GOOD.replace("keep-alive, upgrade", "keep-alive"), Err("does not upgrade"));
        let more = |header| GOOD.replace("Upgrade: W", &format!("{header}\r\nUpgrade: W"));
        check(&more("Sec-WebSocket-Extensions: permessage-deflate"), Err("not asked for"));
        check(&more("Sec-WebSocket-Protocol: x"), Err("not asked for"));
        check(&more("A: b").replace("101", "200"), Err("answered 200 OK"));
        check(&more("Location: ws://elsewhere/").replace("101", "302"), Err("redirects are not followed"));
        check("<html>", Err("not HTTP"));
        check(&more(&"A: b\r\n".repeat(100)), Err("not HTTP"));
    }

    #[test]
    fn what_lasts_and_what_passes() {
        for (code, lasting) in
            [(200, false), (301, true), (401, true), (403, true), (404, true), (408, false), (429, false), (500, false)]
        {
            assert_eq!(refusal(code, None).lasting, lasting, "{code}");
        }
        assert_eq!(refusal(503, Some(b"7")).retry_after, Some(Duration::from_secs(7)));
        assert_eq!(refusal(429, Some(b"soon")).retry_after, None);
        assert_eq!(refusal(500, Some(b"7")).retry_after, None);
        assert!(refusal(999, None).detail.contains("999 unknown"));
    }
}
