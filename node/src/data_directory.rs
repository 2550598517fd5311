//! The data directory: what lies where, made in one rename, used by one process at a time.

use std::{
    env, fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crdt::{
    backup::Identity,
    limits::{BACKUP_CONFIGURATION_BYTES_MAX, BACKUP_MEMBERSHIP_BYTES_MAX},
};
use keys::{
    NodeKey,
    membership::{Certificate, Decree, Evidence, Roster},
    secret_file::{self, SecretFileError},
};

use crate::hints::here;

/// First byte of the membership file: evidence.
const MEMBERSHIP_VERSION: u8 = 2;
/// First byte of one that holds certificates only; still read.
const MEMBERSHIP_VERSION_1: u8 = 1;
/// Bytes of the membership file: as many certificates and decrees as a mesh may have.
const MEMBERSHIP_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// No home directory and no choice.
    #[error("there is no home directory; say where the data shall be with --data-dir")]
    NoHome,
    /// The variable or the option is there and says nothing.
    #[error(
        "the data directory has an empty name: set STARLING_DATA_DIR (or --data-dir) to a directory, or unset it for the usual one"
    )]
    Empty,
    /// It holds a node.
    #[error("{0} is already a node; nothing was changed. Start it with: {run}", run = here("run"))]
    AlreadyANode(PathBuf),
    /// It holds something else.
    #[error("{0} is not empty and not a node; nothing was changed. Choose another directory with --data-dir")]
    NotEmpty(PathBuf),
    /// It holds no node.
    #[error(
        "{0} is not a node yet. Make a new mesh with \"{init}\" or join one with \"{join}\"",
        init = here("init"),
        join = here("join INVITE")
    )]
    NotANode(PathBuf),
    /// Another process uses it.
    #[error("another starling process is running with {0}; stop it first, or choose another directory with --data-dir")]
    InUse(PathBuf),
    /// A key file has trouble.
    #[error("{0}{remedy}", remedy = key_remedy(.0))]
    Secret(#[from] SecretFileError),
    /// The key file is gone; the rest of the node is there.
    #[error("{0} is missing, and without it this is no node. {RECOVERY}")]
    NoKey(PathBuf),
    /// The membership file is unusable.
    #[error("{path} is damaged: {reason}. {RECOVERY}")]
    Membership {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Bytes that a new node's directory needs at most: the members of a large mesh, a configuration, and keys.
const NEW_NODE_BYTES: usize = 1024 * 1024;

/// What can be done about a file without which a node is none.
const RECOVERY: &str =
    "Put back a copy of the file; or, into another directory, restore the node from a backup or join the mesh again";

/// Ends the sentence about a key file.
fn key_remedy(error: &SecretFileError) -> String {
    match error {
        SecretFileError::WrongSize { .. } | SecretFileError::TooLong { .. } => format!(". {RECOVERY}"),
        SecretFileError::Exists(_) | SecretFileError::TooOpen { .. } | SecretFileError::Io { .. } => String::new(),
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> DataDirectoryError + '_ {
    |source| DataDirectoryError::Io {
        path: path.to_owned(),
        source,
    }
}

/// The directory that was asked for, or the usual one.
///
/// # Errors
/// When there is neither.
pub fn choose(asked: Option<PathBuf>) -> Result<PathBuf, DataDirectoryError> {
    match asked {
        // Not the usual one: whoever names a directory by an empty variable means another, and would get a second node.
        Some(directory) if directory.as_os_str().is_empty() => return Err(DataDirectoryError::Empty),
        Some(directory) => return Ok(directory),
        None => {}
    }
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("starling")).ok_or(DataDirectoryError::NoHome)
}

/// A node's data directory.
#[derive(Clone, Debug)]
pub struct DataDirectory(PathBuf);

/// What a new node's directory holds.
pub struct NewNode<'a> {
    /// The node's key.
    pub key: &'a NodeKey,
    /// The mesh's root key, on the first node only.
    pub root: Option<&'a NodeKey>,
    /// The members, this node first.
    pub roster: &'a Roster,
    /// The configuration file.
    pub config: &'a str,
}

impl DataDirectory {
    /// Says whether a node can be made here, before anything is done elsewhere.
    ///
    /// # Errors
    /// When the directory is a node or holds something else.
    pub fn check_free(path: &Path) -> Result<(), DataDirectoryError> {
        if path.join("node.key").exists() {
            return Err(DataDirectoryError::AlreadyANode(path.to_owned()));
        }
        match fs::read_dir(path) {
            Ok(mut entries) => match entries.next() {
                None => Ok(()),
                Some(_) => Err(DataDirectoryError::NotEmpty(path.to_owned())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error(path)(error)),
        }
    }

    /// Makes a node's directory: everything is written beside it and then renamed, so that a full disk or a crash leaves nothing
    /// half done.
    ///
    /// # Errors
    /// When it cannot be made; nothing is left behind then.
    pub fn create(path: &Path, new: &NewNode<'_>) -> Result<Self, DataDirectoryError> {
        Self::create_with(path, |partial| partial.fill(new))
    }

    /// Makes a node's directory with what `fill` writes into one that is renamed in the end.
    ///
    /// # Errors
    /// When it cannot be made, or what `fill` says; nothing is left behind then.
    pub fn create_with<E: From<DataDirectoryError>>(
        path: &Path,
        fill: impl FnOnce(&Self) -> Result<(), E>,
    ) -> Result<Self, E> {
        Self::check_free(path)?;
        let (partial, parent) = Self::beside(path)?;
        let made = fill(&partial).and_then(|()| {
            fs::rename(&partial.0, path)
                .and_then(|()| fs::File::open(parent)?.sync_all())
                .map_err(|error| E::from(io_error(path)(error)))
        });
        if let Err(error) = made {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(&partial.0);
            return Err(error);
        }
        Ok(Self(path.to_owned()))
    }

    /// Makes sure that a node's directory can be made there, by writing as much as a new one holds and taking it away again.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn check_room(path: &Path) -> Result<(), DataDirectoryError> {
        Self::check_free(path)?;
        let (partial, _) = Self::beside(path)?;
        let written = write_synced(&partial.0.join("room"), &vec![0; NEW_NODE_BYTES]);
        let removed = fs::remove_dir_all(&partial.0).map_err(io_error(&partial.0));
        written.and(removed)
    }

    /// An empty directory beside `path`, and the one in which both are.
    fn beside(path: &Path) -> Result<(Self, &Path), DataDirectoryError> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(io_error(parent))?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let partial = Self(parent.join(name));
        let made = fs::DirBuilder::new().mode(0o700).create(&partial.0);
        made.map_err(io_error(&partial.0))?;
        Ok((partial, parent))
    }

    fn fill(&self, new: &NewNode<'_>) -> Result<(), DataDirectoryError> {
        new.key.save(&self.0.join("node.key"))?;
        if let Some(root) = new.root {
            root.save(&self.0.join("root.key"))?;
        }
        write_synced(&self.config_path(), new.config.as_bytes())?;
        self.save_roster(new.roster)
    }

    /// Writes what makes a restored node the one it was, and checks that a node can start with it.
    ///
    /// # Errors
    /// When it cannot be written, or the membership is not of this node.
    pub fn save_identity(&self, identity: &Identity) -> Result<Roster, DataDirectoryError> {
        identity.node_key.save(&self.0.join("node.key"))?;
        if let Some(root) = &identity.root_key {
            root.save(&self.0.join("root.key"))?;
        }
        write_synced(&self.config_path(), identity.configuration.as_bytes())?;
        write_synced(&self.membership_path(), &identity.membership)?;
        self.roster(&identity.node_key)
    }

    /// Reads what a backup holds of the node itself.
    ///
    /// # Errors
    /// When a file is missing or too large.
    pub fn identity(&self) -> Result<Identity, DataDirectoryError> {
        let configuration = read_bounded(&self.config_path(), BACKUP_CONFIGURATION_BYTES_MAX)?;
        Ok(Identity {
            node_key: self.key()?,
            root_key: self.root_key()?,
            membership: read_bounded(&self.membership_path(), BACKUP_MEMBERSHIP_BYTES_MAX)?,
            configuration: String::from_utf8(configuration)
                .map_err(|error| io_error(&self.config_path())(io::Error::other(error)))?,
        })
    }

    /// Opens the directory of an existing node.
    ///
    /// # Errors
    /// When there is none, or one whose key is gone.
    pub fn open(path: &Path) -> Result<Self, DataDirectoryError> {
        let (directory, key) = (Self(path.to_owned()), path.join("node.key"));
        if key.exists() {
            Ok(directory)
        } else if directory.membership_path().exists() {
            Err(DataDirectoryError::NoKey(key))
        } else {
            Err(DataDirectoryError::NotANode(path.to_owned()))
        }
    }

    /// Keeps every other process out for as long as the returned file lives.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(&self) -> Result<fs::File, DataDirectoryError> {
        let path = self.0.join("lock");
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(io_error(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(DataDirectoryError::InUse(self.0.clone())),
            Err(fs::TryLockError::Error(error)) => Err(io_error(&path)(error)),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `starling.toml`
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.0.join("starling.toml")
    }

    /// The socket on which `status` asks the running node.
    #[must_use]
    pub fn control_path(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Journal and index.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The data keys of accounts.
    #[must_use]
    pub fn keys_path(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The key that closes backups, unless there is a passphrase.
    #[must_use]
    pub fn backup_key_path(&self) -> PathBuf {
        self.0.join("backup.key")
    }

    /// Models.
    #[must_use]
    pub fn models_path(&self) -> PathBuf {
        self.0.join("models")
    }

    /// The last changes of the breakers before other nodes.
    #[must_use]
    pub fn breakers_path(&self) -> PathBuf {
        self.0.join("breakers")
    }

    /// Where other members were met.
    #[must_use]
    pub fn neighbours_path(&self) -> PathBuf {
        self.0.join("neighbours")
    }

    /// Where blobs lie: files that nodes fetch from each other by their content.
    #[must_use]
    pub fn blobs_path(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// The node's key.
    ///
    /// # Errors
    /// When it is missing, readable by others, or damaged.
    pub fn key(&self) -> Result<NodeKey, DataDirectoryError> {
        Ok(NodeKey::load(&self.0.join("node.key"))?)
    }

    /// Where a new key lies while it takes the place of the old one.
    #[must_use]
    pub fn next_key_path(&self) -> PathBuf {
        self.0.join("node.key.next")
    }

    /// The new key of a rotation that is under way, or was interrupted.
    ///
    /// # Errors
    /// When it is there but readable by others or damaged.
    pub fn next_key(&self) -> Result<Option<NodeKey>, DataDirectoryError> {
        let path = self.next_key_path();
        Ok(path.exists().then(|| NodeKey::load(&path)).transpose()?)
    }

    /// The new key takes the place of the old one, which is overwritten.
    ///
    /// # Errors
    /// When the disk refuses; the rotation can be finished later then.
    pub fn replace_key(&self, new: &NodeKey) -> Result<(), DataDirectoryError> {
        secret_file::replace(&self.0.join("node.key"), &*new.seed())?;
        secret_file::destroy(&self.next_key_path())?;
        Ok(())
    }

    /// The mesh's root key; only the first node has it.
    ///
    /// # Errors
    /// When it is there but readable by others or damaged.
    pub fn root_key(&self) -> Result<Option<NodeKey>, DataDirectoryError> {
        let path = self.0.join("root.key");
        if path.exists() {
            Ok(Some(NodeKey::load(&path)?))
        } else {
            Ok(None)
        }
    }

    fn membership_path(&self) -> PathBuf {
        self.0.join("membership")
    }

    /// The members this node knew last.
    ///
    /// # Errors
    /// When the file is damaged or this node is not in it.
    pub fn roster(&self, key: &NodeKey) -> Result<Roster, DataDirectoryError> {
        let path = self.membership_path();
        let damaged = |reason: String| DataDirectoryError::Membership {
            path: path.clone(),
            reason,
        };
        let bytes = read_bounded(&path, MEMBERSHIP_BYTES_MAX).map_err(|error| match error {
            DataDirectoryError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                damaged("it is missing".into())
            }
            DataDirectoryError::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                damaged("it is too large".into())
            }
            other => other,
        })?;
        let evidence = read_membership(&bytes).map_err(&damaged)?;
        // A node whose key was rotated is the one that its first key's certificate names.
        let first = evidence.iter().find_map(|one| match one {
            Evidence::Decree(Decree::Succession(succession)) if succession.heir() == key.id() => {
                Some(succession.origin())
            }
            _ => None,
        });
        let first = first.unwrap_or(key.id());
        let own = evidence.iter().find_map(|one| match one {
            Evidence::Certificate(certificate) => {
                let is_own = certificate.verify().is_ok_and(|(_, member)| member.node == first);
                is_own.then(|| certificate.clone())
            }
            Evidence::Decree(_) => None,
        });
        let own = own.ok_or_else(|| damaged("this node is not in it".into()))?;
        let mut roster = Roster::new(own).map_err(|error| damaged(error.to_string()))?;
        for (_, error) in roster.take(evidence).refused {
            tracing::warn!(%error, "a stored certificate or decree was left out");
        }
        Ok(roster)
    }

    /// Writes the members, replacing the file in one step.
    ///
    /// # Errors
    /// When the disk refuses; the old file stays then.
    pub fn save_roster(&self, roster: &Roster) -> Result<(), DataDirectoryError> {
        let path = self.membership_path();
        let evidence: Vec<_> = roster.evidence().map(|(_, evidence)| evidence).collect();
        let bytes = postcard::to_extend(&evidence, vec![MEMBERSHIP_VERSION]);
        let bytes = bytes.map_err(|error| io_error(&path)(io::Error::other(error)))?;
        replace(&path, &bytes)
    }

    /// Writes where other members were met, replacing the file in one step.
    ///
    /// # Errors
    /// When the disk refuses; the old file stays then.
    pub(crate) fn save_neighbours(&self, text: &str) -> Result<(), DataDirectoryError> {
        replace(&self.neighbours_path(), text.as_bytes())
    }
}

/// The evidence in the bytes of a membership file, or what is wrong with them.
fn read_membership(bytes: &[u8]) -> Result<Vec<Evidence>, String> {
    match bytes.split_first() {
        Some((&MEMBERSHIP_VERSION, body)) => postcard::from_bytes(body).map_err(|error| error.to_string()),
        Some((&MEMBERSHIP_VERSION_1, body)) => {
            let certificates: Vec<Certificate> = postcard::from_bytes(body).map_err(|error| error.to_string())?;
            Ok(certificates.into_iter().map(Evidence::Certificate).collect())
        }
        _ => Err("it is empty or of another version".into()),
    }
}

pub(crate) fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, DataDirectoryError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(io_error(path))?;
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error(path))?;
    if bytes.len() > limit {
        return Err(io_error(path)(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), DataDirectoryError> {
    let partial = path.with_extension("new");
    write_synced(&partial, bytes)?;
    fs::rename(&partial, path).map_err(io_error(path))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), DataDirectoryError> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(io_error(path))
}

#[cfg(test)]
mod tests {
    use keys::Timestamp;

    use super::*;

    fn create(path: &Path) -> Result<DataDirectory, DataDirectoryError> {
        let key = NodeKey::from_seed(&[1; 32]);
        let certificate = Certificate::found(&key, key.id(), "node", [0; 16], Timestamp(1)).unwrap();
        let roster = Roster::new(certificate).unwrap();
        DataDirectory::create(
            path,
            &NewNode {
                key: &key,
                root: None,
                roster: &roster,
                config: "",
            },
        )
    }

    #[test]
    fn a_directory_is_made_once_and_nothing_is_overwritten() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("deep/er/node");
        let made = create(&path).unwrap();
        assert!(matches!(create(&path), Err(DataDirectoryError::AlreadyANode(_))));
        let key = made.key().unwrap();
        assert_eq!(made.roster(&key).unwrap().members().count(), 1);
        // What the release before wrote is read.
        let certificates: Vec<_> = made.roster(&key).unwrap().certificates().cloned().collect();
        let older = postcard::to_extend(&certificates, vec![MEMBERSHIP_VERSION_1]).unwrap();
        fs::write(path.join("membership"), older).unwrap();
        assert_eq!(made.roster(&key).unwrap().members().count(), 1);
        for garbage in [b"\x01garbage".as_slice(), b"\x02garbage", b"\x09", b""] {
            fs::write(path.join("membership"), garbage).unwrap();
            assert!(matches!(made.roster(&key), Err(DataDirectoryError::Membership { .. })));
        }

        let other = base.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("thesis.txt"), b"years of work").unwrap();
        assert!(matches!(create(&other), Err(DataDirectoryError::NotEmpty(_))));
        assert_eq!(fs::read(other.join("thesis.txt")).unwrap(), b"years of work");
        assert_eq!(
            fs::read_dir(base.path()).unwrap().count(),
            2,
            "nothing half made is left behind"
        );
    }

    #[test]
    fn an_empty_name_is_said_and_not_taken_for_the_usual_directory() {
        let error = choose(Some(PathBuf::new())).unwrap_err();
        assert!(error.to_string().contains("STARLING_DATA_DIR"), "{error}");
        assert_eq!(choose(Some("here".into())).unwrap(), PathBuf::from("here"));
    }

    #[test]
    fn one_process_at_a_time() {
        let base = tempfile::tempdir().unwrap();
        let made = create(&base.path().join("node")).unwrap();
        let held = made.lock().unwrap();
        assert!(matches!(made.lock(), Err(DataDirectoryError::InUse(_))));
        drop(held);
        assert!(made.lock().is_ok());
    }
}
