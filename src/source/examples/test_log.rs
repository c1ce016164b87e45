//! Serves CT logs for other programs to read: made-up certificates or given ones, steady growth, faults on demand.
//!
//! ```text
//! cargo run --release -p ct-source --example test_log -- --kind rfc6962,static --entries synthetic:3000 --start 1000 --logs 2 --grow 50
//! ```
//!
//! Prints one JSON line when it is ready, and serves until it is killed. `tests/it/test_log/admin.rs` lists what its
//! admin address can do.

#[path = "../tests/it/test_log/mod.rs"]
mod test_log;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use test_log::{Key, Kind, LogOptions, Page, Pool, Rule, Server, Tls};

const HELP: &str = "\
usage: test_log [OPTION VALUE]…

  --listen ADDRESS    default 127.0.0.1:0, a free port
  --kind KIND[,KIND]… rfc6962, static, hybrid (both, the default), hybrid-no-checkpoint; the logs take them in turn
  --entries SOURCE    synthetic:N (default synthetic:1000) or a file of JSON lines: CertStream messages with as_der,
                      or entries with leaf_input and extra_data
  --seed N            of synthetic certificates, default 1
  --logs K            so many logs with the same certificates, default 1
  --start SIZE        entries published at first, default all; a restart with less than before is a rollback
  --grow PER_SECOND   entries published each second until the last; a new head each second in any case
  --page N            entries a page of get-entries, never across a multiple of N; default 256, 0 for any number
  --key NAME          ecdsa (default), or rsa: one fixed key, for one log
  --keys FOLDER       keeps the keys there, so that a restart serves the same logs
  --fault RULE        from the start on, in every log; may be repeated
  --tls CA_FILE       speaks TLS and writes the certificate to trust there
";

struct Arguments {
    listen: SocketAddr,
    kinds: Vec<Kind>,
    entries: String,
    seed: u64,
    logs: usize,
    start: u64,
    grow: u64,
    page: u64,
    rsa: bool,
    keys: Option<PathBuf>,
    faults: Vec<Rule>,
    tls: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        kinds: vec![Kind::Hybrid],
        entries: "synthetic:1000".to_owned(),
        seed: 1,
        logs: 1,
        start: u64::MAX,
        grow: 0,
        page: 256,
        rsa: false,
        keys: None,
        faults: Vec::new(),
        tls: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words.next().ok_or(HELP)?;
        let wrong = |why: &dyn std::fmt::Display| format!("{option} {value}: {why}\n\n{HELP}");
        let number = || value.parse::<u64>().map_err(|error| wrong(&error));
        match &*option {
            "--listen" => found.listen = value.parse().map_err(|error| wrong(&error))?,
            "--kind" => {
                let kinds: Option<Vec<Kind>> = value.split(',').map(Kind::named).collect();
                found.kinds = kinds.ok_or_else(|| wrong(&"unknown kind"))?;
            }
            "--entries" => found.entries = value,
            "--seed" => found.seed = number()?,
            "--logs" => found.logs = number()? as usize,
            "--start" => found.start = number()?,
            "--grow" => found.grow = number()?,
            "--page" => found.page = number()?,
            "--key" => {
                found.rsa = match &*value {
                    "ecdsa" => false,
                    "rsa" => true,
                    _ => return Err(wrong(&"unknown key")),
                };
            }
            "--keys" => found.keys = Some(value.into()),
            "--fault" => found.faults.push(value.parse().map_err(|error: String| wrong(&error))?),
            "--tls" => found.tls = Some(value.into()),
            _ => return Err(wrong(&"unknown option")),
        }
    }
    if found.rsa && (found.logs > 1 || found.keys.is_some()) {
        return Err(format!("--key rsa: one log, and no --keys\n\n{HELP}"));
    }
    Ok(found)
}

/// The key of this log: from the folder, or new and left there.
fn key(arguments: &Arguments, name: &str) -> io::Result<Key> {
    if arguments.rsa {
        return Ok(Key::rsa());
    }
    let Some(folder) = &arguments.keys else { return Ok(Key::ecdsa()) };
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}.pkcs8"));
    if !path.exists() {
        std::fs::write(&path, Key::new_pkcs8())?;
    }
    Key::from_pkcs8(&std::fs::read(path)?)
}

fn pool(arguments: &Arguments) -> io::Result<(Pool, u64)> {
    match arguments.entries.strip_prefix("synthetic:") {
        Some(count) => Ok((Pool::synthetic(arguments.seed, count.parse().map_err(io::Error::other)?), 0)),
        None => Pool::read(Path::new(&arguments.entries)),
    }
}

fn serve(arguments: &Arguments) -> io::Result<()> {
    let (pool, passed_over) = pool(arguments)?;
    let pool = Arc::new(pool);
    let mut logs = Vec::new();
    for place in 0..arguments.logs {
        let name = format!("log{place}");
        let page = if arguments.page == 0 { Page::UpTo(u64::MAX) } else { Page::Aligned(arguments.page) };
        let kind = arguments.kinds[place % arguments.kinds.len()];
        let log = LogOptions::new(&name, kind, &pool).start(arguments.start).page(page);
        // The same certificate has another time in each log.
        let first_entry_ms = log.first_entry_ms + place as u64;
        logs.push(LogOptions { first_entry_ms, ..log.key(key(arguments, &name)?) });
    }
    let tls = arguments.tls.as_ref().map(|_| Tls::new(arguments.listen.ip())).transpose()?;
    let server = Server::listen(arguments.listen, tls, logs)?;
    if let (Some(path), Some(pem)) = (&arguments.tls, server.ca_pem()) {
        std::fs::write(path, pem)?;
    }
    for log in server.logs() {
        arguments.faults.iter().for_each(|rule| log.fail(rule.clone()));
    }
    let ready = serde_json::json!({
        "url": server.url(),
        "log_list": server.log_list_url(),
        "admin": format!("{}/admin/", server.url()),
        "ca_file": arguments.tls,
        "passed_over": passed_over,
        "logs": server.describe(),
    });
    writeln!(io::stdout(), "{ready}")?;
    io::stdout().flush()?;

    let mut next = Instant::now();
    loop {
        next += Duration::from_secs(1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
        for log in server.logs() {
            log.grow(arguments.grow);
        }
    }
}

fn main() {
    let served = arguments().and_then(|arguments| serve(&arguments).map_err(|error| error.to_string()));
    if let Err(why) = served {
        let _ = writeln!(io::stderr(), "{why}");
        std::process::exit(2);
    }
}
