//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::generate::GenerateArgs;

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed while running; 2 bad usage or configuration; 3 an input could not be read to its end
(what was read is published); 4 another job owns the lake.

Results go to stdout, logs and progress to stderr. A flag wins over the configuration file.";

/// Certificate Transparency as a sharded dataflow: every certificate once, in Parquet and in hot state.
#[derive(Debug, Parser)]
#[command(name = "ct-stream", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read archived segments into the lake
    Replay(ReplayArgs),
    /// Read live feeds and logs into the lake, until a signal ends it
    Run(RunArgs),
    /// Read from logs what the lake does not have of them
    Fill(FillArgs),
    /// What the lake has of each log, what is verified, and what is missing
    Coverage(CoverageArgs),
    /// What a feed left out of the logs it shows, entry by entry
    Audit(AuditArgs),
    /// Prove the lake against its manifests: files, bytes, SHA-256, rows, duplicates
    Verify(VerifyArgs),
    /// Read the configuration and say what would run
    Check(CheckArgs),
    /// Look into hot state
    Hot(HotArgs),
    /// Compute the live views from the lake once, and print them as JSON
    Views(ViewsArgs),
    /// Empty hot state and build it anew from the lake
    RebuildHot(RebuildHotArgs),
    /// List the modules and their options
    Modules(ModulesArgs),
    /// Score names from files or stdin: how much they look like phishing, or like a brand
    Score(ScoreArgs),
    /// Judge certificates (PEM or DER) from files or stdin
    Lint(LintArgs),
    /// Work on rule files
    Rules(RulesArgs),
    /// Make a stream of CertStream messages to try things with
    Generate(GenerateArgs),
    /// One process of a cluster, started by the supervisor
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// The process that writes the journal, started by the supervisor
    #[command(hide = true)]
    Collect(WorkerArgs),
}

#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Configuration file (TOML, `${NAME}` and `${NAME:-default}` stand for environment variables)
    #[arg(short, long, value_name = "FILE", env = "CT_STREAM_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// The lake: a path, file://, s3://, gs:// or az:// [default: ./lake]
    #[arg(long, value_name = "URL", env = "CT_STREAM_LAKE", global = true)]
    pub lake: Option<String>,
    /// Hot state: redis://…, rediss://…, redis+unix://…, redis+sentinel://…, `embedded` or `none` [default: embedded]
    #[arg(long, value_name = "URL", env = "CT_STREAM_HOT", hide_env_values = true, global = true)]
    pub hot: Option<String>,
    /// Least level that is logged [default: info]
    #[arg(long, value_enum, value_name = "LEVEL", global = true)]
    pub log_level: Option<LogLevel>,
    /// Shape of log lines [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

#[derive(Clone, Debug, Default, Args)]
pub struct JobArgs {
    /// Processes of the cluster
    #[arg(short = 'n', long, value_name = "N")]
    pub processes: Option<usize>,
    /// Timely workers in each process
    #[arg(short = 'w', long, value_name = "W")]
    pub workers: Option<usize>,
    /// Start only this process of the cluster (0-based); needs --hostfile
    #[arg(short = 'p', long, value_name = "I", requires = "hostfile")]
    pub process: Option<usize>,
    /// A line `host:port` for each process, in order
    #[arg(long, value_name = "FILE", requires = "process")]
    pub hostfile: Option<PathBuf>,
    /// The secret that processes of one cluster share (with --hostfile)
    #[arg(long, value_name = "FILE", env = "CT_STREAM_CLUSTER_SECRET_FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// Modules to run, comma-separated [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub modules: Option<Vec<String>>,
}

#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Files, directories, globs or object-store URLs; JSON lines, also in gzip or zstd; folders with saved tiles or
    /// get-entries pages of a log
    #[arg(required = true, value_name = "SEGMENT")]
    pub segments: Vec<String>,
    /// Name of the feed the segments come from [default: replay]
    #[arg(long, value_name = "NAME")]
    pub feed: Option<String>,
    /// The log list (v3, a URL or a file) whose keys are trusted in archives of logs
    #[arg(long, value_name = "LIST")]
    pub log_list: Option<String>,
    #[command(flatten)]
    pub batch: BatchArgs,
}

/// Of jobs whose input has an end.
#[derive(Clone, Debug, Args)]
pub struct BatchArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub job: JobArgs,
    /// Progress on stderr: a bar, lines, or nothing; `auto` is a bar on a terminal and lines elsewhere
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
    /// The summary on stdout when the job ends
    #[arg(long, value_enum, default_value_t = Summary::Text)]
    pub summary: Summary,
}

#[derive(Clone, Debug, Args)]
pub struct FillArgs {
    /// The log list (v3), a URL or a file
    #[arg(long, value_name = "LIST")]
    pub log_list: Option<String>,
    /// Only logs with this text in their names; may be repeated
    #[arg(long = "log", value_name = "NAME")]
    pub logs: Vec<String>,
    /// Entries to read, whether or not the lake has them: FIRST-LAST, or FIRST- to the newest
    #[arg(long, value_name = "RANGE")]
    pub range: Option<String>,
    #[command(flatten)]
    pub batch: BatchArgs,
}

