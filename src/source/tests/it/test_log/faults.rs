//! Everything that a log does wrong when it is told to, and when.
//!
//! A rule also has a text form, for the program's arguments and its admin address:
//! `FAULT[:VALUE[:VALUE]][,on=CALL[+CALL…]][,skip=N][,every=N][,times=N]`, for example `status:429:date=5,on=get-entries`.

use std::str::FromStr;
use std::time::Instant;

use super::calls::{Call, ENTRIES, HEADS, PARTIALS};

/// What stands in the header Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    Absent,
    Seconds(u64),
    /// A date so many seconds from now (RFC 9110 section 10.2.3).
    Date(u64),
    /// A word that is neither.
    Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// To another path, where the right answer is.
    SameHost,
    /// The same under another name of this host.
    OtherHost,
    /// To itself.
    Loop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    // The answer.
    Status(u16, RetryAfter),
    /// 429 for what exceeds so many requests a second; a second's worth may come at once.
    RateLimit(u32, RetryAfter),
    Redirect(Redirect),
    /// A page of HTML with status 200.
    Html,
    /// The right body under `text/html`.
    WrongContentType,
    /// Bytes without meaning, as many as the right body has.
    Noise,
    /// A small gzip body of so many bytes, all of them zero.
    GzipBomb(u64),
    // How it is sent; sizes are bytes of the body.
    /// After so many milliseconds.
    Delay(u64),
    Reset(usize),
    Cut(usize),
    Drip(u64),
    Endless,
    Hang,
    // Pages of get-entries.
    /// At most so many entries.
    ShortPage(u64),
    EmptyPage,
    // Tree heads.
    /// The head before the latest: a replica that lags.
    StaleHead,
    /// A new head of this size.
    Rollback(u64),
    BadSignature,
    /// Signed, validly, with a key that is not the log's.
    OtherKey,
    /// So many milliseconds ahead.
    Future(u64),
    // Checkpoints.
    WrongOrigin,
    WrongKeyId,
    /// So many more signature lines, by unknown keys. No fault, but a client must bear it.
    Witnesses(u64),
    // The tree.
    /// Everything is of another log that differs in the entry at this index. Before growth a fork of one size; after
    /// growth, and below the old size, a larger head that is not consistent with the older one.
    Fork(u64),
    /// Only the entry itself is of that other log: it does not belong to the tree.
    OtherEntry(u64),
    // Tiles.
    /// Partial tiles are gone where the full one exists, which a log may do.
    NoOldPartials,
    /// Partial tiles are never there.
    NoPartials,
}

impl Fault {
    /// Whether an answer to this call can show it.
    fn touches(self, call: Call) -> bool {
        match self {
            Self::ShortPage(_) | Self::EmptyPage => call == Call::GetEntries,
            Self::StaleHead | Self::Rollback(_) | Self::BadSignature | Self::OtherKey | Self::Future(_) => {
                HEADS.contains(&call)
            }
            Self::WrongOrigin | Self::WrongKeyId | Self::Witnesses(_) => call == Call::Checkpoint,
            Self::OtherEntry(_) => ENTRIES.contains(&call),
            Self::NoOldPartials | Self::NoPartials => PARTIALS.contains(&call),
            _ => true,
        }
    }
}

/// A fault and the requests that meet it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) fault: Fault,
    /// Empty: every call that can show the fault.
    pub(crate) on: Vec<Call>,
    /// So many of these requests pass before it.
    pub(crate) skip: u64,
    /// Then the first of every so many fails.
    pub(crate) every: u64,
    /// So many times; none: for ever.
    pub(crate) times: Option<u64>,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, on: Vec::new(), skip: 0, every: 1, times: None }
    }
}

impl Rule {
    pub(crate) fn on(mut self, calls: &[Call]) -> Self {
        self.on = calls.to_vec();
        self
    }

    pub(crate) fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    pub(crate) fn every(mut self, every: u64) -> Self {
        self.every = every;
        self
    }

