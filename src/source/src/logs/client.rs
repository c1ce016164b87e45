//! HTTP for logs: bounded answers, patience with refusals, no redirects to elsewhere.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::bufread::MultiGzDecoder;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, StatusCode, redirect};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::debug;
use url::{Host, Url};

use super::error::LogError;
use super::operator::Operator;
use crate::retry::{Backoff, Failure, retry_after};

/// Follow-ups to one request, all on the same host.
const REDIRECTS_MAX: usize = 3;
/// The ceilings of the waits after failures.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Refusals of one request after which whoever waits for it is told: nine minutes, at what a refusal asks for itself.
const REFUSALS_MAX: u32 = 100;

/// How logs are asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientOptions {
    /// How the operators of logs can reach whoever runs this: an address or URL, sent as part of the User-Agent.
    pub contact: Option<String>,
    /// PEM certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// From the request to the end of the answer.
    pub timeout: Duration,
    /// Failures in a row after which a request is given up. Refusals for being one too many do not count: of these a
    /// request bears a hundred.
    pub attempts_max: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { contact: None, ca_file: None, timeout: Duration::from_secs(60), attempts_max: 8 }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    attempts_max: u32,
}

impl Client {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, LogError> {
        // Idempotent: the stores of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let product = concat!("ct-stream/", env!("CARGO_PKG_VERSION"));
        let agent = options.contact.as_ref().map_or(product.to_owned(), |contact| format!("{product} ({contact})"));
        let agent = HeaderValue::from_str(&agent).map_err(|_| LogError::Contact)?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let mut builder = reqwest::Client::builder()
            .user_agent(agent)
            .default_headers(headers)
            .timeout(options.timeout)
            .connect_timeout(options.timeout.min(Duration::from_secs(15)))
            .redirect(redirect::Policy::custom(|attempt| {
                let same = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
                if attempt.previous().len() > REDIRECTS_MAX {
                    attempt.error("too many redirects")
                } else if attempt.previous().first().map(same) != Some(same(attempt.url())) {
                    attempt.error("a redirect to another host")
                } else {
                    attempt.follow()
                }
            }));
        for certificate in options.ca_file.as_deref().map(read_ca).transpose()?.unwrap_or_default() {
            builder = builder.add_root_certificate(certificate);
        }
        let http = builder.build().map_err(|source| LogError::Client { source })?;
        Ok(Self { http, attempts_max: options.attempts_max.max(1) })
    }

    /// The body of `url`, at most `bytes_max` also when it comes compressed; `None` when there is no such thing (404, 410).
    ///
    /// Waits its turn, waits when it is told to, and tries again after failures that may pass.
    pub(super) async fn get(
        &self,
        operator: &Operator,
        url: &Url,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, LogError> {
        let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
        let mut refusals = 0;
        loop {
            let turn = operator.turn().await;
            let answer = self.ask(url, bytes_max).await;
            // Said before the turn ends, so that nobody takes it without knowing.
            match &answer {
                Ok(Answer::Refused(_, pause)) => operator.refused(*pause),
                Ok(_) => operator.answered(),
                Err(_) => {}
            }
            drop(turn);
            let failed = match answer {
                Ok(Answer::Body(body)) => return Ok(Some(body)),
                Ok(Answer::Absent) => return Ok(None),
                Ok(Answer::Refused(status, pause)) => {
                    debug!(%url, ?pause, "the operator asks for patience");
                    refusals += 1;
                    if refusals >= REFUSALS_MAX {
                        return Err(LogError::Status { url: url.to_string(), status: status.as_u16() });
                    }
                    continue;
                }
                Err(error) => error,
            };
            if !failed.retry() || backoff.failures() + 1 >= self.attempts_max {
                return Err(failed);
            }
            let random = getrandom::u64().unwrap_or(u64::MAX);
            let wait = backoff.next(Failure::Passing, random);
            debug!(%url, error = %failed, ?wait, "asked again");
            sleep(wait).await;
        }
    }

    async fn ask(&self, url: &Url, bytes_max: usize) -> Result<Answer, LogError> {
        let failed = |source: reqwest::Error| LogError::Request { url: url.to_string(), source: source.without_url() };
        let mut response = self.http.get(url.clone()).send().await.map_err(failed)?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Absent),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let asked = response.headers().get(RETRY_AFTER);
                // 503 without a time is a failure of the log, 429 is a wish of it.
                if status == StatusCode::TOO_MANY_REQUESTS || asked.is_some() {
                    let pause = asked.and_then(|value| retry_after(value.as_bytes(), SystemTime::now()));
                    return Ok(Answer::Refused(status, pause));
                }
                return Err(LogError::Status { url: url.to_string(), status: status.as_u16() });
            }
            _ => return Err(LogError::Status { url: url.to_string(), status: status.as_u16() }),
        }
        let mut body = Vec::new();
        let too_large = || LogError::TooLarge { url: url.to_string(), bytes_max };
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > bytes_max {
                return Err(too_large());
            }
            body.extend_from_slice(&piece);
        }
        // Told by content: some servers compress unasked, some forget to say so. No plain answer of a log begins so.
        if body.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::with_capacity(4 * body.len().min(bytes_max / 4));
            let mut decoder = MultiGzDecoder::new(&body[..]).take(bytes_max as u64 + 1);
            decoder.read_to_end(&mut plain).map_err(|source| LogError::Gzip { url: url.to_string(), source })?;
            if plain.len() > bytes_max {
                return Err(too_large());
            }
            body = plain;
        }
        Ok(Answer::Body(body))
    }
}

enum Answer {
    Body(Vec<u8>),
    Absent,
    /// Not now; after so long, if the operator says.
    Refused(StatusCode, Option<Duration>),
}

fn read_ca(path: &Path) -> Result<Vec<Certificate>, LogError> {
    let failed = |source| LogError::Ca { path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(failed)?;
    Certificate::from_pem_bundle(&pem).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// A base URL of a log, with a slash at the end so that paths can be joined.
pub(super) fn base(text: &str, allow_plaintext: bool) -> Result<Url, LogError> {
    let refuse = |why: &str| LogError::Url { url: text.to_owned(), why: why.to_owned() };
    let mut url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return Err(refuse("it names no host")),
    };
    match url.scheme() {
        "https" => {}
        "http" if allow_plaintext || loopback => {}
        "http" => return Err(refuse("plain http to another machine; set allow_plaintext to read it all the same")),
        _ => return Err(refuse("it must begin with https:// or http://")),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("a query or fragment is no part of a log's URL"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}
