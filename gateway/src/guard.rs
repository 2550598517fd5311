//! What stands before every endpoint: is the request from our own page, who asks, and may they?

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, MatchedPath, OriginalUri, Request, State},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::Response,
};
use keys::Timestamp;

use crate::{
    access::{self, Who},
    app::App,
    auth::{
        self, Person,
        programs::{self, Program},
    },
    error::ApiError,
    idle::Peer,
    limits::{KEY_REQUEST_BURST, KEY_REQUESTS_PER_SECOND, SECOND_FACTOR_FRESH},
    policy::range,
    routes::openai,
};

/// Refuses addresses that are banned, and those that ask for too much.
pub(crate) async fn watch_addresses(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (address, policy) = (peer.0.ip(), app.policies.current());
    if policy.is_banned(address, Timestamp::now()) {
        return openai::refusal(request.uri().path(), ApiError::AddressBanned);
    }
    let (burst, per_second) = policy.address_rate();
    match app.addresses.take(&range(address), burst, per_second, Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(wait) => openai::refusal(request.uri().path(), too_many(wait)),
    }
}

/// Whoever asks for too much is told when to come again.
pub(crate) fn too_many(wait: Duration) -> ApiError {
    ApiError::TooManyRequests {
        seconds: wait.as_secs() + 1,
    }
}

/// Who asks.
enum Caller {
    Anyone,
    Person(Person),
    Program(Program),
}

/// Enforces the table of [`access`]; the person or program it finds is what the handler gets.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match judge(&app, &parts).await {
        Ok(caller) => {
            match caller {
                Caller::Anyone => {}
                Caller::Person(person) => drop(parts.extensions.insert(person)),
                Caller::Program(program) => drop(parts.extensions.insert(program)),
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => {
            // The router has cut off what comes before its own part.
            let whole = parts
                .extensions
                .get::<OriginalUri>()
                .map_or(&parts.uri, |whole| &whole.0);
            openai::refusal(whole.path(), error)
        }
    }
}

async fn judge(app: &App, request: &Parts) -> Result<Caller, ApiError> {
    let path = request.extensions.get::<MatchedPath>().ok_or(ApiError::NotFound)?;
    let who = access::find(request.method.as_str(), path.as_str()).ok_or(ApiError::NotFound)?;
    let headers = &request.headers;
    let is_upgrade = headers.contains_key(header::UPGRADE);
    if (is_upgrade || !is_safe(&request.method)) && !is_from_here(headers) {
        return Err(ApiError::ForeignOrigin);
    }
    let (roles, needs_code) = match who {
        Who::Anyone => return Ok(Caller::Anyone),
        Who::Key(scope) => {
            let program = programs::program(app, headers, scope).await?;
            let taken = app
                .keys
                .take(&program.key, KEY_REQUEST_BURST, KEY_REQUESTS_PER_SECOND, Instant::now());
            return taken.map(|()| Caller::Program(program)).map_err(too_many);
        }
        Who::Roles(roles) => (roles, false),
        Who::RolesWithCode(roles) => (roles, true),
    };
    let person = auth::person(app, headers).await?;
    let (burst, per_second) = app.policies.current().account_rate();
    let taken = app.accounts.take(&person.id, burst, per_second, Instant::now());
    taken.map_err(too_many)?;
    if !access::includes(roles, &person.account.roles) {
        return Err(ApiError::NotAllowed);
    }
    if needs_code {
        require_code(&person, Timestamp::now())?;
    }
    Ok(Caller::Person(person))
}

/// Refuses who has not shown a second factor a short while ago.
pub(crate) fn require_code(person: &Person, now: Timestamp) -> Result<(), ApiError> {
    let fresh = u64::try_from(SECOND_FACTOR_FRESH.as_millis()).unwrap_or(u64::MAX);
    match person.second_factor {
        Some(shown) if now.since(shown) <= fresh => Ok(()),
        _ => Err(ApiError::SecondFactorRequired),
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a request that changes something comes from our own page, or from a program that no page can steer. The cookies are
/// SameSite=Strict already; this also holds where a browser does not know that, and against other ports of the same host.
fn is_from_here(headers: &HeaderMap) -> bool {
    // A page of another origin cannot send this header without asking first, and nobody answers it.
    if headers.contains_key(header::AUTHORIZATION) {
        return true;
    }
    let text = |name: header::HeaderName| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, own)| own == host),
        (Some(_), None) => false,
        // Programs that are no browsers send no origin. A browser that leaves it out says at least where it comes from.
        (None, _) => headers
            .get("sec-fetch-site")
            .is_none_or(|site| site == "same-origin" || site == "none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn another_page_cannot_use_a_persons_cookie() {
        let ours = [("origin", "https://chat.example"), ("host", "chat.example")];
        assert!(is_from_here(&headers(&ours)));
        assert!(is_from_here(&headers(&[("host", "chat.example")])), "a program");
        for foreign in [
            &[("origin", "https://evil.example"), ("host", "chat.example")][..],
            &[("origin", "https://chat.example:81"), ("host", "chat.example")],
            &[("origin", "null"), ("host", "chat.example")],
            &[("origin", "https://chat.example")],
            &[("host", "chat.example"), ("sec-fetch-site", "cross-site")],
            &[("host", "chat.example"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(!is_from_here(&headers(foreign)), "{foreign:?}");
        }
        let bearer = [
            ("origin", "https://other.example"),
            ("host", "h"),
            ("authorization", "Bearer x"),
        ];
        assert!(is_from_here(&headers(&bearer)));
    }
}
