//! Modules that remember: what they want to know of each certificate, and what they make of all of it.
//!
//! Such a module has two halves. A pure one runs where the certificate is and says [`Fact`]s. The other is a
//! [`Memory`]: there is one for each of 256 fixed bins of keys, it takes facts in the order of the input, and says
//! findings. Facts cross from one worker to another, certificates do not.
//!
//! What a memory says must not depend on how many workers there are, how the input is cut, and when a job was killed
//! and started again. So what it holds is a function of the *set* of facts it got (sets, sums, newest times), and what
//! it says is a function of that and of the new fact alone. Time is the facts' own. Its findings have `once` set and
//! ids of what they say, and go through the operator `once`: saying one again is harmless, forgetting one is not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use ct_model::id::digest;
use ct_model::{CertRecord, Finding, Severity, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Claim, Modules, Subject, guarded};

/// Facts that a module may state of one certificate; those behind are not remembered.
pub const FACTS_MAX: usize = 100;

/// What a module wants to remember of a certificate. Facts with one key meet in one memory, whatever the number of
/// workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// The module, by its place among the selected ones that have a memory. [`Modules::facts`] sets it.
    pub module: u8,
    /// Bits of a digest; the top 8 are the bin.
    pub key: u64,
    pub seen: Option<Timestamp>,
    pub sha256: Option<[u8; 32]>,
    pub tbs_sha256: Option<[u8; 32]>,
    /// For the finding.
    pub name: Option<Box<str>>,
    /// What else the module wants to know, in a form of its own.
    pub text: Box<str>,
    pub numbers: [i64; 3],
}

impl Fact {
    /// About a certificate, with nothing said yet.
    pub fn about(certificate: &CertRecord, key: u64) -> Self {
        Self {
            module: 0,
            key,
            seen: certificate.seen,
            sha256: certificate.sha256,
            tbs_sha256: certificate.tbs_sha256,
            name: None,
            text: Box::default(),
            numbers: [0; 3],
        }
    }

    /// A key for what `parts` say together.
    pub fn key_of(parts: &[&str]) -> u64 {
        let bytes: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        u64::from_be_bytes(digest(&bytes)[..8].try_into().expect("a digest has 32 bytes"))
    }

    /// One of 256 fixed bins, the same in every process and every release.
    pub const fn bin(&self) -> u8 {
        (self.key >> 56) as u8
    }

    /// The claim as a finding, with the columns of the certificate that made the memory say it. Always reported once.
    pub fn finding(&self, module: &str, claim: Claim<'_>) -> Finding {
        Finding {
            id: Finding::id_of(module, claim.check, claim.key, None),
            module: module.into(),
            check: claim.check.into(),
            severity: claim.severity,
            score: None,
            name: claim.name.map(Into::into),
            sha256: self.sha256,
            tbs_sha256: self.tbs_sha256,
            seen: self.seen,
            detail: Value::Object(claim.detail).to_string().into(),
            once: true,
        }
    }
}

/// The half of a module that remembers.
pub trait Remember: Send + Sync {
    /// Appends what is to be remembered of a certificate, at most [`FACTS_MAX`] facts. Pure.
    ///
    /// A job that starts again asks anew for the certificates of the lake, and has these columns of them only: names,
    /// registered domains, issuer, hashes, times and kind. Nothing else may be looked at.
    fn facts(&self, subject: &Subject<'_>, out: &mut Vec<Fact>);

    /// An empty memory.
    fn memory(&self) -> Box<dyn Memory>;

    /// How many days before the newest `seen` the certificates of the lake must be read back at a start. `None`: all.
    fn reach_days(&self) -> Option<u32>;
}

/// What a module knows of the keys of one bin.
pub trait Memory {
    /// Takes in what the lake holds already, in any order, and says nothing.
    fn recall(&mut self, fact: Fact);

    /// Takes in a fact of a new certificate, in the order of the input, and appends what follows.
    fn learn(&mut self, fact: Fact, out: &mut Vec<Finding>);
}

/// The memories of one worker, each made when its first fact comes.
pub struct Memories {
    modules: Arc<Modules>,
    /// By module and bin.
    memories: HashMap<(u8, u8), Box<dyn Memory>>,
}

impl Memories {
    pub fn new(modules: Arc<Modules>) -> Self {
        Self { modules, memories: HashMap::new() }
    }

