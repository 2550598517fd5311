//! Many pairs under one key of the database: neighbours stand together in a chunk, under a key that is not greater than theirs and
//! greater than those of the chunk before.
//!
//! What a database does for each key (pages of single allocations, a log entry, a place in its cache) costs more than the forty bytes
//! that a record needs. Measured for a million documents: a third of the room, half of the memory, and the index is made anew in a
//! third of the time. A chunk that has grown too long becomes two, so that a write costs about a kilobyte however many there are.

use std::{collections::BTreeMap, path::Path};

use super::{
    layout,
    store::{IndexStore, IndexStoreError, Operation, Pair},
    unreadable,
};
use crate::limits::{INDEX_CHUNK_FILL, INDEX_CHUNK_MAX};

/// Keys and values in chunks of another database.
pub(crate) struct Packed<S>(S);

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

impl<S: IndexStore> Packed<S> {
    /// The chunk in which a key stands, or would stand: its own key and its bytes. No chunk reaches over two tables.
    fn chunk(&self, key: &[u8]) -> Result<Pair, IndexStoreError> {
        let table = key.get(..1).unwrap_or_default();
        let found = self.0.at_or_before(key)?.filter(|(chunk, _)| chunk.starts_with(table));
        Ok(found.unwrap_or_else(|| (table.to_vec(), Vec::new())))
    }

    /// The key of the next chunk of the same table.
    fn end(&self, chunk: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        let next = self.0.after(chunk)?;
        Ok(next.filter(|next| next.first() == chunk.first()))
    }

    /// What must be written for changes of pairs; tells what stood in the places of those that are put.
    fn rewrite(
        &self,
        changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        replaced: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<Vec<Operation>, IndexStoreError> {
        let mut operations = Vec::new();
        let mut changes = changes.into_iter().peekable();
        while let Some((first, _)) = changes.peek() {
            let (chunk, bytes) = self.chunk(first)?;
            let end = self.end(&chunk)?;
            let mut pairs = unpack(&bytes)?;
            let is_within =
                |key: &[u8]| key.first() == chunk.first() && end.as_ref().is_none_or(|end| key < end.as_slice());
            while let Some((key, value)) = changes.next_if(|(key, _)| is_within(key)) {
                let before = match value {
                    Some(value) => pairs.insert(key.clone(), value),
                    None => pairs.remove(&key),
                };
                if let Some(before) = before {
                    replaced(&key, &before);
                }
            }
            divide(chunk, pairs, &mut operations);
        }
        Ok(operations)
    }
}

/// A chunk as it is to be written: gone when it is empty, in parts when it is too long.
fn divide(chunk: Vec<u8>, pairs: Pairs, operations: &mut Vec<Operation>) {
    if pairs.is_empty() {
        return operations.push(Operation::Remove(chunk));
    }
    if pairs.len() <= INDEX_CHUNK_MAX {
        return operations.push(Operation::Put(chunk, pack(&pairs)));
    }
    let parts = pairs.len().div_ceil(INDEX_CHUNK_FILL);
    let each = pairs.len().div_ceil(parts);
    let mut pairs = pairs.into_iter().peekable();
    let mut key = Some(chunk);
    while let Some((first, _)) = pairs.peek() {
        // The first part keeps the key of the chunk.
        let key = key.take().unwrap_or_else(|| first.clone());
        let part: Pairs = pairs.by_ref().take(each).collect();
        operations.push(Operation::Put(key, pack(&part)));
    }
}

/// For each pair: how many bytes its key shares with the one before, the others, and the value. Keys and values are short.
fn pack(pairs: &Pairs) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before: &[u8] = &[];
    for (key, value) in pairs {
        let shared = key.iter().zip(before).take_while(|(one, other)| one == other).count();
        bytes.extend(layout::encode(&(shared, &key[shared..], value)));
        before = key;
    }
    bytes
}

