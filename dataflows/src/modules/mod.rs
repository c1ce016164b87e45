//! The modules: what looks at certificates and reports findings.
//!
//! A module is a pure function of its subject: no clock, no file, no state, so the same subject always yields the
//! same findings in the same order, on any worker and in any later run. To add one, write a file with a [`ModuleDef`]
//! and list it in [`MODULES`]. Modules are isolated: one that panics yields a `module-error` finding for that subject
//! in place of its own findings, and the others go on. A module that has to remember other subjects is in two halves,
//! see [`memory`].

use std::collections::{BTreeMap, HashSet};

use ct_model::{CertRecord, Finding, Severity};
use serde_json::{Map, Value};

mod clusters;
mod event_time;
mod first_seen;
pub mod guard;
mod issuance;
mod key_reuse;
mod lookalike;
mod lowest;
pub mod memory;
mod names;
mod options;
pub mod phish;
pub mod policy;
mod rate_anomaly;
mod renewal;
mod risk;
pub mod rules;
mod trie;
mod watchlist;

pub(crate) use trie::is_pattern;
pub use watchlist::{ItemError, ParsedItem as WatchItem};
pub(crate) use watchlist::{comparable, items_of};

pub use guard::{guarded, is_guarded};
pub use lookalike::{Class, Hit, Lookalike};
pub use memory::{FACTS_MAX, Fact, Memories, Memory, Remember};
pub use options::{OptionDef, OptionError, OptionKind, Options, Settings, nearest};

/// Every module, in the order in which they examine.
pub const MODULES: &[ModuleDef] = &[
    names::MODULE,
    watchlist::MODULE,
    issuance::MODULE,
    lookalike::MODULE,
    phish::MODULE,
    policy::MODULE,
    risk::MODULE,
    rules::MODULE,
    first_seen::MODULE,
    renewal::MODULE,
    key_reuse::MODULE,
    rate_anomaly::MODULE,
    clusters::MODULE,
];

/// A module as it is listed: what it is called, what it does, what can be set, how it gets ready.
pub struct ModuleDef {
    pub name: &'static str,
    /// Runs where the configuration names no modules.
    pub by_default: bool,
    pub doc: &'static str,
    pub options: &'static [OptionDef],
    pub prepare: fn(&Settings) -> Result<Box<dyn Examine>, OptionError>,
}

/// A module made ready by its settings.
pub trait Examine: Send + Sync {
    /// Appends what it finds. A pure function of `self` and `subject`: implementors have no interior mutability.
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>);

    /// Whether it looks at [`Subject::der`].
    fn wants_der(&self) -> bool {
        false
    }

    /// Its other half, if it has a memory.
    fn remember(&self) -> Option<&dyn Remember> {
        None
    }
}

/// What modules see: a certificate with the readings of its names, or the names of a message that has no certificate.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub certificate: Option<&'a CertRecord>,
    /// Plain DNS names: lower case, A-labels, no trailing dot, each once.
    pub names: &'a [Box<str>],
    /// Readings that are no plain names, or only guesses, as [`ct_model::name::readings`] makes them. A label that
    /// could not be read is [`ct_model::name::UNPARSABLE`], a redacted one is `?`.
    pub odd_names: &'a [Box<str>],
    pub ips: &'a [Box<str>],
    /// The certificate as it was read; only where a selected module wants it ([`Modules::want_der`]) and the feed
    /// sent it.
    pub der: Option<&'a [u8]>,
}

impl<'a> Subject<'a> {
    /// Without its bytes.
    pub fn certificate(certificate: &'a CertRecord, odd_names: &'a [Box<str>]) -> Self {
        Self { certificate: Some(certificate), names: &certificate.names, odd_names, ips: &certificate.ips, der: None }
    }

    /// A message that names no certificate.
    pub const fn names_only(names: &'a [Box<str>]) -> Self {
        Self { certificate: None, names, odd_names: &[], ips: &[], der: None }
    }

    /// All names, plain ones first.
    pub fn all_names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.names.iter().chain(self.odd_names).map(AsRef::as_ref)
    }

    /// A module stopped at the name at `index`: from there on, there may be more than its findings tell.
    fn unfinished(&self, module: &str, index: usize, name: &str) -> Finding {
        let total = self.names.len() + self.odd_names.len();
        let detail = Map::from_iter([("names".to_owned(), total.into()), ("names_finished".to_owned(), index.into())]);
        let claim =
            Claim { check: "unfinished", severity: Severity::High, key: name, name: Some(name), once: false, detail };
        self.finding(module, claim)
    }

    /// The claim as a finding about this subject. Without a certificate its columns are unknown, and the finding is
    /// reported once, whichever message shows it first.
    pub fn finding(&self, module: &str, claim: Claim<'_>) -> Finding {
        let once = claim.once || self.certificate.is_none();
        let id = self.certificate.map(|certificate| &certificate.id).filter(|_| !once);
        Finding {
            id: Finding::id_of(module, claim.check, claim.key, id),
            module: module.into(),
            check: claim.check.into(),
            severity: claim.severity,
            score: None,
            name: claim.name.map(Into::into),
            sha256: self.certificate.and_then(|certificate| certificate.sha256),
            tbs_sha256: self.certificate.and_then(|certificate| certificate.tbs_sha256),
            seen: self.certificate.and_then(|certificate| certificate.seen),
            detail: Value::Object(claim.detail).to_string().into(),
            once,
        }
    }
}

