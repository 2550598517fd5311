//! `GET /api/v1/characters`: whom one can chat with.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::character::Character;
use serde::Serialize;
use utoipa::ToSchema;

use super::Json;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
};

/// Every character.
#[derive(Serialize, ToSchema)]
pub(crate) struct CharactersAnswer {
    characters: Vec<CharacterBody>,
}

/// A character in the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct CharacterBody {
    id: String,
    #[schema(example = "Лис")]
    name: String,
    description: String,
    greeting: String,
}

#[utoipa::path(get, path = "/api/v1/characters", responses(
    (status = 200, body = CharactersAnswer), (status = 401, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn list(State(app): State<Arc<App>>, _person: Person) -> Result<Json<CharactersAnswer>, ApiError> {
    let mut characters: Vec<_> = app
        .store
        .list::<Character>()
        .await?
        .into_iter()
        .filter(|(_, character)| !character.retired)
        .filter_map(|(id, character)| {
            let definition = character.definition()?;
            Some(CharacterBody {
                id: id.to_string(),
                name: definition.name.clone(),
                description: definition.description.clone(),
                greeting: definition.greeting.clone(),
            })
        })
        .collect();
    characters.sort_by(|left, right| (&left.name, &left.id).cmp(&(&right.name, &right.id)));
    Ok(Json(CharactersAnswer { characters }))
}
