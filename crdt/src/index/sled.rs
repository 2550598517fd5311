//! The index in sled 0.34.7.
//!
//! What is known of it, and answered here: it panics on some kinds of damage, also in threads of its own, after which closing it
//! can wait for ever; it lets go of its lock a moment after it was closed; its `flush` is no fsync on Linux, so nobody calls it, and
//! its own thread syncs twice a second. It loses keys silently when a page rots, which only the index above can notice.

use std::{collections::BTreeMap, path::Path, sync::mpsc, thread};

use super::store::{IndexStore, IndexStoreError, Operation, Pair, guarded};
use crate::limits::{INDEX_CACHE_BYTES, INDEX_CLOSE_WAIT, INDEX_LOCK_ATTEMPTS, INDEX_LOCK_WAIT};

/// Milliseconds between two syncs of sled's own thread.
const FLUSH_EVERY: u64 = 500;

pub(crate) struct SledStore {
    /// `None` only while it is closed.
    database: Option<::sled::Db>,
}

impl SledStore {
    /// Calls sled so that a panic in it is an error of this call.
    fn call<T>(&self, work: impl FnOnce(&::sled::Db) -> ::sled::Result<T>) -> Result<T, IndexStoreError> {
        let database = self.database.as_ref();
        let database = database.ok_or_else(|| IndexStoreError::Failed("it is closed".into()))?;
        guarded(|| work(database).map_err(failed))
    }
}

fn failed(error: ::sled::Error) -> IndexStoreError {
    let reason = error.to_string();
    // sled has no error of its own for a lock that is held.
    if reason.contains("could not acquire lock") {
        IndexStoreError::Busy
    } else {
        IndexStoreError::Failed(reason)
    }
}

impl IndexStore for SledStore {
    fn open(directory: &Path) -> Result<Self, IndexStoreError> {
        let config = ::sled::Config::new()
            .path(directory)
            .cache_capacity(INDEX_CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY));
        let open = || guarded(|| config.open().map_err(failed));
        let mut opened = open();
        for _ in 0..INDEX_LOCK_ATTEMPTS {
            if !matches!(opened, Err(IndexStoreError::Busy)) {
                break;
            }
            // A thread of the one just closed may still hold the lock.
            thread::park_timeout(INDEX_LOCK_WAIT);
            opened = open();
        }
        Ok(Self {
            database: Some(opened?),
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        self.call(|database| Ok(database.get(key)?.map(|value| value.to_vec())))
    }

    fn at_or_before(&self, key: &[u8]) -> Result<Option<Pair>, IndexStoreError> {
        self.call(|database| {
            if let Some(value) = database.get(key)? {
                return Ok(Some((key.to_vec(), value.to_vec())));
            }
            let before = database.get_lt(key)?;
            Ok(before.map(|(key, value)| (key.to_vec(), value.to_vec())))
        })
    }

    fn after(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        self.call(|database| Ok(database.get_gt(key)?.map(|(key, _)| key.to_vec())))
    }

    fn write(&mut self, operations: Vec<Operation>) -> Result<(), IndexStoreError> {
        let mut batch = ::sled::Batch::default();
        for operation in operations {
            match operation {
                Operation::Put(key, value) => batch.insert(key, value),
                Operation::Remove(key) => batch.remove(key),
            }
        }
        self.call(|database| database.apply_batch(batch))
    }

    /// A batch of sled goes through its keys in no order; these go in theirs, so that one page after the other is filled.
    fn load(
        &mut self,
        pairs: BTreeMap<Vec<u8>, Vec<u8>>,
        replaced: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), IndexStoreError> {
        self.call(|database| {
            for (key, value) in pairs {
                if let Some(before) = database.insert(&key, value)? {
                    replaced(&key, &before);
                }
            }
            Ok(())
        })
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexStoreError> {
        self.call(|database| {
            for pair in database.scan_prefix(prefix) {
                let (key, value) = pair?;
                visit(&key, &value);
            }
            Ok(())
        })
    }
}

impl Drop for SledStore {
    /// Closes it in a thread of its own: if a thread of sled has died on damaged pages, sled waits for it for ever.
    fn drop(&mut self) {
        let database = self.database.take();
        let (sender, closed) = mpsc::sync_channel::<()>(1);
        let closing = move || {
            drop(database);
            drop(sender);
        };
        if let Err(error) = thread::Builder::new()
            .name("starling-index-close".into())
            .spawn(closing)
        {
            // The database went with the closure that could not be run.
            tracing::warn!(%error, "no thread to close the index in");
        }
        if closed.recv_timeout(INDEX_CLOSE_WAIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::error!("the index could not be closed; it is verified when it is opened next");
        }
    }
}
