//! The way from a thread that reads to a worker that never waits.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::SourceError;

type Wake = Mutex<Option<Box<dyn Fn() + Send>>>;

/// What a worker gets from its reading thread.
pub struct Inlet<T> {
    /// Of this process.
    worker: usize,
    items: Receiver<T>,
    wake: Arc<Wake>,
}

/// The sending half. Wakes the worker when it goes, too.
pub(crate) struct Outlet<T> {
    items: Option<SyncSender<T>>,
    wake: Arc<Wake>,
}

/// The worker is gone.
pub(crate) struct Gone;

/// A queue of at most `waiting_max` items.
pub(crate) fn inlet<T>(worker: usize, waiting_max: usize) -> (Outlet<T>, Inlet<T>) {
    let (sender, items) = sync_channel(waiting_max);
    let wake = Arc::new(Wake::default());
    (Outlet { items: Some(sender), wake: Arc::clone(&wake) }, Inlet { worker, items, wake })
}

impl<T> Inlet<T> {
    /// Has `wake` called after each item that is sent, and once now, for those that have been. It must not panic.
    pub fn on_ready(&self, wake: impl Fn() + Send + 'static) {
        // A reader that has just sent an item waits here, and then wakes for it.
        let mut slot = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        wake();
        *slot = Some(Box::new(wake));
    }

    /// The next item, `None` when there is none yet. Never waits. A thread that is gone is an error.
    pub fn try_recv(&mut self) -> Result<Option<T>, SourceError> {
        match self.items.try_recv() {
            Ok(item) => Ok(Some(item)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(SourceError::ReaderDied { worker: self.worker }),
        }
    }
}

impl<T> Outlet<T> {
    /// Waits while the queue is full.
    pub(crate) fn send(&self, item: T) -> Result<(), Gone> {
        self.items.as_ref().and_then(|items| items.send(item).ok()).ok_or(Gone)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if let Some(wake) = &*self.wake.lock().unwrap_or_else(PoisonError::into_inner) {
            wake();
        }
    }
}

impl<T> Drop for Outlet<T> {
    fn drop(&mut self) {
        self.items = None;
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_reader_that_dies_is_no_end() {
        let (outlet, mut inlet) = inlet::<u32>(7, 1);
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&woken);
        inlet.on_ready(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let died = thread::spawn(move || {
            let _outlet = outlet;
            panic!("on purpose");
        });
        assert!(died.join().is_err());
        assert_eq!(woken.load(Ordering::Relaxed), 2);
        assert!(matches!(inlet.try_recv(), Err(SourceError::ReaderDied { worker: 7 })));
    }
}
