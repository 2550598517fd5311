//! Devices with a page open at this gateway: an open page is a use of its device, also while it asks for nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crdt::records::{
    EntryId,
    account::{Account, DEVICES_LIVE_MAX},
};
use keys::ContentId;

type Key = (ContentId, EntryId);

/// How many pages each device has open; at most as many devices as there are places for sockets.
#[derive(Clone, Default)]
pub(crate) struct OpenDevices(Arc<Mutex<HashMap<Key, usize>>>);

/// A page is open for as long as this lives.
pub(crate) struct OpenPage {
    all: OpenDevices,
    key: Key,
}

impl OpenDevices {
    /// A page of a device opens.
    pub(crate) fn open(&self, person: ContentId, device: EntryId) -> OpenPage {
        let key = (person, device);
        *self.lock().entry(key).or_default() += 1;
        OpenPage { all: self.clone(), key }
    }

    /// Who has to leave when another device of a person signs in: the longest unused of those without an open page, else of all.
    pub(crate) fn leaves(&self, person: ContentId, account: &Account) -> Option<EntryId> {
        let live = account.live_devices();
        if live.len() < DEVICES_LIVE_MAX {
            return None;
        }
        let open = self.lock();
        let unused = live.iter().find(|device| !open.contains_key(&(person, device.id)));
        unused.or(live.first()).map(|device| device.id)
    }

    // A plain lock: held for a few instructions, never across an await.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenPage {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crdt::records::account::{Device, Role};
    use keys::Timestamp;

    use super::*;

    #[test]
    fn the_longest_unused_leaves_of_those_without_a_page() {
        let person = ContentId([1; 32]);
        let mut account = Account::new("Рита", Role::User, Timestamp(0), [0; 16]);
        let ids: Vec<EntryId> = (1..=5).map(|number| EntryId::new(Timestamp(number), 7)).collect();
        let device = |id: &EntryId| Device {
            id: *id,
            label: "a browser".into(),
            seen: id.at(),
            generation: 0,
            signed_out: false,
        };
        account.devices = ids.iter().take(4).map(device).collect();
        let open = OpenDevices::default();
        assert_eq!(open.leaves(person, &account), None, "there is room");
        account.devices.push(device(&ids[4]));
        assert_eq!(open.leaves(person, &account), Some(ids[0]));
        let first = [open.open(person, ids[0]), open.open(person, ids[0])];
        let _of_another = open.open(ContentId([2; 32]), ids[1]);
        assert_eq!(open.leaves(person, &account), Some(ids[1]));
        let rest: Vec<_> = ids[1..].iter().map(|id| open.open(person, *id)).collect();
        assert_eq!(open.leaves(person, &account), Some(ids[0]), "everyone has a page");
        drop(rest);
        let [one, other] = first;
        drop(one);
        assert_eq!(
            open.leaves(person, &account),
            Some(ids[1]),
            "its other page is open still"
        );
        drop(other);
        assert_eq!(open.leaves(person, &account), Some(ids[0]));
    }
}
