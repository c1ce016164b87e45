//! The invented certificate authorities and the organisations that buy from them.
//!
//! An authority is the same under every seed: its keys and certificates come from its position in the table.

use std::rc::Rc;

use super::certificate::{
    Certificate, DAY, DistinguishedName, KeyKind, Organization, Parent, Role, Signature, authority,
};
use super::rng::Rng;

/// CA/Browser Forum Baseline Requirements section 7.1.6.1: domain and organisation validated.
const DOMAIN_VALIDATED: &[u32] = &[2, 23, 140, 1, 2, 1];
const ORGANIZATION_VALIDATED: &[u32] = &[2, 23, 140, 1, 2, 2];
/// Under the arc kept for examples (RFC 5612).
const OWN_POLICY: &[u32] = &[1, 3, 6, 1, 4, 1, 32473, 6, 962];

/// 2024-03-13T00:00:00Z
const INTERMEDIATES_FROM: i64 = 1_710_288_000;
/// 2016-06-22T00:00:00Z
const ROOTS_FROM: i64 = 1_466_553_600;

struct Profile {
    country: &'static str,
    organization: &'static str,
    root: &'static str,
    root_key: KeyKind,
    intermediate: &'static str,
    key: KeyKind,
    /// The first label of its URLs.
    host: &'static str,
    ocsp: bool,
    crl: bool,
    cps: bool,
    client_auth: bool,
    validates_organizations: bool,
    /// Whether the chain it submits ends in the root.
    sends_root: bool,
    /// See [`Parent::slot`].
    slot: usize,
    /// How long its leaves last, in days.
    days: &'static [i64],
    weight: u32,
}

const PLAIN: Profile = Profile {
    country: "US",
    organization: "",
    root: "",
    root_key: KeyKind::Rsa4096,
    intermediate: "",
    key: KeyKind::Rsa2048,
    host: "",
    ocsp: true,
    crl: true,
    cps: false,
    client_auth: false,
    validates_organizations: false,
    sends_root: false,
    slot: usize::MAX,
    days: &[90],
    weight: 1,
};

