//! What feeds leave out, by the lines of a journal alone.
//!
//! Time goes in rounds. What a feed delivered up to the end of a round is *due* in the next: late messages have come by
//! then, and the holes that are left and that no line of a log has filled are asked of the logs. What the logs answer
//! comes as lines of the journal as well, and at the end of a third round each hole is judged.
//!
//! ```text
//! delivered ─► due (its holes are asked of the logs) ─► judged
//! ```
//!
//! Memory goes by the messages of the last few rounds; whoever calls ends a round early when there are too many.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ct_model::message::{Body, Message, Reader, Sighting, log_line};
use ct_model::x509::{self, Decoder};
use ct_model::{EntryKind, ParseState};
use ct_source::logs;

use super::ranges::Ranges;
use crate::holes::{Account, Class, JOIN_ENTRIES, Shown, Verdict, sha256_of};
use crate::stretches::{Stretches, contains, count, joined, merged, newest, without};

/// Rounds whose certificates are remembered: that in which an entry was due or judged, and one before it came.
const ROUNDS: usize = 4;
/// Entries of logs that are kept for the holes that they may fill.
const ENTRIES_MAX: usize = 1 << 21;

/// The beginning of a SHA-256: of a certificate, or of an issuance.
type Digest = [u8; 16];

/// Accounts by feed and log.
pub type Accounts = BTreeMap<(Arc<str>, Box<str>), Account>;

pub struct Auditor {
    feeds: BTreeMap<Arc<str>, Feed>,
    /// By log and index: what logs say, where a feed may have a hole.
    entries: HashMap<Box<str>, BTreeMap<u64, Entry>>,
    /// What the logs were asked for last.
    asked: BTreeMap<String, Stretches>,
    holes_max: u64,
    /// Of all logs.
    kept: usize,
    /// Lines of this round that something was kept of.
    taken: usize,
    reader: Reader,
    decoder: Decoder,
}

#[derive(Default)]
struct Feed {
    tracks: HashMap<Box<str>, Track>,
    /// Of what it delivered, by round, the newest first.
    delivered: VecDeque<HashSet<Digest>>,
}

/// What a feed delivered of a log and is not judged.
#[derive(Default)]
struct Track {
    delivered: Ranges,
    /// What lies before is judged.
    from: Option<u64>,
    /// What lies before is due.
    due: u64,
    /// What lies before was delivered in earlier rounds.
    seen: u64,
    /// It delivers again what is judged already.
    is_behind: bool,
}

/// An entry, as its log has it.
#[derive(Clone, Copy)]
struct Entry {
    /// `None` of one that cannot be used.
    sha256: Option<[u8; 32]>,
    /// Of a precertificate.
    issuance: Option<[u8; 32]>,
    is_whole: bool,
    was_asked_for: bool,
}

impl Auditor {
    /// Of each feed and log, the newest `holes_max` holes are asked for and judged in a round.
    pub fn new(feeds: impl IntoIterator<Item = Arc<str>>, holes_max: u64) -> Self {
        let feed = || Feed { delivered: VecDeque::from([HashSet::new()]), ..Feed::default() };
        Self {
            feeds: feeds.into_iter().map(|name| (name, feed())).collect(),
            entries: HashMap::new(),
            asked: BTreeMap::new(),
            holes_max,
            kept: 0,
            taken: 0,
            reader: Reader::default(),
            decoder: Decoder::default(),
        }
    }

    /// Whether lines of this feed say something here.
    pub fn listens_to(&self, feed: &str) -> bool {
        feed == logs::FEED || self.feeds.contains_key(feed)
    }

    /// Lines of this round that take memory.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// A line of the journal, which must not be blank.
    pub fn take(&mut self, feed: &str, line: &[u8]) {
        if feed == logs::FEED {
            self.take_entry(line);
        } else if let Some(known) = self.feeds.get_mut(feed)
            // What cannot be used was not delivered.
            && let Ok(Message::Sighting(sighting)) = self.reader.read(line)
        {
            self.taken += 1;
            known.take(&sighting);
        }
    }

