//! Segments in object stores and on web servers: how URLs become objects, and how objects are read.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use futures::{StreamExt, TryStreamExt};
use glob::{MatchOptions, Pattern};
use object_store::path::Path as ObjectPath;
use object_store::{DynObjectStore, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use url::{Position, Url};

use crate::error::SourceError;
use crate::files::{is_private_dir, is_segment_name};
use crate::segments::{Encoding, Segment};

pub(crate) const SCHEMES: [&str; 10] = ["s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https"];

/// Objects whose beginnings are looked at side by side.
const EXAMINED_AT_ONCE: usize = 16;

/// Clients of the stores in use, one for each bucket or server, and the runtime they run on.
pub(crate) struct Stores {
    runtime: Handle,
    open: Mutex<HashMap<String, Arc<DynObjectStore>>>,
}

/// One object, or what a pattern or prefix begins with.
pub(crate) struct Object {
    store: Arc<DynObjectStore>,
    path: ObjectPath,
    /// The URL without the path; it has no trailing slash.
    base: String,
    runtime: Handle,
}

impl Stores {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, open: Mutex::default() }
    }

    pub(crate) fn locate(&self, url: &str) -> Result<Object, SourceError> {
        let refuse = |why: &str| SourceError::Url { url: url.to_owned(), why: why.to_owned() };
        let parsed = Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
        if parsed.password().is_some() {
            // The name of a segment is written into the lake.
            return Err(SourceError::Url {
                url: parsed[..Position::BeforeUsername].to_owned(),
                why: "it holds a password; put credentials into the environment".to_owned(),
            });
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(refuse(
                "it has a query or fragment; write ? as %3F and # as %23 when they are part of the name",
            ));
        }
        if parsed.path().to_ascii_lowercase().contains("%2f") {
            return Err(refuse("a slash in it is written %2F; write it as it is"));
        }
        // The kind of store decides whether the first part of the path is the bucket.
        let path = match object_store::ObjectStoreScheme::parse(&parsed) {
            Ok((_, path)) => path,
            Err(error) => return Err(refuse(&error.to_string())),
        };
        let mut base = parsed[..Position::BeforePath].to_owned();
        let parts: Vec<_> = parsed.path().split('/').filter(|part| !part.is_empty()).collect();
        for part in &parts[..parts.len().saturating_sub(path.parts().count())] {
            base = format!("{base}/{part}");
        }

        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let store = match open.get(&base) {
            Some(store) => Arc::clone(store),
            None => {
                // A second install loses to the first; either way ring is the provider.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let (store, _) = object_store::parse_url_opts(&parsed, options(parsed.scheme()))
                    .map_err(|source| SourceError::object("opening the store", url, source))?;
                let store: Arc<DynObjectStore> = store.into();
                open.insert(base.clone(), Arc::clone(&store));
                store
            }
        };
        Ok(Object { store, path, base, runtime: self.runtime.clone() })
    }
}

/// The environment's settings of the stores. Names without a store's prefix, such as `TOKEN`, mean other things.
fn options(scheme: &str) -> Vec<(String, String)> {
    let mut options: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    if scheme == "http" {
        options.push(("allow_http".to_owned(), "true".to_owned()));
    }
    options
}

/// Segments that `url` names: an object; with a trailing slash all segments below it; with `*` the objects that match.
pub(crate) fn find(url: &str, stores: &Stores) -> Result<Vec<Segment>, SourceError> {
    let object = stores.locate(url)?;
    let is_pattern = url.contains('*');
    let is_prefix = !is_pattern && (url.ends_with('/') || object.path.as_ref().is_empty());
    let runtime = object.runtime.clone();
    runtime.block_on(async {
        let found = if is_pattern {
            object.find_by_pattern(url).await?
        } else if is_prefix {
            object.find_below(url).await?
        } else {
            let meta = object.store.head(&object.path).await;
            vec![meta.map_err(|source| SourceError::object("opening", url, source))?]
        };
        let mut found: Vec<_> = found.into_iter().map(|meta| (object.url_of(&meta.location), meta)).collect();
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        futures::stream::iter(found.into_iter().map(|(name, meta)| object.examine(name, meta)))
            .buffered(EXAMINED_AT_ONCE)
            .try_collect()
            .await
    })
}

impl Object {
    async fn find_below(&self, url: &str) -> Result<Vec<ObjectMeta>, SourceError> {
        let found = self
            .list(&self.path, url, |location| {
                let below: Vec<_> = location.prefix_match(&self.path).into_iter().flatten().collect();
                below.split_last().is_some_and(|(name, dirs)| {
                    is_segment_name(name.as_ref()) && !dirs.iter().any(|dir| is_private_dir(dir.as_ref()))
                })
            })
            .await?;
        if found.is_empty() {
            return Err(SourceError::NoSegments { place: url.to_owned() });
        }
        Ok(found)
    }

