//! The files of a generated stream. Every error names its file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::malformed::Malformed;
use super::truth::{CertificateTruth, Totals};

const BUFFER_BYTES: usize = 1 << 18;
const ZSTD_LEVEL: i32 = 3;
/// 8 MiB, which every reader of zstd accepts: copies of a certificate stand some hundred messages apart.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Where the lines go.
pub struct StreamFile {
    path: PathBuf,
    encoder: Encoder,
}

enum Encoder {
    Stdout(BufWriter<io::Stdout>),
    Plain(BufWriter<File>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl StreamFile {
    /// `-` is stdout; `.zst` and `.gz` are compressed. A file that exists is replaced.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let encoder = Encoder::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path: path.to_owned(), encoder })
    }

    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let out: &mut dyn Write = match &mut self.encoder {
            Encoder::Stdout(out) => out,
            Encoder::Plain(out) => out,
            Encoder::Zstd(out) => out,
            Encoder::Gzip(out) => out,
        };
        out.write_all(bytes).with_context(|| format!("writing {}", self.path.display()))
    }

    /// Without this a compressed file has no end.
    pub fn finish(self) -> anyhow::Result<()> {
        self.encoder.finish().with_context(|| format!("writing {}", self.path.display()))
    }
}

impl Encoder {
    fn create(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout())));
        }
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("zst") => {
                let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                encoder.long_distance_matching(true)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                Ok(Self::Zstd(encoder))
            }
            Some("gz") => Ok(Self::Gzip(GzEncoder::new(file, Compression::default()))),
            _ => Ok(Self::Plain(file)),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Stdout(mut out) => out.flush(),
            Self::Plain(mut out) => out.flush(),
            Self::Zstd(out) => out.finish()?.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
        }
    }
}

/// The truth beside a stream: certificates, malformed lines, totals.
pub struct TruthFiles {
    certificates: BufWriter<File>,
    lines: BufWriter<File>,
    totals: BufWriter<File>,
    path: PathBuf,
}

impl TruthFiles {
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let create = |path: PathBuf| {
            let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
            Ok::<_, anyhow::Error>(BufWriter::with_capacity(BUFFER_BYTES, file))
        };
        let mut files = Self {
            certificates: create(path.to_owned())?,
            lines: create(with_suffix(path, ".lines.csv"))?,
            totals: create(with_suffix(path, ".json"))?,
            path: path.to_owned(),
        };
        files.written(|files| {
            writeln!(files.certificates, "{}", CertificateTruth::HEADER)?;
            writeln!(files.lines, "line,kind,expect")
        })?;
        Ok(files)
    }

    pub fn certificates(&mut self, rows: &[CertificateTruth]) -> anyhow::Result<()> {
        self.written(|files| rows.iter().try_for_each(|row| row.write(&mut files.certificates)))
    }

    pub fn malformed(&mut self, line: u64, kind: Malformed) -> anyhow::Result<()> {
        self.written(|files| writeln!(files.lines, "{line},{},{}", kind.name(), kind.expect().as_str()))
    }

    pub fn finish(mut self, totals: &Totals) -> anyhow::Result<()> {
        self.written(|files| {
            serde_json::to_writer_pretty(&mut files.totals, totals)?;
            writeln!(files.totals)?;
            files.certificates.flush()?;
            files.lines.flush()?;
            files.totals.flush()
        })
    }

    fn written(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> anyhow::Result<()> {
        write(self).with_context(|| format!("writing the truth {}", self.path.display()))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
