//! Health and metrics over HTTP, for whoever watches a job: no secret, no message and no name from outside is shown.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use super::metrics;
use super::view::View;

/// More wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// A client sends its request, and takes the answer, within this time.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Takes the address, so that nobody else gets it; `None` when `addr` is `none`.
pub fn bind(addr: &str, runtime: &Runtime) -> Result<Option<TcpListener>> {
    if addr == "none" {
        return Ok(None);
    }
    let listener = runtime
        .block_on(TcpListener::bind(addr))
        .with_context(|| format!("http.addr (--http): listening on {addr}; choose another HOST:PORT, or none"))?;
    Ok(Some(listener))
}

/// Serves until the process ends.
pub fn serve(listener: TcpListener, runtime: &Runtime, view: Arc<View>) {
    runtime.spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "an HTTP connection could not be accepted");
                    // Out of descriptors, say: another one is closed sooner or later.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let view = view.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = answer(&request, &view);
                    async { Ok::<_, Infallible>(answer) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(REQUEST_MAX)
                    .keep_alive(false)
                    .max_buf_size(16 << 10)
                    .serve_connection(TokioIo::new(stream), service);
                // A client that went away has its answer or does not want it.
                let _ = timeout(2 * REQUEST_MAX, connection).await;
                drop(place);
            });
        }
    });
}

fn answer(request: &Request<Incoming>, view: &View) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET only\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let faults = view.faults();
            match faults.is_empty() {
                true => text(StatusCode::OK, TEXT, "ready\n".to_owned()),
                false => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, faults.join("\n") + "\n"),
            }
        }
        "/metrics" => match metrics::text(view) {
            Ok(body) => text(StatusCode::OK, metrics::CONTENT_TYPE, body),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, TEXT, "/healthz, /readyz, /metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
