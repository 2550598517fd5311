//! A blob in the making: groups come in any order, each verified, and each counts from the moment it is written.
//!
//! The bit of a group is set after its bytes and hashes were written, so a killed process loses only what was not written yet. After
//! a power cut the disk may have kept the bit and not the bytes: that is why a download that goes on verifies what is claimed first.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use super::{
    super::{
        BlobError, BlobId,
        groups::Groups,
        tree::{GROUP_BYTES, VerifiedGroup, groups_of, tree_bytes},
    },
    BlobStore, Entry, Head, Kind, Part, State, io_error, locked,
};
use crate::limits::BLOB_SYNC_BYTES;

/// The one writer of a partial blob.
pub(in super::super) struct Partial {
    store: BlobStore,
    blob: BlobId,
    size: u64,
    groups: Arc<Mutex<Groups>>,
    data: File,
    tree: File,
    head: File,
    unsynced: u64,
}

impl BlobStore {
    /// Begins a blob of a proven size, or goes on with one, after what is claimed to be here was verified.
    pub(in super::super) fn fill(&self, blob: BlobId, size: u64) -> Result<Partial, BlobError> {
        let (groups, new) = self.reserve(blob, size)?;
        let opened = self.open_partial(blob, size, groups, new);
        if opened.is_err() {
            self.release(blob, new);
        }
        opened
    }

    /// Makes or finds the entry and marks it as being filled.
    fn reserve(&self, blob: BlobId, size: u64) -> Result<(Arc<Mutex<Groups>>, bool), BlobError> {
        let mut entries = locked(&self.0.entries);
        match entries.get_mut(&blob) {
            Some(entry) if entry.filling => return Err(BlobError::InUse(blob)),
            Some(entry) => match &entry.state {
                State::Partial(groups) if entry.size == size => {
                    entry.filling = true;
                    return Ok((groups.clone(), false));
                }
                // The name proves the size, so another one was never true.
                _ => return Err(BlobError::InUse(blob)),
            },
            None => self.room(&entries, size)?,
        }
        let groups = Arc::new(Mutex::new(Groups::none(groups_of(size))));
        let entry = Entry {
            size,
            state: State::Partial(groups.clone()),
            filling: true,
        };
        entries.insert(blob, entry);
        Ok((groups, true))
    }

    fn release(&self, blob: BlobId, remove: bool) {
        let mut entries = locked(&self.0.entries);
        if remove {
            entries.remove(&blob);
        } else if let Some(entry) = entries.get_mut(&blob) {
            entry.filling = false;
        }
    }

    fn open_partial(
        &self,
        blob: BlobId,
        size: u64,
        groups: Arc<Mutex<Groups>>,
        new: bool,
    ) -> Result<Partial, BlobError> {
        let open = |part, length| -> Result<File, BlobError> {
            let path: PathBuf = self.file(blob, part);
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(io_error(&path))?;
            file.set_len(length).map_err(io_error(&path))?;
            Ok(file)
        };
        let (data, tree) = (open(Part::Data, size)?, open(Part::Tree, tree_bytes(size))?);
        if !new {
            let claimed = locked(&groups).clone();
            let bad = self.reader(blob)?.bad_groups(&claimed)?;
            bad.runs().for_each(|run| locked(&groups).remove(run));
        }
        let kind = Kind::Partial(locked(&groups).clone());
        self.write_head(blob, &Head { size, kind })?;
        let head_path = self.file(blob, Part::Head);
        let head = OpenOptions::new().write(true).open(&head_path);
        Ok(Partial {
            store: self.clone(),
            blob,
            size,
            groups,
            data,
            tree,
            head: head.map_err(io_error(&head_path))?,
            unsynced: 0,
        })
    }
}

impl Partial {
    /// What is here now.
    pub(in super::super) fn groups(&self) -> Groups {
        locked(&self.groups).clone()
    }

    /// Writes a group. Says whether it was missing.
    pub(in super::super) fn write(&mut self, group: &VerifiedGroup) -> Result<bool, BlobError> {
        if locked(&self.groups).contains(group.group) {
            return Ok(false);
        }
        let data = self.data.write_all_at(group.data(), group.group * GROUP_BYTES);
        data.map_err(io_error(&self.store.file(self.blob, Part::Data)))?;
        for (place, pair) in &group.pairs {
            let written = self.tree.write_all_at(pair, *place);
            written.map_err(io_error(&self.store.file(self.blob, Part::Tree)))?;
        }
        let word = {
            let mut groups = locked(&self.groups);
            groups.insert(group.group..group.group + 1);
            groups.word(group.group)
        };
        let written = self.head.write_all_at(&word.to_le_bytes(), Head::place(group.group));
        written.map_err(io_error(&self.store.file(self.blob, Part::Head)))?;
        self.unsynced += GROUP_BYTES;
        if self.unsynced >= BLOB_SYNC_BYTES {
            self.sync()?;
        }
        Ok(true)
    }

    /// Bounds what a power cut costs, and how much the system holds back to write at once.
    fn sync(&mut self) -> Result<(), BlobError> {
        for (file, part) in [
            (&self.data, Part::Data),
            (&self.tree, Part::Tree),
            (&self.head, Part::Head),
        ] {
            file.sync_data().map_err(io_error(&self.store.file(self.blob, part)))?;
        }
        self.unsynced = 0;
        Ok(())
    }

    /// Makes the blob whole.
    pub(in super::super) fn finish(mut self) -> Result<(), BlobError> {
        if !locked(&self.groups).is_full() {
            return Err(BlobError::Incomplete(self.blob));
        }
        self.sync()?;
        let head = Head {
            size: self.size,
            kind: Kind::Whole,
        };
        self.store.write_head(self.blob, &head)?;
        if let Some(entry) = locked(&self.store.0.entries).get_mut(&self.blob) {
            entry.state = State::Whole;
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.store.release(self.blob, false);
    }
}
