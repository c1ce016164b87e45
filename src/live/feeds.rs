//! A feed's configuration as its client wants it.

use std::time::Duration;

use ct_source::certstream::{Feed, FeedError, FeedOptions};

use crate::config::FeedConfig;

/// Checks the options; connects to nothing.
pub fn feed(config: &FeedConfig) -> Result<Feed, FeedError> {
    let mut options = FeedOptions::new(config.name.as_str(), config.url.as_str());
    options.headers = config.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    options.ca_file.clone_from(&config.ca_file);
    options.allow_plaintext = config.allow_plaintext;
    options.message_bytes_max = usize::try_from(config.message_mb << 20).unwrap_or(usize::MAX);
    options.ping_interval = Duration::from_secs(config.ping_s);
    options.idle_timeout = Duration::from_secs(config.idle_s);
    Feed::new(options)
}
