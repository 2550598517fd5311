//! The two cookies of a signed-in device. No script can read them, and no other site can send them.

use axum::http::{HeaderMap, HeaderValue, header};
use keys::limits::{ACCESS_TOKEN_MILLISECONDS, DEVICE_IDLE_MILLISECONDS};

use crate::error::ApiError;

/// The access token, for every request.
pub(crate) const ACCESS: &str = "starling_session";
/// The refresh token, for the API alone.
pub(crate) const REFRESH: &str = "starling_refresh";

const ACCESS_PATH: &str = "/";
const REFRESH_PATH: &str = "/api/v1";

/// A cookie of a request.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn cookie(name: &str, value: &str, path: &str, seconds: u64, secure: bool) -> Result<HeaderValue, ApiError> {
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!(
        "{name}={value}; HttpOnly; SameSite=Strict; Path={path}; Max-Age={seconds}{secure}"
    ))
    .map_err(|_| ApiError::StorageUnavailable)
}

/// What signs a device in: the access token first.
pub(crate) fn signed_in(access: &str, refresh: &str, secure: bool) -> Result<[HeaderValue; 2], ApiError> {
    Ok([
        cookie(ACCESS, access, ACCESS_PATH, ACCESS_TOKEN_MILLISECONDS / 1000, secure)?,
        cookie(REFRESH, refresh, REFRESH_PATH, DEVICE_IDLE_MILLISECONDS / 1000, secure)?,
    ])
}

/// What signs a device out.
pub(crate) fn signed_out(secure: bool) -> Result<[HeaderValue; 2], ApiError> {
    Ok([
        cookie(ACCESS, "", ACCESS_PATH, 0, secure)?,
        cookie(REFRESH, "", REFRESH_PATH, 0, secure)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_closed_to_scripts_and_other_sites() {
        for cookie in signed_in("a", "b", true).unwrap() {
            let text = cookie.to_str().unwrap();
            assert!(
                text.contains("; HttpOnly; SameSite=Strict; Path=/") && text.ends_with("; Secure"),
                "{text}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("other=1; starling_refresh=two"),
        );
        headers.append(header::COOKIE, HeaderValue::from_static("starling_session=one"));
        assert_eq!(
            (find(&headers, ACCESS), find(&headers, REFRESH)),
            (Some("one"), Some("two"))
        );
        assert_eq!(find(&headers, "starling"), None);
    }
}