#[derive(Clone, Debug, Args)]
pub struct CoverageArgs {
    /// The log list (v3), a URL or a file: also ask each log how large it is
    #[arg(long, value_name = "LIST")]
    pub log_list: Option<String>,
    #[command(flatten)]
    pub common: CommonArgs,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// What the feeds sent: kept segments of a journal, or any CertStream messages in JSON lines [default: what the lake
    /// has from each feed]
    #[arg(value_name = "SEGMENT")]
    pub segments: Vec<String>,
    /// Only this feed; of segments that name none, their feed [default: all, and `replay`]
    #[arg(long, value_name = "NAME")]
    pub feed: Option<String>,
    /// The log list (v3), a URL or a file: entries that the lake does not hold are read from these logs into the lake
    #[arg(long, value_name = "LIST")]
    pub log_list: Option<String>,
    /// Only logs with this text in their names; may be repeated
    #[arg(long = "log", value_name = "NAME")]
    pub logs: Vec<String>,
    /// Ask no log: only what the lake holds is compared
    #[arg(long)]
    pub no_fill: bool,
    /// Entries that are read of each log, and judged of each feed and log, at most: the newest
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub entries_max: u64,
    #[command(flatten)]
    pub common: CommonArgs,
    /// How the report is printed; `json` names every entry that was left out
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// A feed beside those of the configuration: NAME=wss://HOST/PATH, or its URL alone
    #[arg(long = "feed", value_name = "FEED")]
    pub feeds: Vec<String>,
    /// Follow the logs of a log list (v3): a URL or a file
    #[arg(long, value_name = "LIST")]
    pub log_list: Option<String>,
    /// Where the journal is: a folder on a local disk [default: ./journal]
    #[arg(long, value_name = "DIR", env = "CT_STREAM_JOURNAL")]
    pub journal: Option<PathBuf>,
    /// Where health and metrics are served, or `none` [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    #[command(flatten)]
    pub common: CommonArgs,
    /// Processes of the cluster
    #[arg(short = 'n', long, value_name = "N")]
    pub processes: Option<usize>,
    /// Timely workers in each process
    #[arg(short = 'w', long, value_name = "W")]
    pub workers: Option<usize>,
    /// Modules to run, comma-separated [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub modules: Option<Vec<String>>,
    /// The summary on stdout when the job ends
    #[arg(long, value_enum, default_value_t = Summary::Text)]
    pub summary: Summary,
}

#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// What is printed: `text` names each fault and closes with a verdict, `json` is one object
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub job: JobArgs,
    /// Also try every feed, the lake's store and hot state; exit code 1 when one of them fails
    #[arg(long)]
    pub connect: bool,
}

#[derive(Clone, Debug, Args)]
pub struct RebuildHotArgs {
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub struct HotArgs {
    #[command(subcommand)]
    pub query: HotQuery,
    #[command(flatten)]
    pub common: CommonArgs,
    /// How answers are printed
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub format: Format,
}

#[derive(Clone, Debug, Subcommand)]
pub enum HotQuery {
    /// One certificate by its SHA-256
    Cert {
        #[arg(value_name = "SHA256")]
        sha256: String,
    },
    /// The newest certificates of a registered domain
    Domain {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// The newest findings
    Findings {
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
    },
    /// Counters: totals, by module, by issuer, by hour
    Stats,
    /// The live views
    Views,
    /// The largest counts of a dimension of the live views
    Top {
        #[arg(value_enum)]
        dimension: TopDimension,
    },
    /// The newest matches of an item of the live watch list
    Watch {
        #[arg(value_name = "ITEM")]
        item: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TopDimension {
    Issuer,
    Domain,
    Log,
}

impl TopDimension {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Domain => "domain",
            Self::Log => "log",
        }
    }
}

#[derive(Clone, Debug, Args)]
pub struct ViewsArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// How far back the views reach, in seconds of the input's own time
    #[arg(long, value_name = "SECONDS")]
    pub horizon_s: Option<u64>,
    /// How many of a dimension, and of an item's matches, are printed
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// A watch list in the form of certspotter
    #[arg(long, value_name = "FILE")]
    pub watch_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct ModulesArgs {
    /// How the list is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Clone, Debug, Args)]
pub struct ScoreArgs {
    /// Which module
    #[arg(value_enum)]
    pub module: ScoreModule,
    /// Names, one a line [default: standard input]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Domains to find look-alikes of, one a line (lookalike)
    #[arg(long, value_name = "FILE")]
    pub brands: Option<PathBuf>,
    #[command(flatten)]
    pub common: CommonArgs,
    /// `text` prints name,score; `json` an object a line, with reasons
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScoreModule {
    Phish,
    Lookalike,
}

#[derive(Clone, Debug, Args)]
pub struct LintArgs {
    /// Certificates in PEM or DER [default: standard input]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Modules to run, comma-separated [default: policy]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub modules: Option<Vec<String>>,
    /// When the certificates were logged, such as 2026-11-23T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    #[command(flatten)]
    pub common: CommonArgs,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Clone, Debug, Args)]
pub struct RulesArgs {
    #[command(subcommand)]
    pub command: RulesCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum RulesCommand {
    /// Read rule files, and run the tests in them
    Test(RulesTestArgs),
}

#[derive(Clone, Debug, Args)]
pub struct RulesTestArgs {
    /// Rule files, or folders of them
    #[arg(required = true, value_name = "RULES")]
    pub files: Vec<PathBuf>,
    /// Names, one a line, or certificates (PEM or DER): print for each which rules match
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// What that printed before: exit code 1 when it differs
    #[arg(long, value_name = "FILE", requires = "input")]
    pub expect: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// The plan the supervisor wrote
    #[arg(long)]
    pub plan: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    Auto,
    Plain,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Summary {
    Text,
    Json,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}