/// What a module says about a subject.
#[derive(Debug)]
pub struct Claim<'a> {
    pub check: &'a str,
    pub severity: Severity,
    /// Tells this claim from the module's others with the same check about the same subject; mostly the name.
    pub key: &'a str,
    pub name: Option<&'a str>,
    /// Reported for the first subject that shows it and never again.
    pub once: bool,
    pub detail: Map<String, Value>,
}

/// The selected modules, ready to examine.
pub struct Modules {
    prepared: Vec<(&'static str, Box<dyn Examine>)>,
    /// Which of them have a memory. A place in this list is the module's number in its facts.
    remembering: Vec<usize>,
}

impl Modules {
    /// Checks all `options` by module name, also those of modules that are not selected, and prepares the selected.
    pub fn prepare(selected: &[String], options: &BTreeMap<String, Options>) -> Result<Self, OptionError> {
        Self::prepare_from(MODULES, selected, options)
    }

    fn prepare_from(
        registry: &'static [ModuleDef],
        selected: &[String],
        options: &BTreeMap<String, Options>,
    ) -> Result<Self, OptionError> {
        for name in selected.iter().chain(options.keys()) {
            if !registry.iter().any(|module| module.name == name) {
                let known = registry.iter().map(|module| module.name.to_owned()).collect();
                let key = "modules".to_owned();
                return Err(OptionError::Unknown { key, what: "module", name: name.clone(), known });
            }
        }
        let none = Options::new();
        let mut prepared = Vec::new();
        for module in registry {
            let given = options.get(module.name).unwrap_or(&none);
            let settings = Settings::check(module.name, module.options, given)?;
            if selected.iter().any(|name| name == module.name) {
                prepared.push((module.name, (module.prepare)(&settings)?));
            }
        }
        let remembers = |place: &usize| prepared[*place].1.remember().is_some();
        let remembering = (0..prepared.len()).filter(remembers).take(usize::from(u8::MAX)).collect();
        Ok(Self { prepared, remembering })
    }

    /// Whether a selected module looks at the bytes of certificates.
    pub fn want_der(&self) -> bool {
        self.prepared.iter().any(|(_, module)| module.wants_der())
    }

    /// The selected modules in the order in which they examine.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.prepared.iter().map(|(name, _)| *name)
    }

    pub fn is_empty(&self) -> bool {
        self.prepared.is_empty()
    }

    /// Appends what the modules find, each id once per subject.
    pub fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
        out.extend(self.examine_all(std::slice::from_ref(subject), |_| {}));
    }

    /// What [`Modules::examine`] finds of one subject after the other. Each module goes over all subjects before the next
    /// one does, and `done` hears of each, so that its time can be taken without reading a clock for each subject.
    pub fn examine_all(&self, subjects: &[Subject<'_>], mut done: impl FnMut(&'static str)) -> Vec<Finding> {
        let mut found: Vec<(usize, Finding)> = Vec::new();
        let mut of_one = Vec::new();
        for (name, module) in &self.prepared {
            for (at, subject) in subjects.iter().enumerate() {
                if let Err(error) = guarded(|| module.examine(subject, &mut of_one)) {
                    // Nothing half done is left: a module has no state, and its findings about this subject go.
                    of_one.clear();
                    of_one.push(module_error(name, subject, "", &error));
                }
                found.extend(of_one.drain(..).map(|finding| (at, finding)));
            }
            done(name);
        }
        // Stable: of one subject, the order of the modules stays.
        found.sort_by_key(|(at, _)| *at);
        let (mut ids, mut of) = (HashSet::new(), usize::MAX);
        found.retain(|(at, finding)| {
            if *at != std::mem::replace(&mut of, *at) {
                ids.clear();
            }
            ids.insert(finding.id)
        });
        found.into_iter().map(|(_, finding)| finding).collect()
    }

    /// Whether a selected module has a memory.
    pub fn have_memory(&self) -> bool {
        !self.remembering.is_empty()
    }

    /// How many days before the newest `seen` of the lake its certificates must be read back at a start, so that all
    /// memories are as they were; 0 if there are none. `None`: all certificates.
    pub fn reach_days(&self) -> Option<u32> {
        let mut reaches = self.remembering().map(|(_, module)| module.reach_days());
        reaches.try_fold(0, |longest: u32, reach| Some(longest.max(reach?)))
    }

    /// Appends what the modules want to remember of a certificate, and to `failed` a finding for each that panicked.
    pub fn facts(&self, subject: &Subject<'_>, out: &mut Vec<Fact>, failed: &mut Vec<Finding>) {
        let Some(certificate) = subject.certificate else { return };
        // What a certificate that is read back from the lake has not got, no other has either.
        let subject = Subject::certificate(certificate, &[]);
        for ((name, module), number) in self.remembering().zip(0..) {
            let mark = out.len();
            if let Err(error) = guarded(|| module.facts(&subject, out)) {
                out.truncate(mark);
                failed.push(module_error(name, &subject, "facts", &error));
            }
            out.truncate(mark + FACTS_MAX);
            out[mark..].iter_mut().for_each(|fact| fact.module = number);
        }
    }

    /// The selected modules that have a memory, in the order of their numbers.
    fn remembering(&self) -> impl Iterator<Item = (&'static str, &dyn Remember)> {
        let module = |place: &usize| {
            let (name, module) = &self.prepared[*place];
            module.remember().map(|module| (*name, module))
        };
        self.remembering.iter().filter_map(module)
    }
}

