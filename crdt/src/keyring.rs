//! The keyring: the data keys of all accounts, apart from everything else.
//!
//! One small file per account, `keys/<first two digits>/<account id>.key`, readable by the owner alone. Never in the journal, the
//! index or an archive of envelopes: a key must be destroyable, and those keep what was written once. Destroying the file erases
//! every text that was sealed under it.
//!
//! An account's document id is the hash of its first envelope, which already holds sealed text. So its key is born first, by
//! [`DataKey::generate`], on no disk; the envelope is sealed, its id is known, and [`Keyring::insert`] binds the key to it before
//! the envelope is written anywhere. A crash in between leaves nothing that refers to the key.
//!
//! The files are the truth; memory holds the keys of the accounts used last. A damaged file is an error that names it, for that
//! account alone, and no insert replaces it: it may be all that is left of a key.
//!
//! A destroyed account can be inserted again: who was erased is not known here. Callers ask the erase set first.

mod cache;
mod file;
mod frame;

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use keys::{
    ContentId, DataKey, DataKeyId,
    secret_file::{self, SecretFileError},
};

use cache::Cache;
pub use frame::{KEY_FRAME_VERSION, KeyFrame, KeyFrameError};

use crate::limits::{KEY_FRAME_ACCOUNTS_MAX, KEYRING_CACHE_ACCOUNTS_MAX, KEYRING_SYNC_THREADS, KEYS_PER_ACCOUNT_MAX};

