//! What a feed is told, and what is made of it once: everything that can be wrong is found here, not at night.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use url::{Host, Position, Url};

use super::error::FeedError;
use super::text::shown;

/// One feed. `Debug` leaves out what may be secret.
#[derive(Clone)]
pub struct FeedOptions {
    /// As it stands in the configuration and in the lake.
    pub name: String,
    /// `wss://` or `ws://`, without credentials. The query is taken for a secret, the path is not.
    pub url: String,
    /// Sent with every handshake, such as `Authorization`.
    pub headers: Vec<(String, String)>,
    /// PEM certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// `ws://` to another host than this one.
    pub allow_plaintext: bool,
    /// Of one message. A connection takes about twice as much memory at most, three times when fragments are as large.
    pub message_bytes_max: usize,
    /// From the name to the end of the handshake.
    pub connect_timeout: Duration,
    /// Between our pings.
    pub ping_interval: Duration,
    /// No byte arrived for so long, though we pinged: the connection is dead.
    pub idle_timeout: Duration,
    /// The ceiling of the wait after a first failure.
    pub backoff_first: Duration,
    /// The ceiling of all waits that the server did not ask for.
    pub backoff_max: Duration,
}

impl FeedOptions {
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            headers: Vec::new(),
            ca_file: None,
            allow_plaintext: false,
            message_bytes_max: 4 << 20,
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(25),
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for FeedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| shown(name)).collect();
        f.debug_struct("FeedOptions")
            .field("name", &shown(&self.name))
            .field("url", &redacted(&self.url))
            .field("headers", &headers)
            .field("ca_file", &self.ca_file)
            .field("allow_plaintext", &self.allow_plaintext)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("connect_timeout", &self.connect_timeout)
            .field("ping_interval", &self.ping_interval)
            .field("idle_timeout", &self.idle_timeout)
            .field("backoff_first", &self.backoff_first)
            .field("backoff_max", &self.backoff_max)
            .finish()
    }
}

