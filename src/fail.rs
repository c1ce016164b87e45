//! How a process ends when something fails: one line, one exit code.

use std::io::Write;

use ct_sinks::SinkError;
use ct_source::SourceError;

use crate::cluster::exit::Exit;
use crate::cluster::supervisor::SuperviseError;
use crate::summary::printable;

/// An error on its way to `main`, with the code it ends the process with.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
}

impl Failure {
    /// Whoever called asked for something that cannot be.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// A worker process has printed it already.
    pub fn is_reported(&self) -> bool {
        matches!(self.error.downcast_ref(), Some(SuperviseError::Reported { .. }))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self { exit: exit_of(&error), error }
    }
}

/// The exit code that tells what an error was.
fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        match cause.downcast_ref::<SinkError>() {
            Some(error) if error.is_fenced() => return Exit::Fenced,
            Some(SinkError::Url { .. }) => return Exit::Usage,
            _ => {}
        }
        if let Some(error) = cause.downcast_ref::<SuperviseError>() {
            return error.exit();
        }
        match cause.downcast_ref::<SourceError>() {
            Some(error) if error.is_usage() => return Exit::Usage,
            Some(_) => return Exit::Input,
            None => {}
        }
    }
    Exit::Failed
}

/// Prints an error and its causes as one line, without a control character.
pub fn report(error: &anyhow::Error) {
    let text = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let line = printable(&text);
    // Nothing is left to tell it to.
    let _ = writeln!(std::io::stderr(), "ct-stream: {line}");
}

/// Ends the process: used by threads that have nobody to hand an error to. What is published stays; what is staged is
/// swept by the next job.
pub fn fatal(error: &anyhow::Error) -> ! {
    report(error);
    // Destructors do not run: timely workers are in the middle of things.
    signal_hook::low_level::exit(exit_of(error) as i32)
}
