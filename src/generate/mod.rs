//! `ct-stream generate`: made-up CertStream streams to test and measure with.
//!
//! A stream looks like one of the three known servers', of any length, and is decided by its options alone: the same
//! options give the same bytes. Its certificates are well-formed, repeat across logs and come in pairs of
//! precertificate and final certificate; its authorities, logs, organisations and host names are invented. Beside it
//! stands the truth: what a reader of the stream has to find.

mod certificate;
mod der;
mod generator;
mod issuer;
mod log;
mod malformed;
mod message;
mod names;
mod options;
mod output;
mod rng;
#[cfg(test)]
mod tests;
mod truth;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

pub use generator::{Generator, Kind};
pub use options::Options;

use output::{StreamFile, TruthFiles};

/// Writes a made-up CertStream stream
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub options: Options,
    /// Where the stream goes: a file, compressed if its name ends in .zst or .gz, or - for stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
    /// Write what the stream holds to FILE, FILE.lines.csv and FILE.json
    ///
    /// FILE is CSV with a row for each certificate: its SHA-256 (empty if no message told it), the entries that showed
    /// it, the line of the first, its kind and the number of its names. FILE.lines.csv lists the malformed lines and
    /// what a reader has to make of each: rejected, other or blank. FILE.json has the totals.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
}

/// Writes the stream and, if asked for, its truth. A reader of stdout that goes away ends both early.
pub fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let result = write(args);
    let gone = |error: &anyhow::Error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match result {
        Err(error) if args.out == Path::new("-") && gone(&error) => Ok(()),
        result => result,
    }
}

fn write(args: &GenerateArgs) -> anyhow::Result<()> {
    let mut generator = Generator::new(&args.options);
    let mut stream = StreamFile::create(&args.out)?;
    let mut truth = args.truth.as_deref().map(TruthFiles::create).transpose()?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let kind = generator.next_line(&mut line);
        stream.write(&line)?;
        if let Some(truth) = &mut truth {
            truth.certificates(generator.retired())?;
            if let Some(Kind::Malformed(malformed)) = kind {
                truth.malformed(generator.line(), malformed)?;
            }
        }
        if kind.is_none() {
            break;
        }
    }
    stream.finish()?;
    truth.map_or(Ok(()), |truth| truth.finish(generator.totals()))
}