/// Where a feed is, and what it is asked for.
pub(super) struct Target {
    /// Escaped and redacted: for logs and errors.
    pub(super) name: String,
    pub(super) url: String,
    /// To be resolved; an IPv6 address has no brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Of the request line and the `Host` header.
    pub(super) path_and_query: String,
    pub(super) authority: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Target {
    pub(super) fn new(options: &FeedOptions) -> Result<Self, FeedError> {
        let name = shown(&options.name);
        let refuse =
            |why: &str| FeedError::Url { feed: name.clone(), url: redacted(&options.url), why: why.to_owned() };
        let url = Url::parse(&options.url).map_err(|error| refuse(&error.to_string()))?;
        let plain = match url.scheme() {
            "ws" => true,
            "wss" => false,
            _ => return Err(refuse("it must begin with wss:// or ws://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it holds a user name or password; put them into a header"));
        }
        if url.fragment().is_some() {
            // RFC 6455 section 3.
            return Err(refuse("it has a fragment; write # as %23"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(refuse("it names no host"));
        };
        if plain && !options.allow_plaintext && !is_loopback(&host) {
            return Err(FeedError::Plaintext { feed: name, url: redacted(&options.url) });
        }
        let bad_name = |_| refuse("its host is not a DNS name");
        let server = match host {
            Host::Domain(domain) => ServerName::try_from(domain.to_owned()).map_err(bad_name)?,
            Host::Ipv4(ip) => ServerName::IpAddress(ip.into()),
            Host::Ipv6(ip) => ServerName::IpAddress(ip.into()),
        };
        let host = match host {
            Host::Domain(domain) => domain.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let tls = if plain { None } else { Some((connector(&name, options.ca_file.as_deref())?, server)) };
        Ok(Self {
            url: redacted(&options.url),
            host,
            port,
            tls,
            path_and_query: url[Position::BeforePath..Position::AfterQuery].to_owned(),
            authority: url[Position::BeforeHost..Position::AfterPort].to_owned(),
            headers: headers(&name, &options.headers)?,
            name,
        })
    }
}

/// Anything that is not a limit is checked by [`Target::new`].
pub(super) fn check_limits(options: &FeedOptions) -> Result<(), FeedError> {
    let refuse = |key, why| Err(FeedError::Limit { feed: shown(&options.name), key, why });
    if options.message_bytes_max == 0 {
        return refuse("message_bytes_max", "it must be at least 1");
    }
    if options.connect_timeout.is_zero() {
        return refuse("connect_timeout", "it must be more than nothing");
    }
    if options.ping_interval.is_zero() {
        return refuse("ping_interval", "it must be more than nothing");
    }
    if options.idle_timeout <= options.ping_interval {
        return refuse("idle_timeout", "it must be longer than ping_interval, or every quiet feed is cut");
    }
    if options.backoff_first.is_zero() {
        return refuse("backoff_first", "it must be more than nothing");
    }
    if options.backoff_max < options.backoff_first {
        return refuse("backoff_max", "it must be at least backoff_first");
    }
    Ok(())
}

/// Scheme, host, port and path of a URL: neither credentials nor query.
fn redacted(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "(not a URL)".to_owned() };
    let query = if url.query().is_some() { "?…" } else { "" };
    let text = format!(
        "{}://{}{}{query}",
        url.scheme(),
        &url[Position::BeforeHost..Position::AfterPort],
        &url[Position::BeforePath..Position::AfterPath],
    );
    shown(&text)
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(domain) => *domain == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn headers(feed: &str, given: &[(String, String)]) -> Result<Vec<(HeaderName, HeaderValue)>, FeedError> {
    let mut headers = Vec::with_capacity(given.len());
    for (name, value) in given {
        let refuse = |why| FeedError::Header { feed: feed.to_owned(), name: shown(name), why };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("it is not a name of a header"))?;
        let ours =
            matches!(parsed.as_str(), "host" | "connection" | "upgrade" | "content-length" | "transfer-encoding");
        if ours || parsed.as_str().starts_with("sec-websocket-") {
            return Err(refuse("the handshake sets it"));
        }
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| refuse("its value has a line break, another control character or more than ASCII"))?;
        value.set_sensitive(true);
        headers.push((parsed, value));
    }
    Ok(headers)
}

fn connector(feed: &str, ca_file: Option<&Path>) -> Result<TlsConnector, FeedError> {
    let mut roots = RootCertStore::empty();
    // Some of a system's roots may be unreadable or of an old form; what is left is what other programs trust, too.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let failed = |source| FeedError::CaFile { feed: feed.to_owned(), path: path.to_owned(), source };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| failed(io::Error::other(error)))?;
        if certificates.is_empty() {
            return Err(failed(io::Error::other("no certificate in it")));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| failed(io::Error::other(error)))?;
        }
    }
    if roots.is_empty() {
        return Err(FeedError::NoRoots { feed: feed.to_owned() });
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| FeedError::Tls { feed: feed.to_owned(), source })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A WebSocket over HTTP/2 (RFC 8441) is another handshake.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, want: Result<(&str, u16, &str, &str), &str>) {
        let target = Target::new(&FeedOptions { allow_plaintext: true, ..FeedOptions::new("f", url) });
        match (target, want) {
            (Ok(target), Ok(want)) => {
                assert_eq!((&*target.host, target.port, &*target.authority, &*target.path_and_query), want);
            }
            (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
            (target, _) => panic!("{url}: {:?}", target.map(|target| target.url)),
        }
    }

    #[test]
    fn urls() {
        check("ws://Feed.example", Ok(("feed.example", 80, "feed.example", "/")));
        check("ws://feed.example:4000/full-stream", Ok(("feed.example", 4000, "feed.example:4000", "/full-stream")));
        check("ws://feed.example:80/?domain=a b", Ok(("feed.example", 80, "feed.example", "/?domain=a%20b")));
        check("ws://[::1]:81/x", Ok(("::1", 81, "[::1]:81", "/x")));
        check("ws://bücher.example/\r\nx", Ok(("xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/x")));
    }

    #[test]
    fn bad_urls() {
        check("http://feed.example", Err("must begin with wss://"));
        check("feed.example", Err("url (not a URL): relative URL without a base"));
        check("ws://", Err("empty host"));
        check("ws://a/#b", Err("fragment"));
    }

    #[test]
    fn a_secret_in_a_url_is_not_shown() {
        for url in
            ["ws://u:hunter2@a/", "ws://hunter2@a/", "ws://a/?t=hunter2#x", "http://hunter2:x@a/?hunter2", "x hunter2"]
        {
            let options = FeedOptions::new("f", url);
            let error = Target::new(&options).err().unwrap();
            let text = format!("{error} {error:?} {options:?}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn plain_text_only_to_this_host_unless_allowed() {
        for url in ["ws://localhost:1/", "ws://127.0.0.1/", "ws://127.8.8.8/", "ws://[::1]/"] {
            assert!(Target::new(&FeedOptions::new("f", url)).is_ok(), "{url}");
        }
        for url in ["ws://feed.example/?k=v", "ws://10.0.0.1/", "ws://localhost.example/", "ws://[::ffff:10.0.0.1]/"] {
            let error = Target::new(&FeedOptions::new("f", url)).err().unwrap();
            assert!(error.to_string().contains("set allow_plaintext"), "{error}");
        }
    }

    #[track_caller]
    fn check_header(name: &str, value: &str, want: Option<&str>) {
        let headers = vec![(name.to_owned(), value.to_owned())];
        let error = Target::new(&FeedOptions { headers, ..FeedOptions::new("f", "ws://[::1]/") }).err();
        let text = error.map(|error| format!("{error} {error:?}"));
        assert_eq!(text.is_some(), want.is_some(), "{text:?}");
        if let (Some(text), Some(want)) = (text, want) {
            assert!(text.contains(want) && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn headers_of_a_feed() {
        check_header("Authorization", "Bearer hunter2", None);
        check_header("X-Key", "hunter2\r\nX: y", Some("line break"));
        check_header("a b", "hunter2", Some("not a name"));
        check_header("", "hunter2", Some("not a name"));
        check_header("HOST", "hunter2", Some("the handshake sets it"));
        check_header("Sec-WebSocket-Extensions", "hunter2", Some("the handshake sets it"));
    }

    #[test]
    fn ca_files() {
        let dir = tempfile::tempdir().unwrap();
        for (name, body) in [
            ("missing.pem", None),
            ("empty.pem", Some("")),
            ("bad.pem", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
        ] {
            let path = dir.path().join(name);
            if let Some(body) = body {
                std::fs::write(&path, body).unwrap();
            }
            let options = FeedOptions { ca_file: Some(path), ..FeedOptions::new("f", "wss://feed.example/") };
            let error = Target::new(&options).err().unwrap();
            assert!(error.to_string().contains(name) && error.to_string().contains("PEM"), "{error}");
        }
    }

    #[test]
    fn limits() {
        let second = Duration::from_secs(1);
        let good = FeedOptions::new("f", "ws://[::1]/");
        assert!(check_limits(&good).is_ok());
        for (options, key) in [
            (FeedOptions { message_bytes_max: 0, ..good.clone() }, "message_bytes_max"),
            (FeedOptions { connect_timeout: Duration::ZERO, ..good.clone() }, "connect_timeout"),
            (FeedOptions { ping_interval: Duration::ZERO, ..good.clone() }, "ping_interval"),
            (FeedOptions { ping_interval: second, idle_timeout: second, ..good.clone() }, "idle_timeout"),
            (FeedOptions { backoff_first: Duration::ZERO, ..good.clone() }, "backoff_first"),
            (FeedOptions { backoff_first: 2 * second, backoff_max: second, ..good.clone() }, "backoff_max"),
        ] {
            let error = check_limits(&options).err().unwrap().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
