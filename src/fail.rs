//! How a process ends when something fails: one line, one exit code.

use std::io::Write;

use ct_sinks::SinkError;
use ct_source::SourceError;

use crate::cluster::exit::Exit;
use crate::cluster::supervisor::SuperviseError;
use crate::live::CollectorError;
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

    /// A second signal ended the workers.
    pub fn is_stopped(&self) -> bool {
        matches!(self.error.downcast_ref(), Some(SuperviseError::Stopped))
    }

    /// A worker process has printed it already.
    pub fn is_reported(&self) -> bool {
        matches!(self.error.downcast_ref(), Some(SuperviseError::Reported { .. }))
            || self.error.downcast_ref().is_some_and(CollectorError::is_reported)
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
        if let Some(error) = cause.downcast_ref::<CollectorError>() {
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
    // Nothing is left to tell it to.
    let _ = writeln!(std::io::stderr(), "ct-stream: {}", line_of(error));
}

/// An error, its causes, and the way out where there is one.
pub fn line_of(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let said = cause.to_string();
        // Errors of libraries often repeat their cause in their own text.
        if !text.contains(&said) {
            text += if text.is_empty() { "" } else { ": " };
            text += &said;
        }
    }
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(SinkError::is_damage) {
        text += "; `ct-stream verify` names everything that is wrong with a lake";
    }
    printable(&text)
}

/// Ends the process: used by threads that have nobody to hand an error to. What is published stays; what is staged is
/// swept by the next job.
pub fn fatal(error: &anyhow::Error) -> ! {
    report(error);
    // Destructors do not run: timely workers are in the middle of things.
    signal_hook::low_level::exit(exit_of(error) as i32)
}

#[cfg(test)]
mod tests {
    use ct_sinks::Store;
    use ct_sinks::lake::Lake;
    use ct_sinks::manifest::FileEntry;

    use super::*;

    #[test]
    fn a_missing_file_of_a_lake_is_named_once_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let lake = Lake::open(Store::open(folder.path().to_str().unwrap(), runtime.handle().clone()).unwrap());
        let path = "entries/date=2026-11-23/000000000001-0000.parquet";
        let file = FileEntry {
            table: ct_model::Table::Entries,
            staged: String::new(),
            path: path.to_owned(),
            bytes: 7,
            rows: 1,
            sha256: String::new(),
            min_seen: None,
            max_seen: None,
        };
        let error = lake.scan(&file, &["log"], &mut |_| Ok(())).expect_err("there is no such file");
        let line = line_of(&anyhow::Error::new(error).context("reading the lake back"));
        assert_eq!(line.matches("No such file").count(), 1, "{line}");
        assert!(line.starts_with(&format!("reading the lake back: reading {path}: ")), "{line}");
        assert!(line.contains("`ct-stream verify`"), "{line}");
    }
}
