//! Why an entry of a log is not among those that a feed delivered.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use ct_model::EntryKind;
use ct_sinks::lake::{EntryRow, Lake};
use ct_source::logs;

use super::delivered::{Delivered, Issuances, issuances};
use crate::holes::{Account, Class, Verdict};
use crate::stretches::{Stretches, common, contains, count, newest};

/// Accounts by feed and log.
pub(super) type Accounts = BTreeMap<(String, String), Account>;

/// Judges each hole that lies in a stretch which the lake holds, by what it has there; of each feed and log the newest
/// `holes_max`. `held` is what the lake held before this audit, and what it holds now.
pub(super) fn judge(
    lake: &Lake,
    delivered: &Delivered,
    (before, held): (&BTreeMap<String, Stretches>, &BTreeMap<String, Stretches>),
    holes_max: u64,
) -> Result<Accounts> {
    let mut accounts = Accounts::new();
    let mut by_log: HashMap<&str, Vec<(&str, Stretches)>> = HashMap::new();
    for (name, feed) in &delivered.feeds {
        for (log, shown) in feed.shown() {
            let judged = newest(&common(&shown.holes, held.get(log).map_or(&[], Vec::as_slice)), holes_max);
            let unknown = count(&shown.holes) - count(&judged);
            by_log.entry(log).or_default().push((name, judged));
            let account = Account { shown, unknown, ..Account::default() };
            accounts.insert((name.to_string(), log.to_owned()), account);
        }
    }
    let mut found: HashMap<(&str, &str), BTreeMap<u64, Verdict>> = HashMap::new();
    lake.entries(&mut |row| {
        let Some(((log, feeds), index)) = row.log.and_then(|log| by_log.get_key_value(log)).zip(row.index) else {
            return;
        };
        for (feed, judged) in feeds {
            if contains(judged, index) {
                let verdict = of(&row, &delivered.feeds[*feed].certificates);
                let verdicts = found.entry((*feed, *log)).or_default();
                // Where feeds say something else, the log is believed.
                let known = verdicts.entry(index).or_insert(verdict);
                if verdict.by_log {
                    *known = verdict;
                }
            }
        }
    })
    .context("reading what the lake has of the logs")?;
    let places = by_log.iter().flat_map(|(log, feeds)| feeds.iter().map(move |(feed, judged)| (*feed, *log, judged)));
    for (feed, log, judged) in places {
        let mut verdicts = found.remove(&(feed, log)).unwrap_or_default();
        // The lake holds it, and it is no entry: a row of `rejected`.
        let broken = Verdict { class: Class::Unparseable, sha256: None, by_log: true };
        for index in judged.iter().flat_map(|(first, end)| *first..*end) {
            verdicts.entry(index).or_insert(broken);
        }
        accounts.entry((feed.to_owned(), log.to_owned())).or_default().verdicts = verdicts;
    }
    look_closer(lake, delivered, &mut accounts)?;
    for ((_, log), account) in &mut accounts {
        let before = before.get(log).map_or(&[][..], Vec::as_slice);
        let is_filled = |(index, verdict): &(&u64, &Verdict)| {
            verdict.class == Class::Lost && verdict.by_log && !contains(before, **index)
        };
        account.filled = account.verdicts.iter().filter(is_filled).count() as u64;
    }
    Ok(accounts)
}

fn of(row: &EntryRow<'_>, certificates: &HashSet<[u8; 32]>) -> Verdict {
    let delivered = row.sha256.is_some_and(|sha256| certificates.contains(&sha256));
    let class = if delivered { Class::Explained } else { Class::Lost };
    Verdict { class, sha256: row.sha256, by_log: row.feed == logs::FEED }
}

/// Certificates that look lost: whether they can be read, and whether the feed delivered the same precertificate in
/// other bytes.
fn look_closer(lake: &Lake, delivered: &Delivered, accounts: &mut Accounts) -> Result<()> {
    let lost = |account: &Account| -> Vec<[u8; 32]> {
        let lost = account.verdicts.values().filter(|verdict| verdict.class == Class::Lost);
        lost.filter_map(|verdict| verdict.sha256).collect()
    };
    let wanted: HashSet<[u8; 32]> = accounts.values().flat_map(lost).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (mut issuance_of, mut unparseable) = (HashMap::new(), HashSet::new());
    lake.issuances(&mut |row| {
        if wanted.contains(&row.sha256) {
            if let Some(tbs) = row.tbs_sha256.filter(|_| row.kind == Some(EntryKind::Precert)) {
                issuance_of.insert(row.sha256, tbs);
            }
            if !row.is_whole {
                unparseable.insert(row.sha256);
            }
        }
    })
    .context("reading the certificates of entries")?;
    let issued: Issuances = issuance_of.values().copied().collect();
    for (name, feed) in &delivered.feeds {
        let said = if issued.is_empty() { Issuances::new() } else { issuances(lake, feed, &issued)? };
        let of_feed = accounts.iter_mut().filter(|((of, _), _)| **of == **name);
        for verdict in of_feed.flat_map(|(_, account)| account.verdicts.values_mut()) {
            let Some(sha256) = verdict.sha256.filter(|_| verdict.class == Class::Lost) else { continue };
            if issuance_of.get(&sha256).is_some_and(|tbs| said.contains(tbs)) {
                verdict.class = Class::Explained;
            } else if unparseable.contains(&sha256) {
                verdict.class = Class::Unparseable;
            }
        }
    }
    Ok(())
}
