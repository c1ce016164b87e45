//! `check` says what would run, and with `--connect` whether it could.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use sha1::{Digest, Sha1};

use crate::place::Place;

/// A feed that only shakes hands. Gives its port; its thread ends with the process.
fn feed() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(|stream| _ = shake_hands(&stream.unwrap())));
    port
}

fn shake_hands(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut key = String::new();
    for line in BufReader::new(stream).lines() {
        match line?.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => key = value.to_owned(),
            Some(_) => {}
            None if key.is_empty() => {}
            None => break,
        }
    }
    let accept = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64_simd::STANDARD.encode_to_string(accept.as_slice());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn feeds_are_told_without_their_secrets() {
    let place = Place::new();
    place.write(
        "c.toml",
        "[[feeds]]\nname = \"eu\"\nurl = \"wss://feed.example/full?token=hunter2\"\nheaders = { X-Key = \"hunter2\" }\n\
         [[feeds]]\nname = \"us\"\nurl = \"ws://localhost:4000/\"\n[journal]\ndir = \"/var/j\"\n[http]\naddr = \"[::1]:9\"\n",
    );
    let run = place.run("check -c c.toml").ends(0);
    for line in [
        "feed      eu  wss://feed.example/full?…\n",
        "feed      us  ws://localhost:4000/\n",
        "journal   /var/j\n",
        "http      [::1]:9\n",
    ] {
        assert!(run.out.contains(line), "no {line:?} in {run:?}");
    }
    assert!(!run.out.contains("hunter2"), "{run:?}");
    for (text, words) in [
        ("[[feeds]]\nname = \"eu\"\nurl = \"https://feed.example/\"\n", ["eu", "wss://"]),
        ("[[feeds]]\nname = \"eu\"\nurl = \"ws://feed.example/\"\n", ["eu", "allow_plaintext"]),
        ("[[feeds]]\nname = \"\"\nurl = \"wss://feed.example/\"\n", ["feeds[0].name", "1 to 64"]),
        ("[http]\naddr = \"here\"\n", ["http.addr", "HOST:PORT"]),
    ] {
        place.write("bad.toml", text);
        let run = place.run("check -c bad.toml").ends(2);
        assert_eq!((run.out.as_str(), run.err.lines().count()), ("", 1), "{run:?}");
        assert!(words.iter().all(|word| run.err.contains(word)), "{run:?}");
    }
}

#[test]
fn all_is_well() {
    let place = Place::new();
    place.write("c.toml", format!("[[feeds]]\nname = \"eu\"\nurl = \"ws://127.0.0.1:{}/\"\n", feed()));
    for _ in 0..2 {
        let run = place.run("check -c c.toml --connect --lake lake").ends(0);
        assert!(run.out.ends_with("feed eu: ok\nlake lake: ok\nhot embedded: ok\n"), "{run:?}");
        if !place.path("lake").exists() {
            place.generate("s.jsonl", "--messages 300 --seed 32");
            place.replay("s.jsonl", "lake", "--hot embedded").ends(0);
        }
    }
    let left: Vec<_> = fs::read_dir(place.path("lake/_ct")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("check")), "{left:?}");
    place.verified("lake");
}

#[test]
fn whatever_fails_is_told() {
    let place = Place::new();
    let feeds = [("eu", feed()), ("us", closed_port())]
        .map(|(name, port)| format!("[[feeds]]\nname = \"{name}\"\nurl = \"ws://127.0.0.1:{port}/\"\n"));
    place.write("c.toml", feeds.concat());
    place.write("file", "no folder");
    let hot = format!("redis://:hunter2@127.0.0.1:{}", closed_port());
    let run = place.run(&format!("check -c c.toml --connect --lake file --hot {hot}")).ends(1);
    let lines: Vec<&str> = run.out.lines().rev().take(4).collect();
    assert!(lines[3] == "feed eu: ok", "{run:?}");
    assert!(lines[2].starts_with("feed us: ") && lines[2].contains("refused"), "{run:?}");
    assert!(lines[1].starts_with("lake file: ") && !lines[1].ends_with("ok"), "{run:?}");
    assert!(lines[0].starts_with("hot redis://127.0.0.1:") && lines[0].contains("refused"), "{run:?}");
    assert!(!run.out.contains("hunter2") && !run.err.contains("hunter2"), "{run:?}");
}

#[test]
fn a_lake_that_cannot_be_written_to() {
    let place = Place::new();
    fs::create_dir_all(place.path("lake/_ct")).unwrap();
    let probe = place.path("lake/_ct/try");
    fs::set_permissions(place.path("lake/_ct"), fs::Permissions::from_mode(0o555)).unwrap();
    // Who may do everything is not refused.
    let code = if fs::write(&probe, "").is_ok() { 0 } else { 1 };
    place.run("check --connect --lake lake --hot none").ends(code);
    fs::set_permissions(place.path("lake/_ct"), fs::Permissions::from_mode(0o755)).unwrap();
}
