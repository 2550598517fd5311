//! How long backups are kept.

use std::collections::BTreeSet;

use keys::Timestamp;

use crate::limits::{BACKUP_DAYS_KEPT, BACKUP_WEEKS_KEPT};

const DAY_MILLISECONDS: u64 = 24 * 3600 * 1000;
/// 1970-01-01 was a Thursday; weeks begin on Monday, as in ISO 8601.
const DAYS_BEFORE_THURSDAY: u64 = 3;

/// Which of these backups to keep: the newest of each of the last 7 days that have one, and the newest of each of the last 7 weeks
/// that have one, days and weeks as in UTC. Days without a backup do not count, so that a node that was off for a month loses
/// nothing by it. A backup from the future, which a wrong clock made, is kept and counts for nothing.
#[must_use]
pub fn keep(backups: &[Timestamp], now: Timestamp) -> Vec<bool> {
    let mut order: Vec<usize> = (0..backups.len()).filter(|index| backups[*index] <= now).collect();
    // Newest first; of equal ones the first listed.
    order.sort_by_key(|index| std::cmp::Reverse(backups[*index]));
    let mut kept: Vec<bool> = backups.iter().map(|backup| *backup > now).collect();
    let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
    for index in order {
        let day = backups[index].0 / DAY_MILLISECONDS;
        let week = (day + DAYS_BEFORE_THURSDAY) / 7;
        kept[index] =
            is_newest_of(&mut days, day, BACKUP_DAYS_KEPT) | is_newest_of(&mut weeks, week, BACKUP_WEEKS_KEPT);
    }
    kept
}

/// Whether nothing of this period was seen yet, and fewer than `limit` periods were.
fn is_newest_of(seen: &mut BTreeSet<u64>, period: u64, limit: usize) -> bool {
    seen.len() < limit && seen.insert(period)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Monday, 2026-06-01, 03:00 UTC.
    const MONDAY: u64 = 1_780_282_800_000;

    fn day(number: u64) -> Timestamp {
        Timestamp(MONDAY + number * DAY_MILLISECONDS)
    }

    fn kept(backups: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
        let kept = keep(backups, now);
        backups
            .iter()
            .zip(kept)
            .filter_map(|(backup, kept)| kept.then_some(*backup))
            .collect()
    }

    #[test]
    fn seven_days_and_seven_weeks_of_daily_backups() {
        let backups: Vec<_> = (0..100).map(day).collect();
        // Day 99 is a Tuesday: days 93 to 99, and Sundays, the last days of their weeks, of which day 97 is one more.
        let expected: Vec<_> = [62, 69, 76, 83, 90].into_iter().chain(93..100).map(day).collect();
        assert_eq!(kept(&backups, day(99)), expected);
    }

    #[test]
    fn day_by_day_nothing_is_missing_that_a_rule_promises() {
        let mut backups: Vec<Timestamp> = Vec::new();
        for today in 0..400 {
            backups.push(day(today));
            backups = kept(&backups, day(today));
            assert!(backups.len() <= BACKUP_DAYS_KEPT + BACKUP_WEEKS_KEPT);
            let has = |number: u64| backups.contains(&day(number));
            assert!(
                (today.saturating_sub(6)..=today).all(has),
                "the last seven days, on day {today}"
            );
            // Sundays are days 6, 13, ...; of this week and the six before, the Sundays that were.
            let this_week = today / 7;
            let sundays = (this_week.saturating_sub(6)..this_week).map(|week| week * 7 + 6);
            assert!(
                sundays.into_iter().all(has),
                "the last weeks, on day {today}: {backups:?}"
            );
        }
    }

    #[test]
    fn a_wrong_clock_and_a_long_pause_lose_nothing() {
        let future = day(40_000);
        let backups: Vec<_> = (0..7).map(day).chain([future]).collect();
        assert_eq!(kept(&backups, day(300)), backups, "300 days later");
        assert_eq!(kept(&[], day(0)), []);
        assert_eq!(keep(&[day(3), day(3)], day(3)), [true, false]);
    }

    proptest! {
        #[test]
        fn the_newest_is_kept_and_keeping_again_changes_nothing(
            hours in proptest::collection::vec(0_u64..24 * 120, 0..80), now in 0_u64..24 * 120
        ) {
            let at = |hours: u64| Timestamp(MONDAY + hours * 3_600_000);
            let backups: Vec<_> = hours.into_iter().map(at).collect();
            let now = at(now);
            let kept = kept(&backups, now);
            let past = |list: &[Timestamp]| list.iter().filter(|backup| **backup <= now).copied().max();
            prop_assert_eq!(past(&backups), past(&kept));
            prop_assert_eq!(&super::tests::kept(&kept, now), &kept);
            prop_assert!(kept.iter().filter(|backup| **backup <= now).count() <= BACKUP_DAYS_KEPT + BACKUP_WEEKS_KEPT);
            // The newest of each of the last seven days that have one is there.
            let day = |backup: &Timestamp| backup.0 / DAY_MILLISECONDS;
            let days: BTreeSet<_> = backups.iter().filter(|backup| **backup <= now).map(day).collect();
            for wanted in days.into_iter().rev().take(BACKUP_DAYS_KEPT) {
                let newest = backups.iter().filter(|backup| **backup <= now && day(backup) == wanted).max();
                prop_assert!(kept.contains(newest.unwrap()));
            }
        }
    }
}