    /// Takes in a fact of a certificate of the lake. One at which the memory panics is passed over.
    pub fn recall(&mut self, fact: Fact) {
        let Some(memory) = self.of(&fact) else { return };
        // The failure was told when the fact was new.
        let _told = guarded(|| memory.recall(fact));
    }

    /// Takes in a fact of a new certificate and appends what follows. One at which the memory panics yields a
    /// `module-error` finding; what the memory made of it before stays.
    pub fn learn(&mut self, fact: Fact, out: &mut Vec<Finding>) {
        let Some(memory) = self.of(&fact) else { return };
        let mark = out.len();
        let failed = Fact { text: Box::default(), ..fact.clone() };
        if let Err(error) = guarded(|| memory.learn(fact, out)) {
            out.truncate(mark);
            let key = format!("{:016x}", failed.key);
            let detail = Map::from_iter([("error".to_owned(), error.into()), ("key".to_owned(), key.as_str().into())]);
            let (severity, name) = (Severity::Medium, failed.name.as_deref());
            let claim = Claim { check: "module-error", severity, key: &key, name, once: true, detail };
            let module = self.modules.remembering().nth(usize::from(failed.module));
            out.extend(module.map(|(module, _)| failed.finding(module, claim)));
        }
    }

    fn of(&mut self, fact: &Fact) -> Option<&mut Box<dyn Memory>> {
        let place = (fact.module, fact.bin());
        Some(match self.memories.entry(place) {
            Entry::Occupied(memory) => memory.into_mut(),
            Entry::Vacant(empty) => {
                let (_, module) = self.modules.remembering().nth(usize::from(fact.module))?;
                empty.insert(module.memory())
            }
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, HashSet};

    use ct_model::name::registered_domains;
    use ct_model::{CertId, CertRecord};
    use serde_json::json;

    use super::super::tests::{certificate as made, module};
    use super::super::{Examine, ModuleDef};
    use super::*;

    /// A certificate of its own.
    pub(crate) fn certificate(number: u64, names: &[&str]) -> CertRecord {
        let record = made(names);
        let id = CertId::entry("test", number);
        let sha256 = Some(id.bytes().try_into().unwrap());
        CertRecord { id, sha256, registered_domains: registered_domains(&record.names), ..record }
    }

    pub(crate) fn said(found: &[Finding]) -> Vec<(&str, &str)> {
        found.iter().map(|finding| (&*finding.check, finding.name.as_deref().unwrap_or_default())).collect()
    }

    fn facts(modules: &Modules, certificates: &[CertRecord]) -> Vec<Fact> {
        let (mut facts, mut failed) = (Vec::new(), Vec::new());
        for certificate in certificates {
            modules.facts(&Subject::certificate(certificate, &[]), &mut facts, &mut failed);
        }
        assert_eq!(failed, []);
        facts
    }

    /// What a module finds, each id once, in the order of the certificates. A kill after any of up to 50 places, with
    /// the facts before it recalled backwards, must change nothing.
    #[track_caller]
    pub(crate) fn learn(name: &str, options: Value, certificates: &[CertRecord]) -> Vec<Finding> {
        let modules = Arc::new(module(name, options).expect("the options are good"));
        let run = |from: usize, known: &[Finding]| {
            let mut memories = Memories::new(modules.clone());
            let (before, after) = certificates.split_at(from);
            facts(&modules, before).into_iter().rev().for_each(|fact| memories.recall(fact));
            let mut ids: HashSet<[u8; 16]> = known.iter().map(|finding| finding.id).collect();
            let (mut out, mut ends) = (known.to_vec(), vec![known.len()]);
            for certificate in after {
                let mut found = Vec::new();
                facts(&modules, std::slice::from_ref(certificate))
                    .into_iter()
                    .for_each(|fact| memories.learn(fact, &mut found));
                assert!(found.iter().all(|finding| finding.once));
                out.extend(found.into_iter().filter(|finding| ids.insert(finding.id)));
                ends.push(out.len());
            }
            (out, ends)
        };
        let (want, ends) = run(0, &[]);
        for from in (0..certificates.len()).step_by(certificates.len() / 50 + 1) {
            assert_eq!(run(from, &want[..ends[from]]).0, want, "killed after {from}");
        }
        want
    }

    /// States each name as a fact and reports it; panics where one says so.
    struct Parrot;

    impl Examine for Parrot {
        fn examine(&self, _subject: &Subject<'_>, _out: &mut Vec<Finding>) {}

        fn remember(&self) -> Option<&dyn Remember> {
            Some(self)
        }
    }

    impl Remember for Parrot {
        fn facts(&self, subject: &Subject<'_>, out: &mut Vec<Fact>) {
            let certificate = subject.certificate.expect("facts are asked of certificates only");
            assert!(subject.odd_names.is_empty() && subject.der.is_none());
            for name in subject.names {
                assert!(!name.contains("panic-facts"), "bad name");
                let fact = Fact::about(certificate, Fact::key_of(&[name]));
                out.push(Fact { name: Some(name.clone()), ..fact });
            }
        }

        fn memory(&self) -> Box<dyn Memory> {
            Box::new(Self)
        }

        fn reach_days(&self) -> Option<u32> {
            Some(7)
        }
    }

    impl Memory for Parrot {
        fn recall(&mut self, fact: Fact) {
            self.learn(fact, &mut Vec::new());
        }

        fn learn(&mut self, fact: Fact, out: &mut Vec<Finding>) {
            let (name, detail) = (fact.name.as_deref(), Map::new());
            let (severity, key) = (Severity::Info, name.unwrap_or_default());
            out.push(fact.finding("parrot", Claim { check: "said", severity, key, name, once: false, detail }));
            assert!(!key.contains("panic"), "bad fact");
        }
    }

    const WITH_PARROT: &[ModuleDef] =
        &[ModuleDef { name: "parrot", by_default: true, doc: "", options: &[], prepare: |_| Ok(Box::new(Parrot)) }];

    fn parrot() -> Arc<Modules> {
        let modules = Modules::prepare_from(WITH_PARROT, &["parrot".to_owned()], &BTreeMap::new());
        Arc::new(modules.expect("no options"))
    }

    #[test]
    fn a_panic_costs_one_fact() {
        let modules = parrot();
        let mut memories = Memories::new(modules.clone());
        let mut out = Vec::new();
        let stated = facts(&modules, &[certificate(1, &["a.com", "panic.com", "b.com"])]);
        memories.recall(stated[1].clone());
        stated.into_iter().for_each(|fact| memories.learn(fact, &mut out));
        assert_eq!(said(&out), [("said", "a.com"), ("module-error", "panic.com"), ("said", "b.com")]);
        assert!(out.iter().all(|finding| finding.once && &*finding.module == "parrot"));
        let key = format!("{:016x}", Fact::key_of(&["panic.com"]));
        assert_eq!(serde_json::from_str::<Value>(&out[1].detail).unwrap(), json!({"error": "bad fact", "key": key}));
    }

    #[test]
    fn a_panic_costs_the_facts_of_one_certificate() {
        let modules = parrot();
        let (mut stated, mut failed) = (Vec::new(), Vec::new());
        let record = certificate(1, &["a.com", "panic-facts.com"]);
        modules.facts(&Subject::certificate(&record, &[]), &mut stated, &mut failed);
        assert_eq!((stated.len(), said(&failed)), (0, vec![("module-error", "")]));
        assert_eq!(failed[0].id, Finding::id_of("parrot", "module-error", "facts", Some(&record.id)));
    }

    #[test]
    fn facts_of_a_certificate_are_bounded() {
        let names: Vec<String> = (0..300).map(|n| format!("n{n}.com")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(facts(&parrot(), &[certificate(1, &names)]).len(), FACTS_MAX);
    }

    #[test]
    fn names_alone_are_not_remembered() {
        let (names, mut stated) = ([Box::from("a.com")], Vec::new());
        parrot().facts(&Subject::names_only(&names), &mut stated, &mut Vec::new());
        assert_eq!(stated, []);
    }

    #[test]
    fn the_longest_reach_counts() {
        #[track_caller]
        fn check(selected: &[&str], want: Option<u32>) {
            let selected: Vec<String> = selected.iter().map(|name| (*name).to_owned()).collect();
            let modules = Modules::prepare(&selected, &BTreeMap::new()).unwrap();
            assert_eq!((modules.reach_days(), modules.have_memory()), (want, want != Some(0)), "{selected:?}");
        }
        check(&["names", "watchlist"], Some(0));
        check(&["names", "clusters"], Some(3));
        check(&["rate-anomaly", "clusters"], Some(7));
        check(&["rate-anomaly", "key-reuse", "clusters"], None);
    }
}
