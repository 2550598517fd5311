//! Wrong passwords make the next try wait, longer each time.
//!
//! Counted for a name from one address after three, so that nobody can shut a person out from elsewhere; and for a name from
//! anywhere after many more. Unknown names are counted like known ones.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::limits::{
    LOCK_AFTER, LOCK_AFTER_ANYWHERE, LOCK_DELAY_FIRST, LOCK_DELAY_MAX, LOCK_REMEMBERED_FOR, LOCKS_MAX,
};

#[derive(Clone, Copy, Debug)]
struct Count {
    wrong: u32,
    last: Instant,
}

impl Count {
    /// Until when nobody may try.
    fn until(&self, after: u32) -> Option<Instant> {
        let beyond = self.wrong.checked_sub(after)?;
        let delay = LOCK_DELAY_FIRST.saturating_mul(1u32.checked_shl(beyond).unwrap_or(u32::MAX));
        Some(self.last + delay.min(LOCK_DELAY_MAX))
    }
}

/// Names under which somebody tried wrong passwords lately.
#[derive(Default)]
pub(crate) struct Locks {
    // A plain lock: held for a few instructions, never across an await.
    counts: Mutex<HashMap<String, Count>>,
}

/// Whom a try is counted for, and after how many it is made to wait.
fn keys(name: &str, address: &str) -> [(String, u32); 2] {
    [
        (format!("{address} {name}"), LOCK_AFTER),
        (format!("anywhere {name}"), LOCK_AFTER_ANYWHERE),
    ]
}

impl Locks {
    /// Whether a password may be tried now; otherwise how long to wait.
    pub(crate) fn check(&self, name: &str, address: &str, now: Instant) -> Result<(), Duration> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let until = keys(name, address)
            .into_iter()
            .filter_map(|(key, after)| counts.get(&key)?.until(after))
            .max();
        match until.map(|until| until.saturating_duration_since(now)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    /// A password was wrong.
    pub(crate) fn note_wrong(&self, name: &str, address: &str, now: Instant) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= LOCKS_MAX {
            counts.retain(|_, count| now.saturating_duration_since(count.last) < LOCK_REMEMBERED_FOR);
        }
        if counts.len() >= LOCKS_MAX {
            // The older half goes at once, so that a flood of names does not make each of them cost a search.
            let mut times: Vec<Instant> = counts.values().map(|count| count.last).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            counts.retain(|_, count| count.last > median);
        }
        for (key, _) in keys(name, address) {
            let count = counts.entry(key).or_insert(Count { wrong: 0, last: now });
            if now.saturating_duration_since(count.last) >= LOCK_REMEMBERED_FOR {
                count.wrong = 0;
            }
            *count = Count {
                wrong: count.wrong.saturating_add(1),
                last: now,
            };
        }
    }

    /// The right password was given: this address has shown who it is. What others tried stays counted.
    pub(crate) fn note_right(&self, name: &str, address: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let [(own, _), _] = keys(name, address);
        counts.remove(&own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_three_wrong_passwords_each_makes_the_wait_longer() {
        let (locks, start) = (Locks::default(), Instant::now());
        for _ in 0..LOCK_AFTER {
            assert_eq!(locks.check("рита", "192.0.2.1", start), Ok(()));
            locks.note_wrong("рита", "192.0.2.1", start);
        }
        assert_eq!(locks.check("рита", "192.0.2.1", start), Err(LOCK_DELAY_FIRST));
        assert_eq!(
            locks.check("рита", "192.0.2.2", start),
            Ok(()),
            "somebody else is not shut out"
        );
        assert_eq!(locks.check("вера", "192.0.2.1", start), Ok(()));
        let later = start + LOCK_DELAY_FIRST;
        assert_eq!(locks.check("рита", "192.0.2.1", later), Ok(()));
        locks.note_wrong("рита", "192.0.2.1", later);
        assert_eq!(locks.check("рита", "192.0.2.1", later), Err(2 * LOCK_DELAY_FIRST));
        for _ in 0..40 {
            locks.note_wrong("рита", "192.0.2.1", later);
        }
        assert_eq!(locks.check("рита", "192.0.2.1", later), Err(LOCK_DELAY_MAX));
        assert!(
            locks.check("рита", "192.0.2.2", later).is_err(),
            "so many count for everyone"
        );
        locks.note_right("вера", "192.0.2.1");
        assert!(locks.check("рита", "192.0.2.1", later).is_err());
        let much_later = later + LOCK_REMEMBERED_FOR;
        locks.note_wrong("рита", "192.0.2.1", much_later);
        assert_eq!(locks.check("рита", "192.0.2.1", much_later), Ok(()), "it begins anew");
    }

    #[test]
    fn the_list_of_names_is_bounded() {
        let (locks, start) = (Locks::default(), Instant::now());
        for number in 0..LOCKS_MAX + 10 {
            locks.note_wrong(&number.to_string(), "a", start + Duration::from_millis(number as u64));
        }
        assert!(locks.counts.lock().unwrap().len() <= LOCKS_MAX + 1);
    }
}
