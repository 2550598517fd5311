//! Who may call which endpoint: one table, which the router enforces before any handler runs.
//!
//! An endpoint that is not in the table is answered to nobody, so a new one cannot be forgotten. `ACCESS.md` is what the table comes
//! to; a test walks every endpoint as every role and as nobody, and holds the answers against that file.

use crdt::records::account::{ApiScope, Role, Roles};

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever comes.
    Anyone,
    /// Whoever is signed in and has one of these roles.
    Roles(&'static [Role]),
    /// As [`Who::Roles`], and has shown a second factor a short while ago.
    RolesWithCode(&'static [Role]),
    /// A program with a key of this scope, in the name of whoever made the key.
    Key(ApiScope),
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) method: &'static str,
    /// As the router writes it.
    pub(crate) path: &'static str,
    pub(crate) who: Who,
}

const fn rule(method: &'static str, path: &'static str, who: Who) -> Rule {
    Rule { method, path, who }
}

/// Everyone who has an account.
const PEOPLE: Who = Who::Roles(&Role::ALL);
/// Those who look after people.
const KEEPERS: Who = Who::Roles(&[Role::Moderator, Role::Administrator]);
/// Those who make characters; each changes its own, administrators change all ([`crate::may`]).
const MAKERS: Who = Who::Roles(&[Role::Manager, Role::Administrator]);
const ADMINISTRATORS: Who = Who::Roles(&[Role::Administrator]);
/// What could be turned against the whole mesh.
const DANGEROUS: Who = Who::RolesWithCode(&[Role::Administrator]);

/// Every endpoint. Keep the lines of one part of the API together.
pub(crate) const TABLE: &[Rule] = &[
    // Coming in.
    rule("POST", "/api/v1/welcome", Who::Anyone),
    rule("POST", "/api/v1/sign-in", Who::Anyone),
    rule("POST", "/api/v1/sign-out", Who::Anyone),
    rule("POST", "/api/v1/sign-out/everywhere", PEOPLE),
    rule("POST", "/api/v1/refresh", Who::Anyone),
    rule("GET", "/api/v1/sign-up", Who::Anyone),
    rule("POST", "/api/v1/sign-up", Who::Anyone),
    rule("POST", "/api/v1/sign-up/resend", Who::Anyone),
    rule("POST", "/api/v1/sign-up/confirm", Who::Anyone),
    rule("POST", "/api/v1/password/forgot", Who::Anyone),
    rule("POST", "/api/v1/password/reset", Who::Anyone),
    rule("GET", "/api/v1/erasures/{id}", Who::Anyone),
    rule("GET", "/api/v1/erasures/{id}/act", Who::Anyone),
    // Oneself.
    rule("GET", "/api/v1/me", PEOPLE),
    rule("GET", "/api/v1/account", PEOPLE),
    rule("GET", "/api/v1/account/devices", PEOPLE),
    rule("DELETE", "/api/v1/account/devices/{id}", PEOPLE),
    rule("POST", "/api/v1/account/password", PEOPLE),
    rule("GET", "/api/v1/account/consents", PEOPLE),
    rule("POST", "/api/v1/account/second-factor/begin", PEOPLE),
    rule("PUT", "/api/v1/account/second-factor", PEOPLE),
    rule("POST", "/api/v1/account/second-factor/show", PEOPLE),
    rule("POST", "/api/v1/account/second-factor/remove", PEOPLE),
    rule("GET", "/api/v1/account/export", PEOPLE),
    rule("POST", "/api/v1/account/delete", PEOPLE),
    rule("GET", "/api/v1/account/warnings", PEOPLE),
    rule("GET", "/api/v1/keys", PEOPLE),
    rule("POST", "/api/v1/keys", PEOPLE),
    rule("DELETE", "/api/v1/keys/{id}", PEOPLE),
    // Other people.
    rule("POST", "/api/v1/people/links", ADMINISTRATORS),
    rule("GET", "/api/v1/people", KEEPERS),
    rule("GET", "/api/v1/people/{id}", KEEPERS),
    rule("POST", "/api/v1/people/{id}/block", KEEPERS),
    rule("POST", "/api/v1/people/{id}/approve", ADMINISTRATORS),
    rule("PUT", "/api/v1/people/{id}/roles", DANGEROUS),
    rule("POST", "/api/v1/people/{id}/reset-link", DANGEROUS),
    rule("DELETE", "/api/v1/people/{id}/second-factor", DANGEROUS),
    // What is wrong.
    rule("POST", "/api/v1/complaints", PEOPLE),
    rule("GET", "/api/v1/complaints/mine", PEOPLE),
    rule("GET", "/api/v1/complaints", KEEPERS),
    rule("GET", "/api/v1/complaints/{id}", KEEPERS),
    rule("POST", "/api/v1/complaints/{id}/take", KEEPERS),
    rule("POST", "/api/v1/complaints/{id}/decide", KEEPERS),
    // The whole mesh.
    rule("GET", "/api/v1/invites", ADMINISTRATORS),
    rule("POST", "/api/v1/invites", DANGEROUS),
    rule("POST", "/api/v1/invites/revoke", DANGEROUS),
    rule("GET", "/api/v1/settings", ADMINISTRATORS),
    rule("PUT", "/api/v1/settings", DANGEROUS),
    rule("POST", "/api/v1/settings/test-mail", ADMINISTRATORS),
    rule("GET", "/api/v1/bans", ADMINISTRATORS),
    rule("POST", "/api/v1/bans", ADMINISTRATORS),
    rule("DELETE", "/api/v1/bans/{address}", ADMINISTRATORS),
    rule("GET", "/api/v1/audit", ADMINISTRATORS),
    rule("GET", "/api/v1/audit/export", ADMINISTRATORS),
    // Characters and chats.
    rule("GET", "/api/v1/characters", PEOPLE),
    rule("POST", "/api/v1/characters", MAKERS),
    rule("POST", "/api/v1/characters/import", MAKERS),
    rule("GET", "/api/v1/characters/{id}", MAKERS),
    rule("PATCH", "/api/v1/characters/{id}", MAKERS),
    rule("DELETE", "/api/v1/characters/{id}", MAKERS),
    rule("GET", "/api/v1/characters/{id}/avatar", PEOPLE),
    rule("PUT", "/api/v1/characters/{id}/avatar", MAKERS),
    rule("GET", "/api/v1/characters/{id}/card", MAKERS),
    rule("POST", "/api/v1/characters/{id}/publish", MAKERS),
    rule("POST", "/api/v1/characters/{id}/withdraw", MAKERS),
    rule("GET", "/api/v1/characters/{id}/versions", MAKERS),
    rule("GET", "/api/v1/characters/{id}/difference", MAKERS),
    rule("POST", "/api/v1/characters/{id}/roll-back", MAKERS),
    rule("POST", "/api/v1/characters/{id}/trial", MAKERS),
    rule("GET", "/api/v1/sessions", PEOPLE),
    rule("POST", "/api/v1/sessions", PEOPLE),
    rule("GET", "/api/v1/sessions/{id}", PEOPLE),
    rule("PATCH", "/api/v1/sessions/{id}", PEOPLE),
    rule("PATCH", "/api/v1/sessions/{id}/messages/{message}", PEOPLE),
    rule("GET", "/api/v1/sessions/{id}/messages/{message}/choice", PEOPLE),
    rule("POST", "/api/v1/sessions/{id}/messages/{message}/answers", PEOPLE),
    rule("POST", "/api/v1/sessions/{id}/messages/{message}/continuation", PEOPLE),
    rule("POST", "/api/v1/sessions/{id}/messages/{message}/edits", PEOPLE),
    rule("GET", "/api/v1/sessions/{id}/summaries", PEOPLE),
    rule("PUT", "/api/v1/sessions/{id}/summaries/{last}", PEOPLE),
    rule("GET", "/api/v1/favourites", PEOPLE),
    rule("PUT", "/api/v1/favourites/{session}/{message}", PEOPLE),
    rule("DELETE", "/api/v1/favourites/{session}/{message}", PEOPLE),
    rule("GET", "/api/v1/search", PEOPLE),
    rule("GET", "/api/v1/ws", PEOPLE),
    // Machines.
    rule("GET", "/api/v1/mesh", PEOPLE),
    rule("GET", "/api/v1/mesh/breakers", ADMINISTRATORS),
    rule("GET", "/api/v1/gateways", PEOPLE),
    // Programs.
    rule("GET", "/v1/models", Who::Key(ApiScope::Models)),
    rule("GET", "/v1/models/{model}", Who::Key(ApiScope::Models)),
    rule("POST", "/v1/chat/completions", Who::Key(ApiScope::Chat)),
    rule("POST", "/v1/completions", Who::Key(ApiScope::Chat)),
    rule("POST", "/v1/embeddings", Who::Key(ApiScope::Embeddings)),
];

