//! A node's certificate. Written once; a second write to the same document loses by automerge's rule, and changes nothing,
//! because the certificate proves itself.

use automerge::AutoCommit;
use keys::membership::Certificate;

use super::{Record, RecordError, RecordKind, sealed::Shape, shape};

/// A member of the mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The whole chain that proves the membership.
    pub certificate: Certificate,
}

impl Record for Member {
    const KIND: RecordKind = RecordKind::Member;
    fn validate(&self) -> Result<(), RecordError> {
        self.certificate
            .verify()
            .map(drop)
            .map_err(|_| RecordError::Limit("certificate"))
    }
}

impl Shape for Member {
    fn write(&self, document: &mut AutoCommit) -> Result<(), RecordError> {
        let bytes = postcard::to_stdvec(&self.certificate).map_err(|_| RecordError::Field("certificate"))?;
        shape::put(document, "certificate", bytes)
    }

    fn read(document: &AutoCommit) -> Result<Self, RecordError> {
        let bytes = shape::bytes(document, "certificate")?;
        let certificate = postcard::from_bytes(&bytes).map_err(|_| RecordError::Field("certificate"))?;
        Ok(Self { certificate })
    }
}
