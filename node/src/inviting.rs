//! Invites that a running node makes and takes back for its administrators; on the command line `starling invite` and `starling revoke`
//! do the same.

use std::collections::BTreeMap;

use gateway::{InviteFate, InviteGrant, InviteNamed, InviteRefusal, InviteWish, InvitedNode, MadeInvite};
use keys::{
    NodeId, NodeKey, Timestamp,
    invite::Invite,
    membership::{Decree, Evidence, MembershipError, Proof, Roster, Target},
};

use crate::{
    commands::invite::{self, InviteError, Known, Terms},
    data_directory::DataDirectoryError,
    node::Node,
};

fn failed(error: &dyn std::fmt::Display) -> InviteRefusal {
    tracing::error!(%error, "an invite that was asked for on the page");
    InviteRefusal::Failed
}

/// What the roster knows of invites: who came in by each, and which were taken back.
pub(crate) fn fates(roster: &Roster) -> Vec<InviteFate> {
    let mut fates: BTreeMap<NodeId, InviteFate> = BTreeMap::new();
    let unknown = |ticket| InviteFate {
        ticket,
        grant: None,
        used_by: Vec::new(),
        revoked: None,
    };
    for certificate in roster.certificates() {
        let Proof::Ticket {
            grant,
            redemption,
            admission,
        } = &certificate.proof
        else {
            continue;
        };
        // What is in the roster was verified. A grant may be of an older version, and only opening it tells.
        let (Ok(grant), Ok(redemption), Ok(admission)) =
            (grant.open(), redemption.unverified(), admission.unverified())
        else {
            continue;
        };
        let fate = fates.entry(grant.ticket).or_insert_with(|| unknown(grant.ticket));
        fate.grant = Some(InviteGrant {
            uses: grant.uses_max,
            roles: grant.roles,
            expires: grant.expires,
        });
        fate.used_by.push(InvitedNode {
            node: redemption.node,
            name: redemption.name,
            at: admission.at,
        });
    }
    for (_, revocation) in roster.revocations() {
        if let Target::Ticket(ticket) = revocation.target {
            let fate = fates.entry(ticket).or_insert_with(|| unknown(ticket));
            fate.revoked = Some(revocation.at);
        }
    }
    let mut fates: Vec<InviteFate> = fates.into_values().collect();
    for fate in &mut fates {
        fate.used_by.sort_by_key(|used| (used.node, used.at));
        // Two members may have admitted a node that asked both.
        fate.used_by.dedup_by_key(|used| used.node);
        fate.used_by.sort_by_key(|used| (used.at, used.node));
    }
    fates
}

impl Node {
    /// Signs an invite that names this node.
    ///
    /// # Errors
    /// When this node has no right to, or its disk fails.
    pub(crate) async fn invite(&self, wish: InviteWish) -> Result<MadeInvite, InviteRefusal> {
        let terms = Terms {
            uses: wish.uses,
            expires: format!("{}m", wish.minutes).parse().map_err(|error| failed(&error))?,
            roles: wish.roles,
            residency: wish.residency,
        };
        let (node, known) = (self.clone(), Known::of(self.mesh()).await);
        let issue = move || invite::issue(node.directory(), node.config(), &known, &terms);
        // Keys and roster are read from the disk.
        let issued = tokio::task::spawn_blocking(issue)
            .await
            .map_err(|error| failed(&error))?;
        let text = issued.map_err(|error| match error {
            InviteError::NoRight | InviteError::RootOnly => InviteRefusal::NoRight,
            error => failed(&error),
        })?;
        let invite = Invite::parse(&text).map_err(|error| failed(&error))?;
        Ok(MadeInvite {
            ticket: invite.ticket(),
            expires: invite.expires(),
            text,
        })
    }

    /// Puts an invite out; its name.
    ///
    /// # Errors
    /// When it is none of this mesh, the reason is too long, this node has no right to, or its disk fails.
    pub(crate) async fn revoke_invite(&self, named: InviteNamed, reason: String) -> Result<NodeId, InviteRefusal> {
        let ticket = match named {
            InviteNamed::Ticket(ticket) => ticket,
            InviteNamed::Text(text) => match Invite::parse(&text) {
                Ok(invite) if invite.mesh == self.mesh_id() => invite.ticket(),
                _ => return Err(InviteRefusal::NoInvite),
            },
        };
        let decrees = self.revocation(ticket, &reason).await?;
        let texts: Vec<String> = decrees
            .into_iter()
            .map(|decree| Evidence::Decree(decree).to_text())
            .collect();
        self.decide(&texts).await.map_err(|error| failed(&error))?;
        Ok(ticket)
    }

    /// Signed with the first key at hand that has the right; the own one first.
    async fn revocation(&self, ticket: NodeId, reason: &str) -> Result<Vec<Decree>, InviteRefusal> {
        let directory = self.directory().clone();
        let root = tokio::task::spawn_blocking(move || directory.root_key()).await;
        let root: Result<Option<NodeKey>, DataDirectoryError> = root.map_err(|error| failed(&error))?;
        let keys = [Some(self.key().clone()), root.map_err(|error| failed(&error))?];
        let (roster, now) = (self.mesh().roster(), Timestamp::now());
        for key in keys.into_iter().flatten() {
            match roster.revoke(&key, Target::Ticket(ticket), reason, now) {
                Err(MembershipError::NotAllowed) => {}
                Err(MembershipError::BadReason) => return Err(InviteRefusal::BadReason),
                result => return result.map_err(|error| failed(&error)),
            }
        }
        Err(InviteRefusal::NoRight)
    }
}
