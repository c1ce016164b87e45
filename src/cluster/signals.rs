//! SIGTERM and SIGINT: the first asks for a drain, the second for an end at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::unregister;

use super::exit::Exit;

const ASKS_TO_STOP: [i32; 2] = [SIGTERM, SIGINT];

/// A flag that each signal sets, for a supervisor: it takes the flag down again to see the second one.
pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in ASKS_TO_STOP {
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// A flag that the first signal sets, for a job in one process: the second signal ends the process at once.
pub(crate) fn stop_flag_or_exit() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in ASKS_TO_STOP {
        // Actions run in the order of their registration: the first signal must find the flag still down.
        flag::register_conditional_shutdown(signal, Exit::Failed as i32, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// A flag that SIGHUP sets; whoever sees it takes it down.
pub(crate) fn hangup_flag() -> io::Result<Arc<AtomicBool>> {
    let hangup = Arc::new(AtomicBool::new(false));
    flag::register(SIGHUP, Arc::clone(&hangup))?;
    Ok(hangup)
}

/// While it lives, a signal ends the process at once.
pub(crate) struct ExitAtSignal(Vec<SigId>);

/// The first signal from now on does.
pub(crate) fn exit_at_next_signal() -> io::Result<ExitAtSignal> {
    exit_at_signal(&Arc::new(AtomicBool::new(true)))
}

/// The second signal from now on does.
pub(crate) fn exit_at_second_signal() -> io::Result<ExitAtSignal> {
    exit_at_signal(&Arc::new(AtomicBool::new(false)))
}

fn exit_at_signal(seen: &Arc<AtomicBool>) -> io::Result<ExitAtSignal> {
    let mut ids = Vec::new();
    for signal in ASKS_TO_STOP {
        // Actions run in the order of their registration: the first signal must find the flag still down.
        ids.push(flag::register_conditional_shutdown(signal, Exit::Failed as i32, Arc::clone(seen))?);
        ids.push(flag::register(signal, Arc::clone(seen))?);
    }
    Ok(ExitAtSignal(ids))
}

impl Drop for ExitAtSignal {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            unregister(id);
        }
    }
}

/// For a worker process: a service manager signals every process of the job, but only the supervisor can drain a
/// cluster, or start it again, so its children leave these signals to it.
pub(crate) fn leave_to_supervisor() -> io::Result<()> {
    stop_flag()?;
    hangup_flag().map(drop)
}
