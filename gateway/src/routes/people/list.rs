//! `GET /api/v1/people`: everyone, or those who are looked for; the newest first.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::account::{Account, folded_name};
use keys::ContentId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{PersonRow, state};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    limits::PEOPLE_PAGE,
    routes::{Json, Query},
};

/// Who is looked for.
#[derive(Deserialize, IntoParams)]
pub(crate) struct PeopleQuery {
    /// A part of the name or of the address.
    search: Option<String>,
    /// `active`, `waiting` or `blocked`.
    state: Option<String>,
    /// A role they have.
    role: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// A page of people.
#[derive(Serialize, ToSchema)]
pub(crate) struct PeopleAnswer {
    people: Vec<PersonRow>,
    /// How many there are on all pages.
    total: usize,
    /// For the next page; `null` on the last one.
    next: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/people", params(PeopleQuery), responses(
    (status = 200, body = PeopleAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    _person: Person,
    Query(query): Query<PeopleQuery>,
) -> Result<Json<PeopleAnswer>, ApiError> {
    let mut found: Vec<(ContentId, Account)> = app.store.list::<Account>().await?;
    found.retain(|(_, account)| query.fits(account));
    found.sort_by_key(|(id, account)| (std::cmp::Reverse(account.created), *id));
    let from = match &query.after {
        None => 0,
        Some(after) => {
            let last = ContentId::parse(after).and_then(|last| found.iter().position(|(id, _)| *id == last));
            // Who is gone meanwhile leaves no place to go on from.
            last.ok_or_else(|| ApiError::BodyInvalid("`after` is no place in this list".into()))? + 1
        }
    };
    let page = &found[from..found.len().min(from + PEOPLE_PAGE)];
    let is_last = from + page.len() >= found.len();
    Ok(Json(PeopleAnswer {
        people: page.iter().map(|(id, account)| PersonRow::of(*id, account)).collect(),
        total: found.len(),
        next: page.last().filter(|_| !is_last).map(|(id, _)| id.to_string()),
    }))
}

impl PeopleQuery {
    fn fits(&self, account: &Account) -> bool {
        let contains = |text: &str, wanted: &str| folded_name(text).contains(wanted);
        let search = self.search.as_deref().map(folded_name).is_none_or(|wanted| {
            let email = account.email.as_ref().map_or("", |email| email.text());
            contains(account.name.text(), &wanted) || contains(email, &wanted)
        });
        let role = self
            .role
            .as_deref()
            .is_none_or(|wanted| account.roles.iter().any(|role| role.name() == wanted));
        search && role && self.state.as_deref().is_none_or(|wanted| wanted == state(account))
    }
}
