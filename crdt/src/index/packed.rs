//! Many pairs under one key of the database: those whose keys begin alike stand together as one value.
//!
//! What a database does for each key (pages of single allocations, a log entry, a place in its cache) costs more than the forty bytes
//! that a record needs. Measured for a million documents: a ninth of the keys, a third of the time to make the index anew. While
//! there are few records, each stands alone, and nothing is lost by it.

use std::collections::{BTreeMap, btree_map};

use super::{
    layout,
    store::{IndexStore, IndexStoreError, Operation},
};

/// Keys and values in buckets of another database.
pub(crate) struct Packed<S>(S);

/// The rest of each key with its value.
type Bucket = BTreeMap<Vec<u8>, Vec<u8>>;

impl<S: IndexStore> Packed<S> {
    fn bucket(&self, key: &[u8]) -> Result<Bucket, IndexStoreError> {
        self.0
            .get(key)?
            .map_or_else(|| Ok(Bucket::new()), |bytes| unpack(&bytes))
    }
}

fn unpack(bytes: &[u8]) -> Result<Bucket, IndexStoreError> {
    super::decode(bytes)
}

impl<S: IndexStore> IndexStore for Packed<S> {
    fn open(directory: &std::path::Path) -> Result<Self, IndexStoreError> {
        Ok(Self(S::open(directory)?))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        let (bucket, rest) = layout::bucket(key);
        Ok(self.bucket(bucket)?.remove(rest))
    }

    fn write(&mut self, operations: Vec<Operation>) -> Result<(), IndexStoreError> {
        let mut buckets: BTreeMap<Vec<u8>, Bucket> = BTreeMap::new();
        for operation in operations {
            let (key, value) = match operation {
                Operation::Put(key, value) => (key, Some(value)),
                Operation::Remove(key) => (key, None),
            };
            let (bucket, rest) = layout::bucket(&key);
            let pairs = match buckets.entry(bucket.to_vec()) {
                btree_map::Entry::Occupied(known) => known.into_mut(),
                btree_map::Entry::Vacant(place) => place.insert(self.bucket(bucket)?),
            };
            match value {
                Some(value) => drop(pairs.insert(rest.to_vec(), value)),
                None => drop(pairs.remove(rest)),
            }
        }
        let changed = buckets.into_iter().map(|(key, pairs)| match pairs.is_empty() {
            true => Operation::Remove(key),
            false => Operation::Put(key, layout::encode(&pairs)),
        });
        self.0.write(changed.collect())
    }

    fn load(
        &mut self,
        pairs: BTreeMap<Vec<u8>, Vec<u8>>,
        replaced: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), IndexStoreError> {
        let mut packed = BTreeMap::new();
        let mut pairs = pairs.into_iter().peekable();
        while let Some((key, value)) = pairs.next() {
            let (bucket, _) = layout::bucket(&key);
            let mut together = self.bucket(bucket)?;
            let mut insert = |key: &[u8], value| {
                if let Some(before) = together.insert(key[bucket.len()..].to_vec(), value) {
                    replaced(key, &before);
                }
            };
            insert(&key, value);
            while let Some((key, value)) = pairs.next_if(|(next, _)| layout::bucket(next).0 == bucket) {
                insert(&key, value);
            }
            packed.insert(bucket.to_vec(), layout::encode(&together));
        }
        self.0.load(packed, &mut |_, _| {})
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexStoreError> {
        // A longer prefix than that of a bucket asks for a part of one.
        let (bucket, _) = layout::bucket(prefix);
        let mut key = Vec::new();
        let mut unpacked = Ok(());
        self.0.scan(bucket, &mut |bucket, bytes| match unpack(bytes) {
            Ok(pairs) => {
                for (rest, value) in pairs {
                    key.clear();
                    key.extend_from_slice(bucket);
                    key.extend_from_slice(&rest);
                    if key.starts_with(prefix) {
                        visit(&key, &value);
                    }
                }
            }
            Err(error) => unpacked = Err(error),
        })?;
        unpacked
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sled::SledStore, *};

    /// Keys of one table that share a bucket, and others.
    fn key(table: u8, first: u8, last: u8) -> Vec<u8> {
        let mut key = vec![table, 0, first];
        key.resize(40, 9);
        key.push(last);
        key
    }

    fn all(store: &impl IndexStore, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        store
            .scan(prefix, &mut |key, value| found.push((key.to_vec(), value.to_vec())))
            .unwrap();
        found
    }

    #[test]
    fn pairs_that_begin_alike_stand_together_and_each_can_be_had_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Packed::<SledStore>::open(directory.path()).unwrap();
        let pairs: BTreeMap<Vec<u8>, Vec<u8>> = (0..40)
            .map(|number| (key(2, number / 10, number % 10), vec![number]))
            .collect();
        store
            .load(pairs.clone(), &mut |_, _| panic!("nothing was there"))
            .unwrap();
        let listed: Vec<_> = pairs.clone().into_iter().collect();
        assert_eq!(all(&store, &[]), listed, "in order");
        assert_eq!(all(&store.0, &[]).len(), 4, "ten in each");
        assert_eq!(all(&store, &[2, 0, 1]), listed[10..20]);
        assert_eq!(all(&store, &key(2, 1, 3)), listed[13..14], "a part of a bucket");
        assert_eq!(store.get(&key(2, 3, 9)).unwrap(), Some(vec![39]));
        assert_eq!(store.get(&key(2, 4, 0)).unwrap(), None);
        let mut replaced = Vec::new();
        let again = BTreeMap::from([(key(2, 0, 5), vec![55]), (key(2, 9, 0), vec![90])]);
        store
            .load(again, &mut |key, before| replaced.push((key.to_vec(), before.to_vec())))
            .unwrap();
        assert_eq!(replaced, [(key(2, 0, 5), vec![5])]);
        let mut operations: Vec<Operation> = (0..10).map(|last| Operation::Remove(key(2, 1, last))).collect();
        operations.push(Operation::Put(key(2, 0, 5), vec![1]));
        operations.push(Operation::Put(key(2, 0, 5), vec![2]));
        operations.push(Operation::Put(layout::SUMMARY.to_vec(), vec![7]));
        store.write(operations).unwrap();
        assert_eq!(store.get(&key(2, 0, 5)).unwrap(), Some(vec![2]), "the last one counts");
        assert_eq!(store.get(&layout::SUMMARY).unwrap(), Some(vec![7]));
        assert_eq!(all(&store.0, &[2, 0, 1]), [], "an empty bucket goes");
        assert_eq!(all(&store, &[]).len(), 40 - 10 + 1 + 1);
    }

    #[test]
    fn a_bucket_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Packed::<SledStore>::open(directory.path()).unwrap();
        store.write(vec![Operation::Put(key(2, 0, 0), vec![1])]).unwrap();
        store.0.write(vec![Operation::Put(vec![2, 0, 0], vec![200])]).unwrap();
        assert!(store.get(&key(2, 0, 0)).is_err());
        assert!(store.scan(&[], &mut |_, _| {}).is_err());
    }
}