    fn take_entry(&mut self, line: &[u8]) {
        let Some((log, index)) = log_line::place(line) else { return };
        let mut tracks = self.feeds.values().filter_map(|feed| feed.tracks.get(log));
        let known = self.entries.get(log).is_some_and(|entries| entries.contains_key(&index));
        if known || !tracks.any(|track| track.may_lack(index)) || self.kept >= ENTRIES_MAX {
            return;
        }
        let was_asked_for = self.asked.get(log).is_some_and(|asked| contains(asked, index));
        let mut entry = Entry { sha256: None, issuance: None, is_whole: false, was_asked_for };
        if let Ok(Message::Sighting(Sighting { id, tbs_sha256, body: Body::Der(der), .. })) = self.reader.read(line) {
            entry.sha256 = id.bytes().try_into().ok();
            entry.issuance = tbs_sha256;
            entry.is_whole = ct_dataflows::guard::guarded(|| self.decoder.decode(&der))
                .is_ok_and(|certificate| certificate.parse == ParseState::Ok);
        }
        self.taken += 1;
        self.kept += 1;
        match self.entries.get_mut(log) {
            Some(entries) => drop(entries.insert(index, entry)),
            None => drop(self.entries.insert(log.into(), BTreeMap::from([(index, entry)]))),
        }
    }

    /// Nobody knows what came here of this feed, or of all: its holes are judged from here on.
    pub fn lost(&mut self, feed: Option<&str>) {
        for (name, known) in &mut self.feeds {
            if feed.is_none_or(|feed| feed == &**name) {
                known.tracks.clear();
            }
        }
    }

    /// Ends a round: judges what was due, and says what is to be asked of the logs for what is due now.
    pub fn end_round(&mut self) -> (Accounts, BTreeMap<String, Stretches>) {
        let mut accounts = Accounts::new();
        let mut wanted: BTreeMap<String, Stretches> = BTreeMap::new();
        let none = BTreeMap::new();
        let held = |entries: &BTreeMap<u64, Entry>| -> Stretches {
            merged(&entries.keys().map(|index| (*index, index + 1)).collect::<Vec<_>>())
        };
        let held: HashMap<&str, Stretches> =
            self.entries.iter().map(|(log, entries)| (&**log, held(entries))).collect();
        for (name, feed) in &mut self.feeds {
            let Feed { tracks, delivered } = feed;
            tracks.retain(|log, track| {
                let entries = self.entries.get(log).unwrap_or(&none);
                if let Some(account) = track.judge(entries, delivered, self.holes_max) {
                    accounts.insert((name.clone(), log.clone()), account);
                }
                let held = held.get(&**log).map_or(&[][..], Vec::as_slice);
                let holes = track.next_due().into_iter().flat_map(|hole| without(hole, held));
                wanted.entry(log.to_string()).or_default().extend(holes);
                !track.is_stale()
            });
            delivered.push_front(HashSet::new());
            delivered.truncate(ROUNDS);
        }
        self.entries.retain(|log, entries| {
            let froms = self.feeds.values().filter_map(|feed| feed.tracks.get(log)?.from);
            let Some(from) = froms.min() else { return false };
            *entries = entries.split_off(&from);
            !entries.is_empty()
        });
        self.kept = self.entries.values().map(BTreeMap::len).sum();
        self.taken = 0;
        wanted.retain(|_, holes| !holes.is_empty());
        for holes in wanted.values_mut() {
            *holes = newest(&merged(holes), self.holes_max);
        }
        self.asked.clone_from(&wanted);
        for holes in wanted.values_mut() {
            *holes = joined(holes, JOIN_ENTRIES);
        }
        (accounts, wanted)
    }
}

impl Feed {
    fn take(&mut self, sighting: &Sighting) {
        let newest = self.delivered.front_mut().expect("there is always a round");
        newest.extend(sha256_of(sighting).map(|sha256| beginning(&sha256)));
        if let (Some(EntryKind::Precert), Body::Der(der)) = (sighting.kind, &sighting.body) {
            newest.extend(x509::issuance(der, EntryKind::Precert).map(|tbs| beginning(&tbs)));
        }
        let (Some(log), Some(index)) = (&sighting.log, sighting.index) else { return };
        match self.tracks.get_mut(&*log.name) {
            Some(track) => track.take(index),
            None => {
                let mut track = Track::default();
                track.take(index);
                self.tracks.insert((&*log.name).into(), track);
            }
        }
    }
}

