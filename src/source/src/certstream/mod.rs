//! A client for CertStream feeds: one task and one thread a feed, in a collector process.
//!
//! It connects, hands on every message as it came, and connects again for ever. What always holds:
//! - A frame that arrived whole is sent once, in order, before anything that is said about the connection's end.
//! - Frames may be missing only within a [`Gap`], or between the last frame and the end of the run: a feed cannot be asked
//!   again. A gap is sent before the frame that ends it.
//! - Memory is bounded by the options and the channel, whatever the server sends. When the channel is full, the socket is
//!   read no further, and the server feels it.

mod connect;
mod connection;
mod cut;
mod error;
mod options;
mod text;

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{debug, info, warn};

use self::connect::connect;
use self::connection::{Connection, now_ms};
use self::options::Target;

use crate::retry::Backoff;

pub use self::connection::Frame;
pub use self::cut::Reason;
pub use self::error::{FeedError, NoConnection};
pub use self::options::FeedOptions;

/// For what is left to say when the run ends and the channel is full.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);

/// What a feed says, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What has arrived since the last event; never empty. At most 256 KiB and one message, and 1,024 frames.
    Frames(Vec<Frame>),
    Gap(Gap),
    State(State),
}

/// A time in which frames may have been missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the last frame before it arrived, in Unix milliseconds. `None`: none is known.
    pub from_ms: Option<i64>,
    /// When the first frame after it arrived, or the run was stopped; never before `from_ms`.
    pub to_ms: i64,
    /// What it began with; attempts that failed later are in `detail`.
    pub reason: Reason,
    /// One line, escaped and bounded, without secrets.
    pub detail: String,
}

/// Where a feed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Connecting,
    /// The handshake is done; frames have not come yet.
    Connected,
    /// The next attempt is made after `wait`.
    Waiting {
        wait: Duration,
        /// Attempts and short-lived connections since a good one.
        failures: u32,
        /// Of the last of them.
        reason: Reason,
    },
}

/// A feed with checked options. `Debug` shows its name and its URL without credentials and query.
pub struct Feed {
    options: FeedOptions,
    target: Target,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("name", &self.target.name).field("url", &self.target.url).finish_non_exhaustive()
    }
}

impl Feed {
    /// Checks the options and loads the certificates to trust; connects to nothing.
    pub fn new(options: FeedOptions) -> Result<Self, FeedError> {
        options::check_limits(&options)?;
        let target = Target::new(&options)?;
        Ok(Self { options, target })
    }

    /// Its URL without credentials and query, escaped.
    pub fn url(&self) -> &str {
        &self.target.url
    }

    /// One attempt: name, TCP, TLS and handshake within `limit`, and a close frame. No message is waited for.
    ///
    /// Needs a tokio runtime with I/O and time.
    pub async fn probe(self, limit: Duration) -> Result<(), NoConnection> {
        match connect(&self.target, limit).await {
            Ok((wire, early)) => {
                Connection::new(wire, early, &self.options).await.close(Some(CloseCode::Normal)).await;
                Ok(())
            }
            Err(cut::Cut { reason, detail, .. }) => Err(NoConnection { reason, detail }),
        }
    }

    /// Runs until `stop` holds `true` or its sender is gone, or until nobody receives.
    ///
    /// `last_ms`: when the last frame known of an earlier run arrived, in Unix milliseconds; the first gap begins there.
    /// Stopped, it closes the connection and ends within about two seconds, also while the channel is full; frames that
    /// nobody then takes are lost, which is why the next run begins with a gap.
    ///
    /// Needs a tokio runtime with I/O and time, best one of a thread of its own: between reads it sleeps for some
    /// milliseconds.
    pub async fn run(self, out: mpsc::Sender<Event>, stop: watch::Receiver<bool>, last_ms: Option<i64>) {
        let Self { options, target } = self;
        let backoff = Backoff::new(options.backoff_first, options.backoff_max);
        let outage = Some(Outage::new(last_ms, Reason::Started, "first connection".to_owned()));
        let mut run = Run { options, target, out, stop, backoff, last_ms, outage, warned: None };
        let Err(Stopped) = run.until_stopped().await;
        run.last_words().await;
    }
}

/// The run is to end.
struct Stopped;

/// A gap that has not ended.
struct Outage {
    from_ms: Option<i64>,
    reason: Reason,
    detail: String,
    /// Attempts that failed since then, and connections that brought no frame.
    failed: u32,
    last_failure: String,
}

impl Outage {
    fn new(from_ms: Option<i64>, reason: Reason, detail: String) -> Self {
        Self { from_ms, reason, detail, failed: 0, last_failure: String::new() }
    }

    fn end(self, at_ms: i64) -> Gap {
        let Self { from_ms, reason, mut detail, failed, last_failure } = self;
        if failed > 0 {
            detail = format!("{detail}; then {failed} failures, the last: {last_failure}");
        }
        // The clock may have been set back.
        Gap { from_ms, to_ms: from_ms.map_or(at_ms, |from_ms| at_ms.max(from_ms)), reason, detail }
    }
}

