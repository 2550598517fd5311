//! Erasure: signed statements that something must be forgotten, and what follows from the set of them.
//!
//! An [`Erase`] names an account, a document or one message. It is a member's signed statement in a lane of its own, which is
//! reconciled *before* the changes, so that a node that was away learns what must not come back before it offers or takes anything.
//! The statement stays for ever as the tombstone (about 200 bytes). A node that has carried an erasure out (envelopes dropped or
//! stripped, segments rewritten, keys destroyed) says so with a signed [`Receipt`].
//!
//! What an erasure covers is a function of the statement and the envelope alone, so all nodes drop the same, whatever they held
//! and in whatever order it came: a document by its id or by the owner that its first envelope names, a message's texts, versions
//! and summaries by what the changes that write them say (`records/session/texts.rs`). A node that knows of the erasure cannot
//! write them again; one that did not is stripped of them wherever they come in. Whoever may write may erase: gateways act for people, and what they did is signed.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use keys::{ContentId, NodeId, NodeKey, Payload, Signed, SignedError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{group::Group, limits::STATEMENT_BYTES_MAX, rebase::Rebase, records::session::MessageId};

/// First byte of a signed erasure in the journal and on the wire; envelopes begin with 1 or 2.
const ERASE: u8 = 3;
/// First byte of a signed receipt.
const RECEIPT: u8 = 4;
/// First byte of a signed rebase: what may go because it counts no more is agreed upon with what must go.
const REBASE: u8 = 5;

/// What shall be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EraseTarget {
    /// A person: the account's document, every document it owns, and its data keys.
    Account(ContentId),
    /// One document, for example a session.
    Document(ContentId),
    /// One message of a session with all its versions; the place in the conversation stays, the text goes. Of a complaint: all that it
    /// copied; what was complained of and decided stays.
    Message {
        /// The session, or the complaint.
        document: ContentId,
        /// The message, or the last decision.
        message: MessageId,
    },
}

impl EraseTarget {
    /// The account or document it is about.
    #[must_use]
    pub const fn subject(&self) -> ContentId {
        match self {
            Self::Account(id) | Self::Document(id) | Self::Message { document: id, .. } => *id,
        }
    }
}

/// The statement that something must be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erase {
    /// What.
    pub target: EraseTarget,
    /// When it was asked for, by the clock of the signing node; shown, never judged.
    pub at: Timestamp,
}

impl Payload for Erase {
    const DOMAIN: &'static str = "starling/erase/1";
}

/// The statement that a node has carried an erasure out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Content id of the erasure's exact bytes.
    pub erase: ContentId,
    /// What it was about, so that the receipt lies beside it in the set.
    pub subject: ContentId,
    /// When, by the node's clock.
    pub at: Timestamp,
    /// Envelopes that were dropped or lost their texts.
    pub envelopes: u64,
    /// Data keys that were destroyed.
    pub keys: u64,
}

impl Payload for Receipt {
    const DOMAIN: &'static str = "starling/erase-receipt/1";
}

/// Why bytes are not a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Over [`STATEMENT_BYTES_MAX`].
    #[error("a statement of {0} bytes is over the limit of {STATEMENT_BYTES_MAX}")]
    TooLarge(usize),
    /// Neither an erasure nor a receipt nor a rebase, or not in its one form.
    #[error("the statement is malformed")]
    Malformed,
    /// The signature or what it covers is refused.
    #[error(transparent)]
    Signed(#[from] SignedError),
}

/// A verified statement with its exact bytes.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Hash of the exact bytes.
    pub id: ContentId,
    /// Who signed.
    pub author: NodeId,
    /// What is said.
    pub content: StatementContent,
    /// The exact bytes, as journalled and sent.
    pub bytes: Vec<u8>,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementContent {
    /// Forget this.
    Erase(Erase),
    /// It was forgotten here.
    Receipt(Receipt),
    /// A document stands on a base.
    Rebase(Rebase),
}