fn module_error(module: &str, subject: &Subject<'_>, half: &str, error: &str) -> Finding {
    // Where no certificate tells two failures apart, the first name of the message does.
    let name = if subject.certificate.is_none() { subject.all_names().next() } else { None };
    let detail = Map::from_iter([("error".to_owned(), error.into())]);
    let key = name.unwrap_or(half);
    let claim = Claim { check: "module-error", severity: Severity::Medium, key, name, once: false, detail };
    subject.finding(module, claim)
}

/// If `key` is how users name a file whose text is an option of `module` (`list_file`): that option (`list`).
///
/// The job reads the file and gives its text under the option's name, because a module opens no files.
pub fn file_option(module: &str, key: &str) -> Option<&'static OptionDef> {
    let module = MODULES.iter().find(|known| known.name == module)?;
    module.options.iter().find(|option| option.file_key().as_deref() == Some(key))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use ct_model::{CertId, ParseState, Timestamp};
    use serde_json::json;

    use super::*;

    /// A final certificate with nothing but its names.
    pub(crate) fn certificate(names: &[&str]) -> CertRecord {
        CertRecord {
            id: CertId::der([7; 32]),
            sha256: Some([7; 32]),
            sha1: None,
            tbs_sha256: Some([8; 32]),
            spki_sha256: None,
            kind: None,
            serial: None,
            issuer_dn: None,
            issuer_cn: None,
            issuer_org: None,
            subject_dn: None,
            subject_cn: None,
            not_before: None,
            not_after: None,
            names: boxed(names),
            registered_domains: Vec::new(),
            ips: Vec::new(),
            key_algorithm: None,
            key_bits: None,
            signature_algorithm: None,
            is_ca: None,
            sct_count: None,
            scts: Vec::new(),
            parse: ParseState::Ok,
            parse_error: None,
            der_bytes: None,
            seen: Some(Timestamp(1_000_000)),
            log: None,
            log_index: None,
            feed: Arc::from("test"),
            der: None,
        }
    }

    pub(crate) fn boxed(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    /// One module with its options.
    pub(crate) fn module(name: &str, options: Value) -> Result<Modules, OptionError> {
        let Value::Object(options) = options else { panic!("a table of options") };
        Modules::prepare(&[name.to_owned()], &BTreeMap::from([(name.to_owned(), options)]))
    }

    fn modules(registry: &'static [ModuleDef], selected: &[&str], options: &Value) -> Result<Modules, OptionError> {
        let selected: Vec<String> = selected.iter().map(|name| (*name).to_owned()).collect();
        let options = serde_json::from_value(options.clone()).expect("a table of tables");
        Modules::prepare_from(registry, &selected, &options)
    }

    pub(crate) fn examine(modules: &Modules, subject: &Subject<'_>) -> Vec<Finding> {
        let mut out = Vec::new();
        modules.examine(subject, &mut out);
        out
    }

    pub(crate) fn detail(finding: &Finding) -> Value {
        serde_json::from_str(&finding.detail).expect("a detail is JSON")
    }

    /// Says every name; panics at one that says so, after having said the names before it.
    struct Echo;

    impl Examine for Echo {
        fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
            assert!(is_guarded());
            for name in subject.all_names() {
                assert!(!name.contains("panic"), "bad name\u{1b}[2J{name}\nsecond line");
                let detail = Map::new();
                let (check, severity, name) = ("echo", Severity::Info, Some(name));
                let key = name.unwrap_or_default();
                out.push(subject.finding("echo", Claim { check, severity, key, name, once: false, detail }));
            }
        }
    }

    const ECHO: ModuleDef =
        ModuleDef { name: "echo", by_default: true, doc: "", options: &[], prepare: |_| Ok(Box::new(Echo)) };
    const WITH_ECHO: &[ModuleDef] = &[ECHO, watchlist::MODULE];

    #[track_caller]
    fn check_error(selected: &[&str], options: &Value, want: &str) {
        assert_eq!(modules(MODULES, selected, options).err().expect("a mistake").to_string(), want);
    }

    #[test]
    fn defaults_are_of_their_kind_and_every_option_is_described() {
        for module in MODULES {
            assert!(!module.doc.is_empty());
            for option in module.options {
                let given = Options::from_iter([(option.name.to_owned(), option.default_value())]);
                Settings::check(module.name, module.options, &given).expect("a default is allowed");
                assert!(!option.doc.is_empty(), "{}", option.name);
            }
        }
    }

    #[test]
    fn modules_run_in_the_order_of_the_registry() {
        let modules = modules(MODULES, &["watchlist", "names", "watchlist"], &json!({})).expect("no mistake");
        assert_eq!(modules.names().collect::<Vec<_>>(), ["names", "watchlist"]);
    }

    #[test]
    fn unknown_modules_are_mistakes() {
        let known = "known: names, watchlist, issuance, lookalike, phish, policy, risk, rules, first-seen, renewal, key-reuse, \
             rate-anomaly, clusters";
        let want = &format!("modules: unknown module \"watchlst\"; did you mean \"watchlist\"? {known}");
        check_error(&["watchlst"], &json!({}), want);
        check_error(&[], &json!({"watchlst": {}}), want);
        check_error(&["xyz"], &json!({}), &format!("modules: unknown module \"xyz\"; {known}"));
    }

    #[test]
    fn options_of_modules_that_are_not_selected_are_checked_too() {
        check_error(&["watchlist"], &json!({"names": {"max": 0}}), "modules.names.max: 0 is not allowed (1..=1000000)");
    }

    #[test]
    fn a_file_option_goes_by_another_key() {
        assert_eq!(file_option("watchlist", "list_file").map(|option| option.name), Some("list"));
        assert_eq!(file_option("rules", "rules_file").map(|option| option.name), Some("rules"));
        for (module, key) in [("watchlist", "list"), ("watchlist", "items_file"), ("names", "list_file"), ("x", "y")] {
            assert!(file_option(module, key).is_none(), "{module}.{key}");
        }
    }

    #[test]
    fn a_panic_costs_one_module_one_subject() {
        let modules = modules(WITH_ECHO, &["echo", "watchlist"], &json!({"watchlist": {"items": ["panic.example"]}}))
            .expect("no mistake");
        let certificate = certificate(&["fine.example", "panic.example"]);
        let mut out = examine(&modules, &Subject::certificate(&certificate, &[]));
        let said: Vec<_> = out.iter().map(|finding| (&*finding.module, &*finding.check)).collect();
        assert_eq!(said, [("echo", "module-error"), ("watchlist", "match")]);
        assert_eq!(out[0].severity, Severity::Medium);
        assert_eq!(detail(&out[0]), json!({"error": "bad name\\u{1b}[2Jpanic.example"}));
        assert_eq!(out[0].id, Finding::id_of("echo", "module-error", "", Some(&certificate.id)));
        assert!(!is_guarded());

        let fine = boxed(&["fine.example"]);
        modules.examine(&Subject::names_only(&fine), &mut out);
        assert_eq!(out.len(), 3, "what was found before stays");
        assert_eq!((&*out[2].check, out[2].once), ("echo", true));
    }

    #[test]
    fn failures_without_a_certificate_are_told_apart_by_name() {
        let modules = modules(WITH_ECHO, &["echo"], &json!({})).expect("no mistake");
        let [one, two] = ["panic.one", "panic.two"].map(|name| {
            let names = boxed(&[name]);
            examine(&modules, &Subject::names_only(&names)).remove(0)
        });
        assert_eq!((one.name.as_deref(), one.once, one.sha256, one.seen), (Some("panic.one"), true, None, None));
        assert_ne!(one.id, two.id);
    }

    #[test]
    fn an_id_appears_once_per_subject() {
        let modules = modules(WITH_ECHO, &["echo"], &json!({})).expect("no mistake");
        let names = boxed(&["a.example", "b.example", "a.example"]);
        let subject = Subject::names_only(&names);
        let mut out = examine(&modules, &subject);
        assert_eq!(out.len(), 2);
        modules.examine(&subject, &mut out);
        assert_eq!(out.len(), 4, "another subject's findings are not touched");
        assert_eq!(out[..2], out[2..]);
    }
}
