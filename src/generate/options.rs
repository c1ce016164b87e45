//! What a generated stream is like: the flags of `ct-stream generate` that decide its bytes.

use clap::{Args, ValueEnum};
use ct_model::Timestamp;
use ct_model::time::Day;

/// 2026-11-23T00:00:00Z
const DEFAULT_START: Timestamp = Timestamp::from_seconds(1_795_392_000);
const DEFAULT_RATE: f64 = 400.0;
const RATE_MIN: f64 = 0.01;
const RATE_MAX: f64 = 1e6;

/// Which server's messages the stream looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// certstream-server-go: every entry of every log; no DER for the precertificates of tiled logs
    Go,
    /// certstream-server-rust: each certificate once, chains without DER
    Rust,
    /// certstream-server (Elixir): SHA-1 fingerprints only, no tiled logs
    Elixir,
}

/// Which of a server's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stream {
    /// With the certificate and its chain as DER
    Full,
    /// With what the server read from the certificate, without DER
    Lite,
    /// Host names alone
    Domains,
}

/// The same options give the same bytes, on any machine.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How many messages to write; blank lines come on top
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub messages: u64,
    /// Another seed gives another stream of the same kind
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The server whose messages to imitate
    #[arg(long, value_enum, default_value_t = Shape::Go)]
    pub shape: Shape,
    /// Which of the server's streams to imitate
    #[arg(long, value_enum, default_value_t = Stream::Full)]
    pub stream: Stream,
    /// Share of lines that are cut, damaged, unknown or blank; the kinds take turns
    #[arg(long, value_name = "SHARE", default_value_t = 0.002, value_parser = parse_share)]
    pub malformed: f64,
    /// Share of messages that are sent again a little later, byte for byte
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = parse_share)]
    pub redelivered: f64,
    /// Share of submissions that go to tiled logs (static-ct-api)
    ///
    /// In the shape of the Go server the precertificates of tiled logs come without DER and with the hash of nothing,
    /// as that server sends them. The Elixir server knows no tiled logs.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = parse_share)]
    pub tiled: f64,
    /// When the first message is seen: RFC 3339 in UTC, or seconds since 1970
    #[arg(long, value_name = "TIME", default_value_t = DEFAULT_START, value_parser = parse_time)]
    pub start: Timestamp,
    /// Messages a second of simulated time
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RATE, value_parser = parse_rate)]
    pub rate: f64,
}

impl Options {
    /// The Elixir server reads no tiled logs.
    pub fn tiled(&self) -> f64 {
        if self.shape == Shape::Elixir { 0.0 } else { self.tiled }
    }
}

impl Default for Options {
    /// What the command line has without flags.
    fn default() -> Self {
        Self {
            messages: 10_000,
            seed: 1,
            shape: Shape::Go,
            stream: Stream::Full,
            malformed: 0.002,
            redelivered: 0.01,
            tiled: 0.1,
            start: DEFAULT_START,
            rate: DEFAULT_RATE,
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a share is from 0 to 1".to_owned()) }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().map_err(|_| "not a number".to_owned())?;
    if (RATE_MIN..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("a rate is from {RATE_MIN} to {RATE_MAX}"))
    }
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    // From RFC 6962 on, and so that a certificate's dates have years of four digits.
    const YEARS: std::ops::Range<i64> = 2013..3000;
    let time = match text.parse() {
        Ok(seconds) => Timestamp::from_seconds_f64(seconds),
        Err(_) => Timestamp::from_rfc3339(text),
    };
    let time = time.ok_or("not a time; write 2026-11-23T09:00:00Z or seconds since 1970")?;
    let range = Day::from_civil(YEARS.start, 1, 1)..Day::from_civil(YEARS.end, 1, 1);
    if range.contains(&time.day()) {
        Ok(time)
    } else {
        Err(format!("a time is in the years {} to {}", YEARS.start, YEARS.end - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        assert_eq!(parse_time(text).ok().map(|time| time.to_string()).as_deref(), want, "{text}");
    }

    #[test]
    fn unix_seconds() {
        check("1795392000", Some("2026-11-23T00:00:00.000000Z"));
        check("1795392000.25", Some("2026-11-23T00:00:00.250000Z"));
    }
    #[test]
    fn rfc3339() {
        check("2026-11-23T09:41:00Z", Some("2026-11-23T09:41:00.000000Z"));
        check("2024-02-29T00:00:00.5Z", Some("2024-02-29T00:00:00.500000Z"));
    }
    #[test]
    fn not_a_time() {
        ["", "now", "2026-11-23", "1e30", "NaN", "-1", "9999-01-01T00:00:00Z"]
            .iter()
            .for_each(|text| check(text, None));
    }
    #[test]
    fn shares() {
        assert_eq!(parse_share("0.5"), Ok(0.5));
        ["-0.1", "1.1", "NaN", "half"].iter().for_each(|text| assert!(parse_share(text).is_err(), "{text}"));
    }
}
