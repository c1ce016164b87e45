//! A thread that does one thing after the other for an operator that must not wait.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use timely::scheduling::SyncActivator;

/// Hands work to a thread and brings the results back in order.
///
/// The queue has no bound of its own: the brake of the dataflow bounds what is handed over.
pub struct Courier<In, Out> {
    work: Sender<In>,
    done: Receiver<Out>,
    wakers: Sender<SyncActivator>,
}

impl<In: Send + 'static, Out: Send + 'static> Courier<In, Out> {
    /// `act` runs on a thread of its own; it ends when the courier is dropped.
    pub fn start(name: &str, mut act: impl FnMut(In) -> Out + Send + 'static) -> std::io::Result<Self> {
        let (work, orders) = channel::<In>();
        let (results, done) = channel::<Out>();
        let (wakers, woken) = channel::<SyncActivator>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut waker = None;
            for order in orders {
                if results.send(act(order)).is_err() {
                    return;
                }
                if waker.is_none() {
                    waker = woken.try_recv().ok();
                }
                // A worker that is gone needs no waking.
                let _ = waker.as_ref().map(SyncActivator::activate);
            }
        })?;
        Ok(Self { work, done, wakers })
    }

    pub fn wake_by(&mut self, waker: SyncActivator) {
        // The thread is gone only if it panicked, and then the process is.
        let _ = self.wakers.send(waker);
    }

    pub fn submit(&mut self, work: In) {
        let _ = self.work.send(work);
    }

    pub fn poll(&mut self) -> Option<Out> {
        self.done.try_recv().ok()
    }
}
