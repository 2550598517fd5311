//! Erasure as an operator asks for it: by a person's name or a chat's id, with the receipts of every node.

use crdt::{
    StoreError,
    erasure::{EraseTarget, Erasure},
    records::account::{Account, folded_name},
};
use keys::ContentId;

use crate::{
    control::{EraseRequest, ErasureStatus, ReceiptStatus},
    node::Node,
};

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nobody is called so.
    #[error("there is no account called {0:?} on this node; ./x status shows whether the other nodes are connected")]
    NoAccount(String),
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
        let erasures = self.store().erasures().await?;
        let erasure = erasures.into_iter().find(|erasure| erasure.id == id);
        Ok(self.erasure_status(erasure.ok_or(StoreError::NotFound)?))
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
