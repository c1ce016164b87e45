//! Segments behind URLs, from a server that knows ranges and can misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ct_source::{Encoding, Sizes, expand};

use crate::{expand_one, read_all, runtime};

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Good,
    /// Ends each body a byte early.
    Short,
    /// The content changes after so many ranges.
    ChangesAfter(usize),
    /// Never answers with a range.
    Whole,
}

/// Serves `body` under `/a.jsonl`; gives the URL.
fn serve(body: Vec<u8>, manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a.jsonl", listener.local_addr().unwrap());
    let (body, ranges) = (Arc::new(body), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (body, ranges) = (Arc::clone(&body), Arc::clone(&ranges));
            std::thread::spawn(move || answer(&connection.unwrap(), &body, manner, &ranges));
        }
    });
    url
}

/// One request, then the connection closes.
fn answer(mut connection: &TcpStream, body: &[u8], manner: Manner, ranges: &AtomicUsize) {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    if !request.contains(" /a.jsonl ") {
        connection.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        return;
    }
    let range = headers.iter().find_map(|line| line.strip_prefix("range: bytes=")?.split_once('-'));
    let range = range.filter(|_| manner != Manner::Whole);
    let (status, first, last) = match range {
        Some((first, last)) => ("206 Partial Content", first.parse().unwrap(), last.parse().unwrap()),
        None => ("200 OK", 0, body.len() - 1),
    };
    let asked = ranges.fetch_add(usize::from(range.is_some()), Ordering::Relaxed);
    let part = &body[first..=last];
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", part.len());
    if range.is_some() {
        head += &format!("Content-Range: bytes {first}-{last}/{}\r\n", body.len());
    }
    match manner {
        // Without an ETag the client does not ask for the rest.
        Manner::Short => {}
        Manner::ChangesAfter(count) if asked > count => head += "ETag: \"2\"\r\n",
        _ => head += "ETag: \"1\"\r\n",
    }
    connection.write_all((head + "\r\n").as_bytes()).unwrap();
    if request.starts_with("GET") {
        let cut = usize::from(manner == Manner::Short && part.len() > 4096);
        let _ = connection.write_all(&part[..part.len() - cut]);
    }
}

fn text() -> Vec<u8> {
    (0..2_000).flat_map(|i| format!("{{\"n\":{i}}}\n").into_bytes()).collect()
}

#[test]
fn read_like_a_file() {
    let runtime = runtime();
    let sizes = Sizes::new(6_000, 6_000);
    for stored in [text(), zstd::encode_all(&text()[..], 1).unwrap()] {
        let segment = expand_one(&runtime, &serve(stored.clone(), Manner::Good));
        assert_eq!((segment.bytes, segment.version.as_str()), (stored.len() as u64, "\"1\""));
        for split in [(1, 1), (2, 2)] {
            let chunks = read_all(&runtime, std::slice::from_ref(&segment), split, (0, 0), sizes);
            assert!(chunks.iter().all(|chunk| chunk.broken.is_none()), "{chunks:?}");
            let got: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.text).collect();
            assert_eq!(got, text());
        }
    }
}

#[test]
fn breaks_off() {
    let runtime = runtime();
    let segment = expand_one(&runtime, &serve(text(), Manner::Short));
    let chunks = read_all(&runtime, &[segment], (1, 1), (0, 0), Sizes::new(6_000, 6_000));
    assert!(chunks[0].broken.is_some(), "{chunks:?}");
}

#[test]
fn changes_while_it_is_read() {
    let runtime = runtime();
    let segment = expand_one(&runtime, &serve(text(), Manner::ChangesAfter(1)));
    let chunks = read_all(&runtime, &[segment], (1, 1), (0, 0), Sizes::new(6_000, 6_000));
    assert_eq!(chunks[0].broken, None);
    assert!(chunks[1].broken.as_ref().is_some_and(|why| why.contains("changed")), "{chunks:?}");
}

#[test]
fn no_such_object() {
    let url = serve(text(), Manner::Good).replace("a.jsonl", "b.jsonl");
    let error = expand(&[url], &[], runtime().handle()).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("no such object"), "{error}");
}

#[test]
fn a_server_without_ranges_is_no_usage_error() {
    let error = expand(&[serve(text(), Manner::Whole)], &[], runtime().handle()).unwrap_err();
    assert!(!error.is_usage(), "{error}");
}

#[test]
fn encoding_is_known_by_content() {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec();
    assert_eq!(expand_one(&runtime(), &serve(gzip, Manner::Good)).encoding, Encoding::Gzip);
}