const PROFILES: [Profile; 12] = [
    Profile {
        organization: "Alder Encrypt",
        root: "Alder Research Root X2",
        root_key: KeyKind::P384,
        intermediate: "E7",
        key: KeyKind::P384,
        host: "e7.alder",
        ocsp: false,
        sends_root: true,
        weight: 34,
        ..PLAIN
    },
    Profile {
        organization: "Alder Encrypt",
        root: "Alder Research Root X1",
        intermediate: "R13",
        host: "r13.alder",
        ocsp: false,
        weight: 18,
        ..PLAIN
    },
    Profile {
        organization: "Example Trust Services",
        root: "ETS Root R4",
        root_key: KeyKind::P384,
        intermediate: "WE1",
        key: KeyKind::P256,
        host: "pki.example-trust",
        sends_root: true,
        slot: 6,
        weight: 12,
        ..PLAIN
    },
    Profile {
        country: "GB",
        organization: "Birchwood CA Limited",
        root: "Birchwood Certification Root E46",
        root_key: KeyKind::P384,
        intermediate: "Birchwood Public Server Authentication CA DV E36",
        key: KeyKind::P256,
        host: "birchwood",
        client_auth: true,
        cps: true,
        sends_root: true,
        slot: 7,
        days: &[90, 198],
        weight: 9,
        ..PLAIN
    },
    Profile {
        country: "AT",
        organization: "Cobalt Sicherheit GmbH",
        root: "Cobalt ECC Root",
        root_key: KeyKind::P384,
        intermediate: "Cobalt ECC Domain Secure Site CA",
        key: KeyKind::P256,
        host: "cobalt",
        cps: true,
        weight: 7,
        ..PLAIN
    },
    Profile {
        organization: "Dunmore Cloud",
        root: "Dunmore Root CA 1",
        intermediate: "Dunmore RSA 2048 M04",
        host: "r2m04.dunmore",
        crl: true,
        client_auth: true,
        sends_root: true,
        slot: 8,
        days: &[100, 198],
        weight: 6,
        ..PLAIN
    },
    Profile {
        organization: "Elmstead Inc",
        root: "Elmstead Global Root G2",
        root_key: KeyKind::Rsa2048,
        intermediate: "Elmstead TLS RSA SHA256 2020 CA1",
        host: "elmstead",
        cps: true,
        client_auth: true,
        validates_organizations: true,
        slot: 5,
        days: &[100, 198],
        weight: 5,
        ..PLAIN
    },
    Profile {
        country: "BE",
        organization: "Fathom nv-sa",
        root: "Fathom Root R3",
        intermediate: "Fathom RSA OV SSL CA 2018",
        host: "fathom",
        cps: true,
        client_auth: true,
        validates_organizations: true,
        sends_root: true,
        days: &[198],
        weight: 3,
        ..PLAIN
    },
    Profile {
        organization: "Garnet.example, Inc.",
        root: "Garnet Root Certificate Authority - G2",
        intermediate: "Garnet Secure Certificate Authority - G2",
        host: "garnet",
        cps: true,
        slot: 4,
        days: &[100, 198],
        weight: 3,
        ..PLAIN
    },
    Profile {
        country: "GB",
        organization: "Hollis & Wray \"Trust\" Ltd",
        root: "Hollis & Wray Root",
        root_key: KeyKind::P384,
        intermediate: "Hollis & Wray <TLS> CA 3",
        key: KeyKind::P384,
        host: "hollis-wray",
        validates_organizations: true,
        sends_root: true,
        days: &[90, 198],
        weight: 1,
        ..PLAIN
    },
    Profile {
        country: "PL",
        organization: "Zaufanie Wzorcowe Spółka z o.o.",
        root: "Wzorcowy Urząd Główny",
        intermediate: "Wzorcowy Urząd Pośredni 2",
        host: "zaufanie",
        cps: true,
        validates_organizations: true,
        days: &[100, 198],
        weight: 1,
        ..PLAIN
    },
    Profile {
        country: "JP",
        organization: "見本認証株式会社",
        root: "Mihon Root CA4",
        intermediate: "Mihon TLS CA G5",
        key: KeyKind::Rsa4096,
        host: "mihon",
        validates_organizations: true,
        days: &[198],
        weight: 1,
        ..PLAIN
    },
];

const ORGANIZATIONS: [Organization; 8] = [
    Organization {
        country: Some("SE"),
        state: Some("Stockholms län"),
        locality: Some("Solna"),
        organization: Some("Provgods Handels AB"),
        ..Organization::NONE
    },
    Organization {
        country: Some("DE"),
        state: Some("Bayern"),
        locality: Some("München"),
        organization: Some("Musterwerk & Söhne GmbH"),
        unit: Some("IT"),
        ..Organization::NONE
    },
    Organization {
        country: Some("US"),
        state: Some("Oregon"),
        locality: Some("Portland"),
        street: Some("100 Specimen Way"),
        organization: Some("Specimen Holdings, Inc."),
        ..Organization::NONE
    },
    Organization {
        country: Some("GB"),
        locality: Some("Leeds"),
        organization: Some("The \"Sample\" Company Ltd"),
        ..Organization::NONE
    },
    Organization {
        country: Some("FR"),
        state: Some("Île-de-France"),
        organization: Some("L'Échantillon SA"),
        ..Organization::NONE
    },
    Organization {
        country: Some("JP"),
        state: Some("Tokyo"),
        locality: Some("Chiyoda-ku"),
        organization: Some("見本商事"),
        ..Organization::NONE
    },
    Organization {
        country: Some("BR"),
        state: Some("São Paulo"),
        locality: Some("São Paulo"),
        organization: Some("Amostra Comércio S.A."),
        unit: Some("Infraestrutura"),
        ..Organization::NONE
    },
    Organization {
        country: Some("IN"),
        state: Some("Karnataka"),
        locality: Some("Bengaluru"),
        organization: Some("Namoona/Labs\\Pvt"),
        ..Organization::NONE
    },
];

