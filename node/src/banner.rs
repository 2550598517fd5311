//! What a person reads when a node is up: where the page is, who is the first administrator, how to add a node.

use std::fmt::Write as _;

use keys::membership::Roles;

use crate::{commands::invite, hints, node::Node, standing};

/// Where to go, or why nobody comes here.
fn opening(roles: Option<Roles>, page: &str) -> String {
    match (standing::serves_nobody(roles), roles) {
        (None, _) => format!("\nStarling is up.\n\n  Open            {page}\n"),
        (Some(_), Some(roles)) => format!(
            "\nStarling is up.\n\n  This node is {roles}: it serves no people. Open the page of a node with the role gateway.\n"
        ),
        (Some(_), None) => {
            "\nStarling runs, but this node is a member of its mesh no longer; see: starling members\n".to_owned()
        }
    }
}

/// The lines printed to standard output once the node is up.
pub async fn text(node: &Node) -> String {
    let page = node.config().gateway.page();
    let roster = node.mesh().roster();
    let roles = roster.get(&node.key().id()).map(|member| member.roles);
    let mut text = opening(roles, &page);
    let has_administrator = gateway::has_administrator(node.store()).await.unwrap_or(true);
    // A node that has just joined learns of an administrator within seconds; only the first node makes the first one.
    let is_first = standing::is_founder(&roster, &node.key().id());
    if !has_administrator
        && is_first
        && let Some(path) = gateway::first_administrator_path(node.key(), node.mesh_id())
    {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n  You are the first. This one-time link makes you the administrator (valid for 24 hours):\n\n    {page}{path}\n"
        );
    }
    text.push_str(&growing(node, roster.members().nth(1).is_none()).await);
    text
}

/// How a node is added. A ready invite is printed only where it is surely wanted, on the first node while it is alone: later starts would
/// leave a key to the mesh in each log and scroll-back.
async fn growing(node: &Node, is_alone: bool) -> String {
    if !is_alone {
        return match invite::may(node.directory(), &node.mesh().roster()) {
            Ok(true) => format!("\n  To add another node, make an invite: {}\n", hints::here("invite")),
            // Only the node with the root key, and operators, invite.
            Ok(false) => String::new(),
            Err(error) => no_invite(&error),
        };
    }
    let known = invite::Known::of(node.mesh()).await;
    match invite::issue(node.directory(), node.config(), &known, &invite::Terms::default()) {
        Ok(invite) => {
            let command = hints::launcher();
            format!(
                "\n  To add a second node, run these two commands on the other machine (the invite is valid for one hour and one node):\n\n    \
                 {command} join {invite}\n    {command} run\n\n  \
                 To try it on this machine, put a data directory of its own before each: STARLING_DATA_DIR=$HOME/starling-2\n"
            )
        }
        Err(invite::InviteError::NoRight) => String::new(),
        Err(error) => no_invite(&error),
    }
}

fn no_invite(error: &invite::InviteError) -> String {
    format!("\n  (No invite: {error})\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gateway_sends_people_to_its_page() {
        let page = "http://127.0.0.1:8080";
        let said = |roles: &str| opening(Some(roles.parse().unwrap()), page);
        assert!(said("gateway,worker").contains("Open            http://127.0.0.1:8080"));
        for roles in ["worker", "storage"] {
            let said = said(roles);
            assert!(
                !said.contains("http") && said.contains(&format!("This node is {roles}")),
                "{said}"
            );
        }
        assert!(opening(None, page).contains("no longer"));
    }
}
