//! The catalogue of models on this node: its records are in the store, its files among the blobs, and this joins them. The running node
//! does it in jobs that can be watched; a node that is stopped can be given a model, too.

pub mod fetching;
pub mod jobs;
mod offline;
mod overruns;
mod requests;
pub(crate) mod serving;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crdt::{
    Store, StoreError,
    records::model::{self, Model, ModelEdit},
};
use inference::catalogue::{self, CatalogueError, Described};
use keys::{ContentId, NodeId, Timestamp};
use mesh::blobs::{BlobError, BlobId, BlobStatus, BlobStore};
use serde::{Deserialize, Serialize};

pub use self::{
    offline::{Offline, OfflineError},
    requests::{ModelAnswer, ModelRequest},
};
use crate::hints::here;

/// Bytes of a licence's text: as much as a record takes.
const LICENCE_BYTES_MAX: u64 = 16 * 1024;

/// A file for the catalogue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewModel {
    /// The file; an absolute path on this machine.
    pub file: PathBuf,
    /// What it is to be called; by its file unless given.
    pub name: Option<String>,
    /// What its licence is called; what the file says unless given.
    pub licence: Option<String>,
    /// A file with the licence's text.
    pub licence_file: Option<PathBuf>,
    /// Whether the file is copied into the data directory instead of being used where it lies.
    pub copy: bool,
}

/// A model as `starling model list` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelStatus {
    /// What it is called.
    pub name: String,
    /// The blake3 hash of its file.
    pub blob: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// `here`, `elsewhere` (a part may be here, see `bytes_here`) or `linked` (a file outside the data directory).
    pub place: String,
    /// Bytes that are here.
    pub bytes_here: u64,
    /// Its family.
    pub architecture: String,
    /// Numbers in it.
    pub parameters: u64,
    /// How its weights are kept.
    pub quantisation: String,
    /// Tokens that it was trained to see at once.
    pub context_tokens: u64,
    /// What its licence is called; empty when nobody said.
    pub licence: String,
    /// Whether it says how it wants a chat written; one that does not cannot chat.
    pub can_chat: bool,
    /// How it stands in memory here: `loaded`, `loading`, `on_disk` or `failed`; nothing where this node does not serve it.
    #[serde(default)]
    pub state: Option<String>,
    /// Why it does not work here.
    #[serde(default)]
    pub reason: Option<String>,
    /// Bytes of memory that are set aside for it here, or that it needs at least.
    #[serde(default)]
    pub estimated_bytes: u64,
    /// Bytes of memory that it has.
    #[serde(default)]
    pub measured_bytes: u64,
}

/// Why nothing was done with a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The file is no model, or the name none.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// Another model has the name.
    #[error("there is another model called {0}; choose another name with --name, or remove that one first")]
    NameTaken(String),
    /// It is there already.
    #[error("this file is in the catalogue already, as {0}")]
    Present(String),
    /// Nobody is called so.
    #[error("no model is called {0:?}; see: {list}", list = here("model list"))]
    Unknown(String),
    /// The licence's text.
    #[error("the licence {path} cannot be read: {source}")]
    Licence {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More than a record takes.
    #[error("the licence {0} has more than {LICENCE_BYTES_MAX} bytes; name it with --licence instead")]
    LicenceTooLong(PathBuf),
    /// The node works with it.
    #[error("this node works with {0}; put another model into its configuration first")]
    InUse(String),
    /// There is nothing to remove.
    #[error("{0} is not on this machine")]
    NotHere(String),
    /// The blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// As many jobs as there may be.
    #[error("{0} models are being read and fetched; wait for one of them")]
    TooManyJobs(usize),
    /// Not a job of this node.
    #[error("this node has no such job any more; what it did is in: {list}", list = here("model list"))]
    UnknownJob,
    /// The process stops.
    #[error("the work was cut short; say it again to go on")]
    Stopped,
}

/// The records and the files of a node.
#[derive(Clone)]
pub struct Catalogue {
    /// The records.
    pub store: Store,
    /// The files.
    pub blobs: BlobStore,
}