impl Track {
    fn take(&mut self, index: u64) {
        if self.from.is_some_and(|from| index < from) {
            self.is_behind = true;
        } else {
            self.delivered.insert(index);
        }
    }

    fn may_lack(&self, index: u64) -> bool {
        let from = self.from.or(self.delivered.first());
        from.is_some_and(|from| index >= from) && !self.delivered.contains(index)
    }

    /// Judges what was due, if there is something.
    fn judge(
        &mut self,
        entries: &BTreeMap<u64, Entry>,
        delivered: &VecDeque<HashSet<Digest>>,
        holes_max: u64,
    ) -> Option<Account> {
        let from = self.from.filter(|from| *from < self.due)?;
        let holes = self.delivered.holes(from, self.due);
        let delivers = |digest: [u8; 32]| delivered.iter().any(|round| round.contains(&beginning(&digest)));
        let judged = newest(&holes, holes_max);
        let mut account = Account::default();
        for (first, end) in judged {
            for (index, entry) in entries.range(first..end) {
                let is_explained = entry.sha256.is_some_and(delivers) || entry.issuance.is_some_and(delivers);
                let class = match entry {
                    _ if is_explained => Class::Explained,
                    Entry { is_whole: false, .. } => Class::Unparseable,
                    _ => Class::Lost,
                };
                account.filled += u64::from(class == Class::Lost && entry.was_asked_for);
                account.verdicts.insert(*index, Verdict { class, sha256: entry.sha256, by_log: true });
            }
        }
        account.unknown = count(&holes) - account.verdicts.len() as u64;
        let delivered = self.due - from - count(&holes);
        account.shown = Shown { first: from, last: self.due - 1, delivered, holes };
        self.from = Some(self.due);
        self.delivered.forget_before(self.due);
        Some(account)
    }

    /// What was delivered before this round is due; its holes.
    fn next_due(&mut self) -> Stretches {
        if self.from.is_none() {
            self.from = self.delivered.first();
        }
        let from = self.from.unwrap_or(0);
        self.due = self.seen.max(from);
        self.seen = self.delivered.last().map_or(self.due, |last| last + 1).max(self.due);
        self.delivered.holes(from, self.due)
    }

    /// The feed goes on somewhere before what is judged, and nowhere else: it is begun with anew.
    fn is_stale(&mut self) -> bool {
        std::mem::take(&mut self.is_behind) && self.delivered.len() == 0
    }
}

