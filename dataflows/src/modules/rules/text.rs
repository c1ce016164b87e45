//! The texts and numbers of a certificate that rules may ask for, by the names of the lake's columns.

use ct_model::CertRecord;

/// Validity is counted in days of 86,400 seconds, and the second of `not_after` belongs to it (CA/B Baseline
/// Requirements, section 6.3.2).
const DAY_SECONDS: i64 = 86_400;

macro_rules! columns {
    ($(#[$doc:meta])* $name:ident of $value:ty { $($variant:ident = $word:literal: $get:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($variant),* }

        impl $name {
            pub(super) const ALL: [Self; [$($word),*].len()] = [$(Self::$variant),*];

            pub(super) const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// `None` where it is unknown.
            pub(super) fn of(self, certificate: &CertRecord) -> Option<$value> {
                let get: fn(&CertRecord) -> Option<$value> = match self { $(Self::$variant => $get),* };
                get(certificate)
            }
        }
    };
}

columns! {
    /// A text of a certificate.
    TextField of &str {
        IssuerCn = "issuer_cn": |certificate| certificate.issuer_cn.as_deref(),
        IssuerOrg = "issuer_org": |certificate| certificate.issuer_org.as_deref(),
        IssuerDn = "issuer_dn": |certificate| certificate.issuer_dn.as_deref(),
        SubjectCn = "subject_cn": |certificate| certificate.subject_cn.as_deref(),
        SubjectDn = "subject_dn": |certificate| certificate.subject_dn.as_deref(),
        KeyAlgorithm = "key_algorithm": |certificate| certificate.key_algorithm.as_deref(),
        SignatureAlgorithm = "signature_algorithm": |certificate| certificate.signature_algorithm.as_deref(),
        Kind = "kind": |certificate| certificate.kind.map(|kind| kind.as_str()),
        Log = "log": |certificate| certificate.log.as_deref(),
        Serial = "serial": |certificate| certificate.serial.as_deref(),
    }
}

columns! {
    /// A number of a certificate.
    NumberField of i64 {
        KeyBits = "key_bits": |certificate| certificate.key_bits.map(i64::from),
        ValidityDays = "validity_days": validity_days,
        SanCount = "san_count": |certificate| {
            Some(i64::try_from(certificate.names.len() + certificate.ips.len()).unwrap_or(i64::MAX))
        },
        SctCount = "sct_count": |certificate| certificate.sct_count.map(i64::from),
    }
}

columns! {
    /// A yes or no of a certificate.
    FlagField of bool {
        IsCa = "is_ca": |certificate| certificate.is_ca,
        Wildcard = "wildcard": |certificate| {
            Some(certificate.names.iter().any(|name| name.contains('*')))
        },
    }
}

fn validity_days(certificate: &CertRecord) -> Option<i64> {
    let seconds = certificate.not_after?.seconds().checked_sub(certificate.not_before?.seconds())?.checked_add(1)?;
    Some(seconds.checked_add(DAY_SECONDS - 1)?.div_euclid(DAY_SECONDS))
}