impl Statement {
    /// Whether the first byte says that these bytes are a statement and not an envelope.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(&(ERASE | RECEIPT | REBASE)))
    }

    /// Signs a statement.
    ///
    /// # Errors
    /// Never for the content types there are; the signature's own error is passed on.
    pub fn sign(key: &NodeKey, content: StatementContent) -> Result<Self, StatementError> {
        let (first, signed) = match &content {
            StatementContent::Erase(erase) => (ERASE, Signed::sign(key, erase)?.to_bytes()),
            StatementContent::Receipt(receipt) => (RECEIPT, Signed::sign(key, receipt)?.to_bytes()),
            StatementContent::Rebase(rebase) => (REBASE, Signed::sign(key, rebase)?.to_bytes()),
        };
        let bytes = [&[first], signed.as_slice()].concat();
        Ok(Self {
            id: ContentId::of(&bytes),
            author: key.id(),
            content,
            bytes,
        })
    }

    /// Verifies and reads a statement.
    ///
    /// # Errors
    /// Why the bytes are not one.
    pub fn open(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(StatementError::TooLarge(bytes.len()));
        }
        let (author, content) = match bytes.split_first() {
            Some((&ERASE, signed)) => {
                let (author, erase) = open_signed(signed)?;
                (author, StatementContent::Erase(erase))
            }
            Some((&RECEIPT, signed)) => {
                let (author, receipt) = open_signed(signed)?;
                (author, StatementContent::Receipt(receipt))
            }
            Some((&REBASE, signed)) => {
                let (author, rebase) = open_signed(signed)?;
                (author, StatementContent::Rebase(rebase))
            }
            _ => return Err(StatementError::Malformed),
        };
        Ok(Self {
            id: ContentId::of(bytes),
            author,
            content,
            bytes: bytes.to_vec(),
        })
    }

    /// Where it lies in the set: beside what it is about.
    #[must_use]
    pub fn group(&self) -> Group {
        Group::of(&match &self.content {
            StatementContent::Erase(erase) => erase.target.subject(),
            StatementContent::Receipt(receipt) => receipt.subject,
            StatementContent::Rebase(rebase) => rebase.document,
        })
    }
}

/// One form only: whoever passes a statement on must not be able to give it a second id.
fn open_signed<T: Payload>(bytes: &[u8]) -> Result<(NodeId, T), StatementError> {
    let signed = Signed::<T>::from_bytes(bytes)?;
    if signed.to_bytes() != bytes {
        return Err(StatementError::Malformed);
    }
    Ok((signed.author(), signed.open()?))
}

/// An erasure and how far it has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Content id of the statement.
    pub id: ContentId,
    /// What is to be forgotten.
    pub erase: Erase,
    /// The node that signed.
    pub author: NodeId,
    /// What each node said when it had carried it out.
    pub receipts: BTreeMap<NodeId, Receipt>,
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was known.
    Known,
    /// A new erasure: it is to be carried out.
    Erasure,
    /// A new receipt.
    Receipt,
    /// A receipt for an erasure that is not known here.
    TooEarly,
}

/// Everything that must be forgotten, as it follows from the statements a node holds.
#[derive(Debug, Default)]
pub struct Erasures {
    erasures: BTreeMap<ContentId, Erasure>,
    accounts: BTreeSet<ContentId>,
    documents: BTreeSet<ContentId>,
    messages: BTreeMap<ContentId, BTreeSet<MessageId>>,
}

impl Erasures {
    /// Takes a statement in. A receipt counts only after its erasure, so that nobody can fill memory with receipts for nothing;
    /// it comes again with the next reconciliation.
    pub fn insert(&mut self, statement: &Statement) -> Inserted {
        match statement.content.clone() {
            StatementContent::Rebase(_) => Inserted::Known,
            StatementContent::Receipt(receipt) => match self.erasures.get_mut(&receipt.erase) {
                None => Inserted::TooEarly,
                Some(erasure) if erasure.erase.target.subject() != receipt.subject => Inserted::TooEarly,
                Some(erasure) => match erasure.receipts.entry(statement.author) {
                    Entry::Occupied(_) => Inserted::Known,
                    Entry::Vacant(entry) => {
                        entry.insert(receipt);
                        Inserted::Receipt
                    }
                },
            },
            StatementContent::Erase(erase) => {
                if self.erasures.contains_key(&statement.id) {
                    return Inserted::Known;
                }
                let erasure = Erasure {
                    id: statement.id,
                    erase,
                    author: statement.author,
                    receipts: BTreeMap::new(),
                };
                self.erasures.insert(statement.id, erasure);
                match erase.target {
                    EraseTarget::Account(account) => {
                        self.accounts.insert(account);
                        self.documents.insert(account);
                    }
                    EraseTarget::Document(document) => {
                        self.documents.insert(document);
                    }
                    EraseTarget::Message { document, message } => {
                        self.messages.entry(document).or_default().insert(message);
                    }
                }
                Inserted::Erasure
            }
        }
    }

