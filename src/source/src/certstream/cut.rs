//! Why there is no connection: attempts that failed and connections that ended.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::text::shown;
use crate::retry::Failure;

/// Why frames may be missing, or why there is no connection. Written down as [`Reason::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The first connection of this run.
    Started,
    /// Nobody listens.
    Refused,
    /// No way to the host, or it does not answer.
    Unreachable,
    /// The connection did not come about in time.
    Timeout,
    /// The host name could not be resolved.
    Dns,
    /// No TLS session, above all a certificate that is not trusted.
    Tls,
    /// The handshake was answered with another status than 101.
    HttpStatus,
    /// The server broke RFC 6455 or HTTP.
    Protocol,
    /// A message over the limit.
    TooLarge,
    /// The server ended the connection, with a close frame or without.
    Closed,
    /// The connection was reset.
    Reset,
    /// Nothing arrived any more, not even pongs.
    Idle,
    /// The server ended the connection just after we had not read from it for a while.
    StalledByUs,
}

impl Reason {
    /// A fixed word, the same in every release.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::HttpStatus => "http_status",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::StalledByUs => "stalled_by_us",
        }
    }
}

/// The end of a connection, or of the attempt at one.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) reason: Reason,
    /// One line, escaped.
    pub(super) detail: String,
    /// What the server is told, if it still listens.
    pub(super) close: Option<CloseCode>,
    /// The server asked to be left alone for so long.
    pub(super) retry_after: Option<Duration>,
    /// Trying again soon will not help.
    pub(super) lasting: bool,
}

impl Cut {
    pub(super) fn failure(&self) -> Failure {
        match self.retry_after {
            Some(wait) => Failure::SentAway(wait),
            None if self.lasting => Failure::Lasting,
            None => Failure::Passing,
        }
    }

    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), close: None, retry_after: None, lasting: false }
    }

    pub(super) fn protocol(detail: impl Into<String>) -> Self {
        Self { close: Some(CloseCode::Protocol), ..Self::new(Reason::Protocol, detail) }
    }

    /// An error of the socket or the TLS session above it.
    pub(super) fn io(error: &io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::new(Reason::Tls, shown(&error.to_string()));
        }
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => Reason::Refused,
            io::ErrorKind::UnexpectedEof => Reason::Closed,
            io::ErrorKind::TimedOut => Reason::Timeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
                Reason::Unreachable
            }
            _ => Reason::Reset,
        };
        Self::new(reason, shown(&error.to_string()))
    }
}

impl From<tungstenite::Error> for Cut {
    /// An error from reading frames. The close codes are those of RFC 6455 section 7.4.1.
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::Error;
        match error {
            Error::Io(error) => Self::io(&error),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::new(Reason::Closed, "the server ended the connection without a close frame")
            }
            Error::Capacity(error) => {
                Self { close: Some(CloseCode::Size), ..Self::new(Reason::TooLarge, shown(&error.to_string())) }
            }
            Error::Utf8(_) => Self {
                close: Some(CloseCode::Invalid),
                ..Self::new(Reason::Protocol, "a text message or a close reason is not UTF-8")
            },
            error => {
                // The outer text only says that the protocol was broken.
                let inner = error.source().map(ToString::to_string);
                Self::protocol(shown(&inner.unwrap_or_else(|| error.to_string())))
            }
        }
    }
}
