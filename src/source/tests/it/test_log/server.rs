//! The listener, its connections, and what becomes of a request: the right answer, or what a fault makes of it.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use super::admin;
use super::calls::Target;
use super::faults::{Fault, Redirect, RetryAfter};
use super::http::{Answer, Connection, Delivery, Request, Stream};
use super::ledger::Ledger;
use super::list::{describe, log_list};
use super::log::{Log, LogOptions, lock};
use super::tiles::gzip_bomb;
use super::tls::Tls;

pub(crate) struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    scheme: &'static str,
    tls: Option<Tls>,
    logs: OnceLock<Vec<Arc<Log>>>,
    /// Served in place of the true list.
    list: Mutex<Option<String>>,
    /// Of all logs together.
    ledger: Ledger,
    sockets: Mutex<Vec<Weak<TcpStream>>>,
    connections: AtomicUsize,
    connections_max: AtomicUsize,
    stop: AtomicBool,
}

impl Server {
    /// On a free port of the loopback address, without TLS.
    pub(crate) fn start(logs: Vec<LogOptions>) -> Self {
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), None, logs).expect("the loopback address has a free port")
    }

    pub(crate) fn listen(address: SocketAddr, tls: Option<Tls>, logs: Vec<LogOptions>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            scheme: if tls.is_some() { "https" } else { "http" },
            tls,
            logs: OnceLock::new(),
            list: Mutex::default(),
            ledger: Ledger::default(),
            sockets: Mutex::default(),
            connections: AtomicUsize::new(0),
            connections_max: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let url = format!("{}://{}", shared.scheme, shared.address);
        shared.logs.get_or_init(|| logs.into_iter().map(|log| Arc::new(Log::new(log, &url))).collect());
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming() {
                if serving.stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(socket) = socket.map(Arc::new) else { continue };
                let mut sockets = lock(&serving.sockets);
                sockets.retain(|socket| socket.strong_count() > 0);
                sockets.push(Arc::downgrade(&socket));
                drop(sockets);
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.serve(socket));
            }
        });
        Ok(Self { shared })
    }

    /// Without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.shared.scheme, self.shared.address)
    }

    pub(crate) fn log_list_url(&self) -> String {
        format!("{}/log_list.json", self.url())
    }

    /// The certificate to trust, if the server speaks TLS.
    pub(crate) fn ca_pem(&self) -> Option<&str> {
        self.shared.tls.as_ref().map(|tls| &*tls.ca_pem)
    }

    pub(crate) fn logs(&self) -> &[Arc<Log>] {
        self.shared.logs()
    }

    /// The log at this place of the options; panics beyond.
    pub(crate) fn log(&self, place: usize) -> &Log {
        &self.logs()[place]
    }

    pub(crate) fn log_list(&self) -> serde_json::Value {
        log_list(self.shared.logs().iter().map(|log| &**log))
    }

    /// What `/log_list.json` says from now on, JSON or not.
    pub(crate) fn set_log_list(&self, text: impl Into<String>) {
        *lock(&self.shared.list) = Some(text.into());
    }

    /// What all logs were asked.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Connections that were open at the same time, at most.
    pub(crate) fn connections_max(&self) -> usize {
        self.shared.connections_max.load(Ordering::Relaxed)
    }

    pub(crate) fn describe(&self) -> serde_json::Value {
        self.logs().iter().map(|log| describe(log)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for socket in lock(&self.shared.sockets).iter().filter_map(Weak::upgrade) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the listener.
        let _ = TcpStream::connect(self.shared.address);
    }
}

