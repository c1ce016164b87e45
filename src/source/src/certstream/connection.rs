//! An open WebSocket: reads messages in batches, answers and sends pings, finds out that the other side is gone.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::connect::Wire;
use super::cut::{Cut, Reason};
use super::options::FeedOptions;
use super::text::shown;

/// Read from the socket at a time.
const READ_BYTES: usize = 64 << 10;
/// Pongs and pings that the server does not take. What comes on top replaces the last one, as RFC 6455 section 5.5.3 allows.
const UNSENT_BYTES_MAX: usize = 16 << 10;
/// A batch is handed on when it is as large, or nothing more is there.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_FRAMES_MAX: usize = 1 << 10;
/// How long a socket is left alone when all was read from it: messages that come one by one are then read, handed on and
/// written down together, which costs a fraction. The thread sleeps: a task that waits is woken by every packet.
const REST: Duration = Duration::from_millis(6);
/// From this rate on there are no rests, in bytes a second.
const RESTFUL_BYTES_PER_S: f64 = (7 << 20) as f64;
/// Nor when so much is there after one: that is nearly the window of a new connection, so the server may have waited.
const RESTFUL_BYTES: usize = 56 << 10;
/// Over which the rate is taken.
const RATE_EVERY: Duration = Duration::from_millis(100);
/// For the close frame to go out, and for the server to hang up.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// One message of a feed, text or binary, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was read from the socket, in Unix milliseconds.
    pub at_ms: i64,
    pub bytes: Bytes,
}

pub(super) struct Connection {
    socket: WebSocketStream<Wire>,
    batch: Vec<Frame>,
    ping_interval: Duration,
    idle_timeout: Duration,
    /// The next ping, or the moment by which something must have arrived, whichever comes first.
    due: Pin<Box<Sleep>>,
    ping_at: Instant,
    /// Before this we did not read, so silence says nothing about the server.
    reading_since: Instant,
    /// For how long we last did not read, if it was long, up to `reading_since`.
    stalled: Option<Duration>,
    pace: Pace,
}

