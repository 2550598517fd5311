//! The table of endpoints and what surrounds each of them: who may call it, deadline, body limit, security headers.

pub(crate) mod account;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod bans;
pub(crate) mod characters;
pub(crate) mod chat;
pub(crate) mod complaints;
pub(crate) mod erasures;
mod extract;
pub(crate) mod favourites;
pub(crate) mod gateways;
pub(crate) mod health;
pub(crate) mod invites;
pub(crate) mod links;
pub(crate) mod me;
pub(crate) mod mesh_breakers;
pub(crate) mod mesh_view;
pub(crate) mod metrics;
pub(crate) mod openai;
pub(crate) mod page;
pub(crate) mod password;
pub(crate) mod people;
pub(crate) mod refresh;
pub(crate) mod search;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
pub(crate) mod sign_out_everywhere;
pub(crate) mod sign_up;
pub(crate) mod welcome;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{delete, get, patch, post, put},
};
use serde::Serialize;
use tower_http::compression::CompressionLayer;
use utoipa::ToSchema;

pub(crate) use self::extract::{Json, Path, Query};
use crate::{
    app::App,
    auth::{Person, role_name},
    error::ApiError,
    guard::{self, guard},
    limits::{BODY_BYTES_MAX, REQUEST_TIMEOUT},
    pages,
};

/// Whoever came over TLS once comes over nothing else for a year.
const STRICT_TRANSPORT: &str = "max-age=31536000";

/// A person as the API tells of one.
#[derive(Serialize, ToSchema)]
pub(crate) struct PersonBody {
    /// Names the account.
    id: String,
    #[schema(example = "Рита")]
    name: String,
    /// `user`, `manager`, `moderator` or `administrator`.
    role: &'static str,
}

impl From<&Person> for PersonBody {
    fn from(person: &Person) -> Self {
        Self {
            id: person.id.to_string(),
            name: person.account.name.text().to_owned(),
            role: role_name(&person.account),
        }
    }
}

/// A node's id and name.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeBody {
    pub(crate) id: String,
    #[schema(example = "pc-home")]
    pub(crate) name: String,
}

impl NodeBody {
    pub(crate) fn of(app: &App, node: &keys::NodeId) -> Self {
        Self {
            id: node.to_string(),
            name: app.surroundings.name_of(node),
        }
    }
}

/// Coming in, and what was erased.
fn doors() -> Router<Arc<App>> {
    Router::new()
        .route("/welcome", post(welcome::post))
        .route("/sign-in", post(sign_in::post))
        .route("/sign-out", post(sign_out::post))
        .route("/sign-out/everywhere", post(sign_out_everywhere::post))
        .route("/refresh", post(refresh::post))
        .route("/sign-up", get(sign_up::terms::get).post(sign_up::ask::post))
        .route("/sign-up/resend", post(sign_up::resend::post))
        .route("/sign-up/confirm", post(sign_up::confirm::post))
        .route("/password/forgot", post(password::forgot::post))
        .route("/password/reset", post(password::reset::post))
        .route("/erasures/{id}", get(erasures::read::get))
        .route("/erasures/{id}/act", get(erasures::act::get))
}

/// Oneself.
fn own_account() -> Router<Arc<App>> {
    Router::new()
        .route("/me", get(me::get))
        .route("/account", get(account::show::get))
        .route("/account/devices", get(account::devices::get))
        .route("/account/devices/{id}", delete(account::sign_out_device::delete))
        .route("/account/password", post(password::change::post))
        .route("/account/consents", get(account::consents::get))
        .route(
            "/account/second-factor/begin",
            post(account::second_factor::begin::post),
        )
        .route("/account/second-factor", put(account::second_factor::set::put))
        .route("/account/second-factor/show", post(account::second_factor::show::post))
        .route(
            "/account/second-factor/remove",
            post(account::second_factor::remove::post),
        )
        .route("/keys", get(api_keys::list::get).post(api_keys::make::post))
        .route("/keys/{id}", delete(api_keys::revoke::delete))
        .route("/account/export", get(account::export::get))
        .route("/account/warnings", get(account::warnings::get))
        .route("/account/delete", post(account::delete::post))
}

