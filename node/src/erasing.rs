//! Erasure as an operator asks for it: by a person's name or a chat's id, with the receipts of every node.

use std::time::Duration;

use crdt::{
    StoreError,
    erasure::{EraseTarget, Erasure},
    records::account::{Account, folded_name},
};
use keys::{ContentId, membership::Roles};
use tokio::time::Instant;

use crate::{
    control::{EraseRequest, ErasureStatus, ReceiptStatus},
    hints::here,
    node::Node,
};

/// How long an answer waits for the nodes that are linked with this one, from the question on: less than whoever asks waits.
const RECEIPTS_WAIT: Duration = Duration::from_secs(3);
/// How often it looks.
const RECEIPTS_LOOK: Duration = Duration::from_millis(100);
/// So many nodes are named where any would do.
const NAMES_SAID: usize = 5;

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nobody is called so.
    #[error(
        "there is no account called {0:?} on this node; \"{status}\" shows whether the other nodes are connected",
        status = here("status")
    )]
    NoAccount(String),
    /// It keeps none.
    #[error("this node keeps no accounts and no chats: it is {roles}. Say it on one that does: {elsewhere}")]
    KeepsNone {
        /// What it is.
        roles: Roles,
        /// Where it can be said.
        elsewhere: String,
    },
    /// Not an id.
    #[error("{0:?} is not an id: 64 hexadecimal digits, as in the address of the chat's page")]
    NotAnId(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Node {
    /// Has something forgotten on every node; returns when it is done on this one.
    ///
    /// # Errors
    /// When it is not known here, or the disk refuses.
    pub async fn erase(&self, what: &EraseRequest) -> Result<ErasureStatus, EraseError> {
        let deadline = Instant::now() + RECEIPTS_WAIT;
        self.check_keeps_accounts()?;
        let target = match what {
            EraseRequest::Account(name) => {
                let accounts = self.store().list::<Account>().await?;
                let wanted = folded_name(name);
                let found = accounts
                    .into_iter()
                    .find(|(_, account)| folded_name(account.name.text()) == wanted);
                let (id, _) = found.ok_or_else(|| EraseError::NoAccount(name.clone()))?;
                EraseTarget::Account(id)
            }
            EraseRequest::Session(id) => {
                let id = ContentId::parse(id).ok_or_else(|| EraseError::NotAnId(id.clone()))?;
                EraseTarget::Document(id)
            }
        };
        let id = self.store().erase(target).await?;
        let name = match what {
            EraseRequest::Account(name) => Some(name.clone()),
            EraseRequest::Session(_) => None,
        };
        let erasure = self.wait_for_receipts(&id, deadline).await?;
        Ok(ErasureStatus {
            name,
            ..self.erasure_status(erasure)
        })
    }

    fn check_keeps_accounts(&self) -> Result<(), EraseError> {
        let roster = self.mesh().roster();
        let own = roster.get(&self.key().id()).map(|member| member.roles);
        match own.filter(|roles| !roles.holds_data_keys()) {
            None => Ok(()),
            Some(roles) => {
                let keepers = roster.members().filter(|member| member.roles.holds_data_keys());
                let names: Vec<_> = keepers.take(NAMES_SAID).map(|member| member.name.as_str()).collect();
                let elsewhere = names.join(", ");
                Err(EraseError::KeepsNone { roles, elsewhere })
            }
        }
    }

    /// Gives the nodes that are linked with this one a moment to say that it is done there, too.
    async fn wait_for_receipts(&self, id: &ContentId, deadline: Instant) -> Result<Erasure, EraseError> {
        let mut look = tokio::time::interval(RECEIPTS_LOOK);
        loop {
            look.tick().await;
            let erasures = self.store().erasures().await?;
            let erasure = erasures.into_iter().find(|erasure| erasure.id == *id);
            let erasure = erasure.ok_or(StoreError::NotFound)?;
            let view = self.mesh().view();
            let is_done = view
                .borrow()
                .reachable()
                .all(|(node, _)| erasure.receipts.contains_key(node));
            if is_done || Instant::now() >= deadline {
                return Ok(erasure);
            }
        }
    }

    /// Everything that was erased, with what each node said of it.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn erasures(&self) -> Result<Vec<ErasureStatus>, EraseError> {
        let erasures = self.store().erasures().await?;
        Ok(erasures
            .into_iter()
            .map(|erasure| self.erasure_status(erasure))
            .collect())
    }

    fn erasure_status(&self, erasure: Erasure) -> ErasureStatus {
        let (what, subject) = match erasure.erase.target {
            EraseTarget::Account(id) => ("account", id),
            EraseTarget::Document(id) => ("document", id),
            EraseTarget::Message { document, .. } => ("message", document),
        };
        let roster = self.mesh().roster();
        let waiting = roster
            .members()
            .filter(|member| !erasure.receipts.contains_key(&member.node));
        ErasureStatus {
            id: erasure.id.to_string(),
            what: what.to_owned(),
            subject: subject.to_string(),
            name: None,
            at: erasure.erase.at.0,
            waiting_for: waiting.map(|member| member.name.clone()).collect(),
            receipts: erasure
                .receipts
                .iter()
                .map(|(node, receipt)| ReceiptStatus {
                    node: self.name_of(node),
                    at: receipt.at.0,
                    envelopes: receipt.envelopes,
                    keys: receipt.keys,
                })
                .collect(),
        }
    }
}
