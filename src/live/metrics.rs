//! The metrics page, in the text format of OpenMetrics, which Prometheus reads.
//!
//! Every value is computed when it is asked for. Labels hold names of the configuration and words of this program only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::told::{AuditStatus, FeedState, LogStatus};
use super::view::{Now, View};
use crate::progress::Status;

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The whole page.
pub fn text(view: &View) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("ct_stream");
    registry.register_collector(Box::new(Page { now: view.now(), uptime: view.uptime(), restarts: view.restarts() }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page {
    now: Now,
    uptime: Duration,
    restarts: (u64, u64),
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Page { now, uptime, restarts } = self;
        let mut page = Encoder(encoder);
        page.gauge("uptime", "Since the job started", Some(&Unit::Seconds), uptime.as_secs_f64())?;

        let totals = &now.totals;
        let handled = [
            ("heartbeat", totals.heartbeats),
            ("other", totals.other),
            ("rejected", totals.rejected),
            ("redelivered", totals.redelivered),
            ("entry", totals.entries),
            ("names_only", totals.names_only),
        ];
        page.counters("messages", "Published messages by what they were", "kind", handled)?;
        page.counter("certificates", "Rows of the table certificates", totals.certificates)?;
        page.counter("conflicts", "Entries at an index where another certificate stands", totals.conflicts)?;
        page.counter(
            "wrong_claims",
            "Messages whose fingerprint is not that of their certificate",
            totals.wrong_claims,
        )?;
        page.counters("rejected", "Messages that could not be used", "reason", by(&totals.rejected_by_reason))?;
        page.counters("findings", "Rows of the table findings", "module", by(&totals.findings_by_module))?;
        page.counter("gaps", "Rows of the table gaps", totals.gaps)?;

        page.gauge("manifest", "Number of the newest manifest", None, now.manifest as f64)?;
        page.counter("publishes", "Manifests published by this job", now.publishes)?;
        let age = now.published.map_or(*uptime, |published| published.elapsed());
        page.gauge("publish_age", "Since the newest manifest", Some(&Unit::Seconds), age.as_secs_f64())?;

        let status = now.workers.iter().cloned().fold(Status::default(), Status::add);
        page.gauge("dedup_keys", "Keys that tell what is known", None, status.known_keys as f64)?;
        page.gauge("dedup_memory", "Memory of these keys", Some(&Unit::Bytes), status.known_bytes as f64)?;
        page.counters_of("module_seconds", "Time that modules took", "module", &status.module_seconds)?;
        let help = "Time that operators of the dataflow took";
        page.counters_of("operator_busy_seconds", help, "operator", &status.operator_seconds)?;
        page.counter("announced", "Rows shown in hot state before they were published", status.announced)?;
        page.counter("announcements_dropped", "Rows that were not, and show when published", status.unannounced)?;
        page.counter("collector_restarts", "Collector processes started again", restarts.0)?;
        page.counter("cluster_restarts", "Clusters of workers started again", restarts.1)?;

        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64;
        if status.at_ms > 0 {
            let lag = (now_ms - status.at_ms as f64).max(0.0) / 1e3;
            page.gauge(
                "journal_lag",
                "Age of what the workers read; the journal is written every second",
                Some(&Unit::Seconds),
                lag,
            )?;
        }
        if let Some(bytes) = now.journal_behind {
            let help = "What is durable in the journal and not read by the workers";
            page.gauge("journal_lag", help, Some(&Unit::Bytes), bytes as f64)?;
        }
        if let Some(collector) = &now.collector {
            let feeds = || collector.feeds.iter();
            let connected = feeds().map(|feed| (feed.name.as_str(), f64::from(feed.state == FeedState::Connected)));
            page.gauges("feed_connected", "1 while the connection stands", None, "feed", connected)?;
            let silent = feeds().filter_map(|feed| Some((feed.name.as_str(), (now_ms - feed.last_ms? as f64) / 1e3)));
            page.gauges("feed_silence", "Since the last message", Some(&Unit::Seconds), "feed", silent)?;
            let count =
                |of: fn(&super::told::FeedStatus) -> u64| feeds().map(move |feed| (feed.name.as_str(), of(feed)));
            page.counters("feed_frames", "Messages received", "feed", count(|feed| feed.frames))?;
            page.counters("feed_bytes", "Bytes of messages received", "feed", count(|feed| feed.bytes))?;
            page.counters("feed_connects", "Connections made", "feed", count(|feed| feed.connects))?;
            page.counters("feed_gaps", "Gaps noted", "feed", count(|feed| feed.gaps))?;
            let logs = || collector.logs.iter();
            let gauge = |of: fn(&LogStatus) -> u64| logs().map(move |log| (log.name.as_str(), of(log) as f64));
            page.gauges("log_tree_size", "Entries by the newest tree head", None, "log", gauge(|log| log.size))?;
            page.gauges("log_next_index", "Next entry to be read", None, "log", gauge(|log| log.next))?;
            page.gauges("log_verified_size", "Next entry to be proven", None, "log", gauge(|log| log.proven))?;
            let lag = gauge(|log| log.size.saturating_sub(log.next));
            page.gauges("log_lag_entries", "Entries that are signed and not read", None, "log", lag)?;
            let unproven = gauge(|log| log.size.saturating_sub(log.proven));
            page.gauges("log_unproven_entries", "Entries that are signed and not proven", None, "log", unproven)?;
            let age = logs().filter_map(|log| Some((log.name.as_str(), (now_ms - log.head_ms? as f64) / 1e3)));
            page.gauges("log_head_age", "Since the newest tree head was signed", Some(&Unit::Seconds), "log", age)?;
            let failing = gauge(|log| u64::from(log.error.is_some()));
            page.gauges("log_failing", "1 while the log cannot be read", None, "log", failing)?;
            let count = |of: fn(&LogStatus) -> u64| logs().map(move |log| (log.name.as_str(), of(log)));
            page.counters("log_entries", "Entries read", "log", count(|log| log.entries))?;
            page.counters("log_alarms", "Contradictions to what the log signed", "log", count(|log| log.alarms))?;
            page.audited(&collector.audits)?;
            page.gauge("journal", "Segments on disk", Some(&Unit::Bytes), collector.journal_bytes as f64)?;
            page.gauge("journal_full", "1 while the feeds wait for room", None, f64::from(collector.full))?;
            let failing = f64::from(collector.error.is_some());
            page.gauge("journal_failing", "1 while nothing can be made durable", None, failing)?;
            let help = "Segments deleted before they were published, because of their age";
            page.counter("journal_dropped_segments", help, collector.dropped_segments)?;
            let help = "Bytes of these segments";
            page.counter("journal_dropped_bytes", help, collector.dropped_bytes)?;
            page.counter("journal_commits", "Commits", collector.commits)?;
            page.counter_of("journal_commit_seconds", "Time that commits took", collector.commit_seconds)?;
        }
        if let Some(hot) = &now.hot {
            page.gauge("hot_manifest", "Newest manifest that hot state shows", None, hot.applied as f64)?;
            page.counter("hot_errors", "Tries that failed", hot.errors)?;
            page.counter("hot_rebuilds", "Times that hot state was begun anew", hot.rebuilds)?;
        }
        Ok(())
    }
}

fn by(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = (&str, u64)> {
    counts.iter().map(|(name, count)| (name.as_str(), *count))
}

struct Encoder<'a>(DescriptorEncoder<'a>);

impl Encoder<'_> {
    fn audited(&mut self, audits: &[AuditStatus]) -> fmt::Result {
        let help = "Entries of logs by what audits found of feeds; filled ones are also lost ones";
        let mut metric = self.0.encode_descriptor("feed_audit_entries", help, None, MetricType::Counter)?;
        for audit in audits {
            let AuditStatus { feed, delivered, explained, unparseable, lost, filled, unknown } = audit;
            let classes = [
                ("delivered", delivered),
                ("explained", explained),
                ("unparseable", unparseable),
                ("lost", lost),
                ("filled", filled),
                ("unknown", unknown),
            ];
            for (class, entries) in classes {
                let labels = [("feed", escaped(feed)), ("class", class.to_owned())];
                ConstCounter::new(*entries).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn counter_of(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn counters_of(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<String, f64>) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            encode_one(&mut metric, label, of, &ConstCounter::new(*value))?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn counters<'b>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'b str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            encode_one(&mut metric, label, of, &ConstCounter::new(value))?;
        }
        Ok(())
    }

    fn gauges<'b>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        label: &str,
        values: impl IntoIterator<Item = (&'b str, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (of, value) in values {
            encode_one(&mut metric, label, of, &ConstGauge::new(value))?;
        }
        Ok(())
    }
}

fn encode_one(family: &mut MetricEncoder<'_>, label: &str, of: &str, metric: &impl EncodeMetric) -> fmt::Result {
    metric.encode(family.encode_family(&[(label, escaped(of).as_str())])?)
}

/// The encoder takes values as they are.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