/// The table's word on an endpoint; `None` when it is not in it.
pub(crate) fn find(method: &str, path: &str) -> Option<Who> {
    // A HEAD is a GET without the body.
    let method = if method == "HEAD" { "GET" } else { method };
    let found = TABLE.iter().find(|rule| rule.method == method && rule.path == path);
    found.map(|rule| rule.who)
}

/// Whether a person with these roles is among those who may.
pub(crate) fn includes(wanted: &[Role], roles: &Roles) -> bool {
    wanted.iter().any(|role| roles.contains(*role))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_and_the_contract_name_the_same_endpoints() {
        let contract: serde_json::Value = serde_json::from_str(&crate::openapi()).unwrap();
        let mut documented = BTreeSet::from([("GET".to_owned(), "/api/v1/ws".to_owned())]);
        for (path, operations) in contract["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                documented.insert((method.to_uppercase(), path.clone()));
            }
        }
        let ruled: BTreeSet<_> = TABLE
            .iter()
            .map(|rule| (rule.method.to_owned(), rule.path.to_owned()))
            .collect();
        assert_eq!(ruled.len(), TABLE.len(), "each endpoint stands in one line");
        let missing: Vec<_> = documented.symmetric_difference(&ruled).collect();
        assert!(missing.is_empty(), "in one of the two only: {missing:?}");
    }

    #[test]
    fn what_is_not_in_the_table_has_no_answer() {
        assert_eq!(find("GET", "/api/v1/me"), Some(PEOPLE));
        assert_eq!(find("HEAD", "/api/v1/me"), Some(PEOPLE));
        assert_eq!(find("DELETE", "/api/v1/me"), None);
        assert_eq!(find("GET", "/api/v1/nothing"), None);
        assert!(includes(&[Role::Moderator], &Roles::of(Role::Moderator)));
        assert!(
            !includes(&Role::ALL, &Roles::default()),
            "who is not confirmed has no role"
        );
    }
}
