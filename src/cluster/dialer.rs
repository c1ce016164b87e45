//! The dialing side of a start: one thread for each peer with a lower index.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::hello::{self, Identity, Refusal};
use super::wire::Wire;

const REDIAL_FIRST: Duration = Duration::from_millis(10);
const REDIAL_MAX: Duration = Duration::from_millis(500);

pub(super) struct Dialer<S: Wire> {
    pub(super) me: Arc<Identity>,
    pub(super) peer: usize,
    pub(super) address: S::Address,
    /// The deadline of the whole start, and of one try.
    pub(super) until: Instant,
    pub(super) handshake: Duration,
    /// Set when nobody waits for the link any more.
    pub(super) over: Arc<AtomicBool>,
}

impl<S: Wire> Dialer<S> {
    /// Dials until it is linked, and reports every try; `report` says whether to go on after a failed one.
    pub(super) fn run(&self, mut report: impl FnMut(Result<S, Refusal>) -> bool) {
        let mut pause = REDIAL_FIRST;
        let mut tries = 0;
        while !self.over.load(Ordering::Relaxed) {
            let tried = self.dial();
            let linked = tried.is_ok();
            tries += 1;
            if Instant::now() >= self.until && !linked && tries > 1 {
                // The deadline has cut this try short. What the one before met says more.
                return;
            }
            if !report(tried) || linked {
                return;
            }
            thread::sleep(pause.min(self.until.saturating_duration_since(Instant::now())));
            pause = (pause * 2).min(REDIAL_MAX);
        }
    }

    fn dial(&self) -> Result<S, Refusal> {
        let until = self.until.min(Instant::now() + self.handshake);
        let mut stream = S::dial(&self.address, until).map_err(Refusal::Unreachable)?;
        hello::introduce(&mut stream, &self.me, self.peer, until)?;
        stream.set_link_options()?;
        stream.set_patience(None)?;
        Ok(stream)
    }
}
