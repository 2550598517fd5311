//! The one shape of an error, with stable codes.

use axum::{
    Json,
    extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use crdt::{
    StoreError,
    records::{RecordError, account::ApiScope},
};
use keys::password::PasswordError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{invites::InviteRefusal, routes::characters::error::CharacterError};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    BodyInvalid(String),
    NameInvalid,
    PasswordTooShort,
    TextEmpty,
    NotSignedIn,
    NameOrPasswordWrong,
    LinkInvalid,
    NotAllowed,
    NotFound,
    NameTaken,
    NoAnswer,
    AnswerFull,
    FavouritesFull,
    ComplaintsFull,
    ComplaintDecided,
    ChatFull,
    BodyTooLarge,
    TooManyRequests { seconds: u64 },
    StorageUnavailable,
    NotAGateway,
    Timeout,
    AccountBlocked,
    NotConfirmed,
    SecondFactorRequired,
    SecondFactorWrong,
    SecondFactorMissing,
    TokenReused,
    ForeignOrigin,
    EmailInvalid,
    ConsentMissing,
    MailNotConfigured,
    Conflict,
    AddressBanned,
    KeyInvalid,
    KeyScope(ApiScope),
    KeysFull,
    NoOperator,
    InviteInvalid,
    Character(CharacterError),
}

/// The body of an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorContent,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorContent {
    /// For programs; never changes its meaning.
    #[schema(example = "name_or_password_wrong")]
    code: &'static str,
    /// For logs, in English.
    message: String,
    /// Of a name or a prompt that is taken: whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    twin: Option<NamedBody>,
}

/// Something with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NamedBody {
    pub(crate) id: String,
    #[schema(example = "Лис")]
    pub(crate) name: String,
}

