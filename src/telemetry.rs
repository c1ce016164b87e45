//! Logs: structured events on stderr.

use std::sync::OnceLock;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::cli::{LogFormat, LogLevel};

/// What is logged, and how to change it.
static LEVEL: OnceLock<Handle<Targets, Registry>> = OnceLock::new();

/// Installs the subscriber of this process. What libraries say below `warn` is left out.
pub fn start(level: LogLevel, format: LogFormat) {
    let (targets, handle) = reload::Layer::new(targets(level));
    // A process has one subscriber.
    let _ = LEVEL.set(handle);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Text => {
            layer.with_target(false).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed()
        }
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(targets)).init();
}

/// Changes what this process logs.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // The subscriber lives as long as the process.
        let _ = handle.reload(targets(level));
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let rooms = ["ct_stream", "ct_source", "ct_dataflows", "ct_sinks", "ct_model"];
    Targets::new().with_default(level.min(Level::WARN)).with_targets(rooms.map(|room| (room, level)))
}