/// An authority that issues leaves.
pub struct Issuer {
    /// What its leaves say of it.
    pub parent: Rc<Parent>,
    /// The certificates that are submitted with a leaf, the leaf's issuer first.
    pub chain: Vec<Certificate>,
    days: &'static [i64],
    validates_organizations: bool,
    weight: u32,
}

impl Issuer {
    /// All authorities.
    pub fn all() -> Vec<Self> {
        (0..).zip(&PROFILES).map(|(number, profile)| Self::new(number, profile)).collect()
    }

    fn new(number: u64, profile: &Profile) -> Self {
        let rng = &mut Rng::new(number);
        let base = Parent {
            name: name(profile, profile.root),
            key_id: [0; 20], // the authority's certificate decides
            signature: Signature { key: profile.root_key },
            ocsp_url: profile.ocsp.then(|| format!("http://ocsp.{}.example/root", profile.host)),
            certificate_url: Some(format!("http://i.{}.example/root.der", profile.host)),
            crl_url: Some(format!("http://c.{}.example/root.crl", profile.host)),
            policies: &[DOMAIN_VALIDATED],
            cps_url: None,
            client_auth: profile.client_auth,
            slot: profile.slot,
        };
        let below = Parent {
            name: name(profile, profile.intermediate),
            signature: Signature { key: profile.key },
            ocsp_url: profile.ocsp.then(|| format!("http://ocsp.{}.example", profile.host)),
            certificate_url: Some(format!("http://i.{}.example/", profile.host)),
            crl_url: profile.crl.then(|| format!("http://c.{}.example/{}.crl", profile.host, number + 17)),
            policies: match (profile.validates_organizations, profile.cps) {
                (true, _) => &[OWN_POLICY, ORGANIZATION_VALIDATED],
                (false, true) => &[OWN_POLICY, DOMAIN_VALIDATED],
                (false, false) => &[DOMAIN_VALIDATED],
            },
            cps_url: profile.cps.then(|| format!("https://{}.example/cps", profile.host)),
            ..base.clone()
        };
        let (root, root_certificate) = authority(rng, Role::Root, None, base, ROOTS_FROM);
        let (parent, intermediate) = authority(rng, Role::Intermediate, Some(&root), below, INTERMEDIATES_FROM);
        let mut chain = vec![intermediate];
        if profile.sends_root {
            chain.push(root_certificate);
        }
        Self {
            parent,
            chain,
            days: profile.days,
            validates_organizations: profile.validates_organizations,
            weight: profile.weight,
        }
    }

    /// A position in `issuers`, by market share.
    pub fn draw(rng: &mut Rng, issuers: &[Self]) -> usize {
        let mut weights = [0; PROFILES.len()];
        weights.iter_mut().zip(issuers).for_each(|(weight, issuer)| *weight = issuer.weight);
        rng.weighted(&weights)
    }

    /// Whom a leaf of this authority names as its owner.
    pub fn organization(&self, rng: &mut Rng) -> Organization {
        if self.validates_organizations { *rng.pick(&ORGANIZATIONS) } else { Organization::NONE }
    }

    /// How long a leaf lasts, in seconds.
    pub fn validity(&self, rng: &mut Rng) -> i64 {
        rng.pick(self.days) * DAY - 1
    }
}

fn name(profile: &Profile, common_name: &str) -> DistinguishedName {
    DistinguishedName {
        organization: Organization {
            country: Some(profile.country),
            organization: Some(profile.organization),
            ..Organization::NONE
        },
        common_name: Some(common_name.to_owned()),
    }
}