struct Run {
    options: FeedOptions,
    target: Target,
    out: mpsc::Sender<Event>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    /// When the last frame arrived.
    last_ms: Option<i64>,
    outage: Option<Outage>,
    /// What the log was last warned of.
    warned: Option<Reason>,
}

impl Run {
    async fn until_stopped(&mut self) -> Result<Infallible, Stopped> {
        loop {
            debug!(feed = self.target.name, url = self.target.url, "connecting");
            self.announce(State::Connecting).await?;
            let opened = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Err(Stopped),
                opened = connect(&self.target, self.options.connect_timeout) => opened,
            };
            let cut = match opened {
                Ok((wire, early)) => {
                    let mut connection = Connection::new(wire, early, &self.options).await;
                    let ended = self.pass_on(&mut connection).await;
                    let code = ended.as_ref().map_or(Some(CloseCode::Away), |cut| cut.close);
                    // A dead connection takes no close frame, and a cut one has nobody to read it.
                    if !matches!(&ended, Ok(cut::Cut { reason: Reason::Idle | Reason::Reset, .. })) {
                        connection.close(code).await;
                    }
                    ended?
                }
                Err(cut) => cut,
            };
            self.pause(cut).await?;
        }
    }

    /// Hands on what arrives, until the connection ends.
    async fn pass_on(&mut self, connection: &mut Connection) -> Result<cut::Cut, Stopped> {
        info!(feed = self.target.name, url = self.target.url, "connected");
        self.send(Event::State(State::Connected), connection).await?;
        let since = Instant::now();
        let mut delivered = false;
        loop {
            let (frames, cut) = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Err(Stopped),
                received = connection.receive() => received,
            };
            if let (Some(first), Some(last)) = (frames.first(), frames.last()) {
                let (first_ms, last_ms) = (first.at_ms, last.at_ms);
                delivered = true;
                if let Some(outage) = self.outage.take() {
                    self.warned = None;
                    self.send(Event::Gap(outage.end(first_ms)), connection).await?;
                }
                self.last_ms = Some(last_ms);
                self.send(Event::Frames(frames), connection).await?;
            }
            if let Some(cut) = cut {
                if delivered {
                    self.backoff.delivered(since.elapsed());
                }
                return Ok(cut);
            }
        }
    }

    /// Sends, and keeps the connection alive while the channel is full.
    async fn send(&mut self, event: Event, connection: &mut Connection) -> Result<(), Stopped> {
        let event = match self.out.try_send(event) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(event)) => event,
            Err(TrySendError::Closed(_)) => return Err(Stopped),
        };
        let since = Instant::now();
        let room = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => {
                // What has arrived is still handed on if somebody takes it.
                let _ = timeout(LAST_WORDS_WAIT, self.out.send(event)).await;
                return Err(Stopped);
            }
            room = self.out.reserve() => room,
            never = connection.keep_alive() => match never {},
        };
        room.map_err(|_| Stopped)?.send(event);
        connection.resumed(since.elapsed());
        Ok(())
    }

    /// Waits before the next attempt.
    async fn pause(&mut self, cut: cut::Cut) -> Result<(), Stopped> {
        // Without randomness the wait is the whole ceiling.
        let wait = self.backoff.next(cut.failure(), getrandom::u64().unwrap_or(u64::MAX));
        let (failures, reason) = (self.backoff.failures(), cut.reason);
        let Target { name, url, .. } = &self.target;
        let (word, wait_ms) = (reason.as_str(), wait.as_millis());
        if self.warned == Some(reason) {
            debug!(feed = name, url, reason = word, failures, wait_ms, "still no connection: {}", cut.detail);
        } else {
            warn!(feed = name, url, reason = word, failures, wait_ms, "no connection: {}", cut.detail);
            self.warned = Some(reason);
        }
        match &mut self.outage {
            None => self.outage = Some(Outage::new(self.last_ms, reason, cut.detail)),
            Some(outage) => {
                outage.failed = outage.failed.saturating_add(1);
                outage.last_failure = cut.detail;
            }
        }
        self.announce(State::Waiting { wait, failures, reason }).await?;
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => Err(Stopped),
            () = sleep(wait) => Ok(()),
        }
    }

    async fn announce(&mut self, state: State) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => Err(Stopped),
            sent = self.out.send(Event::State(state)) => sent.map_err(|_| Stopped),
        }
    }

    /// Reports the gap that the run leaves behind, if it ends without a connection that delivers.
    async fn last_words(mut self) {
        if let Some(outage) = self.outage.take() {
            let gap = outage.end(now_ms());
            // If nobody takes it, the next run's first gap covers it.
            let _ = timeout(LAST_WORDS_WAIT, self.out.send(Event::Gap(gap))).await;
        }
    }
}

/// Until told to stop; nobody left to tell means the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