impl ApiError {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::BodyInvalid(_) => "body_invalid",
            Self::NameInvalid => "name_invalid",
            Self::PasswordTooShort => "password_too_short",
            Self::TextEmpty => "text_empty",
            Self::NotSignedIn => "not_signed_in",
            Self::NameOrPasswordWrong => "name_or_password_wrong",
            Self::LinkInvalid => "link_invalid",
            Self::NotAllowed => "not_allowed",
            Self::NotFound => "not_found",
            Self::NameTaken => "name_taken",
            Self::NoAnswer => "no_answer",
            Self::AnswerFull => "answer_full",
            Self::FavouritesFull => "favourites_full",
            Self::ComplaintsFull => "complaints_full",
            Self::ComplaintDecided => "complaint_decided",
            Self::ChatFull => "chat_full",
            Self::BodyTooLarge => "body_too_large",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::StorageUnavailable => "storage_unavailable",
            Self::NotAGateway => "not_a_gateway",
            Self::Timeout => "timeout",
            Self::AccountBlocked => "account_blocked",
            Self::NotConfirmed => "not_confirmed",
            Self::SecondFactorRequired => "second_factor_required",
            Self::SecondFactorWrong => "second_factor_wrong",
            Self::SecondFactorMissing => "second_factor_missing",
            Self::TokenReused => "token_reused",
            Self::ForeignOrigin => "foreign_origin",
            Self::EmailInvalid => "email_invalid",
            Self::ConsentMissing => "consent_missing",
            Self::MailNotConfigured => "mail_not_configured",
            Self::Conflict => "conflict",
            Self::AddressBanned => "address_banned",
            Self::KeyInvalid => "invalid_api_key",
            Self::KeyScope(_) => "key_scope_missing",
            Self::KeysFull => "keys_full",
            Self::NoOperator => "no_operator",
            Self::InviteInvalid => "invite_invalid",
            Self::Character(error) => error.code(),
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::BodyInvalid(reason) => format!("The request is not what this endpoint takes: {reason}"),
            Self::NameInvalid => "A name has 2 to 50 characters and no control characters.".into(),
            Self::PasswordTooShort => "A password has at least 8 characters (and at most 1024 bytes).".into(),
            Self::TextEmpty => "A message has at least one visible character.".into(),
            Self::NotSignedIn => "There is no valid session; sign in.".into(),
            Self::NameOrPasswordWrong => "The name or the password is wrong.".into(),
            Self::LinkInvalid => "The link is unknown, expired or already used.".into(),
            Self::NotAllowed => "Your role does not allow this.".into(),
            Self::NotFound => "There is nothing here under this name.".into(),
            Self::NameTaken => "Another person has this name.".into(),
            Self::NoAnswer => "This message is no answer to a question.".into(),
            Self::AnswerFull => "The answer is as long as one may be.".into(),
            Self::FavouritesFull => "There are 50 favourites already; remove one first.".into(),
            Self::ComplaintsFull => "Twenty of your complaints wait for a decision; wait for one.".into(),
            Self::ComplaintDecided => "Somebody has decided about this complaint.".into(),
            Self::ChatFull => "This chat is as long as one may be; begin a new one.".into(),
            Self::BodyTooLarge => "The request is too large.".into(),
            Self::TooManyRequests { seconds } => format!("Too many requests; wait {seconds} seconds."),
            Self::StorageUnavailable => "The node cannot write to its disk; nothing was stored.".into(),
            Self::NotAGateway => "This node serves no people; use another node of the mesh.".into(),
            Self::Timeout => "The node did not manage this in time.".into(),
            Self::AccountBlocked => "This account is blocked; ask a moderator of your mesh.".into(),
            Self::NotConfirmed => {
                "This account is not confirmed yet: open the link in the letter, or ask an administrator.".into()
            }
            Self::SecondFactorRequired => "This needs a code from the person's authenticator app.".into(),
            Self::SecondFactorWrong => "The code is wrong, too old or already used.".into(),
            Self::SecondFactorMissing => "This needs a second factor, and the account has none yet.".into(),
            Self::TokenReused => "The refresh token was used before; the device is signed out.".into(),
            Self::ForeignOrigin => "The request comes from another page.".into(),
            Self::EmailInvalid => "This is not an e-mail address.".into(),
            Self::ConsentMissing => "Both consents must be given, to the words as they are now.".into(),
            Self::MailNotConfigured => "No mail server is configured.".into(),
            Self::Conflict => "This does not fit what is there now.".into(),
            Self::KeyInvalid => "The API key is missing, unknown, expired or taken back.".into(),
            Self::KeyScope(scope) => format!("The API key has no scope '{}'.", scope.name()),
            Self::KeysFull => "There are 20 keys already; take one back first.".into(),
            Self::AddressBanned => "Requests from this address are refused.".into(),
            Self::NoOperator => "This node is no operator: ask at the page of one that is.".into(),
            Self::InviteInvalid => "This is no invite of this mesh.".into(),
            Self::Character(error) => error.message(),
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::BodyInvalid(_)
            | Self::NameInvalid
            | Self::PasswordTooShort
            | Self::TextEmpty
            | Self::EmailInvalid
            | Self::ConsentMissing
            | Self::InviteInvalid => StatusCode::BAD_REQUEST,
            Self::NotSignedIn | Self::NameOrPasswordWrong | Self::TokenReused | Self::KeyInvalid => {
                StatusCode::UNAUTHORIZED
            }
            Self::LinkInvalid
            | Self::NotAllowed
            | Self::AccountBlocked
            | Self::NotConfirmed
            | Self::SecondFactorRequired
            | Self::SecondFactorWrong
            | Self::SecondFactorMissing
            | Self::ForeignOrigin
            | Self::KeyScope(_)
            | Self::AddressBanned => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NameTaken
            | Self::MailNotConfigured
            | Self::Conflict
            | Self::NoOperator
            | Self::NoAnswer
            | Self::AnswerFull
            | Self::FavouritesFull
            | Self::ComplaintsFull
            | Self::ComplaintDecided
            | Self::KeysFull
            | Self::ChatFull => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::StorageUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotAGateway => StatusCode::MISDIRECTED_REQUEST,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Character(error) => error.status(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let content = ErrorContent {
            code: self.code(),
            message: self.message(),
            twin: match &self {
                Self::Character(error) => error.twin().cloned(),
                _ => None,
            },
        };
        let mut response = (self.status(), Json(ErrorBody { error: content })).into_response();
        if let Self::TooManyRequests { seconds } = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::BodyTooLarge
        } else {
            Self::BodyInvalid(rejection.body_text())
        }
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::BodyTooLarge
        } else {
            Self::BodyInvalid(rejection.body_text())
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::BodyInvalid(rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::BodyInvalid(rejection.body_text())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound | StoreError::Erased => Self::NotFound,
            StoreError::Record(RecordError::Limit("name")) => Self::NameInvalid,
            StoreError::Record(RecordError::Limit("email")) => Self::EmailInvalid,
            StoreError::Record(RecordError::Full("favourites")) => Self::FavouritesFull,
            StoreError::Record(RecordError::Full("decisions")) => Self::ComplaintDecided,
            StoreError::Record(RecordError::Full("keys")) => Self::KeysFull,
            StoreError::Record(RecordError::Full("messages")) => Self::ChatFull,
            StoreError::Record(error) => Self::BodyInvalid(error.to_string()),
            error => {
                tracing::error!(%error, "the store refused");
                Self::StorageUnavailable
            }
        }
    }
}

