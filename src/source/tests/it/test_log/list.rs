//! The log list, version 3, and the line that says where everything is.

use serde_json::{Value, json};

use super::log::Log;
use super::signing::base64;

const SINCE: &str = "2026-01-01T00:00:00Z";

/// All logs, in the shape of the published lists.
pub(super) fn log_list<'a>(logs: impl Iterator<Item = &'a Log>) -> Value {
    let (mut rfc6962, mut tiled) = (Vec::new(), Vec::new());
    for log in logs {
        let mut item = json!({
            "description": format!("Test log {}", log.name()),
            "log_id": base64(&log.key().log_id()),
            "key": base64(log.key().spki()),
            "state": { "usable": { "timestamp": SINCE } },
            "temporal_interval": { "start_inclusive": SINCE, "end_exclusive": "2030-01-01T00:00:00Z" },
        });
        if log.kind().is_tiled() {
            item["submission_url"] = log.url().into();
            item["monitoring_url"] = log.url().into();
            item["mmd"] = 60.into();
            tiled.push(item);
        } else {
            item["url"] = log.url().into();
            item["mmd"] = 86_400.into();
            rfc6962.push(item);
        }
    }
    json!({
        "version": "1.0",
        "log_list_timestamp": SINCE,
        "operators": [{ "name": "Test", "email": ["test@example.com"], "logs": rfc6962, "tiled_logs": tiled }],
    })
}

/// One log, as the admin address and the program's first line show it.
pub(super) fn describe(log: &Log) -> Value {
    json!({
        "name": log.name(),
        "kind": log.kind().name(),
        "url": log.url(),
        "origin": log.origin(),
        "log_id": base64(&log.key().log_id()),
        "key": base64(log.key().spki()),
        "size": log.size(),
        "root": base64(&log.root(log.size())),
    })
}
