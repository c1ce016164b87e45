//! Stretches of entries of a log.

/// Stretches, each with its end behind the last; sorted, without overlaps or neighbours.
pub type Stretches = Vec<(u64, u64)>;

pub fn merged(stretches: &[(u64, u64)]) -> Stretches {
    let mut sorted = stretches.to_vec();
    sorted.sort_unstable();
    let mut merged: Stretches = Vec::new();
    for (first, end) in sorted {
        match merged.last_mut() {
            Some(last) if first <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((first, end)),
        }
    }
    merged
}

/// What of `whole` is in none of `parts`, which are merged.
pub fn without((mut from, end): (u64, u64), parts: &[(u64, u64)]) -> Stretches {
    let mut rest = Vec::new();
    for (first, behind) in parts {
        if from < (*first).min(end) {
            rest.push((from, (*first).min(end)));
        }
        from = from.max(*behind);
    }
    if from < end {
        rest.push((from, end));
    }
    rest
}

pub fn count(stretches: &[(u64, u64)]) -> u64 {
    stretches.iter().map(|(first, end)| end - first).sum()
}

/// What is in both; each is merged.
pub fn common(these: &[(u64, u64)], those: &[(u64, u64)]) -> Stretches {
    let (mut common, mut at) = (Vec::new(), 0);
    for (first, end) in these {
        while those.get(at).is_some_and(|other| other.1 <= *first) {
            at += 1;
        }
        let others = those[at..].iter().take_while(|other| other.0 < *end);
        common.extend(others.map(|other| (other.0.max(*first), other.1.min(*end))));
    }
    common
}

/// Stretches that are less than `apart` from each other as one, with what lies between.
pub fn joined(stretches: &[(u64, u64)], apart: u64) -> Stretches {
    let mut joined: Stretches = Vec::new();
    for (first, end) in stretches {
        match joined.last_mut() {
            Some(last) if first - last.1 < apart => last.1 = *end,
            _ => joined.push((*first, *end)),
        }
    }
    joined
}

/// The last `entries` entries.
pub fn newest(stretches: &[(u64, u64)], entries: u64) -> Stretches {
    let mut left = entries;
    let cut = stretches.iter().rev().map(|(first, end)| {
        let taken = (end - first).min(left);
        left -= taken;
        (end - taken, *end)
    });
    let mut cut: Stretches = cut.take_while(|(first, end)| first < end).collect();
    cut.reverse();
    cut
}

pub fn contains(stretches: &[(u64, u64)], index: u64) -> bool {
    let behind = stretches.partition_point(|(first, _)| *first <= index);
    behind > 0 && index < stretches[behind - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_add_up() {
        let merged = merged(&[(10, 20), (0, 5), (5, 7), (15, 30), (40, 41)]);
        assert_eq!(merged, [(0, 7), (10, 30), (40, 41)]);
        assert_eq!(without((0, 50), &merged), [(7, 10), (30, 40), (41, 50)]);
        assert_eq!(without((12, 29), &merged), []);
        assert_eq!(without((5, 35), &merged), [(7, 10), (30, 35)]);
        assert_eq!(without((60, 50), &merged), []);
        assert_eq!(count(&merged), 28);
    }

    /// Against sets of indexes.
    #[test]
    fn stretches_are_sets() {
        let sets = [vec![], vec![(0, 3)], vec![(1, 2), (4, 9), (12, 13)], vec![(2, 5), (6, 7), (8, 20)]];
        let all = |stretches: &[(u64, u64)]| -> Vec<u64> { stretches.iter().flat_map(|(a, b)| *a..*b).collect() };
        for these in &sets {
            for index in 0..25 {
                assert_eq!(contains(these, index), all(these).contains(&index), "{these:?} {index}");
                let (all, last) = (all(these), all(&newest(these, index)));
                assert_eq!(last, all[all.len() - last.len()..]);
                assert_eq!(last.len(), all.len().min(index as usize));
            }
            for those in &sets {
                let both: Vec<u64> = all(these).into_iter().filter(|index| contains(those, *index)).collect();
                assert_eq!(all(&common(these, those)), both, "{these:?} {those:?}");
            }
        }
        assert_eq!(joined(&sets[2], 1), sets[2]);
        assert_eq!(joined(&sets[2], 3), [(1, 9), (12, 13)]);
        assert_eq!(joined(&sets[2], 4), [(1, 13)]);
    }
}
