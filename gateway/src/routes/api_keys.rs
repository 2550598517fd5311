//! Keys with which a person's programs ask for answers: made, listed and taken back by the person alone.

pub(crate) mod list;
pub(crate) mod make;
pub(crate) mod revoke;

use crdt::records::account::{AccountApiKey, ApiScope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScopeBody {
    Models,
    Chat,
    Embeddings,
    Metrics,
}

impl From<ApiScope> for ScopeBody {
    fn from(scope: ApiScope) -> Self {
        match scope {
            ApiScope::Models => Self::Models,
            ApiScope::Chat => Self::Chat,
            ApiScope::Embeddings => Self::Embeddings,
            ApiScope::Metrics => Self::Metrics,
        }
    }
}

impl From<ScopeBody> for ApiScope {
    fn from(scope: ScopeBody) -> Self {
        match scope {
            ScopeBody::Models => Self::Models,
            ScopeBody::Chat => Self::Chat,
            ScopeBody::Embeddings => Self::Embeddings,
            ScopeBody::Metrics => Self::Metrics,
        }
    }
}

/// A key without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyBody {
    id: String,
    #[schema(example = "a script")]
    label: String,
    scopes: Vec<ScopeBody>,
    /// Milliseconds since the Unix epoch.
    created_at: u64,
    /// `null` when it lasts until it is taken back.
    expires_at: Option<u64>,
}

impl From<&AccountApiKey> for KeyBody {
    fn from(key: &AccountApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            label: key.label.text().to_owned(),
            scopes: key.scopes.iter().map(ScopeBody::from).collect(),
            created_at: key.id.at().0,
            expires_at: key.expires.map(|expires| expires.0),
        }
    }
}
