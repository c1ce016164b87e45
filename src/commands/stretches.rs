//! Stretches of entries of a log.

/// Stretches, each with its end behind the last; sorted, without overlaps or neighbours.
pub(super) type Stretches = Vec<(u64, u64)>;

pub(super) fn merged(stretches: &[(u64, u64)]) -> Stretches {
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
pub(super) fn without((mut from, end): (u64, u64), parts: &[(u64, u64)]) -> Stretches {
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

pub(super) fn count(stretches: &[(u64, u64)]) -> u64 {
    stretches.iter().map(|(first, end)| end - first).sum()
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
}