impl Catalogue {
    /// Of these records and files.
    #[must_use]
    pub fn new(store: &Store, blobs: &BlobStore) -> Self {
        Self {
            store: store.clone(),
            blobs: blobs.clone(),
        }
    }

    async fn models(&self) -> Result<BTreeMap<ContentId, Model>, ModelsError> {
        Ok(self.store.list::<Model>().await?.into_iter().collect())
    }

    /// Every model, by name.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn list(&self) -> Result<Vec<ModelStatus>, ModelsError> {
        let models = self.models().await?;
        let standing = model::standing(&models);
        let one = |(name, id): (String, ContentId)| models.get(&id).map(|model| self.status(name, model));
        Ok(standing.into_iter().filter_map(one).collect())
    }

    /// The model that a person means.
    ///
    /// # Errors
    /// When nobody is called so.
    pub async fn find(&self, text: &str) -> Result<(String, Model), ModelsError> {
        let models = self.models().await?;
        let unknown = || ModelsError::Unknown(text.to_owned());
        let id = model::find(&models, text).ok_or_else(unknown)?;
        let name = model::standing(&models)
            .into_iter()
            .find_map(|(name, other)| (other == id).then_some(name));
        let model = models.get(&id).cloned().ok_or_else(unknown)?;
        Ok((name.unwrap_or_else(|| model.name.clone()), model))
    }

    /// Where the whole file of a model lies; nothing when it has to be fetched.
    #[must_use]
    pub fn path(&self, model: &Model) -> Option<PathBuf> {
        self.blobs.path(BlobId(model.blob)).ok()
    }

    /// Reads, checks and takes in a file, and tells the mesh of it. Reading all of a large file takes a while.
    ///
    /// # Errors
    /// Why the file is refused; nothing is changed then.
    pub async fn add(&self, new: &NewModel, now: Timestamp) -> Result<ModelStatus, ModelsError> {
        let name = catalogue::name_for(new.name.as_deref(), &new.file)?;
        let (file, licence_file) = (new.file.clone(), new.licence_file.clone());
        let read = blocking(move || {
            let described = catalogue::describe(&file)?;
            let text = licence_file.map(|path| licence_text(&path)).transpose()?;
            Ok((described, text.unwrap_or_default()))
        });
        let (mut described, licence_text) = read.await?;
        described.licence.text = licence_text;
        if let Some(licence) = &new.licence {
            described.licence.name.clone_from(licence);
        }
        // Before all of a large file is read: what cannot be the same file is refused for its name.
        self.check_free(&name, described.bytes, None).await?;
        let (blobs, file, copy) = (self.blobs.clone(), new.file.clone(), new.copy);
        let had: Vec<_> = self.blobs.list().into_iter().map(|summary| summary.blob).collect();
        let added = blocking(move || {
            Ok(if copy {
                blobs.add(&file)
            } else {
                blobs.add_reference(&file)
            }?)
        });
        let blob = added.await?;
        match self.tell(&name, blob, &described, now).await {
            Ok(status) => Ok(status),
            Err(error) => {
                // A file that did not come into the catalogue is nobody's. What was here before stays.
                if !had.contains(&blob)
                    && let Err(error) = self.blobs.remove(blob)
                {
                    tracing::warn!(%error, "a model's file that was refused is still among the blobs");
                }
                Err(error)
            }
        }
    }

    async fn tell(
        &self,
        name: &str,
        blob: BlobId,
        described: &Described,
        now: Timestamp,
    ) -> Result<ModelStatus, ModelsError> {
        self.check_free(name, described.bytes, Some(blob)).await?;
        let record = described.record(name, blob.0, now);
        self.store.create(record.clone()).await?;
        Ok(self.status(name.to_owned(), &record))
    }

    async fn check_free(&self, name: &str, bytes: u64, blob: Option<BlobId>) -> Result<(), ModelsError> {
        let models = self.models().await?;
        for (standing, id) in model::standing(&models) {
            let Some(other) = models.get(&id) else { continue };
            if blob == Some(BlobId(other.blob)) {
                return Err(ModelsError::Present(standing));
            }
            if standing == name && (blob.is_some() || other.bytes != bytes) {
                return Err(ModelsError::NameTaken(standing));
            }
        }
        Ok(())
    }

    /// Removes the file of a model from this machine; one that lies outside the data directory stays where it is.
    ///
    /// # Errors
    /// When it is not here.
    pub async fn remove_here(&self, text: &str) -> Result<String, ModelsError> {
        let (name, model) = match self.find(text).await {
            // What was taken out of the catalogue may still lie here.
            Err(ModelsError::Unknown(_)) => {
                let models = self.models().await?;
                let found = models.into_values().find(|model| model.name == text);
                let model = found.ok_or_else(|| ModelsError::Unknown(text.to_owned()))?;
                (model.name.clone(), model)
            }
            found => found?,
        };
        match self.blobs.remove(BlobId(model.blob)) {
            Ok(()) => Ok(name),
            Err(BlobError::Unknown(_)) => Err(ModelsError::NotHere(name)),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a model out of the catalogue, everywhere, and removes its file here.
    ///
    /// # Errors
    /// When nobody is called so, or the store refuses.
    pub async fn remove(&self, text: &str) -> Result<String, ModelsError> {
        let (name, model) = self.find(text).await?;
        let same = self.models().await?.into_iter();
        // Two halves of a split may have added one file twice.
        for (id, _) in same.filter(|(_, other)| other.blob == model.blob && !other.removed) {
            self.store.edit(id, ModelEdit::Remove).await?;
        }
        match self.blobs.remove(BlobId(model.blob)) {
            Ok(()) | Err(BlobError::Unknown(_)) => Ok(name),
            Err(error) => Err(error.into()),
        }
    }

    fn status(&self, name: String, model: &Model) -> ModelStatus {
        let here = self.blobs.have(BlobId(model.blob)).map(|summary| summary.status);
        let (place, bytes_here) = match here {
            Some(BlobStatus::Whole) => ("here", model.bytes),
            Some(BlobStatus::Reference) => ("linked", model.bytes),
            Some(BlobStatus::Partial { bytes }) => ("elsewhere", bytes),
            None => ("elsewhere", 0),
        };
        ModelStatus {
            name,
            blob: model.blob.to_string(),
            bytes: model.bytes,
            place: place.to_owned(),
            bytes_here,
            architecture: model.shape.architecture.clone(),
            parameters: model.shape.parameters,
            quantisation: model.quantisation.clone(),
            context_tokens: model.shape.context_tokens,
            licence: model.licence.name.clone(),
            can_chat: model.template != model::ModelTemplate::None,
            state: None,
            reason: None,
            estimated_bytes: 0,
            measured_bytes: 0,
        }
    }

    /// Brings the file of a model here from `sources` and checks it.
    ///
    /// # Errors
    /// When nobody has it, there is no room, or it is not what the catalogue says.
    pub async fn fetch(
        &self,
        (mesh, pace): (&mesh::Mesh, &mesh::blobs::Pace),
        (name, model): (&str, &Model),
        sources: &[NodeId],
        progress: &tokio::sync::watch::Sender<mesh::blobs::Progress>,
    ) -> Result<ModelStatus, ModelsError> {
        let blob = BlobId(model.blob);
        mesh::blobs::fetch(mesh, (&self.blobs, pace), blob, sources, progress).await?;
        let (path, expected) = (self.blobs.path(blob)?, model.clone());
        blocking(move || Ok(catalogue::check_fetched(&expected, &path)?)).await?;
        Ok(self.status(name.to_owned(), model))
    }
}

fn licence_text(path: &Path) -> Result<String, ModelsError> {
    let unreadable = |source| ModelsError::Licence {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(unreadable)?.len() > LICENCE_BYTES_MAX {
        return Err(ModelsError::LicenceTooLong(path.to_owned()));
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// Runs what waits for the disk where nothing else waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelsError> + Send + 'static,
) -> Result<T, ModelsError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ModelsError::Stopped)?
}
