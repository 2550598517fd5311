//! The index in redb: the second implementation, through the same tests, so that leaving sled stays cheap.

use std::path::Path;

use ::redb::{Database, ReadableDatabase, TableDefinition, TableError};

use super::store::{IndexStore, IndexStoreError, Operation, Pair, guarded};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("index");

pub(crate) struct RedbStore {
    /// `None` only while it is closed.
    database: Option<Database>,
}

impl RedbStore {
    fn database(&self) -> Result<&Database, IndexStoreError> {
        let database = self.database.as_ref();
        database.ok_or_else(|| IndexStoreError::Failed("it is closed".into()))
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        let database = self.database.take();
        // Closing a damaged one may panic like everything else.
        let _ = guarded(|| {
            drop(database);
            Ok(())
        });
    }
}

fn failed(error: impl Into<::redb::Error>) -> IndexStoreError {
    match error.into() {
        ::redb::Error::DatabaseAlreadyOpen => IndexStoreError::Busy,
        error => IndexStoreError::Failed(error.to_string()),
    }
}

impl IndexStore for RedbStore {
    fn open(directory: &Path) -> Result<Self, IndexStoreError> {
        std::fs::create_dir_all(directory).map_err(|error| IndexStoreError::Failed(error.to_string()))?;
        let database = guarded(|| Database::create(directory.join("index.redb")).map_err(failed))?;
        Ok(Self {
            database: Some(database),
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        guarded(|| {
            let transaction = self.database()?.begin_read().map_err(failed)?;
            let table = match transaction.open_table(TABLE) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table.map_err(failed)?,
            };
            let value = table.get(key).map_err(failed)?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    fn at_or_before(&self, key: &[u8]) -> Result<Option<Pair>, IndexStoreError> {
        guarded(|| {
            let transaction = self.database()?.begin_read().map_err(failed)?;
            let table = match transaction.open_table(TABLE) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table.map_err(failed)?,
            };
            let last = table.range(..=key).map_err(failed)?.next_back();
            let pair = last.transpose().map_err(failed)?;
            Ok(pair.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())))
        })
    }

    fn after(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        guarded(|| {
            let transaction = self.database()?.begin_read().map_err(failed)?;
            let table = match transaction.open_table(TABLE) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table.map_err(failed)?,
            };
            let behind = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
            let first = table.range::<&[u8]>(behind).map_err(failed)?.next();
            let pair = first.transpose().map_err(failed)?;
            Ok(pair.map(|(key, _)| key.value().to_vec()))
        })
    }

    fn write(&mut self, operations: Vec<Operation>) -> Result<(), IndexStoreError> {
        guarded(|| {
            let transaction = self.database()?.begin_write().map_err(failed)?;
            {
                let mut table = transaction.open_table(TABLE).map_err(failed)?;
                for operation in &operations {
                    match operation {
                        Operation::Put(key, value) => drop(table.insert(&key[..], &value[..]).map_err(failed)?),
                        Operation::Remove(key) => drop(table.remove(&key[..]).map_err(failed)?),
                    }
                }
            }
            transaction.commit().map_err(failed)
        })
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexStoreError> {
        guarded(|| {
            let transaction = self.database()?.begin_read().map_err(failed)?;
            let table = match transaction.open_table(TABLE) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                table => table.map_err(failed)?,
            };
            for pair in table.range(prefix..).map_err(failed)? {
                let (key, value) = pair.map_err(failed)?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                visit(key.value(), value.value());
            }
            Ok(())
        })
    }
}
