//! `GET /api/v1/characters`: whom one can chat with, or what one is making.

use std::sync::Arc;

use axum::extract::State;
use crdt::{
    cards::macros::{self, Purpose, Words},
    records::character::{Character, Definition},
};
use keys::ContentId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::uniqueness::Standings;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    may,
    routes::{
        Json, Query,
        page::{PageQuery, page},
    },
};

/// Which characters are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CharactersQuery {
    /// Those that one may change, drafts included, instead of those that one can chat with.
    mine: Option<bool>,
    /// What the page before said in `next`; the first page without it.
    #[param(max_length = 200)]
    after: Option<String>,
    /// Entries of the page; 50 unless told otherwise.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// A page of characters, by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct CharactersAnswer {
    characters: Vec<CharacterBody>,
    /// Where the next page begins; `null` behind the last one.
    next: Option<String>,
}

/// A character in the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct CharacterBody {
    id: String,
    /// With a suffix when another character has the name.
    #[schema(example = "Лис")]
    name: String,
    description: String,
    greeting: String,
    has_avatar: bool,
    /// Whether people can chat with it.
    is_published: bool,
    /// Whether another character has its name or prompt.
    has_conflict: bool,
}

#[utoipa::path(get, path = "/api/v1/characters", params(CharactersQuery), responses(
    (status = 200, body = CharactersAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    person: Person,
    Query(query): Query<CharactersQuery>,
) -> Result<Json<CharactersAnswer>, ApiError> {
    let mine = query.mine.unwrap_or(false);
    if mine {
        may::make_characters(&person)?;
    }
    let standings = Standings::read(&app).await?;
    let wanted = app
        .store
        .list::<Character>()
        .await?
        .into_iter()
        .filter(|(_, character)| {
            let is_own = || may::change_character(&person, character).is_ok();
            !character.retired && (!mine || is_own())
        });
    let mut characters: Vec<CharacterBody> = wanted
        .filter_map(|(id, character)| {
            let published = character.definition();
            let definition = if mine { Some(&character.draft) } else { published }?;
            Some(CharacterBody {
                id: id.to_string(),
                name: standings.shown_name(id, &definition.name),
                description: definition.description.clone(),
                greeting: greeting(definition, &person),
                has_avatar: definition.avatar.is_some(),
                is_published: published.is_some(),
                has_conflict: false,
            })
        })
        .collect();
    characters.sort_by_cached_key(cursor);
    let query = PageQuery {
        after: query.after,
        limit: query.limit,
    };
    let (mut characters, next) = page(characters, &query, cursor)?;
    if mine {
        for character in &mut characters {
            let Some(id) = ContentId::parse(&character.id) else {
                continue;
            };
            character.has_conflict = !standings.conflicts(&app, id).await?.is_empty();
        }
    }
    Ok(Json(CharactersAnswer { characters, next }))
}

/// The greeting as this person reads it. Makers see what they wrote in the editor.
pub(crate) fn greeting(definition: &Definition, person: &Person) -> String {
    let words = Words {
        character: &definition.name,
        person: person.account.name.text(),
        original: "",
        seed: 0,
    };
    macros::replaced(&definition.greeting, &words, Purpose::Prompt)
}

fn cursor(character: &CharacterBody) -> String {
    format!("{}\u{1}{}", character.name, character.id)
}
