//! What programs ask with a key: the interface of OpenAI, so that their libraries work here unchanged.
//!
//! ## Journey: a program's question
//! [`crate::guard`] finds the program by its key -> [`body`] checks that every parameter is one that is understood, or one that changes
//! nothing -> [`parameters`] and [`chat::request`] make a generation of it -> [`inference::Desk::generate_by`], here or on another node -> [`run`] gathers what the
//! model says, or [`stream`] passes it on piece by piece. When the program goes away, the generation is dropped with the answer, and ends.

mod answer;
mod body;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod error;
pub(crate) mod model;
pub(crate) mod models;
mod parameters;
mod run;
mod stream;
mod tool_calls;

use std::sync::Arc;

use self::error::ProgramError;
use crate::{app::App, error::ApiError, guard::guard, limits::PROGRAM_BODY_BYTES_MAX};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};

/// Where these endpoints are.
pub(crate) const ROOT: &str = "/v1/";

/// A refusal in the shape that whoever asks for this path understands.
pub(crate) fn refusal(path: &str, error: ApiError) -> Response {
    if path.starts_with(ROOT) {
        ProgramError::Api(error).into_response()
    } else {
        error.into_response()
    }
}

/// All endpoints for programs.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let nothing = || async { ProgramError::Api(ApiError::NotFound) };
    Router::new()
        .route("/models", get(models::get))
        .route("/models/{model}", get(model::get))
        .route("/chat/completions", post(chat::post))
        .route("/completions", post(completions::post))
        .route("/embeddings", post(embeddings::post))
        .method_not_allowed_fallback(nothing)
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(PROGRAM_BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
}

/// The model that a program asks for.
fn asked_for(app: &App, name: &str) -> Result<(), ProgramError> {
    let models = app.desk.models();
    if models.is_empty() {
        Err(ProgramError::NoModel)
    } else if models.contains(name) {
        Ok(())
    } else {
        Err(ProgramError::ModelUnknown(name.chars().take(100).collect()))
    }
}
