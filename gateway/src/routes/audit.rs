//! The log of what was done by whom.

pub(crate) mod export;
pub(crate) mod list;

use crdt::records::audit::AuditEvent;
use serde::Serialize;
use utoipa::ToSchema;

/// Something that was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct ActBody {
    /// Milliseconds since the Unix epoch.
    at: u64,
    /// The account of whoever did it; `null` for what the node did by itself.
    by: Option<String>,
    #[schema(example = "account.block")]
    action: String,
    subject: String,
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
            action: event.action.clone(),
            subject: event.subject.clone(),
            address: event.address.clone(),
            device: event.device.clone(),
            detail: event.detail.clone(),
            node,
        }
    }
}