/// A socket as the stream under TLS.
struct Socket(Arc<TcpStream>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn logs(&self) -> &[Arc<Log>] {
        self.logs.get().map_or(&[], Vec::as_slice)
    }

    fn serve(&self, socket: Arc<TcpStream>) {
        let open = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.connections_max.fetch_max(open, Ordering::Relaxed);
        // Clients leave when they please, and faults cut them off.
        let _ = self.converse(socket);
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn converse(&self, socket: Arc<TcpStream>) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let below = Socket(Arc::clone(&socket));
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => {
                let session = rustls::ServerConnection::new(Arc::clone(&tls.config)).map_err(io::Error::other)?;
                Box::new(rustls::StreamOwned::new(session, below))
            }
            None => Box::new(below),
        };
        let mut connection = BufReader::new(Connection { stream, socket });
        while let Some(request) = Request::read(&mut connection)? {
            if !self.respond(&request, connection.get_mut())? {
                break;
            }
        }
        Ok(())
    }

    /// Answers one request; false when the connection is over.
    fn respond(&self, request: &Request, connection: &mut Connection) -> io::Result<bool> {
        // Where redirects lead: honest, and counted.
        let (path, redirected) = match request.path.strip_prefix("moved/") {
            Some(path) => (path, true),
            None => (&*request.path, false),
        };
        let (prefix, rest) = path.split_once('/').unwrap_or((path, ""));
        let Some(log) = self.logs().iter().find(|log| log.name() == prefix) else {
            return connection.send(request, &self.own(request), &self.stop, ());
        };
        let target = Target::of(rest);
        let whole = if request.query.is_empty() { rest.to_owned() } else { format!("{rest}?{}", request.query) };
        let under_way = [&log.ledger, &self.ledger]
            .map(|ledger| ledger.begin(target.call(), &whole, &request.user_agent, redirected));
        let answer = if redirected { log.content(target, request, &[]) } else { self.misbehave(log, target, request) };
        let status = if answer.delivery == Delivery::Hang { 0 } else { answer.status };
        under_way.iter().for_each(|under_way| under_way.answer(status));
        connection.send(request, &answer, &self.stop, under_way)
    }

    /// What is no log's.
    fn own(&self, request: &Request) -> Answer {
        if request.path == "log_list.json" {
            let given = lock(&self.list).clone();
            return Answer::json(given.unwrap_or_else(|| log_list(self.logs().iter().map(|log| &**log)).to_string()));
        }
        match request.path.strip_prefix("admin/") {
            Some(verb) => {
                let logs: Vec<&Log> = self.logs().iter().map(|log| &**log).collect();
                admin::answer(verb, request, &logs)
            }
            None => Answer::refusal(404, "no such log"),
        }
    }

    /// The right answer with the faults of this request in it. The first fault that replaces the answer wins.
    fn misbehave(&self, log: &Log, target: Target<'_>, request: &Request) -> Answer {
        if request.method != "GET" {
            return Answer::refusal(405, "GET only");
        }
        let faults = log.meet(target.call());
        if let Some(answer) = faults.iter().find_map(|fault| self.instead(*fault, request)) {
            return answer;
        }
        let mut answer = log.content(target, request, &faults);
        for fault in faults {
            match fault {
                Fault::WrongContentType => answer.content_type = "text/html",
                Fault::Noise => {
                    let noise = (0..answer.body.len() as u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8);
                    answer.body = noise.collect();
                }
                Fault::Delay(delay_ms) => answer.delay = Duration::from_millis(delay_ms),
                Fault::Reset(bytes) => answer.delivery = Delivery::Reset(bytes),
                Fault::Cut(bytes) => answer.delivery = Delivery::Cut(bytes),
                Fault::Drip(bytes_per_second) => answer.delivery = Delivery::Drip(bytes_per_second),
                Fault::Endless => answer.delivery = Delivery::Endless,
                Fault::Hang => answer.delivery = Delivery::Hang,
                _ => {}
            }
        }
        answer
    }

    fn instead(&self, fault: Fault, request: &Request) -> Option<Answer> {
        match fault {
            Fault::Status(status, after) => Some(refuse(status, after)),
            Fault::RateLimit(_, after) => Some(refuse(429, after)),
            Fault::Redirect(redirect) => {
                let mut path = request.path.clone();
                if !request.query.is_empty() {
                    path += &format!("?{}", request.query);
                }
                let to = match redirect {
                    Redirect::SameHost => format!("/moved/{path}"),
                    Redirect::OtherHost => format!("{}://localhost:{}/moved/{path}", self.scheme, self.address.port()),
                    Redirect::Loop => format!("/{path}"),
                };
                Some(Answer::refusal(302, "elsewhere").header("Location", to))
            }
            Fault::Html => {
                Some(Answer::new(200, "text/html", *b"<!DOCTYPE html><title>Maintenance</title><p>We are back soon."))
            }
            Fault::GzipBomb(bytes) => {
                let bomb = gzip_bomb(bytes);
                Some(Answer::new(200, "application/octet-stream", bomb).header("Content-Encoding", "gzip"))
            }
            _ => None,
        }
    }
}

fn refuse(status: u16, after: RetryAfter) -> Answer {
    let answer = Answer::refusal(status, "not now");
    match after {
        RetryAfter::Absent => answer,
        RetryAfter::Seconds(seconds) => answer.header("Retry-After", seconds.to_string()),
        RetryAfter::Date(seconds) => {
            let date = SystemTime::now() + Duration::from_secs(seconds);
            answer.header("Retry-After", httpdate::fmt_http_date(date))
        }
        RetryAfter::Word => answer.header("Retry-After", "soon"),
    }
}
