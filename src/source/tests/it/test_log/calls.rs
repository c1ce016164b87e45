//! The calls that clients make, by their paths.

/// What a client asks of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    GetSth,
    GetEntries,
    GetSthConsistency,
    GetProofByHash,
    GetEntryAndProof,
    GetRoots,
    Checkpoint,
    HashTile,
    HashTilePartial,
    DataTile,
    DataTilePartial,
    Issuer,
    /// No path of a log.
    Unknown,
}

pub(crate) const HEADS: [Call; 2] = [Call::GetSth, Call::Checkpoint];
pub(crate) const ENTRIES: [Call; 4] = [Call::GetEntries, Call::GetEntryAndProof, Call::DataTile, Call::DataTilePartial];
pub(crate) const PARTIALS: [Call; 2] = [Call::HashTilePartial, Call::DataTilePartial];

const NAMES: [(Call, &str); 13] = [
    (Call::GetSth, "get-sth"),
    (Call::GetEntries, "get-entries"),
    (Call::GetSthConsistency, "get-sth-consistency"),
    (Call::GetProofByHash, "get-proof-by-hash"),
    (Call::GetEntryAndProof, "get-entry-and-proof"),
    (Call::GetRoots, "get-roots"),
    (Call::Checkpoint, "checkpoint"),
    (Call::HashTile, "hash-tile"),
    (Call::HashTilePartial, "hash-tile-partial"),
    (Call::DataTile, "data-tile"),
    (Call::DataTilePartial, "data-tile-partial"),
    (Call::Issuer, "issuer"),
    (Call::Unknown, "unknown"),
];

impl Call {
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(call, _)| *call == self).map_or("unknown", |(_, name)| name)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(call, _)| *call)
    }
}

/// A path below a log's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `ct/v1/…` with its query.
    Rfc6962(Call),
    Checkpoint,
    HashTile(u32, Tile),
    DataTile(Tile),
    Issuer(&'a str),
    Unknown,
}

/// `<N>` or `<N>.p/<W>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) number: u64,
    /// Of a partial tile.
    pub(crate) width: Option<u64>,
}

impl<'a> Target<'a> {
    pub(crate) fn of(path: &'a str) -> Self {
        Self::parse(path).unwrap_or(Self::Unknown)
    }

    fn parse(path: &'a str) -> Option<Self> {
        if let Some(name) = path.strip_prefix("ct/v1/") {
            return Call::named(name).filter(|_| name.starts_with("get-")).map(Self::Rfc6962);
        }
        if path == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        if let Some(issuer) = path.strip_prefix("issuer/") {
            return Some(Self::Issuer(issuer));
        }
        let (level, tile) = path.strip_prefix("tile/")?.split_once('/')?;
        let tile = Tile::parse(tile)?;
        if level == "data" {
            return Some(Self::DataTile(tile));
        }
        let [digit @ b'0'..=b'5'] = level.as_bytes() else { return None };
        Some(Self::HashTile(u32::from(digit - b'0'), tile))
    }

    pub(crate) fn call(self) -> Call {
        match self {
            Self::Rfc6962(call) => call,
            Self::Checkpoint => Call::Checkpoint,
            Self::HashTile(_, Tile { width: None, .. }) => Call::HashTile,
            Self::HashTile(..) => Call::HashTilePartial,
            Self::DataTile(Tile { width: None, .. }) => Call::DataTile,
            Self::DataTile(_) => Call::DataTilePartial,
            Self::Issuer(_) => Call::Issuer,
            Self::Unknown => Call::Unknown,
        }
    }
}

impl Tile {
    /// Only the one right spelling (static-ct-api, "Merkle Tree").
    fn parse(text: &str) -> Option<Self> {
        let (number, width) = match text.split_once(".p/") {
            Some((number, width)) => (number, Some(width.parse().ok().filter(|width| (1..256).contains(width))?)),
            None => (text, None),
        };
        let mut value: u64 = 0;
        for group in number.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            let digits =
                Some(digits).filter(|digits| digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()))?;
            value = value.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Self { number: value, width };
        (tile.path() == text).then_some(tile)
    }

    fn path(self) -> String {
        let mut path = format!("{:03}", self.number % 1_000);
        let mut rest = self.number / 1_000;
        while rest > 0 {
            path = format!("x{:03}/{path}", rest % 1_000);
            rest /= 1_000;
        }
        match self.width {
            Some(width) => format!("{path}.p/{width}"),
            None => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, want: Target<'_>) {
        assert_eq!(Target::of(path), want);
    }

    #[test]
    fn paths_of_tiles() {
        check("tile/0/005", Target::HashTile(0, Tile { number: 5, width: None }));
        check("tile/5/000.p/255", Target::HashTile(5, Tile { number: 0, width: Some(255) }));
        check("tile/data/x001/x234/067", Target::DataTile(Tile { number: 1_234_067, width: None }));
        check("tile/data/x001/000.p/1", Target::DataTile(Tile { number: 1_000, width: Some(1) }));
    }

    #[test]
    fn other_spellings_are_unknown() {
        let wrong = ["tile/0/5", "tile/0/x000/005", "tile/0/0005", "tile/6/000", "tile/data/000.p/256", "tile/00/000"];
        for path in
            wrong.into_iter().chain(["tile/0/1000", "tile/0/x001/x000", "tile/data/000.p/01", "tile/0/", "tile"])
        {
            check(path, Target::Unknown);
        }
        check(&format!("tile/data/{}000", "x999/".repeat(20)), Target::Unknown);
    }

    #[test]
    fn paths_of_rfc_6962() {
        check("ct/v1/get-sth", Target::Rfc6962(Call::GetSth));
        check("ct/v1/checkpoint", Target::Unknown);
        check("checkpoint", Target::Checkpoint);
    }
}