/// Why a key could not be read, kept or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The directory can be read or written by other users.
    #[error("{path} may be read by other users (mode {mode:03o}); run: chmod 700 {path}")]
    TooOpen {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file does not hold what it should. It was left as it is; the other accounts are not affected.
    #[error("the key file {path} is damaged: {reason}; it was left untouched")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The account has [`KEYS_PER_ACCOUNT_MAX`] keys already.
    #[error("the account {0} has {KEYS_PER_ACCOUNT_MAX} data keys already")]
    Full(ContentId),
    /// The account has another key that sealed texts call by the same id; they could not be told apart.
    #[error("the account {account} has another data key of the id {id} already")]
    Clash {
        /// The account.
        account: ContentId,
        /// The id of both keys.
        id: DataKeyId,
    },
    /// A key file is too open, or cannot be read or written.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The operating system refused.
    #[error("the keyring {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The answer to a [`KeyFrame`].
#[derive(Debug, Default)]
pub struct KeyAnswer {
    /// What to send back.
    pub reply: Option<KeyFrame>,
    /// Accounts that are missing from the reply because something is wrong with them here.
    pub failed: Vec<(ContentId, KeyringError)>,
}

/// The data keys of all accounts. Shared between threads by reference; calls take turns, and one that writes waits for the disk.
pub struct Keyring {
    directory: PathBuf,
    /// Held through every reading and writing of files, too: a key read before its destruction must not be cached after it.
    cache: Mutex<Cache>,
}

impl Keyring {
    /// Opens or creates the keyring in `directory`.
    ///
    /// # Errors
    /// When the directory is open to other users, or cannot be made.
    pub fn open(directory: &Path) -> Result<Self, KeyringError> {
        make_directory(directory)?;
        let mode = fs::metadata(directory).map_err(|source| io_error(directory, source))?;
        let mode = mode.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = directory.to_owned();
            return Err(KeyringError::TooOpen { path, mode });
        }
        // A crash may have come between making a subdirectory and syncing its name.
        sync_directory(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            cache: Mutex::new(Cache::new(KEYRING_CACHE_ACCOUNTS_MAX)),
        })
    }

    /// Keeps a key of an account: a fresh one, or one from another node. On disk when this returns. `false` when it was there.
    ///
    /// # Errors
    /// When the account's file is damaged or full, or the disk refuses; the file is as it was then.
    pub fn insert(&self, account: ContentId, key: DataKey) -> Result<bool, KeyringError> {
        let mut cache = self.cache();
        let mut keys = self.read(&mut cache, account)?;
        match keys.iter().find(|kept| kept.id() == key.id()) {
            Some(kept) if *kept == key => return Ok(false),
            Some(_) => {
                let id = key.id();
                return Err(KeyringError::Clash { account, id });
            }
            None if keys.len() >= KEYS_PER_ACCOUNT_MAX => return Err(KeyringError::Full(account)),
            None => keys.push(key),
        }
        let path = self.path(&account);
        make_directory(path.parent().unwrap_or(&self.directory))?;
        cache.remove(&account);
        secret_file::replace(&path, &file::encode(&account, &keys))?;
        cache.insert(account, keys);
        Ok(true)
    }

    /// Keeps the keys of an account that has none, on disk only after [`Keyring::sync`]: for a restore of many accounts.
    ///
    /// # Errors
    /// When the account has a file already, or the disk refuses.
    pub(crate) fn fill(&self, account: ContentId, keys: &[DataKey]) -> Result<(), KeyringError> {
        let path = self.path(&account);
        make_directory(path.parent().unwrap_or(&self.directory))?;
        secret_file::create_unsynced(&path, &file::encode(&account, keys))?;
        Ok(())
    }

    /// Puts on disk what [`Keyring::fill`] wrote. Many files at a time, which a file system makes durable together: one after the
    /// other, a million of them would take most of an hour.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn sync(&self) -> Result<(), KeyringError> {
        let next = AtomicU32::new(0);
        let work = || -> Result<(), KeyringError> {
            while let Ok(first) = u8::try_from(next.fetch_add(1, Ordering::Relaxed)) {
                self.sync_beginning(first)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..KEYRING_SYNC_THREADS).map(|_| scope.spawn(work)).collect();
            let ended = workers.into_iter().map(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            // Every one is waited for, and the first error told.
            ended.fold(Ok(()), Result::and)
        })?;
        sync_directory(&self.directory)
    }

    fn sync_beginning(&self, first: u8) -> Result<(), KeyringError> {
        for account in self.accounts_beginning(first)? {
            let path = self.path(&account);
            let synced = fs::File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(|source| io_error(&path, source))?;
        }
        let directory = self.directory.join(format!("{first:02x}"));
        if directory.is_dir() {
            sync_directory(&directory)
        } else {
            Ok(())
        }
    }

    /// The key of this id; `None` when the account has none such, because it was erased or has not come yet.
    ///
    /// # Errors
    /// When the account's file is damaged, open to others, or cannot be read.
    pub fn get(&self, account: &ContentId, id: DataKeyId) -> Result<Option<DataKey>, KeyringError> {
        let keys = self.read(&mut self.cache(), *account)?;
        Ok(keys.into_iter().find(|key| key.id() == id))
    }

    /// The key under which new texts of the account are sealed: the one that was inserted last.
    ///
    /// # Errors
    /// As [`Keyring::get`].
    pub fn newest(&self, account: &ContentId) -> Result<Option<DataKey>, KeyringError> {
        Ok(self.read(&mut self.cache(), *account)?.pop())
    }

    /// Every key of the account, oldest first; none when it has none.
    ///
    /// # Errors
    /// As [`Keyring::get`].
    pub fn all(&self, account: &ContentId) -> Result<Vec<DataKey>, KeyringError> {
        self.read(&mut self.cache(), *account)
    }

    /// Destroys all keys of the account: its file is overwritten with random bytes, synced and removed. Says how many keys that
    /// were; a damaged file counts as one. May be repeated, also after a crash in the middle.
    ///
    /// # Errors
    /// When the disk refuses; then it is to be repeated.
    pub fn destroy(&self, account: &ContentId) -> Result<usize, KeyringError> {
        let mut cache = self.cache();
        let keys = self.read(&mut cache, *account).map_or(1, |keys| keys.len());
        cache.remove(account);
        // Also when it seems to have none: an interrupted write may have left a file.
        let existed = secret_file::destroy(&self.path(account))?;
        Ok(if existed { keys } else { 0 })
    }

    /// The accounts that have a key file, in order; holds the names of 1/256 of them at a time.
    pub fn accounts(&self) -> impl Iterator<Item = Result<ContentId, KeyringError>> + '_ {
        (0..=u8::MAX).flat_map(|first| match self.accounts_beginning(first) {
            Ok(accounts) => accounts.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    fn accounts_beginning(&self, first: u8) -> Result<Vec<ContentId>, KeyringError> {
        let directory = self.directory.join(format!("{first:02x}"));
        let error = |source| io_error(&directory, source);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(error(source)),
        };
        let mut accounts = Vec::new();
        for entry in entries {
            let name = entry.map_err(error)?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".key"));
            let account = stem.and_then(ContentId::parse);
            accounts.extend(account.filter(|account| account.0[0] == first));
        }
        accounts.sort_unstable();
        Ok(accounts)
    }

    /// Answers a frame from another member. `allowed` says of which accounts that member may have the keys when it asks, and of
    /// which accounts this node takes them when they are given; an erased one is never allowed.
    pub fn answer(&self, frame: KeyFrame, allowed: impl Fn(&ContentId) -> bool) -> KeyAnswer {
        match frame {
            KeyFrame::Ask(accounts) => self.give(accounts.into_iter().filter(allowed)),
            KeyFrame::Give(accounts) => {
                let wanted = accounts.into_iter().filter(|(account, _)| allowed(account));
                self.keep(wanted.flat_map(|(account, keys)| keys.into_iter().map(move |key| (account, key))))
            }
            KeyFrame::Kept(_) | KeyFrame::Refused => KeyAnswer::default(),
        }
    }

    fn give(&self, accounts: impl Iterator<Item = ContentId>) -> KeyAnswer {
        let mut failed = Vec::new();
        let mut given = Vec::new();
        let mut bytes = 0;
        for account in accounts.take(KEY_FRAME_ACCOUNTS_MAX) {
            match self.all(&account) {
                Ok(keys) if keys.is_empty() => {}
                Ok(keys) => {
                    bytes += frame::given_bytes(keys.len());
                    if bytes > frame::GIVE_BYTES_MAX {
                        break;
                    }
                    given.push((account, keys));
                }
                Err(error) => failed.push((account, error)),
            }
        }
        KeyAnswer {
            reply: Some(KeyFrame::Give(given)),
            failed,
        }
    }

    fn keep(&self, keys: impl Iterator<Item = (ContentId, DataKey)>) -> KeyAnswer {
        let mut failed = Vec::new();
        let mut kept = Vec::new();
        for (account, key) in keys {
            let id = key.id();
            match self.insert(account, key) {
                Ok(_) => kept.push((account, id)),
                Err(error) => failed.push((account, error)),
            }
        }
        // The giver asked nothing about what is not listed, so a frame that is full loses nothing.
        kept.truncate(KEY_FRAME_ACCOUNTS_MAX);
        KeyAnswer {
            reply: Some(KeyFrame::Kept(kept)),
            failed,
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // A panic while it was held cannot have spoilt it: entries are removed before files change.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, account: &ContentId) -> PathBuf {
        let directory = self.directory.join(format!("{:02x}", account.0[0]));
        directory.join(format!("{account}.key"))
    }

    /// The account's keys from memory or from its file.
    fn read(&self, cache: &mut Cache, account: ContentId) -> Result<Vec<DataKey>, KeyringError> {
        if let Some(keys) = cache.get(&account) {
            return Ok(keys.to_vec());
        }
        let path = self.path(&account);
        let damaged = |reason| KeyringError::Damaged {
            path: path.clone(),
            reason,
        };
        let bytes = match secret_file::read_bounded(&path, file::FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(SecretFileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(SecretFileError::TooLong { .. }) => return Err(damaged("it is too long")),
            Err(error) => return Err(error.into()),
        };
        let keys = file::decode(&account, &bytes).map_err(damaged)?;
        cache.insert(account, keys.clone());
        Ok(keys)
    }
}

fn io_error(path: &Path, source: io::Error) -> KeyringError {
    KeyringError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Makes a directory that only its owner may enter, and puts its name on disk. One that is there stays as it is.
fn make_directory(path: &Path) -> Result<(), KeyringError> {
    if path.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|source| io_error(path, source))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}

fn sync_directory(path: &Path) -> Result<(), KeyringError> {
    let synced = fs::File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|source| io_error(path, source))
}

#[cfg(test)]
mod tests;
