//! The configuration: one TOML file, `${NAME}` for environment variables, flags on top, one checked value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ct_dataflows::modules::{MODULES, OptionDef, OptionKind, file_option};
use ct_model::Horizon;
use ct_sinks::hot::{self, HotOptions};
use ct_source::logs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cli::{CommonArgs, JobArgs, LogFormat, LogLevel, RunArgs};

/// Options of modules, by module.
pub type ModuleOptions = BTreeMap<String, Map<String, Value>>;

/// The file, each key with its default. A key that is not here is refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub lake: LakeConfig,
    pub dedup: DedupConfig,
    pub hot: HotConfig,
    pub views: ViewsConfig,
    pub cluster: ClusterConfig,
    pub log: LogConfig,
    pub modules: ModulesConfig,
    pub journal: JournalConfig,
    pub logs: LogsConfig,
    pub http: HttpConfig,
    /// Name of the feed that segments come from.
    pub feed: Option<String>,
    /// Live feeds.
    pub feeds: Vec<FeedConfig>,
}

/// A live feed.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeedConfig {
    /// Stands in the column `feed`.
    pub name: String,
    /// `wss://` or `ws://`.
    pub url: String,
    /// Sent with the handshake.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Certificates to trust beside the system's (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// `ws://` to another machine is refused without it.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// A longer message ends the connection.
    #[serde(default = "message_mb")]
    pub message_mb: u64,
    /// How often the server is pinged.
    #[serde(default = "ping_s")]
    pub ping_s: u64,
    /// How long the server may be silent, pongs included.
    #[serde(default = "idle_s")]
    pub idle_s: u64,
    /// What it leaves out of the logs it shows is found, and read from them.
    #[serde(default)]
    pub audit: bool,
}

const fn message_mb() -> u64 {
    4
}
const fn ping_s() -> u64 {
    10
}
const fn idle_s() -> u64 {
    25
}

/// CT logs that are followed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// A log list (v3): a URL or a file. No list, no logs but those of `[[logs.log]]`.
    pub list: Option<String>,
    /// A public key (PEM) whose signature the list must have, in a file or at a URL beside it that ends in `.sig`.
    pub list_key_file: Option<PathBuf>,
    /// How often the list is read again.
    pub list_refresh_s: u64,
    /// Every entry of them is read. Without it they are only asked for what audited feeds leave out.
    pub follow: bool,
    /// Between audits of feeds.
    pub audit_interval_s: u64,
    /// Logs beside those of the list.
    pub log: Vec<SingleLog>,
    /// Only logs with one of these texts in their names; all when empty.
    pub only: Vec<String>,
    /// No logs with one of these texts in their names.
    pub skip: Vec<String>,
    /// Where a log begins that was not followed before.
    pub start: LogStart,
    /// Between looks at a tree head.
    pub poll_s: u64,
    /// Entries wait so long for their tile to fill.
    pub partial_tile_s: u64,
    /// Requests to one operator at a time.
    pub requests_max: usize,
    /// How operators can reach whoever runs this: an address or URL for the User-Agent.
    pub contact: Option<String>,
    /// Certificates to trust beside the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// `http://` to another machine is refused without it.
    pub allow_plaintext: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStart {
    Head,
    Beginning,
}

/// A log that stands in no list.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SingleLog {
    /// Of an RFC 6962 log, or the monitoring prefix of a static one.
    pub url: String,
    /// Its public key: base64 of the DER, as log lists have it.
    pub key: String,
    /// The submission prefix, which makes it a static log.
    #[serde(default)]
    pub submission_url: Option<String>,
}

/// What came from the feeds and is not published so far.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// On a local disk.
    pub dir: PathBuf,
    /// A segment is closed when it is this large.
    pub segment_mb: u64,
    /// Beyond this the feeds are read no further until something is published.
    pub mb_max: u64,
    /// Segments are deleted at this age, published or not; 0 never does that.
    pub max_age_s: u64,
    /// Where published segments are kept (zstd): a folder or a URL; deleted when absent.
    pub keep: Option<String>,
}

/// Health and metrics.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// `none` serves nothing.
    pub addr: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    pub url: String,
    /// Keep the certificates' bytes in the lake.
    pub der: bool,
    /// Memory for rows that wait to be written, in MiB, over all workers of a process: larger means fewer, larger files.
    pub buffer_mb: u64,
    /// How old a live message may grow before it is published.
    pub publish_interval_s: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DedupConfig {
    /// For how many days a live job remembers what it took; 0 is for ever.
    pub horizon_days: u64,
}

