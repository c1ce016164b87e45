//! What single factors look at: times, keys and names of a certificate, each by itself.

use ct_model::name::registry_suffix;
use ct_model::time::Day;
use ct_model::{CertRecord, Timestamp};
use unicode_security::{MixedScript, RestrictionLevel, RestrictionLevelDetection};

use crate::modules::policy::months_later;

const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// From the first to the last moment.
#[derive(Clone, Copy)]
pub(super) struct Validity {
    from: Timestamp,
    to: Timestamp,
}

impl Validity {
    pub(super) fn of(certificate: &CertRecord) -> Option<Self> {
        Some(Self { from: certificate.not_before?, to: certificate.not_after? })
    }

    /// Whole days.
    pub(super) fn days(self) -> i64 {
        self.to.0.saturating_sub(self.from.0).div_euclid(MICROS_PER_DAY)
    }

    /// Authorities issue for six days, and for three; a day and less is for tests.
    pub(super) fn is_short(self) -> bool {
        self.days() < 1
    }

    /// By the limit that held when it began: that of the Baseline Requirements and, for 398 days, of Apple. Module
    /// `policy` has the sources.
    pub(super) fn is_long(self) -> bool {
        const LIMITS_DAYS: [(Day, i64); 4] = [
            (Day::from_civil(2029, 3, 15), 47),
            (Day::from_civil(2027, 3, 15), 100),
            (Day::from_civil(2026, 3, 15), 200),
            (Day::from_civil(2020, 9, 1), 398),
        ];
        let (day, length) = (self.from.day(), self.to.0.saturating_sub(self.from.0));
        if let Some((_, days)) = LIMITS_DAYS.iter().find(|(since, _)| day >= *since) {
            // BR 6.3.2: both ends count.
            return length.saturating_add(MICROS_PER_SECOND) > days * MICROS_PER_DAY;
        }
        if day >= Day::from_civil(2018, 3, 2) {
            return length > 825 * MICROS_PER_DAY;
        }
        day >= Day::from_civil(2016, 7, 2) && self.to > months_later(self.from, 39)
    }
}

/// Whether an internationalized label mixes scripts that no language writes together (Unicode TR39 section 5.2: more
/// than "highly restrictive").
pub(super) fn mixes_scripts(name: &str) -> bool {
    name.contains("xn--")
        && name.split('.').filter_map(|label| label.strip_prefix("xn--")).any(|code| {
            // Labels of plain names have at most 63 bytes.
            let label = idna::punycode::decode_to_string(code).unwrap_or_default();
            !label.as_str().is_single_script()
                && !label.as_str().check_restriction_level(RestrictionLevel::HighlyRestrictive)
        })
}

/// `*.co.uk`: for whatever anybody registers.
pub(super) fn is_wildcard_of_suffix(name: &str) -> bool {
    name.strip_prefix("*.").is_some_and(|rest| registry_suffix(rest) == Some(rest))
}

/// BR 6.1.5.
pub(super) fn has_weak_key(certificate: &CertRecord) -> bool {
    let (Some(algorithm), Some(bits)) = (certificate.key_algorithm.as_deref(), certificate.key_bits) else {
        return false;
    };
    match algorithm {
        "rsa" | "rsapss" | "dsa" => bits < 2_048,
        curve => curve.starts_with("ecdsa") && bits < 256,
    }
}

/// The country in the text of a distinguished name. A comma within a value is escaped and ends nothing.
pub(super) fn country(dn: &str) -> Option<&str> {
    let mut escaped = false;
    let ends = |char| {
        let ends = !escaped && matches!(char, ',' | '+');
        escaped = char == '\\' && !escaped;
        ends
    };
    dn.split(ends).find_map(|attribute| attribute.trim_start().strip_prefix("C=")).map(str::trim_end)
}
