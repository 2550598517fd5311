//! The accounts as this node knows them, at hand: every request asks for one, and every sign-in looks for one by its name.
//!
//! What is held is a copy that is thrown away when the account changes here or elsewhere, and after a moment in any case: a
//! revocation acts within [`ACCOUNT_HELD_FOR`] even if no notice of it came.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crdt::{
    Change, Store, StoreError,
    erasure::EraseTarget,
    records::{
        RecordKind, Sealed,
        account::{Account, AccountEdit, folded_name},
    },
};
use keys::ContentId;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::limits::{ACCOUNT_HELD_FOR, ACCOUNTS_HELD_MAX, NAMES_HELD_FOR};

/// Reads and edits accounts.
pub(crate) struct People {
    store: Store,
    // A plain lock: held for a few instructions, never across an await.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    accounts: HashMap<ContentId, (Arc<Account>, Instant)>,
    names: Option<Names>,
    /// Counts notices, so that what was read before one is not kept after it.
    notices: u64,
    /// How many list every account just now.
    listing: usize,
    changed_while_listing: BTreeSet<ContentId>,
}

/// Whom each name and address belongs to; a mesh has few enough people for all of them.
struct Names {
    made: Instant,
    people: HashMap<String, BTreeSet<ContentId>>,
    keys: HashMap<ContentId, Vec<String>>,
    /// Changed since; looked at before the next question is answered.
    stale: BTreeSet<ContentId>,
}