fn beginning(hash: &[u8; 32]) -> Digest {
    *hash.first_chunk().expect("a hash is longer")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::generate::{Generator, Options};

    const LOG: &str = "ct.example.com/a";

    /// An entry with a certificate that is none, or that of a real one.
    fn entry(index: u64, der: &[u8]) -> Vec<u8> {
        let length = (der.len() as u32).to_be_bytes();
        let leaf = [&[0, 0][..], &[0; 8], &[0, 0], &length[1..], der, &[0, 0]].concat();
        let mut line = Vec::new();
        log_line::write_entry(&mut line, LOG, index, &leaf, None);
        line.pop();
        line
    }

    fn message(log: &str, index: u64, der: &[u8]) -> Vec<u8> {
        let der = base64_simd::STANDARD.encode_to_string(der);
        let message = json!({"message_type": "certificate_update", "data": {
            "cert_index": index, "leaf_cert": {"as_der": der}, "source": {"url": log}}});
        message.to_string().into_bytes()
    }

    fn auditor() -> Auditor {
        Auditor::new(["a".into()], 1_000)
    }

    type Told = Vec<(u64, u64, u64, u64, u64, u64)>;

    /// First index, delivered, explained, unparseable, unknown and filled.
    fn told(accounts: &Accounts) -> Told {
        let told = accounts.values().map(|account| {
            let [explained, unparseable] = [Class::Explained, Class::Unparseable].map(|class| account.of_class(class));
            (account.shown.first, account.shown.delivered, explained, unparseable, account.unknown, account.filled)
        });
        told.collect()
    }

    #[test]
    fn a_hole_is_asked_for_after_a_round_and_judged_after_another() {
        let mut auditor = auditor();
        for index in [10, 11, 14, 15, 20] {
            auditor.take("a", &message(LOG, index, &[index as u8]));
        }
        auditor.take("a", &message("other.example/b", 7, &[16]));
        assert_eq!(auditor.end_round(), Default::default());
        // It comes late, and is no hole; another log fills one; a third is read by whoever follows the log.
        auditor.take("a", &message(LOG, 12, &[12]));
        auditor.take(logs::FEED, &entry(17, &[17]));
        auditor.take("a", &message(LOG, 30, &[30]));
        let (accounts, wanted) = auditor.end_round();
        assert!(accounts.is_empty());
        assert_eq!(wanted, BTreeMap::from([(LOG.to_owned(), vec![(13, 20)])]));
        // What the log answers.
        for index in [13, 16, 18] {
            auditor.take(logs::FEED, &entry(index, &[index as u8]));
        }
        auditor
            .take(logs::FEED, b"{\"message_type\":\"log_entry\",\"data\":{\"log\":\"ct.example.com/a\",\"index\":19,");
        let (accounts, _) = auditor.end_round();
        // 16 came as an entry of another log; 13, 17, 18 and 19 cannot be read.
        assert_eq!(told(&accounts), [(10, 6, 1, 4, 0, 0), (7, 1, 0, 0, 0, 0)]);
        // It goes on where the last round ended.
        let (accounts, _) = auditor.end_round();
        assert_eq!(told(&accounts), [(21, 1, 0, 0, 9, 0)]);
        assert!(auditor.end_round().0.is_empty());
        assert!(auditor.entries.is_empty());
    }

    #[test]
    fn what_is_lost_and_filled() {
        let (der, mut auditor) = (generated(), auditor());
        auditor.take("a", &message(LOG, 1, &[1]));
        auditor.take("a", &message(LOG, 5, &[5]));
        auditor.end_round();
        // Of a log that is followed: lost, and filled by nobody here.
        auditor.take(logs::FEED, &entry(3, &der));
        let (_, wanted) = auditor.end_round();
        assert_eq!(wanted[LOG], [(2, 5)]);
        auditor.take(logs::FEED, &entry(2, &der));
        auditor.take(logs::FEED, &entry(3, &der));
        let (accounts, _) = auditor.end_round();
        assert_eq!(told(&accounts), [(1, 2, 0, 0, 1, 1)]);
        assert_eq!(accounts.values().next().map(|account| account.of_class(Class::Lost)), Some(2));
    }

    #[test]
    fn what_is_not_known_is_no_hole() {
        let mut auditor = auditor();
        auditor.take("a", &message(LOG, 1, &[1]));
        auditor.lost(None);
        auditor.take("a", &message(LOG, 9, &[9]));
        auditor.lost(Some("b"));
        auditor.take("b", &message(LOG, 3, &[3]));
        for _ in 0..2 {
            assert_eq!(auditor.end_round(), Default::default());
        }
        assert_eq!(told(&auditor.end_round().0), [(9, 1, 0, 0, 0, 0)]);
    }

    #[test]
    fn a_feed_that_goes_back_is_begun_with_anew() {
        let mut auditor = auditor();
        auditor.take("a", &message(LOG, i64::MAX as u64, &[1]));
        for _ in 0..3 {
            auditor.end_round();
        }
        for (index, rounds) in [(4, 1), (6, 3)] {
            auditor.take("a", &message(LOG, index, &[index as u8]));
            for _ in 1..rounds {
                auditor.end_round();
            }
            let told = told(&auditor.end_round().0);
            assert_eq!(told, if index == 6 { vec![(6, 1, 0, 0, 0, 0)] } else { vec![] });
        }
    }

    /// A certificate that can be read in full.
    fn generated() -> Vec<u8> {
        let mut generator = Generator::new(&Options { messages: 100, ..Options::default() });
        let mut line = Vec::new();
        while generator.next_line(&mut line).is_some() {
            if let Ok(Message::Sighting(Sighting { body: Body::Der(der), .. })) = Reader::default().read(&line)
                && Decoder::default().decode(&der).parse == ParseState::Ok
            {
                return der;
            }
            line.clear();
        }
        panic!("no certificate among 100 messages");
    }
}