impl From<InviteRefusal> for ApiError {
    fn from(refusal: InviteRefusal) -> Self {
        match refusal {
            InviteRefusal::NoRight => Self::NoOperator,
            InviteRefusal::NoInvite => Self::InviteInvalid,
            InviteRefusal::BadReason => Self::BodyInvalid(refusal.to_string()),
            InviteRefusal::Failed => Self::StorageUnavailable,
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::TooShort | PasswordError::TooLong => Self::PasswordTooShort,
            PasswordError::Hashing => Self::StorageUnavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented_with_its_status() {
        let document = include_str!("../API.md");
        let errors = [
            ApiError::BodyInvalid(String::new()),
            ApiError::NameInvalid,
            ApiError::PasswordTooShort,
            ApiError::TextEmpty,
            ApiError::NotSignedIn,
            ApiError::NameOrPasswordWrong,
            ApiError::LinkInvalid,
            ApiError::NotAllowed,
            ApiError::NotFound,
            ApiError::NameTaken,
            ApiError::NoAnswer,
            ApiError::AnswerFull,
            ApiError::FavouritesFull,
            ApiError::ComplaintsFull,
            ApiError::ComplaintDecided,
            ApiError::ChatFull,
            ApiError::BodyTooLarge,
            ApiError::TooManyRequests { seconds: 3 },
            ApiError::StorageUnavailable,
            ApiError::NotAGateway,
            ApiError::Timeout,
            ApiError::AccountBlocked,
            ApiError::NotConfirmed,
            ApiError::SecondFactorRequired,
            ApiError::SecondFactorWrong,
            ApiError::SecondFactorMissing,
            ApiError::TokenReused,
            ApiError::ForeignOrigin,
            ApiError::EmailInvalid,
            ApiError::ConsentMissing,
            ApiError::MailNotConfigured,
            ApiError::Conflict,
            ApiError::AddressBanned,
            ApiError::KeyInvalid,
            ApiError::KeyScope(ApiScope::Chat),
            ApiError::KeysFull,
            ApiError::NoOperator,
            ApiError::InviteInvalid,
        ];
        let errors = errors
            .into_iter()
            .chain(CharacterError::examples().map(ApiError::Character));
        for error in errors {
            let row = format!("| {} | `{}` |", error.status().as_u16(), error.code());
            assert!(document.contains(&row), "API.md has no row {row}");
        }
    }
}
