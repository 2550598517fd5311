//! `GET /api/v1/invites`: invites that were made before, and what became of them, the newest first.
//!
//! An invite is kept nowhere. What the page made is in the audit log; by whom one was used and whether it was taken back is in the roster
//! of the mesh, also of those that were made on the command line. So what is missing is an invite of the command line that nobody used.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use crdt::records::audit::Audit;
use keys::{ContentId, NodeId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    invites::{InviteFate, InviteGrant, InvitedNode, granted},
    routes::{
        Json, Query,
        complaints::WhoBody,
        page::{PageQuery, newest_first, page},
    },
};

/// A page of invites.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitesAnswer {
    invites: Vec<InviteBody>,
    /// Where the next page begins; `null` behind the last one.
    next: Option<String>,
}

/// What is known of an invite.
#[derive(Serialize, ToSchema)]
pub(crate) struct InviteBody {
    /// Names it, to take it back; nobody can join with this.
    id: String,
    /// `open`, `used` (as often as it may be), `expired` or `revoked`.
    #[schema(example = "open")]
    state: &'static str,
    /// What machines that join with it may do; `null` when that is not known.
    #[schema(example = "gateway,worker,relay,storage")]
    roles: Option<String>,
    /// How many may join with it.
    uses: Option<u32>,
    used_by: Vec<UsedBody>,
    /// Milliseconds since the Unix epoch; `null` when it was made on the command line.
    made_at: Option<u64>,
    made_by: Option<WhoBody>,
    expires_at: Option<u64>,
    revoked_at: Option<u64>,
}

/// A machine that came in.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsedBody {
    id: String,
    #[schema(example = "pc-home")]
    name: String,
    /// Milliseconds since the Unix epoch.
    at: u64,
}

/// An invite before names are looked up.
#[derive(Default)]
struct Known {
    made: Option<(Timestamp, Option<ContentId>)>,
    grant: Option<InviteGrant>,
    used_by: Vec<InvitedNode>,
    revoked: Option<Timestamp>,
}

#[utoipa::path(get, path = "/api/v1/invites", params(PageQuery), responses(
    (status = 200, body = InvitesAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    _person: Person,
    Query(query): Query<PageQuery>,
) -> Result<Json<InvitesAnswer>, ApiError> {
    let mut known: BTreeMap<NodeId, Known> = BTreeMap::new();
    for (_, chain) in app.store.list::<Audit>().await? {
        let made = chain.entries.iter().filter(|entry| entry.event.action == "invite.make");
        for event in made.map(|entry| &entry.event) {
            let Some(ticket) = NodeId::parse(&event.subject) else {
                continue;
            };
            let invite = known.entry(ticket).or_default();
            invite.made = Some((event.at, event.by));
            invite.grant = granted(&event.detail, event.at);
        }
    }
    for fate in app.surroundings.invites() {
        known.entry(fate.ticket).or_default().take(fate);
    }
    let mut known: Vec<(NodeId, Known)> = known.into_iter().collect();
    known.sort_by_cached_key(cursor);
    let (known, next) = page(known, &query, cursor)?;
    let mut invites = Vec::with_capacity(known.len());
    for (ticket, invite) in known {
        invites.push(invite.body(&app, ticket).await?);
    }
    Ok(Json(InvitesAnswer { invites, next }))
}

impl Known {
    /// What was signed goes before what the log says.
    fn take(&mut self, fate: InviteFate) {
        self.grant = fate.grant.or_else(|| self.grant.take());
        self.used_by = fate.used_by;
        self.revoked = fate.revoked;
    }

    fn state(&self, now: Timestamp) -> &'static str {
        let uses = self.grant.as_ref().map(|grant| grant.uses as usize);
        if self.revoked.is_some() {
            "revoked"
        } else if uses.is_some_and(|uses| self.used_by.len() >= uses) {
            "used"
        } else if self.grant.as_ref().is_some_and(|grant| grant.expires <= now) {
            "expired"
        } else {
            "open"
        }
    }

    /// When something was first heard of it.
    fn since(&self) -> Timestamp {
        let made = self.made.map(|(at, _)| at);
        let used = self.used_by.first().map(|used| used.at);
        made.or(used).or(self.revoked).unwrap_or(Timestamp(0))
    }

    async fn body(self, app: &App, ticket: NodeId) -> Result<InviteBody, ApiError> {
        let made_by = match self.made {
            Some((_, Some(by))) => Some(WhoBody::of(app, by).await?),
            _ => None,
        };
        let used_by = self.used_by.iter().map(|used| UsedBody {
            id: used.node.to_string(),
            name: used.name.clone(),
            at: used.at.0,
        });
        Ok(InviteBody {
            id: ticket.to_string(),
            state: self.state(Timestamp::now()),
            roles: self.grant.as_ref().map(|grant| grant.roles.to_string()),
            uses: self.grant.as_ref().map(|grant| grant.uses),
            used_by: used_by.collect(),
            made_at: self.made.map(|(at, _)| at.0),
            made_by,
            expires_at: self.grant.as_ref().map(|grant| grant.expires.0),
            revoked_at: self.revoked.map(|at| at.0),
        })
    }
}

fn cursor((ticket, invite): &(NodeId, Known)) -> String {
    newest_first(invite.since(), ticket)
}

#[cfg(test)]
mod tests {
    use keys::membership::Roles;

    use super::*;

    // Red when: an invite that was taken back, used up or has ended is shown as one with which a machine can still join.
    #[test]
    fn an_invite_is_open_until_it_is_used_up_ended_or_taken_back() {
        let used = InvitedNode {
            node: NodeId([1; 32]),
            name: "machine".into(),
            at: Timestamp(5),
        };
        let mut invite = Known {
            made: None,
            grant: Some(InviteGrant {
                uses: 2,
                roles: Roles::WORKER,
                expires: Timestamp(100),
            }),
            used_by: vec![used.clone()],
            revoked: None,
        };
        assert_eq!(
            [invite.state(Timestamp(99)), invite.state(Timestamp(100))],
            ["open", "expired"]
        );
        invite.used_by.push(used);
        assert_eq!(invite.state(Timestamp(100)), "used");
        invite.revoked = Some(Timestamp(7));
        assert_eq!(invite.state(Timestamp(0)), "revoked");
        assert_eq!(invite.since(), Timestamp(5));
        assert_eq!(Known::default().state(Timestamp(0)), "open");
    }
}
