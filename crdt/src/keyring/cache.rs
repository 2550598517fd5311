//! The keys that were used last, so that a chat does not read its key file for each message.

use std::collections::BTreeMap;

use keys::{ContentId, DataKey};

/// At most `limit` accounts; the one not used for longest goes first.
pub(super) struct Cache {
    limit: usize,
    /// Counts uses; the smaller, the longer ago.
    clock: u64,
    accounts: BTreeMap<ContentId, (u64, Vec<DataKey>)>,
    by_use: BTreeMap<u64, ContentId>,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            clock: 0,
            accounts: BTreeMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    pub(super) fn get(&mut self, account: &ContentId) -> Option<&[DataKey]> {
        let (used, keys) = self.accounts.get_mut(account)?;
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, *account);
        Some(keys)
    }

    pub(super) fn insert(&mut self, account: ContentId, keys: Vec<DataKey>) {
        self.remove(&account);
        self.clock += 1;
        self.accounts.insert(account, (self.clock, keys));
        self.by_use.insert(self.clock, account);
        while self.accounts.len() > self.limit {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            self.accounts.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, account: &ContentId) {
        if let Some((used, _)) = self.accounts.remove(account) {
            self.by_use.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_no_more_than_its_limit_and_keeps_what_was_used_last() {
        let account = |number: u8| ContentId([number; 32]);
        let mut cache = Cache::new(3);
        for number in 1..=3 {
            cache.insert(account(number), vec![DataKey::from_bytes(&[number; 32])]);
        }
        assert!(cache.get(&account(1)).is_some());
        cache.insert(account(4), Vec::new());
        assert!(cache.get(&account(2)).is_none(), "2 was not used for longest");
        assert_eq!(cache.get(&account(1)).unwrap(), [DataKey::from_bytes(&[1; 32])]);
        cache.insert(account(1), Vec::new());
        assert!(cache.get(&account(1)).unwrap().is_empty());
        cache.remove(&account(1));
        cache.remove(&account(1));
        assert!(cache.get(&account(1)).is_none());
        for number in 0..100 {
            cache.insert(account(number), Vec::new());
            assert_eq!(cache.accounts.len(), cache.by_use.len());
            assert!(cache.accounts.len() <= 3);
        }
    }
}
