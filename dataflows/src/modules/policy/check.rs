//! What a check is: when it applies, since when it holds, and what it says.

use ct_model::Severity;
use ct_model::Timestamp;
use ct_model::time::Day;

use super::view::{Context, View};

/// Whose rules are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The Baseline Requirements of the CA/Browser Forum, and the RFCs they build on.
    Br,
    /// Chrome's policy for Certificate Transparency.
    ChromeCt,
    /// Apple's.
    AppleCt,
    /// What is allowed and yet better avoided, or will be forbidden soon.
    Hygiene,
}

impl Profile {
    pub const ALL: [Self; 4] = [Self::Br, Self::ChromeCt, Self::AppleCt, Self::Hygiene];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::ChromeCt => "chrome-ct",
            Self::AppleCt => "apple-ct",
            Self::Hygiene => "hygiene",
        }
    }
}

/// How bad it is to fail a check: `Error` breaks a MUST, `Warn` a SHOULD, `Notice` is worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Notice,
    Warn,
    Error,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Notice, Self::Warn, Self::Error];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Whether a check has something to say about a certificate, whatever its date.
pub(super) type Applies = fn(&View<'_>, &Context<'_>) -> bool;
/// What is wrong, in a few words; `None` if nothing is.
pub(super) type Test = fn(&View<'_>, &Context<'_>) -> Option<String>;

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Rules that replace each other in time share an id.
    pub id: &'static str,
    pub level: Level,
    /// Text and section.
    pub source: &'static str,
    /// The first day on which certificates are held to it; `None` if all are.
    pub since: Option<Day>,
    /// The first day on which they no longer are.
    pub until: Option<Day>,
    /// Those it belongs to.
    pub profiles: &'static [Profile],
    /// Who fails it can be impersonated by anybody.
    pub broken_key: bool,
    pub(super) applies: Applies,
    pub(super) test: Test,
}

/// What a check says about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    NotApplicable,
    /// The certificate was issued before the rule held, or after its end.
    NotEffective,
    Pass,
    /// What is wrong, in a few words without control characters.
    Fail(String),
}

impl Check {
    const fn new(level: Level, id: &'static str, source: &'static str, applies: Applies, test: Test) -> Self {
        let profiles = &[Profile::Br];
        Self { id, level, source, since: None, until: None, profiles, broken_key: false, applies, test }
    }

    pub(super) const fn error(id: &'static str, source: &'static str, applies: Applies, test: Test) -> Self {
        Self::new(Level::Error, id, source, applies, test)
    }

    pub(super) const fn warn(id: &'static str, source: &'static str, applies: Applies, test: Test) -> Self {
        Self::new(Level::Warn, id, source, applies, test)
    }

    pub(super) const fn notice(id: &'static str, source: &'static str, applies: Applies, test: Test) -> Self {
        Self::new(Level::Notice, id, source, applies, test)
    }

    pub(super) const fn since(mut self, year: i64, month: i64, day: i64) -> Self {
        self.since = Some(Day::from_civil(year, month, day));
        self
    }

    pub(super) const fn until(mut self, year: i64, month: i64, day: i64) -> Self {
        self.until = Some(Day::from_civil(year, month, day));
        self
    }

    pub(super) const fn of(mut self, profiles: &'static [Profile]) -> Self {
        self.profiles = profiles;
        self
    }

    pub(super) const fn broken_key(mut self) -> Self {
        self.broken_key = true;
        self
    }

    /// The severity of a finding.
    pub const fn severity(&self) -> Severity {
        match self.level {
            _ if self.broken_key => Severity::High,
            Level::Notice => Severity::Info,
            Level::Warn => Severity::Low,
            Level::Error => Severity::Medium,
        }
    }

    pub(super) fn judge(&self, view: &View<'_>, context: &Context<'_>) -> Verdict {
        if !(self.applies)(view, context) {
            return Verdict::NotApplicable;
        }
        if !self.holds_at(view.raw.not_before.or(context.seen)) {
            return Verdict::NotEffective;
        }
        (self.test)(view, context).map_or(Verdict::Pass, Verdict::Fail)
    }

    /// Whether a certificate issued then is held to the rule. One that nobody knows the date of is.
    fn holds_at(&self, issued: Option<Timestamp>) -> bool {
        let Some(day) = issued.map(Timestamp::day) else { return true };
        self.since.is_none_or(|since| since <= day) && self.until.is_none_or(|until| day < until)
    }
}