impl Default for DedupConfig {
    fn default() -> Self {
        Self { horizon_days: 30 }
    }
}

impl DedupConfig {
    pub fn horizon(&self) -> Option<Horizon> {
        (self.horizon_days > 0).then_some(Horizon(self.horizon_days * 86_400_000))
    }
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HotConfig {
    pub url: String,
    pub prefix: String,
    /// How long a certificate stays, in seconds of the input's own time.
    pub ttl_s: u64,
    /// Newest certificates kept for each registered domain.
    pub per_domain: usize,
    pub findings_max: usize,
    /// How long a server may take to connect or to answer.
    pub timeout_ms: u64,
}

/// Views that are kept up to date over the newest part of the lake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewsConfig {
    pub enabled: bool,
    /// How far they reach back, in seconds of the input's own time.
    pub horizon_s: u64,
    /// How many of a dimension, and of an item's matches, are shown.
    pub top: usize,
    /// A watch list in the form of certspotter, read again when it changes.
    pub watch_file: Option<PathBuf>,
    /// Beyond this the oldest certificates expire early.
    pub certificates_max: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    pub processes: usize,
    pub workers: usize,
    pub secret_file: Option<PathBuf>,
    /// How long the processes of a cluster look for each other, in seconds.
    pub connect_s: u64,
    /// A live worker that does nothing for so long is stopped, and the cluster started again.
    pub stall_s: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct ModulesConfig {
    /// Modules to run; all when absent.
    pub enabled: Option<Vec<String>>,
    /// `[modules.NAME]`: the options of a module.
    #[serde(flatten, deserialize_with = "tables")]
    pub options: ModuleOptions,
}

/// The options of modules; what is no table is told with its key, which the parser has forgotten by then.
fn tables<'de, D: serde::Deserializer<'de>>(keys: D) -> Result<ModuleOptions, D::Error> {
    let keys = BTreeMap::<String, Value>::deserialize(keys)?;
    let tables = keys.into_iter().map(|(key, value)| match value {
        Value::Object(options) => Ok((key, options)),
        _ => {
            let names = MODULES.iter().map(|module| module.name).collect::<Vec<_>>().join(", ");
            let text =
                format!("modules.{key}: allowed are `enabled` and a table for a module: [modules.NAME] ({names})");
            Err(serde::de::Error::custom(text))
        }
    });
    tables.collect()
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self { url: "./lake".to_owned(), der: false, buffer_mb: 20, publish_interval_s: 60 }
    }
}

impl Default for HotConfig {
    fn default() -> Self {
        let url = "embedded".to_owned();
        Self { url, prefix: "ct:".to_owned(), ttl_s: 3_600, per_domain: 128, findings_max: 10_000, timeout_ms: 1_000 }
    }
}

impl HotConfig {
    pub fn options(&self) -> HotOptions {
        HotOptions {
            prefix: self.prefix.clone(),
            ttl_seconds: self.ttl_s,
            per_domain: self.per_domain,
            findings_max: self.findings_max,
            timeout: Duration::from_millis(self.timeout_ms),
        }
    }
}

impl Default for ViewsConfig {
    fn default() -> Self {
        Self { enabled: false, horizon_s: 3_600, top: 100, watch_file: None, certificates_max: 1_000_000 }
    }
}

impl ViewsConfig {
    pub fn check(&self) -> Result<()> {
        between("views.horizon_s", self.horizon_s, 1, 400 * 86_400)?;
        between("views.top", self.top as u64, 1, 10_000)?;
        between("views.certificates_max", self.certificates_max as u64, 1, 1 << 24)
    }

    pub fn horizon_ms(&self) -> i64 {
        i64::try_from(self.horizon_s.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }
}

/// Headers are secrets, and so may be parts of the URL.
impl fmt::Debug for FeedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Without what the URL may hold of secrets.
impl fmt::Debug for HotConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotConfig").field("url", &hot::redacted(&self.url)).finish_non_exhaustive()
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { processes: 1, workers: 1, secret_file: None, connect_s: 60, stall_s: 30 }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { dir: "./journal".into(), segment_mb: 64, mb_max: 16_384, max_age_s: 0, keep: None }
    }
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            list: None,
            list_key_file: None,
            list_refresh_s: 3_600,
            follow: true,
            audit_interval_s: 3_600,
            log: Vec::new(),
            only: Vec::new(),
            skip: Vec::new(),
            start: LogStart::Head,
            poll_s: 10,
            partial_tile_s: 60,
            requests_max: 8,
            contact: None,
            ca_file: None,
            allow_plaintext: false,
        }
    }
}

