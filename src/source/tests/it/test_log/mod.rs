//! A server of CT logs for tests, RFC 6962 and static-ct-api, and all their ways to misbehave. Loopback only.
//!
//! It shares no code with the client: it is the other side, written from the specifications. One server holds several
//! logs, each under its own prefix: `/NAME/ct/v1/…` and `/NAME/checkpoint`, `/NAME/tile/…`. `/log_list.json` names them
//! all. A thread serves a connection; nothing is written to disk.
//!
//! ```text
//! pool ── entries ── tree ─┐
//!            signing ──────┴─ log ── rfc6962, tiles ── server ── http
//! faults ── which request meets what          ledger ── what was asked
//! ```

#![allow(dead_code, reason = "each program uses a part")]

mod admin;
mod calls;
mod der;
mod entries;
mod faults;
mod http;
mod ledger;
mod list;
mod log;
mod pool;
mod rfc6962;
mod server;
mod signing;
mod synthetic;
mod tiles;
mod tls;
mod tree;

#[allow(unused_imports, reason = "each program uses a part")]
pub(crate) use self::{
    calls::{Call, ENTRIES, HEADS, PARTIALS},
    entries::{Certificate, Entry, Submission, submission_of},
    faults::{Fault, Redirect, RetryAfter, Rule},
    ledger::{Asked, Record},
    log::{Kind, Log, LogOptions, Page},
    pool::Pool,
    server::Server,
    signing::{Key, base64},
    synthetic::Synthetic,
    tls::Tls,
    tree::{Hash, leaf_hash, sha256},
};