impl Connection {
    pub(super) async fn new(wire: Wire, early: Vec<u8>, options: &FeedOptions) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(UNSENT_BYTES_MAX)
            .max_message_size(Some(options.message_bytes_max))
            .max_frame_size(Some(options.message_bytes_max));
        let now = Instant::now();
        let FeedOptions { ping_interval, idle_timeout, .. } = *options;
        Self {
            socket: WebSocketStream::from_partially_read(wire, early, Role::Client, Some(config)).await,
            batch: Vec::new(),
            ping_interval,
            idle_timeout,
            due: Box::pin(sleep_until(now + ping_interval)),
            ping_at: now + ping_interval,
            reading_since: now,
            stalled: None,
            pace: Pace { rest_until: None, since: now, bytes: 0, drained_bytes: 0, is_fast: false },
        }
    }

    /// Waits for messages; gives those that are there, and the end of the connection when it has come behind them.
    ///
    /// May be dropped and called again: nothing is lost.
    pub(super) async fn receive(&mut self) -> (Vec<Frame>, Option<Cut>) {
        if let Some(until) = self.pace.rest_until {
            // What came before is passed on first.
            yield_now().await;
            thread::sleep(until.saturating_duration_since(Instant::now()));
            self.pace.rest_until = None;
        }
        let cut = poll_fn(|cx| {
            // What has arrived comes before the clock: when the process was stopped for a while, both are due.
            let batch = self.poll_batch(cx);
            let mut dead = None;
            while dead.is_none() && self.due.as_mut().poll(cx).is_ready() {
                dead = self.tick();
            }
            match batch {
                Poll::Ready(cut) => Poll::Ready(cut.or(dead)),
                Poll::Pending => dead.map_or(Poll::Pending, |cut| Poll::Ready(Some(cut))),
            }
        })
        .await;
        let cut = cut.map(|cut| self.blamed(cut));
        (std::mem::take(&mut self.batch), cut)
    }

    /// Ready when the batch holds something and nothing more is there, or it is full, or the connection has ended.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Cut>> {
        let mut bytes = 0;
        while bytes < BATCH_BYTES && self.batch.len() < BATCH_FRAMES_MAX {
            let next = match self.socket.poll_next_unpin(cx) {
                Poll::Pending => {
                    // Of many pongs the library may leave the last one unsent. An error is met again when reading.
                    let _ = self.socket.poll_flush_unpin(cx);
                    if self.batch.is_empty() {
                        return Poll::Pending;
                    }
                    self.pace.drained(Instant::now());
                    break;
                }
                Poll::Ready(next) => next,
            };
            match next {
                Some(Ok(Message::Text(text))) => bytes += self.push(text.into()),
                Some(Ok(Message::Binary(body))) => bytes += self.push(body),
                Some(Ok(Message::Close(said))) => return Poll::Ready(Some(said_goodbye(said))),
                // The library has queued the pong, and sends it with the next call.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(error.into())),
                None => return Poll::Ready(Some(Error::ConnectionClosed.into())),
            }
        }
        Poll::Ready(None)
    }

    fn push(&mut self, bytes: Bytes) -> usize {
        let length = bytes.len();
        self.pace.bytes += length;
        self.batch.push(Frame { at_ms: now_ms(), bytes });
        length
    }

    /// The timer went off.
    fn tick(&mut self) -> Option<Cut> {
        let now = Instant::now();
        let late = now.saturating_duration_since(self.due.deadline());
        if late >= self.stall_min() {
            // The process was stopped, or the machine slept.
            self.resumed(late);
        }
        let heard = self.socket.get_ref().heard().max(self.reading_since);
        let dead_at = heard + self.idle_timeout;
        if now >= dead_at {
            return Some(Cut::new(Reason::Idle, format!("nothing arrived for {:?}", self.idle_timeout)));
        }
        if now >= self.ping_at
            && let Err(error) = self.ping()
        {
            return Some(error.into());
        }
        self.due.as_mut().reset(self.ping_at.min(dead_at));
        None
    }

    /// Sends a ping, and whatever waits to be sent, as far as the socket takes it: never waits.
    fn ping(&mut self) -> Result<(), Error> {
        self.ping_at = Instant::now() + self.ping_interval;
        let mut cx = Context::from_waker(Waker::noop());
        if self.socket.poll_ready_unpin(&mut cx)?.is_ready() {
            match self.socket.start_send_unpin(Message::Ping(Bytes::new())) {
                // The server takes nothing: `idle_timeout` decides.
                Ok(()) | Err(Error::WriteBufferFull(_)) => {}
                Err(error) => return Err(error),
            }
        }
        match self.socket.poll_flush_unpin(&mut cx) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }

    /// Pings for ever, for the time when nothing may be read: some servers drop a client that says nothing.
    pub(super) async fn keep_alive(&mut self) -> Infallible {
        loop {
            sleep_until(self.ping_at).await;
            // An error will be met again when reading, behind the messages that arrived before it.
            let _ = self.ping();
        }
    }

    /// We read again, after not having done so for `stalled`.
    pub(super) fn resumed(&mut self, stalled: Duration) {
        self.reading_since = Instant::now();
        if stalled >= self.stall_min() {
            self.stalled = Some(stalled);
        }
    }

    /// From here on, not reading is worth mentioning. Servers drop a client that blocks them for some ten seconds.
    fn stall_min(&self) -> Duration {
        self.ping_interval / 2
    }

    /// The server hung up while it was reading what it had piled up for us: then we were the reason, as far as one can tell.
    fn blamed(&self, cut: Cut) -> Cut {
        match (cut.reason, self.stalled) {
            (Reason::Closed | Reason::Reset, Some(stalled)) if self.reading_since.elapsed() < self.idle_timeout => {
                let detail = format!("nothing was read for {stalled:.1?}, then: {}", cut.detail);
                Cut { reason: Reason::StalledByUs, detail, ..cut }
            }
            _ => cut,
        }
    }

    /// Says why, answers the server's close frame, and waits a little for it to hang up: whoever hangs up on unread
    /// bytes resets the connection, and the close frame may be lost with it.
    pub(super) async fn close(mut self, code: Option<CloseCode>) {
        let farewell = async {
            let said = match code {
                Some(code) => self.socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await,
                None => self.socket.flush().await,
            };
            if said.is_err() {
                return;
            }
            let mut rest = vec![0; READ_BYTES];
            while let Ok(1..) = self.socket.get_mut().read(&mut rest).await {}
        };
        // Too late is fine: the connection is dropped all the same.
        let _ = timeout(CLOSE_WAIT, farewell).await;
    }
}

/// Decides when to rest.
struct Pace {
    rest_until: Option<Instant>,
    /// What arrived since then.
    since: Instant,
    bytes: usize,
    /// Of these, what had arrived when all was read before.
    drained_bytes: usize,
    is_fast: bool,
}

impl Pace {
    /// All is read for now.
    fn drained(&mut self, now: Instant) {
        let waited = self.bytes - self.drained_bytes >= RESTFUL_BYTES;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= RATE_EVERY {
            self.is_fast = self.bytes as f64 > RESTFUL_BYTES_PER_S * elapsed.as_secs_f64();
            (self.since, self.bytes) = (now, 0);
        }
        self.is_fast |= waited;
        self.drained_bytes = self.bytes;
        self.rest_until = (!self.is_fast).then_some(now + REST);
    }
}

fn said_goodbye(said: Option<CloseFrame>) -> Cut {
    let detail = match said {
        None => "the server closed".to_owned(),
        Some(CloseFrame { code, reason }) if reason.is_empty() => format!("the server closed with {code}"),
        Some(CloseFrame { code, reason }) => format!("the server closed with {code}: {}", shown(&reason)),
    };
    Cut::new(Reason::Closed, detail)
}

/// Unix milliseconds; a clock before 1970 reads as 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
