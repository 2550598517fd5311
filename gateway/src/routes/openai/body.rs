//! The body of a program's request: JSON of bounded size, in which every parameter is understood, or changes nothing.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ProgramError;
use crate::error::ApiError;

/// Parameters that say something about the asker, the bill or the speed, and nothing about the answer.
const HARMLESS: &[&str] = &[
    "user",
    "store",
    "metadata",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prediction",
];

/// A body that is known to be what `T` takes.
pub(crate) struct Body<T>(pub(crate) T);

/// What an endpoint takes.
pub(crate) trait Parameters: DeserializeOwned {
    /// Every parameter it knows by name.
    const NAMES: &'static [&'static str];
}

impl<T: Parameters, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ProgramError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ProgramError> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection: BytesRejection| ApiError::from(rejection))?;
        read(&bytes).map(Self)
    }
}

fn read<T: Parameters>(bytes: &[u8]) -> Result<T, ProgramError> {
    let invalid = |error: serde_json::Error| ApiError::BodyInvalid(error.to_string());
    let mut body: Map<String, Value> = serde_json::from_slice(bytes).map_err(invalid)?;
    // Libraries write null for what was not given.
    body.retain(|_, value| !value.is_null());
    body.retain(|name, _| !HARMLESS.contains(&name.as_str()));
    if let Some(name) = body.keys().find(|name| !T::NAMES.contains(&name.as_str())) {
        return Err(ProgramError::ParameterUnknown(name.chars().take(100).collect()));
    }
    Ok(serde_json::from_value(Value::Object(body)).map_err(invalid)?)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Two {
        one: u32,
        two: Option<String>,
    }

    impl Parameters for Two {
        const NAMES: &'static [&'static str] = &["one", "two"];
    }

    #[test]
    fn what_changes_nothing_is_ignored_and_what_might_is_refused_by_name() {
        let two = |text: &str| read::<Two>(text.as_bytes());
        assert_eq!(
            two(r#"{"one": 1, "two": null, "user": "me"}"#).unwrap(),
            Two { one: 1, two: None }
        );
        let refused = two(r#"{"one": 1, "three": 3}"#).unwrap_err();
        assert_eq!(refused, ProgramError::ParameterUnknown("three".into()));
        for wrong in ["", "[]", "{", r#"{"one": "1"}"#, r#"{"two": "x"}"#] {
            let error = two(wrong).unwrap_err();
            assert!(matches!(error, ProgramError::Api(ApiError::BodyInvalid(_))), "{wrong}");
        }
        let deep = format!("{{\"one\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(two(&deep).is_err());
    }
}