/// Visits each pair of a chunk, in order.
fn visit_chunk(mut bytes: &[u8], mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), IndexStoreError> {
    let mut key = Vec::new();
    while !bytes.is_empty() {
        let ((shared, rest, value), left): ((usize, &[u8], &[u8]), _) =
            postcard::take_from_bytes(bytes).map_err(|_| unreadable())?;
        if shared > key.len() {
            return Err(unreadable());
        }
        key.truncate(shared);
        key.extend_from_slice(rest);
        visit(&key, value);
        bytes = left;
    }
    Ok(())
}

fn unpack(bytes: &[u8]) -> Result<Pairs, IndexStoreError> {
    let mut pairs = Pairs::new();
    visit_chunk(bytes, |key, value| drop(pairs.insert(key.to_vec(), value.to_vec())))?;
    Ok(pairs)
}

impl<S: IndexStore> IndexStore for Packed<S> {
    fn open(directory: &Path) -> Result<Self, IndexStoreError> {
        Ok(Self(S::open(directory)?))
    }

    fn get(&self, wanted: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        let mut found = None;
        visit_chunk(&self.chunk(wanted)?.1, |key, value| {
            if key == wanted {
                found = Some(value.to_vec());
            }
        })?;
        Ok(found)
    }

    fn at_or_before(&self, wanted: &[u8]) -> Result<Option<Pair>, IndexStoreError> {
        // Nothing is packed twice.
        self.0.at_or_before(wanted)
    }

    fn after(&self, wanted: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        self.0.after(wanted)
    }

    fn write(&mut self, operations: Vec<Operation>) -> Result<(), IndexStoreError> {
        let changes = operations.into_iter().map(|operation| match operation {
            Operation::Put(key, value) => (key, Some(value)),
            Operation::Remove(key) => (key, None),
        });
        let operations = self.rewrite(changes.collect(), &mut |_, _| {})?;
        self.0.write(operations)
    }

    fn load(&mut self, pairs: Pairs, replaced: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexStoreError> {
        let changes = pairs.into_iter().map(|(key, value)| (key, Some(value)));
        let operations = self.rewrite(changes.collect(), replaced)?;
        let chunks = operations.into_iter().filter_map(|operation| match operation {
            Operation::Put(chunk, bytes) => Some((chunk, bytes)),
            // Nothing was taken away, so no chunk is empty.
            Operation::Remove(_) => None,
        });
        self.0.load(chunks.collect(), &mut |_, _| {})
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexStoreError> {
        let mut visit = |key: &[u8], value: &[u8]| {
            if key.starts_with(prefix) {
                visit(key, value);
            }
        };
        // The first of them may stand in a chunk that begins before.
        if let Some((chunk, bytes)) = self.0.at_or_before(prefix)?.filter(|(chunk, _)| chunk != prefix) {
            let is_of_table = chunk.first() == prefix.first();
            visit_chunk(if is_of_table { &bytes } else { &[] }, &mut visit)?;
        }
        let mut visited = Ok(());
        self.0.scan(prefix, &mut |_, bytes| {
            if visited.is_ok() {
                visited = visit_chunk(bytes, &mut visit);
            }
        })?;
        visited
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{redb::RedbStore, sled::SledStore},
        *,
    };

    /// Keys of few tables that begin alike.
    fn key(number: u16) -> Vec<u8> {
        let mut key = vec![1 + (number % 3) as u8, 0];
        key.extend_from_slice(&number.to_be_bytes());
        key.resize(41, 9);
        key
    }

    fn all(store: &impl IndexStore, prefix: &[u8]) -> Vec<Pair> {
        let mut found = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| found.push((key.to_vec(), value.to_vec()));
        store.scan(prefix, &mut visit).unwrap();
        found
    }

    #[test]
    fn neighbours_stand_together_and_no_chunk_grows_too_long() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Packed::<SledStore>::open(directory.path()).unwrap();
        for number in 0..1000 {
            let put = Operation::Put(key(number * 7 % 1000), vec![1]);
            store.write(vec![put]).unwrap();
        }
        let chunks = all(&store.0, &[]);
        assert!(
            (1000 / INDEX_CHUNK_MAX..1000 / 8).contains(&chunks.len()),
            "{}",
            chunks.len()
        );
        let lengths = chunks.iter().map(|(_, bytes)| unpack(bytes).unwrap().len());
        assert!(
            lengths
                .into_iter()
                .all(|length| (1..=INDEX_CHUNK_MAX).contains(&length))
        );
        assert_eq!(all(&store, &[]).len(), 1000);
        let removals = (0..1000).map(|number| Operation::Remove(key(number)));
        store.write(removals.collect()).unwrap();
        assert_eq!(
            (all(&store, &[]).len(), all(&store.0, &[]).len()),
            (0, 0),
            "an empty chunk goes"
        );
    }

    #[test]
    fn a_chunk_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Packed::<SledStore>::open(directory.path()).unwrap();
        store.write(vec![Operation::Put(key(3), vec![1])]).unwrap();
        assert_eq!(store.get(&key(3)).unwrap(), Some(vec![1]));
        for wrong in [vec![200], vec![1, 0, 0], vec![0, 5, 1]] {
            store
                .0
                .write(vec![Operation::Put(key(3)[..1].to_vec(), wrong)])
                .unwrap();
            assert!(store.get(&key(3)).is_err());
            assert!(store.scan(&[], &mut |_, _| {}).is_err());
            assert!(store.write(vec![Operation::Put(key(3), vec![1])]).is_err());
        }
    }