impl LogsConfig {
    /// Whether any log is to be followed.
    pub fn any(&self) -> bool {
        self.list.is_some() || !self.log.is_empty()
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { addr: "127.0.0.1:9090".to_owned() }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

impl Config {
    /// The file that `common` names, or the defaults, with the common flags on top.
    pub fn load(common: &CommonArgs) -> Result<Self> {
        let mut config = match &common.config {
            None => Self::default(),
            Some(path) => Self::read(path, |name| std::env::var(name).ok())?,
        };
        if let Some(url) = &common.lake {
            config.lake.url.clone_from(url);
        }
        if let Some(url) = &common.hot {
            config.hot.url.clone_from(url);
        }
        config.log.level = common.log_level.unwrap_or(config.log.level);
        config.log.format = common.log_format.unwrap_or(config.log.format);
        config.check()?;
        Ok(config)
    }

    /// Puts the flags of a job on top.
    pub fn with_job(mut self, job: &JobArgs) -> Result<Self> {
        self.cluster.processes = job.processes.unwrap_or(self.cluster.processes);
        self.cluster.workers = job.workers.unwrap_or(self.cluster.workers);
        if let Some(path) = &job.cluster_secret_file {
            self.cluster.secret_file = Some(path.clone());
        }
        if let Some(modules) = &job.modules {
            self.modules.enabled = Some(modules.clone());
        }
        self.check()?;
        Ok(self)
    }

    /// Puts the flags of a live job on top.
    pub fn with_run(mut self, run: &RunArgs) -> Result<Self> {
        self.cluster.processes = run.processes.unwrap_or(self.cluster.processes);
        self.cluster.workers = run.workers.unwrap_or(self.cluster.workers);
        if let Some(modules) = &run.modules {
            self.modules.enabled = Some(modules.clone());
        }
        if let Some(dir) = &run.journal {
            self.journal.dir.clone_from(dir);
        }
        if let Some(addr) = &run.http {
            self.http.addr.clone_from(addr);
        }
        for feed in &run.feeds {
            // An equals sign may also be part of a query.
            let (name, url) = match feed.split_once('=') {
                Some((name, url)) if !name.contains([':', '/']) => (name, url),
                _ => (host_of(feed), feed.as_str()),
            };
            let (name, url) = (name.to_owned(), url.to_owned());
            self.feeds.push(FeedConfig {
                name,
                url,
                headers: BTreeMap::new(),
                ca_file: None,
                allow_plaintext: false,
                message_mb: message_mb(),
                ping_s: ping_s(),
                idle_s: idle_s(),
                audit: false,
            });
        }
        if let Some(list) = &run.log_list {
            self.logs.list = Some(list.clone());
        }
        if self.feeds.is_empty() && !(self.logs.any() && self.logs.follow) {
            bail!(
                "nothing to read: add [[feeds]] with `name` and `url`, or `logs.list`, to the configuration, or \
                 --feed wss://HOST/PATH or --log-list URL"
            );
        }
        if let Some(feed) = self.feeds.iter().find(|feed| feed.audit && !self.logs.any()) {
            bail!(
                "feeds.audit ({}): the logs are asked what a feed leaves out; add `logs.list` or --log-list",
                feed.name
            );
        }
        self.check()?;
        Ok(self)
    }

    /// The modules to run, in registry order, and their options. Files that options name are read here: modules read none.
    pub fn modules(&self) -> Result<(Vec<String>, ModuleOptions)> {
        let default =
            || MODULES.iter().filter(|module| module.by_default).map(|module| module.name.to_owned()).collect();
        let enabled = self.modules.enabled.clone().unwrap_or_else(default);
        let mut options = self.modules.options.clone();
        for (module, options) in &mut options {
            let keys: Vec<String> = options.keys().cloned().collect();
            for (key, option) in keys.iter().filter_map(|key| Some((key, file_option(module, key)?))) {
                let place = format!("modules.{module}.{key}");
                let value = options.remove(key).unwrap_or_default();
                let OptionDef { name, kind, .. } = option;
                if options.contains_key(*name) {
                    bail!("{place}: `{name}` is given too; leave one of them out");
                }
                let given = if *kind == OptionKind::Files { files(&value) } else { file(&value) };
                options.insert((*name).to_owned(), given.context(place)?);
            }
        }
        Ok((enabled, options))
    }

    fn read(path: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let place = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {place}"))?;
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            anyhow::anyhow!("{place} line {line}: {}", error.message())
        })?;
        substitute(&mut toml::Value::Table(std::mem::take(&mut table)), "", &environment)
            .and_then(|value| value.try_into().map_err(|error: toml::de::Error| anyhow::anyhow!(one_line(&error))))
            .with_context(|| place.to_string())
    }