/// Other people, and what holds for the whole mesh.
fn keeping() -> Router<Arc<App>> {
    Router::new()
        .route("/people/links", post(links::post))
        .route("/people", get(people::list::get))
        .route("/people/{id}", get(people::show::get))
        .route("/people/{id}/block", post(people::block::post))
        .route("/people/{id}/approve", post(people::approve::post))
        .route("/people/{id}/roles", put(people::roles::put))
        .route("/people/{id}/reset-link", post(people::reset_link::post))
        .route(
            "/people/{id}/second-factor",
            delete(people::remove_second_factor::delete),
        )
        .route("/invites", get(invites::list::get).post(invites::make::post))
        .route("/invites/revoke", post(invites::revoke::post))
        .route("/settings", get(settings::read::get).put(settings::write::put))
        .route("/settings/test-mail", post(settings::test_mail::post))
        .route("/bans", get(bans::list::get).post(bans::put::post))
        .route("/bans/{address}", delete(bans::remove::delete))
        .route("/audit", get(audit::list::get))
        .route("/audit/export", get(audit::export::get))
}

/// What people do with their chats, beside the socket.
fn chat_routes() -> Router<Arc<App>> {
    use sessions::{messages, summaries};
    Router::new()
        .route(
            "/sessions/{id}",
            get(sessions::read::read).patch(sessions::change::change),
        )
        .route("/sessions/{id}/messages/{message}", patch(messages::change::change))
        .route(
            "/sessions/{id}/messages/{message}/answers",
            post(messages::another::post),
        )
        .route(
            "/sessions/{id}/messages/{message}/continuation",
            post(messages::further::post),
        )
        .route("/sessions/{id}/messages/{message}/choice", get(messages::choice::get))
        .route("/sessions/{id}/messages/{message}/edits", post(messages::edit::post))
        .route("/sessions/{id}/summaries", get(summaries::list::list))
        .route("/sessions/{id}/summaries/{last}", put(summaries::put::put))
        .route("/favourites", get(favourites::list::list))
        .route(
            "/favourites/{session}/{message}",
            put(favourites::put::put).delete(favourites::remove::remove),
        )
        .route("/search", get(search::get))
        .route("/gateways", get(gateways::get))
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .merge(doors())
        .merge(own_account())
        .merge(keeping())
        .merge(characters::router())
        .merge(complaints::router())
        .route("/sessions", get(sessions::list::list).post(sessions::create::create))
        .merge(chat_routes())
        .route("/mesh", get(mesh_view::get))
        .route("/mesh/breakers", get(mesh_breakers::get))
        .method_not_allowed_fallback(|| async { ApiError::NotFound })
        .layer(middleware::from_fn(deadline))
        // After the deadline: a socket lives as long as the person stays.
        .route("/ws", get(chat::socket::open))
        .layer(middleware::from_fn_with_state(app.clone(), guard));
    Router::new()
        .nest("/api/v1", api)
        .nest("/v1", openai::router(&app))
        .fallback(get(pages::page))
        .layer(middleware::from_fn_with_state(app.clone(), only_at_a_gateway))
        // How a node is may be asked of any.
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::get))
        .layer(middleware::from_fn_with_state(app.clone(), guard::watch_addresses))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), count))
        .layer(middleware::from_fn_with_state(app.clone(), security_headers))
        .layer(CompressionLayer::new())
        .with_state(app)
}

/// A node that is no gateway says so to whoever comes, and takes nothing.
async fn only_at_a_gateway(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(why) = app.surroundings.serves_nobody() else {
        return next.run(request).await;
    };
    let refusal = ApiError::NotAGateway;
    let path = request.uri().path();
    if path.starts_with("/api/") || path.starts_with("/v1/") {
        return openai::refusal(path, refusal);
    }
    (StatusCode::MISDIRECTED_REQUEST, Html(pages::serves_nobody(why))).into_response()
}

/// Counts what was answered.
async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    app.figures.answered(response.status().as_u16());
    response
}

/// Every request is answered in time, however slowly its body comes.
pub(crate) async fn deadline(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(|_| ApiError::Timeout.into_response())
}

/// Nothing foreign is loaded, nothing is framed, nothing is sniffed.
async fn security_headers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
             manifest-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if app.is_encrypted() {
        let value = HeaderValue::from_static(STRICT_TRANSPORT);
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}
