//! A set of groups of one blob, one bit each.

use std::ops::Range;

/// A set of numbers below a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Groups {
    count: u64,
    held: u64,
    words: Vec<u64>,
}

impl Groups {
    /// Nothing of `count` groups.
    pub(super) fn none(count: u64) -> Self {
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(usize::MAX);
        Self {
            count,
            held: 0,
            words: vec![0; words],
        }
    }

    /// All of `count` groups.
    pub(super) fn all(count: u64) -> Self {
        let mut groups = Self::none(count);
        groups.insert(0..count);
        groups
    }

    /// Reads what [`Self::word`] wrote; surplus bits are left out.
    pub(super) fn from_words(count: u64, words: impl Iterator<Item = u64>) -> Self {
        let mut groups = Self::none(count);
        for (own, word) in groups.words.iter_mut().zip(words) {
            *own = word;
        }
        if let (Some(last), rest @ 1..) = (groups.words.last_mut(), count % 64) {
            *last &= (1 << rest) - 1;
        }
        groups.held = groups.words.iter().map(|word| u64::from(word.count_ones())).sum();
        groups
    }

    /// Every word, lowest groups first.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.words.iter().copied()
    }

    /// The word that holds a group.
    pub(super) fn word(&self, group: u64) -> u64 {
        self.words.get(index(group)).copied().unwrap_or_default()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn is_full(&self) -> bool {
        self.held == self.count
    }

    pub(super) fn contains(&self, group: u64) -> bool {
        group < self.count && self.word(group) >> (group % 64) & 1 == 1
    }

    /// Puts groups in; those over the bound are left out. Says how many were new.
    pub(super) fn insert(&mut self, range: Range<u64>) -> u64 {
        let before = self.held;
        for (index, mask) in masks(range.start..range.end.min(self.count)) {
            let word = &mut self.words[index];
            self.held += u64::from((mask & !*word).count_ones());
            *word |= mask;
        }
        self.held - before
    }

    /// Takes groups out.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        for (index, mask) in masks(range.start..range.end.min(self.count)) {
            let word = &mut self.words[index];
            self.held -= u64::from((mask & *word).count_ones());
            *word &= !mask;
        }
    }

    /// The first run at or after `from`.
    pub(super) fn next_run(&self, from: u64) -> Option<Range<u64>> {
        let start = self.next(from, true)?;
        Some(start..self.next(start, false).unwrap_or(self.count))
    }

    /// All runs.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<u64>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let run = self.next_run(at)?;
            at = run.end;
            Some(run)
        })
    }

    fn next(&self, from: u64, held: bool) -> Option<u64> {
        let mut mask = u64::MAX.checked_shl((from % 64) as u32).unwrap_or_default();
        for (at, word) in self.words.iter().enumerate().skip(index(from)) {
            let word = if held { *word } else { !*word } & mask;
            if word != 0 {
                let found = at as u64 * 64 + u64::from(word.trailing_zeros());
                return Some(found).filter(|found| *found < self.count);
            }
            mask = u64::MAX;
        }
        None
    }
}

fn index(group: u64) -> usize {
    usize::try_from(group / 64).unwrap_or(usize::MAX)
}

/// The words that a range touches, with the bits it has in each.
fn masks(range: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let bits = (64 - at % 64).min(range.end - at);
        let mask = (u64::MAX >> (64 - bits)) << (at % 64);
        let found = (index(at), mask);
        at += bits;
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(count in 1_u64..300, changes in prop::collection::vec((any::<bool>(), 0_u64..320, 0_u64..320), 0..20)) {
            let (mut groups, mut model) = (Groups::none(count), BTreeSet::new());
            for (put, start, end) in changes {
                if put {
                    groups.insert(start..end);
                    model.extend((start..end).filter(|group| *group < count));
                } else {
                    groups.remove(start..end);
                    model.retain(|group| !(start..end).contains(group));
                }
            }
            prop_assert_eq!(groups.held(), model.len() as u64);
            prop_assert!((0..400).all(|group| groups.contains(group) == model.contains(&group)));
            prop_assert_eq!(groups.runs().flatten().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(&Groups::from_words(count, groups.words()), &groups);
            for from in 0..count {
                prop_assert_eq!(groups.next_run(from).map(|run| run.start), model.range(from..).next().copied());
            }
        }
    }

    #[test]
    fn all_is_full_and_none_is_not() {
        for count in [1, 63, 64, 65, 1000] {
            assert!(Groups::all(count).is_full() && !Groups::none(count).is_full());
        }
    }
}