    /// Whether a whole document must be forgotten, by its id or by whose data it is.
    #[must_use]
    pub fn covers(&self, document: &ContentId, owner: Option<&ContentId>) -> bool {
        self.documents.contains(document) || owner.is_some_and(|owner| self.accounts.contains(owner))
    }

    /// Whether the person's keys must be destroyed and refused.
    #[must_use]
    pub fn covers_account(&self, account: &ContentId) -> bool {
        self.accounts.contains(account)
    }

    /// The messages of a document whose texts must be forgotten.
    #[must_use]
    pub fn messages(&self, document: &ContentId) -> Option<&BTreeSet<MessageId>> {
        self.messages.get(document)
    }

    /// Every erasure, by id.
    pub fn all(&self) -> impl Iterator<Item = &Erasure> {
        self.erasures.values()
    }

    /// One erasure.
    #[must_use]
    pub fn get(&self, id: &ContentId) -> Option<&Erasure> {
        self.erasures.get(id)
    }

    /// Erasures that `node` has not confirmed.
    pub fn unconfirmed_by<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = &'a Erasure> {
        self.erasures
            .values()
            .filter(move |erasure| !erasure.receipts.contains_key(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&[seed; 32])
    }

    fn erase(target: EraseTarget) -> Statement {
        let erase = Erase {
            target,
            at: Timestamp(5),
        };
        Statement::sign(&key(1), StatementContent::Erase(erase)).unwrap()
    }

    fn receipt(erase: &Statement, node: u8) -> Statement {
        let receipt = Receipt {
            erase: erase.id,
            subject: ContentId([9; 32]),
            at: Timestamp(6),
            envelopes: 3,
            keys: 1,
        };
        Statement::sign(&key(node), StatementContent::Receipt(receipt)).unwrap()
    }

    #[test]
    fn a_statement_opens_as_signed_and_every_flipped_bit_is_refused() {
        let statement = erase(EraseTarget::Account(ContentId([9; 32])));
        assert!(Statement::is_one(&statement.bytes));
        let opened = Statement::open(&statement.bytes).unwrap();
        assert_eq!(
            (opened.id, opened.author, opened.content.clone()),
            (statement.id, statement.author, statement.content)
        );
        assert_eq!(opened.group(), Group::of(&ContentId([9; 32])));
        assert!(statement.bytes.len() <= STATEMENT_BYTES_MAX);
        for bit in 0..statement.bytes.len() * 8 {
            let mut damaged = statement.bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Statement::open(&damaged).is_err(), "bit {bit}");
        }
        assert!(matches!(
            Statement::open(&[ERASE; STATEMENT_BYTES_MAX + 1]),
            Err(StatementError::TooLarge(_))
        ));
        assert!(matches!(Statement::open(&[]), Err(StatementError::Malformed)));
    }

    #[test]
    fn what_is_covered_follows_from_the_set_in_any_order() {
        let (account, document, session) = (ContentId([9; 32]), ContentId([8; 32]), ContentId([7; 32]));
        let message = MessageId::parse("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let statements = [
            erase(EraseTarget::Account(account)),
            erase(EraseTarget::Document(document)),
            erase(EraseTarget::Message {
                document: session,
                message,
            }),
        ];
        let early = receipt(&statements[0], 2);
        let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]];
        for order in orders {
            let mut erasures = Erasures::default();
            assert_eq!(erasures.insert(&early), Inserted::TooEarly);
            for index in order {
                assert_eq!(erasures.insert(&statements[index]), Inserted::Erasure);
                assert_eq!(erasures.insert(&statements[index]), Inserted::Known);
            }
            for receipt in [&early, &receipt(&statements[0], 3)] {
                assert_eq!(erasures.insert(receipt), Inserted::Receipt);
                assert_eq!(erasures.insert(receipt), Inserted::Known);
            }
            assert!(erasures.covers(&document, None) && erasures.covers(&account, None));
            assert!(
                erasures.covers(&ContentId([1; 32]), Some(&account)),
                "owned by the person"
            );
            assert!(!erasures.covers(&session, None) && !erasures.covers(&ContentId([1; 32]), None));
            assert!(erasures.covers_account(&account) && !erasures.covers_account(&document));
            assert!(
                erasures
                    .messages(&session)
                    .is_some_and(|messages| messages.contains(&message))
            );
            assert_eq!(erasures.get(&statements[0].id).unwrap().receipts.len(), 2);
            assert_eq!(erasures.unconfirmed_by(&key(2).id()).count(), 2);
        }
    }
}