    /// `*` stands for any part of a name, `**` for any number of directories; nothing else is special.
    /// As in the local file system, a leading dot must be written out.
    async fn find_by_pattern(&self, url: &str) -> Result<Vec<ObjectMeta>, SourceError> {
        let mut text = String::new();
        for piece in self.path.as_ref().split_inclusive('*') {
            let star = piece.ends_with('*');
            text.push_str(&Pattern::escape(piece.trim_end_matches('*')));
            text.push_str(if star { "*" } else { "" });
        }
        let pattern = Pattern::new(&text)
            .map_err(|error| SourceError::Pattern { pattern: url.to_owned(), why: error.msg.to_owned() })?;
        let options =
            MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
        let prefix: ObjectPath = self.path.parts().take_while(|part| !part.as_ref().contains('*')).collect();
        let found = self.list(&prefix, url, |location| pattern.matches_with(location.as_ref(), options)).await?;
        if found.is_empty() {
            return Err(SourceError::NoMatch { pattern: url.to_owned() });
        }
        Ok(found)
    }

    async fn list(
        &self,
        prefix: &ObjectPath,
        url: &str,
        wanted: impl Fn(&ObjectPath) -> bool,
    ) -> Result<Vec<ObjectMeta>, SourceError> {
        let mut found = Vec::new();
        let mut listing = self.store.list(Some(prefix));
        while let Some(meta) = listing.next().await {
            let meta = meta.map_err(|source| SourceError::object("listing", url, source))?;
            if wanted(&meta.location) {
                found.push(meta);
            }
        }
        Ok(found)
    }

    async fn examine(&self, name: String, mut meta: ObjectMeta) -> Result<Segment, SourceError> {
        let mut head = Vec::new();
        if meta.size > 0 {
            let range = 0..meta.size.min(Encoding::HEAD_BYTES);
            // A listing may write an ETag otherwise than the response that a reader will compare with.
            (meta, head) = get(&self.store, &meta.location, range)
                .await
                .map_err(|source| SourceError::object("reading", &name, source))?;
        }
        match Encoding::detect(&head) {
            Some(encoding) => Ok(Segment { name, bytes: meta.size, encoding, version: version(&meta), log: None }),
            None => Err(SourceError::NotASegment { name }),
        }
    }

    fn url_of(&self, location: &ObjectPath) -> String {
        format!("{}/{}", self.base, encode(location))
    }

    pub(crate) fn read<'a>(&'a self, segment: &'a Segment, offset: u64, window: u64) -> ObjectReader<'a> {
        ObjectReader { object: self, segment, at: offset, window, bytes: Bytes::new() }
    }
}

/// Reads an object in ranges. The store's client tries each again by itself, for a while.
pub(crate) struct ObjectReader<'a> {
    object: &'a Object,
    segment: &'a Segment,
    /// The end of what was asked for.
    at: u64,
    window: u64,
    /// What of it has not been read.
    bytes: Bytes,
}

impl Read for ObjectReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && self.at < self.segment.bytes {
            let end = self.segment.bytes.min(self.at.saturating_add(self.window));
            let Object { store, path, runtime, .. } = self.object;
            let (meta, bytes) = runtime.block_on(get(store, path, self.at..end)).map_err(io::Error::other)?;
            if version(&meta) != self.segment.version {
                return Err(io::Error::other("the object changed while it was read"));
            }
            self.bytes = bytes.into();
            self.at = end;
        }
        let read = out.len().min(self.bytes.len());
        self.bytes.copy_to_slice(&mut out[..read]);
        Ok(read)
    }
}

/// The bytes of `range`, not one more or less, whatever the server sends.
async fn get(
    store: &DynObjectStore,
    path: &ObjectPath,
    range: std::ops::Range<u64>,
) -> object_store::Result<(ObjectMeta, Vec<u8>)> {
    let wanted = (range.end - range.start) as usize;
    let result = store.get_opts(path, GetOptions { range: Some(range.into()), ..GetOptions::default() }).await?;
    let meta = result.meta.clone();
    let mut parts = result.into_stream();
    let mut bytes = Vec::with_capacity(wanted);
    while let Some(part) = parts.try_next().await? {
        bytes.extend_from_slice(&part[..part.len().min(wanted + 1 - bytes.len())]);
        if bytes.len() > wanted {
            break;
        }
    }
    if bytes.len() != wanted {
        let why = format!("asked for {wanted} bytes, got {}", bytes.len());
        return Err(object_store::Error::Generic { store: "range", source: why.into() });
    }
    Ok((meta, bytes))
}

fn version(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(tag) => tag.clone(),
        None => format!("{}-{}", meta.last_modified.timestamp_millis(), meta.size),
    }
}

