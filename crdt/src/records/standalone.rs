//! A record outside of any store: the exact bytes that begin its document, made and read without a journal.
//!
//! Golden files are held against this, and whoever wants to look into a single change can use it. The actor and the time are fixed,
//! so the same record always makes the same bytes.

use std::collections::BTreeMap;

use automerge::{ActorId, AutoCommit, Change, transaction::CommitOptions};
use keys::NodeId;

use super::{
    Edit, Open, Owner, Payload, Reader, Record, RecordError, RecordKind, Seal, Writer, is_valid_genesis, owner_of,
    shape::{self, PayloadReference},
};
use crate::limits::CHANGE_BYTES_MAX;

/// The actor of every standalone change.
const ACTOR: [u8; 16] = [0x57; 16];

/// What one write makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The automerge change, uncompressed.
    pub change: Vec<u8>,
    /// Ciphertexts that travel beside it.
    pub payloads: Vec<Vec<u8>>,
    /// Whose personal data the document is.
    pub owner: Owner,
}

/// A document made of standalone changes.
#[derive(Default)]
pub struct Standalone {
    document: AutoCommit,
    /// Ciphertexts by the first bytes of their blake3 hash; none in place of an erased one.
    pub payloads: BTreeMap<PayloadReference, Option<Vec<u8>>>,
    /// Who is taken for the signer of every change.
    pub author: Option<NodeId>,
}

impl Standalone {
    /// An empty document.
    #[must_use]
    pub fn new() -> Self {
        Self {
            document: AutoCommit::new().with_actor(ActorId::from(ACTOR)),
            payloads: BTreeMap::new(),
            author: None,
        }
    }

    /// Begins the document with a record.
    ///
    /// # Errors
    /// When the record breaks a limit.
    pub fn begin<R: Record>(&mut self, record: &R, seal: Option<Seal<'_>>) -> Result<Written, RecordError> {
        record.validate()?;
        self.write(R::KIND, seal, |writer| record.write(writer))
    }

    /// Makes an edit.
    ///
    /// # Errors
    /// When the edit breaks a limit; the document is as it was then.
    pub fn edit<E: Edit>(&mut self, edit: &E, seal: Option<Seal<'_>>) -> Result<Written, RecordError> {
        self.write(E::KIND, seal, |writer| edit.apply(writer))
    }

    fn write(
        &mut self,
        kind: RecordKind,
        seal: Option<Seal<'_>>,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), RecordError>,
    ) -> Result<Written, RecordError> {
        let mut writer = Writer::new(&mut self.document, seal);
        let written = write(&mut writer);
        let payloads = writer.payloads;
        if let Err(error) = written {
            self.document.rollback();
            return Err(error);
        }
        let time = CommitOptions::default().with_time(0);
        let change = match self.document.commit_with(time) {
            Some(_) => self.document.get_last_local_change(),
            None => None,
        };
        let change = change.map_or_else(Vec::new, |change| change.raw_bytes().to_vec());
        for payload in &payloads {
            self.payloads
                .insert(shape::reference_of(payload), Some(payload.clone()));
        }
        let owner = owner_of(kind, &Reader::of_structure(&self.document));
        Ok(Written {
            change,
            payloads,
            owner,
        })
    }

    /// Takes in a change that was written elsewhere.
    ///
    /// # Errors
    /// When it is too large or no change that can be applied here.
    pub fn apply(&mut self, change: &[u8]) -> Result<(), RecordError> {
        if change.len() > CHANGE_BYTES_MAX {
            return Err(RecordError::Limit("change"));
        }
        let change = Change::from_bytes(change.to_vec()).map_err(|_| RecordError::Field("change"))?;
        self.document
            .apply_changes([change])
            .map_err(|_| RecordError::Field("change"))
    }

    /// Whether the document is a record of this kind, as a node judges the first change of one.
    #[must_use]
    pub fn is_valid(&self, kind: RecordKind) -> bool {
        is_valid_genesis(kind, &Reader::of_structure(&self.document))
    }

    /// Reads the document.
    ///
    /// # Errors
    /// When a field without a default is missing.
    pub fn read<R: Record>(&self, open: Open<'_>) -> Result<R, RecordError> {
        let payload = |reference: &PayloadReference| match self.payloads.get(reference) {
            Some(Some(payload)) => Payload::Here(payload),
            Some(None) => Payload::Erased,
            None => Payload::Missing,
        };
        R::read(&Reader {
            document: &self.document,
            payload: &payload,
            open,
            author: &|_| self.author,
        })
    }
}
