//! Segments in the local file system: how names become paths, and what lies there.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use url::Url;

use crate::error::SourceError;
use crate::logs::archive;
use crate::segments::{Encoding, Segment};

const ENDINGS: [&str; 3] = [".jsonl", ".ndjson", ".json"];
const COMPRESSED: [&str; 3] = [".gz", ".zst", ".zstd"];

/// Whether a file met in a directory or below a prefix is taken for a segment.
pub(crate) fn is_segment_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let stem = COMPRESSED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    // What mirrors of logs have beside them.
    let is_list = matches!(stem, "log_list.json" | "all_logs_list.json");
    !name.starts_with('.') && !is_list && ENDINGS.iter().any(|ending| stem.ends_with(ending))
}

/// Whether a directory met on the way is passed over: hidden ones, and those (`_ct`) that tools keep for themselves.
pub(crate) fn is_private_dir(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

pub(crate) fn path_of_url(url: &str) -> Result<String, SourceError> {
    let refuse = |why: &str| SourceError::Url { url: url.to_owned(), why: why.to_owned() };
    let parsed = Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
    let path = parsed.to_file_path().map_err(|()| refuse("a file URL has three slashes: file:///path"))?;
    path.into_os_string().into_string().map_err(|_| refuse("the path is not UTF-8"))
}

/// Absolute paths of the files that `arg` names, sorted bytewise as objects in a store are.
pub(crate) fn find(arg: &str) -> Result<Vec<String>, SourceError> {
    let mut found = Vec::new();
    let is_pattern = arg.contains(['*', '?', '[']);
    if is_pattern && fs::symlink_metadata(arg).is_err() {
        find_by_pattern(arg, &mut found)?;
    } else {
        let path = absolute(arg)?;
        let metadata = fs::metadata(&path).map_err(|error| SourceError::file("opening", arg, error))?;
        if metadata.is_dir() && archive::detect(&path).is_some() {
            found.push(name_of(path)?);
        } else if metadata.is_dir() {
            walk(&path, &mut found)?;
            if found.is_empty() {
                return Err(SourceError::NoSegments { place: arg.to_owned() });
            }
        } else {
            found.push(name_of(path)?);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A match that is a directory counts as named, as it would when a shell had expanded the pattern.
fn find_by_pattern(pattern: &str, found: &mut Vec<String>) -> Result<(), SourceError> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let matches = glob::glob_with(pattern, options)
        .map_err(|error| SourceError::Pattern { pattern: pattern.to_owned(), why: error.msg.to_owned() })?;
    for path in matches {
        let path = path.map_err(|error| {
            let path = error.path().to_string_lossy().into_owned();
            SourceError::file("listing", &path, error.into())
        })?;
        let path = absolute(&name_of(path)?)?;
        if path.is_dir() && archive::detect(&path).is_none() {
            walk(&path, found)?;
        } else {
            found.push(name_of(path)?);
        }
    }
    if found.is_empty() {
        return Err(SourceError::NoMatch { pattern: pattern.to_owned() });
    }
    Ok(())
}

/// Adds the segments below `top`. Links are followed, each directory once, so that a circle of them ends.
fn walk(top: &Path, found: &mut Vec<String>) -> Result<(), SourceError> {
    let mut dirs = vec![top.to_owned()];
    let mut seen = HashSet::new();
    while let Some(dir) = dirs.pop() {
        let failed = |error| SourceError::file("listing", &dir.to_string_lossy(), error);
        if !seen.insert(fs::canonicalize(&dir).map_err(failed)?) {
            continue;
        }
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let mut kind = entry.file_type().map_err(failed)?;
            if kind.is_symlink() {
                match fs::metadata(&path) {
                    Ok(metadata) => kind = metadata.file_type(),
                    Err(_) if !is_segment_name(&name) => continue,
                    Err(error) => return Err(SourceError::file("opening", &path.to_string_lossy(), error)),
                }
            }
            if kind.is_dir() {
                if archive::detect(&path).is_some() {
                    found.push(name_of(path)?);
                } else if !is_private_dir(&name) {
                    dirs.push(path);
                }
            } else if is_segment_name(&name) {
                found.push(name_of(path)?);
            }
        }
    }
    Ok(())
}

/// Two names of one file have one identity.
pub(crate) fn identity(name: &str) -> Result<String, SourceError> {
    name_of(fs::canonicalize(name).map_err(|error| SourceError::file("opening", name, error))?)
}

pub(crate) fn examine(name: String) -> Result<Segment, SourceError> {
    let metadata = fs::metadata(&name).map_err(|error| SourceError::file("opening", &name, error))?;
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(SourceError::NotAFile { path: name });
    }
    let mut head = Vec::new();
    File::open(&name)
        .and_then(|file| file.take(Encoding::HEAD_BYTES).read_to_end(&mut head))
        .map_err(|error| SourceError::file("reading", &name, error))?;
    match Encoding::detect(&head) {
        Some(encoding) => Ok(Segment { bytes: metadata.len(), encoding, version: version(&metadata), name, log: None }),
        None => Err(SourceError::NotASegment { name }),
    }
}

fn version(metadata: &Metadata) -> String {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{}-{}", modified.unwrap_or_default().as_nanos(), metadata.len())
}

/// Absolute and without `.` and `..`, yet not resolved: a link keeps its name.
fn absolute(name: &str) -> Result<PathBuf, SourceError> {
    let failed = |error| SourceError::file("opening", name, error);
    let path = std::path::absolute(name).map_err(failed)?;
    let mut lexical = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                lexical.pop();
            }
            part => lexical.push(part),
        }
    }
    // Behind a link to a directory, `..` leads elsewhere than the text says.
    if lexical != path {
        let real = fs::canonicalize(&path).map_err(failed)?;
        if fs::canonicalize(&lexical).ok().as_ref() != Some(&real) {
            return Ok(real);
        }
    }
    Ok(lexical)
}

fn name_of(path: PathBuf) -> Result<String, SourceError> {
    path.into_os_string()
        .into_string()
        .map_err(|name| SourceError::NotUtf8 { path: name.to_string_lossy().into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments() {
        for name in ["a.jsonl", "a.JSONL.gz", "a.b.ndjson.zst", "a.json.zstd", "_a.json"] {
            assert!(is_segment_name(name), "{name}");
        }
        for name in
            ["a.txt", "a.gz", "jsonl", ".a.jsonl", "a.jsonl.bz2", "a.jsonl.gz.tmp", "a.parquet", "log_list.json", ""]
        {
            assert!(!is_segment_name(name), "{name}");
        }
    }
}
