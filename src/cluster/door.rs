//! The listening side of a start: admits connections and gives each handshake a thread of its own.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::hello::{self, Identity, Peer, Refusal};
use super::wire::Wire;

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// One handshake, from the first byte to the last.
    pub(super) handshake: Duration,
    /// Handshakes at the same time. When one more comes, the oldest is hung up on: a true peer needs milliseconds, so
    /// the oldest is the least likely to be one.
    pub(super) half_open_max: usize,
}

impl Limits {
    /// All peers may come in the same moment, and strangers besides.
    pub(super) fn for_cluster(processes: usize) -> Self {
        Self { handshake: Duration::from_secs(5), half_open_max: processes.saturating_add(64) }
    }
}

/// How the handshake with one visitor ended.
#[derive(Debug)]
pub(super) struct Visit<S> {
    visitor: u64,
    pub(super) from: String,
    pub(super) outcome: Result<Linked<S>, Refusal>,
}

#[derive(Debug)]
pub(super) struct Linked<S> {
    pub(super) peer: usize,
    /// Grows with every admission: of two links with one process the later one counts.
    pub(super) turn: u64,
    pub(super) stream: S,
}

pub(super) struct Door<S: Wire, E> {
    listener: S::Listener,
    me: Arc<Identity>,
    limits: Limits,
    places: Arc<Mutex<Places>>,
    /// Second handles of the connections in handshake, oldest first, to hang up on them.
    half_open: VecDeque<(u64, S)>,
    visitors: u64,
    events: SyncSender<E>,
}

impl<S: Wire, E: From<Visit<S>> + Send + 'static> Door<S, E> {
    pub(super) fn new(listener: S::Listener, me: Arc<Identity>, limits: Limits, events: SyncSender<E>) -> Self {
        let places = Arc::new(Mutex::new(Places::for_peers(me.member.processes)));
        Self { listener, me, limits, places, half_open: VecDeque::new(), visitors: 0, events }
    }

    /// Admits who waits outside, without waiting itself. An error is one connection's, or passes with time (no file
    /// descriptor is free): the door stays open.
    pub(super) fn open(&mut self) -> io::Result<()> {
        for _ in 0..self.limits.half_open_max {
            match S::accept(&self.listener) {
                Ok((stream, from)) => self.admit(stream, from)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn admit(&mut self, mut stream: S, from: String) -> io::Result<()> {
        while self.half_open.len() >= self.limits.half_open_max {
            let Some((_, oldest)) = self.half_open.pop_front() else { break };
            oldest.hang_up();
        }
        self.visitors += 1;
        let visitor = self.visitors;
        let handle = stream.try_clone()?;
        let until = Instant::now() + self.limits.handshake;
        let (me, places, events) = (Arc::clone(&self.me), Arc::clone(&self.places), self.events.clone());
        thread::Builder::new().name("link-door".into()).spawn(move || {
            let outcome = receive(&mut stream, &me, &places, until);
            let outcome = outcome.map(|(peer, turn)| Linked { peer, turn, stream });
            // Nobody listens when the start is over; the stream is then closed here.
            let _ = events.send(E::from(Visit { visitor, from, outcome }));
        })?;
        self.half_open.push_back((visitor, handle));
        Ok(())
    }

    /// Forgets a visitor whose handshake is over.
    pub(super) fn see_off(&mut self, visit: &Visit<S>) {
        self.half_open.retain(|(visitor, _)| *visitor != visit.visitor);
    }
}

fn receive<S: Wire>(
    stream: &mut S,
    me: &Identity,
    places: &Mutex<Places>,
    until: Instant,
) -> Result<(usize, u64), Refusal> {
    // A place is plain data: it is right even if another thread died with the lock.
    let places = || places.lock().unwrap_or_else(PoisonError::into_inner);
    let mut booked = None;
    let answered = hello::answer(stream, me, until, |peer| {
        booked = places().book(peer).map(|turn| (peer.index, turn));
        booked.is_some()
    });
    let ready = answered.and_then(|()| Ok(stream.set_link_options().and_then(|()| stream.set_patience(None))?));
    match (ready, booked) {
        (Ok(()), Some(place)) => Ok(place),
        (Ok(()), None) => unreachable!("hello::answer succeeds only for a peer that was admitted"),
        (Err(refusal), None) => Err(refusal),
        (Err(refusal), Some((peer, turn))) => {
            places().release(peer, turn);
            Err(refusal)
        }
    }
}

/// The places of the processes that dial this one.
///
/// A process that missed its verdict dials again and finds its place booked by its own first try: the same instance
/// may book twice, another instance may not.
#[derive(Debug)]
struct Places {
    booked: Vec<Option<(hello::Instance, u64)>>,
    turns: u64,
}

impl Places {
    fn for_peers(processes: usize) -> Self {
        Self { booked: vec![None; processes], turns: 0 }
    }

    fn book(&mut self, peer: Peer) -> Option<u64> {
        let place = &mut self.booked[peer.index];
        if place.is_some_and(|(instance, _)| instance != peer.instance) {
            return None;
        }
        self.turns += 1;
        *place = Some((peer.instance, self.turns));
        Some(self.turns)
    }

    /// Frees a place whose booking did not lead to a link.
    fn release(&mut self, index: usize, turn: u64) {
        let place = &mut self.booked[index];
        if place.is_some_and(|(_, last)| last == turn) {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instance_books_again_and_another_does_not() {
        let peer = |instance| Peer { index: 1, generation: 1, instance: [instance; 16] };
        let mut places = Places::for_peers(2);
        let first = places.book(peer(7)).expect("the place is free");
        let second = places.book(peer(7)).expect("the same process tries again");
        assert!(second > first);
        assert_eq!(places.book(peer(8)), None);
        places.release(1, first);
        assert_eq!(places.book(peer(8)), None, "an old booking frees nothing");
        places.release(1, second);
        assert!(places.book(peer(8)).is_some());
    }
}
