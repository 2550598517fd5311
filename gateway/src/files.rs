//! Files by their content: the pictures of characters and the cards that they came from. `node` keeps them and brings those of others.

use std::{future::Future, pin::Pin};

use keys::ContentId;

/// What comes of asking for a file.
pub type Filed<'a, T> = Pin<Box<dyn Future<Output = Result<T, FileError>> + Send + 'a>>;

/// Why a file could not be kept or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Nobody within reach has it.
    #[error("no node within reach has the file")]
    Unreachable,
    /// There is no room, or the disk fails.
    #[error("the file cannot be kept")]
    Disk,
}

/// Where files are.
pub trait Files: Send + Sync {
    /// Keeps bytes; they are on disk when this is done.
    fn keep(&self, bytes: Vec<u8>) -> Filed<'_, ContentId>;
    /// The bytes of a file, from here or from whoever has it.
    fn find(&self, id: ContentId) -> Filed<'_, Vec<u8>>;
}
