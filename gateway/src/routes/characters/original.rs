//! The card that a character came from, as far as it can be had.

use crdt::{
    cards::{
        Card,
        content::{self, Content, TooLong},
    },
    records::character::{Definition, DefinitionField},
};
use keys::ContentId;

use crate::{app::App, error::ApiError};

/// A card with its bytes.
pub(super) struct Original {
    pub(super) id: ContentId,
    pub(super) bytes: Vec<u8>,
    pub(super) card: Card,
}

/// The card of a character; `None` when it never was one.
pub(super) async fn original(app: &App, definition: &Definition) -> Result<Option<Original>, ApiError> {
    let Some(id) = definition.card else {
        return Ok(None);
    };
    let bytes = app.files.find(id).await?;
    parse(app, id, bytes).await.map(Some)
}

/// Reads a card off the async threads.
pub(super) async fn parse(app: &App, id: ContentId, bytes: Vec<u8>) -> Result<Original, ApiError> {
    app.in_workshop(move || {
        let card = Card::read(&bytes)?;
        Ok(Original { id, bytes, card })
    })
    .await?
}

impl Original {
    pub(super) fn content(&self) -> Content {
        content::content(&self.card, self.id)
    }

    /// The fields that are too long and that nobody has shortened in the draft.
    pub(super) fn still_too_long(&self, draft: &Definition) -> Vec<TooLong> {
        let content = self.content();
        let edited: Vec<&str> = content
            .definition
            .difference(draft)
            .iter()
            .map(DefinitionField::name)
            .collect();
        let fields = content.too_long.into_iter();
        fields.filter(|field| !edited.contains(&field.field)).collect()
    }
}
