//! What was erased, and what each node says of it. Whoever knows an erasure's id may ask: it names nobody.

pub(crate) mod act;
pub(crate) mod read;

use crdt::erasure::{EraseTarget, Erasure};
use keys::ContentId;

use crate::{app::App, error::ApiError};

/// The erasure that a path names, with how much of it this node sees.
pub(crate) async fn find(app: &App, id: &str) -> Result<Erasure, ApiError> {
    let id = ContentId::parse(id).ok_or(ApiError::NotFound)?;
    let erasures = app.store.erasures().await?;
    let found = erasures.into_iter().find(|erasure| erasure.id == id);
    found
        .filter(|erasure| matches!(erasure.erase.target, EraseTarget::Account(_)))
        .ok_or(ApiError::NotFound)
}
