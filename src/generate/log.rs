//! The invented logs: seven families, each with a shard for every half-year in which certificates end.
//!
//! A log gives out its indexes without a hole, in the order in which they are taken.

use ct_model::Timestamp;
use ct_model::id::digest;

use super::rng::Rng;

struct Family {
    operator: &'static str,
    name: &'static str,
    /// The URL without scheme and trailing slash; `{}` stands for the shard.
    place: &'static str,
    /// Serves tiles (static-ct-api) instead of get-entries (RFC 6962).
    tiled: bool,
    weight: u32,
    first_index: u64,
}

const FAMILIES: [Family; 7] = [
    Family {
        operator: "Alder Networks",
        name: "Larch",
        place: "ct.alder.example/{}",
        tiled: false,
        weight: 4,
        first_index: 1_457_000_716,
    },
    Family {
        operator: "Birchwood Trust",
        name: "Finch",
        place: "finch.ct.birchwood.example/{}",
        tiled: false,
        weight: 4,
        first_index: 583_110_274,
    },
    Family {
        operator: "Cobalt",
        name: "Heron",
        place: "heron{}.ct.cobalt.example",
        tiled: false,
        weight: 3,
        first_index: 294_223_872,
    },
    // A path with capitals, and indexes beyond 32 bits.
    Family {
        operator: "Dunmore",
        name: "Quartz",
        place: "ct.dunmore.example/logs/eu1/Quartz{}",
        tiled: false,
        weight: 2,
        first_index: 4_294_966_900,
    },
    Family {
        operator: "Elmstead",
        name: "Basalt",
        place: "basalt{}.mon.elmstead.example",
        tiled: true,
        weight: 3,
        first_index: 918_400_000,
    },
    Family {
        operator: "Fathom",
        name: "Tern",
        place: "tern{}.mon.ct.fathom.example",
        tiled: true,
        weight: 2,
        first_index: 77_120_511,
    },
    Family {
        operator: "Garnet",
        name: "Plover",
        place: "log.garnet.example/plover{}",
        tiled: true,
        weight: 1,
        first_index: 0,
    },
];

/// Half-years served: the one the stream starts in and the two after it, in which 397 days from then end.
const SHARDS: usize = 3;

pub struct Log {
    pub name: String,
    /// Without scheme and trailing slash, as the lake names a log.
    pub place: String,
    pub tiled: bool,
    /// RFC 6962 section 3.2: a log is known by 32 bytes.
    pub id: [u8; 32],
    next_index: u64,
}

impl Log {
    pub fn take_index(&mut self) -> u64 {
        self.next_index += 1;
        self.next_index - 1
    }
}

/// All logs, by family and then shard.
pub struct Logs {
    logs: Vec<Log>,
    first_half_year: i64,
}

/// A log's place in [`Logs`].
pub type LogNumber = u8;

impl Logs {
    pub fn new(start: Timestamp) -> Self {
        let first_half_year = half_year(start.seconds());
        let mut logs = Vec::with_capacity(FAMILIES.len() * SHARDS);
        for (number, family) in (0..).zip(&FAMILIES) {
            for shard in 0..SHARDS as i64 {
                let half_year = first_half_year + shard;
                let shard_name = format!("{}h{}", half_year.div_euclid(2), half_year.rem_euclid(2) + 1);
                let place = family.place.replace("{}", &shard_name);
                logs.push(Log {
                    name: format!("{} '{}{shard_name}'", family.operator, family.name),
                    id: digest(&[place.as_bytes()]),
                    place,
                    tiled: family.tiled,
                    next_index: family.first_index + 1_000_003 * (number * shard as u64 % 5),
                });
            }
        }
        Self { logs, first_half_year }
    }

    pub fn get(&self, number: LogNumber) -> &Log {
        &self.logs[usize::from(number)]
    }

    pub fn get_mut(&mut self, number: LogNumber) -> &mut Log {
        &mut self.logs[usize::from(number)]
    }

    /// Up to `count` different logs that take certificates ending at `not_after`; each is tiled with this chance.
    pub fn draw(&self, rng: &mut Rng, not_after: i64, count: usize, tiled: f64) -> Vec<LogNumber> {
        let shard = (half_year(not_after) - self.first_half_year).clamp(0, SHARDS as i64 - 1) as usize;
        let mut weights = FAMILIES.map(|family| family.weight);
        let mut drawn = Vec::with_capacity(count);
        for _ in 0..count {
            let tiled = rng.chance(tiled);
            let mut open = weights;
            open.iter_mut().zip(&FAMILIES).filter(|(_, family)| family.tiled != tiled).for_each(|(w, _)| *w = 0);
            if open.iter().any(|weight| *weight > 0) {
                let family = rng.weighted(&open);
                weights[family] = 0;
                drawn.push((family * SHARDS + shard) as LogNumber);
            }
        }
        drawn
    }
}

/// Half-years since the year 0.
fn half_year(seconds: i64) -> i64 {
    let text = Timestamp::from_seconds(seconds).to_string();
    let number = |digits: &str| digits.parse::<i64>().expect("a time is written in digits");
    number(&text[..4]) * 2 + i64::from(number(&text[5..7]) > 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_392_000); // 2026-11-23

    #[test]
    fn certificates_go_to_the_shard_they_end_in() {
        let logs = Logs::new(START);
        let mut rng = Rng::new(1);
        for (days, shard) in [(10, "2026h2"), (90, "2027h1"), (397, "2027h2"), (300_000, "2027h2")] {
            let drawn = logs.draw(&mut rng, START.seconds() + days * 86_400, 4, 0.0);
            assert_eq!(drawn.len(), 4);
            for log in drawn {
                assert!(logs.get(log).place.contains(shard) && logs.get(log).name.contains(shard));
                assert!(!logs.get(log).tiled);
            }
        }
    }

    #[test]
    fn every_log_has_its_own_place() {
        let logs = Logs::new(START);
        let places: std::collections::HashSet<_> = logs.logs.iter().map(|log| &log.place).collect();
        assert_eq!(places.len(), FAMILIES.len() * SHARDS);
    }
}