    pub(crate) fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

/// The rules of a log with what they have seen.
#[derive(Default)]
pub(crate) struct Rules {
    active: Vec<Active>,
}

struct Active {
    rule: Rule,
    seen: u64,
    fired: u64,
    /// Of a rate limit: requests that may come now, and since when.
    tokens: f64,
    at: Instant,
}

impl Rules {
    pub(crate) fn add(&mut self, rule: Rule) {
        let tokens = if let Fault::RateLimit(per_second, _) = rule.fault { f64::from(per_second) } else { 0.0 };
        self.active.push(Active { rule, seen: 0, fired: 0, tokens, at: Instant::now() });
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    /// The faults of this request, in the order of the rules.
    pub(crate) fn meet(&mut self, call: Call) -> Vec<Fault> {
        self.active.iter_mut().filter_map(|active| active.meet(call)).collect()
    }
}

impl Active {
    fn meet(&mut self, call: Call) -> Option<Fault> {
        let rule = &self.rule;
        if !rule.fault.touches(call) || !rule.on.is_empty() && !rule.on.contains(&call) {
            return None;
        }
        let place = self.seen;
        self.seen += 1;
        if place < rule.skip || !(place - rule.skip).is_multiple_of(rule.every.max(1)) {
            return None;
        }
        if rule.times.is_some_and(|times| self.fired >= times) {
            return None;
        }
        if let Fault::RateLimit(per_second, _) = rule.fault {
            let per_second = f64::from(per_second);
            self.tokens = per_second.min(self.tokens + self.at.elapsed().as_secs_f64() * per_second);
            self.at = Instant::now();
            if self.tokens >= 1.0 {
                self.tokens -= 1.0;
                return None;
            }
        }
        self.fired += 1;
        Some(rule.fault)
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let mut rule = Self::from(parts.next().unwrap_or_default().parse::<Fault>()?);
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part}: not KEY=VALUE"))?;
            match key {
                "on" => {
                    for name in value.split('+') {
                        match name {
                            "heads" => rule.on.extend(HEADS),
                            "entries" => rule.on.extend(ENTRIES),
                            _ => rule.on.push(Call::named(name).ok_or_else(|| format!("{name}: unknown call"))?),
                        }
                    }
                }
                "skip" => rule.skip = number(value)?,
                "every" => rule.every = number(value)?,
                "times" => rule.times = Some(number(value)?),
                _ => return Err(format!("{key}: unknown; known are on, skip, every, times")),
            }
        }
        Ok(rule)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let (first, second) = (parts.next(), parts.next());
        let value = |default: u64| first.map_or(Ok(default), number);
        let size = |default: u64| value(default).map(|bytes| bytes as usize);
        Ok(match name {
            "status" => {
                let status = first.and_then(|status| status.parse().ok()).filter(|status| (200..600).contains(status));
                Self::Status(status.ok_or_else(|| format!("{text}: no status"))?, retry_after(second)?)
            }
            "rate-limit" => {
                let per_second = u32::try_from(value(10)?).map_err(|_| format!("{text}: too large"))?;
                Self::RateLimit(per_second, retry_after(second)?)
            }
            "redirect" => Self::Redirect(match first {
                Some("same") | None => Redirect::SameHost,
                Some("other") => Redirect::OtherHost,
                Some("loop") => Redirect::Loop,
                Some(_) => return Err(format!("{text}: known are same, other, loop")),
            }),
            "html" => Self::Html,
            "wrong-content-type" => Self::WrongContentType,
            "noise" => Self::Noise,
            "gzip-bomb" => Self::GzipBomb(value(1 << 30)?),
            "delay" => Self::Delay(value(1_000)?),
            "reset" => Self::Reset(size(100)?),
            "cut" => Self::Cut(size(100)?),
            "drip" => Self::Drip(value(100)?.max(1)),
            "endless" => Self::Endless,
            "hang" => Self::Hang,
            "short-page" => Self::ShortPage(value(1)?.max(1)),
            "empty-page" => Self::EmptyPage,
            "stale-head" => Self::StaleHead,
            "rollback" => Self::Rollback(value(0)?),
            "bad-signature" => Self::BadSignature,
            "other-key" => Self::OtherKey,
            "future" => Self::Future(value(86_400_000)?),
            "wrong-origin" => Self::WrongOrigin,
            "wrong-key-id" => Self::WrongKeyId,
            "witnesses" => Self::Witnesses(value(16)?),
            "fork" => Self::Fork(value(0)?),
            "other-entry" => Self::OtherEntry(value(0)?),
            "no-old-partials" => Self::NoOldPartials,
            "no-partials" => Self::NoPartials,
            _ => return Err(format!("{name}: unknown fault")),
        })
    }
}

/// Nothing, `SECONDS`, `date=SECONDS` or `word`.
fn retry_after(text: Option<&str>) -> Result<RetryAfter, String> {
    Ok(match text {
        None => RetryAfter::Absent,
        Some("word") => RetryAfter::Word,
        Some(text) => match text.strip_prefix("date=") {
            Some(seconds) => RetryAfter::Date(number(seconds)?),
            None => RetryAfter::Seconds(number(text)?),
        },
    })
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text}: not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &Rule) {
        assert_eq!(text.parse().as_ref(), Ok(want));
    }

    #[test]
    fn text_of_rules() {
        check("status:503", &Fault::Status(503, RetryAfter::Absent).into());
        let limited = Rule::from(Fault::Status(429, RetryAfter::Date(5)));
        check("status:429:date=5,on=get-entries,times=3", &limited.on(&[Call::GetEntries]).times(3));
        check("rate-limit:20:7,skip=1", &Rule::from(Fault::RateLimit(20, RetryAfter::Seconds(7))).skip(1));
        check("fork:100,on=heads,every=2", &Rule::from(Fault::Fork(100)).on(&HEADS).every(2));
        check("redirect:other", &Fault::Redirect(Redirect::OtherHost).into());
        for wrong in ["", "status", "status:9", "fork:x", "html,on=nothing", "html,never", "redirect:up", "html,a=1"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }

    #[track_caller]
    fn check_meets(rule: Rule, call: Call, want: &str) {
        let mut rules = Rules::default();
        rules.add(rule);
        let met: String = want.chars().map(|_| if rules.meet(call).is_empty() { '.' } else { 'x' }).collect();
        assert_eq!(met, want);
    }

    #[test]
    fn which_requests_meet_a_rule() {
        let html = || Rule::from(Fault::Html);
        check_meets(html(), Call::GetSth, "xxxxx");
        check_meets(html().skip(2).every(3).times(2), Call::GetSth, "..x..x....");
        check_meets(html().on(&[Call::Checkpoint]), Call::GetSth, "....");
        check_meets(Fault::WrongOrigin.into(), Call::GetSth, "....");
        check_meets(Rule::from(Fault::RateLimit(3, RetryAfter::Absent)).times(2), Call::Issuer, "...xx..");
    }
}
