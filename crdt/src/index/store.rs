//! What the index needs of a database: so little that changing it costs a file.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// A key with its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Sets the value of a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key.
    Remove(Vec<u8>),
}

/// Why a database failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IndexStoreError {
    /// Another process has it open.
    #[error("another process has it open")]
    Busy,
    /// It refused, or it panicked.
    #[error("{0}")]
    Failed(String),
}

/// Keys and values in order, kept in a directory of its own. The first byte of a key is its table. Dropping it closes it.
pub(crate) trait IndexStore: Send + Sized {
    /// Opens or creates the database in `directory`.
    fn open(directory: &Path) -> Result<Self, IndexStoreError>;
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError>;
    /// The greatest key that is not greater than this one, with its value.
    fn at_or_before(&self, key: &[u8]) -> Result<Option<Pair>, IndexStoreError>;
    /// The smallest key that is greater than this one.
    fn after(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError>;
    /// Makes all changes or none; the last one counts where a key comes twice. They need not be on disk yet, but never without
    /// those of earlier calls.
    fn write(&mut self, operations: Vec<Operation>) -> Result<(), IndexStoreError>;
    /// Sets the values of many keys and tells the earlier value of each that had one. A crash may keep any part of it, but never
    /// without those of earlier calls.
    fn load(
        &mut self,
        pairs: BTreeMap<Vec<u8>, Vec<u8>>,
        replaced: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), IndexStoreError> {
        for key in pairs.keys() {
            if let Some(before) = self.get(key)? {
                replaced(key, &before);
            }
        }
        self.write(
            pairs
                .into_iter()
                .map(|(key, value)| Operation::Put(key, value))
                .collect(),
        )
    }
    /// Visits every key that begins with `prefix`, in order, with its value.
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexStoreError>;
}

/// Calls a database so that a panic in it is an error of this call: what comes from a damaged disk makes databases panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, IndexStoreError>) -> Result<T, IndexStoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(IndexStoreError::Failed("it panicked".into())))
}