    fn check(&self) -> Result<()> {
        between("lake.buffer_mb", self.lake.buffer_mb, 1, 2_048)?;
        between("hot.ttl_s", self.hot.ttl_s, 1, 400 * 86_400)?;
        between("hot.per_domain", self.hot.per_domain as u64, 1, 1 << 20)?;
        between("hot.findings_max", self.hot.findings_max as u64, 1, 1 << 24)?;
        between("hot.timeout_ms", self.hot.timeout_ms, 1, 600_000)?;
        self.views.check()?;
        if self.views.enabled && self.hot.url == "none" {
            bail!("views.enabled: views are kept in hot state, and hot.url (--hot) is none");
        }
        between("cluster.connect_s", self.cluster.connect_s, 1, 86_400)?;
        between("cluster.stall_s", self.cluster.stall_s, 2, 86_400)?;
        between("lake.publish_interval_s", self.lake.publish_interval_s, 1, 86_400)?;
        between("dedup.horizon_days", self.dedup.horizon_days, 0, 36_500)?;
        between("logs.list_refresh_s", self.logs.list_refresh_s, 1, 30 * 86_400)?;
        between("logs.audit_interval_s", self.logs.audit_interval_s, 1, 30 * 86_400)?;
        between("logs.poll_s", self.logs.poll_s, 1, 86_400)?;
        between("logs.partial_tile_s", self.logs.partial_tile_s, 0, 86_400)?;
        between("logs.requests_max", self.logs.requests_max as u64, 1, 256)?;
        between("journal.segment_mb", self.journal.segment_mb, 1, 1 << 12)?;
        between("journal.mb_max", self.journal.mb_max, 2 * self.journal.segment_mb, 1 << 30)?;
        if self.journal.max_age_s > 0 {
            // A segment is closed at half that age, and published an interval later.
            between("journal.max_age_s", self.journal.max_age_s, 4 * self.lake.publish_interval_s, 10 * 366 * 86_400)?;
        }
        let mut names = BTreeSet::new();
        for (index, feed) in self.feeds.iter().enumerate() {
            let key = |key| format!("feeds[{index}].{key} ({})", feed.name);
            if feed.name.is_empty() || feed.name.len() > 64 || feed.name.contains(char::is_control) || feed.name == "*"
            {
                bail!("{}: a name has 1 to 64 characters", key("name"));
            }
            if feed.name == logs::FEED {
                bail!("{}: this name stands for the logs", key("name"));
            }
            if !names.insert(&feed.name) {
                bail!("{}: another feed has this name", key("name"));
            }
            between(&key("message_mb"), feed.message_mb, 1, 4)?;
            between(&key("ping_s"), feed.ping_s, 1, 3_600)?;
            between(&key("idle_s"), feed.idle_s, feed.ping_s + 1, 86_400)?;
        }
        let hot = self.hot.url.split_once("://").map_or(self.hot.url.as_str(), |(scheme, _)| scheme);
        if !["none", "embedded", "redis", "rediss", "redis+unix", "redis+sentinel", "rediss+sentinel"].contains(&hot) {
            let url = hot::redacted(&self.hot.url);
            bail!("hot.url (--hot): {url}: {}", hot::KINDS);
        }
        between("cluster.processes (-n)", self.cluster.processes as u64, 1, 256)?;
        between("cluster.workers (-w)", self.cluster.workers as u64, 1, 256)?;
        between("cluster.processes x cluster.workers", (self.cluster.processes * self.cluster.workers) as u64, 1, 4_096)
    }
}