/// A location as the path of a URL (RFC 3986 section 3.3), such that parsing gives it back.
fn encode(location: &ObjectPath) -> String {
    let mut text = String::new();
    for byte in location.as_ref().bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'/'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'='
            | b'+'
            | b','
            | b':'
            | b'@'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b';' => text.push(byte as char),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn stores(runtime: &tokio::runtime::Runtime, objects: &[&str]) -> Stores {
        let store = InMemory::new();
        for object in objects {
            let body = if object.ends_with("0.jsonl") { "" } else { "{}\n" };
            runtime.block_on(store.put(&ObjectPath::parse(object).unwrap(), body.into())).unwrap();
        }
        let stores = Stores::new(runtime.handle().clone());
        stores.open.lock().unwrap().insert("s3://bucket".to_owned(), Arc::new(store));
        stores
    }

    #[track_caller]
    fn check(url: &str, want: Result<&[&str], &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let objects = [
            "b/.h.jsonl",
            "b/2.jsonl",
            "b/1.jsonl.gz",
            "b/x/0.jsonl",
            "b/_ct/m.json",
            "b/read.me",
            "a%b/ü [1].json",
            "bb/1.jsonl",
        ];
        let found = find(url, &stores(&runtime, &objects));
        match (found, want) {
            (Ok(found), Ok(want)) => {
                assert_eq!(found.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), want);
                for segment in found {
                    let mut text = String::new();
                    let stores = stores(&runtime, &objects);
                    let object = stores.locate(&segment.name).unwrap();
                    let same = Segment { version: object.version_now(), ..segment };
                    object.read(&same, 0, 2).read_to_string(&mut text).unwrap();
                    assert_eq!(text, if same.bytes == 0 { "" } else { "{}\n" });
                }
            }
            (Err(error), Err(want)) => {
                assert!(error.is_usage(), "{error}");
                assert!(error.to_string().contains(want), "{error}");
            }
            (found, _) => panic!("{found:?}"),
        }
    }

    impl Object {
        fn version_now(&self) -> String {
            version(&self.runtime.block_on(self.store.head(&self.path)).unwrap())
        }
    }

    #[test]
    fn one_object() {
        check("s3://bucket/b/2.jsonl", Ok(&["s3://bucket/b/2.jsonl"]));
        check("S3://bucket/b/x/0.jsonl", Ok(&["s3://bucket/b/x/0.jsonl"]));
        check("s3://bucket/b/read.me", Ok(&["s3://bucket/b/read.me"]));
        check("s3://bucket/b/3.jsonl", Err("end the URL with"));
    }

    #[test]
    fn below_a_prefix() {
        check("s3://bucket/b/", Ok(&["s3://bucket/b/1.jsonl.gz", "s3://bucket/b/2.jsonl", "s3://bucket/b/x/0.jsonl"]));
        check("s3://bucket/b/_ct/", Ok(&["s3://bucket/b/_ct/m.json"]));
        check("s3://bucket/c/", Err(".jsonl, .ndjson or .json"));
    }

    #[test]
    fn names_with_special_characters() {
        let name = "s3://bucket/a%25b/%C3%BC%20%5B1%5D.json";
        check("s3://bucket/a%25b/", Ok(&[name]));
        check(name, Ok(&[name]));
        check("s3://bucket/a%25b/ü [1]*", Ok(&[name]));
    }

    #[test]
    fn patterns() {
        check("s3://bucket/b/*.jsonl", Ok(&["s3://bucket/b/2.jsonl"]));
        check("s3://bucket/b*/1*", Ok(&["s3://bucket/b/1.jsonl.gz", "s3://bucket/bb/1.jsonl"]));
        check("s3://bucket/b/*/*.json", Ok(&["s3://bucket/b/_ct/m.json"]));
        check("s3://bucket/b/*.parquet", Err("matches nothing"));
        check("s3://bucket/b/a***", Err("bad pattern"));
    }

    #[test]
    fn a_bucket_may_stand_in_the_path() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let stores = Stores::new(runtime.handle().clone());
        for (url, base, path) in [
            (
                "https://s3.eu-west-1.amazonaws.com/bucket/a/b.json",
                "https://s3.eu-west-1.amazonaws.com/bucket",
                "a/b.json",
            ),
            ("https://bucket.s3.eu-west-1.amazonaws.com/a/", "https://bucket.s3.eu-west-1.amazonaws.com", "a"),
            ("abfss://fs@account.dfs.core.windows.net/a", "abfss://fs@account.dfs.core.windows.net", "a"),
            ("http://host:81", "http://host:81", ""),
        ] {
            let object = stores.locate(url).map_err(|error| error.to_string());
            let object = object.unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((object.base.as_str(), object.path.as_ref()), (base, path));
        }
    }

    #[test]
    fn refused() {
        check("s3://bucket/b/2.jsonl?versionId=1", Err("%3F"));
        check("s3://user:secret@bucket/b", Err("holds a password"));
        check("s3://bucket/b//c", Err("bad URL"));
        check("s3://bucket/b%2fc", Err("%2F"));
        check("s3://", Err("bad URL"));
    }
}