    /// Whether it is loaded at once, and which keys get which values, or none.
    type Batch = (bool, Vec<(u16, Option<u8>)>);

    fn like_a_map<S: IndexStore>(batches: Vec<Batch>) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Packed::<S>::open(directory.path()).unwrap();
        let mut model = Pairs::new();
        for (load, batch) in batches {
            if load {
                let pairs: Pairs = batch
                    .iter()
                    .map(|(number, value)| (key(*number), vec![value.unwrap_or(0)]))
                    .collect();
                let mut replaced = Pairs::new();
                store
                    .load(pairs.clone(), &mut |key, before| {
                        drop(replaced.insert(key.to_vec(), before.to_vec()))
                    })
                    .unwrap();
                let before: Pairs = pairs
                    .into_iter()
                    .filter_map(|(key, value)| Some((key.clone(), model.insert(key, value)?)))
                    .collect();
                assert_eq!(replaced, before);
                continue;
            }
            let operations = batch.iter().map(|(number, value)| match value {
                Some(value) => Operation::Put(key(*number), vec![*value]),
                None => Operation::Remove(key(*number)),
            });
            store.write(operations.collect()).unwrap();
            for (number, value) in batch {
                match value {
                    Some(value) => drop(model.insert(key(number), vec![value])),
                    None => drop(model.remove(&key(number))),
                }
            }
        }
        for prefix in [&[][..], &[1], &[2, 0], &key(7)[..4], &key(8), &[9]] {
            let expected: Vec<_> = model
                .clone()
                .into_iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .collect();
            assert_eq!(all(&store, prefix), expected, "{prefix:?}");
        }
        for number in 0..200 {
            assert_eq!(store.get(&key(number)).unwrap(), model.get(&key(number)).cloned());
        }
    }

    fn batches() -> impl Strategy<Value = Vec<Batch>> {
        let change = (0_u16..200, prop::option::weighted(0.7, any::<u8>()));
        prop::collection::vec((prop::bool::weighted(0.2), prop::collection::vec(change, 0..80)), 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn over_sled_it_is_like_a_map(batches in batches()) {
            like_a_map::<SledStore>(batches);
        }

        #[test]
        fn over_redb_it_is_like_a_map(batches in batches()) {
            like_a_map::<RedbStore>(batches);
        }
    }
}
