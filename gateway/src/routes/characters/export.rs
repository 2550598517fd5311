//! `GET /api/v1/characters/{id}/card`: the character as a card. One that was imported leaves as it came but for what was edited.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use crdt::{
    cards::{self, Card, Container, content},
    records::character::Definition,
};
use keys::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    error::CharacterError,
    original::{Original, original},
    own_character,
};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    picture,
    routes::{Path, Query},
};

/// How the card shall travel.
#[derive(Clone, Copy, Deserialize, ToSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CardFormat {
    /// As it came; of a character that never was a card: PNG with an avatar, JSON without.
    Original,
    Json,
    Png,
}

/// What is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CardQuery {
    /// `original` unless told otherwise.
    format: Option<CardFormat>,
}

#[utoipa::path(get, path = "/api/v1/characters/{id}/card", params(("id" = String, Path), CardQuery), responses(
    (status = 200, content((Object = "application/json"), (Vec<u8> = "image/png"), (Vec<u8> = "application/zip"))),
    (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<CardQuery>,
) -> Result<Response, ApiError> {
    let (_, character) = own_character(&app, &person, &id).await?;
    let draft = character.draft;
    let original = original(&app, &draft).await?;
    let avatar = match draft.avatar {
        Some(avatar) => Some(app.files.find(avatar).await?),
        None => None,
    };
    let format = query.format.unwrap_or(CardFormat::Original);
    let seconds = Timestamp::now().0 / 1000;
    let written = app.in_workshop(move || written(&draft, original, avatar, format, seconds));
    let (bytes, kind, extension) = written.await??;
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"character.{extension}\""),
        ),
    ];
    Ok((headers, bytes).into_response())
}

type Written = (Vec<u8>, &'static str, &'static str);

fn written(
    draft: &Definition,
    original: Option<Original>,
    avatar: Option<Vec<u8>>,
    format: CardFormat,
    seconds: u64,
) -> Result<Written, ApiError> {
    let (bytes, container) = match original {
        Some(original) => {
            let edits = content::edits(&original.card, original.id, draft, seconds);
            let unedited = (edits.is_empty(), original.card.container);
            match unedited {
                (true, container) => (original.bytes, container),
                (false, container) => (Card::write(&original.bytes, &edits)?, container),
            }
        }
        None => (
            content::new_card(draft, seconds).to_string().into_bytes(),
            Container::Json,
        ),
    };
    let wanted = match format {
        CardFormat::Original if draft.card.is_none() && avatar.is_some() => Container::Png,
        CardFormat::Original => container,
        CardFormat::Json => Container::Json,
        CardFormat::Png => Container::Png,
    };
    let bytes = if wanted == container {
        bytes
    } else {
        let json = Card::read(&bytes)?.json;
        match wanted {
            Container::Json => json.to_string().into_bytes(),
            // Nothing becomes an archive that was none.
            Container::Png | Container::Charx => {
                let avatar = avatar.ok_or(CharacterError::Picture)?;
                let picture = picture::png(&avatar).map_err(|_| CharacterError::Picture)?;
                cards::into_picture(&picture, &json)?
            }
        }
    };
    Ok(match wanted {
        Container::Json => (bytes, "application/json", "json"),
        Container::Png => (bytes, "image/png", "png"),
        Container::Charx => (bytes, "application/zip", "charx"),
    })
}
