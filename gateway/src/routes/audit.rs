//! The log of what was done by whom.

pub(crate) mod export;
pub(crate) mod list;

use crdt::records::audit::AuditEvent;
use keys::ContentId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, error::ApiError};

/// Something that was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct ActBody {
    /// Milliseconds since the Unix epoch.
    at: u64,
    /// The account of whoever did it; `null` for what the node did by itself.
    by: Option<String>,
    /// The name that this account has now; left out when it is gone, and in an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Рита")]
    by_name: Option<String>,
    #[schema(example = "account.block")]
    action: String,
    subject: String,
    /// The name that the subject has now, where it is an account; left out when it is gone, and in an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_name: Option<String>,
    address: String,
    device: String,
    detail: String,
    /// The node that saw to it.
    node: Option<String>,
}

impl ActBody {
    pub(crate) fn of(event: &AuditEvent, node: Option<String>) -> Self {
        Self {
            at: event.at.0,
            by: event.by.map(|by| by.to_string()),
            by_name: None,
            action: event.action.clone(),
            subject: event.subject.clone(),
            subject_name: None,
            address: event.address.clone(),
            device: event.device.clone(),
            detail: event.detail.clone(),
            node,
        }
    }

    /// With the names that the accounts have now. Ids alone are in the log: who is erased leaves no name behind.
    pub(crate) async fn with_names(self, app: &App) -> Result<Self, ApiError> {
        Ok(Self {
            by_name: name_of(app, self.by.as_deref()).await?,
            subject_name: name_of(app, Some(&self.subject)).await?,
            ..self
        })
    }
}

async fn name_of(app: &App, id: Option<&str>) -> Result<Option<String>, ApiError> {
    match id.and_then(ContentId::parse) {
        Some(id) => Ok(app.people.name(id).await?),
        None => Ok(None),
    }
}
