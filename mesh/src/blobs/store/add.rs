//! Taking in a file: hashed while it is copied, or where it lies.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use super::{
    super::{BlobError, BlobId, tree},
    BlobStore, Entry, Head, Kind, Part, Reference, State, io_error, locked,
};

/// Bytes read at once.
const BUFFER: usize = 1024 * 1024;

/// Reads a file and writes what it reads into another.
struct Copying<R> {
    from: R,
    to: Option<File>,
}

impl<R: Read> Read for Copying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if let Some(to) = &mut self.to {
            to.write_all(&buffer[..read])?;
        }
        Ok(read)
    }
}

/// Removes temporary files when what they are for failed.
struct Temporaries(Vec<PathBuf>);

impl Drop for Temporaries {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed now is swept up at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

impl BlobStore {
    /// Takes in a copy of a file.
    ///
    /// # Errors
    /// When there is no room, or the file cannot be read or changes meanwhile.
    pub fn add(&self, file: &Path) -> Result<BlobId, BlobError> {
        self.take_in(file, true)
    }

    /// Takes in a file where it lies; for models, which nobody wants to have twice. Only its hashes are written here. When it changes
    /// later, the blob is forgotten.
    ///
    /// # Errors
    /// When there is no room, or the file cannot be read or changes meanwhile.
    pub fn add_reference(&self, file: &Path) -> Result<BlobId, BlobError> {
        self.take_in(file, false)
    }

    fn take_in(&self, path: &Path, copy: bool) -> Result<BlobId, BlobError> {
        let file = File::open(path).map_err(io_error(path))?;
        let before = file.metadata().map_err(io_error(path))?;
        let size = before.len();
        self.room(&locked(&self.0.entries), if copy { size } else { 0 })?;
        let (data_path, tree_path) = (self.temporary(), self.temporary());
        let temporaries = Temporaries(vec![data_path.clone(), tree_path.clone()]);
        let to = copy.then(|| File::create(&data_path)).transpose();
        let to = to.map_err(io_error(&data_path))?;
        let mut reader = Copying {
            from: file.try_clone().map_err(io_error(path))?,
            to,
        };
        let mut tree = File::create(&tree_path).map_err(io_error(&tree_path))?;
        let hashed = tree::hash(BufReader::with_capacity(BUFFER, &mut reader), size, &mut tree);
        let blob = hashed.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BlobError::Changed(path.to_owned()),
            _ => io_error(path)(error),
        })?;
        let after = file.metadata().map_err(io_error(path))?;
        if (after.len(), after.modified().ok()) != (size, before.modified().ok()) {
            return Err(BlobError::Changed(path.to_owned()));
        }
        if let Some(data) = &reader.to {
            data.sync_all().map_err(io_error(&data_path))?;
        }
        tree.sync_all().map_err(io_error(&tree_path))?;
        let state = if copy {
            State::Whole
        } else {
            let modified = after.modified().map_err(io_error(path))?;
            State::Reference(Reference {
                path: fs::canonicalize(path).map_err(io_error(path))?,
                modified: Reference::moment(modified),
            })
        };
        self.commit(blob, size, state, (&data_path, &tree_path))?;
        drop(temporaries);
        Ok(blob)
    }

    /// Makes a blob of two finished files. What is whole already stays as it is.
    fn commit(&self, blob: BlobId, size: u64, state: State, (data, tree): (&Path, &Path)) -> Result<(), BlobError> {
        let mut entries = locked(&self.0.entries);
        match entries.get(&blob).map(|entry| (&entry.state, entry.filling)) {
            Some((_, true)) => return Err(BlobError::InUse(blob)),
            Some((State::Whole, false)) => return Ok(()),
            Some((State::Reference(_), false)) if matches!(state, State::Reference(_)) => {}
            Some(_) => self.forget(&mut entries, blob)?,
            None => {}
        }
        let kind = match &state {
            State::Reference(reference) => Kind::Reference(reference.clone()),
            State::Whole | State::Partial(_) => Kind::Whole,
        };
        self.room(&entries, if matches!(kind, Kind::Whole) { size } else { 0 })?;
        let tree_path = self.file(blob, Part::Tree);
        fs::rename(tree, &tree_path).map_err(io_error(&tree_path))?;
        if matches!(kind, Kind::Whole) {
            let data_path = self.file(blob, Part::Data);
            fs::rename(data, &data_path).map_err(io_error(&data_path))?;
        }
        self.write_head(blob, &Head { size, kind })?;
        let entry = Entry {
            size,
            state,
            filling: false,
        };
        entries.insert(blob, entry);
        Ok(())
    }
}