/// The text of the file that `value` names.
fn file(value: &Value) -> Result<Value> {
    let path = value.as_str().context("not a text")?;
    std::fs::read_to_string(path).map(Value::from).with_context(|| format!("reading {path}"))
}

/// Names and texts of the files that `value` names, one or a list; a folder stands for the `*.toml` in it.
fn files(value: &Value) -> Result<Value> {
    let paths = match value {
        Value::Array(paths) => paths.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut files = Vec::new();
    for path in paths {
        let path = path.as_str().context("not a text or a list of texts")?;
        let mut found = vec![PathBuf::from(path)];
        if Path::new(path).is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| format!("reading {path}"))?;
            let entries = entries.collect::<Result<Vec<_>, _>>().with_context(|| format!("reading {path}"))?;
            found = entries.into_iter().map(|entry| entry.path()).collect();
            found.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
            found.sort();
        }
        for path in found {
            let path = path.to_string_lossy();
            let text = std::fs::read_to_string(&*path).with_context(|| format!("reading {path}"))?;
            files.push(serde_json::json!({ "file": path, "text": text }));
        }
    }
    Ok(files.into())
}

/// The host in a URL, for a name.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    place.rsplit_once('@').map_or(place, |(_, place)| place)
}

fn between(key: &str, value: u64, least: u64, most: u64) -> Result<()> {
    if !(least..=most).contains(&value) {
        bail!("{key}: {value} is not allowed ({least} to {most})");
    }
    Ok(())
}

/// `message`, and the key it is about where the parser knows it.
fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The value with `${NAME}` and `${NAME:-default}` replaced in its texts; a variable that is not set is an error.
fn substitute(
    value: &mut toml::Value,
    key: &str,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<toml::Value> {
    match value {
        toml::Value::String(text) => {
            let mut out = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("${") {
                let (name, behind) = after.split_once('}').with_context(|| format!("{key}: \"${{\" without \"}}\""))?;
                let (name, default) = name.split_once(":-").map_or((name, None), |(name, or)| (name, Some(or)));
                let set = environment(name).or_else(|| default.map(str::to_owned));
                let set = set.with_context(|| {
                    format!("{key}: the environment variable {name} is not set; set it or write ${{{name}:-default}}")
                })?;
                out += before;
                out += &set;
                rest = behind;
            }
            *text = out + rest;
        }
        toml::Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                substitute(item, &format!("{key}[{index}]"), environment)?;
            }
        }
        toml::Value::Table(table) => {
            for (name, item) in table.iter_mut() {
                let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
                substitute(item, &key, environment)?;
            }
        }
        _ => {}
    }
    Ok(value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("it can be written");
        let environment = |name: &str| (name == "BUCKET").then(|| "s3://archive".to_owned());
        Config::read(file.path(), environment)
            .and_then(|config| config.check().map(|()| config))
            .map_err(|error| error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }

    #[track_caller]
    fn refused(text: &str, part: &str) {
        let error = read(text).expect_err("it is refused");
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn keys_and_variables() {
        let config = read(
            "feed = \"eu\"\n[lake]\nurl = \"${BUCKET}/ct\"\nder = true\n[hot]\nurl = \"${HOT:-none}\"\n[modules]\nenabled = [\"names\"]\n[modules.names]\ntrack_wildcards = true\n",
        )
        .expect("it is right");
        assert_eq!(config.lake.url, "s3://archive/ct");
        assert!(config.lake.der);
        assert_eq!(config.hot.url, "none");
        assert_eq!(config.modules.options["names"]["track_wildcards"], Value::Bool(true));
    }

    #[test]
    fn mistakes_name_the_key() {
        refused("[lake]\nbufer_mb = 3\n", "bufer_mb");
        refused("[lake]\nbuffer_mb = 0\n", "lake.buffer_mb: 0 is not allowed (1 to");
        refused("[lake]\nurl = 7\n", "lake.url");
        refused("[lake]\nurl = \"${NOT_SET}\"\n", "lake.url: the environment variable NOT_SET is not set");
        refused(
            "[modules]\nbogus = 1\n",
            "modules.bogus: allowed are `enabled` and a table for a module: [modules.NAME] (",
        );
        refused("lake = [\n", "line 1");
        refused("[laek]\nurl = \"x\"\n", "laek");
    }
}
