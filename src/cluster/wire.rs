//! The two kinds of socket a link can be, behind one trait.

use std::fmt::Debug;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use timely::communication::allocator::zero_copy::stream::Stream;

/// A peer host that vanished without a word is given up after this time, by unanswered data or by probes. A peer that
/// only stands still keeps answering probes; it is given up when it takes no data for as long.
#[cfg(target_os = "linux")]
const SILENCE_MAX: Duration = Duration::from_secs(30);
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES_MAX: u32 = 4;

/// A socket that can become a link. Listeners do not block; streams do.
pub(super) trait Wire: Stream + Debug + 'static {
    type Listener: Send + 'static;
    type Address: Clone + Debug + Send + 'static;

    fn listen(address: &Self::Address) -> io::Result<Self::Listener>;

    /// The next waiting connection and where it comes from; `WouldBlock` when there is none.
    fn accept(listener: &Self::Listener) -> io::Result<(Self, String)>;

    fn dial(address: &Self::Address, until: Instant) -> io::Result<Self>;

    /// The longest one read or write may wait; `None` for ever.
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()>;

    /// What a link needs for its life once the handshake is over.
    fn set_link_options(&self) -> io::Result<()>;

    fn describe(address: &Self::Address) -> String;

    fn hang_up(&self) {
        // It fails when the other end was faster, which is as good.
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Wire for UnixStream {
    type Listener = UnixListener;
    type Address = PathBuf;

    fn listen(address: &PathBuf) -> io::Result<UnixListener> {
        let listener = UnixListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn accept(listener: &UnixListener) -> io::Result<(Self, String)> {
        let (stream, _) = listener.accept()?;
        Stream::set_nonblocking(&stream, false)?;
        Ok((stream, "a local process".to_owned()))
    }

    fn dial(address: &PathBuf, _until: Instant) -> io::Result<Self> {
        UnixStream::connect(address)
    }

    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }

    fn set_link_options(&self) -> io::Result<()> {
        Ok(())
    }

    fn describe(address: &PathBuf) -> String {
        address.display().to_string()
    }
}

impl Wire for TcpStream {
    type Listener = TcpListener;
    type Address = String;

    fn listen(address: &String) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn accept(listener: &TcpListener) -> io::Result<(Self, String)> {
        let (stream, from) = listener.accept()?;
        Stream::set_nonblocking(&stream, false)?;
        Ok((stream, from.to_string()))
    }

    fn dial(address: &String, until: Instant) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for resolved in address.to_socket_addrs()? {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&resolved, left) {
                // On loopback a dial to a port where nobody listens yet can meet itself.
                Ok(stream) if stream.local_addr()? == stream.peer_addr()? => {
                    last = io::ErrorKind::ConnectionRefused.into();
                }
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }

    fn set_link_options(&self) -> io::Result<()> {
        self.set_nodelay(true)?;
        let socket = SockRef::from(self);
        let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES_MAX);
        socket.set_tcp_keepalive(&probes)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(SILENCE_MAX))?;
        Ok(())
    }

    fn describe(address: &String) -> String {
        address.clone()
    }
}

/// Where process `index` listens inside the private folder of its cluster.
pub(super) fn socket_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("worker-{index}.sock"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    /// A loopback address for one test alone: on a shared one, a port that a test gives back may go to another test
    /// while somebody still dials it.
    pub(crate) fn own_host() -> String {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let test = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("127.{test}.{high}.{}", low.clamp(1, 254))
    }

    #[test]
    fn a_tcp_link_notices_that_its_peer_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let until = Instant::now() + Duration::from_secs(20);
        let link = <TcpStream as Wire>::dial(&address, until).expect("it listens");
        link.set_link_options().expect("socket options");
        let socket = SockRef::from(&link);
        assert!(link.nodelay().expect("an option") && socket.keepalive().expect("an option"));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(SILENCE_MAX));
    }

    #[test]
    fn dialling_ends_in_time() {
        let until = Instant::now();
        let late = <TcpStream as Wire>::dial(&"127.0.0.1:1".to_owned(), until).expect_err("no time is left");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
