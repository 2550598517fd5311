//! Why a program's request was refused, in the shape that OpenAI's libraries read.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use inference::engine::{GenerationError, sampling::SamplingError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;

/// Why a program's request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProgramError {
    /// As everybody is refused.
    Api(ApiError),
    /// No node here has this model.
    ModelUnknown(String),
    /// No node within reach has a model that takes work now.
    NoModel,
    /// It computes as much as it can.
    Busy,
    /// A parameter that is not known here: it might change what is wanted.
    ParameterUnknown(String),
    /// A parameter that is known and cannot be followed.
    ParameterUnsupported { name: &'static str, why: &'static str },
    /// A parameter outside of what it may be.
    ParameterInvalid { name: String, why: String },
    /// More than fits the model's context.
    TooLong { tokens: u32, limit: u32 },
    /// The model failed.
    Failed(String),
    /// It was not over in time.
    Late,
}

/// The body of an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProgramErrorBody {
    error: ProgramErrorContent,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ProgramErrorContent {
    message: String,
    #[schema(example = "invalid_request_error")]
    r#type: &'static str,
    /// Which parameter.
    param: Option<String>,
    #[schema(example = "model_not_found")]
    code: &'static str,
}

impl ProgramError {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Api(error) => error.code(),
            Self::ModelUnknown(_) => "model_not_found",
            Self::NoModel => "no_model",
            Self::Busy => "busy",
            Self::ParameterUnknown(_) => "unknown_parameter",
            Self::ParameterUnsupported { .. } => "unsupported_parameter",
            Self::ParameterInvalid { .. } => "invalid_value",
            Self::TooLong { .. } => "context_length_exceeded",
            Self::Failed(_) => "generation_failed",
            Self::Late => "timeout",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Api(error) => error.message(),
            Self::ModelUnknown(name) => {
                format!("The model '{name}' is not served here; GET /v1/models lists those that are.")
            }
            Self::NoModel => "No node within reach has a model that takes work now.".into(),
            Self::Busy => "The model computes as much as it can; try again in a moment.".into(),
            Self::ParameterUnknown(name) => format!("The parameter '{name}' is not known here."),
            Self::ParameterUnsupported { name, why } => {
                format!("The parameter '{name}' cannot be followed here: {why}.")
            }
            Self::ParameterInvalid { name, why } => format!("The parameter '{name}' is not what it may be: {why}."),
            Self::TooLong { tokens, limit } => format!("The request has {tokens} tokens, and {limit} fit."),
            Self::Failed(why) => format!("The model failed: {why}."),
            Self::Late => "The model was not ready in time.".into(),
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Api(error) => error.status(),
            Self::ModelUnknown(_) => StatusCode::NOT_FOUND,
            Self::NoModel | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::ParameterUnknown(_)
            | Self::ParameterUnsupported { .. }
            | Self::ParameterInvalid { .. }
            | Self::TooLong { .. } => StatusCode::BAD_REQUEST,
            Self::Failed(_) => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn kind(&self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn parameter(&self) -> Option<String> {
        match self {
            Self::ModelUnknown(_) => Some("model".into()),
            Self::ParameterUnknown(name) | Self::ParameterInvalid { name, .. } => Some(name.clone()),
            Self::ParameterUnsupported { name, .. } => Some((*name).to_owned()),
            _ => None,
        }
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> ProgramErrorBody {
        ProgramErrorBody {
            error: ProgramErrorContent {
                message: self.message(),
                r#type: self.kind(),
                param: self.parameter(),
                code: self.code(),
            },
        }
    }
}

impl IntoResponse for ProgramError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        let wait = match &self {
            Self::Api(ApiError::TooManyRequests { seconds }) => Some(*seconds),
            Self::Busy => Some(1),
            _ => None,
        };
        if let Some(seconds) = wait {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<ApiError> for ProgramError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<GenerationError> for ProgramError {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::NotReady => Self::NoModel,
            GenerationError::Busy | GenerationError::Full { .. } => Self::Busy,
            GenerationError::PromptTooLong { tokens, limit } => Self::TooLong { tokens, limit },
            GenerationError::Sampling(SamplingError::Range { name, least, most }) => Self::ParameterInvalid {
                name: name.replace(' ', "_"),
                why: format!("a number from {least} to {most}"),
            },
            GenerationError::Sampling(error @ SamplingError::Stops) => Self::ParameterInvalid {
                name: "stop".into(),
                why: error.to_string(),
            },
            GenerationError::Sampling(error @ SamplingError::ShapeTooLarge) => Self::ParameterInvalid {
                name: "response_format".into(),
                why: error.to_string(),
            },
            GenerationError::Grammar(error) => Self::ParameterInvalid {
                name: "response_format".into(),
                why: error.to_string(),
            },
            GenerationError::Unsupported(what) if what == "tools" => Self::ParameterUnsupported {
                name: "tools",
                why: "the model's chat template has no place for them",
            },
            GenerationError::Deadline => Self::Late,
            error => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented_with_its_status() {
        let document = include_str!("../../../API.md");
        let name = || "x".to_owned();
        let errors = [
            ProgramError::ModelUnknown(name()),
            ProgramError::NoModel,
            ProgramError::Busy,
            ProgramError::ParameterUnknown(name()),
            ProgramError::ParameterUnsupported { name: "x", why: "y" },
            ProgramError::ParameterInvalid {
                name: name(),
                why: name(),
            },
            ProgramError::TooLong { tokens: 2, limit: 1 },
            ProgramError::Failed(name()),
            ProgramError::Late,
        ];
        for error in errors {
            let row = format!("| {} | `{}` |", error.status().as_u16(), error.code());
            assert!(document.contains(&row), "API.md has no row {row}");
        }
    }

    #[test]
    fn an_error_has_the_shape_that_the_libraries_read() {
        let error = ProgramError::from(GenerationError::Sampling(SamplingError::Range {
            name: "top_p".into(),
            least: "0".into(),
            most: "1".into(),
        }));
        let body = serde_json::to_value(error.body()).unwrap();
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert_eq!(body["error"]["param"], "top_p");
        assert_eq!(body["error"]["code"], "invalid_value");
        let refused = ProgramError::Api(ApiError::KeyInvalid);
        assert_eq!(refused.body().error.r#type, "authentication_error");
    }
}
