//! Which shards a node holds as a whole, in a small file beside the journal: `held`. What lies in other shards are single documents
//! that somebody used. Without the file everything counts as held: that asks for more than it must and drops nothing.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use crate::set::ShardSet;

/// First byte of the file.
const VERSION: u8 = 1;
/// Bytes of blake3 at its end.
const HASH_BYTES: usize = 16;

pub(super) struct HeldFile {
    path: PathBuf,
}

impl HeldFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn read(&self) -> Option<ShardSet> {
        let bytes = fs::read(&self.path).ok()?;
        let (content, hash) = bytes.split_last_chunk::<HASH_BYTES>()?;
        let is_whole = blake3::hash(content).as_bytes().starts_with(hash);
        match content.split_first() {
            Some((&VERSION, bits)) if is_whole => Some(ShardSet::from_bits(bits.try_into().ok()?)),
            _ => {
                tracing::warn!("the list of held shards cannot be read: everything is taken for held");
                None
            }
        }
    }

    pub(super) fn write(&self, shards: &ShardSet) {
        if let Err(error) = self.try_write(shards) {
            tracing::error!(%error, "the list of held shards could not be written");
            // A list that says less than is held would let go of it too early.
            if let Err(error) = fs::remove_file(&self.path) {
                tracing::debug!(%error, "nor removed");
            }
        }
    }

    fn try_write(&self, shards: &ShardSet) -> io::Result<()> {
        let mut bytes = vec![VERSION];
        bytes.extend(shards.bits());
        let hash = blake3::hash(&bytes);
        bytes.extend(&hash.as_bytes()[..HASH_BYTES]);
        let partial = self.path.with_extension("new");
        let mut file = fs::File::create(&partial)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&partial, &self.path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_anything_else_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let file = HeldFile::new(directory.path().join("held"));
        assert_eq!(file.read(), None);
        let some: ShardSet = [1, 7, 255].into_iter().collect();
        file.write(&some);
        assert_eq!(file.read(), Some(some));
        let bytes = fs::read(&file.path).unwrap();
        assert_eq!(bytes.len(), 1 + 32 + HASH_BYTES);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file.path, &damaged).unwrap();
            assert_eq!(file.read(), None, "bit {bit}");
        }
    }
}