impl People {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Throws away what has changed or was erased, for as long as the store lives.
    pub(crate) async fn follow(self: Arc<Self>, mut changes: Receiver<Change>, mut erased: Receiver<EraseTarget>) {
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) if change.kind == RecordKind::Account => self.known().changed(change.document),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => self.known().forget(),
                    Err(RecvError::Closed) => return,
                },
                target = erased.recv() => match target {
                    Ok(target) => self.known().changed(target.subject()),
                    Err(RecvError::Lagged(_)) => self.known().forget(),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// An account.
    pub(crate) async fn read(&self, id: ContentId) -> Result<Arc<Account>, StoreError> {
        let notices = {
            let known = self.known();
            match known.accounts.get(&id) {
                Some((account, at)) if at.elapsed() < ACCOUNT_HELD_FOR => return Ok(Arc::clone(account)),
                _ => known.notices,
            }
        };
        let account = Arc::new(self.store.read::<Account>(id).await?);
        // One whose key has not come yet reads otherwise in a moment.
        if account.name.is_readable() {
            let mut known = self.known();
            if known.notices == notices {
                if known.accounts.len() >= ACCOUNTS_HELD_MAX {
                    known.accounts.clear();
                }
                known.accounts.insert(id, (Arc::clone(&account), Instant::now()));
            }
        }
        Ok(account)
    }

    /// What an account is called now; `None` when it is gone.
    pub(crate) async fn name(&self, id: ContentId) -> Result<Option<String>, StoreError> {
        match self.read(id).await {
            Ok(account) => Ok(Some(account.name.text().to_owned())),
            Err(StoreError::NotFound | StoreError::Erased) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An account of which a change was just heard: the notice may not have thrown the copy away yet.
    pub(crate) async fn read_anew(&self, id: ContentId) -> Result<Arc<Account>, StoreError> {
        self.known().changed(id);
        self.read(id).await
    }

    /// An account was erased.
    pub(crate) fn gone(&self, id: ContentId) {
        self.known().changed(id);
    }

    /// Changes an account; whoever reads it afterwards reads the change.
    pub(crate) async fn edit(&self, id: ContentId, edit: AccountEdit) -> Result<(), StoreError> {
        let result = self.store.edit(id, edit).await;
        self.known().changed(id);
        result
    }

    /// Begins an account.
    pub(crate) async fn create(&self, account: Account) -> Result<ContentId, StoreError> {
        let id = self.store.create(account).await?;
        self.known().changed(id);
        Ok(id)
    }

    /// The account of this name, if there is one.
    pub(crate) async fn named(&self, name: &str) -> Result<Option<(ContentId, Arc<Account>)>, StoreError> {
        self.oldest(&name_key(name)).await
    }

    /// The account of this address, if there is one.
    pub(crate) async fn addressed(&self, email: &str) -> Result<Option<(ContentId, Arc<Account>)>, StoreError> {
        self.oldest(&address_key(email)).await
    }

    /// Two accounts of one name, made on both sides of a split: the older one keeps the name (ties by id).
    async fn oldest(&self, key: &str) -> Result<Option<(ContentId, Arc<Account>)>, StoreError> {
        self.look_at_names().await?;
        let ids = match &self.known().names {
            Some(names) => names.people.get(key).cloned().unwrap_or_default(),
            None => BTreeSet::new(),
        };
        let mut found: Option<(ContentId, Arc<Account>)> = None;
        for id in ids {
            let account = match self.read(id).await {
                Ok(account) => account,
                Err(StoreError::NotFound | StoreError::Erased) => continue,
                Err(error) => return Err(error),
            };
            let is_older = found
                .as_ref()
                .is_none_or(|(other, best)| (account.created, id) < (best.created, *other));
            if is_older {
                found = Some((id, account));
            }
        }
        Ok(found)
    }

    async fn look_at_names(&self) -> Result<(), StoreError> {
        let (is_listed, stale, notices) = {
            let mut known = self.known();
            let notices = known.notices;
            match &mut known.names {
                Some(names) if names.made.elapsed() < NAMES_HELD_FOR => (true, names.stale.clone(), notices),
                Some(names) => {
                    // Who comes meanwhile uses the old list.
                    names.made = Instant::now();
                    (false, BTreeSet::new(), notices)
                }
                None => (false, BTreeSet::new(), notices),
            }
        };
        if !is_listed {
            return self.list_names().await;
        }
        for id in stale {
            let account = match self.read(id).await {
                Ok(account) => Some(account),
                Err(StoreError::NotFound | StoreError::Erased) => None,
                Err(error) => return Err(error),
            };
            let mut known = self.known();
            let is_current = known.notices == notices;
            if let Some(names) = &mut known.names {
                // What changed while it was read is looked at again.
                if is_current {
                    names.stale.remove(&id);
                }
                names.put(id, account.as_deref());
            }
        }
        Ok(())
    }

    async fn list_names(&self) -> Result<(), StoreError> {
        let listing = Listing::begin(self);
        let accounts = self.store.list::<Account>().await?;
        let mut known = self.known();
        let mut names = Names {
            made: Instant::now(),
            people: HashMap::new(),
            keys: HashMap::new(),
            // What changed while they were listed is looked at again.
            stale: known.changed_while_listing.clone(),
        };
        accounts.iter().for_each(|(id, account)| names.put(*id, Some(account)));
        known.names = Some(names);
        drop(known);
        drop(listing);
        Ok(())
    }
}

/// While it lives, what changes is noted; a request that is given up ends it, too.
struct Listing<'a>(&'a People);

impl<'a> Listing<'a> {
    fn begin(people: &'a People) -> Self {
        people.known().listing += 1;
        Self(people)
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        let mut known = self.0.known();
        known.listing -= 1;
        if known.listing == 0 {
            known.changed_while_listing.clear();
        }
    }
}

impl Known {
    fn changed(&mut self, id: ContentId) {
        self.notices += 1;
        self.accounts.remove(&id);
        if self.listing > 0 {
            self.changed_while_listing.insert(id);
        }
        if let Some(names) = &mut self.names {
            names.stale.insert(id);
            if names.stale.len() > ACCOUNTS_HELD_MAX {
                self.names = None;
            }
        }
    }

    fn forget(&mut self) {
        self.notices += 1;
        self.accounts.clear();
        self.names = None;
    }
}

impl Names {
    fn put(&mut self, id: ContentId, account: Option<&Account>) {
        for key in self.keys.remove(&id).unwrap_or_default() {
            if let Some(people) = self.people.get_mut(&key) {
                people.remove(&id);
                if people.is_empty() {
                    self.people.remove(&key);
                }
            }
        }
        let Some(account) = account else { return };
        if !account.name.is_readable() {
            // Its key comes later; then it is looked at again.
            self.stale.insert(id);
            return;
        }
        let email = account.email.as_ref().filter(|email| email.is_readable());
        let keys: Vec<String> = std::iter::once(name_key(account.name.text()))
            .chain(email.map(Sealed::text).map(address_key))
            .collect();
        for key in &keys {
            self.people.entry(key.clone()).or_default().insert(id);
        }
        self.keys.insert(id, keys);
    }
}

fn name_key(name: &str) -> String {
    format!("name {}", folded_name(name))
}

fn address_key(email: &str) -> String {
    format!("address {}", folded_name(email))
}
