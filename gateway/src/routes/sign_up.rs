//! Asking for an account, and confirming the address.

pub(crate) mod ask;
pub(crate) mod confirm;
pub(crate) mod resend;
pub(crate) mod terms;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, limits::LETTER_AGAIN_MILLISECONDS};

/// How an account is confirmed: by `mail` or by an `administrator`.
pub(crate) fn confirmed_by(app: &App) -> &'static str {
    if app.policies.current().site_for_letters().is_some() {
        "mail"
    } else {
        "administrator"
    }
}

/// What happens next. The same for an address that is known and for one that is not.
#[derive(Serialize, ToSchema)]
pub(crate) struct NextAnswer {
    /// `mail`: a letter with a link is on the way. `administrator`: no mail server is configured, and one has to approve.
    #[schema(example = "mail")]
    confirmed_by: &'static str,
    /// Another letter can be asked for after this.
    resend_after_seconds: u64,
}

impl NextAnswer {
    pub(crate) fn of(app: &App) -> Self {
        Self {
            confirmed_by: confirmed_by(app),
            resend_after_seconds: LETTER_AGAIN_MILLISECONDS / 1000,
        }
    }
}
