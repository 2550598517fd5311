//! What the model is told instead of older messages: shown to the person, and in the person's words if the person likes.

pub(crate) mod list;
pub(crate) mod put;

use crdt::records::session::{Summary, SummaryOrigin};
use serde::Serialize;
use utoipa::ToSchema;

/// What stands for a range of messages.
#[derive(Serialize, ToSchema)]
pub(crate) struct SummaryBody {
    /// The first message that it covers.
    first_id: String,
    /// The last message that it covers.
    last_id: String,
    /// `extract` (sentences of the messages), `model` or `person`.
    origin: &'static str,
    text: String,
}

impl From<&Summary> for SummaryBody {
    fn from(summary: &Summary) -> Self {
        Self {
            first_id: summary.first.to_string(),
            last_id: summary.last.to_string(),
            origin: match summary.origin {
                SummaryOrigin::Extract => "extract",
                SummaryOrigin::Model => "model",
                SummaryOrigin::Person => "person",
            },
            text: summary.text.text().to_owned(),
        }
    }
}
